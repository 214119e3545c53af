"""Puts parts of a run into the API's words: its trigger, variables, figures, errors and nodes."""

import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, get_args
from urllib.parse import quote

from api_adapter.runs.schemas import (
    ErrorCode,
    NodeAttempt,
    NodeError,
    NodeMetrics,
    RunError,
    RunMetrics,
    RunNode,
    Trigger,
)
from api_adapter.storage import Attempt, EventError, NodeRecord, RunRecord, RunStory
from planasonix_orchestrator.contract import metadata
from planasonix_orchestrator.contract import tags as tag_names

MASK = "***"
# Run config is no place for secrets, and pipelines declare none; what is put there all the same is not repeated.
_SECRET = re.compile(r"pass(word|wd|phrase)?$|secret|token|credential|(api|access|private)_?key", re.IGNORECASE)

# The keys of the trigger object, and the tags that hold them, the more telling first.
_TRIGGER_TAGS = {
    "scheduleId": (tag_names.SCHEDULE_ID, "dagster/schedule_name"),
    "triggerId": (tag_names.TRIGGER_ID,),
    "sensor": ("dagster/sensor_name",),
    "backfillId": ("dagster/backfill",),
    "user": (tag_names.USER, "user"),
}
_NODE_METRICS = {
    "rowsIn": metadata.ROWS_IN,
    "rowsOut": metadata.ROWS_OUT,
    "bytesRead": metadata.BYTES_READ,
    "bytesWritten": metadata.BYTES_WRITTEN,
    "bytesShuffled": metadata.BYTES_SHUFFLED,
    "cpuSeconds": metadata.CPU_SECONDS,
    "peakMemoryBytes": metadata.PEAK_MEMORY_BYTES,
}


def tell_trigger(run: RunRecord) -> Trigger:
    """Return what started a run."""
    facts = {
        key: value
        for key, tags in _TRIGGER_TAGS.items()
        if not run.is_reexecution and (value := next((run.tags[tag] for tag in tags if run.tags.get(tag)), None))
    }
    parent = {"parentRunId": run.parent_id} if run.parent_id else {}
    trigger: Trigger = {"type": run.trigger, **facts, **parent}  # type: ignore[typeddict-item]
    return trigger


def tell_variables(config: Mapping[str, Any]) -> dict[str, str | int | float | bool | None]:
    """Return the variables in a run's config, secrets masked."""
    resources = config.get("resources")
    resource = resources.get(metadata.VARIABLES_RESOURCE) if isinstance(resources, dict) else None
    given = resource.get("config") if isinstance(resource, dict) else None
    if not isinstance(given, dict):
        return {}
    return {
        str(name): MASK if _SECRET.search(str(name)) and value is not None else value
        for name, value in given.items()
        if value is None or isinstance(value, str | int | float | bool)
    }


def tell_metrics(nodes: Sequence[NodeRecord], *, weights: Mapping[str, float]) -> RunMetrics:
    """Return the figures of a run: sums over its nodes, but for the peak of memory, and the cost that they make."""
    sums = {
        "rowsRead": _total(metadata.ROWS_OUT, (node for node in nodes if node.type.startswith("source."))),
        "rowsWritten": _total(metadata.ROWS_IN, (node for node in nodes if node.type.startswith("destination."))),
        "bytesRead": _total(metadata.BYTES_READ, nodes),
        "bytesWritten": _total(metadata.BYTES_WRITTEN, nodes),
        "bytesShuffled": _total(metadata.BYTES_SHUFFLED, nodes),
        "cpuSeconds": round(_total(metadata.CPU_SECONDS, nodes), 3),
    }
    peak = max((node.metrics.get(metadata.PEAK_MEMORY_BYTES, 0) for node in nodes), default=0)
    cost = round(sum(weight * sums[name] for name, weight in weights.items()), 6)
    return RunMetrics.model_validate({**sums, "peakMemoryBytes": peak, "costUnits": cost})


def _total(figure: str, nodes: Iterable[NodeRecord]) -> int | float:
    return sum(node.metrics.get(figure, 0) for node in nodes)


def tell_error(story: RunStory) -> RunError | None:
    """Return why a run failed: what the first node that did has said, or the run as a whole; None unless it failed."""
    if story.run.status != "failed":
        return None
    failed = [node for node in story.nodes if node.status == "failed" and node.error and node.finished_at]
    first = min(failed, key=lambda node: node.finished_at or story.run.queued_at, default=None)
    if first is not None and first.error is not None:
        return RunError(
            message=first.error.message,
            node_id=first.error.node_id or first.node_id,
            code=_code(first.error),
            stack_ref=_stack_ref(story.run, error=first.error, node_id=first.node_id),
        )
    failure = story.end.failure
    return RunError(
        message=failure.message if failure else "The run failed without saying why.",
        node_id=None,
        code=_code(failure) if failure else "run_error",
        stack_ref=_stack_ref(story.run, error=failure, node_id=None),
    )


def _stack_ref(run: RunRecord, *, error: EventError | None, node_id: str | None) -> str | None:
    if error is None or not error.stack:
        return None
    query = f"?nodeId={quote(node_id, safe='')}" if node_id is not None else ""
    return f"/api/runs/{run.id}/stack{query}"


def tell_node(node: NodeRecord, *, now: datetime) -> RunNode:
    """Return a node of a run."""
    return RunNode(
        node_id=node.node_id,
        type=node.type,
        status=node.status,
        started_at=node.started_at,
        finished_at=node.finished_at,
        duration_seconds=_duration(node.started_at, node.finished_at or (now if node.status == "running" else None)),
        retries=node.retries,
        attempts=[_attempt(attempt, number=number, now=now) for number, attempt in enumerate(node.attempts, start=1)],
        metrics=_node_metrics(node),
        error=_node_error(node.error),
    )


def _attempt(attempt: Attempt, *, number: int, now: datetime) -> NodeAttempt:
    return NodeAttempt(
        attempt=number,
        status=attempt.status,
        started_at=attempt.started_at,
        finished_at=attempt.finished_at,
        duration_seconds=_duration(
            attempt.started_at, attempt.finished_at or (now if attempt.status == "running" else None)
        ),
        error=_node_error(attempt.error),
    )


def _duration(start: datetime | None, end: datetime | None) -> float | None:
    return max((end - start).total_seconds(), 0.0) if start and end else None


def _node_metrics(node: NodeRecord) -> NodeMetrics:
    metrics: NodeMetrics = {  # type: ignore[assignment]  # keys are NodeMetrics'
        name: _exactly(node.metrics[figure]) for name, figure in _NODE_METRICS.items() if figure in node.metrics
    }
    return metrics


def _exactly(figure: int | float) -> int | float:
    return figure if isinstance(figure, int) else round(figure, 3)


def _node_error(error: EventError | None) -> NodeError | None:
    return NodeError(message=error.message, code=_code(error), node_id=error.node_id) if error else None


def _code(error: EventError) -> ErrorCode:
    code: ErrorCode = error.code if error.code in get_args(ErrorCode) else "node_error"  # type: ignore[assignment]
    return code
