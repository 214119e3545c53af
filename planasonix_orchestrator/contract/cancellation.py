"""The intent that a run be canceled: stored in Dagster's own tables under the run's row lock, and read back there.

An intent is a set of tags of the run. The rows of `run_tags` are the truth of it: Dagster writes the copy in `run_body`
as a whole, from what it read before, and may so lose an intent that was stored in between.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final, Literal

from planasonix_orchestrator.contract import tags

if TYPE_CHECKING:  # who only reads this room's names needs no database
    from sqlalchemy import Connection

CHANNEL: Final = "planasonix_runs"  # Postgres notifies it of each run that changed for its host: payload the run's id
RUN_HOST_CONNECTION: Final = "planasonix-run-host"  # application_name of the connection on which the host listens

# Dagster's words.
FINISHED: Final = frozenset({"SUCCESS", "FAILURE", "CANCELED"})
UNFINISHED: Final = ("NOT_STARTED", "QUEUED", "STARTING", "MANAGED", "STARTED", "CANCELING")

CanceledBy = Literal["user", "system", "superseded"]


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenIntent:
    """An intent whose run has not ended: the run's Dagster id and status, and when it was asked for."""

    run_id: str
    status: str
    requested_at: datetime


def store_intent(
    connection: "Connection", run_id: str, *, by: str, at: datetime, source: CanceledBy = "user"
) -> str | None:
    """Store that a run be canceled, and announce it; return the Dagster status that it has, None for an unknown run.

    It counts once the caller's transaction commits, which must be a real one: the run's row stays locked until then.
    The first intent of a run stands, and a run that has ended takes none. `by` is a key's or user's name.
    """
    run = connection.exec_driver_sql(_LOCK, {"run_id": run_id}).one_or_none()
    if run is None or run.status in FINISHED or has_intent(connection, run_id):
        return None if run is None else str(run.status)
    told = {
        tags.CANCEL_REQUESTED_AT: _timestamp(at),
        tags.CANCEL_REQUESTED_BY: by,
        tags.CANCELED_BY: source,
        tags.CANCEL_OF: run_id,
    }
    body = json.loads(run.run_body)
    body["tags"] = {**body["tags"], **told}
    written = {
        "run_id": run_id,
        "keys": list(told),
        "values": list(told.values()),
        "body": json.dumps(body),
        "at": at,  # aware, as Dagster writes it: the column takes it in the time zone of the session
        "channel": CHANNEL,
    }
    for statement in (_REMOVE_TAGS, _ADD_TAGS, _SET_BODY, _NOTIFY):
        connection.exec_driver_sql(statement, written)
    return str(run.status)


def read_open_intents(connection: "Connection") -> Sequence[OpenIntent]:
    """Return the intents of all runs that have not ended, the oldest first."""
    rows = connection.exec_driver_sql(
        _OPEN_INTENTS,
        {
            "statuses": list(UNFINISHED),
            "cancel_of": tags.CANCEL_OF,
            "requested_at": tags.CANCEL_REQUESTED_AT,
        },
    )
    intents = [OpenIntent(run_id=id_, status=status, requested_at=_moment(at)) for id_, status, at in rows]
    return sorted(intents, key=lambda intent: (intent.requested_at, intent.run_id))


def has_intent(connection: "Connection", run_id: str) -> bool:
    """Tell whether it was asked that this run be canceled, whatever has become of it."""
    found = connection.exec_driver_sql(_HAS_INTENT, {"run_id": run_id, "cancel_of": tags.CANCEL_OF})
    return bool(found.scalar_one())


def _timestamp(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _moment(timestamp: str) -> datetime:
    return datetime.fromisoformat(timestamp)


# In the driver's words, so that SQLAlchemy need not be loaded.
_LOCK = "SELECT status, run_body FROM runs WHERE run_id = %(run_id)s FOR UPDATE"
_REMOVE_TAGS = "DELETE FROM run_tags WHERE run_id = %(run_id)s AND key = ANY(%(keys)s)"
_ADD_TAGS = """
INSERT INTO run_tags (run_id, key, value)
SELECT %(run_id)s, told.key, told.value FROM unnest(%(keys)s::text[], %(values)s::text[]) AS told (key, value)"""
_SET_BODY = "UPDATE runs SET run_body = %(body)s, update_timestamp = %(at)s WHERE run_id = %(run_id)s"
_NOTIFY = "SELECT pg_notify(%(channel)s, %(run_id)s)"
_HAS_INTENT = """
SELECT EXISTS (SELECT FROM run_tags WHERE run_id = %(run_id)s AND key = %(cancel_of)s AND value = %(run_id)s)"""
# The join by value leaves out what a re-execution has taken over from its parent.
_OPEN_INTENTS = """
SELECT runs.run_id, runs.status, min(requested.value) FROM runs
JOIN run_tags AS own ON own.run_id = runs.run_id AND own.key = %(cancel_of)s AND own.value = runs.run_id
JOIN run_tags AS requested ON requested.run_id = runs.run_id AND requested.key = %(requested_at)s
WHERE runs.status = ANY(%(statuses)s) GROUP BY runs.run_id, runs.status"""
