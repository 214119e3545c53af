"""One run's DuckDB database: nodes define relations in it, and the session counts, materialises and copies them."""

import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import duckdb
import pyarrow as pa
from sqlglot import exp

from planasonix_orchestrator.engine.relation import SCHEMA, Column, Relation, quoted
from planasonix_orchestrator.errors import NodeError


class Session:
    """A run's database in memory, spilling to `spill` past `memory_limit`.

    Safe to use from several threads: each call works on a cursor of its own. DuckDB's errors come out as
    `NodeError`s with DuckDB's message. `close` removes the spill folder; use the session as a context manager.
    """

    def __init__(self, *, spill: Path, memory_limit: str | None = None, threads: int | None = None) -> None:
        spill.mkdir(parents=True, exist_ok=True)
        self._spill = spill
        self._database = duckdb.connect(config=_configuration(spill, memory_limit, threads))
        self._database.execute(f"CREATE SCHEMA {SCHEMA}")
        self._cursors: set[duckdb.DuckDBPyConnection] = set()
        self._lock = threading.Lock()

    def define(self, name: str, query: exp.Query) -> Relation:
        """Make a view of the query and return it: columns are checked now, no row is read."""
        view = exp.table_(name, db=SCHEMA, quoted=True)
        with self.cursor() as cursor:
            cursor.execute(f"CREATE VIEW {view.sql('duckdb')} AS {query.sql('duckdb')}")
            return Relation(name=name, columns=_columns(cursor, name))

    def materialise(self, relation: Relation) -> Relation:
        """Replace a view by a table of its rows, under the same name, and return it with its figures."""
        view = relation.table().sql("duckdb")
        table = exp.table_(f"{relation.name} rows", db=SCHEMA, quoted=True).sql("duckdb")
        with self.cursor() as cursor:
            with self._measured(cursor) as stored:
                rows = _number(cursor, f"CREATE TABLE {table} AS FROM {view}")
            cursor.execute(f"DROP VIEW {view}")
            cursor.execute(f"ALTER TABLE {table} RENAME TO {quoted(relation.name).sql('duckdb')}")
        return replace(relation, materialised=True, rows=rows, bytes_shuffled=stored[0])

    def load(self, name: str, batches: pa.RecordBatchReader) -> Relation:
        """Make a table of an Arrow stream, batch by batch, and return it with its figures."""
        table = exp.table_(name, db=SCHEMA, quoted=True).sql("duckdb")
        with self.cursor() as cursor:
            cursor.register("arrow_stream", batches)
            with self._measured(cursor) as stored:
                rows = _number(cursor, f"CREATE TABLE {table} AS FROM arrow_stream")
            cursor.unregister("arrow_stream")
            columns = _columns(cursor, name)
        return Relation(name=name, columns=columns, materialised=True, rows=rows, bytes_shuffled=stored[0])

    def count(self, relation: Relation) -> Relation:
        """Return the relation with its exact number of rows, reading them if nobody knows it yet."""
        if relation.rows is not None:
            return relation
        with self.cursor() as cursor:
            rows = _number(cursor, exp.select("count(*)").from_(relation.table()).sql("duckdb"))
        return relation.with_figures(rows=rows)

    def stream(self, query: exp.Query, *, rows_per_batch: int = 100_000) -> Iterator[pa.RecordBatch]:
        """Yield the rows of a query as Arrow batches while it runs; memory stays at a few batches."""
        with self.cursor() as cursor:
            reader: pa.RecordBatchReader = cursor.execute(query.sql("duckdb")).to_arrow_reader(rows_per_batch)
            yield from reader

    @contextmanager
    def cursor(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """Lend a cursor for one piece of work; `interrupt` reaches whatever runs on it."""
        cursor = self._database.cursor()
        with self._lock:
            self._cursors.add(cursor)
        try:
            yield cursor
        except duckdb.Error as error:
            raise NodeError(str(error).strip()) from error
        finally:
            with self._lock:
                self._cursors.discard(cursor)
            cursor.close()

    def interrupt(self) -> None:
        """Stop every query that runs now; each raises in its own thread."""
        with self._lock:
            cursors = list(self._cursors)
        for cursor in cursors:
            cursor.interrupt()

    def close(self) -> None:
        """Close the database and remove its spill folder."""
        self._database.close()
        shutil.rmtree(self._spill, ignore_errors=True)

    def __enter__(self) -> "Session":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @contextmanager
    def _measured(self, cursor: duckdb.DuckDBPyConnection) -> Iterator[list[int]]:
        """Put the storage that tables take up in addition, in memory and spilled, into the list at the end."""
        figure: list[int] = []
        before = _table_bytes(cursor)
        yield figure
        figure.append(max(0, _table_bytes(cursor) - before))


def _configuration(
    spill: Path, memory_limit: str | None, threads: int | None
) -> dict[str, str | bool | int | float | list[str]]:
    chosen: dict[str, str | bool | int | float | list[str]] = {
        "temp_directory": str(spill),
        "python_enable_replacements": False,  # a misspelt table must not find a Python variable
        "autoinstall_known_extensions": False,  # a run never downloads code
        "TimeZone": "UTC",
    }
    if memory_limit:
        chosen["memory_limit"] = memory_limit
    if threads:
        chosen["threads"] = threads
    return chosen


def _table_bytes(cursor: duckdb.DuckDBPyConnection) -> int:
    return _number(
        cursor,
        "SELECT sum(memory_usage_bytes + temporary_storage_bytes) FROM duckdb_memory() WHERE tag = 'IN_MEMORY_TABLE'",
    )


def _number(cursor: duckdb.DuckDBPyConnection, statement: str) -> int:
    # fetchall, not fetchone: a result that is not read to its end blocks the cursor's next statement.
    ((number,),) = cursor.execute(statement).fetchall()
    return int(number)


def _columns(cursor: duckdb.DuckDBPyConnection, name: str) -> tuple[Column, ...]:
    rows = cursor.execute(
        "SELECT column_name, data_type FROM duckdb_columns() WHERE schema_name = ? AND table_name = ?"
        " ORDER BY column_index",
        [SCHEMA, name],
    ).fetchall()
    return tuple(Column(name, type_) for name, type_ in rows)
