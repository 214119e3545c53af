"""Canceling many runs: which ones, how many, and who may."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from dagster import DagsterInstance, DagsterRunStatus

from api_adapter.records import AuditFilter, Scope, open_records
from planasonix_orchestrator.contract import tags
from planasonix_orchestrator.contract.ids import encode_run_id
from tests.api.credentials import bearer, make_key
from tests.api.making import make_run
from tests.api.waiting import wait_until

QUEUED, RUNNING = DagsterRunStatus.STARTING, DagsterRunStatus.STARTED


@pytest.fixture
def pipeline(request: pytest.FixtureRequest) -> str:
    """A pipeline that has only the runs of this test."""
    return f"pl_{request.node.name}"


@pytest.fixture
def made(instance: DagsterInstance, pipeline: str) -> Iterator["Made"]:
    made = Made(instance, pipeline)
    yield made
    made.end()


class Made:
    """Runs of a pipeline as they stand in the record."""

    def __init__(self, instance: DagsterInstance, pipeline: str) -> None:
        self._instance = instance
        self._pipeline = pipeline
        self._ids: list[str] = []

    def run(self, status: DagsterRunStatus, *, trigger: str = "api") -> str:
        run_tags = {tags.PIPELINE_ID: self._pipeline, tags.TRIGGER: trigger}
        run_id = make_run(self._instance, status=status, tags=run_tags).run_id
        self._ids.append(run_id)
        return encode_run_id(run_id)

    def wished(self) -> set[str]:
        """The runs of which it was asked that they be canceled."""
        runs = [self._instance.get_run_by_id(run_id) for run_id in self._ids]
        return {encode_run_id(run.run_id) for run in runs if run is not None and tags.CANCEL_OF in run.tags}

    def end(self) -> None:
        for run_id in self._ids:
            run = self._instance.get_run_by_id(run_id)
            if run is not None and not run.is_finished:
                self._instance.report_run_canceled(run)


def cancel(client: httpx.Client, *, headers: dict[str, str] | None = None, **body: Any) -> httpx.Response:
    return client.post("/api/runs/cancel", json=body, headers=headers)


def test_all_runs_of_a_pipeline(reader: httpx.Client, made: Made, pipeline: str) -> None:
    """Those that have not ended, and no others; the answer names each, the newest first."""
    queued, running = made.run(QUEUED), made.run(RUNNING)
    for status in (DagsterRunStatus.SUCCESS, DagsterRunStatus.FAILURE, DagsterRunStatus.CANCELED):
        made.run(status)
    answer = cancel(reader, pipelineId=pipeline)
    assert (answer.status_code, answer.headers["Retry-After"]) == (202, "1")
    assert answer.json() == {
        "data": [{"id": running, "status": "cancel_requested"}, {"id": queued, "status": "cancel_requested"}],
        "meta": {"matched": 2, "requested": 2, "dryRun": False},
    }
    assert made.wished() == {queued, running}
    assert reader.get(f"/api/runs/{queued}").json()["cancelRequestedBy"] == "tests"


def test_a_dry_run_changes_nothing(reader: httpx.Client, made: Made, pipeline: str) -> None:
    """It tells which runs these are, and in which state."""
    queued, running = made.run(QUEUED), made.run(RUNNING)
    answer = cancel(reader, pipelineId=pipeline, dryRun=True)
    assert (answer.status_code, answer.json()) == (
        200,
        {
            "data": [{"id": running, "status": "running"}, {"id": queued, "status": "queued"}],
            "meta": {"matched": 2, "requested": 0, "dryRun": True},
        },
    )
    assert made.wished() == set()


def test_runs_are_chosen_as_in_the_list(reader: httpx.Client, made: Made, pipeline: str) -> None:
    """By status, trigger and time, all of which must be met."""
    queued, running = made.run(QUEUED, trigger="schedule"), made.run(RUNNING, trigger="webhook")
    today, tomorrow = (datetime.now(UTC) + timedelta(days=days) for days in (0, 1))

    def found(**body: Any) -> set[str]:
        answer = cancel(reader, pipelineId=pipeline, dryRun=True, **body)
        assert answer.status_code == 200, answer.text
        return {run["id"] for run in answer.json()["data"]}

    assert found(status=["queued"]) == {queued}
    assert found(status=["running", "queued"]) == {queued, running}
    assert found(trigger=["webhook", "sensor"]) == {running}
    assert found(trigger=["webhook"], status=["queued"]) == set()
    assert found(dateRange=f"{today:%Y-%m-%d}..") == {queued, running}
    assert found(**{"from": f"{tomorrow:%Y-%m-%d}"}) == set()
    assert found(to=f"{tomorrow:%Y-%m-%d}") == {queued, running}


def test_no_more_than_the_limit(reader: httpx.Client, made: Made, pipeline: str) -> None:
    """The newest are canceled; how many there are is told, so that the call can be repeated."""
    runs = [made.run(QUEUED) for _ in range(5)]
    answer = cancel(reader, pipelineId=pipeline, limit=2).json()
    assert [run["id"] for run in answer["data"]] == [runs[4], runs[3]]
    assert answer["meta"] == {"matched": 5, "requested": 2, "dryRun": False}
    assert made.wished() == {runs[4], runs[3]}
    assert cancel(reader, pipelineId=pipeline, limit=5).json()["meta"]["matched"] == 5


def test_nothing_to_cancel(reader: httpx.Client, pipeline: str) -> None:
    """200, and an empty list."""
    answer = cancel(reader, pipelineId=pipeline)
    assert (answer.status_code, answer.json()) == (
        200,
        {"data": [], "meta": {"matched": 0, "requested": 0, "dryRun": False}},
    )


@pytest.mark.parametrize(
    ("body", "fields"),
    [
        ({}, ["body"]),
        ({"dryRun": True, "limit": 3}, ["body"]),
        ({"status": ["succeeded"]}, ["status.0"]),
        ({"status": "queued"}, ["status"]),
        ({"trigger": ["cron"]}, ["trigger.0"]),
        ({"pipelineId": "a", "limit": 0}, ["limit"]),
        ({"pipelineId": "a", "limit": 1001}, ["limit"]),
        ({"pipelineId": "a\x00"}, ["pipelineId"]),
        ({"pipelineid": "a"}, ["pipelineid"]),
        ({"dateRange": "yesterday"}, ["dateRange"]),
        ({"dateRange": "2025-01-01..", "from": "2025-01-01"}, ["dateRange"]),
        ({"from": "soon", "to": "later"}, ["from", "to"]),
    ],
)
def test_what_can_not_be_understood_cancels_nothing(
    body: dict[str, Any], fields: list[str], reader: httpx.Client, made: Made
) -> None:
    """400 with each field; a filter that says nothing is not one for everything."""
    made.run(QUEUED)
    answer = cancel(reader, **body)
    assert answer.status_code == 400, answer.text
    assert [detail["field"] for detail in answer.json()["error"]["details"]] == fields
    assert made.wished() == set()


def test_a_body_is_needed(reader: httpx.Client) -> None:
    """Nobody cancels everything by sending nothing."""
    assert reader.post("/api/runs/cancel").status_code == 400


def test_limited_keys_reach_only_their_runs(reader: httpx.Client, made: Made, pipeline: str, database_url: str) -> None:
    """Those of other pipelines are not there for them; and canceling needs the scope."""
    run_id = made.run(QUEUED)
    other = bearer(make_key(database_url, Scope.PIPELINES_RUN, pipelines=("pl_elsewhere",))[1])
    for body in ({"pipelineId": pipeline}, {"status": ["queued"]}):
        assert cancel(reader, headers=other, **body).json()["meta"]["matched"] == 0
    assert made.wished() == set()
    assert (
        cancel(reader, headers=bearer(make_key(database_url, Scope.PIPELINES_READ)[1]), pipelineId="a").status_code
        == 403
    )
    own = bearer(make_key(database_url, Scope.PIPELINES_RUN, pipelines=(pipeline,))[1])
    assert [run["id"] for run in cancel(reader, headers=own, status=["queued"]).json()["data"]] == [run_id]


def test_one_call_is_one_entry_in_the_audit_trail(
    reader: httpx.Client, made: Made, pipeline: str, database_url: str, instance: DagsterInstance
) -> None:
    """With what was asked for and the ids; and with how many ended how, once they have."""
    key_id, secret = make_key(database_url, Scope.PIPELINES_RUN)
    runs = [made.run(QUEUED), made.run(RUNNING)]
    cancel(reader, headers=bearer(secret), pipelineId=pipeline, dryRun=True)
    cancel(reader, headers=bearer(secret), pipelineId=pipeline, trigger=["api"])
    with open_records(database_url) as records:

        def details() -> list[dict[str, Any]]:
            found = records.audit.list_events(AuditFilter(actor=key_id), limit=10)
            assert {(event.action, event.resource) for event in found} == {("run.cancel", None)}
            return [dict(event.detail) for event in reversed(found)]

        dry = {"filter": {"pipelineId": pipeline}, "dryRun": True, "runIds": runs[::-1]}
        real = {"filter": {"pipelineId": pipeline, "trigger": ["api"]}, "dryRun": False, "runIds": runs[::-1]}
        assert details() == [dry, real]
        made.end()
        wait_until(lambda: details() == [dry, {**real, "outcome": {"canceled": 2}}], seconds=20)
