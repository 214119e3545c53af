"""What is asked, and the facts in an answer by which answers are compared before anything is measured."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any, Generic, TypeVar

from planasonix_orchestrator.contract import metadata

FactsT = TypeVar("FactsT")
PAGE = 50
LOG_PAGE = 1000
STATUS_OF = {
    **dict.fromkeys(("QUEUED", "NOT_STARTED", "MANAGED", "STARTING"), "queued"),
    **dict.fromkeys(("STARTED", "CANCELING"), "running"),
    "SUCCESS": "succeeded",
    "FAILURE": "failed",
    "CANCELED": "canceled",
}
_MILLISECOND = 0.0015  # times come in milliseconds from us, with rounding


@dataclass(frozen=True, slots=True, kw_only=True)
class PageQuery:
    """A page of 50 runs, newest first: of a pipeline, in a state, started between two moments, after a run."""

    pipeline: int | None = None
    status: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    after: str | None = None  # Dagster's id of the run that comes before the page

    @property
    def dagster_statuses(self) -> list[str]:
        """Dagster's words for the state."""
        return [dagster for dagster, ours in STATUS_OF.items() if ours == self.status]

    @property
    def job_name(self) -> str | None:
        """The job of the pipeline."""
        return None if self.pipeline is None else f"pipeline_{self.pipeline:03}"

    @property
    def pipeline_id(self) -> str | None:
        """Our id of the pipeline."""
        return None if self.pipeline is None else f"pl_{self.pipeline:03}"


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFacts:
    """A run in a list; times in unix seconds."""

    dagster_id: str
    pipeline_id: str
    status: str
    trigger: str
    started_at: float | None
    finished_at: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class RunDetailFacts:
    """A run in full, with sums over its nodes."""

    run: RunFacts
    queued_at: float
    rows_read: int
    rows_written: int


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeFacts:
    """A node of a run."""

    node_id: str
    status: str
    started_at: float | None
    finished_at: float | None
    rows_in: int | None
    rows_out: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class LineFacts:
    """A line that a node has logged."""

    node_id: str
    message: str
    logged_at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading(Generic[FactsT]):
    """One way to ask a question: `fetch` is what is measured, `tell` gives the facts in what it returned."""

    fetch: Callable[[], Any]
    tell: Callable[[Any], list[FactsT]]

    def facts(self) -> list[FactsT]:
        """Return the facts of an answer of now."""
        return self.tell(self.fetch())


def run_facts(
    *, dagster_id: str, status: str, tags: Mapping[str, str], started_at: float | None, finished_at: float | None
) -> RunFacts:
    """Return the facts of a run as Dagster tells it.

    GraphQL says of a run that was canceled before it began that it started when it ended; nobody else does.
    """
    canceled_before = status == "CANCELED" and started_at == finished_at
    return RunFacts(
        dagster_id=dagster_id,
        pipeline_id=tags["planasonix/pipeline_id"],
        status=STATUS_OF[status],
        trigger=tags["planasonix/trigger"],
        started_at=None if canceled_before else started_at,
        finished_at=finished_at,
    )


def row_totals(nodes: Sequence[NodeFacts]) -> tuple[int, int]:
    """Return the rows that sources read and destinations wrote: the former have no rows in, the latter none out."""
    return (
        sum(node.rows_out or 0 for node in nodes if node.rows_in is None),
        sum(node.rows_in or 0 for node in nodes if node.rows_out is None),
    )


def row_counts(figures: Mapping[str, int]) -> dict[str, int | None]:
    """Return a node's rows by the names of `NodeFacts`, from the metadata of its output."""
    return {"rows_in": figures.get(metadata.ROWS_IN), "rows_out": figures.get(metadata.ROWS_OUT)}


def check_equal(readings: Mapping[str, Reading[Any]], *, least: int = 1) -> None:
    """Raise AssertionError unless all ways of asking give the same facts, and at least so many."""
    check_same({way: reading.facts() for way, reading in readings.items()}, least=least)


def check_same(answers: Mapping[str, Sequence[Any]], *, least: int = 1) -> None:
    """Raise AssertionError unless all answers hold the same facts, and at least so many."""
    first_way, first = next(iter(answers.items()))
    assert len(first) >= least, f"{first_way} gives {len(first)} instead of {least}"
    for way, facts in answers.items():
        assert len(facts) == len(first), f"{first_way} gives {len(first)} and {way} {len(facts)}"
        for number, (one, other) in enumerate(zip(first, facts, strict=True)):
            assert told_alike(one, other), f"number {number}: {first_way} gives {one}, {way} {other}"


def told_alike(one: object, other: object) -> bool:
    """Whether two facts are the same, times to the millisecond."""
    if isinstance(one, float) and isinstance(other, float):
        return abs(one - other) < _MILLISECOND
    if isinstance(one, RunFacts | RunDetailFacts | NodeFacts | LineFacts) and type(one) is type(other):
        return all(told_alike(getattr(one, each.name), getattr(other, each.name)) for each in fields(one))
    return one == other
