"""The threads in which streams read."""

from collections.abc import Callable
from typing import TypeVar

from anyio import CapacityLimiter
from anyio.to_thread import run_sync

ResultT = TypeVar("ResultT")

_THREADS = 4


class ReadingThreads:
    """A few threads for all streams of a process, so that those never take the threads of other requests."""

    def __init__(self, threads: int = _THREADS) -> None:
        self._limiter = CapacityLimiter(threads)

    async def run(self, work: Callable[[], ResultT]) -> ResultT:
        """Return the result of blocking work; who is canceled meanwhile leaves it to end by itself."""
        return await run_sync(work, limiter=self._limiter, abandon_on_cancel=True)
