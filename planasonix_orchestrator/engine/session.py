"""One run's DuckDB database: nodes define relations in it, and the session counts, materialises and copies them."""

import shutil
import threading
from collections.abc import Hashable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Literal

import duckdb
import pyarrow as pa
from sqlglot import exp

from planasonix_orchestrator.engine.faults import DATA_ERRORS, as_node_error
from planasonix_orchestrator.engine.relation import SCHEMA, Column, Relation, column, name_of, quoted, stored_name
from planasonix_orchestrator.engine.stopping import Turns, stoppable, wait_until
from planasonix_orchestrator.engine.stream import BatchStream
from planasonix_orchestrator.engine.types import size_of
from planasonix_orchestrator.errors import NodeError, NodeInterruptedError, NodeOutOfMemoryError, UpstreamNodeError

_NOT_OF_ROWS = (NodeInterruptedError, NodeOutOfMemoryError)  # as which no row is to blame, whatever DuckDB raised


class Session:
    """A run's database in memory, spilling to `spill` past `memory_limit`.

    Safe to use from several threads: each call works on a cursor of its own. DuckDB's errors come out as
    `NodeError`s with DuckDB's message. A name can be defined or loaded again, which replaces it, so that a failed node
    can be tried again. `close` removes the spill folder; use the session as a context manager.
    """

    def __init__(self, *, spill: Path, memory_limit: str | None = None, threads: int | None = None) -> None:
        spill.mkdir(parents=True, exist_ok=True)
        self._spill = spill
        self._database = duckdb.connect(config=_configuration(spill, memory_limit, threads))
        self._database.execute(f"CREATE SCHEMA {SCHEMA}")
        self._turns: dict[Hashable, Turns] = {}  # for relations by name, for attached files by path
        self._cursors: set[duckdb.DuckDBPyConnection] = set()  # lent now
        self._changed = threading.Condition()  # the cursors
        self._kinds: dict[str, Literal["VIEW", "TABLE"]] = {}  # of each relation, as DuckDB keeps it
        self._read_files: dict[str, tuple[Path, ...]] = {}  # of each view
        self._reads: dict[str, tuple[str, ...]] = {}  # of each view, the relations that it reads

    def define(self, name: str, query: exp.Query, *, files: Iterable[Path] = ()) -> Relation:
        """Make a view of the query and return it: columns are checked now, no row is read.

        `files` are those that the view reads each time; see `keep_rows_of`.
        """
        with self._turn(name), self.cursor() as cursor:
            self._drop(cursor, name)
            cursor.execute(f"CREATE VIEW {_sql(name)} AS {query.sql('duckdb')}")
            self._kinds[name] = "VIEW"
            self._read_files[name] = tuple(files)
            self._reads[name] = tuple(name_of(table.name) for table in query.find_all(exp.Table) if table.db == SCHEMA)
            return Relation(name=name, columns=_columns(cursor, _all(name)))

    def materialise(self, relation: Relation) -> Relation:
        """Replace a view by a table of its rows, under the same name, and return it with its figures."""
        rows_name = _unfinished(relation.name)
        with self._turn(relation.name), self.cursor() as cursor:
            if self._kinds.get(relation.name) == "TABLE":  # another node has needed its rows meanwhile
                rows = _number(cursor, exp.select("count(*)").from_(relation.table()).sql("duckdb"))
                return replace(relation, materialised=True, rows=rows, bytes_shuffled=_size(cursor, relation))
            rows = _number(cursor, f"CREATE OR REPLACE TABLE {rows_name} AS FROM {_sql(relation.name)}")
            cursor.execute("BEGIN")
            cursor.execute(f"DROP VIEW {_sql(relation.name)}")
            stored = quoted(stored_name(relation.name)).sql("duckdb")
            cursor.execute(f"ALTER TABLE {rows_name} RENAME TO {stored}")
            cursor.execute("COMMIT")
            self._kinds[relation.name] = "TABLE"
            self._reads.pop(relation.name, None)
            self._read_files.pop(relation.name, None)
            return replace(relation, materialised=True, rows=rows, bytes_shuffled=_size(cursor, relation))

    def keep_rows_of(self, target: Path) -> None:
        """Keep the rows of all views that read `target`, a file or folder, because it is about to be replaced.

        Returns when nobody reads it any longer. Not to be called while a cursor is lent to this thread.
        """
        names = [
            name
            for name, files in tuple(self._read_files.items())
            if any(target == file or target in file.parents for file in files)
        ]
        for name in names:
            self.materialise(Relation(name=name, columns=self.columns(_all(name))))
        if names:
            self._wait_for_readers()

    def _wait_for_readers(self) -> None:
        with self._changed:
            readers = set(self._cursors)
        wait_until(lambda: readers.isdisjoint(self._cursors), condition=self._changed)

    def columns(self, query: exp.Query) -> tuple[Column, ...]:
        """Return the columns of a query; no row is read."""
        with self.cursor() as cursor:
            return _columns(cursor, query)

    def load(
        self, name: str, batches: pa.RecordBatchReader, *, columns: Mapping[str, exp.Expr] | None = None
    ) -> Relation:
        """Make a table of an Arrow stream, batch by batch, and return it with its figures.

        `columns` replaces columns of the stream by expressions over it. `bytes_read` is the size of the Arrow data.
        """
        stream = BatchStream(batches.schema, batches)
        select = exp.select(
            *(
                exp.alias_((columns or {}).get(field.name, column(field.name)), field.name, quoted=True)
                for field in batches.schema
            )
        ).from_("arrow_stream")
        with self._turn(name), self.cursor() as cursor:
            self._drop(cursor, name)
            cursor.register("arrow_stream", stream.reader)
            try:
                rows = _number(cursor, f"CREATE TABLE {_sql(name)} AS {select.sql('duckdb')}")
            except duckdb.Error as error:
                raise (stream.error or error) from error
            finally:
                cursor.unregister("arrow_stream")
            self._kinds[name] = "TABLE"
            relation = Relation(
                name=name, columns=_columns(cursor, _all(name)), materialised=True, rows=rows, bytes_read=stream.bytes
            )
            return replace(relation, bytes_shuffled=_size(cursor, relation))

    def retype(self, relation: Relation, types: Mapping[str, str]) -> Relation:
        """Change the types of columns of a materialised relation; a value that does not fit is an error."""
        with self._turn(relation.name), self.cursor() as cursor:
            for name, type_ in types.items():
                cursor.execute(
                    f"ALTER TABLE {_sql(relation.name)} ALTER COLUMN {quoted(name).sql('duckdb')} TYPE {type_}"
                )
            changed = replace(relation, columns=_columns(cursor, _all(relation.name)))
            return replace(changed, bytes_shuffled=_size(cursor, changed))

    def count(self, relation: Relation) -> Relation:
        """Return the relation with its exact number of rows, reading them if nobody knows it yet."""
        if relation.rows is not None:
            return relation
        return relation.with_figures(rows=self.number(exp.select("count(*)").from_(relation.table())))

    def number(self, query: exp.Query) -> int:
        """Return the only value of a query, a whole number; NULL counts as 0."""
        with self.cursor() as cursor:
            return _number(cursor, query.sql("duckdb"))

    @contextmanager
    def stream(self, query: exp.Query, *, rows_per_batch: int = 100_000) -> Iterator[BatchStream]:
        """Lend the rows of a query as Arrow batches while it runs; memory stays at a few batches."""
        with self.cursor() as cursor:
            # The relation API streams; the results of `execute` are complete before the first batch.
            reader = cursor.sql(query.sql("duckdb")).to_arrow_reader(rows_per_batch)
            yield BatchStream(reader.schema, _translated(reader))

    def copy(self, query: exp.Query, *, target: Path, options: str) -> int:
        """Write the rows of a query to a file or folder as DuckDB's COPY does, and return their number."""
        path = exp.Literal.string(str(target)).sql("duckdb")
        with self.cursor() as cursor:
            return _number(cursor, f"COPY ({query.sql('duckdb')}) TO {path} ({options})")

    def blame(self, error: NodeError, *, readers: Iterable[Relation]) -> NodeError:
        """Return the error, or an `UpstreamNodeError` if one of the views behind these relations is at fault.

        A view is computed by whoever reads it, so a bad value shows where it is read, not where it is made. If rows are
        to blame at all, the views are computed one by one, upstream first, until one fails.
        """
        if isinstance(error.__cause__, DATA_ERRORS) and not isinstance(error, _NOT_OF_ROWS):
            for name in self._views_behind(readers):
                try:
                    self._compute(name)
                except NodeError as fault:
                    return UpstreamNodeError(name, fault=fault)
        return error

    def _views_behind(self, readers: Iterable[Relation]) -> Iterator[str]:
        seen: set[str] = set()
        stack = [(reader.name, False) for reader in readers]
        while stack:
            name, ready = stack.pop()
            if ready:
                yield name
            elif name in self._reads and name not in seen:
                seen.add(name)
                stack.append((name, True))
                stack.extend((upstream, False) for upstream in self._reads[name])

    def _compute(self, name: str) -> None:
        with self.stream(_all(name)) as stream:
            for _ in stream.reader:
                pass

    @contextmanager
    def attached(self, path: Path) -> Iterator[str]:
        """Lend a DuckDB file, made if missing, as the database of the returned name (unquoted).

        Users of one file take turns. Another process that has the file open is an error.
        """
        with self._turn(path):
            name = f"file {path}"
            with self.cursor() as cursor:
                literal = exp.Literal.string(str(path)).sql("duckdb")
                cursor.execute(f"ATTACH {literal} AS {quoted(name).sql('duckdb')}")
            try:
                yield name
            finally:
                with self.cursor() as cursor:
                    cursor.execute(f"DETACH {quoted(name).sql('duckdb')}")

    @contextmanager
    def cursor(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """Lend a cursor for one piece of work; whatever runs on it ends when the `Work` of this thread is stopped."""
        cursor = self._database.cursor()
        try:
            with self._lent(cursor), stoppable(cursor.interrupt):
                yield cursor
        except duckdb.Error as error:
            raise as_node_error(error) from error
        finally:
            cursor.close()

    @contextmanager
    def _lent(self, cursor: duckdb.DuckDBPyConnection) -> Iterator[None]:
        with self._changed:
            self._cursors.add(cursor)
        try:
            yield
        finally:
            with self._changed:
                self._cursors.discard(cursor)
                self._changed.notify_all()

    def _turn(self, key: Hashable) -> AbstractContextManager[None]:
        return self._turns.setdefault(key, Turns()).turn()

    def _drop(self, cursor: duckdb.DuckDBPyConnection, name: str) -> None:
        kind = self._kinds.pop(name, None)
        if kind is not None:
            cursor.execute(f"DROP {kind} {_sql(name)}")

    def close(self) -> None:
        """Close the database and remove its spill folder."""
        self._database.close()
        shutil.rmtree(self._spill, ignore_errors=True)

    def __enter__(self) -> "Session":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


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


def _unfinished(name: str) -> str:
    # No stored name ends in a mark, so that this is nobody else's.
    return exp.table_(stored_name(name) + "^", db=SCHEMA, quoted=True).sql("duckdb")


def _sql(name: str) -> str:
    return exp.table_(stored_name(name), db=SCHEMA, quoted=True).sql("duckdb")


def _all(name: str) -> exp.Select:
    return Relation(name=name, columns=()).select()


def _number(cursor: duckdb.DuckDBPyConnection, statement: str) -> int:
    # fetchall, not fetchone: a result that is not read to its end blocks the cursor's next statement.
    ((number,),) = cursor.execute(statement).fetchall()
    return int(number or 0)


def _size(cursor: duckdb.DuckDBPyConnection, relation: Relation) -> int:
    sizes = [exp.func("coalesce", size_of(col), exp.Literal.number(0)) for col in relation.columns]
    total: exp.Expr = sizes[0]
    for size in sizes[1:]:
        total = exp.Add(this=total, expression=size)
    return _number(cursor, exp.select(total).from_(relation.table()).sql("duckdb"))


def _translated(reader: pa.RecordBatchReader) -> Iterator[pa.RecordBatch]:
    try:
        yield from reader
    except (OSError, pa.ArrowException) as error:  # as which DuckDB's errors come out of an Arrow reader
        raise as_node_error(error) from error


def _columns(cursor: duckdb.DuckDBPyConnection, query: exp.Query) -> tuple[Column, ...]:
    # Not from DuckDB's catalogue, which looks at every relation there is, nor DESCRIBE, which mistakes a column's case.
    result = cursor.execute(exp.select("*").from_(query.subquery("rows")).limit(0).sql("duckdb"))
    columns = tuple(Column(name, str(type_)) for name, type_, *_ in result.description or ())
    result.fetchall()
    return columns
