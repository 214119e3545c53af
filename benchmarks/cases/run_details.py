"""One run: in full, and its nodes, of which there are 20 or 500; asked for the first time, and again."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any, Literal

from benchmarks.frame import Case, Goal, Sides, Site, typical
from benchmarks.readers import LARGE, readers_of
from benchmarks.reading import NodeFacts, RunDetailFacts, check_same

_GOAL = Goal(times_better_than_stock=10)


_READINGS: tuple[tuple[str, str, Literal["run", "nodes"], Literal["twenty", "wide"], int], ...] = (
    ("run_detail", "a run of 20 nodes in full, with its rows", "run", "twenty", 1),
    ("nodes_20", "the nodes of a run of 20", "nodes", "twenty", 20),
    ("nodes_500", "the nodes of a run of 500", "nodes", "wide", 500),
)


def build_reading(
    what: Literal["run", "nodes"], *, of: Literal["twenty", "wide"], least: int, again: bool = False
) -> Callable[[Site], AbstractContextManager[Sides]]:
    """Return the builder of a case: what is read, of which landmark, and how many facts there are at least."""

    @contextmanager
    def build(site: Site) -> Iterator[Sides]:
        readers = readers_of(site, runs=LARGE)
        dagster_id = getattr(readers.record.landmarks, of)
        ways: dict[str, Any] = {
            "ours": readers.ours,
            "stock": readers.graphql,
            "instance": readers.instance,
            "limit": readers.sql,
        }
        readings = {side: getattr(reader, what)(dagster_id) for side, reader in ways.items()}
        readings["ours"] = getattr(readers.ours, what)(dagster_id, again=again)
        # Dagster lists the steps of a plan in no order that means anything.
        check_same({side: sorted(reading.facts(), key=_node_id) for side, reading in readings.items()}, least=least)
        timed: dict[str, Any] = {side: _timed(reading.fetch) for side, reading in readings.items()}
        yield Sides(**timed)

    return build


def _node_id(facts: NodeFacts | RunDetailFacts) -> str:
    return facts.node_id if isinstance(facts, NodeFacts) else ""


def _timed(fetch: Callable[[], object]) -> Callable[[], float]:
    return lambda: typical(fetch)


RUN_DETAILS = tuple(
    Case(
        name=f"{name}_again" if again else name,
        title=f"{title}, asked for {'again' if again else 'the first time'}",
        goal=_GOAL,
        build=build_reading(what, of=of, least=least, again=again),
        awake=True,
    )
    for name, title, what, of, least in _READINGS
    for again in (False, True)
)
