"""The four ways to read a record, side by side over a small one."""

from collections.abc import Iterator
from datetime import timedelta

import pytest

from benchmarks.readers import Readers, open_readers
from benchmarks.reading import GraphQlReader, InstanceReader, OurReader, PageQuery, SqlReader, check_equal, check_same
from benchmarks.record.server import Record
from tests.benchmarks.conftest import UNTIL

pytestmark = pytest.mark.stack


@pytest.fixture(scope="module")
def readers(record: Record) -> Iterator[Readers]:
    with open_readers(record) as readers:
        yield readers


def check_pages(readers: Readers, query: PageQuery, *, least: int, cursor: str | None = None) -> None:
    """Compare the four answers to a question."""
    check_equal(
        {
            "SQL": readers.sql.page(query),
            "ours": readers.ours.page(query, cursor=cursor),
            "GraphQL": readers.graphql.page(query),
            "DagsterInstance": readers.instance.page(query),
        },
        least=least,
    )


@pytest.mark.parametrize(
    ("query", "least"),
    [
        (PageQuery(), 50),
        (PageQuery(pipeline=2), 50),
        (PageQuery(status="failed"), 5),
        (PageQuery(status="queued"), 6),
        (PageQuery(status="canceled"), 1),
    ],
)
def test_pages_hold_the_same_runs(query: PageQuery, least: int, readers: Readers) -> None:
    """Each filter selects the same runs in all four ways."""
    check_pages(readers, query, least=least)


def test_a_range_of_dates_holds_the_same_runs(readers: Readers) -> None:
    """At the end of a range that lies in a gap, creations and starts select alike."""
    until = readers.sql.gap_before(UNTIL - timedelta(days=100))
    check_pages(readers, PageQuery(since=until - timedelta(days=90), until=until), least=50)


def test_a_deep_page_holds_the_same_runs(readers: Readers) -> None:
    """Our cursor leads to where Dagster's does."""
    cursor, after = readers.ours.walk_runs(past=100, step=50)
    check_pages(readers, PageQuery(after=after), least=50, cursor=cursor)


def test_runs_and_nodes_are_told_alike(readers: Readers) -> None:
    """A run's sums and its nodes' rows are the same in all four ways."""
    marks = readers.record.landmarks
    ways: dict[str, OurReader | GraphQlReader | InstanceReader | SqlReader] = {
        "ours": readers.ours,
        "GraphQL": readers.graphql,
        "instance": readers.instance,
        "SQL": readers.sql,
    }
    check_equal({way: reader.run(marks.twenty) for way, reader in ways.items()})
    nodes = {way: reader.nodes(marks.wide).facts() for way, reader in ways.items()}
    check_same({way: sorted(facts, key=lambda node: node.node_id) for way, facts in nodes.items()}, least=40)


def test_logs_are_told_alike(readers: Readers) -> None:
    """All lines, and those of one node, are the same in all four ways."""
    run = readers.record.landmarks.long
    check_equal(
        {
            "ours": readers.ours.log(run),
            "SQL": readers.sql.log(run),
            "GraphQL": readers.graphql.log(run),
            "instance": readers.instance.log(run),
        },
        least=400,
    )
    check_equal(
        {
            "ours": readers.ours.log(run, node="n00_07"),
            "SQL": readers.sql.log(run, node="n00_07"),
            "GraphQL": readers.graphql.log_of_node(run, node="n00_07"),
            "instance": readers.instance.log_of_node(run, node="n00_07"),
        },
        least=20,
    )
