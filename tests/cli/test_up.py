"""`planasonix up`: what it prints and what it refuses. What it runs is tested in tests/runtime."""

import json
import os
import socket
from functools import partial
from pathlib import Path

import pytest
from click.testing import CliRunner

from planasonix_orchestrator.cli import main, up
from planasonix_orchestrator.cli.up import show_first_key, show_parts
from planasonix_orchestrator.runtime.parts import Ports, build_parts
from planasonix_orchestrator.runtime.ports import LOOPBACK
from planasonix_orchestrator.runtime.stack import RunningPart, run_stack
from planasonix_orchestrator.runtime.supervisor import Pace
from planasonix_orchestrator.settings import Settings
from tests.runtime.stack import Stack

PORTS = Ports(api=8000, webserver=3000, code_server=4266)


def settings(folder: Path, *, postgres_url: str | None = None) -> Settings:
    """Settings with everything under one folder."""
    return Settings(pipelines=folder / "pipelines", state=folder / "state", postgres_url=postgres_url)


def shown(folder: Path, *, postgres_url: str | None = None, as_json: bool = False) -> list[RunningPart]:
    """Parts as they run, without running them."""
    parts = build_parts(settings(folder, postgres_url=postgres_url), ports=PORTS)
    return [RunningPart(part=part, pid=number + 100 if part.command else None) for number, part in enumerate(parts)]


def test_in_a_pipe_the_table_is_plain_and_whole(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One line per part with its URL, pid and log, without colours and without cut paths."""
    show_parts(shown(tmp_path), as_json=False)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["PART", "URL", "PID", "LOG"]
    rows = {line.split()[0]: line.split()[1:] for line in lines[1:]}
    assert list(rows) == ["postgres", "code-server", "daemon", "run-host", "notifier", "webserver", "api"]
    assert rows["api"] == ["http://127.0.0.1:8000", "106", str(tmp_path / "state/logs/api.log")]


def test_json_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`--json` prints an object with the same facts."""
    show_parts(shown(tmp_path), as_json=True)
    (line,) = capsys.readouterr().out.splitlines()
    webserver = next(part for part in json.loads(line)["parts"] if part["name"] == "webserver")
    assert webserver == {
        "name": "webserver",
        "url": "http://127.0.0.1:3000",
        "pid": 105,
        "log": str(tmp_path / "state/logs/webserver.log"),
    }


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://me:s3cret@db.example:5433/dagster",
        "postgresql://me:s3cret#?/s3cret@db.example:5433/dagster",
        "postgresql://db.example/dagster?user=me&password=s3cret",
    ],
)
def test_the_password_of_postgres_is_never_shown(url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Neither the table nor the JSON nor a part's representation holds the password."""
    parts = shown(tmp_path, postgres_url=url)
    show_parts(parts, as_json=False)
    show_parts(parts, as_json=True)
    printed = capsys.readouterr().out
    assert "db.example" in printed
    assert "s3cret" not in printed + repr(parts)


@pytest.mark.parametrize("url", ["postgresql://me:s3cret@db.example:none/dagster", "s3cret"])
def test_a_url_that_can_not_be_read_is_not_shown(url: str, tmp_path: Path) -> None:
    """Nobody can tell which part of it is the password."""
    assert "s3cret" not in repr(shown(tmp_path, postgres_url=url))


def test_a_missing_pipelines_folder_is_refused(tmp_path: Path) -> None:
    """The message names the folder and the option; the exit code is 1."""
    arguments = ["up", "--pipelines", str(tmp_path / "none"), "--state", str(tmp_path / "state")]
    answer = CliRunner().invoke(main, arguments)
    assert answer.exit_code == 1
    assert f"{tmp_path / 'none'} does not exist" in answer.output
    assert "--pipelines" in answer.output


@pytest.mark.stack
def test_a_taken_port_is_replaced_and_a_postgres_of_ones_own_is_used(tmp_path: Path, postgres_url: str) -> None:
    """The console says which port took the place of the taken one; the external database has no pid and no log."""
    with socket.create_server((LOOPBACK, 0)) as other:
        taken = other.getsockname()[1]
        stack = Stack(tmp_path, port=taken, environment={**os.environ, "PLANASONIX_POSTGRES_URL": postgres_url})
        try:
            assert stack.told().startswith(f"Port {taken} is taken; the api listens on ")
            assert stack.parts["postgres"]["pid"] is None
            assert not (stack.state / "postgres").exists()
            stack.run_once()
        finally:
            stack.end()


def test_a_postgres_that_is_not_there_ends_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An unreachable database is named with its reason, after nothing else was started."""
    (tmp_path / "pipelines").mkdir()
    monkeypatch.setenv("PLANASONIX_POSTGRES_URL", f"postgresql://me:s3cret@{LOOPBACK}:1/dagster")
    monkeypatch.setattr(up, "run_stack", partial(run_stack, pace=Pace(reach=0.2)))
    arguments = ["up", "--state", str(tmp_path / "state"), "--pipelines", str(tmp_path / "pipelines")]
    answer = CliRunner().invoke(main, arguments)
    assert answer.exit_code == 1
    assert "postgres did not start" in answer.output
    assert "s3cret" not in answer.output
    assert list((tmp_path / "state" / "logs").iterdir()) == []


def test_the_first_key_is_printed_apart_from_the_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """On stderr, with the file that keeps it; in JSON it is a member of the object, which otherwise has none."""
    show_first_key("plnx_live_x", file=tmp_path / "api-key")
    printed = capsys.readouterr()
    assert printed.out == ""
    assert "plnx_live_x" in printed.err
    assert str(tmp_path / "api-key") in printed.err
    for key, expected in (("plnx_live_x", {"parts", "firstKey"}), (None, {"parts"})):
        show_parts(shown(tmp_path), as_json=True, first_key=key)
        assert set(json.loads(capsys.readouterr().out)) == expected
