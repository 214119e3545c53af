"""Stops a node's work at its time limit, and that of all nodes when their run is canceled or out of time."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager, suppress
from contextvars import ContextVar, copy_context
from functools import partial
from typing import TypeVar

from dagster import DagsterExecutionInterruptedError

from planasonix_orchestrator.engine.stopping import Reason, Work, WorkStoppedError
from planasonix_orchestrator.errors import NodeError, TerminalNodeError

ResultT = TypeVar("ResultT")


class NodeTimeoutError(NodeError):
    """A node took longer than its `timeoutSeconds`."""

    code = "timeout"

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        super().__init__(
            f"stopped after {seconds:g} s, its timeoutSeconds",
            hint="raise timeoutSeconds, or give the node less to do",
        )


class RunTimeoutError(TerminalNodeError):
    """A run took longer than its pipeline's `timeoutSeconds` lets it; also of the nodes that were stopped for that."""

    code = "timeout"

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        super().__init__(
            f"stopped because the run took longer than {seconds:g} s, its time limit",
            hint="raise timeoutSeconds of the pipeline (Dagster's tag dagster/max_runtime), or give the run less to do",
        )


class Works:
    """The work that goes on now in the nodes of a run; once stopped, none of them can begin any more."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._ongoing: set[Work] = set()
        self._stopped_by: Reason | None = None

    @contextmanager
    def including(self, work: Work) -> Iterator[None]:
        """Let the work be stopped with the others while the block runs; if these are stopped already, raise that."""
        with self._lock:
            if self._stopped_by is not None:
                raise self._stopped_by()
            self._ongoing.add(work)
        try:
            yield
        finally:
            with self._lock:
                self._ongoing.discard(work)

    def stop(self, reason: Reason) -> None:
        """Have all work stopped, and return without waiting for that; only the first reason counts."""
        with self._lock:
            if self._stopped_by is not None:
                return
            self._stopped_by = reason
            ongoing = tuple(self._ongoing)
        for work in ongoing:
            _stop_soon(work, reason)

    def adopt_thread(self) -> None:
        """Include all nodes that run in this thread's context from now on."""
        _works.set(self)


_works: ContextVar[Works | None] = ContextVar("works", default=None)


def run_interruptibly(work: Callable[[], ResultT], *, seconds: float | None) -> ResultT:
    """Do a node's work, and stop it past `seconds` or when its run is stopped; see `engine.stopping` for how.

    Raises `NodeTimeoutError` past the limit, `DagsterExecutionInterruptedError` if the run is canceled. What can't be
    stopped runs to its end, and if it ends well counts as done.
    """
    if threading.current_thread() is threading.main_thread():
        return _run_beside_main_thread(work, seconds=seconds)
    return _run(Work(), work, seconds)


def _run_beside_main_thread(work: Callable[[], ResultT], *, seconds: float | None) -> ResultT:
    """Do it in a thread of its own, as Dagster's executors have nodes run in the main thread.

    There, a query in DuckDB would keep Python from seeing the signal with which Dagster cancels a run, and would turn
    it into an error of its own.
    """
    job = Work()
    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="node") as thread:
        future = thread.submit(copy_context().run, _run, job, work, seconds)
        try:
            wait([future])
        except BaseException:  # the run's cancellation
            _stop_soon(job, DagsterExecutionInterruptedError)
            _wait_whatever_comes(future)
            raise
    return future.result()


def _wait_whatever_comes(future: Future[ResultT]) -> None:
    while not future.done():
        with suppress(DagsterExecutionInterruptedError, KeyboardInterrupt):  # signals that follow the first
            wait([future])


def _run(job: Work, work: Callable[[], ResultT], seconds: float | None) -> ResultT:
    with _limited(job, seconds=seconds), _included(job):
        try:
            return job.do(work)
        except (Exception, WorkStoppedError) as error:  # whatever stopped work makes of it
            if job.stopped_by is None:
                raise
            told = job.stopped_by()
            # Who reads an interrupt's causes takes it for a failure.
            raise told from (error if isinstance(told, NodeError) else None)


@contextmanager
def _limited(work: Work, *, seconds: float | None) -> Iterator[None]:
    if seconds is None:
        yield
        return
    timer = threading.Timer(seconds, work.stop, args=[partial(NodeTimeoutError, seconds)])
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


@contextmanager
def _included(work: Work) -> Iterator[None]:
    works = _works.get()
    if works is None:
        yield
        return
    with works.including(work):
        yield


def _stop_soon(work: Work, reason: Reason) -> None:
    """Have the work stopped by a thread of its own: to reach a server, it may take its time."""
    threading.Thread(target=work.stop, args=(reason,), name="stop", daemon=True).start()
