"""`planasonix run`: what it starts, shows, asks and returns, over a real API."""

import json
import os
import re
import signal
from datetime import UTC, datetime
from pathlib import Path
from threading import Event
from uuid import uuid4

import httpx
import pytest
from dagster import DagsterInstance

from api_adapter.commands.run import typed
from api_adapter.records import Scope, open_records
from planasonix_orchestrator.contract.ids import decode_run_id
from planasonix_orchestrator.runtime.state import KEY_FILE, StackRecord, locked, write_record
from tests.api.credentials import make_key
from tests.commands.conftest import Piped, planasonix, work, working
from tests.commands.terminal import CTRL_C, Terminal

COLOUR = re.compile(r"\x1b\[[0-9;]*m")


def status_of(service: httpx.Client, run_id: str) -> str:
    status: str = service.get(f"/api/runs/{run_id}").json()["status"]
    return status


def test_in_a_pipe_it_tells_each_change_once(service: httpx.Client, instance: DagsterInstance) -> None:
    """Stdout has the run's id alone, at once; stderr the nodes with rows and rate. A name is as good as an id."""
    with Piped("run", "crm_to_warehouse") as command:
        run_id = command.line()
        work(instance, run_id)
        code, rest, told = command.end()
    assert (code, rest) == (0, "")
    lines = told.splitlines()
    assert lines[0] == f"{run_id} queued"
    assert re.fullmatch(rf"{run_id} succeeded \d.\d\ds", lines[-1])
    assert re.search(r"^  n_source succeeded  7 rows  [\d,]+ rows/s  \d\.\d\ds$", told, re.MULTILINE)
    assert re.search(r"^  n_flaky succeeded  5 rows .*  attempt 2$", told, re.MULTILINE)
    assert len(set(lines)) == len(lines)
    assert "\x1b" not in told


def test_a_failed_run_makes_exit_code_1(service: httpx.Client, instance: DagsterInstance) -> None:
    """Which node, why, where to read more, and how to try again."""
    with Piped("run", "pl_bad") as command:
        run_id = command.line()
        work(instance, run_id)
        code, _, told = command.end()
    assert code == 1
    assert "Node n_bad failed: column 'amount' does not exist" in told
    assert f"`planasonix logs {run_id} --node n_bad`" in told
    assert f"`planasonix retry {run_id}`" in told


def test_a_canceled_run_makes_exit_code_3(service: httpx.Client) -> None:
    """Whoever has canceled it."""
    with Piped("run", "pl_slow") as command:
        service.delete(f"/api/runs/{command.line()}")
        assert command.end()[0] == 3


@pytest.mark.parametrize("arguments", [[], ["--no-follow"]])
def test_a_run_that_goes_on_for_too_long_makes_exit_code_5(arguments: list[str], service: httpx.Client) -> None:
    """It goes on, and how to come back to it is told; without --follow nothing else is."""
    answer = planasonix("run", "pl_slow", "--wait", "0.3", *arguments, code=5)
    run_id = answer.stdout.strip()
    assert f"`planasonix show {run_id}`" in answer.stderr
    assert ("queued" in answer.stderr) == (not arguments)
    assert status_of(service, run_id) == "queued"


def test_without_following_it_only_starts(service: httpx.Client) -> None:
    """Exit code 0, the id on stdout for `$(...)`, nothing on stderr; as JSON the API's own answer."""
    answer = planasonix("run", "pl_crm", "--no-follow")
    assert status_of(service, answer.stdout.strip()) == "queued"
    assert answer.stderr == ""
    told = json.loads(planasonix("run", "pl_crm", "--no-follow", "--json").stdout)
    assert (told["pipelineId"], told["status"]) == ("pl_crm", "queued")


def test_as_json_it_prints_the_run_as_it_was_last(service: httpx.Client, instance: DagsterInstance) -> None:
    """One object on stdout, the API's own with the nodes in it."""
    with Piped("run", "pl_crm", "--json") as command:
        run_id = command.error_line(until="queued").split()[0]
        work(instance, run_id)
        code, printed, _ = command.end()
    told = json.loads(printed)
    nodes = told.pop("nodes")
    assert code == 0
    assert told == service.get(f"/api/runs/{run_id}").json()
    assert nodes == service.get(f"/api/runs/{run_id}/nodes").json()["nodes"]


def test_variables_have_the_types_that_the_pipeline_declares(service: httpx.Client) -> None:
    """What people type is text; what the API gets is not."""
    answer = planasonix(
        "run", "pl_crm", "--no-follow", "--var", "top=3", "--var", "day=2025-03-27", "--env", "env_prod"
    )
    run = service.get(f"/api/runs/{answer.stdout.strip()}").json()
    assert run["variables"] == {"day": "2025-03-27", "top": 3}
    assert run["environmentId"] == "env_prod"


