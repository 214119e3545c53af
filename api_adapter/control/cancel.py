"""Cancels runs: an intent that is stored and then driven until the run has ended, not a call that is forwarded.

Dagster refuses to terminate a run that is STARTING, gives up on a code server that is away, and lets a start event
that lands late turn CANCELING back into STARTED. The reconciler acts on every open intent until it is met. It holds
nothing that is lost with the process, so that those of several processes, or the one after a crash, go on from where
the record stands. A launcher that drives intents itself (`drives_intents`) is left to do so.
"""

import json
import logging
import time
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from threading import Event, Thread

from dagster import DagsterEventType, DagsterInstance, DagsterRun, DagsterRunStatus, EventLogEntry

from api_adapter.control.code_location import DagsterConnection
from api_adapter.control.dagster_api import (
    GRPC_INFO_TAG,
    CanCancelExecutionRequest,
    CanCancelExecutionResult,
    DagsterGrpcClient,
    DagsterUserCodeUnreachableError,
    deserialize_value,
)
from api_adapter.control.database import Database
from planasonix_orchestrator.contract.cancellation import read_open_intents, store_intent

logger = logging.getLogger("api_adapter")

_SECONDS_BETWEEN_LOOKS = 1.0
_INTERVAL_SECONDS = 0.25
_LONGEST_PAUSE_SECONDS = 10.0
_ANSWER_SECONDS = 2

_WITHOUT_WORKER = ("NOT_STARTED", "QUEUED")
_ENDS = {DagsterEventType.RUN_SUCCESS, DagsterEventType.RUN_FAILURE, DagsterEventType.RUN_CANCELED}


@dataclass(slots=True)
class _Pause:
    """When to act on a run again (monotonic seconds), and how long to wait the next time."""

    due: float = 0.0
    seconds: float = _INTERVAL_SECONDS

    def lengthen(self) -> None:
        self.due = time.monotonic() + self.seconds
        self.seconds = min(self.seconds * 2, _LONGEST_PAUSE_SECONDS)


