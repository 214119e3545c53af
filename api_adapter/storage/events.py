"""Dagster's event log entries, decoded as far as a run's story needs them.

The format is the JSON of dagster._core.events.log.EventLogEntry as `serialize_value` writes it. Only named fields
are read, all of them optional, so that what Dagster adds does no harm; the contract suite reads real ones.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from api_adapter.storage.decoding import decode_json
from planasonix_orchestrator.contract.failures import EventError, read_error

__all__ = ["Event", "EventError"]


@dataclass(frozen=True, slots=True)
class Event:
    """An entry of the event log, whose JSON is `body`; `type` is None for what user code has logged."""

    id: int
    type: str | None
    step_key: str | None
    body: str
    entry: Mapping[str, Any] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "entry", decode_json(self.body))

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
    def figures(self) -> dict[str, int | float]:
        """The numbers in its metadata, or in those of the failure that it reports, by label."""
        entries = self.data.get("metadata_entries") or self._failure_entries
        values = ((one["label"], (one.get("entry_data") or {}).get("value")) for one in entries)
        return {
            label: value for label, value in values if isinstance(value, int | float) and not isinstance(value, bool)
        }

    @property
    def _failure_entries(self) -> Sequence[Mapping[str, Any]]:
        return (self.data.get("user_failure_data") or {}).get("metadata_entries") or ()

    @property
    def error(self) -> EventError | None:
        """The error that it reports, as user code raised it."""
        return read_error(self.data)
