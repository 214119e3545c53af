"""What happened to each node of a run: its graph joined with the step events of the event log."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from api_adapter.storage.database import Connection
from api_adapter.storage.events import EventError
from api_adapter.storage.graphs import GraphNode
from api_adapter.storage.runs import RunRecord
from api_adapter.storage.steps import FIGURES, Attempt, NodeStatus, Step, merge
from api_adapter.storage.story import STEP_EVENTS, StoryEvent, read_story
from planasonix_orchestrator.contract.names import decode_name


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeRecord:
    """A node of a run. `metrics` are keyed as in `contract.metadata`; `error` is why the node itself has failed.

    A node that Dagster splits into several steps (by dynamic outputs) has the attempts of all of them. One whose result
    was reused is as it was in the run `reused_from`, which had executed it.
    """

    node_id: str
    type: str
    status: NodeStatus
    started_at: datetime | None
    finished_at: datetime | None
    attempts: tuple[Attempt, ...]
    retries: int
    metrics: Mapping[str, int | float]
    error: EventError | None
    reused_from: str | None = None


def read_nodes(
    connection: Connection, *, run: RunRecord, graph: Sequence[GraphNode], chosen: Collection[str] | None
) -> list[NodeRecord]:
    """Return every node of a run's graph with what became of it, in the graph's order."""
    events = read_story(connection, run_id=run.dagster_id, types=STEP_EVENTS)
    return tell_nodes(run, graph=graph, chosen=chosen, events=events)


def tell_nodes(
    run: RunRecord,
    *,
    graph: Sequence[GraphNode],
    events: Iterable[StoryEvent],
    chosen: Collection[str] | None = None,
) -> list[NodeRecord]:
    """Fold the step events of a run into one record per node.

    `chosen` are the steps that the run was to take, all of them if None: it leaves the others out, and does not wait
    for them. Where the graph is not known, there are the nodes that have events.
    """
    if not graph:
        events = list(events)
        graph = _graph_of(events)
    parts: dict[str, dict[str, Step]] = {node.step_key: {} for node in graph}
    for event in events:
        key, _, part = (event.step_key or "").partition("[")
        steps = parts.get(key)
        if steps is not None:
            (steps.get(part) or steps.setdefault(part, Step())).take(event)
    history = _History(run, chosen=None if chosen is None else {key.partition("[")[0] for key in chosen})
    return [history.tell(node, parts=parts[node.step_key]) for node in graph]


def with_reused(
    nodes: Sequence[NodeRecord],
    *,
    graph: Sequence[GraphNode],
    chosen: Collection[str] | None,
    of_parent: Iterable[NodeRecord],
    parent_id: str,
) -> list[NodeRecord]:
    """Return the nodes of a retry: those that it was not to take as they succeeded in its parent, of this id."""
    left_out = {node.node_id for node in graph if chosen is not None and node.step_key not in chosen}
    kept = {node.node_id: node for node in of_parent if node.status == "succeeded" and node.node_id in left_out}
    reused = {key: replace(node, reused_from=node.reused_from or parent_id) for key, node in kept.items()}
    return [reused.get(node.node_id, node) for node in nodes]


def _graph_of(events: Iterable[StoryEvent]) -> list[GraphNode]:
    keys = dict.fromkeys((event.step_key or "").partition("[")[0] for event in events)
    return [GraphNode(node_id=decode_name(key), type=key, step_key=key, upstream=()) for key in keys if key]


class _History:
    """What became of the nodes of a run, told one by one in topological order."""

    def __init__(self, run: RunRecord, *, chosen: Collection[str] | None) -> None:
        self._run = run
        self._chosen = chosen
        self._steps: dict[str, Step] = {}
        self._statuses: dict[str, NodeStatus] = {}  # of the nodes that others wait for
        self._canceling = run.dagster_status in {"CANCELING", "CANCELED"}

    def tell(self, node: GraphNode, *, parts: Mapping[str, Step]) -> NodeRecord:
        run = self._run
        expected = set[str]() if run.finished else self._parts_expected(node)
        self._steps[node.step_key] = step = merge(parts, expected=expected)
        status = self._status(node, step=step)
        if step.state != "skipped" and self._is_chosen(node):
            self._statuses[node.step_key] = status
        ended_with_run = status in {"failed", "canceled"} and step.started_at is not None
        return NodeRecord(
            node_id=node.node_id,
            type=node.type,
            status=status,
            started_at=step.started_at,
            finished_at=step.finished_at or (run.finished_at if ended_with_run else None),
            attempts=tuple(map(self._attempt, step.attempts)),
            retries=step.retries,
            metrics={label: step.metrics[label] for label in FIGURES if label in step.metrics},
            error=step.error if status == "failed" and step.state == "failed" else None,
        )

    def _parts_expected(self, node: GraphNode) -> set[str]:
        """Return the keys of the steps that a node is split into, as far as the nodes before it have told."""
        before = [self._steps[key] for key in node.upstream]
        return set[str]().union(*(step.keys for step in before))

    def _is_chosen(self, node: GraphNode) -> bool:
        return self._chosen is None or node.step_key in self._chosen

    def _attempt(self, attempt: Attempt) -> Attempt:
        """Return how an attempt ended, also where a lost worker has not told, or has told how it was interrupted."""
        if attempt.status == "running" and self._run.finished:
            return replace(attempt, status=self._broken_off, finished_at=self._run.finished_at)
        if self._canceling and attempt.error is not None and attempt.error.is_interruption:
            return replace(attempt, status="canceled", error=None)
        return attempt

    @property
    def _broken_off(self) -> NodeStatus:
        return "canceled" if self._run.status == "canceled" else "failed"

    def _status(self, node: GraphNode, *, step: Step) -> NodeStatus:
        match step.state:
            case "succeeded" | "skipped":
                return step.state
            case "failed":
                interrupted = step.error is not None and step.error.is_interruption
                return "canceled" if self._canceling and interrupted else "failed"
            case "running" | "waiting" if self._run.finished:
                return self._broken_off
            case "running":
                return "running"
            case "waiting":
                return "queued"
        return self._status_before_start(node) if self._is_chosen(node) else "skipped"

    def _status_before_start(self, node: GraphNode) -> NodeStatus:
        before = {self._statuses[key] for key in node.upstream if key in self._statuses}
        if before & {"failed", "skipped"}:
            return "skipped"
        if self._run.finished:
            return "canceled" if self._run.status == "canceled" else "skipped"
        if "canceled" in before:
            return "canceled"
        return "queued" if before <= {"succeeded"} else "pending"
