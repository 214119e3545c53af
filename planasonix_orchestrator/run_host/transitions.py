"""Which changes of a run's status are allowed, decided while the run's row in Dagster's storage is locked."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from dagster import DagsterEventType
from sqlalchemy import Connection, text

from planasonix_orchestrator.contract.cancellation import FINISHED, UNFINISHED, has_intent

STARTS: Final = frozenset({DagsterEventType.RUN_STARTING, DagsterEventType.RUN_START})
ENDS: Final = frozenset({DagsterEventType.RUN_SUCCESS, DagsterEventType.RUN_FAILURE})
_UNFINISHED: Final = frozenset(UNFINISHED)
# What a run may be, for an event to make it something else; for events that are not here, anything unfinished.
_BEFORE: Final[Mapping[DagsterEventType | None, frozenset[str]]] = {
    DagsterEventType.RUN_ENQUEUED: frozenset({"NOT_STARTED"}),
    DagsterEventType.RUN_STARTING: frozenset({"NOT_STARTED", "QUEUED"}),
    DagsterEventType.RUN_START: frozenset({"NOT_STARTED", "QUEUED", "STARTING"}),
    DagsterEventType.RUN_SUCCESS: _UNFINISHED - {"CANCELING"},
    DagsterEventType.RUN_FAILURE: _UNFINISHED - {"CANCELING"},
    DagsterEventType.RUN_CANCELING: _UNFINISHED - {"CANCELING"},
}


@dataclass(frozen=True, slots=True)
class LockedRun:
    """What decides whether a run's status may change, which only the transaction that locked it can do meanwhile."""

    status: str | None  # Dagster's word; None if there is no such run
    was_started: bool
    has_intent: bool

    @classmethod
    def lock(cls, connection: Connection, run_id: str) -> "LockedRun":
        """Lock a run until the end of the transaction, which must be a real one."""
        row = connection.execute(_LOCK_RUN, {"run_id": run_id}).one_or_none()
        if row is None:
            return cls(status=None, was_started=False, has_intent=False)
        return cls(row.status, row.start_time is not None, has_intent(connection, run_id))

    @property
    def is_finished(self) -> bool:
        """Whether the run has ended, or is no more."""
        return self.status is None or self.status in FINISHED

    def takes(self, kind: DagsterEventType | None) -> bool:
        """Tell whether the run may change as an event of this type says."""
        if self.status not in _BEFORE.get(kind, _UNFINISHED):
            return False
        if kind in STARTS:
            return not self.was_started and not self.has_intent
        return kind not in ENDS or not self.has_intent


_LOCK_RUN = text("SELECT status, start_time FROM runs WHERE run_id = :run_id FOR UPDATE")
