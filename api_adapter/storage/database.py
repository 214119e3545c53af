"""The pooled way to Dagster's Postgres, and the one place where a lost database becomes an answer."""

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Connection, Engine, create_engine
from sqlalchemy.engine import make_url
from sqlalchemy.exc import OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from api_adapter.errors import UnavailableError

_STATEMENT_TIMEOUT_SECONDS = 15


class Database:
    """Read-only transactions, each of which sees one state of the database."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """Give a connection whose statements all see the same snapshot; `UnavailableError` if there is none."""
        try:
            with self._engine.connect() as connection:
                yield connection
        except (OperationalError, PoolTimeoutError) as error:
            raise UnavailableError("The database") from error

    def close(self) -> None:
        """Close all connections."""
        self._engine.dispose()


def open_database(url: str) -> Database:
    """Return the database at `url`; it connects when it is first read."""
    engine = create_engine(
        make_url(url).set(drivername="postgresql+psycopg2"),
        pool_size=10,
        max_overflow=10,
        pool_timeout=5,
        pool_pre_ping=True,
        isolation_level="REPEATABLE READ",
        connect_args={
            "connect_timeout": 3,
            "application_name": "planasonix-api",
            "options": f"-c statement_timeout={_STATEMENT_TIMEOUT_SECONDS}s -c default_transaction_read_only=on",
        },
    )
    return Database(engine)
