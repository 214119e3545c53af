"""Pages of 50 runs, at 100,000 and at 1,000,000 runs."""

import json
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from benchmarks.frame import Case, Goal, Measure, Sides, Site, typical
from benchmarks.readers import LARGE, SMALL, Readers, readers_of
from benchmarks.reading import PageQuery, Reading, RunFacts, check_equal
from benchmarks.record.seeding import RARE
from benchmarks.wire import NotSuccessfulError


class _Asked(NamedTuple):
    """A question, and our cursor where it leads behind a run."""

    query: PageQuery
    cursor: str | None = None


class _Page(NamedTuple):
    """A kind of page: its title, the question for a record, and how many runs it has at least."""

    title: str
    ask: Callable[[Readers], _Asked]
    least: int = 50


def _of_pipeline(_readers: Readers) -> _Asked:
    return _Asked(PageQuery(pipeline=42))


def _failed(_readers: Readers) -> _Asked:
    return _Asked(PageQuery(status="failed"))


def _queued(_readers: Readers) -> _Asked:
    return _Asked(PageQuery(status="queued"))


def _long_ago(readers: Readers) -> _Asked:
    until = readers.sql.gap_before(datetime.now(UTC) - timedelta(days=300))
    return _Asked(PageQuery(since=until - timedelta(days=30), until=until))


def _deep(readers: Readers) -> _Asked:
    """Ask for the page behind 90 % of the runs; the way there is walked once and noted."""
    note = readers.record.home / "deep.json"
    if note.exists():
        known = _Asked(PageQuery(after=(noted := json.loads(note.read_text()))["after"]), noted["cursor"])
        if _leads_on(readers, known):
            return known
    cursor, after = readers.ours.walk_runs(past=readers.record.runs * 9 // 10)
    note.write_text(json.dumps({"cursor": cursor, "after": after}), encoding="utf-8")
    return _Asked(PageQuery(after=after), cursor)


def _leads_on(readers: Readers, known: _Asked) -> bool:
    """Whether our service still takes a cursor: what it accepts is its own affair and may have changed."""
    try:
        return bool(readers.ours.page(known.query, cursor=known.cursor).facts())
    except NotSuccessfulError:
        return False


PAGES = {
    "all": _Page("newest runs", lambda _readers: _Asked(PageQuery())),
    "pipeline": _Page("runs of one of 200 pipelines", _of_pipeline),
    "status": _Page("failed runs, 5 % of all", _failed),
    "date": _Page("runs of a month long ago", _long_ago),
    "rare": _Page("queued runs, of which there are a handful", _queued, least=RARE // 2),
    "deep": _Page("runs behind 90 % of all", _deep),
}


def build_page(page: _Page, *, runs: int) -> Callable[[Site], AbstractContextManager[Sides]]:
    """Return the builder of the case; where the record is large, the small one is what ours is compared with."""

    @contextmanager
    def build(site: Site) -> Iterator[Sides]:
        readers = readers_of(site, runs=runs)
        asked = page.ask(readers)
        ours = readers.ours.page(asked.query, cursor=asked.cursor)
        stock = readers.graphql.page(asked.query)
        instance = readers.instance.page(asked.query)
        limit = readers.sql.page(asked.query)
        check_equal({"SQL": limit, "ours": ours, "GraphQL": stock, "DagsterInstance": instance}, least=page.least)
        yield Sides(
            ours=timed(ours),
            stock=timed(stock),
            instance=timed(instance),
            limit=timed(limit),
            base=_at_small(site, page) if runs > SMALL else None,
        )

    return build


def _at_small(site: Site, page: _Page) -> Measure:
    readers = readers_of(site, runs=SMALL)
    asked = page.ask(readers)
    return timed(readers.ours.page(asked.query, cursor=asked.cursor))


def timed(reading: Reading[RunFacts]) -> Measure:
    """Return the measure of a reading: the median of up to 20 requests."""
    return lambda: typical(reading.fetch)


RUN_PAGES = tuple(
    Case(
        name=f"page_{name}_{label}",
        title=f"a page of 50 at {runs:,} runs: {page.title}",
        goal=Goal(times_better_than_stock=10, times_the_limit=3, times_the_base=1.3 if runs > SMALL else None),
        build=build_page(page, runs=runs),
        awake=True,
    )
    for runs, label in ((SMALL, "100k"), (LARGE, "1m"))
    for name, page in PAGES.items()
)
