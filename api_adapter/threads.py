"""Threads for work that would hold up the event loop: half the way there and back of asyncio's own executor."""

from asyncio import AbstractEventLoop, Future, get_running_loop
from collections.abc import Callable
from contextlib import suppress
from contextvars import Context, copy_context
from queue import SimpleQueue
from threading import Lock, Thread
from typing import Any, TypeVar

ResultT = TypeVar("ResultT")
_Task = tuple[AbstractEventLoop, "Future[Any]", Context, Callable[[], Any]]


class Threads:
    """At most so many threads, each started when all others are at work; what finds none free waits for its turn."""

    def __init__(self, most: int, *, name: str) -> None:
        self._most = most
        self._name = name
        self._tasks: SimpleQueue[_Task | None] = SimpleQueue()
        self._lock = Lock()
        self._started = 0
        self._open = 0  # tasks that have not ended

    async def run(self, work: Callable[[], ResultT]) -> ResultT:
        """Return the result of blocking work, which sees the caller's context.

        Who is canceled meanwhile leaves it to end by itself.
        """
        loop = get_running_loop()
        future: Future[ResultT] = loop.create_future()
        with self._lock:
            if self._started <= self._open and self._started < self._most:
                Thread(target=self._work, name=f"{self._name}-{self._started + 1}", daemon=True).start()
                self._started += 1
            self._open += 1
        self._tasks.put((loop, future, copy_context(), work))
        return await future

    def close(self) -> None:
        """Let the threads end when they have done what waits."""
        with self._lock:
            for _ in range(self._started):
                self._tasks.put(None)

    def _work(self) -> None:
        while (task := self._tasks.get()) is not None:
            loop, future, context, work = task
            told: tuple[Callable[[Any], None], Any]
            try:
                told = (future.set_result, context.run(work))
            except BaseException as error:
                told = (future.set_exception, error)
            with self._lock:
                self._open -= 1
            with suppress(RuntimeError):  # the loop has been closed meanwhile
                loop.call_soon_threadsafe(_tell, future, *told)
            del task, future, context, work, told  # or the last task's would stay until the next one comes


def _tell(future: "Future[Any]", tell: Callable[[Any], None], value: Any) -> None:
    if not future.done():  # its caller was canceled
        tell(value)
