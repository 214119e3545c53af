"""The log of a run that has logged 100,000 lines: its first page, its last one, and that of one node."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

from benchmarks.frame import Case, Goal, Sides, Site, typical
from benchmarks.readers import LARGE, Readers, readers_of
from benchmarks.reading import LineFacts, Reading, check_same

_GOAL = Goal(times_better_than_stock=20)
_FLAT = Goal(times_better_than_stock=20, times_the_base=1.3)
_LINES = 100_000
_LAST = 98_500  # lines before the last page, or a little more
_NODE = "n00_10"  # in the middle of the run


@contextmanager
def build_first_page(site: Site, *, again: bool = False) -> Iterator[Sides]:
    """Read the first 1000 lines."""
    readers = readers_of(site, runs=LARGE)
    yield _checked(readers, cursor=None, after=0, again=again)


@contextmanager
def build_last_page(site: Site, *, again: bool = False) -> Iterator[Sides]:
    """Read 1000 lines near the end; `base` is ours at the beginning."""
    readers = readers_of(site, runs=LARGE)
    run = readers.record.landmarks.long
    cursor = readers.ours.walk_log(run, past=_LAST)
    first_line = readers.ours.log(run, cursor=cursor).facts()[0]
    after = readers.sql.event_before(run, line=first_line)
    first_page = readers.ours.log(run, again=again)
    sides = _checked(readers, cursor=cursor, after=after, again=again)
    yield Sides(
        ours=sides.ours,
        stock=sides.stock,
        instance=sides.instance,
        limit=sides.limit,
        base=lambda: typical(first_page.fetch),
    )


@contextmanager
def build_node(site: Site) -> Iterator[Sides]:
    """Read the first 1000 lines of a node that logs in the middle of the run; `base` is ours of the first node."""
    readers = readers_of(site, runs=LARGE)
    run = readers.record.landmarks.long
    ours = readers.ours.log(run, node=_NODE)
    stock = readers.graphql.log_of_node(run, node=_NODE)
    instance = readers.instance.log_of_node(run, node=_NODE)
    limit = readers.sql.log(run, node=_NODE)
    first_node = readers.ours.log(run, node="n00_00")
    _check({"ours": ours, "GraphQL": stock, "DagsterInstance": instance, "SQL": limit})
    yield Sides(
        ours=lambda: typical(ours.fetch),
        stock=lambda: typical(stock.fetch),
        instance=lambda: typical(instance.fetch),
        limit=lambda: typical(limit.fetch),
        base=lambda: typical(first_node.fetch),
    )


def _checked(readers: Readers, *, cursor: str | None, after: int, again: bool) -> Sides:
    run = readers.record.landmarks.long
    dagster_cursor = readers.instance.cursor_behind(after)
    ours = readers.ours.log(run, cursor=cursor, again=again)
    stock = readers.graphql.log(run, after=dagster_cursor)
    instance = readers.instance.log(run, after=dagster_cursor)
    limit = readers.sql.log(run, after=after)
    _check({"ours": ours, "GraphQL": stock, "DagsterInstance": instance, "SQL": limit})
    return Sides(
        ours=lambda: typical(ours.fetch),
        stock=lambda: typical(stock.fetch),
        instance=lambda: typical(instance.fetch),
        limit=lambda: typical(limit.fetch),
    )


def _check(readings: dict[str, Reading[LineFacts]]) -> None:
    """Compare the lines that all pages have: each has a thousand entries, and some of these are no node's line."""
    answers = {way: reading.facts() for way, reading in readings.items()}
    common = min(len(lines) for lines in answers.values())
    assert common > 900, {way: len(lines) for way, lines in answers.items()}
    check_same({way: lines[:common] for way, lines in answers.items()})


RUN_LOGS = (
    *(
        Case(
            name=f"{name}_again" if again else name,
            title=f"the {which} 1000 lines of {_LINES:,}, asked for {'again' if again else 'the first time'}",
            goal=goal,
            build=partial(build, again=again),
            awake=True,
        )
        for name, which, goal, build in (
            ("log_first", "first", _GOAL, build_first_page),
            ("log_last", "last", _FLAT, build_last_page),
        )
        for again in (False, True)
    ),
    Case(
        name="log_node",
        title=f"1000 lines of a node in the middle of {_LINES:,}",
        goal=_FLAT,
        build=build_node,
        awake=True,
        rounds=2,
    ),
)
