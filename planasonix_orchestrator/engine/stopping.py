"""Work that other threads can stop: its queries are interrupted, its waits end, and Python code gets an exception."""

import ctypes
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TypeVar

from planasonix_orchestrator.errors import NodeInterruptedError

ResultT = TypeVar("ResultT")
Reason = Callable[[], BaseException]  # makes the error as which the stop is to be told

_SECONDS_BETWEEN_CALLS = 0.1
_PATIENCE = 3.0  # seconds that a query gets to end by its own interrupt, and stopped work to clean up


class WorkStoppedError(BaseException):
    """Raised amid Python code to stop it; no `Exception`, so that code which goes on after errors lets it through."""


class Work:
    """A piece of work, done in one thread and stopped from others; each does both no more than once.

    While it goes on, it is what `stoppable` and `Turns` of its thread belong to.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._stops: dict[object, Callable[[], None]] = {}
        self._thread: int | None = None
        self._told_at: float | None = None  # when something was last raised in the thread, which may clean up since
        self._finishing = False
        self._ended = threading.Event()
        self.stopped_by: Reason | None = None

    def do(self, work: Callable[[], ResultT]) -> ResultT:
        """Do the work in this thread, and return its result.

        When it is stopped it raises `WorkStoppedError`, `NodeInterruptedError` or what its code makes of these.
        """
        token = _current.set(self)
        try:
            self._begin()
            return work()
        finally:
            try:
                self._end()
            finally:  # also if the work is stopped right here
                self._ended.set()
                _current.reset(token)

    def stop(self, reason: Reason) -> None:
        """Stop the work, however often that must be tried, and return when it has ended.

        `stopped_by` is the reason, where several stop it that of the first.
        """
        with self._lock:
            self.stopped_by = self.stopped_by or reason
        began = time.monotonic()
        while not self._ended.is_set():  # again and again: an interrupt between two queries reaches neither
            self._stop_what_goes_on(since=began)
            self._ended.wait(_SECONDS_BETWEEN_CALLS)

    @contextmanager
    def stoppable(self, stop: Callable[[], None]) -> Iterator[None]:
        """See the function `stoppable`."""
        key = object()
        with self._lock:
            self._raise_if_stopped()
            self._stops[key] = stop
        try:
            yield
        except BaseException:
            if self.stopped_by is not None:
                self._told_at = time.monotonic()
            raise
        finally:
            with self._lock:
                del self._stops[key]

    def finish(self) -> None:
        """See `last_stop`."""
        with self._lock:
            self._raise_if_stopped()
            self._finishing = True

    def _raise_if_stopped(self) -> None:
        if self.stopped_by is not None and self._told_at is None:
            self._told_at = time.monotonic()
            raise NodeInterruptedError

    def _begin(self) -> None:
        with self._lock:
            self._thread = threading.get_ident()

    def _end(self) -> None:
        with self._lock:
            self._thread = None
        _meet_what_was_thrown()

    def _stop_what_goes_on(self, *, since: float) -> None:
        with self._lock:
            if self._finishing:
                return
            for stop in self._stops.values():
                stop()
            patient = time.monotonic() - (self._told_at or since) < _PATIENCE
            if self._thread is None or (patient and (self._stops or self._told_at)):
                return
            self._told_at = time.monotonic()  # to no avail if Python is in the midst of forgetting an object
            _throw(WorkStoppedError, thread=self._thread)


_current: ContextVar[Work | None] = ContextVar("work", default=None)


@contextmanager
def stoppable(stop: Callable[[], None]) -> Iterator[None]:
    """Call `stop`, perhaps several times, if the work of this thread is stopped while the block runs.

    It is called in another thread. If the work was stopped before and does not know yet: `NodeInterruptedError`.
    """
    work = _current.get()
    if work is None:
        yield
        return
    with work.stoppable(stop):
        yield


def last_stop() -> None:
    """Let the work of this thread end by itself from here on; if it was stopped before, raise `NodeInterruptedError`.

    For the moment before what others see is changed for good: work that has done it must not be told as stopped, or it
    would be done again.
    """
    work = _current.get()
    if work is not None:
        work.finish()


def wait_until(ready: Callable[[], bool], *, condition: threading.Condition) -> None:
    """Wait on a condition until `ready` says so, under its lock; if the work is stopped before, `NodeInterruptedError`.

    The thread must not hold the lock.
    """
    stopped = threading.Event()

    def stop() -> None:
        stopped.set()
        with condition:
            condition.notify_all()

    with stoppable(stop), condition:
        condition.wait_for(lambda: stopped.is_set() or ready())
        if stopped.is_set():
            raise NodeInterruptedError


class Turns:
    """Lets one thread at a time do something; work that is stopped while it waits for its turn raises at once."""

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._taken = False

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Wait for the turn and take it while the block runs; `NodeInterruptedError` if the work is stopped before."""
        wait_until(self._take, condition=self._condition)
        try:
            yield
        finally:
            with self._condition:
                self._taken = False
                self._condition.notify_all()

    def _take(self) -> bool:
        if self._taken:
            return False
        self._taken = True
        return True


def _throw(error: type[BaseException], *, thread: int) -> None:
    """Have a thread raise an error before its next step in Python."""
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread), ctypes.py_object(error))


def _meet_what_was_thrown() -> None:
    """Do nothing, which is a step in Python: an error that was thrown and not raised yet is raised here.

    Taking it back instead (by throwing NULL) makes CPython 3.11 look for it at each step until the process ends.
    """
