"""`planasonix retry`: what a run has left undone, seen through."""

import json
import re

import httpx
import pytest
from dagster import DagsterInstance, DagsterRunStatus

from planasonix_orchestrator.contract.ids import encode_run_id
from tests.api.making import make_run
from tests.commands.conftest import Piped, planasonix, start, work
from tests.commands.terminal import Terminal


@pytest.fixture
def failed(service: httpx.Client, instance: DagsterInstance) -> str:
    """The id of a run of `two_branches`, which fails the first time."""
    run_id = start(service, "pl_branches")
    work(instance, run_id)
    return run_id


def test_a_failed_run_is_retried_and_followed(failed: str, service: httpx.Client, instance: DagsterInstance) -> None:
    """As `run` does; what had succeeded is told to be reused, here and in `show`."""
    with Piped("retry", failed) as command:
        run_id = command.line()
        work(instance, run_id)
        code, _, told = command.end()
    assert code == 0
    assert re.search(r"^  n_left reused  3 rows", told, re.MULTILINE)
    assert re.search(r"^  n_fragile succeeded", told, re.MULTILINE)
    run = service.get(f"/api/runs/{run_id}").json()
    assert run["retryOf"] == failed
    shown = planasonix("show", run_id).stdout
    assert f"retry of\t{failed}\n" in shown
    assert "\nn_left\tsource.csv\treused\t" in shown
    with Terminal("show", run_id) as terminal:
        assert terminal.end() == 0
    assert re.search(r"\x1b\[2;32mreused *\x1b\[0m", terminal.shown)


def test_from_the_start_every_node_runs_again(failed: str, service: httpx.Client) -> None:
    """With `--from-start`; `--no-follow` prints the new run's id and leaves."""
    run_id = json.loads(planasonix("retry", failed, "--from-start", "--no-follow", "--json").stdout)["runId"]
    nodes = service.get(f"/api/runs/{run_id}/nodes").json()["nodes"]
    assert {node["status"] for node in nodes} == {"queued", "pending"}
    assert run_id in planasonix("retry", failed, "--from-start", code=2).stderr  # which is under way


def test_a_run_that_has_succeeded_is_not_retried(service: httpx.Client, instance: DagsterInstance) -> None:
    """Exit code 2, as for every run that can't be started, and why."""
    run_id = encode_run_id(make_run(instance, status=DagsterRunStatus.SUCCESS).run_id)
    assert "can't be retried" in planasonix("retry", run_id, code=2).stderr
    assert "planasonix runs" in planasonix("retry", "run_00000000000000000000000000", code=2).stderr
