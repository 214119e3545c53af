"""`planasonix logs`: a run's log, read and followed."""

import json
import os
import re
import signal
import subprocess

import httpx
import psycopg2
import pytest
from dagster import DagsterInstance

from planasonix_orchestrator.contract.ids import decode_run_id
from tests.api.writing import log
from tests.commands.conftest import Piped, planasonix, start, work
from tests.commands.terminal import PLANASONIX, Terminal


@pytest.fixture
def finished(service: httpx.Client, instance: DagsterInstance) -> str:
    """The id of a run of `pl_crm` that has succeeded."""
    run_id = start(service)
    work(instance, run_id)
    return run_id


def test_in_a_pipe_it_is_the_text_of_the_api(finished: str, service: httpx.Client) -> None:
    """To the letter, whichever of the two somebody uses."""
    text = service.get(f"/api/runs/{finished}/logs", params={"format": "text"}).text
    assert planasonix("logs", finished).stdout == text
    assert "n_source  Started read" in text
    assert planasonix("logs", decode_run_id(finished)).stdout == text  # by the id that Dagster shows


def test_lines_are_chosen_by_node_level_and_time(finished: str) -> None:
    """As the API chooses them; `--since` takes a duration too."""
    assert {line.split()[2] for line in planasonix("logs", finished, "--node", "n_source").stdout.splitlines()} == {
        "n_source"
    }
    assert "Details of the read" in planasonix("logs", finished, "--level", "debug").stdout
    warnings = planasonix("logs", finished, "--level", "warning").stdout.splitlines()
    assert [line.partition("  ")[2] for line in warnings] == [
        "Node failed and will be tried again: the warehouse hung up"
    ]
    assert planasonix("logs", finished, "--since", "1h").stdout == planasonix("logs", finished).stdout
    assert planasonix("logs", finished, "--since", "2999-01-01").stdout == ""


@pytest.mark.parametrize("follow", [[], ["-f"]])
def test_as_json_each_line_has_the_cursor_behind_it(follow: list[str], finished: str, service: httpx.Client) -> None:
    """The API's own lines; from a cursor on exactly the rest follows."""
    lines = [json.loads(line) for line in planasonix("logs", finished, "--json", *follow).stdout.splitlines()]
    told = service.get(f"/api/runs/{finished}/logs").json()["lines"]
    assert [{name: value for name, value in line.items() if name != "cursor"} for line in lines] == told
    rest = planasonix("logs", finished, "--json", "--since", lines[4]["cursor"], *follow).stdout.splitlines()
    assert [json.loads(line) for line in rest] == lines[5:]


def test_a_log_is_followed_to_its_end(service: httpx.Client, instance: DagsterInstance) -> None:
    """Each line as it comes; how the run has ended goes to stderr."""
    run_id = start(service)
    with Piped("logs", run_id, "-f") as command:
        assert command.line().endswith("Run queued")
        work(instance, run_id)
        code, printed, told = command.end()
    assert code == 0
    assert printed.splitlines()[-1].endswith("Run succeeded")
    assert told == "The run has succeeded.\n"


def test_ctrl_c_ends_following(service: httpx.Client) -> None:
    """As it ends any command: exit code 130, no stack trace; the run goes on."""
    run_id = start(service)
    with Piped("logs", run_id, "-f") as command:
        command.line()
        command.process.send_signal(signal.SIGINT)
        assert command.end() == (130, "", "")
    assert service.get(f"/api/runs/{run_id}").json()["status"] == "queued"


def test_a_reader_may_go_away(finished: str) -> None:
    """As `head` does: no stack trace."""
    ours, theirs = os.pipe()
    os.close(ours)
    done = subprocess.run([PLANASONIX, "logs", finished], stdout=theirs, stderr=subprocess.PIPE, text=True, check=False)
    os.close(theirs)
    assert (done.returncode, done.stderr) == (1, "")


def test_what_a_node_has_logged_commands_no_terminal(
    service: httpx.Client, database_url: str, instance: DagsterInstance
) -> None:
    """Escape sequences are shown and not obeyed, tabs and further lines keep the columns; as JSON too."""
    run_id = start(service)
    message = "red \x1b[31mx\x9b2J\r\n\tsecond\u202e"
    with psycopg2.connect(database_url) as connection:
        log(connection, run_id=decode_run_id(run_id), message=message)
    connection.close()
    work(instance, run_id)
    text = planasonix("logs", run_id).stdout
    assert re.search(r"red \\x1b\[31mx\\x9b2J\n {8}second\\u202e\n", text)
    for arguments in (["logs", run_id], ["logs", "-f", run_id], ["logs", run_id, "--json"]):
        with Terminal(*arguments) as terminal:
            assert terminal.end() == 0
        assert "red" in terminal.shown
        assert "\x1b[31mx" not in terminal.shown
        assert "\x9b" not in terminal.shown
        assert "\u202e" not in terminal.shown


def test_on_a_terminal_levels_have_colours(finished: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Unless NO_COLOR is set."""
    with Terminal("logs", finished) as terminal:
        assert terminal.end() == 0
    assert "\x1b[33mWARNING" in terminal.shown
    monkeypatch.setenv("NO_COLOR", "1")
    with Terminal("logs", finished) as terminal:
        assert terminal.end() == 0
    assert "WARNING" in terminal.shown
    assert "\x1b[33m" not in terminal.shown


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["run_00000000000000000000000000"], "planasonix runs"),
        (["x"], "is not a run id"),
        (["run_00000000000000000000000000", "--level", "loud"], "warning"),
    ],
)
def test_what_is_wrong_with_a_call_makes_exit_code_2(arguments: list[str], told: str, service: httpx.Client) -> None:
    """It is told in words that help."""
    assert told in planasonix("logs", *arguments, code=2).stderr
