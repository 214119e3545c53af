"""destination.postgres and destination.duckdb: one behaviour for both, in real databases."""

import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import psycopg2
import pytest
import sqlglot
from sqlglot import exp

from planasonix_orchestrator.engine.relation import Relation
from planasonix_orchestrator.errors import NodeError
from planasonix_orchestrator.nodes.destinations.duckdb import DuckDBDestination
from planasonix_orchestrator.nodes.destinations.postgres import PostgresDestination
from planasonix_orchestrator.nodes.sources.postgres import PostgresSource
from tests.nodes.killing import connections, kill_while_writing
from tests.nodes.workbench import Workbench, workbench

POSTGRES, DUCKDB = (PostgresDestination(), "pg"), (DuckDBDestination(), "duck")
both = pytest.mark.parametrize("target", [POSTGRES, DUCKDB], ids=["postgres", "duckdb"])
Target = tuple[Any, str]

AB = "SELECT * FROM (VALUES (1, 'a'), (2, 'b')) AS t(id, name)"
BC = "SELECT * FROM (VALUES (2, 'B'), (3, 'c')) AS t(id, name)"


@pytest.fixture
def bench(tmp_path: Path, postgres_url: str) -> Iterator[Workbench]:
    """A session with a connection to an empty PostgreSQL database and one to a DuckDB file that is not there yet."""
    with workbench(tmp_path, connections(tmp_path, postgres_url)) as bench:
        yield bench


def relation(bench: Workbench, query: str) -> Relation:
    """The rows of a query, counted; not by way of Arrow, which has fewer types than DuckDB."""
    parsed = sqlglot.parse_one(query, dialect="duckdb")
    assert isinstance(parsed, exp.Query)
    return bench.session.count(bench.session.define(f"rows {bench.runs}", parsed))


def write(bench: Workbench, target: Target, query: str, **config: object) -> Any:
    """Write the rows of a query to the table `s.t`, unless the config says another."""
    node_type, connection = target
    rows = relation(bench, query)
    return bench.run(node_type, {"connectionId": connection, "table": "s.t", **config}, rows)


def execute(bench: Workbench, target: Target, statement: str) -> list[tuple[Any, ...]]:
    """Run a statement in the database, and return its rows if it has any."""
    if target[1] == "duck":
        with duckdb.connect(str(bench.connections.duckdb("duck").path)) as database:
            return database.execute(statement).fetchall()
    connection = psycopg2.connect(bench.connections.environment["URL"])
    try:
        with connection, connection.cursor() as cursor:
            cursor.execute(statement)
            return cursor.fetchall() if cursor.description else []
    finally:
        connection.close()


def stored(bench: Workbench, target: Target, table: str = "s.t") -> list[tuple[Any, ...]]:
    """The rows of the table, in order."""
    return sorted(execute(bench, target, f"SELECT * FROM {table}"), key=str)


@both
def test_a_missing_table_is_made(bench: Workbench, target: Target) -> None:
    """Schema and table are made from the columns, under exactly their names."""
    result = write(bench, target, 'SELECT 1 AS "I""d", NULL::DATE AS "Ü"', table='"My s"."T.1"')
    assert stored(bench, target, '"My s"."T.1"') == [(1, None)]
    assert (result.rows_in, result.target, result.details) == (1, f"{target[1]}/My s.T.1", {"mode": "append"})
    assert result.bytes_written > 0


@both
def test_append_adds_and_truncate_replaces(bench: Workbench, target: Target) -> None:
    """`insert` is another word for append."""
    write(bench, target, AB)
    write(bench, target, BC, mode="insert")
    assert stored(bench, target) == [(1, "a"), (2, "B"), (2, "b"), (3, "c")]
    write(bench, target, BC, mode="truncate")
    assert stored(bench, target) == [(2, "B"), (3, "c")]


