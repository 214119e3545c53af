"""The intent that a run be canceled: stored in Dagster's own tables under the run's row lock, and read back there.

An intent is a set of tags of the run. The rows of `run_tags` are the truth of it: Dagster writes the copy in `run_body`
as a whole, from what it read before, and may so lose an intent that was stored in between.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, Literal

from sqlalchemy import Connection, bindparam, text

from planasonix_orchestrator.contract import tags

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
    connection: Connection, run_id: str, *, by: str, at: datetime, source: CanceledBy = "user"
) -> str | None:
    """Store that a run be canceled, and announce it; return the Dagster status that it has, None for an unknown run.

    It counts once the caller's transaction commits, which must be a real one: the run's row stays locked until then.
    The first intent of a run stands, and a run that has ended takes none. `by` is a key's or user's name.
    """
    run = connection.execute(_LOCK, {"run_id": run_id}).one_or_none()
    if run is None or run.status in FINISHED or has_intent(connection, run_id):
        return None if run is None else str(run.status)
    told = {
        tags.CANCEL_REQUESTED_AT: _timestamp(at),
        tags.CANCEL_REQUESTED_BY: by,
        tags.CANCELED_BY: source,
        tags.CANCEL_OF: run_id,
    }
    connection.execute(_REMOVE_TAGS, {"run_id": run_id, "keys": list(told)})
    connection.execute(_ADD_TAGS, [{"run_id": run_id, "key": key, "value": value} for key, value in told.items()])
    body = json.loads(run.run_body)
    body["tags"] = {**body["tags"], **told}
    updated_at = at.astimezone(UTC).replace(tzinfo=None)
    connection.execute(_SET_BODY, {"run_id": run_id, "body": json.dumps(body), "at": updated_at})
    connection.execute(_NOTIFY, {"channel": CHANNEL, "run_id": run_id})
    return str(run.status)


def read_open_intents(connection: Connection) -> Sequence[OpenIntent]:
    """Return the intents of all runs that have not ended, the oldest first."""
    rows = connection.execute(_OPEN_INTENTS)
    intents = [OpenIntent(run_id=id_, status=status, requested_at=_moment(at)) for id_, status, at in rows]
    return sorted(intents, key=lambda intent: (intent.requested_at, intent.run_id))


def has_intent(connection: Connection, run_id: str) -> bool:
    """Tell whether it was asked that this run be canceled, whatever has become of it."""
    return bool(connection.execute(_HAS_INTENT, {"run_id": run_id}).scalar_one())


def _timestamp(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _moment(timestamp: str) -> datetime:
    return datetime.fromisoformat(timestamp)


_LOCK = text("SELECT status, run_body FROM runs WHERE run_id = :run_id FOR UPDATE")
_REMOVE_TAGS = text("DELETE FROM run_tags WHERE run_id = :run_id AND key IN :keys").bindparams(
    bindparam("keys", expanding=True)
)
_ADD_TAGS = text("INSERT INTO run_tags (run_id, key, value) VALUES (:run_id, :key, :value)")
_SET_BODY = text("UPDATE runs SET run_body = :body, update_timestamp = :at WHERE run_id = :run_id")
_NOTIFY = text("SELECT pg_notify(:channel, :run_id)")
_HAS_INTENT = text("SELECT EXISTS (SELECT FROM run_tags WHERE run_id = :run_id AND key = :key AND value = :run_id)")
_HAS_INTENT = _HAS_INTENT.bindparams(key=tags.CANCEL_OF)
# The join by value leaves out what a re-execution has taken over from its parent.
_OPEN_INTENTS = text(
    "SELECT runs.run_id, runs.status, min(requested.value) FROM runs"
    " JOIN run_tags AS own ON own.run_id = runs.run_id AND own.key = :cancel_of AND own.value = runs.run_id"
    " JOIN run_tags AS requested ON requested.run_id = runs.run_id AND requested.key = :requested_at"
    " WHERE runs.status IN :unfinished GROUP BY runs.run_id, runs.status"
).bindparams(
    bindparam("unfinished", value=UNFINISHED, expanding=True),
    cancel_of=tags.CANCEL_OF,
    requested_at=tags.CANCEL_REQUESTED_AT,
)
