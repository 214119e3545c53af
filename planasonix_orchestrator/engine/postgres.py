"""PostgreSQL over ADBC: one transaction at a time, with errors in PostgreSQL's words and without secrets."""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING
from urllib.parse import quote as percent_encoded
from urllib.parse import unquote

import pyarrow as pa

from planasonix_orchestrator.engine.connections import Connections, PostgresConnection, Secret
from planasonix_orchestrator.engine.stopping import stoppable
from planasonix_orchestrator.engine.stream import BatchStream
from planasonix_orchestrator.errors import MissingExtraError, NodeError, NodeInterruptedError

if TYPE_CHECKING:
    from adbc_driver_manager.dbapi import Cursor

_HOSTS = r"(?:\[[^\]]*\]|[^\[\]:@/?#,]*)(?::\d*)?"
_URL = re.compile(
    rf"postgres(?:ql)?://(?:[^:@/?#]*(?::(?P<password>[^@/?#]*))?@)?{_HOSTS}(?:,{_HOSTS})*(?:/[^@/?#]*)?(?:\?.*)?"
)
_URL_PASSWORD = re.compile(r"[?&]password=([^&]*)")
_SERVER_ERROR = re.compile(r"(?:ERROR|FATAL):\s+(.*?)(?:\n\nQuery was:|\. SQLSTATE|$)", re.DOTALL)
_DRIVER_ERROR = re.compile(r"(?:[A-Z_]+: )?(?:\[libpq\] )?(?:Failed to connect: )?(.*?)(?:\n\nQuery was:|$)", re.DOTALL)
_QUOTED_SOURCE = re.compile(r"\nLINE \d+:[^\n]*\n[^\n]*\^")
# A server that computes does not see that its client was killed: it would work on, and keep its locks. Not every system
# that it may run on has this.
_NOTICE_LOST_CLIENT = """
SELECT set_config(name, '500', true) FROM pg_settings
WHERE name = 'client_connection_check_interval' AND version() LIKE '%linux%'"""
_CANCELED = "57014"
_CANCELED_TEXT = "canceling statement due to user request"


@contextmanager
def transaction(connections: Connections, connection_id: str) -> Iterator["Cursor"]:
    """Lend a cursor in a transaction that is committed when the block ends well and rolled back otherwise.

    What runs on it is canceled when the `Work` of this thread is stopped. PostgreSQL's errors come out as `NodeError`.
    """
    try:
        from adbc_driver_postgresql import dbapi
    except ModuleNotFoundError as error:
        raise MissingExtraError("PostgreSQL", extra="postgres") from error
    known = connections.postgres(connection_id)
    url, secrets = _url(known, environment=connections.environment)
    try:
        with dbapi.connect(url) as connection, connection.cursor() as cursor, stoppable(cursor.adbc_cancel):
            cursor.execute(_NOTICE_LOST_CLIENT)
            cursor.fetchall()
            yield cursor
            connection.commit()
    except (dbapi.Error, pa.ArrowException, OSError) as error:  # the last two: as they come out of an Arrow reader
        if getattr(error, "sqlstate", None) == _CANCELED or _CANCELED_TEXT in str(error):
            raise NodeInterruptedError from None
        # Without `from error`: its text may hold what was just scrubbed.
        raise NodeError(f"connection {known.id!r}: {_scrubbed(_message(str(error)), secrets)}") from None


def copy_in(cursor: "Cursor", stream: BatchStream, *, table: str) -> None:
    """Make a temporary table of a stream's rows, by COPY; an error in the stream comes out as itself."""
    from adbc_driver_manager.dbapi import Error

    try:
        cursor.adbc_ingest(table, stream.reader, mode="create", temporary=True)
    except Error:
        if stream.error is not None:
            raise stream.error from stream.error.__cause__
        raise


def _url(connection: PostgresConnection, *, environment: Mapping[str, str]) -> tuple[str, tuple[str, ...]]:
    """Return the URL for libpq, and the texts in it that no message may show."""

    def value(field: str) -> str | None:
        raw: str | int | Secret | None = getattr(connection, field)
        if isinstance(raw, Secret):
            return raw.reveal(environment, connection_id=connection.id, field=field)
        return None if raw is None else str(raw)

    url = value("url")
    if url is not None:
        return _checked(url, connection=connection)
    parts = {
        "host": value("host"),
        "port": value("port"),
        "dbname": value("database"),
        "user": value("user"),
        "password": value("password"),
    }
    # As parameters, not in their places in a URL: a host may be a folder of sockets, and nothing needs brackets.
    query = "&".join(f"{name}={percent_encoded(text, safe='')}" for name, text in parts.items() if text)
    password = parts["password"] or ""
    return f"postgresql://?{query}", _spellings(password)


def _checked(url: str, *, connection: PostgresConnection) -> tuple[str, tuple[str, ...]]:
    match = _URL.fullmatch(url)
    if match is None:  # libpq would take a part of the password for a host, and say it aloud
        variable = connection.url.variable if connection.url else "url"
        raise NodeError(
            f"connection {connection.id!r}: the value of {variable} is not a PostgreSQL URL",
            hint="postgresql://user:password@host:port/database; in user and password, percent-encode : @ / ? # %",
        )
    passwords = [match["password"] or "", *_URL_PASSWORD.findall(url)]
    return url, (url, *(spelling for password in passwords for spelling in _spellings(password)))


def _spellings(password: str) -> tuple[str, ...]:
    return tuple(text for text in (password, unquote(password), percent_encoded(password, safe="")) if text)


def _scrubbed(message: str, secrets: tuple[str, ...]) -> str:
    for secret in sorted(secrets, key=len, reverse=True):
        message = message.replace(secret, "***")
    return message


def _message(text: str) -> str:
    match = _SERVER_ERROR.search(text) or _DRIVER_ERROR.match(text)
    return _QUOTED_SOURCE.sub("", match[1] if match else text).strip()
