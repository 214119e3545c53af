"""How many runs there are in each state, cheap enough to be asked every few seconds of a million runs."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from api_adapter.storage.database import Connection
from api_adapter.storage.runs import FINISHED, STATUS_OF, STATUSES

RECENT = timedelta(hours=24)
_CANCELING = "CANCELING"


@dataclass(frozen=True, slots=True, kw_only=True)
class Gauges:
    """Runs by status: those that wait or go on now, and those that have ended within `RECENT`.

    Runs that are being canceled count as ``canceling``, not as ``running``.
    """

    runs: Mapping[str, int]
    oldest_queued_at: datetime | None
    oldest_canceling_at: datetime | None


# Both halves read the index (status, update_timestamp, create_timestamp) alone. A run that has ended is not updated
# any more, but for tags that are added soon after; its `end_time` would have to be fetched from each row.
_BY_STATUS = """
SELECT status, count(*) AS number, min(create_timestamp)::timestamptz AS created,
       min(update_timestamp)::timestamptz AS updated
FROM runs WHERE status = ANY(%(open)s) GROUP BY status
UNION ALL
SELECT status, count(*), NULL, NULL
FROM runs WHERE status = ANY(%(ended)s) AND update_timestamp >= %(since)s::timestamptz::timestamp GROUP BY status"""

_ENDED = sorted(name for status in FINISHED for name in STATUSES[status])
_OPEN = sorted(STATUS_OF.keys() - set(_ENDED))


def read_gauges(connection: Connection, *, now: datetime) -> Gauges:
    """Return the counts with one statement; every status is there, with 0 where it has no run."""
    found = connection.rows(_BY_STATUS, {"open": _OPEN, "ended": _ENDED, "since": now - RECENT})
    runs = dict.fromkeys([*STATUSES, _CANCELING.lower()], 0)
    for row in found:
        runs["canceling" if row.status == _CANCELING else STATUS_OF[row.status]] += row.number
    queued = [row.created for row in found if STATUS_OF[row.status] == "queued"]
    canceling = [row.updated for row in found if row.status == _CANCELING]
    return Gauges(runs=runs, oldest_queued_at=_oldest(queued), oldest_canceling_at=_oldest(canceling))


def _oldest(moments: list[datetime]) -> datetime | None:
    return min(moments).astimezone(UTC) if moments else None
