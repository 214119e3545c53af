"""What happened to each node of a run: its graph joined with the step events of the event log."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from sqlalchemy import Connection

from api_adapter.storage.events import Event, EventError, read_events
from api_adapter.storage.graphs import GraphNode
from api_adapter.storage.runs import RunRecord
from planasonix_orchestrator.contract import metadata

NodeStatus = Literal["pending", "queued", "running", "succeeded", "failed", "skipped", "canceled"]

STEP_EVENTS = frozenset(
    {
        "STEP_START",
        "STEP_OUTPUT",
        "STEP_SUCCESS",
        "STEP_FAILURE",
        "STEP_UP_FOR_RETRY",
        "STEP_RESTARTED",
        "STEP_SKIPPED",
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeRecord:
    """A node of a run. `metrics` are keyed as in `contract.metadata`; `error` is that of the last failed attempt."""

    node_id: str
    type: str
    status: NodeStatus
    started_at: datetime | None
    finished_at: datetime | None
    retries: int
    metrics: Mapping[str, int]
    error: EventError | None


def read_nodes(connection: Connection, *, run: RunRecord, graph: Sequence[GraphNode]) -> list[NodeRecord]:
    """Return every node of a run's graph with what became of it, in the graph's order."""
    return tell_nodes(
        run, graph=graph, events=read_events(connection, dagster_run_id=run.dagster_id, types=STEP_EVENTS)
    )


def tell_nodes(run: RunRecord, *, graph: Sequence[GraphNode], events: Iterable[Event]) -> list[NodeRecord]:
    """Fold the step events of a run into one record per node."""
    steps = {node.step_key: _Step() for node in graph}
    for event in events:
        step = steps.get((event.step_key or "").partition("[")[0])  # a dynamic step is its node with a key in brackets
        if step is not None:
            step.take(event)
    return [_record(run, node=node, steps=steps) for node in graph]


@dataclass(slots=True)
class _Step:
    """A step's state, as far as its events have told it."""

    state: Literal["none", "running", "waiting", "succeeded", "failed", "skipped"] = "none"
    started_at: datetime | None = None
    finished_at: datetime | None = None
    retries: int = 0
    metrics: dict[str, int] = field(default_factory=dict)
    error: EventError | None = None

    def take(self, event: Event) -> None:
        match event.type:
            case "STEP_START":
                self.state, self.started_at = "running", self.started_at or event.time
            case "STEP_RESTARTED":
                self.state, self.retries, self.finished_at = "running", self.retries + 1, None
                self.metrics.clear()
            case "STEP_OUTPUT":
                for label, value in event.integers.items():
                    self.metrics[label] = self.metrics.get(label, 0) + value
            case "STEP_UP_FOR_RETRY":
                self.state, self.error = "waiting", event.error
            case "STEP_SUCCESS":
                self.state, self.finished_at, self.error = "succeeded", event.time, None
            case "STEP_FAILURE":
                self.state, self.finished_at, self.error = "failed", event.time, event.error
            case "STEP_SKIPPED":
                self.state, self.finished_at = "skipped", event.time


def _record(run: RunRecord, *, node: GraphNode, steps: Mapping[str, _Step]) -> NodeRecord:
    step = steps[node.step_key]
    status = _status(run, node=node, steps=steps)
    ended_with_run = status in {"failed", "canceled"} and step.started_at is not None
    return NodeRecord(
        node_id=node.node_id,
        type=node.type,
        status=status,
        started_at=step.started_at,
        finished_at=step.finished_at or (run.finished_at if ended_with_run else None),
        retries=step.retries,
        metrics={label: step.metrics[label] for label in _FIGURES if label in step.metrics},
        error=step.error if status == "failed" else None,
    )


_FIGURES = (
    metadata.ROWS_IN,
    metadata.ROWS_OUT,
    metadata.BYTES_READ,
    metadata.BYTES_WRITTEN,
    metadata.BYTES_SHUFFLED,
)


def _status(run: RunRecord, *, node: GraphNode, steps: Mapping[str, _Step]) -> NodeStatus:
    step = steps[node.step_key]
    canceling = run.dagster_status in {"CANCELING", "CANCELED"}
    match step.state:
        case "succeeded" | "skipped":
            return step.state
        case "failed":
            interrupted = step.error is not None and step.error.is_interruption
            return "canceled" if canceling and interrupted else "failed"
        case "running" | "waiting" if run.finished:
            return "canceled" if run.status == "canceled" else "failed"
        case "running":
            return "running"
        case "waiting":
            return "queued"
    if run.finished:
        return "canceled" if run.status == "canceled" else "skipped"
    return _not_started(node, steps=steps)


def _not_started(node: GraphNode, *, steps: Mapping[str, _Step]) -> NodeStatus:
    upstream = [steps[key].state for key in node.upstream]
    if any(state in {"failed", "skipped"} for state in upstream):
        return "skipped"
    return "queued" if all(state == "succeeded" for state in upstream) else "pending"
