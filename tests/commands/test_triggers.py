"""`planasonix triggers`: lists, switches, tests and executions, as tables, as lines and as JSON."""

import json
from pathlib import Path
from uuid import uuid4

import httpx
import pytest

from tests.api import served
from tests.api.calling import SECRET, call, signed
from tests.commands.conftest import planasonix


@pytest.fixture(autouse=True)
def _secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(served.WEBHOOK_SECRET, SECRET)


def lines(*arguments: str, code: int = 0) -> list[list[str]]:
    return [line.split("\t") for line in planasonix("triggers", *arguments, code=code).stdout.splitlines()]


def test_triggers_are_lines_in_a_pipe(service: httpx.Client) -> None:
    """By id: kind, pipeline, switch and name; chosen as the API chooses; as JSON the API's own."""
    assert ["trg_orders", "webhook", "pl_hooked", "yes", "Orders of the shop"] in lines()
    assert [line[0] for line in lines("--pipeline", "slow")] == ["trg_files"]
    assert [line[0] for line in lines("--type", "file_watcher", "--enabled")] == ["trg_files"]
    assert lines("--disabled") == [["trg_dash-ed", "webhook", "pl_hooked", "no", "Off"]]
    told = json.loads(planasonix("triggers", "--json").stdout)
    assert told["data"] == service.get("/api/triggers").json()["data"]


def test_a_trigger_is_switched(service: httpx.Client) -> None:
    """And stays so; asking again changes nothing."""
    assert lines("disable", "trg_raw") == lines("disable", "trg_raw") == [["trg_raw", "webhook", "pl_hooked", "no", ""]]
    assert call(service, "trg_raw").status_code == 409
    answer = json.loads(planasonix("triggers", "enable", "trg_raw", "--json").stdout)
    assert answer == service.get("/api/triggers/trg_raw").json()
    assert answer["data"]["attributes"]["enabled"] is True


def test_a_trigger_is_tested(service: httpx.Client, tmp_path: Path) -> None:
    """A line for each check, exit code 1 if one is wrong; of a webhook also a call."""
    told = {line[0]: line[1] for line in lines("test", "trg_raw")}
    assert told == {"sensor": "ok", "switch": "ok", "secret": "ok", "queue": "ok"}
    body = tmp_path / "body.json"
    body.write_text('{"a": 1}')
    headers = [f"--header={name}: {value}" for name, value in signed(body.read_bytes()).items()]
    told = {line[0]: line[1] for line in lines("test", "trg_raw", *headers, "--body", str(body))}
    assert (told["signature"], told["payload"]) == ("ok", "ok")
    body.write_text("{")
    told = {line[0]: line[1] for line in lines("test", "trg_raw", *headers, "--body", str(body), code=1)}
    assert (told["signature"], told["payload"]) == ("wrong", "wrong")
    assert (
        json.loads(planasonix("triggers", "test", "trg_keyless", "--json", code=1).stdout)["data"]["attributes"]["ok"]
        is False
    )


def test_executions_are_shown(service: httpx.Client) -> None:
    """The run, its state, and what was seen."""
    run_id = call(service, "trg_test", {"nonce": uuid4().hex}).json()["pipeline_run_id"]
    ((shown, status, _, event),) = lines("executions", "trg_test", "--limit", "1")
    assert (shown, status) == (run_id, "queued")
    assert event.endswith("bytes from 127.0.0.1")
    assert lines("executions", "trg_test", "--status", "failed") == []
    told = json.loads(planasonix("triggers", "executions", "trg_test", "--json").stdout)
    assert told == service.get("/api/triggers/trg_test/executions").json()


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["enable", "trg_none"], "planasonix triggers"),
        (["executions", "trg_none"], "planasonix triggers"),
        (["test", "trg_raw", "--header", "x"], "is not a header"),
        (["--type", "sms"], "trigger_type"),
        (["--pipeline", "slwo"], "Did you mean slow"),
    ],
)
def test_what_is_wrong_with_a_call_makes_exit_code_2(arguments: list[str], told: str, service: httpx.Client) -> None:
    """It is told in words that help."""
    assert told in planasonix("triggers", *arguments, code=2).stderr