@both
@pytest.mark.parametrize("made", ["by the node", "without a key"])
def test_upsert_replaces_rows_with_equal_keys(bench: Workbench, target: Target, made: str) -> None:
    """Found rows are brought up to date, others added, whether or not the table has an index."""
    if made == "without a key":
        execute(bench, target, "CREATE SCHEMA s")
        execute(bench, target, "CREATE TABLE s.t (extra integer DEFAULT 7, id integer, name varchar)")
        execute(bench, target, "INSERT INTO s.t VALUES (1, 2, 'old')")
        write(bench, target, BC, mode="upsert", keys=["id"])
        assert stored(bench, target) == [(1, 2, "B"), (7, 3, "c")]
    else:
        write(bench, target, AB, mode="upsert", keys=["ID"])
        write(bench, target, BC, mode="upsert", keys=["id"])
        assert stored(bench, target) == [(1, "a"), (2, "B"), (3, "c")]


@both
def test_upsert_on_all_columns_adds_what_is_new(bench: Workbench, target: Target) -> None:
    """With nothing to bring up to date, rows that are there stay."""
    write(bench, target, AB, mode="upsert", keys=["id", "name"])
    write(bench, target, BC, mode="upsert", keys=["id", "name"])
    assert stored(bench, target) == [(1, "a"), (2, "B"), (2, "b"), (3, "c")]


@both
@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("SELECT unnest([5, 5]) AS id, 'x' AS name", "two rows have the key id=5"),
        ("SELECT unnest([5, NULL]) AS id, 'x' AS name", "1 rows have no value in the key column 'id'"),
        ("SELECT 5 AS id, 'x' AS nome", "table s.t has no column 'nome'"),
        ("SELECT 2.5 AS id, 'x' AS name", "decimals would be lost"),
        ("SELECT 2.5::DOUBLE AS id, 'x' AS name", "decimals would be lost"),
    ],
)
def test_rows_that_do_not_fit_are_refused(bench: Workbench, target: Target, query: str, said: str) -> None:
    """The error says what is wrong with the rows, and the table stays as it was."""
    write(bench, target, AB)
    with pytest.raises(NodeError, match=said):
        write(bench, target, query, mode="upsert", keys=["id"])
    assert stored(bench, target) == [(1, "a"), (2, "b")]


@both
@pytest.mark.parametrize("mode", ["append", "truncate", "upsert"])
def test_a_failure_leaves_the_old_rows(bench: Workbench, target: Target, mode: str) -> None:
    """A bad value far into the rows, or another number of rows than counted: nothing has changed."""
    write(bench, target, AB)
    text = bench.table(
        "text", "SELECT range AS id, CASE WHEN range = 299999 THEN 'x' ELSE '1' END AS name FROM range(300000)"
    )
    bad = bench.session.define("bad", text.select("id", "CAST(CAST(name AS INTEGER) AS VARCHAR) AS name"))
    config = {"connectionId": target[1], "table": "s.t", "mode": mode, "keys": ["id"] if mode == "upsert" else []}
    with pytest.raises(NodeError, match="node 'bad': Conversion Error: Could not convert string 'x'"):
        bench.run(target[0], config, bad.with_figures(rows=300_000))
    one = bench.session.define("one", text.select().limit(1)).with_figures(rows=2)
    with pytest.raises(NodeError, match="2 rows were counted, but 1 arrived"):
        bench.run(target[0], config, one)
    assert stored(bench, target) == [(1, "a"), (2, "b")]


@both
@pytest.mark.parametrize("mode", ["truncate", "append"])
def test_a_killed_run_leaves_the_old_rows(bench: Workbench, target: Target, mode: str) -> None:
    """After SIGKILL in the middle of the rows the table is as it was, and can be written to again."""
    write(bench, target, AB)
    config = {"connectionId": target[1], "table": "s.t", "mode": mode}
    kill_while_writing(
        target[0].type_name, config, base=bench.base, url=bench.connections.environment["URL"], seconds=1
    )
    assert stored(bench, target) == [(1, "a"), (2, "b")]
    write(bench, target, BC, mode="truncate")
    assert stored(bench, target) == [(2, "B"), (3, "c")]


