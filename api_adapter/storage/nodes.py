"""What happened to each node of a run: its graph joined with the step events of the event log."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Literal

from sqlalchemy import Connection

from api_adapter.storage.events import EventError
from api_adapter.storage.graphs import GraphNode
from api_adapter.storage.runs import RunRecord
from api_adapter.storage.story import STEP_EVENTS, StoryEvent, read_story
from planasonix_orchestrator.contract import metadata

NodeStatus = Literal["pending", "queued", "running", "succeeded", "failed", "skipped", "canceled"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One attempt of a node; `error` is why it failed."""

    started_at: datetime
    finished_at: datetime | None = None
    status: NodeStatus = "running"
    error: EventError | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeRecord:
    """A node of a run. `metrics` are keyed as in `contract.metadata`; `error` is that of the last failed attempt."""

    node_id: str
    type: str
    status: NodeStatus
    started_at: datetime | None
    finished_at: datetime | None
    attempts: tuple[Attempt, ...]
    metrics: Mapping[str, int | float]
    error: EventError | None

    @property
    def retries(self) -> int:
        """The attempts after the first."""
        return max(len(self.attempts) - 1, 0)


def read_nodes(connection: Connection, *, run: RunRecord, graph: Sequence[GraphNode]) -> list[NodeRecord]:
    """Return every node of a run's graph with what became of it, in the graph's order."""
    events = read_story(connection, run_id=run.dagster_id, types=STEP_EVENTS)
    return tell_nodes(run, graph=graph, events=events)


def tell_nodes(run: RunRecord, *, graph: Sequence[GraphNode], events: Iterable[StoryEvent]) -> list[NodeRecord]:
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
    finished_at: datetime | None = None
    attempts: list[Attempt] = field(default_factory=list)
    metrics: dict[str, int | float] = field(default_factory=dict)
    error: EventError | None = None

    @property
    def started_at(self) -> datetime | None:
        return self.attempts[0].started_at if self.attempts else None

    def take(self, event: StoryEvent) -> None:
        match event.type:
            case "STEP_START" | "STEP_RESTARTED":
                self.state, self.finished_at = "running", None
                self.attempts.append(Attempt(started_at=event.time))
                self.metrics.clear()
            case "STEP_OUTPUT":
                for label, value in event.event.figures.items():
                    self.metrics[label] = self.metrics.get(label, 0) + value
            case "STEP_UP_FOR_RETRY":
                self.state, self.error = "waiting", event.event.error
                self._end_attempt(event, status="failed")
            case "STEP_SUCCESS":
                self.state, self.finished_at, self.error = "succeeded", event.time, None
                self._end_attempt(event, status="succeeded")
            case "STEP_FAILURE":
                self.state, self.finished_at, self.error = "failed", event.time, event.event.error
                self._end_attempt(event, status="failed")
            case "STEP_SKIPPED":
                self.state, self.finished_at = "skipped", event.time

    def _end_attempt(self, event: StoryEvent, *, status: NodeStatus) -> None:
        if self.attempts:
            error = self.error if status == "failed" else None
            started_at = self.attempts[-1].started_at
            self.attempts[-1] = Attempt(started_at=started_at, finished_at=event.time, status=status, error=error)


def _record(run: RunRecord, *, node: GraphNode, steps: Mapping[str, _Step]) -> NodeRecord:
    step = steps[node.step_key]
    status = _status(run, node=node, steps=steps)
    ended_with_run = status in {"failed", "canceled"} and step.started_at is not None
    finished_at = step.finished_at or (run.finished_at if ended_with_run else None)
    return NodeRecord(
        node_id=node.node_id,
        type=node.type,
        status=status,
        started_at=step.started_at,
        finished_at=finished_at,
        attempts=_attempts(step, status=status, finished_at=finished_at),
        metrics={label: step.metrics[label] for label in _FIGURES if label in step.metrics},
        error=step.error if status == "failed" else None,
    )


def _attempts(step: _Step, *, status: NodeStatus, finished_at: datetime | None) -> tuple[Attempt, ...]:
    """Return the attempts; the last one ends as the node did, which a lost or canceled worker does not tell itself."""
    if not step.attempts or status in {"running", "queued"} or step.attempts[-1].status == status:
        return tuple(step.attempts)
    last = step.attempts[-1]
    if last.status == "failed" and step.state == "waiting":  # the run ended before the next attempt
        return tuple(step.attempts)
    ended = replace(last, status=status, finished_at=last.finished_at or finished_at, error=None)
    return (*step.attempts[:-1], ended)


_FIGURES = (
    metadata.ROWS_IN,
    metadata.ROWS_OUT,
    metadata.BYTES_READ,
    metadata.BYTES_WRITTEN,
    metadata.BYTES_SHUFFLED,
    metadata.CPU_SECONDS,
    metadata.PEAK_MEMORY_BYTES,
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
