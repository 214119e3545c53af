"""What a query against a connection yields at this moment, for those who wait for something new; nothing is written."""

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

import duckdb

from planasonix_orchestrator.engine.connections import Connections, DuckDBConnection
from planasonix_orchestrator.engine.faults import as_node_error
from planasonix_orchestrator.engine.names import quote
from planasonix_orchestrator.engine.postgres import transaction
from planasonix_orchestrator.errors import NodeError, NodeInterruptedError

MOST_ROWS: Final = 1000

_Ask = Callable[[str], Sequence[Sequence[str | None]]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Poll:
    """One SELECT in the SQL of the connection's database, which may take so long."""

    connection_id: str
    query: str
    timeout_seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Polled:
    """What a poll has found: rows as JSON objects in text, and the highest value of the watermark column as text.

    `rows` are empty where they were not asked for, `watermark` is None where nothing is new, or nobody asked for it.
    """

    rows: tuple[str, ...] = ()
    watermark: str | None = None


def poll_rows(connections: Connections, poll: Poll) -> Polled:
    """Return all rows; `NodeError` if the query fails, takes too long, or yields more than `MOST_ROWS`."""
    with _asking(connections, poll) as ask:
        rows = ask(f"SELECT {_json(connections, poll)} FROM {_source(poll)} LIMIT {MOST_ROWS + 1}")  # noqa: S608  (as in `_source`)
    return Polled(rows=_bounded([row[0] or "" for row in rows]))


def poll_above(
    connections: Connections, poll: Poll, *, column: str, above: str | None, with_rows: bool = False
) -> Polled:
    """Return the highest value of a column, if it is higher than `above`, the text of an earlier one.

    The database compares, as it does for the column's type. With the rows above it in its order, if they are asked for;
    then `NodeError` if they are more than `MOST_ROWS`, else as `poll_rows`.
    """
    value = f"polled.{quote(column)}"
    condition = f"{value} IS NOT NULL" if above is None else f"{value} > {_literal(above)}"
    where = f"FROM {_source(poll)} WHERE {condition}"
    with _asking(connections, poll) as ask:
        if not with_rows:
            ((watermark,),) = ask(f"SELECT {_text(connections, poll, f'max({value})')} {where}")
            return Polled(watermark=watermark)
        told = f"{_json(connections, poll)}, {_text(connections, poll, value)}"
        found = ask(f"SELECT {told} {where} ORDER BY {value} DESC LIMIT {MOST_ROWS + 1}")
    rows = [row[0] or "" for row in reversed(found)]
    return Polled(rows=_bounded(rows), watermark=found[0][1] if found else None)


@contextmanager
def _asking(connections: Connections, poll: Poll) -> Iterator[_Ask]:
    """Lend what answers statements, in a transaction that can't write."""
    known = connections.get(poll.connection_id)
    asking = _asking_duckdb(known, poll) if isinstance(known, DuckDBConnection) else _asking_postgres(connections, poll)
    try:
        with asking as ask:
            yield ask
    except NodeInterruptedError as error:
        raise NodeError(f"connection {known.id!r}: the query took longer than {poll.timeout_seconds:g} s") from error


@contextmanager
def _asking_postgres(connections: Connections, poll: Poll) -> Iterator[_Ask]:
    with transaction(connections, poll.connection_id) as cursor:
        cursor.execute("SET TRANSACTION READ ONLY")
        for name, value in (
            ("statement_timeout", f"{poll.timeout_seconds:g}s"),
            ("TimeZone", "UTC"),
            ("DateStyle", "ISO, YMD"),
            ("standard_conforming_strings", "on"),
        ):
            cursor.execute(f"SET LOCAL {name} = '{value}'")

        def ask(statement: str) -> Sequence[Sequence[str | None]]:
            cursor.execute(statement)
            return cursor.fetchall()

        yield ask


@contextmanager
def _asking_duckdb(known: DuckDBConnection, poll: Poll) -> Iterator[_Ask]:
    if not known.path.exists():
        raise NodeError(f"connection {known.id!r}: there is no file {known.path}")
    try:
        # Like other SQL of users, it reaches no other files.
        database = duckdb.connect(str(known.path), read_only=True, config={"enable_external_access": "false"})
    except duckdb.Error as error:  # another process may have it open to write
        raise NodeError(f"connection {known.id!r}: {as_node_error(error)}") from error
    timer = threading.Timer(poll.timeout_seconds, database.interrupt)

    def ask(statement: str) -> Sequence[Sequence[str | None]]:
        try:
            return database.execute(statement).fetchall()
        except duckdb.Error as error:
            fault = as_node_error(error)
            if isinstance(fault, NodeInterruptedError):
                raise fault from error
            raise NodeError(f"connection {known.id!r}: {fault}") from error

    with database:
        ask("SET TimeZone = 'UTC'")
        timer.start()
        try:
            yield ask
        finally:
            timer.cancel()


def _source(poll: Poll) -> str:
    # In a subquery, so that nothing but one SELECT is understood; on lines of its own, for it may end in a comment.
    return f"(\n{poll.query.strip().rstrip(';')}\n) AS polled"


def _json(connections: Connections, poll: Poll) -> str:
    function = "to_json" if isinstance(connections.get(poll.connection_id), DuckDBConnection) else "row_to_json"
    return _text(connections, poll, f"{function}(polled)")


def _text(connections: Connections, poll: Poll, expression: str) -> str:
    type_ = "VARCHAR" if isinstance(connections.get(poll.connection_id), DuckDBConnection) else "text"
    return f"CAST({expression} AS {type_})"


def _literal(text: str) -> str:
    # Without a type: the database reads it as it reads the column's own values.
    return "'" + text.replace("'", "''") + "'"


def _bounded(rows: list[str]) -> tuple[str, ...]:
    if len(rows) > MOST_ROWS:
        raise NodeError(
            f"the query yields more than {MOST_ROWS:,} rows",
            hint="narrow it, or use watermarkColumn without rowsVariable",
        )
    return tuple(rows)