@both
@pytest.mark.parametrize("mode", ["truncate", "upsert", "append"])
def test_writers_to_one_table_take_turns(bench: Workbench, target: Target, mode: str) -> None:
    """Runs that make and fill a table at once neither fail nor mix."""
    config = {"mode": mode, **({"keys": ["id"]} if mode == "upsert" else {})}
    errors: list[BaseException] = []
    rows = [bench.table(f"of {n}", f"SELECT range AS id, {n} AS writer FROM range(2000)") for n in range(4)]

    def work(number: int) -> None:
        try:
            bench.run(target[0], {"connectionId": target[1], "table": "s.t", **config}, rows[number])
        except NodeError as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    (figures,) = execute(bench, target, "SELECT count(*), count(DISTINCT id), count(DISTINCT writer) FROM s.t")
    assert figures == ((8000, 2000, 4) if mode == "append" else (2000, 2000, 1))


@pytest.mark.parametrize(
    ("value", "type_", "text"),
    [
        ("1.50::DECIMAL(10, 2)", "numeric(10,2)", "1.50"),
        ("12345678901234567890.12::DECIMAL(38, 2)", "numeric(38,2)", "12345678901234567890.12"),
        ("18446744073709551615::UBIGINT", "numeric(20,0)", "18446744073709551615"),
        ("sum(1)", "numeric(38,0)", "1"),
        ("1::UTINYINT", "smallint", "1"),
        ("1::BIGINT", "bigint", "1"),
        ("'nan'::DOUBLE", "double precision", "NaN"),
        ("TIMESTAMPTZ '2024-07-01 12:00:00+02'", "timestamp with time zone", "2024-07-01 10:00:00+00"),
        ("TIMESTAMP_NS '2024-07-01 12:00:00.123456'", "timestamp without time zone", "2024-07-01 12:00:00.123456"),
        ("DATE '2024-02-29'", "date", "2024-02-29"),
        ("'12:34:56+02'::TIMETZ", "time with time zone", "12:34:56+02"),
        ("INTERVAL 1 MONTH", "interval", "1 mon"),
        ("'ü😀'", "text", "ü😀"),
        ("'\\x00\\xFF'::BLOB", "bytea", "\\x00ff"),
        ("'a'::ENUM ('a', 'b')", "text", "a"),
        ("'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'::UUID", "uuid", "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"),
        ("'{\"a\": 1}'::JSON", "jsonb", '{"a": 1}'),
        ("[1, NULL]", "integer[]", "{1,NULL}"),
        ("[DATE '2024-02-29']", "date[]", "{2024-02-29}"),
        ("[1.5::DECIMAL(5, 1)]", "numeric(5,1)[]", "{1.5}"),
        ("{'a': [1]}", "jsonb", '{"a": [1]}'),
        ("MAP {'k': 'ü'}", "jsonb", '{"k": "ü"}'),
        ("[[1], [2]]", "jsonb", "[[1], [2]]"),
        ("NULL::STRUCT(a INTEGER)", "jsonb", None),
    ],
)
def test_postgres_gets_every_type(bench: Workbench, value: str, type_: str, text: str | None) -> None:
    """A value arrives as the PostgreSQL type that holds it exactly."""
    write(bench, POSTGRES, f"SELECT {value} AS v")
    found = execute(
        bench,
        POSTGRES,
        "SET TIME ZONE 'UTC'; SELECT format_type(atttypid, atttypmod), (SELECT v::text FROM s.t)"
        " FROM pg_attribute WHERE attrelid = 's.t'::regclass AND attname = 'v'",
    )
    assert found == [(type_, text)]