class Reconciler:
    """Drives open intents to their end, from a thread of its own."""

    def __init__(self, connection: DagsterConnection, *, database: Database) -> None:
        self._connection = connection
        self._database = database
        self._pauses: dict[str, _Pause] = {}
        self._told: set[str] = set()  # runs whose worker has had the signal from here
        self._wake = Event()
        self._stopping = False
        self._trouble = ""
        self._thread = Thread(target=self._drive, name="cancel-reconciler", daemon=True)

    def start(self) -> None:
        """Start driving."""
        self._thread.start()

    def close(self) -> None:
        """Stop driving; intents that are still open are another process's business, or the next one's."""
        self._stopping = True
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join()

    def request(self, run_id: str, *, by: str, at: datetime) -> str | None:
        """Store that a run be canceled; return the Dagster status that it had, None if there is no such run.

        A run that only waits in Dagster's queue has ended when this returns.
        """
        status = self._store(run_id, by=by, at=at)
        if status in _WITHOUT_WORKER:
            self._try(run_id)
        self._wake.set()
        return status

    def request_many(self, run_ids: Iterable[str], *, by: str, at: datetime) -> dict[str, str | None]:
        """Do so for many runs, each by itself and without waiting for its end."""
        found = {run_id: self._store(run_id, by=by, at=at) for run_id in run_ids}
        self._wake.set()
        return found

    def _store(self, run_id: str, *, by: str, at: datetime) -> str | None:
        return self._database.transact(lambda connection: store_intent(connection, run_id, by=by, at=at))

    def _drive(self) -> None:
        while not self._stopping:
            self._wake.wait(_INTERVAL_SECONDS if self._pauses else _SECONDS_BETWEEN_LOOKS)
            self._wake.clear()
            if self._stopping or not self._look():
                return

    def _look(self) -> bool:
        """Act on what is open and due; false if there is nothing to do here, now or ever."""
        try:
            intents = self._database.transact(read_open_intents)
            if intents and drives_intents(self._connection.instance()):
                return False
        except Exception as error:  # the database is away, or has no tables yet: this thread must not end with it
            self._report(error)
            return True
        self._trouble = ""
        self._forget_all_but({intent.run_id for intent in intents})
        for intent in intents:
            if self._pauses.setdefault(intent.run_id, _Pause()).due <= time.monotonic() and not self._stopping:
                self._try(intent.run_id)
        return True

    def _forget_all_but(self, open_runs: Collection[str]) -> None:
        self._pauses = {run_id: pause for run_id, pause in self._pauses.items() if run_id in open_runs}
        self._told.intersection_update(open_runs)

    def _report(self, error: Exception) -> None:
        """Log what keeps the thread from its work, once."""
        if str(error) != self._trouble:
            self._trouble = str(error)
            logger.warning("open intents to cancel runs can't be read at the moment: %s", error)

    def _try(self, run_id: str) -> None:
        try:
            instance = self._connection.instance()
            if not drives_intents(instance):
                with self._database.alone_with(run_id, wait=False) as alone:
                    if alone:
                        self._act(instance, run_id)
        except Exception as error:  # whatever Dagster raises, the intent stands
            logger.warning("run %s is not canceled yet, trying again: %s", run_id, error)
            self._pauses.setdefault(run_id, _Pause()).lengthen()

    def _act(self, instance: DagsterInstance, run_id: str) -> None:
        """Do what the run's status allows; a run that is STARTING can only be waited for."""
        run = instance.get_run_by_id(run_id)
        if run is None:
            return
        match run.status:
            case DagsterRunStatus.NOT_STARTED:
                instance.report_run_canceled(run, message="The run was canceled before it was queued.")
            case DagsterRunStatus.QUEUED:
                instance.run_coordinator.cancel_run(run_id)
            case DagsterRunStatus.CANCELING if (end := _end_in_log(instance, run_id)) is not None:
                # Dagster marks a run without looking whether it has ended meanwhile: for good, since nothing follows.
                ended_at = datetime.fromtimestamp(end.timestamp, UTC)
                instance.handle_run_event(run_id, end.get_dagster_event(), ended_at)
            case DagsterRunStatus.STARTED | DagsterRunStatus.CANCELING:
                self._stop(instance, run)
                self._pauses.setdefault(run_id, _Pause()).lengthen()

    def _stop(self, instance: DagsterInstance, run: DagsterRun) -> None:
        """Have the worker told to stop, unless it has been: each telling is an event in the run's log.

        Where it can't be told, the run is marked all the same, once: Dagster's monitoring, which counts from then on,
        ends it if it has lost its worker.
        """
        started = run.status is DagsterRunStatus.STARTED
        server = _server_of(run)
        if (started or run.run_id not in self._told) if server is None else _can_stop(server, run_id=run.run_id):
            if instance.run_launcher.terminate(run.run_id):
                self._told.add(run.run_id)
        elif started:
            instance.report_run_canceling(run, message="The run's worker can't be told to stop yet.")


def drives_intents(instance: DagsterInstance) -> bool:
    """Tell whether the launcher brings intents to their end by itself."""
    return bool(getattr(instance.run_launcher, "drives_intents", False))


def _end_in_log(instance: DagsterInstance, run_id: str) -> EventLogEntry | None:
    """Return the event with which a run has ended; None while it goes on."""
    found = instance.get_records_for_run(run_id, of_type=_ENDS, limit=1, ascending=False).records
    return found[0].event_log_entry if found else None


def _server_of(run: DagsterRun) -> DagsterGrpcClient | None:
    """Return the code server that has started the run's worker; None if the launcher needs none."""
    told = run.tags.get(GRPC_INFO_TAG)
    if told is None:
        return None
    address = json.loads(told)
    return DagsterGrpcClient(port=address.get("port"), socket=address.get("socket"), host=address.get("host"))


def _can_stop(server: DagsterGrpcClient, *, run_id: str) -> bool:
    """Tell whether the code server has a worker of this run that has not been told to stop yet."""
    try:
        answer = server.can_cancel_execution(CanCancelExecutionRequest(run_id=run_id), timeout=_ANSWER_SECONDS)
    except DagsterUserCodeUnreachableError:
        return False
    return bool(deserialize_value(answer, CanCancelExecutionResult).can_cancel)