@pytest.mark.parametrize(
    ("text", "kind", "value"),
    [
        ("5", "string", "5"),
        ("5", "integer", 5),
        ("-5", "number", -5),
        ("1.5", "number", 1.5),
        ("1.5", "integer", "1.5"),
        ("five", "number", "five"),
        ("True", "boolean", True),
        ("false", "boolean", False),
        ("yes", "boolean", "yes"),
        ("9" * 5000, "integer", "9" * 5000),
        ("2025-03-27", "date", "2025-03-27"),
    ],
)
def test_what_does_not_fit_a_type_stays_text(text: str, kind: str, value: object) -> None:
    """The API refuses it in its own words."""
    assert typed(text, kind=kind) == value
    assert type(typed(text, kind=kind)) is type(value)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["pl_crm", "--var", "top=three", "--var", "nope=1"], "variables.top: must be an integer"),
        (["pl_crm", "--var", "top"], "day=2025-03-27"),
        (["pl_demanding"], "variables.region: must be set"),
        (["crm_to_werehouse"], "Did you mean crm_to_warehouse (pl_crm)?"),
        (["pl_cmr"], "Did you mean crm_to_warehouse (pl_crm)"),
        (["zzz"], "There are: crm_to_warehouse (pl_crm), failing (pl_bad), failing (pl_demanding), "),
        (["zzz"], "  broken.yaml:4: there is no node type 'source.postgre'"),
        (["failing"], "choose one by its id: pl_bad, pl_demanding"),
        (["pl_broken"], "broken.yaml:4: there is no node type 'source.postgre'"),
        (["pl_crm", "--wait", "-1"], "--wait"),
        ([""], "printable"),
    ],
)
def test_what_is_wrong_with_a_call_makes_exit_code_2(
    arguments: list[str], told: str, service: httpx.Client, instance: DagsterInstance
) -> None:
    """It is told in words that help, and no run is made."""
    before = instance.get_runs_count()
    answer = planasonix("run", *arguments, code=2)
    assert told in answer.stderr
    assert answer.stdout == ""
    assert instance.get_runs_count() == before


def test_on_a_terminal_one_table_is_kept_up_to_date(
    service: httpx.Client, instance: DagsterInstance, gate: Event
) -> None:
    """Nodes with state, rows, rate and time, in colours, as they change."""
    with Terminal("run", "pl_crm") as terminal:
        terminal.wait_for("queued")
        run_id = re.findall(r"run_\w{26}", terminal.shown)[0]
        with working(instance, run_id):
            terminal.wait_for("running")
            terminal.wait_for("ROWS/S")
            gate.set()
            assert terminal.end() == 0
    last = COLOUR.sub("", terminal.shown).rpartition("NODE")[2]
    assert re.search(r"n_source +source.postgres +succeeded +7 +\d+ +\d\.\d\ds", last)
    assert re.search(r"keep-recent +transform.filter +succeeded +5 +[\d,]+ +\d\.\d\ds", last)
    assert re.search(r"n_flaky +destination.postgres +succeeded, attempt 2", last)
    assert "\x1b[32m" in terminal.shown


def test_no_color_is_heeded(service: httpx.Client) -> None:
    """With NO_COLOR the table moves as ever, without colours."""
    environment = {**os.environ, "NO_COLOR": "1"}
    with Terminal("run", "pl_slow", "--wait", "0.1", environment=environment) as terminal:
        assert terminal.end() == 5
    assert "queued" in terminal.shown
    assert not re.search(r"\x1b\[(\d+;)*3\d", terminal.shown)


def test_ctrl_c_and_c_cancels(service: httpx.Client) -> None:
    """The question stands on the terminal; the run is watched until it is canceled."""
    with Terminal("run", "pl_slow") as terminal:
        terminal.wait_for("queued")
        terminal.press(CTRL_C)
        terminal.wait_for("keep following")
        terminal.press(b"c")
        assert terminal.end() == 3
    assert "Cancellation accepted" in terminal.shown
    assert "canceled" in terminal.shown.rpartition("run_")[2]


@pytest.mark.parametrize("keys", [b"d", CTRL_C])
def test_ctrl_c_and_d_detaches(keys: bytes, service: httpx.Client) -> None:
    """So does a second Ctrl-C: the run goes on, and how to come back to it is told."""
    with Terminal("run", "pl_slow") as terminal:
        terminal.wait_for("queued")
        terminal.press(CTRL_C)
        terminal.wait_for("keep following")
        terminal.press(keys)
        assert terminal.end() == 5
    run_id = re.findall(r"planasonix show (run_\w{26})", terminal.shown)[0]
    assert status_of(service, run_id) == "queued"


def test_ctrl_c_and_another_key_goes_on(service: httpx.Client, instance: DagsterInstance) -> None:
    """As if nothing had been; the next Ctrl-C asks again."""
    with Terminal("run", "pl_crm") as terminal:
        terminal.wait_for("queued")
        run_id = re.findall(r"run_\w{26}", terminal.shown)[0]
        for _ in range(2):
            terminal.press(CTRL_C)
            terminal.wait_for("keep following")
            terminal.press(b"\r")
            terminal.wait_for("? follow")
            terminal.shown = ""
        work(instance, run_id)
        assert terminal.end() == 0


