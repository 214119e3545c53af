"""What became of the nodes of a run, at every moment of it: folded from the events of runs that Dagster executed."""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime

import dagster as dg
import httpx
import psycopg2
import pytest
from dagster import DagsterInstance, DagsterRunStatus, JobDefinition
from dagster._core.errors import DagsterExecutionInterruptedError
from dagster._core.execution.api import create_execution_plan
from dagster._serdes import serialize_value

from api_adapter.runs.telling import tell_error
from api_adapter.storage import NodeRecord, RunRecord, Storage
from api_adapter.storage.ends import RunEnd
from api_adapter.storage.events import EventError
from api_adapter.storage.graphs import GraphNode
from api_adapter.storage.nodes import tell_nodes
from api_adapter.storage.story import STEP_EVENTS, StoryEvent
from planasonix_orchestrator.contract.ids import encode_run_id
from tests.api import served
from tests.api.making import execute


@dg.op
def work_on_twice(context: dg.OpExecutionContext, part: int) -> dg.Output[int]:
    if part == 2 and context.retry_number == 0:
        raise dg.RetryRequested(max_retries=1)
    return dg.Output(part, metadata={"planasonix/rows_out": 10, "planasonix/peak_memory_bytes": 100 + part})


@dg.op
def add(parts: list[int]) -> int:
    return sum(parts)


@dg.job(executor_def=dg.in_process_executor)
def fan_out_and_in() -> None:
    add(served.split().map(work_on_twice).collect())


@dg.op
def interrupt(context: dg.OpExecutionContext, rows: int) -> int:
    if context.run.tags.get("canceled") == "yes":
        context.instance.report_run_canceling(context.run)
    raise KeyboardInterrupt


@dg.op
def fail(rows: int) -> int:
    raise ValueError(rows)


@dg.op
def fail_at_some_cost(rows: int) -> int:
    raise dg.Failure("no", metadata={"planasonix/cpu_seconds": 1.5, "planasonix/peak_memory_bytes": 2**31})


@dg.op
def fail_at_first(context: dg.OpExecutionContext, rows: int) -> int:
    if context.retry_number == 0:
        raise dg.RetryRequested(max_retries=1) from OSError("the disk is away")
    return rows


def chain(op: dg.OpDefinition) -> JobDefinition:
    """A job of four nodes in a row, the second of which is `op`."""

    @dg.job(name=f"chain_{op.name}", executor_def=dg.in_process_executor)
    def job() -> None:
        served.publish(served.clean(op(served.extract())))

    return job


class Told:
    """A run that Dagster has executed, and its nodes as they were told after each of its events."""

    def __init__(self, run_id: str, *, instance: DagsterInstance, storage: Storage) -> None:
        found = storage.read_story(run_id)
        assert found is not None
        self.story = found
        self.events = list(_events(instance, run_id=run_id))
        self.graph = [
            GraphNode(node_id=node.node_id, type=node.type, step_key=node.node_id, upstream=before)
            for node, before in zip(found.nodes, [(), *((node.node_id,) for node in found.nodes)], strict=False)
        ]

    def after(self, number: int, *, status: DagsterRunStatus = DagsterRunStatus.STARTED) -> list[NodeRecord]:
        """The nodes after so many events, in a run of this status."""
        return tell_nodes(self.run(status), graph=self.graph, events=self.events[:number])

    def run(self, status: DagsterRunStatus) -> RunRecord:
        """The run, as if it were in this status."""
        words = {DagsterRunStatus.FAILURE: "failed", DagsterRunStatus.CANCELED: "canceled"}
        return replace(self.story.run, dagster_status=status.value, status=words.get(status, "running"))  # type: ignore[arg-type]

    def count(self, event_type: str) -> int:
        """How many events there are up to the last of this type, itself included."""
        return max(number for number, event in enumerate(self.events, start=1) if event.type == event_type)


def _events(instance: DagsterInstance, *, run_id: str) -> Iterator[StoryEvent]:
    for record in instance.get_records_for_run(run_id).records:
        entry = record.event_log_entry
        kind = entry.dagster_event.event_type_value if entry.dagster_event else None
        if kind in STEP_EVENTS:
            moment = datetime.fromtimestamp(entry.timestamp, UTC)
            yield StoryEvent(record.storage_id, kind, entry.step_key, moment, serialize_value(entry))


def statuses(nodes: Sequence[NodeRecord]) -> list[str]:
    return [node.status for node in nodes]


def test_a_node_of_several_steps_ends_with_the_last_of_them(instance: DagsterInstance, storage: Storage) -> None:
    """A mapped node goes on until each of its steps has ended; its figures are sums, its retries only real ones."""
    told = Told(execute(fan_out_and_in, instance=instance), instance=instance, storage=storage)
    for number in range(len(told.events) + 1):
        split, parts, together = told.after(number)
        ended = {event.step_key for event in told.events[:number] if event.type == "STEP_SUCCESS"}
        assert (parts.status == "succeeded") == (ended >= {"work_on_twice[1]", "work_on_twice[2]"})
        assert (together.status == "pending") == (parts.status != "succeeded")
        assert (parts.finished_at is None) == (parts.status != "succeeded")
    assert (split.retries, parts.retries, together.retries) == (0, 1, 0)
    assert [attempt.status for attempt in parts.attempts].count("failed") == 1
    assert len(parts.attempts) == 3
    assert parts.metrics == {"planasonix/rows_out": 20, "planasonix/peak_memory_bytes": 102}


