"""source.postgres: every type as it is, streamed, read-only, and errors without secrets."""

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg2
import pytest

from planasonix_orchestrator.engine.connections import Connections, PostgresConnection, Secret
from planasonix_orchestrator.engine.stopping import Work
from planasonix_orchestrator.errors import NodeError, NodeInterruptedError
from planasonix_orchestrator.nodes.sources.postgres import PostgresSource, PostgresSourceConfig
from tests.nodes.workbench import Workbench, workbench

ENVIRONMENT = {
    "UNREACHABLE": "postgresql://bob:s3cr3t%21@127.0.0.1:1/db",
    "BROKEN": "postgresql://bob:s3cr3t@x/y@127.0.0.1:1/db",
    "PASSWORD": "s3cr3t!",
}


@pytest.fixture
def bench(tmp_path: Path, postgres_url: str) -> Iterator[Workbench]:
    """A session with a connection to an empty database, and some that lead nowhere."""
    named = {name: PostgresConnection(id=name, url=Secret(name)) for name in ("PG", "UNREACHABLE", "BROKEN", "UNSET")}
    parts = PostgresConnection(id="parts", host="127.0.0.1", port=1, user="bob", password=Secret("PASSWORD"))
    connections = Connections({**named, "parts": parts}, environment={**ENVIRONMENT, "PG": postgres_url})
    with workbench(tmp_path, connections) as bench:
        yield bench


def execute(bench: Workbench, statement: str) -> None:
    """Run statements in the database."""
    connection = psycopg2.connect(bench.connections.environment["PG"])
    with connection, connection.cursor() as cursor:
        cursor.execute(statement)
    connection.close()


def texts(bench: Workbench, query: str, **config: object) -> dict[str, tuple[str, str | None]]:
    """Of a query of one row: the type and the value as text, by column."""
    result = bench.run(PostgresSource(), {"connectionId": "PG", "query": query, **config})
    assert result.relation is not None
    with bench.session.cursor() as cursor:
        (row,) = cursor.execute(result.relation.select("columns(*)::VARCHAR").sql("duckdb")).fetchall()
    return {column.name: (column.type, text) for column, text in zip(result.relation.columns, row, strict=True)}


def refusal(bench: Workbench, query: str = "SELECT 1", connection: str = "PG") -> str:
    """The error with which the node refuses."""
    with pytest.raises(NodeError) as caught:
        bench.run(PostgresSource(), {"connectionId": connection, "query": query})
    return str(caught.value)


@pytest.mark.parametrize(
    ("value", "type_", "text"),
    [
        ("1.50::numeric(10,2)", "DECIMAL(10,2)", "1.50"),
        ("15::numeric(3,-1)", "DECIMAL(4,0)", "20"),
        ("0.00012::numeric(2,5)", "DECIMAL(5,5)", ".00012"),
        ("12345678901234567890.123456789::numeric", "DECIMAL(38,9)", "12345678901234567890.123456789"),
        ("1.5::numeric(50,2)", "DECIMAL(38,2)", "1.50"),
        ("NULL::numeric", "DECIMAL(38,0)", None),
        ("ARRAY[1.5, NULL, 2.25]", "DECIMAL(38,2)[]", "[1.50, NULL, 2.25]"),
        ("'12.34'::money", "DECIMAL(20,2)", "12.34"),
        ("timestamptz '2024-07-01 12:00+02'", "TIMESTAMP WITH TIME ZONE", "2024-07-01 10:00:00+00"),
        ("timestamp '2024-07-01 12:00:00.123456'", "TIMESTAMP", "2024-07-01 12:00:00.123456"),
        ("date '2024-02-29'", "DATE", "2024-02-29"),
        ("date 'infinity'", "DATE", "infinity"),
        ("date '-infinity'", "DATE", "-infinity"),
        ("timestamp 'infinity'", "TIMESTAMP", "infinity"),
        ("timestamptz '-infinity'", "TIMESTAMP WITH TIME ZONE", "-infinity"),
        ("time '12:34:56.5'", "TIME", "12:34:56.5"),
        ("timetz '12:34:56+02'", "TIME WITH TIME ZONE", "12:34:56+02"),
        ("interval '1 month 2 days 03:00'", "INTERVAL", "1 month 2 days 03:00:00"),
        ("'{\"a\": 1}'::json", "JSON", '{"a": 1}'),
        ("'{\"a\":[null]}'::jsonb", "JSON", '{"a": [null]}'),
        ("ARRAY[1, NULL]", "INTEGER[]", "[1, NULL]"),
        ("'{}'::text[]", "VARCHAR[]", "[]"),
        ("'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'::uuid", "UUID", "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"),
        ("'\\x00ff'::bytea", "BLOB", "\\x00\\xFF"),
        ("'ünï😀'::text", "VARCHAR", "ünï😀"),
        ("true", "BOOLEAN", "true"),
        ("9223372036854775807", "BIGINT", "9223372036854775807"),
        ("4294967295::oid", "BIGINT", "4294967295"),
        ("'NaN'::float8", "DOUBLE", "nan"),
        ("'happy'::mood", "VARCHAR", "happy"),
        ("'[1,5)'::int4range", "VARCHAR", "[1,5)"),
        ("'10.0.0.1'::inet", "VARCHAR", "10.0.0.1/32"),
    ],
)
def test_every_type_arrives_as_it_is(bench: Workbench, value: str, type_: str, text: str | None) -> None:
    """A value keeps its type where DuckDB has it, and every digit always."""
    execute(bench, "CREATE TYPE mood AS ENUM ('happy')")
    assert texts(bench, f'SELECT {value} AS "V ""x"""') == {'V "x"': (type_, text)}


