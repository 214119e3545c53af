"""Tells runs in the API's words: puts what storage reads into the shapes of `schemas`."""

from collections.abc import Iterable, Sequence
from datetime import datetime

from api_adapter.addresses import dagster_run_id
from api_adapter.auth import Principal
from api_adapter.dependencies import Services
from api_adapter.errors import InvalidRequestError, RunFinishedError, RunNotFoundError
from api_adapter.pagination import PageMeta, decode_cursor, encode_cursor
from api_adapter.runs.log_cursor import PREFIX, decode_log_cursor, encode_log_cursor
from api_adapter.runs.schemas import (
    CancelAnswer,
    NodeError,
    NodeMetrics,
    RunDetail,
    RunError,
    RunList,
    RunLogLine,
    RunLogs,
    RunMetrics,
    RunNode,
    RunNodes,
    RunSummary,
    Trigger,
)
from api_adapter.storage import LogLevel, LogPosition, NodeRecord, RunFilter, RunRecord, api_run_id
from api_adapter.timestamps import parse_timestamp
from planasonix_orchestrator.contract import metadata
from planasonix_orchestrator.contract import tags as tag_names


def list_runs(
    services: Services, *, principal: Principal, filter_by: RunFilter, limit: int, cursor: str | None
) -> RunList:
    """Return a page of runs, newest first."""
    below = decode_cursor(cursor, scope=filter_by) if cursor is not None else None
    runs = services.storage.list_runs(filter_by, limit=limit + 1, below=below)
    page, more = runs[:limit], len(runs) > limit
    return RunList(
        data=[_summary(run, now=services.clock()) for run in page],
        meta=PageMeta(cursor=encode_cursor(page[-1].position, scope=filter_by) if more else None),
    )


def read_run(services: Services, *, principal: Principal, run_id: str) -> RunDetail:
    """Return a run in full."""
    run, nodes = _run_with_nodes(services, principal=principal, run_id=run_id)
    return RunDetail(
        id=run.id,
        pipeline_id=run.pipeline_id,
        pipeline_name=run.pipeline_name,
        pipeline_version=run.tags.get(tag_names.PIPELINE_VERSION),
        environment_id=run.tags.get(tag_names.ENVIRONMENT_ID),
        status=run.status,
        trigger=_trigger(run),
        queued_at=run.queued_at,
        started_at=run.started_at,
        finished_at=run.finished_at,
        duration_seconds=run.duration_at(services.clock()),
        metrics=_run_metrics(nodes),
        error=_run_error(services, run=run, nodes=nodes),
    )


def read_nodes(services: Services, *, principal: Principal, run_id: str) -> RunNodes:
    """Return every node of a run."""
    run, nodes = _run_with_nodes(services, principal=principal, run_id=run_id)
    return RunNodes(run_id=run.id, nodes=[_node(node, now=services.clock()) for node in nodes])


def read_logs(
    services: Services,
    *,
    principal: Principal,
    run_id: str,
    node_id: str | None,
    since: str | None,
    level: LogLevel,
    limit: int,
) -> RunLogs:
    """Return a page of a run's log."""
    after, moment = _since(since, run_id=run_id)
    page = services.storage.read_log(
        dagster_run_id(run_id), limit=limit, after=after, since=moment, node_id=node_id, level=level
    )
    if page is None:
        raise RunNotFoundError(run_id)
    return RunLogs(
        run_id=run_id,
        lines=[
            RunLogLine(ts=line.time, level=line.level, node_id=line.node_id, message=line.message)
            for line in page.lines
        ],
        next_cursor=None if page.complete else encode_log_cursor(page.position, run_id=run_id),
    )


def cancel_run(services: Services, *, principal: Principal, run_id: str) -> CancelAnswer:
    """Ask that a run be canceled; `RunFinishedError` if it has already succeeded or failed."""
    dagster_id = dagster_run_id(run_id)
    run = services.storage.read_run(dagster_id)
    if run is None or not principal.may_see(run.pipeline_id):
        raise RunNotFoundError(run_id)
    if run.status == "canceled":
        return CancelAnswer(id=run.id, status="canceled", message="The run is already canceled.")
    if run.finished:
        raise RunFinishedError(run.id, final_status=run.status)
    services.control.cancel(dagster_id, user=principal.name, at=services.clock())
    return CancelAnswer(
        id=run.id,
        status="cancel_requested",
        message="Cancellation accepted; workers stop after their current safe point.",
    )


