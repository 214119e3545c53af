"""Whether a part does its work: one probe for each kind of part."""

import asyncio
import ssl
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta

import grpc
import httpx
import psycopg2

from planasonix_orchestrator.contract.cancellation import RUN_HOST_CONNECTION
from planasonix_orchestrator.contract.webhooks import NOTIFIER_CONNECTION
from planasonix_orchestrator.runtime.code_server import server_id
from planasonix_orchestrator.runtime.postgres import EmbeddedPostgres

# Answers if the part that was started at the given time is well, else raises `UnhealthyError`.
Probe = Callable[[datetime], Awaitable[None]]

SECONDS_TO_ANSWER = 5.0
# Dagster's daemon writes one heartbeat every 30 s.
OLDEST_HEARTBEAT = timedelta(seconds=120)
_HEARTBEATS = """
    SELECT min(timestamp) FROM daemon_heartbeats WHERE daemon_type IN ('SCHEDULER', 'SENSOR') HAVING count(*) = 2
"""
# Some parts are at work as long as they hold a connection: the run host that on which runs are announced to it.
_CONNECTIONS = "SELECT count(*) FROM pg_stat_activity WHERE application_name = %s AND datname = current_database()"


class UnhealthyError(Exception):
    """A part that does not answer as it should, and why. `elsewhere`: another part is to blame."""

    def __init__(self, reason: str, *, elsewhere: bool = False) -> None:
        super().__init__(reason)
        self.elsewhere = elsewhere


def embedded_postgres_probe(server: EmbeddedPostgres, *, database: str) -> Probe:
    """Probe an embedded Postgres, and give it the database."""

    async def probe(_started: datetime) -> None:
        try:
            await asyncio.to_thread(_find_database, server, database)
        except psycopg2.OperationalError as error:
            raise UnhealthyError(_first_line(error)) from error

    return probe


def postgres_probe(url: str) -> Probe:
    """Probe a Postgres of somebody else's."""

    async def probe(_started: datetime) -> None:
        try:
            await asyncio.to_thread(_query, url, "SELECT 1")
        except psycopg2.OperationalError as error:
            raise UnhealthyError(_first_line(error)) from error

    return probe


def http_probe(url: str) -> Probe:
    """Probe a server that answers GET with 200 when it is well."""
    no_certificates = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # which take longer to load than the answer

    async def probe(_started: datetime) -> None:
        try:
            async with httpx.AsyncClient(timeout=SECONDS_TO_ANSWER, trust_env=False, verify=no_certificates) as client:
                answer = await client.get(url)
        except httpx.HTTPError as error:
            raise UnhealthyError(f"{url}: {error or type(error).__name__}") from error
        if answer.status_code != httpx.codes.OK:
            raise UnhealthyError(f"{url} answers {answer.status_code}")

    return probe


def code_server_probe(port: int) -> Probe:
    """Probe Dagster's code server, through to the process that holds the code."""

    async def probe(_started: datetime) -> None:
        try:
            await asyncio.to_thread(server_id, port)
        except grpc.RpcError as error:
            raise UnhealthyError(f"port {port}: {error.code().name}") from error

    return probe


def daemon_probe(url: str) -> Probe:
    """Probe Dagster's daemon by its heartbeats in Postgres: all newer than its start, none too old."""

    async def probe(started: datetime) -> None:
        try:
            oldest = await asyncio.to_thread(_query, url, _HEARTBEATS)
        except psycopg2.errors.UndefinedTable as error:
            raise UnhealthyError("no heartbeat yet") from error
        except psycopg2.OperationalError as error:
            raise UnhealthyError(_first_line(error), elsewhere=True) from error
        if not isinstance(oldest, datetime) or oldest.replace(tzinfo=UTC) < started:
            raise UnhealthyError("no heartbeat yet")
        if datetime.now(UTC) - oldest.replace(tzinfo=UTC) > OLDEST_HEARTBEAT:
            raise UnhealthyError(f"the last heartbeat was at {oldest:%H:%M:%S} UTC")

    return probe


def run_host_probe(url: str) -> Probe:
    """Probe the run host by the connection that it listens on."""
    return _connection_probe(url, RUN_HOST_CONNECTION, missing="it does not listen for runs")


def notifier_probe(url: str) -> Probe:
    """Probe the notifier by the connection that it works on."""
    return _connection_probe(url, NOTIFIER_CONNECTION, missing="it is not connected to Postgres")


def _connection_probe(url: str, name: str, *, missing: str) -> Probe:
    async def probe(_started: datetime) -> None:
        try:
            number = await asyncio.to_thread(_query, url, _CONNECTIONS, (name,))
        except psycopg2.OperationalError as error:
            raise UnhealthyError(_first_line(error), elsewhere=True) from error
        if not number:
            raise UnhealthyError(missing)

    return probe


def _find_database(server: EmbeddedPostgres, database: str) -> None:
    try:
        _query(server.url(database), "SELECT 1")
    except psycopg2.OperationalError:  # most often there is no server, then no database
        server.create_database(database)


def _query(url: str, statement: str, parameters: tuple[object, ...] = ()) -> object:
    connection = psycopg2.connect(url, connect_timeout=int(SECONDS_TO_ANSWER))
    try:
        with connection.cursor() as cursor:
            cursor.execute(statement, parameters or None)
            row = cursor.fetchone()
            return row[0] if row else None
    finally:
        connection.close()


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0]