def test_what_can_not_start_any_more_is_skipped_at_once(instance: DagsterInstance, storage: Storage) -> None:
    """As soon as a node has failed, all that come after it are skipped, and they stay so to the end of the run."""
    told = Told(execute(chain(fail), instance=instance), instance=instance, storage=storage)
    expected = ["succeeded", "failed", "skipped", "skipped"]
    assert statuses(told.after(told.count("STEP_FAILURE"))) == expected
    for status in (DagsterRunStatus.CANCELING, DagsterRunStatus.CANCELED, DagsterRunStatus.FAILURE):
        assert statuses(told.after(len(told.events), status=status)) == expected


def test_a_canceled_node_takes_along_those_after_it(
    instance: DagsterInstance, storage: Storage, reader: httpx.Client
) -> None:
    """A node interrupted by a cancellation is canceled, and so are those that wait for it, before and at the end."""
    run_id = interrupted(instance, tags={"canceled": "yes"})
    told = Told(run_id, instance=instance, storage=storage)
    expected = ["succeeded", "canceled", "canceled", "canceled"]
    assert statuses(told.after(len(told.events), status=DagsterRunStatus.CANCELING)) == expected
    assert statuses(told.story.nodes) == expected
    assert [attempt.status for attempt in told.story.nodes[1].attempts] == ["canceled"]
    run = reader.get(f"/api/runs/{encode_run_id(run_id)}").json()
    assert (run["status"], run["canceledBy"], run["error"]) == ("canceled", "user", None)


def test_an_interruption_that_nobody_asked_for_is_a_lost_worker(
    instance: DagsterInstance, reader: httpx.Client
) -> None:
    """Where a worker is told to stop, as when its machine goes down, no node is at fault."""
    run_id = encode_run_id(interrupted(instance, tags={}))
    error = reader.get(f"/api/runs/{run_id}").json()["error"]
    assert (error["code"], error["nodeId"]) == ("worker_lost", None)
    assert error["message"].startswith("The run's worker was told to stop")
    node = reader.get(f"/api/runs/{run_id}/nodes").json()["nodes"][1]
    assert (node["status"], node["error"]["code"]) == ("failed", "worker_lost")


def interrupted(instance: DagsterInstance, *, tags: dict[str, str]) -> str:
    """Execute a run whose worker is told to stop in the midst of its second node, and return its Dagster id."""
    job = chain(interrupt)
    before = {run.run_id for run in instance.get_runs(dg.RunsFilter(job_name=job.name))}
    with suppress(KeyboardInterrupt, DagsterExecutionInterruptedError):
        execute(job, instance=instance, tags=tags)
    (run_id,) = {run.run_id for run in instance.get_runs(dg.RunsFilter(job_name=job.name))} - before
    return run_id


def test_a_failed_node_has_its_cost_among_the_metrics(instance: DagsterInstance, reader: httpx.Client) -> None:
    """What a failed node has cost counts for the run, too: a run that ran out of memory does not hide its peak."""
    run_id = encode_run_id(execute(chain(fail_at_some_cost), instance=instance))
    node = reader.get(f"/api/runs/{run_id}/nodes").json()["nodes"][1]
    assert (node["status"], node["metrics"]) == ("failed", {"cpuSeconds": 1.5, "peakMemoryBytes": 2**31})
    metrics = reader.get(f"/api/runs/{run_id}").json()["metrics"]
    assert (metrics["cpuSeconds"], metrics["peakMemoryBytes"]) == (1.5, 2**31)


@pytest.mark.parametrize("event", ["STEP_UP_FOR_RETRY", "STEP_RESTARTED"])
def test_an_attempt_that_failed_is_not_to_blame_for_a_lost_worker(
    event: str, instance: DagsterInstance, storage: Storage
) -> None:
    """A run whose worker dies before or in another attempt of a node failed for that, not for the attempt before."""
    told = Told(execute(chain(fail_at_first), instance=instance), instance=instance, storage=storage)
    nodes = told.after(told.count(event), status=DagsterRunStatus.FAILURE)
    assert statuses(nodes) == ["succeeded", "failed", "skipped", "skipped"]
    assert nodes[1].error is None
    assert nodes[1].attempts[0].error is not None
    assert nodes[1].attempts[0].error.message == "the disk is away"
    lost = EventError(class_name="RunFailure", message="The worker has gone", code="worker_lost")
    story = replace(told.story, run=told.run(DagsterRunStatus.FAILURE), nodes=nodes, end=RunEnd(failure=lost))
    error = tell_error(story)
    assert error is not None
    assert (error.code, error.node_id, error.message) == ("worker_lost", None, "The worker has gone")


def test_nodes_that_a_run_leaves_out_are_skipped_and_not_waited_for(
    instance: DagsterInstance, storage: Storage
) -> None:
    """A run of some steps, as a re-execution from failure is, has the others as skipped from its begin."""
    job = chain(fail)
    plan = create_execution_plan(job, step_keys_to_execute=["clean", "publish"])
    run = instance.create_run_for_job(job, execution_plan=plan, status=DagsterRunStatus.STARTED)
    found = storage.read_nodes(run.run_id)
    assert found is not None
    assert statuses(found[1]) == ["skipped", "skipped", "queued", "pending"]


def test_a_run_without_its_snapshot_has_the_nodes_that_have_started(
    instance: DagsterInstance, storage: Storage, database_url: str
) -> None:
    """Where Dagster does not know a run's graph, its events tell which nodes there were."""
    run_id = execute(chain(fail), instance=instance)
    with psycopg2.connect(database_url) as connection, connection.cursor() as cursor:
        cursor.execute("UPDATE runs SET snapshot_id = NULL WHERE run_id = %s", (run_id,))
    connection.close()
    found = storage.read_nodes(run_id)
    assert found is not None
    assert [(node.node_id, node.status) for node in found[1]] == [("extract", "succeeded"), ("fail", "failed")]
