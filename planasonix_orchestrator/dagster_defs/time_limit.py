"""The limit of a node's time: past it, whatever the run's session computes is interrupted."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from planasonix_orchestrator.engine.session import Session
from planasonix_orchestrator.errors import NodeError

_SECONDS_BETWEEN_INTERRUPTS = 0.1


class NodeTimeoutError(NodeError):
    """A node took longer than its `timeoutSeconds`."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        super().__init__(
            f"stopped after {seconds:g} s, its timeoutSeconds",
            hint="raise timeoutSeconds, or give the node less to do",
        )


@contextmanager
def time_limit(session: Session, *, seconds: float | None) -> Iterator[None]:
    """Interrupt the session's queries once the block takes longer than `seconds`, and raise `NodeTimeoutError`.

    Only DuckDB's work can be interrupted: a block that waits for something else, or that ends on its own before an
    interrupt reaches it, runs to its end and counts as done.
    """
    if seconds is None:
        yield
        return
    done = threading.Event()
    expired = threading.Event()

    def watch() -> None:
        if done.wait(seconds):
            return
        expired.set()
        session.interrupt()
        while not done.wait(_SECONDS_BETWEEN_INTERRUPTS):  # an interrupt between two queries reaches neither
            session.interrupt()

    watcher = threading.Thread(target=watch, name="time limit", daemon=True)
    watcher.start()
    try:
        yield
    except Exception as error:
        if expired.is_set():
            raise NodeTimeoutError(seconds) from error
        raise
    finally:
        done.set()
        watcher.join()
