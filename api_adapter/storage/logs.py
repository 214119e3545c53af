"""The log of a run: what its nodes logged, and its milestones in plain words.

Event ids are given out before they become visible, so a reader that only goes on after the last id it saw loses
events for good (dagster#33741). A `LogPosition` therefore also names the ids before it that were missing when it was
made; the next page looks for them again. Nothing is lost, and nothing comes twice.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

from sqlalchemy import Connection, Select, func, or_, select

from api_adapter.storage.events import EVENT_QUERY, Event, fetch
from api_adapter.storage.runs import RunRecord
from api_adapter.storage.tables import EVENTS
from planasonix_orchestrator.contract.names import decode_name, encode_name

LogLevel = Literal["debug", "info", "warning", "error"]

LEVELS: dict[LogLevel, int] = {"debug": 10, "info": 20, "warning": 30, "error": 40}
_LOOK_BACK = 2000  # ids: far more than can be in flight at once
_MOST_MISSING = 64  # gaps that stay are of rolled-back writes; only the newest can still be filled


@dataclass(frozen=True, slots=True, kw_only=True)
class LogLine:
    """A line of a run's log; `node_id` is None for what concerns the run as a whole."""

    time: datetime
    level: LogLevel
    node_id: str | None
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LogPosition:
    """A place in a run's log: all events up to `last` have been read, but for those in `missing`."""

    last: int = 0
    missing: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class LogPage:
    """Some lines, oldest first, and where to go on; `complete` once the run has ended and this was the rest."""

    lines: Sequence[LogLine]
    position: LogPosition
    complete: bool


def read_log(
    connection: Connection,
    *,
    run: RunRecord,
    limit: int,
    after: LogPosition = LogPosition(),
    since: datetime | None = None,
    node_id: str | None = None,
    level: LogLevel = "info",
) -> LogPage:
    """Return at most `limit` lines after a position. All statements must see the same snapshot of the database."""
    of_run = EVENTS.c.run_id == run.dagster_id
    query = EVENT_QUERY.where(of_run, or_(EVENTS.c.id > after.last, EVENTS.c.id.in_(after.missing)))
    if since is not None:
        query = query.where(EVENTS.c.timestamp >= since.astimezone(UTC).replace(tzinfo=None))
    if node_id is not None:
        query = query.where(EVENTS.c.step_key == encode_name(node_id))
    if level != "debug":
        query = query.where(or_(EVENTS.c.dagster_event_type.is_(None), EVENTS.c.dagster_event_type.in_(_TOLD)))
    lines, read, full = _lines(connection, query.order_by(EVENTS.c.id), limit=limit, level=level)
    if not full:
        read = max(read, connection.scalar(select(func.max(EVENTS.c.id)).where(of_run)) or 0, after.last)
    position = _position(connection, before=after, read=read)
    return LogPage(lines=lines, position=position, complete=run.finished and not full)


def _position(connection: Connection, *, before: LogPosition, read: int) -> LogPosition:
    """Return the position after a page that began at `before` and ended with the event `read`."""
    last = max(before.last, read)
    first = max(before.last, last - _LOOK_BACK) + 1
    looked_at = or_(EVENTS.c.id.between(first, last), EVENTS.c.id.in_(before.missing))
    visible = set(connection.scalars(select(EVENTS.c.id).where(looked_at)))
    still_missing = (event for event in before.missing if event not in visible or event > read)
    gaps = (event for event in range(first, last + 1) if event not in visible)
    return LogPosition(last=last, missing=tuple([*still_missing, *gaps][-_MOST_MISSING:]))


def _lines(
    connection: Connection, query: Select[tuple[int, str, str, str]], *, limit: int, level: LogLevel
) -> tuple[list[LogLine], int, bool]:
    """Return up to `limit` lines, the id of the last event behind them, and whether there may be more."""
    lines: list[LogLine] = []
    last = 0
    while True:
        events = fetch(connection, query.where(EVENTS.c.id > last).limit(limit))
        for event in events:
            line = tell_line(event)
            if line is not None and LEVELS[line.level] >= LEVELS[level]:
                if len(lines) == limit:
                    return lines, last, True
                lines.append(line)
            last = event.id
        if len(events) < limit:
            return lines, last, False


def tell_line(event: Event) -> LogLine | None:
    """Return the line that tells an event, or None if it tells nothing."""
    message = _milestone(event) or event.message
    if not message:
        return None
    return LogLine(
        time=event.time,
        level=_level(event),
        node_id=decode_name(event.step_key.partition("[")[0]) if event.step_key else None,
        message=message,
    )


def _level(event: Event) -> LogLevel:
    if event.error and event.error.is_interruption:
        return "info"
    if event.type is not None:
        return _TOLD[event.type][0] if event.type in _TOLD else "debug"
    return next(name for name, number in reversed(LEVELS.items()) if event.level >= number or name == "debug")


def _milestone(event: Event) -> str:
    """Return what a milestone says, or nothing for an event that is none."""
    if event.type == "STEP_FAILURE" and event.error and event.error.is_interruption:
        return "Node stopped"
    text = _TOLD.get(event.type or "", ("debug", ""))[1]
    reason = event.error.message if event.error else event.data.get("reason") or ""
    return text.format(reason=f": {reason}" if reason else "")


# Dagster's event types that a user wants to read about: level, and words.
_TOLD: dict[str, tuple[LogLevel, str]] = {
    "PIPELINE_ENQUEUED": ("info", "Run queued"),
    "PIPELINE_STARTING": ("info", "Run is being launched"),
    "PIPELINE_START": ("info", "Run started"),
    "PIPELINE_SUCCESS": ("info", "Run succeeded"),
    "PIPELINE_FAILURE": ("error", "Run failed{reason}"),
    "PIPELINE_CANCELING": ("info", "Run is being canceled"),
    "PIPELINE_CANCELED": ("info", "Run canceled"),
    "STEP_START": ("info", "Node started"),
    "STEP_RESTARTED": ("info", "Node started again"),
    "STEP_SUCCESS": ("info", "Node succeeded"),
    "STEP_UP_FOR_RETRY": ("warning", "Node failed and will be tried again{reason}"),
    "STEP_FAILURE": ("error", "Node failed{reason}"),
    "STEP_SKIPPED": ("info", "Node skipped"),
}
