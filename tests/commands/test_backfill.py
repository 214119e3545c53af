"""`planasonix backfill`: the whole of it, from a pipe."""

import json
from collections.abc import Iterator

import httpx
import pytest
from dagster import DagsterInstance

from planasonix_orchestrator.contract.ids import decode_run_id
from tests.commands.conftest import planasonix

RANGE = ("--from", "2025-03-01", "--to", "2025-03-02")


@pytest.fixture
def backfill_id(service: httpx.Client, instance: DagsterInstance) -> Iterator[str]:
    """A backfill of two slices, whose runs have ended after the test."""
    told = json.loads(planasonix("backfill", "start", "two_branches", *RANGE, "--at-once", "0", "--json").stdout)
    assert told["maxConcurrentRuns"] is None
    yield told["id"]
    for one in service.get(f"/api/backfills/{told['id']}/slices").json()["data"]:
        run = instance.get_run_by_id(decode_run_id(one["runId"]))
        if run is not None and not run.is_finished:
            instance.report_run_canceled(run)


def test_a_dry_run_shows_the_slices(service: httpx.Client) -> None:
    """One line each: the date, and from where to where."""
    shown = planasonix("backfill", "start", "pl_branches", *RANGE, "--latest-first", "--dry-run").stdout
    assert shown.splitlines() == [
        "2025-03-02\t2025-03-02T00:00:00Z\t2025-03-03T00:00:00Z",
        "2025-03-01\t2025-03-01T00:00:00Z\t2025-03-02T00:00:00Z",
    ]


def test_a_backfill_is_listed_shown_canceled_and_retried(
    service: httpx.Client, instance: DagsterInstance, backfill_id: str
) -> None:
    """Each tells what it has done, in lines and as JSON."""
    (line,) = planasonix("backfill", "list", "--pipeline", "pl_branches", "--limit", "1").stdout.splitlines()
    assert line.split("\t")[:4] == [backfill_id, "pl_branches", "running", "0/2"]
    canceled = planasonix("backfill", "cancel", backfill_id).stdout.split()
    shown = json.loads(planasonix("backfill", "show", backfill_id, "--json").stdout)
    assert sorted(canceled) == sorted(one["runId"] for one in shown["slices"])
    assert "status\t" in planasonix("backfill", "show", backfill_id).stdout
    for run_id in canceled:
        run = instance.get_run_by_id(decode_run_id(run_id))
        assert run is not None
        if not run.is_finished:
            instance.report_run_canceled(run)
    assert len(json.loads(planasonix("backfill", "retry", backfill_id, "--json").stdout)["runs"]) == 2


def test_what_is_wrong_is_told(service: httpx.Client) -> None:
    """With the exit code of bad input."""
    refused = planasonix("backfill", "start", "pl_branches", "--from", "soon", "--to", "2025-03-02", code=2)
    assert "from: must be a date" in refused.stderr
    assert "There is no backfill" in planasonix("backfill", "show", "bkf_none", code=2).stderr