def test_a_table_is_streamed_and_counted(bench: Workbench) -> None:
    """Rows and Arrow bytes are exact; schema and odd names are found as spelled."""
    execute(bench, 'CREATE SCHEMA "My s"; CREATE TABLE "My s"."T.1" AS SELECT i FROM generate_series(1, 300000) AS i')
    result = bench.run(PostgresSource(), {"connectionId": "PG", "table": '"My s"."T.1"'})
    assert (result.rows_out, result.bytes_shuffled) == (300_000, 1_200_000)
    assert result.bytes_read is not None
    assert 1_200_000 <= result.bytes_read <= 1_300_000


def test_numbers_that_decimal_can_not_hold_are_refused(bench: Workbench) -> None:
    """No digit is dropped in silence; columnTypes says what to do instead."""
    many = "SELECT 123456789012345678901234567890.1234567890 AS n"
    assert "30 digits before the point and 10 after it" in refusal(bench, many)
    assert "NaN or Infinity" in refusal(bench, "SELECT 'NaN'::numeric AS n")
    assert texts(bench, many, columnTypes={"n": "VARCHAR"})["n"][1] == "123456789012345678901234567890.1234567890"
    assert texts(bench, "SELECT 'NaN'::numeric AS n", columnTypes={"n": "DOUBLE"})["n"] == ("DOUBLE", "nan")


def test_arrays_of_more_dimensions_are_refused(bench: Workbench) -> None:
    """They would arrive flattened."""
    assert "column a must have arrays of one dimension only: {{1,2},{3,4}}" in refusal(
        bench, "SELECT ARRAY[[1, 2], [3, 4]] AS a"
    )


@pytest.mark.parametrize(
    "query",
    [
        "DELETE FROM t RETURNING i",
        "WITH gone AS (DELETE FROM t RETURNING i) SELECT i FROM gone",
        "SELECT 1; DELETE FROM t",
        "SELECT 1) AS q; DELETE FROM t; --",
        "SELECT remove() AS i",
    ],
)
def test_a_query_can_not_write(bench: Workbench, query: str) -> None:
    """One SELECT in a read-only transaction, whatever is tried."""
    execute(
        bench,
        "CREATE TABLE t AS SELECT 1 AS i;"
        " CREATE FUNCTION remove() RETURNS int LANGUAGE sql AS 'DELETE FROM t RETURNING i'",
    )
    refusal(bench, query)
    assert texts(bench, "SELECT count(*) AS n FROM t")["n"][1] == "1"


def test_a_query_may_end_in_a_semicolon_or_a_comment(bench: Workbench) -> None:
    """What people paste works."""
    assert texts(bench, "SELECT 1 AS a;\n")["a"][1] == "1"
    assert texts(bench, "SELECT 1 AS a -- one")["a"][1] == "1"


def test_errors_are_in_postgres_words(bench: Workbench) -> None:
    """The message says what is wrong, also when it comes up in the middle of the rows."""
    assert refusal(bench, "SELECT nope FROM pg_class") == "connection 'PG': column \"nope\" does not exist"
    assert refusal(bench, "SELECT 1 / (500000 - i) FROM generate_series(1, 600000) AS i").endswith("division by zero")
    assert "two columns 'a'" in refusal(bench, "SELECT 1 AS a, 2 AS a")


@pytest.mark.parametrize("connection", ["UNREACHABLE", "BROKEN", "parts", "UNSET"])
def test_no_error_shows_a_secret(bench: Workbench, connection: str) -> None:
    """A connection that fails says why, without its password."""
    said = refusal(bench, connection=connection)
    assert "s3cr3t" not in said
    assert connection in said


def test_either_table_or_query(bench: Workbench) -> None:
    """A config with both, or neither, is wrong before anything runs."""
    for config in ({}, {"table": "t", "query": "SELECT 1"}, {"table": "a.b.c"}):
        with pytest.raises(ValueError, match="table"):
            PostgresSourceConfig.model_validate({"connectionId": "PG", **config})


def test_an_interrupt_cancels_the_query(bench: Workbench) -> None:
    """A query that PostgreSQL takes for ever over ends soon, as an interrupt."""
    errors: list[NodeError] = []

    config = {"connectionId": "PG", "query": "SELECT pg_sleep(60)::text AS s"}
    work = Work()

    def read() -> None:
        try:
            work.do(lambda: bench.run(PostgresSource(), config))
        except NodeError as error:
            errors.append(error)

    thread = threading.Thread(target=read)
    thread.start()
    while not work._stops:
        pass
    started = time.monotonic()
    work.stop(KeyboardInterrupt)
    thread.join()
    assert time.monotonic() - started < 20
    assert [type(error) for error in errors] == [NodeInterruptedError]
