"""The audit trail: who did what, on which thing, when, from where, with which result."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

from sqlalchemy import Row, cast, func, insert, or_, select, update
from sqlalchemy.dialects.postgresql import JSONB

from api_adapter.records.database import Database
from api_adapter.records.tables import AUDIT_EVENTS

ACCEPTED = 202  # of HTTP
ActorKind = Literal["key", "user", "webhook", "cli"]

_EVENT = AUDIT_EVENTS.c
_OUTCOME_UNKNOWN = ~func.jsonb_exists(_EVENT.detail, "outcome")
_OPEN_CANCELLATION = (_EVENT.action == "run.cancel", _EVENT.status == ACCEPTED, _OUTCOME_UNKNOWN)


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditEvent:
    """One action. The actor is a key, the user of a token, a webhook, or a user of this machine at the command line.

    `status` is the HTTP status of the answer, for the command line the one that an answer would have had; None if the
    action was begun and its end is not known, as after a crash. `detail` says more, as JSON.
    """

    id: int = 0
    at: datetime
    actor_kind: ActorKind
    actor_id: str
    actor_name: str
    action: str
    resource: str | None = None
    client_address: str | None = None
    request_id: str | None = None
    status: int | None = None
    detail: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditFilter:
    """Which events: of an actor (id or name), of an action (``run`` stands for all of its kind), in a range of time."""

    actor: str | None = None
    action: str | None = None
    resource: str | None = None
    since: datetime | None = None
    until: datetime | None = None


class AuditTrail:
    """The table of audit events. `UnavailableError` if the database is away: then the action must not go on."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def begin(self, event: AuditEvent) -> int:
        """Write down that somebody is about to act, and return the event's id."""
        values = {column.name: getattr(event, column.name) for column in _EVENT if column is not _EVENT.id}
        (row,) = self._database.write(insert(AUDIT_EVENTS).values(values).returning(_EVENT.id))
        return int(row[0])

    def finish(self, event_id: int, *, status: int, detail: Mapping[str, Any], resource: str | None = None) -> None:
        """Write down how the action ended, and the resource where that was not known before."""
        named = {} if resource is None else {"resource": resource}
        statement = update(AUDIT_EVENTS).where(_EVENT.id == event_id)
        self._database.write(statement.values(status=status, detail=dict(detail), **named))

    def open_cancellations(self, *, limit: int) -> Sequence[AuditEvent]:
        """Return at most `limit` accepted wishes to cancel runs whose end is not on record yet, the oldest first."""
        statement = select(AUDIT_EVENTS).where(*_OPEN_CANCELLATION).order_by(_EVENT.id).limit(limit)
        return [_event(row) for row in self._database.read(statement)]

    def add_outcome(self, event_id: int, outcome: object) -> None:
        """Write down what came of an action after it was answered, unless that is on record."""
        statement = update(AUDIT_EVENTS).where(_EVENT.id == event_id, _OUTCOME_UNKNOWN)
        self._database.write(statement.values(detail=_EVENT.detail.op("||")(cast({"outcome": outcome}, JSONB))))

    def list_events(self, filter_by: AuditFilter, *, limit: int, before: int | None = None) -> Sequence[AuditEvent]:
        """Return at most `limit` events, the newest first, older than the one with the id `before`."""
        statement = select(AUDIT_EVENTS).order_by(_EVENT.id.desc()).limit(limit)
        if before is not None:
            statement = statement.where(_EVENT.id < before)
        if filter_by.actor is not None:
            statement = statement.where(or_(_EVENT.actor_id == filter_by.actor, _EVENT.actor_name == filter_by.actor))
        if filter_by.action is not None:
            kind = f"{filter_by.action}."
            statement = statement.where(
                or_(_EVENT.action == filter_by.action, _EVENT.action.startswith(kind, autoescape=True))
            )
        if filter_by.resource is not None:
            statement = statement.where(_EVENT.resource == filter_by.resource)
        if filter_by.since is not None:
            statement = statement.where(_EVENT.at >= filter_by.since)
        if filter_by.until is not None:
            statement = statement.where(_EVENT.at < filter_by.until)
        return [_event(row) for row in self._database.read(statement)]


def _event(row: Row[Any]) -> AuditEvent:
    return AuditEvent(**row._asdict())
