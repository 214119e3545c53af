"""Dagster's event log entries, decoded as far as a run's story needs them.

The format is the JSON of dagster._core.events.log.EventLogEntry as `serialize_value` writes it. Only named fields
are read, all of them optional, so that what Dagster adds does no harm; the contract suite reads real ones.
"""

import json
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from typing import Any

from sqlalchemy import Connection, Row, Select, select

from api_adapter.storage.tables import EVENTS

_INTERRUPTIONS = frozenset({"DagsterExecutionInterruptedError", "KeyboardInterrupt"})
_FRAMEWORK_ERROR = re.compile(r"^(Dagster|RetryRequested)")


@dataclass(frozen=True)
class Event:
    """An entry of the event log; `type` is None for what user code has logged."""

    id: int
    type: str | None
    step_key: str | None
    body: str

    @cached_property
    def entry(self) -> Mapping[str, Any]:
        """The whole entry."""
        loaded: Mapping[str, Any] = json.loads(self.body)
        return loaded

    @property
    def time(self) -> datetime:
        """When it happened."""
        return datetime.fromtimestamp(self.entry["timestamp"], UTC)

    @property
    def level(self) -> int:
        """Its level, as Python's logging counts them."""
        level: int = self.entry.get("level") or 0
        return level

    @property
    def message(self) -> str:
        """The text that was logged."""
        return str(self.entry.get("user_message") or (self.entry.get("dagster_event") or {}).get("message") or "")

    @property
    def data(self) -> Mapping[str, Any]:
        """What only events of this type have."""
        return (self.entry.get("dagster_event") or {}).get("event_specific_data") or {}

    @property
    def integers(self) -> dict[str, int]:
        """The integers in its metadata, by label."""
        entries = self.data.get("metadata_entries") or ()
        values = ((one["label"], (one.get("entry_data") or {}).get("value")) for one in entries)
        return {label: value for label, value in values if isinstance(value, int) and not isinstance(value, bool)}

    @property
    def error(self) -> "EventError | None":
        """The error that it reports, as user code raised it."""
        reported = self.data.get("error")
        return _user_error(reported) if reported else None


@dataclass(frozen=True, slots=True)
class EventError:
    """An error: the class that was raised and its message, without Dagster's wrapping."""

    class_name: str
    message: str

    @property
    def is_interruption(self) -> bool:
        """True for a node that did not fail but was told to stop."""
        return self.class_name in _INTERRUPTIONS


def read_events(connection: Connection, *, dagster_run_id: str, types: Collection[str]) -> Sequence[Event]:
    """Return the events of these types of a run, oldest first."""
    query = EVENT_QUERY.where(EVENTS.c.run_id == dagster_run_id, EVENTS.c.dagster_event_type.in_(sorted(types)))
    return fetch(connection, query.order_by(EVENTS.c.id))


EVENT_QUERY = select(EVENTS.c.id, EVENTS.c.dagster_event_type, EVENTS.c.step_key, EVENTS.c.event)


def fetch(connection: Connection, query: Select[Any]) -> list[Event]:
    """Return the events that a query over `EVENT_QUERY` selects."""
    return [_event(row) for row in connection.execute(query)]


def _event(row: Row[Any]) -> Event:
    return Event(row.id, row.dagster_event_type, row.step_key, row.event)


def _user_error(reported: Mapping[str, Any]) -> EventError:
    error = reported
    while error.get("cause") and _FRAMEWORK_ERROR.match(error.get("cls_name") or ""):
        error = error["cause"]
    name = error.get("cls_name") or "Error"
    text = str(error.get("message") or "").strip()
    return EventError(name, re.sub(rf"^(?:[\w.<>]+\.)?{re.escape(name)}:?\s*", "", text) or name)