def test_where_nobody_can_be_asked_ctrl_c_detaches(service: httpx.Client) -> None:
    """A script that is interrupted does not cancel what it has started."""
    with Piped("run", "pl_slow") as command:
        run_id = command.line()
        command.error_line(until="queued")
        command.process.send_signal(signal.SIGINT)
        code, _, told = command.end()
    assert code == 5
    assert f"`planasonix cancel {run_id}`" in told
    assert status_of(service, run_id) == "queued"


@pytest.mark.parametrize(
    ("url", "key", "code", "told"),
    [
        ("http://127.0.0.1:1", "plnx_live_x", 4, "planasonix up"),
        (None, "plnx_live_" + "x" * 43, 4, "planasonix keys create"),
        (None, "", 4, "planasonix keys create"),
        (None, "two words", 4, "no key can be"),
        ("localhost:8000", "k", 2, "PLANASONIX_API_URL"),
        ("http://", "k", 2, "PLANASONIX_API_URL"),
        ("http://me:s3cret@127.0.0.1:8000", "k", 2, "PLANASONIX_API_KEY"),
        ("http://[::1", "k", 2, "PLANASONIX_API_URL"),
    ],
)
def test_without_a_service_or_a_key_it_says_how_to_get_them(
    url: str | None, key: str, code: int, told: str, service: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Exit code 4 (2 if the address can't be one); neither the key nor a password is repeated."""
    if url is not None:
        monkeypatch.setenv("PLANASONIX_API_URL", url)
    monkeypatch.setenv("PLANASONIX_API_KEY", key)
    answer = planasonix("run", "pl_crm", code=code)
    assert told in answer.stderr
    assert answer.stdout == ""
    assert not key or len(key) < 5 or key not in answer.output
    assert "s3cret" not in answer.output


def test_a_key_that_may_only_read_starts_nothing(
    service: httpx.Client, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Exit code 4, the scope that is missing, and what to do."""
    monkeypatch.setenv("PLANASONIX_API_KEY", make_key(database_url, Scope.PIPELINES_READ)[1])
    answer = planasonix("run", "pl_crm", code=4)
    assert "pipelines:run" in answer.stderr


def test_the_running_stack_is_found_with_its_key(
    service: httpx.Client, database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without the variables: by the state directory, which holds both; the key it keeps goes to no other address."""
    monkeypatch.delenv("PLANASONIX_API_URL")
    monkeypatch.delenv("PLANASONIX_API_KEY")
    monkeypatch.setenv("PLANASONIX_STATE", str(tmp_path))
    assert "planasonix up" in planasonix("runs", code=4).stderr
    (tmp_path / KEY_FILE).write_text(make_key(database_url, Scope.PIPELINES_READ)[1] + "\n")
    with locked(tmp_path):
        url = str(service.base_url)
        write_record(tmp_path, record=StackRecord(pipelines="/p", api_url=url, code_server_port=1, embedded=False))
        planasonix("runs")
        monkeypatch.setenv("PLANASONIX_API_URL", url)
        planasonix("runs")
        monkeypatch.setenv("PLANASONIX_API_URL", f"{url}/v1")
        assert "There is no API key to use" in planasonix("runs", code=4).stderr
        planasonix("runs", "--state", str(tmp_path))


def test_a_service_that_goes_away_meanwhile_is_told(
    service: httpx.Client, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A key that is revoked while the run is watched: exit code 4, and the run goes on."""
    key_id, secret = make_key(database_url, Scope.PIPELINES_READ, Scope.PIPELINES_RUN)
    monkeypatch.setenv("PLANASONIX_API_KEY", secret)
    with Piped("run", "pl_slow") as command:
        run_id = command.line()
        command.error_line(until="queued")
        with open_records(database_url) as records:
            records.keys.revoke(key_id, at=datetime.now(UTC))
        code, _, told = command.end()
    assert code == 4
    assert f"`planasonix show {run_id}`" in told
    assert secret not in told


def test_calls_with_one_key_start_one_run(service: httpx.Client) -> None:
    """However often they are made; another wish with the same key is refused."""
    arguments = ["run", "pl_crm", "--no-follow", "--idempotency-key", f"nightly {uuid4()}"]
    first, second = planasonix(*arguments), planasonix(*arguments)
    assert first.stdout == second.stdout
    assert (first.stderr, "earlier call" in second.stderr) == ("", True)
    assert "another key" in planasonix(*arguments, "--var", "top=1", code=2).stderr


def test_a_part_of_a_pipeline_is_run(service: httpx.Client, instance: DagsterInstance) -> None:
    """The nodes that were named and what they need; the priority goes into the queue."""
    run_id = planasonix("run", "pl_branches", "--no-follow", "--node", "n_keep", "--priority", "7").stdout.strip()
    run = instance.get_run_by_id(decode_run_id(run_id))
    assert run is not None
    assert run.tags["dagster/priority"] == "7"
    nodes = service.get(f"/api/runs/{run_id}/nodes").json()["nodes"]
    assert [node["nodeId"] for node in nodes if node["status"] != "skipped"] == ["n_left", "n_keep"]
    assert "n_none" in planasonix("run", "pl_crm", "--node", "n_none", code=2).stderr
