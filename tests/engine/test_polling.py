"""Polls: what a query yields now, compared by the database itself, read-only, bounded, and without secrets."""

from pathlib import Path

import duckdb
import psycopg2
import pytest

from planasonix_orchestrator.engine import polling
from planasonix_orchestrator.engine.connections import (
    Connection,
    Connections,
    DuckDBConnection,
    PostgresConnection,
    Secret,
)
from planasonix_orchestrator.engine.polling import Poll, Polled, poll_above, poll_rows
from planasonix_orchestrator.errors import NodeError

KINDS = ("postgres", "duckdb")
TABLE = (
    "CREATE TABLE orders (id integer, amount numeric(20, 2), changed timestamp with time zone, day date, name text);"
    "INSERT INTO orders VALUES (9, 9.5, '2025-01-01 00:00:00.000001+02', '2025-01-09', 'b'),"
    " (10, 10.25, '2024-12-31 23:00:00+00', '2025-01-10', 'c'), (NULL, NULL, NULL, NULL, NULL)"
)


class Place:
    """A database with a table, and the connection to it."""

    def __init__(self, kind: str, *, folder: Path, url: str) -> None:
        self.kind, self.url, self.path = kind, url, folder / "orders.duckdb"
        known: Connection = PostgresConnection(id="c", url=Secret("URL"))
        if kind == "duckdb":
            known = DuckDBConnection(id="c", path=self.path)
        self.connections = Connections({"c": known}, environment={"URL": url})

    def execute(self, statements: str) -> None:
        """Change the database."""
        if self.kind == "duckdb":
            with duckdb.connect(str(self.path)) as database:
                database.execute(statements)
            return
        connection = psycopg2.connect(self.url)
        with connection, connection.cursor() as cursor:
            cursor.execute(statements)
        connection.close()


@pytest.fixture(params=KINDS)
def place(request: pytest.FixtureRequest, tmp_path: Path, postgres_url: str) -> Place:
    """Each kind of database in turn."""
    place = Place(request.param, folder=tmp_path, url=postgres_url)
    place.execute(TABLE)
    return place


def poll(query: str = "SELECT * FROM orders", *, seconds: float = 30) -> Poll:
    return Poll(connection_id="c", query=query, timeout_seconds=seconds)


@pytest.mark.parametrize(
    ("column", "highest", "higher"),
    [
        ("id", "10", "(100, NULL, NULL, NULL, NULL)"),
        ("amount", "10.25", "(NULL, 100.00, NULL, NULL, NULL)"),
        ("changed", "2024-12-31 23:00:00+00", "(NULL, NULL, '2025-01-01 00:00:00.000001+00', NULL, NULL)"),
        ("day", "2025-01-10", "(NULL, NULL, NULL, '2025-02-01', NULL)"),
        ("name", "c", "(NULL, NULL, NULL, NULL, 'd''\\')"),
    ],
)
def test_the_highest_value_as_its_column_compares(place: Place, column: str, highest: str, higher: str) -> None:
    """10 is more than 9, and an instant is one in whatever zone it was written; nothing is higher than itself."""
    assert poll_above(place.connections, poll(), column=column, above=None) == Polled(watermark=highest)
    assert poll_above(place.connections, poll(), column=column, above=highest) == Polled()
    place.execute(f"INSERT INTO orders VALUES {higher}")
    found = poll_above(place.connections, poll(), column=column, above=highest).watermark
    assert found is not None
    assert found != highest
    assert poll_above(place.connections, poll(), column=column, above=found) == Polled()


def test_rows_come_with_the_watermark(place: Place) -> None:
    """Those above the last one, as JSON, the lowest first."""
    query = "SELECT id, name FROM orders -- all of them"
    found = poll_above(place.connections, poll(query), column="id", above="1", with_rows=True)
    assert found == Polled(rows=('{"id":9,"name":"b"}', '{"id":10,"name":"c"}'), watermark="10")
    assert poll_above(place.connections, poll(query), column="id", above="10", with_rows=True) == Polled()


def test_all_rows(place: Place) -> None:
    """In the order of the query; a semicolon at its end does no harm."""
    found = poll_rows(place.connections, poll("SELECT id FROM orders WHERE id > 1 ORDER BY id DESC;"))
    assert found == Polled(rows=('{"id":10}', '{"id":9}'))
    assert poll_rows(place.connections, poll("SELECT id FROM orders WHERE id > 99")) == Polled()


def test_too_many_rows_are_refused(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """The message says what to do; the highest value alone can be had of any number."""
    monkeypatch.setattr(polling, "MOST_ROWS", 1)
    with pytest.raises(NodeError, match=r"more than 1 rows .*narrow it"):
        poll_rows(place.connections, poll())
    with pytest.raises(NodeError, match="more than 1 rows"):
        poll_above(place.connections, poll(), column="id", above=None, with_rows=True)
    assert poll_above(place.connections, poll(), column="id", above=None).watermark == "10"


@pytest.mark.parametrize(
    "query",
    ["DELETE FROM orders RETURNING id", "SELECT 1 AS id) AS x; DELETE FROM orders; SELECT * FROM (SELECT 1 AS id"],
)
def test_a_poll_writes_nothing(place: Place, query: str) -> None:
    """Whatever the query says."""
    with pytest.raises(NodeError, match="connection 'c'"):
        poll_rows(place.connections, poll(query))
    assert len(poll_rows(place.connections, poll()).rows) == 3


def test_an_answer_has_its_time(place: Place) -> None:
    """Past it the database stops working on it."""
    endless = "SELECT count(*) AS id FROM generate_series(1, 100000000) AS a, generate_series(1, 100000) AS b"
    with pytest.raises(NodeError, match=r"connection 'c': the query took longer than 0.2 s"):
        poll_rows(place.connections, poll(endless, seconds=0.2))


def test_a_wrong_query_is_told_in_the_words_of_the_database(place: Place) -> None:
    """With the connection's id."""
    with pytest.raises(NodeError, match=r"connection 'c': .*nothing_of_it"):
        poll_above(place.connections, poll(), column="nothing_of_it", above=None)


def test_a_file_that_is_missing_or_reached_past_the_database(tmp_path: Path) -> None:
    """A DuckDB database is not made by looking for it, and its SQL reads no other files."""
    place = Place("duckdb", folder=tmp_path, url="")
    with pytest.raises(NodeError, match=r"connection 'c': there is no file .*orders.duckdb"):
        poll_rows(place.connections, poll())
    place.execute(TABLE)
    (tmp_path / "secrets.csv").write_text("a")
    with pytest.raises(NodeError, match=r"connection 'c': .*disabled"):
        poll_rows(place.connections, poll(f"SELECT * FROM read_csv('{tmp_path}/secrets.csv')"))


def test_no_secret_is_told() -> None:
    """Not even where the address is wrong."""
    known = PostgresConnection(id="c", url=Secret("URL"))
    connections = Connections({"c": known}, environment={"URL": "postgresql://bob:s3cr3t@127.0.0.1:1/db"})
    with pytest.raises(NodeError, match="connection 'c'") as caught:
        poll_rows(connections, poll())
    assert "s3cr3t" not in str(caught.value)
