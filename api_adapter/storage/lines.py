"""One line of a run's log: how an event of Dagster's is told in plain words, or not at all."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import lru_cache
from typing import Literal

import msgspec

from api_adapter.storage.decoding import decode_json
from api_adapter.storage.events import Event
from planasonix_orchestrator.contract.names import decode_name

LogLevel = Literal["debug", "info", "warning", "error"]

LEVELS: Mapping[LogLevel, int] = {"debug": 10, "info": 20, "warning": 30, "error": 40}


class LogLine(msgspec.Struct, frozen=True, gc=False):
    """A line of a run's log, and the `id` of the event it tells; `node_id` is None for what concerns the whole run.

    `timestamp` is in unix seconds. A struct of msgspec's, since a page has a thousand of them.
    """

    id: int
    timestamp: float
    level: LogLevel
    node_id: str | None
    message: str

    @property
    def time(self) -> datetime:
        """When it was logged."""
        return datetime.fromtimestamp(self.timestamp, UTC)


class _Logged(msgspec.Struct, gc=False):
    """What is told of an entry that user code has logged, or Dagster in its name."""

    timestamp: float
    level: int | None = None
    user_message: str | None = None


_decode_logged = msgspec.json.Decoder(_Logged).decode


def tell_line(event_id: int, kind: str | None, step_key: str | None, body: str) -> LogLine | None:
    """Return the line that tells an event (its type, step and JSON), or None if it tells nothing."""
    if kind is not None:
        return _happened(Event(event_id, kind, step_key, body), kind)
    try:
        entry = _decode_logged(body)
    except msgspec.DecodeError:  # what is no JSON, though Python writes it
        entry = msgspec.convert(decode_json(body), _Logged)
    message = entry.user_message
    if not message:
        return None
    level = _level(entry.level)
    if message[0] in _INITIALS and message.startswith(_OPENINGS):
        level, message = _said_by_dagster(message, level=level)
    return LogLine(event_id, entry.timestamp, level, node_of(step_key), message)


def _said_by_dagster(message: str, *, level: LogLevel) -> tuple[LogLevel, str]:
    """Tell what Dagster may have logged in a node's name."""
    if abandoned := _ABANDONED.match(message):
        return "warning", f"Node not started: {_reasons(abandoned)}"
    return ("debug" if _CHATTER.match(message) else level), message


def _happened(event: Event, kind: str) -> LogLine | None:
    """Tell a milestone; other events say what Dagster says."""
    level, message = _milestone(event, kind) if kind in TOLD else ("debug", event.message)
    return LogLine(event.id, event.entry["timestamp"], level, node_of(event.step_key), message) if message else None


def _milestone(event: Event, kind: str) -> tuple[LogLevel, str]:
    error = event.error if kind in _WITH_REASON else None
    if error is not None and error.is_interruption:
        return "info", "Node stopped" if event.step_key else "Run stopped"
    level, text = TOLD[kind]
    reason = error.message if error is not None else _said(event)
    return level, f"{text}: {reason}" if reason else text


def _said(event: Event) -> str:
    """Return why a run failed that has no error, as when its worker was lost; Dagster's usual sentence is no reason."""
    message = event.message if event.type == "PIPELINE_FAILURE" else ""
    return "" if message.startswith("Execution of run for ") else message


# Dagster's event types that a user wants to read about: level, and words.
TOLD: Mapping[str, tuple[LogLevel, str]] = {
    "PIPELINE_ENQUEUED": ("info", "Run queued"),
    "PIPELINE_STARTING": ("info", "Run is being launched"),
    "PIPELINE_START": ("info", "Run started"),
    "PIPELINE_SUCCESS": ("info", "Run succeeded"),
    "PIPELINE_FAILURE": ("error", "Run failed"),
    "PIPELINE_CANCELING": ("info", "Run is being canceled"),
    "PIPELINE_CANCELED": ("info", "Run canceled"),
    "RUN_SUSPENDED": ("info", "Run suspended"),
    "RUN_RESUMED": ("info", "Run goes on"),
    "RESOURCE_INIT_FAILURE": ("error", "Node could not start"),
    "STEP_START": ("info", "Node started"),
    "STEP_RESTARTED": ("info", "Node started again"),
    "STEP_SUCCESS": ("info", "Node succeeded"),
    "STEP_UP_FOR_RETRY": ("warning", "Node failed and will be tried again"),
    "STEP_FAILURE": ("error", "Node failed"),
    "STEP_SKIPPED": ("info", "Node skipped"),
}
_WITH_REASON = frozenset({"PIPELINE_FAILURE", "RESOURCE_INIT_FAILURE", "STEP_UP_FOR_RETRY", "STEP_FAILURE"})

# What Dagster logs through the node's own logger. Source: dagster/_core/execution/plan/active.py, compute.py and
# execute_step.py of Dagster 1.13; tests/api/test_log_lines.py has it said by the installed one.
_OPENINGS = ("Dependencies for step ", "Skipping step ", "Emitting implicit Nothing ", "op '", "asset '", "graph '")
_INITIALS = frozenset(opening[0] for opening in _OPENINGS)  # which spare most lines the look at six openings
_ABANDONED = re.compile(
    r"Dependencies for step \S+?(?: failed: \[(?P<failed>[^]]*)])?(?: were not executed: \[(?P<idle>[^]]*)])?"
    r"\. Not executing\."
)
_CHATTER = re.compile(
    r"Skipping step \S+ due to skipped dependencies: |Emitting implicit Nothing for output |"
    r"\w+ '[^']*' did not yield or return expected outputs "
)


def _reasons(abandoned: re.Match[str]) -> str:
    failed, idle = _nodes(abandoned["failed"]), _nodes(abandoned["idle"])
    reasons = [f"{', '.join(failed)} failed"] if failed else []
    if idle:
        reasons.append(f"{', '.join(idle)} did not start")
    return " and ".join(reasons) or "a node before it did not succeed"


def _nodes(listed: str | None) -> list[str]:
    """Return the node ids in a list of step keys as Python prints it."""
    keys = re.findall(r"'([^']*)'", listed or "")
    return list(dict.fromkeys(node_of(key) or key for key in keys))


@lru_cache
def _level(number: int | None) -> LogLevel:
    """Return the level of a number of Python's logging."""
    number = number or 0
    if number >= LEVELS["error"]:
        return "error"
    if number >= LEVELS["warning"]:
        return "warning"
    return "info" if number >= LEVELS["info"] else "debug"


@lru_cache(maxsize=4096)
def node_of(step_key: str | None) -> str | None:
    """Return the node of a step; a dynamic step is its node with a key in brackets."""
    return decode_name(step_key.partition("[")[0]) if step_key else None
