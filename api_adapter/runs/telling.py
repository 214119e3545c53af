"""Puts parts of a run into the API's words: its trigger, variables, figures and error."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from urllib.parse import quote

from api_adapter.runs.schemas import RunError, RunMetrics, Trigger
from api_adapter.storage import EventError, NodeRecord, RunRecord, RunStory
from planasonix_orchestrator.contract import metadata
from planasonix_orchestrator.contract.masking import masked
from planasonix_orchestrator.contract.origins import tell_origin


def tell_trigger(run: RunRecord) -> Trigger:
    """Return what started a run."""
    trigger: Trigger = tell_origin(run.tags, run_id=run.dagster_id)  # type: ignore[assignment]
    return trigger


def tell_variables(config: Mapping[str, Any]) -> dict[str, str | int | float | bool | None]:
    """Return the variables in a run's config, secrets masked."""
    resources = config.get("resources")
    resource = resources.get(metadata.VARIABLES_RESOURCE) if isinstance(resources, dict) else None
    given = resource.get("config") if isinstance(resource, dict) else None
    if not isinstance(given, dict):
        return {}
    return {
        str(name): masked(str(name), value)
        for name, value in given.items()
        if value is None or isinstance(value, str | int | float | bool)
    }


def tell_metrics(nodes: Sequence[NodeRecord], *, weights: Mapping[str, float]) -> RunMetrics:
    """Return the figures of a run: sums over its nodes, but for the peak of memory, and the cost that they make.

    Nodes that it has reused are work of another run.
    """
    nodes = [node for node in nodes if node.reused_from is None]
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
    # A node that was interrupted has not failed by itself: its worker was lost.
    failed = [node for node in story.nodes if node.error and not node.error.is_interruption and node.finished_at]
    first = min(failed, key=lambda node: node.finished_at or story.run.queued_at, default=None)
    if first is not None and first.error is not None:
        return RunError(
            message=first.error.message,
            node_id=first.error.node_id or first.node_id,
            code=first.error.code,
            stack_ref=_stack_ref(story.run, error=first.error, node_id=first.node_id),
        )
    failure = story.end.failure
    return RunError(
        message=failure.message if failure else "The run failed without saying why.",
        node_id=None,
        code=failure.code if failure else "run_error",
        stack_ref=_stack_ref(story.run, error=failure, node_id=None),
    )


def _stack_ref(run: RunRecord, *, error: EventError | None, node_id: str | None) -> str | None:
    if error is None or not error.stack:
        return None
    query = f"?nodeId={quote(node_id, safe='')}" if node_id is not None else ""
    return f"/api/runs/{run.id}/stack{query}"
