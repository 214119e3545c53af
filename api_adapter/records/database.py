"""The pooled way to our own tables, each statement a transaction of its own."""

from collections.abc import Mapping, Sequence
from threading import Lock
from typing import Any

import psycopg2
from psycopg2 import errorcodes
from sqlalchemy import Executable, Row, create_engine, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from api_adapter.connecting import connect_args, prepare
from api_adapter.errors import UnavailableError
from api_adapter.records.schema import ensure_schema

_STATEMENT_TIMEOUT_SECONDS = 5
_PING = text("SELECT 1")

Rows = Sequence[Row[Any]]


class _StaleError(UnavailableError):
    """What was taken for granted is gone: the connection while it lay idle, or the tables. Trying again may help."""


class Database:
    """Runs statements on our tables, and sees to it that these are there. `UnavailableError` if the database is away.

    Each is committed by itself, and connections are not tried before they are used: a lookup is one round trip.
    """

    def __init__(self, url: str) -> None:
        self._engine = create_engine(
            make_url(url).set(drivername="postgresql+psycopg2"),
            isolation_level="AUTOCOMMIT",
            pool_size=10,
            max_overflow=10,
            pool_timeout=5,
            pool_use_lifo=True,
            connect_args=connect_args(
                "planasonix-records", options=f"-c statement_timeout={_STATEMENT_TIMEOUT_SECONDS}s"
            ),
        )
        self._ready = False
        self._lock = Lock()

    def read(self, statement: Executable | str, parameters: Mapping[str, Any] | None = None) -> Rows:
        """Return the rows that a statement selects."""
        try:
            return self._execute(statement, parameters)
        except _StaleError:
            self._engine.dispose()  # all connections are in doubt; SQLAlchemy knows old ones by the time of day only
            return self._execute(statement, parameters)

    def fetch(self, statement: str, parameters: Mapping[str, Any]) -> Sequence[tuple[Any, ...]]:
        """Return the rows of a statement in the driver's own words (``%(name)s``): for what every request asks.

        It goes past SQLAlchemy's statements and results, which take as long as the database does, and is planned once
        in each session, which takes longer than reading a row.
        """
        if self._ready:
            try:
                return self._fetch(statement, parameters)
            except psycopg2.Error:
                self._engine.dispose()  # all connections are in doubt; the long way knows what to make of errors
            except SQLAlchemyError:
                pass
        return [tuple(row) for row in self.read(statement, parameters)]

    def write(self, statement: Executable, parameters: Mapping[str, Any] | None = None) -> Rows:
        """Run a statement that writes, once, and return the rows that it returns."""
        self.read(_PING)  # the connection that has answered is the next to be taken
        return self._execute(statement, parameters)

    def close(self) -> None:
        """Close all connections."""
        self._engine.dispose()

    def _fetch(self, statement: str, parameters: Mapping[str, Any]) -> Sequence[tuple[Any, ...]]:
        connection = self._engine.raw_connection()
        try:
            cursor = connection.cursor()
            cursor.execute(prepare(cursor, statement, prepared=connection.info), parameters)
            return cursor.fetchall()
        except psycopg2.Error:
            connection.invalidate()
            raise
        finally:
            connection.close()

    def _execute(self, statement: Executable | str, parameters: Mapping[str, Any] | None) -> Rows:
        try:
            self._prepare()
            with self._engine.connect() as connection:
                if isinstance(statement, str):
                    result = connection.exec_driver_sql(statement, dict(parameters or {}))
                else:
                    result = connection.execute(statement, parameters)
                return result.all() if result.returns_rows else ()
        except (DBAPIError, PoolTimeoutError) as error:
            unavailable = _unavailable(error)
            if unavailable is None:
                raise
            self._ready = False  # what comes back may be another, empty database
            raise unavailable from error

    def _prepare(self) -> None:
        if self._ready:
            return
        with self._lock:
            if not self._ready:
                ensure_schema(self._engine)
                self._ready = True


def _unavailable(error: DBAPIError | PoolTimeoutError) -> UnavailableError | None:
    """Return what an error of the driver means to a caller; None if it is a mistake of ours."""
    if isinstance(error, DBAPIError):
        # The driver tells of some lost connections in the class of all its errors.
        if error.connection_invalidated or getattr(error.orig, "pgcode", None) == errorcodes.UNDEFINED_TABLE:
            return _StaleError("The database")
        if not isinstance(error, OperationalError | InterfaceError):
            return None
    return UnavailableError("The database")
