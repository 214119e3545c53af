"""Pages of runs and lists of nodes as JSON, straight from the record: models of them would cost more than the reading.

`schemas` says what they look like; tests hold the two together.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import orjson

from api_adapter.storage import Attempt, EventError, ListedRun, NodeRecord
from api_adapter.timestamps import format_seconds, format_span, format_unix
from planasonix_orchestrator.contract import metadata

_METRICS = (
    ("rowsIn", metadata.ROWS_IN),
    ("rowsOut", metadata.ROWS_OUT),
    ("bytesRead", metadata.BYTES_READ),
    ("bytesWritten", metadata.BYTES_WRITTEN),
    ("bytesShuffled", metadata.BYTES_SHUFFLED),
    ("cpuSeconds", metadata.CPU_SECONDS),
    ("peakMemoryBytes", metadata.PEAK_MEMORY_BYTES),
)


def write_runs(runs: Sequence[ListedRun], *, cursor: str | None, now: datetime) -> bytes:
    """Return a `RunList`."""
    at = now.timestamp()
    return orjson.dumps({"data": [_run(run, now=at) for run in runs], "meta": {"cursor": cursor}})


def write_nodes(nodes: Sequence[NodeRecord], *, run_id: str, now: datetime) -> bytes:
    """Return a `RunNodes`."""
    return orjson.dumps({"runId": run_id, "nodes": [_node(node, now=now) for node in nodes]})


def _run(run: ListedRun, *, now: float) -> dict[str, Any]:
    started, finished = run.started_at, run.finished_at
    return {
        "id": run.id,
        "pipelineId": run.pipeline_id,
        "status": run.status,
        "trigger": run.trigger,
        "startedAt": None if started is None else format_unix(started),
        "finishedAt": None if finished is None else format_unix(finished),
        "durationSeconds": None if started is None else format_span(started, now if finished is None else finished),
    }


def _node(node: NodeRecord, *, now: datetime) -> dict[str, Any]:
    return {
        "nodeId": node.node_id,
        "type": node.type,
        "status": node.status,
        "startedAt": _moment(node.started_at),
        "finishedAt": _moment(node.finished_at),
        "durationSeconds": _seconds(node.started_at, node.finished_at or (now if node.status == "running" else None)),
        "retries": node.retries,
        "attempts": [_attempt(attempt, number, now=now) for number, attempt in enumerate(node.attempts, start=1)],
        "metrics": {name: _figure(node.metrics[key]) for name, key in _METRICS if key in node.metrics},
        "error": _error(node.error),
        "reusedFrom": node.reused_from,
    }


def _attempt(attempt: Attempt, number: int, *, now: datetime) -> dict[str, Any]:
    until = attempt.finished_at or (now if attempt.status == "running" else None)
    return {
        "attempt": number,
        "status": attempt.status,
        "startedAt": _moment(attempt.started_at),
        "finishedAt": _moment(attempt.finished_at),
        "durationSeconds": _seconds(attempt.started_at, until),
        "error": _error(attempt.error),
    }


def _error(error: EventError | None) -> dict[str, Any] | None:
    return {"message": error.message, "code": error.code, "nodeId": error.node_id} if error else None


def _figure(figure: int | float) -> int | float:
    return figure if isinstance(figure, int) else round(figure, 3)


def _moment(moment: datetime | None) -> str | None:
    return format_unix(moment.timestamp()) if moment else None


def _seconds(start: datetime | None, end: datetime | None) -> int | float | None:
    return format_seconds(max((end - start).total_seconds(), 0.0)) if start and end else None
