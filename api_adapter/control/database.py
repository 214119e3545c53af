"""Transactions on Dagster's tables, for what is decided there under the lock of a run."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from sqlalchemy import Connection, create_engine, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from api_adapter.connecting import connect_args
from api_adapter.control.code_location import OUR_CONNECTIONS, dagster_errors
from api_adapter.errors import UnavailableError

ResultT = TypeVar("ResultT")

_STATEMENT_TIMEOUT_SECONDS = 15
_TRY = text("SELECT pg_try_advisory_xact_lock(hashtextextended(:name, 0))")
_WAIT = text("SELECT pg_advisory_xact_lock(hashtextextended(:name, 0))")


class Database:
    """A small pool of connections. `UnavailableError` if the database is away."""

    def __init__(self, url: str) -> None:
        self._engine = create_engine(
            make_url(url).set(drivername="postgresql+psycopg2"),
            pool_size=5,
            max_overflow=35,  # as many as there are threads that answer requests
            pool_timeout=5,
            connect_args=connect_args(
                f"{OUR_CONNECTIONS}control", options=f"-c statement_timeout={_STATEMENT_TIMEOUT_SECONDS}s -c jit=off"
            ),
        )

    def transact(self, work: Callable[[Connection], ResultT]) -> ResultT:
        """Return the result of a transaction; of a second one, which finds what the first did, if one is lost."""
        with _database_errors():
            try:
                with self._engine.begin() as connection:
                    return work(connection)
            except DBAPIError as error:
                if not error.connection_invalidated:
                    raise
            # All others may be lost, too. SQLAlchemy knows them by the time of day, which somebody may have set back.
            self._engine.dispose()
            with self._engine.begin() as connection:
                return work(connection)

    @contextmanager
    def alone_with(self, run_id: str, *, wait: bool) -> Iterator[bool]:
        """Keep every other process of ours from acting on a run meanwhile; false if one of them does so already.

        With `wait`, until that one is done.
        """
        with _database_errors():
            self.transact(lambda connection: connection.execute(text("SELECT 1")))  # so that the next is no lost one
            with self._engine.begin() as connection:
                got = connection.execute(_WAIT if wait else _TRY, {"name": f"planasonix/{run_id}"})
                yield wait or bool(got.scalar_one())

    def close(self) -> None:
        """Close all connections."""
        self._engine.dispose()


@contextmanager
def _database_errors() -> Iterator[None]:
    try:
        with dagster_errors():
            yield
    except PoolTimeoutError as error:
        raise UnavailableError("The database") from error
