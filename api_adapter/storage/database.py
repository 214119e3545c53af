"""The pooled way to Dagster's Postgres, and the one place where a lost database becomes an answer."""

from collections import namedtuple
from collections.abc import Callable, Iterator, Mapping, MutableMapping, Sequence
from contextlib import contextmanager
from functools import lru_cache
from typing import Any, TypeVar

import psycopg2
from psycopg2 import errors
from sqlalchemy import Engine, create_engine
from sqlalchemy.engine import make_url
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from api_adapter.connecting import connect_args, prepare
from api_adapter.errors import OverdueError, UnavailableError

ResultT = TypeVar("ResultT")
Parameters = Mapping[str, object]
Row = Any  # a named tuple of the statement's columns

_STATEMENT_TIMEOUT_SECONDS = 15
# What the session has prepared is gone, or a table has changed since: a new session is as good as ever.
_UNPREPARED = (errors.InvalidSqlStatementName, errors.FeatureNotSupported)


class Connection:
    """A session, asked in the driver's own words: SQLAlchemy takes as long over a short statement as Postgres does."""

    def __init__(self, driver: Any, *, prepared: MutableMapping[str, str]) -> None:
        self._cursor = driver.cursor()
        self._prepared = prepared  # in this session: how each statement is called there
        self._opening = ""

    def rows(self, statement: str, parameters: Parameters | None = None) -> Sequence[Row]:
        """Return the rows of a statement with parameters as ``%(name)s``; it is planned for their values."""
        return self._named(self._tuples(statement, parameters))

    def prepared_rows(self, statement: str, parameters: Parameters) -> Sequence[Row]:
        """Return the rows of a statement that each session plans only once, whatever the parameters are.

        Planning takes longer than a short read does. It is for statements that leave the planner one way only, by
        their index and in its order, since it does not know the values then.
        """
        return self._named(self.prepared_tuples(statement, parameters))

    def prepared_tuples(self, statement: str, parameters: Parameters) -> Sequence[tuple[Any, ...]]:
        """Return what `prepared_rows` does, without names: where there are so many that naming them takes long."""
        call = prepare(self._cursor, statement, prepared=self._prepared)
        return self._tuples(call, parameters)

    def do(self, statement: str) -> None:
        """Run a statement that returns no rows."""
        self._execute(statement)

    @contextmanager
    def snapshot(self) -> Iterator[None]:
        """Have all statements see the database as it is at the first of them, with which the transaction begins."""
        self._opening = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; "
        try:
            yield
        finally:
            if not self._cursor.connection.closed:
                self._execute("ROLLBACK")

    def _tuples(self, statement: str, parameters: Parameters | None) -> Sequence[tuple[Any, ...]]:
        self._execute(statement, parameters)
        found: Sequence[tuple[Any, ...]] = self._cursor.fetchall()
        return found

    def _named(self, found: Sequence[tuple[Any, ...]]) -> Sequence[Row]:
        names = tuple(column.name for column in self._cursor.description)
        return list(map(_row_type(names)._make, found))

    def _execute(self, statement: str, parameters: Parameters | None = None) -> None:
        opening, self._opening = self._opening, ""
        self._cursor.execute(opening + statement, parameters)


class _LostError(Exception):
    """A connection was lost; its cause is what the driver said."""


class Database:
    """A pool of connections. A read finds the database as it was at one moment, and changes nothing.

    `UnavailableError` if the database is away, `OverdueError` if it takes too long to answer. A connection that was
    lost while nobody used it is replaced unnoticed.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def read(self, work: Callable[[Connection], ResultT]) -> ResultT:
        """Return what `work` reads; all its statements see the same snapshot."""

        def read_all(connection: Connection) -> ResultT:
            with connection.snapshot():
                return work(connection)

        return self.read_single(read_all)

    def read_single(self, work: Callable[[Connection], ResultT]) -> ResultT:
        """Return what `work` reads with a single statement, which spares the round trips of a transaction."""
        try:
            return self._read(work)
        except _LostError as error:
            raise UnavailableError("The database") from error.__cause__
        except errors.QueryCanceled as error:
            raise OverdueError from error
        except (PoolTimeoutError, psycopg2.OperationalError, psycopg2.InterfaceError) as error:
            raise UnavailableError("The database") from error

    def close(self) -> None:
        """Close all connections."""
        self._engine.dispose()

    def _read(self, work: Callable[[Connection], ResultT]) -> ResultT:
        """Do the work, and once more on a new connection if that is what it takes; all old ones are in doubt then."""
        try:
            return self._read_once(work)
        except (_LostError, *_UNPREPARED):
            self._engine.dispose()
        return self._read_once(work)

    def _read_once(self, work: Callable[[Connection], ResultT]) -> ResultT:
        pooled = self._engine.raw_connection()
        try:
            return work(Connection(pooled, prepared=pooled.info))
        except psycopg2.Error as error:
            # A server that crashes amid a statement is told of by a plain DatabaseError now and then.
            if self._engine.dialect.is_disconnect(error, pooled.dbapi_connection, None):  # type: ignore[arg-type]  # a protocol
                pooled.invalidate(error)
                raise _LostError from error
            raise
        finally:
            pooled.close()


def open_database(url: str) -> Database:
    """Return the database at `url`; it connects when it is first read."""
    engine = create_engine(
        make_url(url).set(drivername="postgresql+psycopg2"),
        pool_size=10,
        max_overflow=10,
        pool_timeout=5,
        pool_use_lifo=True,  # the session that has prepared the most
        pool_reset_on_return=None,
        isolation_level="AUTOCOMMIT",
        connect_args=connect_args(
            "planasonix-api",
            options=f"-c statement_timeout={_STATEMENT_TIMEOUT_SECONDS}s -c default_transaction_read_only=on"
            # Answers are short; workers would take longer to start than they save.
            " -c max_parallel_workers_per_gather=0 -c jit=off"
            " -c plan_cache_mode=force_generic_plan",  # of what was prepared: else it would be planned anew each time
        ),
    )
    return Database(engine)


@lru_cache(maxsize=1024)
def _row_type(names: tuple[str, ...]) -> Any:
    return namedtuple("Row", names, rename=True)
