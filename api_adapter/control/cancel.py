"""Cancels runs: a wish that is driven until the run has ended, not a call that is forwarded.

Dagster refuses to terminate a run that is STARTING, gives up on a code server that is away, and lets a start event
that lands late turn CANCELING back into STARTED. The driver holds every open wish and acts again until it is met.
"""

import logging
from contextlib import suppress
from threading import Event, Lock, Thread

from dagster import DagsterInstance, DagsterRunStatus
from sqlalchemy.exc import OperationalError

from api_adapter.control.code_location import DagsterConnection
from api_adapter.control.dagster_api import DagsterUserCodeProcessError, DagsterUserCodeUnreachableError
from api_adapter.errors import UnavailableError

logger = logging.getLogger("api_adapter")

_INTERVAL_SECONDS = 0.25
_TRANSIENT = (DagsterUserCodeUnreachableError, DagsterUserCodeProcessError, OperationalError, UnavailableError)


class CancelDriver:
    """Drives open wishes to cancel from a thread of its own.

    Wishes live in this process for now; `request` is the one place where they come in and could be stored.
    """

    def __init__(self, connection: DagsterConnection) -> None:
        self._connection = connection
        self._open: dict[str, bool] = {}  # run id: whether a signal was delivered since it was last seen running
        self._lock = Lock()
        self._wake = Event()
        self._stopping = False
        self._thread = Thread(target=self._drive, name="cancel-driver", daemon=True)

    def start(self) -> None:
        """Start driving."""
        self._thread.start()

    def close(self) -> None:
        """Stop driving; wishes that are still open end with the process."""
        self._stopping = True
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join()

    def request(self, run_id: str) -> None:
        """Cancel a run: at once where Dagster lets us, else as soon as it does."""
        with self._lock:
            self._open.setdefault(run_id, False)
        with suppress(*_TRANSIENT):
            self._act(run_id)
        self._wake.set()

    def _drive(self) -> None:
        while not self._stopping:
            self._wake.wait(None if not self._open else _INTERVAL_SECONDS)
            self._wake.clear()
            for run_id in list(self._open):
                if self._stopping:
                    return
                try:
                    self._act(run_id)
                except _TRANSIENT as error:
                    logger.warning("run %s is not canceled yet, trying again: %s", run_id, error)

    def _act(self, run_id: str) -> None:
        """Do what a run's status allows, and close the wish once the run has ended."""
        with self._lock:
            instance = self._connection.instance()
            run = instance.get_run_by_id(run_id)
            if run is None or run.is_finished:
                self._open.pop(run_id, None)
            elif run.status == DagsterRunStatus.QUEUED:
                instance.run_coordinator.cancel_run(run_id)
            elif run.status == DagsterRunStatus.STARTED or self._undelivered(run_id, status=run.status):
                self._open[run_id] = _terminate(instance, run_id=run_id)

    def _undelivered(self, run_id: str, *, status: DagsterRunStatus) -> bool:
        return status == DagsterRunStatus.CANCELING and not self._open.get(run_id, False)


def _terminate(instance: DagsterInstance, *, run_id: str) -> bool:
    """Send the run's worker the signal to stop; True if it was delivered, which says nothing about the end."""
    return bool(instance.run_launcher.terminate(run_id))
