"""The threads in which the nodes of a run work, and the one queue in which everything that happens is told."""

import signal
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import copy_context
from dataclasses import dataclass
from queue import Empty, SimpleQueue

from dagster import DagsterExecutionInterruptedError

from planasonix_orchestrator.dagster_defs.dagster_internals import (
    DagsterEvent,
    StepExecutionContext,
    dagster_event_sequence_for_step,
    pop_captured_interrupt,
)
from planasonix_orchestrator.dagster_defs.interruption import Works
from planasonix_orchestrator.engine.stopping import Reason

_SIGNALS = (signal.SIGINT, signal.SIGTERM)  # those with which Dagster stops a run


@dataclass(frozen=True, slots=True)
class Happened:
    """An event of a step, stored already."""

    event: DagsterEvent


@dataclass(frozen=True, slots=True)
class Ended:
    """A step's attempt is over: nothing of it runs any longer. `error` is what Dagster could not tell as an event."""

    step_key: str
    error: BaseException | None


Report = Happened | Ended


class NodeThreads:
    """Runs up to `limit` steps at once; as a context manager, it is left when none runs any longer."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._pool = ThreadPoolExecutor(limit, thread_name_prefix="node")
        self._works = Works()
        self._reports: SimpleQueue[Report | None] = SimpleQueue()
        self._running: set[str] = set()
        self.signalled = False  # the process was told to stop

    @property
    def free(self) -> int:
        """How many more steps can be started."""
        return self._limit - len(self._running)

    def start(self, step: StepExecutionContext) -> None:
        """Run a step in a thread, with this thread's context variables."""
        self._running.add(step.step.key)
        context = copy_context()
        context.run(self._works.adopt_thread)
        self._pool.submit(context.run, self._run, step)

    def _run(self, step: StepExecutionContext) -> None:
        error = None
        try:
            for event in dagster_event_sequence_for_step(step):
                self._reports.put(Happened(event))
        except BaseException as raised:  # for the main thread to raise, as if the step had run there
            error = raised
        self._reports.put(Ended(step.step.key, error))

    def next_report(self, *, seconds: float | None) -> Report | None:
        """Wait for what happens next; None if nothing does for so long, or if a signal comes."""
        try:
            report = self._reports.get(timeout=seconds)
        except Empty:
            return None
        if isinstance(report, Ended):
            self._running.discard(report.step_key)
        return report

    @property
    def idle(self) -> bool:
        """Whether no step runs."""
        return not self._running

    def stop(self, reason: Reason) -> None:
        """Stop the work of all nodes, without waiting for their end; `reason` makes what each of them raises."""
        self._works.stop(reason)

    @contextmanager
    def hearing_signals(self) -> Iterator[None]:
        """Note signals while the block runs, instead of raising amid whatever goes on; only in the main thread."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {number: signal.signal(number, self._on_signal) for number in _SIGNALS}
        if pop_captured_interrupt():
            self._on_signal()
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _on_signal(self, *_: object) -> None:
        self.signalled = True
        self._reports.put(None)  # to end a wait; a SimpleQueue's `put` may interrupt itself

    def __enter__(self) -> "NodeThreads":
        return self

    def __exit__(self, *_: object) -> None:
        self.stop(DagsterExecutionInterruptedError)
        self._pool.shutdown()
