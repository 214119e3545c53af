"""The pooled way to Dagster's Postgres, and the one place where a lost database becomes an answer."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from psycopg2 import errors
from sqlalchemy import Connection, Engine, Row, create_engine
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from api_adapter.errors import OverdueError, UnavailableError

ResultT = TypeVar("ResultT")
Parameters = Mapping[str, object]

_STATEMENT_TIMEOUT_SECONDS = 15


class Database:
    """A pool of connections. A read finds the database as it was at one moment, and changes nothing.

    `UnavailableError` if the database is away, `OverdueError` if it takes too long to answer. A connection that was
    lost while nobody used it is replaced unnoticed.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def read(self, work: Callable[[Connection], ResultT]) -> ResultT:
        """Return what `work` reads; all its statements see the same snapshot."""
        return self.read_single(lambda connection: _in_snapshot(connection, work=work))

    def read_single(self, work: Callable[[Connection], ResultT]) -> ResultT:
        """Return what `work` reads with a single statement, which spares the round trips of a transaction."""
        try:
            return _with_connection(self._engine, work=work)
        except PoolTimeoutError as error:
            raise UnavailableError("The database") from error
        except DBAPIError as error:
            if isinstance(error.orig, errors.QueryCanceled):
                raise OverdueError from error
            # A server that crashes amid a statement is told of by a plain DatabaseError now and then.
            if error.connection_invalidated or isinstance(error, OperationalError | InterfaceError):
                raise UnavailableError("The database") from error
            raise

    def close(self) -> None:
        """Close all connections."""
        self._engine.dispose()


def rows(connection: Connection, statement: str, parameters: Parameters | None = None) -> Sequence[Row[Any]]:
    """Return the rows of a statement in the driver's own words (``%(name)s``), which spares compiling it each time."""
    return connection.exec_driver_sql(statement, dict(parameters or {})).all()


def open_database(url: str) -> Database:
    """Return the database at `url`; it connects when it is first read."""
    engine = create_engine(
        make_url(url).set(drivername="postgresql+psycopg2"),
        pool_size=10,
        max_overflow=10,
        pool_timeout=5,
        isolation_level="AUTOCOMMIT",
        connect_args={
            "connect_timeout": 3,
            "application_name": "planasonix-api",
            "options": f"-c statement_timeout={_STATEMENT_TIMEOUT_SECONDS}s -c default_transaction_read_only=on"
            # Answers are short; workers would take longer to start than they save.
            " -c max_parallel_workers_per_gather=0 -c jit=off",
            # A server that has vanished without a word is noticed within seconds.
            "keepalives_idle": 5,
            "keepalives_interval": 2,
            "keepalives_count": 3,
            "tcp_user_timeout": 10_000,
        },
    )
    return Database(engine)


def _in_snapshot(connection: Connection, *, work: Callable[[Connection], ResultT]) -> ResultT:
    """Do the work in a transaction of our own making: the driver's would take a round trip more to set up."""
    connection.exec_driver_sql("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
    try:
        return work(connection)
    finally:
        if not connection.invalidated:
            connection.exec_driver_sql("ROLLBACK")


def _with_connection(engine: Engine, *, work: Callable[[Connection], ResultT]) -> ResultT:
    """Do the work, and once more if its connection turns out to be lost: the pool has then dropped all old ones."""
    try:
        with engine.connect() as connection:
            return work(connection)
    except DBAPIError as error:
        if not error.connection_invalidated:
            raise
    with engine.connect() as connection:
        return work(connection)
