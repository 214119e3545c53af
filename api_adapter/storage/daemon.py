"""Whether Dagster's daemon is alive: without it, runs stay queued for ever and nothing else looks wrong."""

from datetime import UTC, datetime

from api_adapter.storage.database import Connection

_QUEUE_DAEMON = "QUEUED_RUN_COORDINATOR"
_HEARTBEAT = """
SELECT "timestamp" AT TIME ZONE 'UTC' AS time FROM daemon_heartbeats WHERE daemon_type = %(daemon)s"""


def last_heartbeat(connection: Connection) -> datetime | None:
    """Return when the daemon that launches queued runs last gave a sign of life; None if it never did."""
    found = connection.rows(_HEARTBEAT, {"daemon": _QUEUE_DAEMON})
    return found[0].time.astimezone(UTC) if found else None
