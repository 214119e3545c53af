"""Stops a node's work at its time limit, and when its run is canceled."""

import contextvars
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import TypeVar

from planasonix_orchestrator.engine.session import Session
from planasonix_orchestrator.errors import NodeError

ResultT = TypeVar("ResultT")

_SECONDS_BETWEEN_INTERRUPTS = 0.1


class NodeTimeoutError(NodeError):
    """A node took longer than its `timeoutSeconds`."""

    code = "timeout"

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        super().__init__(
            f"stopped after {seconds:g} s, its timeoutSeconds",
            hint="raise timeoutSeconds, or give the node less to do",
        )


def run_interruptibly(work: Callable[[], ResultT], *, session: Session, seconds: float | None) -> ResultT:
    """Do the work in a thread of its own, and interrupt the session's queries past `seconds` or on a signal.

    In the main thread, a query in DuckDB would keep Python from seeing the signal with which Dagster cancels a run, and
    would turn it into an error of its own. Raises `NodeTimeoutError` past the limit. Only DuckDB's work can be
    interrupted: what waits for something else runs to its end, and past the limit counts as done if it ends well.
    """
    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="node") as thread:
        future = thread.submit(contextvars.copy_context().run, work)
        try:
            finished, _ = wait([future], timeout=seconds)
        except BaseException:  # the run's cancellation, in the midst of waiting
            _interrupt_until_done(future, session)
            raise
        if finished or seconds is None:
            return future.result()
        _interrupt_until_done(future, session)
        error = future.exception()
        if error is not None:
            raise NodeTimeoutError(seconds) from error
        return future.result()


def _interrupt_until_done(future: Future[ResultT], session: Session) -> None:
    while not future.done():  # again and again: an interrupt between two queries reaches neither
        session.interrupt()
        wait([future], timeout=_SECONDS_BETWEEN_INTERRUPTS)
