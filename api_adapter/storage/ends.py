"""How a run as a whole ended: the failure that Dagster reports of it, and who or what had it canceled."""

import re
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from api_adapter.storage.database import Connection
from api_adapter.storage.runs import RunRecord
from api_adapter.storage.story import END_EVENTS, read_story
from planasonix_orchestrator.contract.failures import EventError, read_run_failure

CanceledBy = Literal["user", "system", "superseded"]


@dataclass(frozen=True, slots=True, kw_only=True)
class RunEnd:
    """What Dagster wrote: None for what has not happened. `canceled_by` is its guess where nobody has told us."""

    failure: EventError | None = None
    cancel_requested_at: datetime | None = None
    canceled_by: CanceledBy | None = None


# Words of Dagster's daemon where it cancels or ends a run by itself (dagster/_daemon/monitoring/run_monitoring.py).
_BY_SYSTEM = re.compile("exceeding maximum runtime|longer than [0-9]+ seconds to cancel", re.IGNORECASE)


def read_end(connection: Connection, *, run: RunRecord) -> RunEnd:
    """Return what the run's last events say of its end."""
    if run.dagster_status not in {"FAILURE", "CANCELING", "CANCELED"}:
        return RunEnd()
    failure: EventError | None = None
    requested_at: datetime | None = None
    by: CanceledBy | None = None
    for event in (told.event for told in read_story(connection, run_id=run.dagster_id, types=END_EVENTS)):
        if event.type == "PIPELINE_FAILURE":
            failure = read_run_failure(event.data, message=event.message)
            continue
        requested_at = requested_at or (event.time if event.type == "PIPELINE_CANCELING" else None)
        by = "system" if _BY_SYSTEM.search(event.message) else by or "user"
    return RunEnd(failure=failure, cancel_requested_at=requested_at, canceled_by=by)
