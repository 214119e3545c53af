"""Dagster's Postgres as a worker uses it: pooled connections, and patience with a server that is away for a while."""

import secrets
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final, TypeVar

import psycopg2
from dagster_postgres.utils import create_pg_engine
from psycopg2.extensions import TRANSACTION_STATUS_INERROR
from sqlalchemy import Connection, Engine, event
from sqlalchemy.engine import ExecutionContext, make_url
from sqlalchemy.exc import DBAPIError

from planasonix_orchestrator.errors import PlanasonixError

ResultT = TypeVar("ResultT")

_FIRST_PAUSE_SECONDS: Final = 0.02
_LONGEST_PAUSE_SECONDS: Final = 1.0
# The fence keeps a transaction waiting that follows one whose end we did not see, until that has ended. Nor may such a
# transaction count before it is on disk, whatever the server's default is.
_BEGIN: Final = (
    "BEGIN ISOLATION LEVEL READ COMMITTED; SELECT pg_advisory_xact_lock({fence}), CASE WHEN"
    " current_setting('synchronous_commit') = 'off' THEN set_config('synchronous_commit', 'on', true) END"
)


class DatabaseGoneError(PlanasonixError):
    """Dagster's Postgres was away for longer than its user has patience."""

    def __init__(self, *, patience: float, reason: str) -> None:
        super().__init__(f"Dagster's database was away for {patience:g} seconds: {reason}")


class Database:
    """A pool of connections that outlives restarts and crashes of the server.

    Connecting, reads and transactions are tried again until the server has been away for `patience` seconds;
    then they raise `DatabaseGoneError`, at once, until it is back. No thread is started.
    """

    def __init__(self, url: str, *, patience: float, token_provider: Any = None) -> None:
        self._patience = patience
        self._gone_since: float | None = None
        self._fence: int | None = None
        self._joined = threading.local()
        self.engine = _engine(url, token_provider=token_provider)
        event.listen(self.engine, "do_execute", self._execute)

    @contextmanager
    def connect(self) -> Iterator[Connection]:
        """Lend a connection each statement of which counts at once; within `transact`, that of the transaction."""
        joined = self._joined_connection()
        if joined is not None:
            yield joined
            return
        with self._patiently(self.engine.connect) as connection:
            yield connection

    def transact(self, work: Callable[[Connection], ResultT]) -> ResultT:
        """Do `work` in one transaction, which is on disk on return, and again if the server goes away meanwhile.

        It may have gone away after it had committed: `work` must see for itself whether an earlier call has counted.
        No transaction of this process works while another one's end is uncertain.
        """

        def attempt() -> ResultT:
            with self._transaction() as connection:
                return work(connection)

        return self._patiently(attempt)

    def close(self) -> None:
        """Close all connections; the next user opens new ones. What the engine has compiled stays."""
        self.engine.dispose()
        self._fence = None  # a child process of this one must not share it

    @contextmanager
    def _transaction(self) -> Iterator[Connection]:
        # The driver's own transactions would take two round trips more to set up.
        if self._fence is None:
            self._fence = secrets.randbits(62)
        with self.engine.connect() as connection:
            try:
                connection.exec_driver_sql(_BEGIN.format(fence=self._fence))
                self._joined.connection = connection
                yield connection
                _check_sound(connection)
                connection.exec_driver_sql("COMMIT")
            except BaseException:
                connection.invalidate()  # with which the server drops what it has not committed
                raise
            finally:
                self._joined.connection = None

    def _joined_connection(self) -> Connection | None:
        return getattr(self._joined, "connection", None)

    def _execute(self, cursor: Any, statement: str, parameters: Any, context: ExecutionContext) -> bool:
        """Execute a read in SQLAlchemy's stead: on a new connection if it finds that its own is lost."""
        connection: Connection = context.root_connection
        if self._joined_connection() is not None or not cursor.connection.autocommit or not _is_read(statement):
            return False

        def attempt() -> None:
            if connection.invalidated:
                connection.rollback()
                context.cursor = connection.connection.cursor()
            try:
                context.dialect.do_execute(context.cursor, statement, parameters, context)
            except psycopg2.Error as error:
                if _passes(error):
                    connection.invalidate()
                raise

        self._patiently(attempt)
        return True

    def _patiently(self, attempt: Callable[[], ResultT]) -> ResultT:
        """Return what `attempt` returns, which is called again while the server is away."""
        pause = _FIRST_PAUSE_SECONDS
        failing_since: float | None = None
        while True:
            try:
                result = attempt()
            except (DBAPIError, psycopg2.Error) as error:
                if not _passes(error):
                    raise
                now = time.monotonic()
                failing_since = failing_since or now
                self._gone_since = self._gone_since or now
                if now - min(failing_since, self._gone_since) >= self._patience:
                    raise DatabaseGoneError(patience=self._patience, reason=_reason(error)) from error
            else:
                self._gone_since = None
                return result
            time.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)


def _engine(url: str, *, token_provider: Any) -> Engine:
    engine: Engine = create_pg_engine(
        url,
        token_provider,
        isolation_level="AUTOCOMMIT",
        pool_size=2,
        max_overflow=20,  # as many as there are threads; those beyond pool_size are closed after use
        pool_use_lifo=True,
        pool_pre_ping=True,
        use_native_hstore=False,  # it would ask for the type at each connect
        connect_args=_connect_args(url),
    )
    return engine


def _connect_args(url: str) -> Mapping[str, Any]:
    asked = make_url(url).query
    given = asked.get("options", "")
    options = " ".join(given) if isinstance(given, tuple) else given
    defaults = {
        "application_name": "planasonix-run",
        "connect_timeout": 5,
        # A server that has vanished without a word is noticed within seconds.
        "keepalives_idle": 5,
        "keepalives_interval": 2,
        "keepalives_count": 3,
        "tcp_user_timeout": 10_000,
    }
    return {
        **{name: value for name, value in defaults.items() if name not in asked},
        "options": f"-c statement_timeout=15s -c jit=off {options}".strip(),
    }


def _check_sound(connection: Connection) -> None:
    """Raise if a statement has failed, whose error somebody swallowed: a COMMIT would quietly undo the others."""
    driver: Any = connection.connection.dbapi_connection
    if driver.get_transaction_status() == TRANSACTION_STATUS_INERROR:
        raise RuntimeError("a statement of the transaction has failed unnoticed")


def _is_read(statement: str) -> bool:
    return statement.lstrip()[:6].upper() == "SELECT"


def _passes(error: DBAPIError | psycopg2.Error) -> bool:
    """Tell whether another attempt may find what this one did not: the server is away, or others were in the way."""
    if isinstance(error, DBAPIError) and error.connection_invalidated:
        return True
    original = error.orig if isinstance(error, DBAPIError) else error
    # A server that crashes amid a statement is told of by a plain DatabaseError now and then.
    passing = psycopg2.OperationalError | psycopg2.InterfaceError
    return isinstance(original, passing) or type(original) is psycopg2.DatabaseError


def _reason(error: DBAPIError | psycopg2.Error) -> str:
    return str(error.orig if isinstance(error, DBAPIError) else error).strip().partition("\n")[0]
