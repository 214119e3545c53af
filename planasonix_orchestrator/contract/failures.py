"""Errors in Dagster's event log: why a node or a run has failed, in our words, from the JSON of the event.

The format is that of dagster._core.events.log.EventLogEntry as `serialize_value` writes it. Only named fields are read,
all of them optional, so that what Dagster adds does no harm; the API's contract suite reads real ones.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from planasonix_orchestrator.contract import metadata

_INTERRUPTIONS = frozenset({"DagsterExecutionInterruptedError", "KeyboardInterrupt"})
_CLASS_WORDS = {
    **dict.fromkeys(_INTERRUPTIONS, "The run's worker was told to stop, and nobody had canceled the run."),
    "ChildProcessCrashException": "The process that ran the node ended without a word.",
}
_CLASS_CODES = {**metadata.ERROR_CLASSES, **dict.fromkeys(_CLASS_WORDS, "worker_lost")}
_FRAMEWORK_ERROR = re.compile(r"^(Dagster|RetryRequested)")

# dagster._core.events.RunFailureReason, and Dagster's words where it gives no reason.
_REASON_CODES = {
    "START_TIMEOUT": "timeout",
    "RUN_WORKER_RESTART": "worker_lost",
    "UNEXPECTED_TERMINATION": "worker_lost",
    "RUN_EXCEPTION": metadata.RUN_ERROR,
    "JOB_INITIALIZATION_FAILURE": metadata.RUN_ERROR,
}
_RUN_WORDS = {
    "marked as failed from outside the execution context": (
        "worker_lost",
        "The run's worker ended without a word: it was killed, ran out of memory, or could not load the pipeline.",
    ),
    "maximum runtime": ("timeout", ""),
    metadata.MEMORY_WORDS: ("out_of_memory", ""),
    "run worker": ("worker_lost", ""),
}


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


def read_error(data: Mapping[str, Any]) -> EventError | None:
    """Return the error that an event reports, as user code raised it; `data` is its `event_specific_data`."""
    reported = data.get("error")
    if not reported:
        return None
    entries = (data.get("user_failure_data") or {}).get("metadata_entries") or ()
    said = {one["label"]: (one.get("entry_data") or {}).get("text") for one in entries}
    return _user_error(reported, code=said.get(metadata.ERROR_CODE), node_id=said.get(metadata.ERROR_NODE))


def read_run_failure(data: Mapping[str, Any], *, message: str) -> EventError:
    """Return why a run as a whole failed, from the data and the message of its PIPELINE_FAILURE."""
    told = read_error(data)
    reason = (data.get("failure_reason") or {}).get("__enum__", "").rpartition(".")[2]
    code, words = next(
        (meaning for text, meaning in _RUN_WORDS.items() if text in message),
        (_REASON_CODES.get(reason, metadata.RUN_ERROR), ""),
    )
    of_class = metadata.ERROR_CLASSES.get(told.class_name) if told else None
    return EventError(
        class_name=told.class_name if told else "RunFailure",
        message=told.message if told else words or message or "The run failed without saying why.",
        code=of_class or _REASON_CODES.get(reason, code),
        stack=told.stack if told else (),
    )


def _user_error(reported: Mapping[str, Any], *, code: str | None, node_id: str | None) -> EventError:
    error = reported
    while error.get("cause") and _FRAMEWORK_ERROR.match(error.get("cls_name") or ""):
        error = error["cause"]
    name = error.get("cls_name") or "Error"
    text = str(error.get("message") or "").strip()
    return EventError(
        class_name=name,
        message=re.sub(rf"^(?:[\w.<>]+\.)?{re.escape(name)}:?\s*", "", text) or _CLASS_WORDS.get(name, name),
        code=code if code in metadata.ERROR_CODES else _CLASS_CODES.get(name, metadata.NODE_ERROR),
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
