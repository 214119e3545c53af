"""The ends of runs that upstream triggers have not seen yet."""

from collections.abc import Mapping
from datetime import UTC, datetime

from api_adapter.storage.database import Connection
from planasonix_orchestrator.contract.upstream import NEW_ENDS, Awaited, UpstreamCursor, ends_parameters


def read_oldest_ends(
    connection: Connection, *, waiting: Mapping[str, tuple[UpstreamCursor, Awaited]]
) -> Mapping[str, datetime]:
    """Return when the first run ended that a trigger has not seen, by the trigger's id; none where it has seen all."""
    found = {}
    for trigger_id, (cursor, awaited) in waiting.items():
        rows = connection.rows(NEW_ENDS, ends_parameters(cursor, awaited=awaited, most=1))
        if rows:
            found[trigger_id] = datetime.fromtimestamp(rows[0].ended, UTC)
    return found
