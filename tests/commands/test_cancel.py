"""`planasonix cancel`: one run, or all that a filter finds."""

import json

import httpx
import pytest
from dagster import DagsterInstance, DagsterRunStatus

from planasonix_orchestrator.contract.ids import encode_run_id
from tests.api.making import make_run
from tests.api.waiting import wait_until
from tests.commands.conftest import planasonix, start
from tests.commands.terminal import Terminal

NONE = "run_00000000000000000000000000"


def test_a_run_is_canceled(service: httpx.Client) -> None:
    """Its id and what becomes of it, in a pipe; once more changes nothing; as JSON the API's own answer."""
    run_id = start(service)
    assert planasonix("cancel", run_id).stdout == f"{run_id}\tcancel_requested\n"
    assert planasonix("cancel", run_id, "--wait").stdout == f"{run_id}\tcanceled\n"
    assert planasonix("cancel", run_id).stdout == f"{run_id}\tcanceled\n"
    assert json.loads(planasonix("cancel", run_id, "--json").stdout)["status"] == "canceled"
    assert json.loads(planasonix("cancel", run_id, "--wait", "--json").stdout)["canceledBy"] == "user"


def test_a_run_that_has_ended_is_not_canceled(service: httpx.Client, instance: DagsterInstance) -> None:
    """Exit code 1, and how it ended."""
    run_id = encode_run_id(make_run(instance, status=DagsterRunStatus.SUCCESS).run_id)
    assert "succeeded" in planasonix("cancel", run_id, code=1).stderr


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ([NONE], "planasonix runs"),
        (["x"], "is not a run id"),
        ([], "--pipeline"),
        (["--dry-run"], "--pipeline"),
        ([NONE, "--status", "queued"], "give the id of a RUN, or say"),
        ([NONE, "--dry-run"], "--dry-run"),
        (["--status", "queued", "--wait"], "--wait"),
        (["--status", "failed"], "queued"),
        (["--trigger", "nobody"], "trigger"),
        (["--pipeline", "slwo"], "Did you mean slow"),
    ],
)
def test_what_is_wrong_with_a_call_makes_exit_code_2(arguments: list[str], told: str, service: httpx.Client) -> None:
    """It is told in words that help."""
    assert told in planasonix("cancel", *arguments, code=2).stderr


@pytest.fixture
def waiting(service: httpx.Client) -> list[str]:
    """The ids of two runs of `slow` in the queue, the newer one first; there are no others of it."""
    service.post("/api/runs/cancel", json={"pipelineId": "pl_slow", "limit": 1000}).raise_for_status()
    wait_until(lambda: not in_queue(service), seconds=20)
    return [start(service, "pl_slow") for _ in range(2)][::-1]


def in_queue(service: httpx.Client) -> list[str]:
    runs = service.get("/api/runs", params={"pipelineId": "pl_slow", "status": "queued,running"}).json()["data"]
    return [run["id"] for run in runs]


def test_runs_are_canceled_by_their_kind(waiting: list[str], service: httpx.Client) -> None:
    """A dry run only shows them; the limit takes the newest; a line for each in a pipe, else the API's answer."""
    lines = [f"{run_id}\tqueued" for run_id in waiting]
    dry = planasonix("cancel", "--pipeline", "slow", "--dry-run")
    assert (dry.stdout.splitlines(), dry.stderr) == (lines, "Would cancel 2 runs.\n")
    assert in_queue(service) == waiting
    first = planasonix("cancel", "--pipeline", "pl_slow", "--status", "queued", "--from", "1h", "--limit", "1")
    assert first.stdout == f"{waiting[0]}\tcancel_requested\n"
    assert first.stderr == "Asked to cancel 1 run of 2, the newest (--limit takes more).\n"
    wait_until(lambda: in_queue(service) == waiting[1:], seconds=20)
    answer = json.loads(planasonix("cancel", "--pipeline", "pl_slow", "--trigger", "api,manual", "--json").stdout)
    assert answer["data"] == [{"id": waiting[1], "status": "cancel_requested"}]
    wait_until(lambda: not in_queue(service), seconds=20)
    assert planasonix("cancel", "--pipeline", "pl_slow").stderr == "There are no such runs.\n"


def test_on_a_terminal_it_asks_before_it_cancels_runs_by_their_kind(waiting: list[str], service: httpx.Client) -> None:
    """It shows which these are; anything but yes leaves them alone."""
    with Terminal("cancel", "--pipeline", "slow") as terminal:
        terminal.wait_for("Cancel 2 runs?")
        assert waiting[0] in terminal.shown
        terminal.press(b"\r")
        assert terminal.end() == 1
    assert in_queue(service) == waiting
    with Terminal("cancel", "--pipeline", "slow") as terminal:
        terminal.wait_for("Cancel 2 runs?")
        terminal.press(b"y\r")
        assert terminal.end() == 0
    wait_until(lambda: not in_queue(service), seconds=20)
