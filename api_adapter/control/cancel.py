"""Cancels runs: a wish that is driven until the run has ended, not a call that is forwarded.

Dagster refuses to terminate a run that is STARTING, gives up on a code server that is away, and lets a start event
that lands late turn CANCELING back into STARTED. The driver holds every open wish and acts again until it is met.
"""

import logging
import time
from dataclasses import dataclass
from datetime import datetime
from threading import Event, Lock, Thread

from dagster import DagsterInstance, DagsterRun, DagsterRunStatus

from api_adapter.control.code_location import DagsterConnection
from api_adapter.timestamps import format_timestamp
from planasonix_orchestrator.contract import tags as tag_names

logger = logging.getLogger("api_adapter")

_INTERVAL_SECONDS = 0.25
_LONGEST_PAUSE_SECONDS = 10.0


@dataclass(slots=True)
class Wish:
    """An open wish: whether the run's worker has had the signal, and when to act again (monotonic seconds).

    The pauses between actions double up to `_LONGEST_PAUSE_SECONDS`, after which each is as long as `longest`.
    """

    delivered: bool = False
    due: float = 0.0
    pause: float = _INTERVAL_SECONDS
    longest: float = _LONGEST_PAUSE_SECONDS

    def back_off(self, *, now: float) -> None:
        """Put the next action off."""
        self.due = now + self.pause
        self.pause = self.pause * 2 if self.pause * 2 <= _LONGEST_PAUSE_SECONDS else self.longest


class CancelDriver:
    """Drives open wishes to cancel from a thread of its own.

    Wishes live in this process for now; `request` is the one place where they come in and could be stored.
    """

    def __init__(self, connection: DagsterConnection) -> None:
        self._connection = connection
        self._open: dict[str, Wish] = {}
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
            wish = self._open.setdefault(run_id, Wish())
            self._try(run_id, wish=wish)
        self._wake.set()

    def _drive(self) -> None:
        while not self._stopping:
            self._wake.wait(_INTERVAL_SECONDS if self._open else None)
            self._wake.clear()
            with self._lock:
                now = time.monotonic()
                due = [(run_id, wish) for run_id, wish in self._open.items() if wish.due <= now]
                for run_id, wish in due:
                    self._try(run_id, wish=wish)

    def _try(self, run_id: str, *, wish: Wish) -> None:
        try:
            self._act(run_id, wish=wish)
        except Exception as error:  # whatever Dagster raises, the wish stands: this thread must not end with it
            logger.warning("run %s is not canceled yet, trying again: %s", run_id, error)
            wish.back_off(now=time.monotonic())

    def _act(self, run_id: str, *, wish: Wish) -> None:
        """Do what the run's status allows, and close the wish once the run has ended."""
        instance = self._connection.instance()
        run = instance.get_run_by_id(run_id)
        if run is None or run.is_finished:
            self._open.pop(run_id, None)
        elif run.status == DagsterRunStatus.QUEUED:
            instance.run_coordinator.cancel_run(run_id)
        elif _needs_signal(run, wish=wish):
            wish.longest = longer_than_monitoring(instance)
            wish.delivered = instance.run_launcher.terminate(run_id)
            if not wish.delivered:
                wish.back_off(now=time.monotonic())


def longer_than_monitoring(instance: DagsterInstance) -> float:
    """Return the seconds after which Dagster has ended a run that is being canceled but has lost its worker.

    It counts them from the last signal, so that signals which follow each other faster would keep the run for ever.
    """
    timeout: int = instance.run_monitoring_cancel_timeout_seconds
    return timeout + 2.0 * instance.run_monitoring_poll_interval_seconds


def note_wish(instance: DagsterInstance, *, run_id: str, user: str, at: datetime) -> None:
    """Write on the run who wished first that it be canceled, and when; nothing if somebody has already."""
    run = instance.get_run_by_id(run_id)
    if run is not None and tag_names.CANCEL_REQUESTED_AT not in run.tags:
        told = {
            tag_names.CANCEL_REQUESTED_AT: format_timestamp(at),
            tag_names.CANCEL_REQUESTED_BY: user,
            tag_names.CANCELED_BY: "user",
        }
        instance.add_run_tags(run_id, told)


def _needs_signal(run: DagsterRun, *, wish: Wish) -> bool:
    """Tell whether the worker must be told to stop; again, if its start was recorded after it had been told."""
    canceling = run.status == DagsterRunStatus.CANCELING
    return run.status == DagsterRunStatus.STARTED or (canceling and not wish.delivered)
