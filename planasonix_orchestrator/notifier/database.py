"""The notifier's one connection to Postgres, with the lock that makes it the only one at work."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Final

import psycopg2
from psycopg2.extras import execute_values

from planasonix_orchestrator.contract.webhooks import NOTIFIER_CONNECTION

Rows = Sequence[tuple[Any, ...]]

# Held as long as the connection is: what one notifier is about to send no other sends.
_BECOME_THE_ONE: Final = "SELECT pg_try_advisory_lock(hashtextextended('planasonix/notifier', 0))"


class Transaction:
    """A transaction at work; what it reads is as of each statement."""

    def __init__(self, cursor: Any) -> None:
        self._cursor = cursor

    def rows(self, statement: str, parameters: Mapping[str, object] | None = None) -> Rows:
        """Return the rows of a statement, with parameters as ``%(name)s``."""
        self._cursor.execute(statement, parameters)
        rows: Rows = self._cursor.fetchall()
        return rows

    def do(self, statement: str, parameters: Mapping[str, object] | None = None) -> int:
        """Run a statement, and return how many rows it has changed."""
        self._cursor.execute(statement, parameters)
        return int(self._cursor.rowcount)

    def insert(self, statement: str, rows: Rows, *, template: str) -> None:
        """Run a statement with ``VALUES %s`` in it for all rows at once."""
        execute_values(self._cursor, statement, rows, template=template, page_size=1000)


class Session:
    """A connection. Every method raises `psycopg2.Error` once it is lost."""

    def __init__(self, url: str) -> None:
        self._connection = psycopg2.connect(
            url,
            connect_timeout=3,
            application_name=NOTIFIER_CONNECTION,
            options="-c statement_timeout=15s -c idle_in_transaction_session_timeout=60s -c jit=off",
            keepalives_idle=5,
            keepalives_interval=2,
            keepalives_count=3,
            tcp_user_timeout=10_000,
        )

    @contextmanager
    def transaction(self) -> Iterator[Transaction]:
        """Give a transaction that counts as a whole, or not at all if something is raised."""
        with self._connection, self._connection.cursor() as cursor:
            yield Transaction(cursor)

    def become_the_one(self) -> bool:
        """Tell whether this is the only notifier at work, as it stays until the connection ends."""
        with self.transaction() as transaction:
            ((got,),) = transaction.rows(_BECOME_THE_ONE)
            return bool(got)

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()