def test_postgres_casts_text_to_the_types_of_its_table(bench: Workbench) -> None:
    """Texts go in as PostgreSQL reads them; one that it can't read or store whole is an error."""
    execute(bench, POSTGRES, "CREATE SCHEMA s; CREATE TABLE s.t (d date, u uuid, j json, v varchar(3))")
    uuid = "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"
    write(bench, POSTGRES, f"SELECT '2024-02-29' AS d, '{uuid}' AS u, {{'a': 1}} AS j, 'abc' AS v")
    assert [str(value) for value in stored(bench, POSTGRES)[0]] == ["2024-02-29", uuid, "{'a': 1}", "abc"]
    with pytest.raises(NodeError, match="date/time field value out of range"):
        write(bench, POSTGRES, "SELECT '2024-02-30' AS d")
    with pytest.raises(NodeError, match="value too long"):
        write(bench, POSTGRES, "SELECT 'abcd' AS v")


def test_postgres_runs_sql_before_and_after(bench: Workbench) -> None:
    """In the same transaction: if the last statement fails, none has happened."""
    execute(bench, POSTGRES, "CREATE SCHEMA s; CREATE TABLE s.log (n integer)")
    write(bench, POSTGRES, AB, preSql="INSERT INTO s.log VALUES (1)", postSql="INSERT INTO s.log VALUES (2)")
    with pytest.raises(NodeError, match="division by zero"):
        write(bench, POSTGRES, BC, preSql="INSERT INTO s.log VALUES (3)", postSql="SELECT 1 / 0")
    assert stored(bench, POSTGRES, "s.log") == [(1,), (2,)]
    assert len(stored(bench, POSTGRES)) == 2


def test_postgres_returns_what_it_was_given(bench: Workbench) -> None:
    """A round trip through a table changes neither types nor values."""
    query = """SELECT 1 AS i, 1.50::DECIMAL(10, 2) AS n, TIMESTAMPTZ '2024-07-01 12:00:00+02' AS z,
                      ['ü', NULL] AS l, 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'::UUID AS u, NULL::DATE AS d"""
    write(bench, POSTGRES, query)
    result = bench.run(PostgresSource(), {"connectionId": "pg", "table": "s.t"})
    given = relation(bench, query)
    assert result.relation is not None
    assert result.relation.columns == given.columns
    assert bench.rows(result) == bench.rows(given)


def test_a_duckdb_file_in_use_is_named(bench: Workbench) -> None:
    """The error names the file and the process that holds it."""
    write(bench, DUCKDB, AB)
    path = bench.connections.duckdb("duck").path
    program = f"import duckdb; c = duckdb.connect({str(path)!r}); print(flush=True); input()"
    with subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        with pytest.raises(NodeError, match=f"Could not set lock on file.*{path.name}.*{process.pid}"):
            write(bench, DUCKDB, BC)
        process.kill()
    assert stored(bench, DUCKDB) == [(1, "a"), (2, "b")]


@pytest.mark.parametrize(
    "config", [{"mode": "upsert"}, {"keys": ["id"]}, {"mode": "merge"}, {"table": "a.b.c"}, {"table": ""}]
)
def test_a_config_that_can_not_work_is_refused(config: dict[str, object]) -> None:
    """Upsert needs keys, other modes have none, and a table name has at most two parts."""
    for node_type in (PostgresDestination, DuckDBDestination):
        with pytest.raises(ValueError, match="validation error"):
            node_type.config_model.model_validate({"connectionId": "c", "table": "t", **config})


@both
def test_the_time_of_day_is_not_lost(bench: Workbench, target: Target) -> None:
    """A timestamp that a DATE column would cut off is refused: keys that were different would become equal."""
    node_type, connection_id = target
    config = {"connectionId": connection_id, "table": "days", "mode": "append"}
    bench.run(node_type, config, bench.session.count(bench.table("d", "SELECT DATE '2024-01-01' AS day")))
    late = bench.session.count(bench.table("t", "SELECT TIMESTAMP '2024-01-02 10:00' AS day"))
    with pytest.raises(NodeError, match="the time of day would be lost"):
        bench.run(node_type, config, late)
