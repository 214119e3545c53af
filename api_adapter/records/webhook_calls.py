"""The signed calls of webhooks that have come of late, so that none counts twice, whichever process it comes to."""

from datetime import datetime, timedelta
from threading import Lock

from sqlalchemy import delete, func, select, tuple_
from sqlalchemy.dialects.postgresql import insert

from api_adapter.records.database import Database
from api_adapter.records.tables import WEBHOOK_CALLS

KEPT_FOR = timedelta(minutes=15)  # well over the time for which a signature counts
_PRUNE_EVERY = timedelta(minutes=1)
_AT_ONCE = 10_000
_CALL = WEBHOOK_CALLS.c


class WebhookCalls:
    """The table of calls. `UnavailableError` if the database is away: then no call may start anything."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._pruned_at: datetime | None = None
        self._lock = Lock()

    def claim(self, trigger_id: str, *, digest: str, event_id: str | None, at: datetime) -> bool:
        """Write down that this call was for this event; false if it has come before for another one.

        `digest` is the hash of what was signed. The id of an event need not be signed, so that somebody who has
        listened could send a call again under another id.
        """
        values = {"trigger_id": trigger_id, "digest": digest, "event_id": event_id or "", "at": at}
        statement = insert(WEBHOOK_CALLS).values(values)
        same = {"event_id": _CALL.event_id}  # changes nothing, but has the row returned that is there
        key = [_CALL.trigger_id, _CALL.digest]
        ((known,),) = self._database.write(
            statement.on_conflict_do_update(index_elements=key, set_=same).returning(_CALL.event_id)
        )
        if self._is_time_to_prune(at):
            self._prune(at - KEPT_FOR)
        return bool(known == (event_id or ""))

    def count(self) -> int:
        """Return how many calls are written down."""
        ((number,),) = self._database.read(select(func.count()).select_from(WEBHOOK_CALLS))
        return int(number)

    def _is_time_to_prune(self, at: datetime) -> bool:
        with self._lock:
            due = self._pruned_at is None or at - self._pruned_at >= _PRUNE_EVERY
            if due:
                self._pruned_at = at
            return due

    def _prune(self, before: datetime) -> None:
        key = tuple_(_CALL.trigger_id, _CALL.digest)
        old = select(_CALL.trigger_id, _CALL.digest).where(_CALL.at < before).limit(_AT_ONCE)
        self._database.write(delete(WEBHOOK_CALLS).where(key.in_(old)))
