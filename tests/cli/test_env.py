"""`planasonix env`: exports that a shell takes as they are."""

import subprocess
from pathlib import Path

import pytest
from click.testing import CliRunner

from planasonix_orchestrator.cli import main
from planasonix_orchestrator.cli.env import find_api
from planasonix_orchestrator.runtime.state import StackRecord, locked, write_record
from planasonix_orchestrator.settings import POSTGRES_URL_VARIABLE

API_URL = "http://127.0.0.1:8123"


def record(pipelines: str = "/p", *, embedded: bool = True) -> StackRecord:
    return StackRecord(pipelines=pipelines, api_url=API_URL, code_server_port=4300, embedded=embedded)


def test_without_a_stack_it_says_so(tmp_path: Path) -> None:
    """Nothing to connect to: exit code 1 and the command that starts one."""
    answer = CliRunner().invoke(main, ["env", "--state", str(tmp_path / "none")])
    assert answer.exit_code == 1
    assert "planasonix up" in answer.output


def test_a_shell_takes_the_exports_whatever_the_paths_hold(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Spaces, quotes and dollars in paths come through `eval`."""
    monkeypatch.delenv(POSTGRES_URL_VARIABLE, raising=False)
    state = tmp_path / "it's $HOME; here"
    with locked(state):
        write_record(state, record=record(f"{state}/p"))
        printed = CliRunner().invoke(main, ["env", "--state", str(state)]).output
    script = (
        printed
        + 'printf "%s\\n" "$PLANASONIX_PIPELINES" "$DAGSTER_HOME" "$PLANASONIX_CODE_SERVER_PORT" "$PLANASONIX_API_URL"'
    )
    done = subprocess.run(["/bin/sh", "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == [f"{state}/p", f"{state}/dagster", "4300", API_URL]
    assert f"export {POSTGRES_URL_VARIABLE}=" in printed


def test_the_url_of_an_external_postgres_comes_from_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may hold a password, so it is not kept: without the variable it is asked for, with it it is passed on."""
    with locked(tmp_path):
        write_record(tmp_path, record=record(embedded=False))
        monkeypatch.delenv(POSTGRES_URL_VARIABLE, raising=False)
        missing = CliRunner().invoke(main, ["env", "--state", str(tmp_path)])
        monkeypatch.setenv(POSTGRES_URL_VARIABLE, "postgresql://me:pw@db/dagster")
        given = CliRunner().invoke(main, ["env", "--state", str(tmp_path)])
    assert missing.exit_code == 1
    assert POSTGRES_URL_VARIABLE in missing.output
    assert f"export {POSTGRES_URL_VARIABLE}=postgresql://me:pw@db/dagster" in given.output


def test_the_api_is_found_without_the_database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its address while a stack runs, whatever Postgres that has; the file of its key either way."""
    monkeypatch.delenv(POSTGRES_URL_VARIABLE, raising=False)
    monkeypatch.setenv("PLANASONIX_STATE", str(tmp_path))
    with locked(tmp_path):
        write_record(tmp_path, record=record(embedded=False))
        assert find_api(None).url == API_URL
    found = find_api(tmp_path)
    assert (found.url, found.state, found.key_file) == (None, tmp_path, tmp_path / "api-key")
