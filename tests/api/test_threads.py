"""The threads of the API: results, failures, limits and callers that go away."""

import asyncio
from contextvars import ContextVar
from threading import Barrier, Event, current_thread
from threading import enumerate as all_threads

import pytest

from api_adapter.threads import Threads

NAME = "test-threads"
word: ContextVar[str] = ContextVar("word")


@pytest.fixture
def threads() -> Threads:
    """Three threads at most."""
    return Threads(3, name=NAME)


def alive() -> set[str]:
    """The names of the threads that there are."""
    return {thread.name for thread in all_threads() if thread.name.startswith(NAME)}


def close(threads: Threads) -> None:
    """End the threads, which they do by themselves."""
    threads.close()
    for thread in all_threads():
        if thread.name.startswith(NAME):
            thread.join(10)
    assert not alive()


def test_work_has_its_callers_context_and_gives_its_result_or_error(threads: Threads) -> None:
    """One after the other is done by one thread; none is left after the end."""

    def fail() -> None:
        raise KeyError(word.get())

    async def scene() -> None:
        word.set("mine")
        assert [await threads.run(lambda: (word.get(), current_thread().name)) for _ in range(3)] == [
            ("mine", f"{NAME}-1")
        ] * 3
        with pytest.raises(KeyError, match="mine"):
            await threads.run(fail)
        assert alive() == {f"{NAME}-1"}
        close(threads)

    asyncio.run(scene())


def test_so_many_work_at_once_and_the_others_wait(threads: Threads) -> None:
    """Three meet at a barrier, and again the next three; a fourth thread never comes into being."""
    met = Barrier(3, timeout=10)

    async def scene() -> None:
        await asyncio.gather(*(threads.run(met.wait) for _ in range(6)))
        assert alive() == {f"{NAME}-{number}" for number in (1, 2, 3)}
        close(threads)

    asyncio.run(scene())


def test_who_is_canceled_leaves_the_work_to_end(threads: Threads) -> None:
    """The thread stays taken until then, and is as good as before afterwards."""
    begun, go_on, ended = Event(), Event(), Event()

    def work() -> None:
        begun.set()
        assert go_on.wait(10)
        ended.set()

    async def scene() -> None:
        task = asyncio.create_task(threads.run(work))
        assert await threads.run(lambda: begun.wait(10))
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert not ended.is_set()
        go_on.set()
        assert await threads.run(lambda: ended.wait(10))
        assert len(alive()) == 2
        close(threads)

    asyncio.run(scene())


def test_a_loop_that_has_gone_harms_nobody(threads: Threads) -> None:
    """Work that ends after its loop was closed leaves its thread to others."""
    begun, go_on = Event(), Event()

    def work() -> None:
        begun.set()
        assert go_on.wait(10)

    async def leave() -> None:
        task = asyncio.create_task(threads.run(work))
        await threads.run(lambda: begun.wait(10))
        task.cancel()

    asyncio.run(leave())
    go_on.set()

    async def come() -> None:
        met = Barrier(3, timeout=10)
        await asyncio.gather(*(threads.run(met.wait) for _ in range(3)))
        close(threads)

    asyncio.run(come())
