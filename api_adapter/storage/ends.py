"""How a run as a whole ended: the failure that Dagster reports of it, and who or what had it canceled."""

import re
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from api_adapter.storage.database import Connection
from api_adapter.storage.events import Event, EventError
from api_adapter.storage.runs import RunRecord
from api_adapter.storage.story import END_EVENTS, read_story
from planasonix_orchestrator.contract import metadata

CanceledBy = Literal["user", "system", "superseded"]


@dataclass(frozen=True, slots=True, kw_only=True)
class RunEnd:
    """What Dagster wrote: None for what has not happened. `canceled_by` is its guess where nobody has told us."""

    failure: EventError | None = None
    cancel_requested_at: datetime | None = None
    canceled_by: CanceledBy | None = None


# Words of Dagster's daemon where it cancels or ends a run by itself (dagster/_daemon/monitoring/run_monitoring.py).
_BY_SYSTEM = re.compile("exceeding maximum runtime|longer than [0-9]+ seconds to cancel", re.IGNORECASE)

# dagster._core.events.RunFailureReason, and Dagster's words where it gives no reason.
_CODES = {
    "START_TIMEOUT": "timeout",
    "RUN_WORKER_RESTART": "worker_lost",
    "UNEXPECTED_TERMINATION": "worker_lost",
    "RUN_EXCEPTION": metadata.RUN_ERROR,
    "JOB_INITIALIZATION_FAILURE": metadata.RUN_ERROR,
}
_WORDS = {
    "marked as failed from outside the execution context": (
        "worker_lost",
        "The run's worker ended without a word: it was killed, ran out of memory, or could not load the pipeline.",
    ),
    "maximum runtime": ("timeout", ""),
    metadata.MEMORY_WORDS: ("out_of_memory", ""),
    "run worker": ("worker_lost", ""),
}


def read_end(connection: Connection, *, run: RunRecord) -> RunEnd:
    """Return what the run's last events say of its end."""
    if run.dagster_status not in {"FAILURE", "CANCELING", "CANCELED"}:
        return RunEnd()
    failure: EventError | None = None
    requested_at: datetime | None = None
    by: CanceledBy | None = None
    for event in (told.event for told in read_story(connection, run_id=run.dagster_id, types=END_EVENTS)):
        if event.type == "PIPELINE_FAILURE":
            failure = _failure(event)
            continue
        requested_at = requested_at or (event.time if event.type == "PIPELINE_CANCELING" else None)
        by = "system" if _BY_SYSTEM.search(event.message) else by or "user"
    return RunEnd(failure=failure, cancel_requested_at=requested_at, canceled_by=by)


def _failure(event: Event) -> EventError:
    told = event.error
    reason = (event.data.get("failure_reason") or {}).get("__enum__", "").rpartition(".")[2]
    code, words = next(
        (meaning for text, meaning in _WORDS.items() if text in event.message),
        (_CODES.get(reason, metadata.RUN_ERROR), ""),
    )
    of_class = metadata.ERROR_CLASSES.get(told.class_name) if told else None
    message = told.message if told else words or event.message or "The run failed without saying why."
    return EventError(
        class_name=told.class_name if told else "RunFailure",
        message=message,
        code=of_class or _CODES.get(reason, code),
        stack=told.stack if told else (),
    )
