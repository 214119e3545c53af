"""Whether Dagster's daemon is alive: without it, runs stay queued for ever and nothing else looks wrong."""

from datetime import UTC, datetime

from sqlalchemy import Connection, select

from api_adapter.storage.tables import HEARTBEATS

_QUEUE_DAEMON = "QUEUED_RUN_COORDINATOR"


def last_heartbeat(connection: Connection) -> datetime | None:
    """Return when the daemon that launches queued runs last gave a sign of life; None if it never did."""
    naive = connection.scalar(select(HEARTBEATS.c.timestamp).where(HEARTBEATS.c.daemon_type == _QUEUE_DAEMON))
    return naive.replace(tzinfo=UTC) if naive else None
