"""Dagster's event log entries, decoded as far as a run's story needs them.

The format is the JSON of dagster._core.events.log.EventLogEntry as `serialize_value` writes it. Only named fields
are read, all of them optional, so that what Dagster adds does no harm; the contract suite reads real ones.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from api_adapter.storage.decoding import decode_json
from planasonix_orchestrator.contract import metadata

_INTERRUPTIONS = frozenset({"DagsterExecutionInterruptedError", "KeyboardInterrupt"})
_WORDS = {
    **dict.fromkeys(_INTERRUPTIONS, "The run's worker was told to stop, and nobody had canceled the run."),
    "ChildProcessCrashException": "The process that ran the node ended without a word.",
}
_CODES = {**metadata.ERROR_CLASSES, **dict.fromkeys(_WORDS, "worker_lost")}
_FRAMEWORK_ERROR = re.compile(r"^(Dagster|RetryRequested)")


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
    def error(self) -> "EventError | None":
        """The error that it reports, as user code raised it."""
        reported = self.data.get("error")
        if not reported:
            return None
        said = {one["label"]: (one.get("entry_data") or {}).get("text") for one in self._failure_entries}
        return _user_error(reported, code=said.get(metadata.ERROR_CODE), node_id=said.get(metadata.ERROR_NODE))


@dataclass(frozen=True, slots=True)
class EventError:
    """An error: the class that was raised and its message, without Dagster's wrapping.

    `code` is one of `contract.metadata.ERROR_CODES`; `node_id` the node at fault, where that is another one than the
    one that failed; `stack` the lines of the stack as Python prints it, with those of its causes.
    """

    class_name: str
    message: str
    code: str = metadata.NODE_ERROR
    node_id: str | None = None
    stack: tuple[str, ...] = ()

    @property
    def is_interruption(self) -> bool:
        """True for a node that did not fail but was told to stop."""
        return self.class_name in _INTERRUPTIONS


def _user_error(reported: Mapping[str, Any], *, code: str | None, node_id: str | None) -> EventError:
    error = reported
    while error.get("cause") and _FRAMEWORK_ERROR.match(error.get("cls_name") or ""):
        error = error["cause"]
    name = error.get("cls_name") or "Error"
    text = str(error.get("message") or "").strip()
    return EventError(
        class_name=name,
        message=re.sub(rf"^(?:[\w.<>]+\.)?{re.escape(name)}:?\s*", "", text) or _WORDS.get(name, name),
        code=code if code in metadata.ERROR_CODES else _CODES.get(name, metadata.NODE_ERROR),
        node_id=node_id,
        stack=tuple(_stack(error)),
    )


def _stack(error: Mapping[str, Any]) -> Iterator[str]:
    """Yield the lines of an error as Python would print it: its causes first."""
    if error.get("cause"):
        yield from _stack(error["cause"])
        yield "\nThe above exception was the direct cause of the following exception:\n\n"
    yield from error.get("stack") or ()
    yield str(error.get("message") or "")
