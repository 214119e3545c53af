"""Whether the parts are alive that start runs: without them, runs stay queued and nothing else looks wrong."""

from datetime import UTC, datetime

from api_adapter.storage.database import Connection
from planasonix_orchestrator.contract.cancellation import RUN_HOST_CONNECTION

_DAEMON = "SCHEDULER"  # which every daemon runs, whatever coordinates runs
_HEARTBEAT = """
SELECT "timestamp" AT TIME ZONE 'UTC' AS time FROM daemon_heartbeats WHERE daemon_type = %(daemon)s"""


_RUN_HOSTS = """
SELECT count(*) AS number FROM pg_stat_activity
WHERE application_name = %(name)s AND datname = current_database()"""


def last_heartbeat(connection: Connection) -> datetime | None:
    """Return when Dagster's daemon last gave a sign of life; None if it never did."""
    found = connection.rows(_HEARTBEAT, {"daemon": _DAEMON})
    return found[0].time.astimezone(UTC) if found else None


def run_host_listens(connection: Connection) -> bool:
    """Tell whether a run host is at work: it holds a connection on which runs are announced to it."""
    (found,) = connection.rows(_RUN_HOSTS, {"name": RUN_HOST_CONNECTION})
    return bool(found.number)