def _run_with_nodes(services: Services, *, principal: Principal, run_id: str) -> tuple[RunRecord, Sequence[NodeRecord]]:
    found = services.storage.read_nodes(dagster_run_id(run_id))
    if found is None or not principal.may_see(found[0].pipeline_id):
        raise RunNotFoundError(run_id)
    return found


def _since(since: str | None, *, run_id: str) -> tuple[LogPosition, datetime | None]:
    if since is None:
        return LogPosition(), None
    if since.startswith(PREFIX):
        return decode_log_cursor(since, run_id=run_id), None
    try:
        return LogPosition(), parse_timestamp(since)
    except (ValueError, OverflowError) as error:
        raise InvalidRequestError.of_field(
            "since", "must be a timestamp such as 2025-03-31T14:00:00Z, or nextCursor of the page before"
        ) from error


def _summary(run: RunRecord, *, now: datetime) -> RunSummary:
    return RunSummary(
        id=run.id,
        pipeline_id=run.pipeline_id,
        status=run.status,
        trigger=run.trigger,
        started_at=run.started_at,
        finished_at=run.finished_at,
        duration_seconds=run.duration_at(now),
    )


def _trigger(run: RunRecord) -> Trigger:
    trigger: Trigger = {"type": run.trigger}
    schedule = run.tags.get(tag_names.SCHEDULE_ID) or run.tags.get("dagster/schedule_name")
    if schedule:
        trigger["scheduleId"] = schedule
    if sensor := run.tags.get("dagster/sensor_name"):
        trigger["sensor"] = sensor
    if backfill := run.tags.get("dagster/backfill"):
        trigger["backfillId"] = backfill
    if parent := run.tags.get("dagster/parent_run_id"):
        trigger["parentRunId"] = api_run_id(parent)
    return trigger


def _run_metrics(nodes: Sequence[NodeRecord]) -> RunMetrics:
    return RunMetrics(
        rows_read=_total(metadata.ROWS_OUT, (node for node in nodes if node.type.startswith("source."))),
        rows_written=_total(metadata.ROWS_IN, (node for node in nodes if node.type.startswith("destination."))),
        bytes_read=_total(metadata.BYTES_READ, nodes),
        bytes_written=_total(metadata.BYTES_WRITTEN, nodes),
        bytes_shuffled=_total(metadata.BYTES_SHUFFLED, nodes),
    )


def _total(figure: str, nodes: Iterable[NodeRecord]) -> int:
    return sum(node.metrics.get(figure, 0) for node in nodes)


def _run_error(services: Services, *, run: RunRecord, nodes: Sequence[NodeRecord]) -> RunError | None:
    if run.status != "failed":
        return None
    failed = [node for node in nodes if node.status == "failed" and node.error and node.finished_at]
    if failed:
        first = min(failed, key=lambda node: node.finished_at or run.queued_at)
        return RunError(message=first.error.message if first.error else "", node_id=first.node_id)
    reported = services.storage.read_failure(run.dagster_id)
    return RunError(message=reported.message if reported else "The run failed without saying why.", node_id=None)


def _node(node: NodeRecord, *, now: datetime) -> RunNode:
    ended = node.finished_at or (now if node.status == "running" else None)
    return RunNode(
        node_id=node.node_id,
        type=node.type,
        status=node.status,
        started_at=node.started_at,
        finished_at=node.finished_at,
        duration_seconds=(ended - node.started_at).total_seconds() if ended and node.started_at else None,
        retries=node.retries,
        metrics=_node_metrics(node),
        error=NodeError(message=node.error.message) if node.error else None,
    )


def _node_metrics(node: NodeRecord) -> NodeMetrics:
    metrics: NodeMetrics = {}
    if (value := node.metrics.get(metadata.ROWS_IN)) is not None:
        metrics["rowsIn"] = value
    if (value := node.metrics.get(metadata.ROWS_OUT)) is not None:
        metrics["rowsOut"] = value
    if (value := node.metrics.get(metadata.BYTES_READ)) is not None:
        metrics["bytesRead"] = value
    if (value := node.metrics.get(metadata.BYTES_WRITTEN)) is not None:
        metrics["bytesWritten"] = value
    if (value := node.metrics.get(metadata.BYTES_SHUFFLED)) is not None:
        metrics["bytesShuffled"] = value
    return metrics
