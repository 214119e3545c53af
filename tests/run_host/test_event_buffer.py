"""The buffer of events: order, deadlines, what happens to what could not be written."""

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from planasonix_orchestrator.run_host.event_buffer import Batch, EventBuffer
from tests.api.waiting import wait_until


class Paper:
    """Keeps what is written, and the moments; fails while `error` is set."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.moments: list[float] = []
        self.error: Exception | None = None

    def write(self, batch: Batch[int]) -> None:
        if self.error is not None:
            raise self.error
        self.batches.append(batch.entries)
        self.moments.append(time.monotonic())

    @property
    def entries(self) -> list[int]:
        return [entry for batch in self.batches for entry in batch]


@pytest.fixture
def paper() -> Paper:
    return Paper()


@pytest.fixture
def buffer(paper: Paper) -> Iterator[EventBuffer[int]]:
    buffer = EventBuffer(paper.write)
    yield buffer
    buffer.close()


def test_entries_that_nobody_waits_for_are_written_together_and_soon(buffer: EventBuffer[int], paper: Paper) -> None:
    """At the latest 0.1 s after the first."""
    before = time.monotonic()
    for entry in range(5):
        buffer.add(entry)
    wait_until(lambda: bool(paper.batches), seconds=5)
    assert paper.batches == [[0, 1, 2, 3, 4]]
    assert paper.moments[0] - before >= 0.09


def test_who_waits_takes_along_what_waits(buffer: EventBuffer[int], paper: Paper) -> None:
    """In order, in one batch, and at once."""
    buffer.add(0)
    buffer.add(1)
    buffer.add(2, wait=True)
    assert paper.batches == [[0, 1, 2]]


def test_many_entries_do_not_wait(paper: Paper) -> None:
    """The one that makes them too many waits for them, which slows down who writes more than can be stored."""
    buffer = EventBuffer(paper.write, delay=60, most=3)
    for entry in range(7):
        buffer.add(entry)
    assert paper.batches == [[0, 1, 2], [3, 4, 5]]
    buffer.close()
    assert paper.entries == list(range(7))


def test_threads_share_batches(paper: Paper) -> None:
    """Those who come while one is written all go into the next; each thread's entries stay in order."""
    gate = threading.Event()

    def write(batch: Batch[int]) -> None:
        gate.wait(5)
        paper.write(batch)

    buffer = EventBuffer(write)
    threads = [threading.Thread(target=buffer.add, args=(entry,), kwargs={"wait": True}) for entry in range(20)]
    for thread in threads:
        thread.start()
    gate.set()
    for thread in threads:
        thread.join()
    buffer.close()
    assert sorted(paper.entries) == list(range(20))
    assert len(paper.batches) < 20


def test_what_could_not_be_written_comes_first_later(buffer: EventBuffer[int], paper: Paper) -> None:
    """Who waits is told; nothing is lost, nothing changes places."""
    paper.error = OSError("no")
    buffer.add(0)
    with pytest.raises(OSError, match="no"):
        buffer.add(1, wait=True)
    buffer.add(2)
    paper.error = None
    buffer.add(3, wait=True)
    assert paper.batches == [[0, 1], [2, 3]]


def test_an_attempt_of_before_tells_nothing(paper: Paper) -> None:
    """Who begins to wait while an attempt fails is told by the next one: what has failed may be well by then."""
    begun, gate = threading.Event(), threading.Event()

    def write(batch: Batch[int]) -> None:
        if not begun.is_set():
            begun.set()
            gate.wait(10)
            raise OSError("no")
        paper.write(batch)

    buffer = EventBuffer(write)
    buffer.add(0)
    assert begun.wait(10)
    opening = threading.Timer(0.1, gate.set)
    opening.start()
    buffer.add(1, wait=True)
    assert paper.entries == [0, 1]
    buffer.close()
    opening.join()


def test_closing_tells_those_who_wait(paper: Paper) -> None:
    """There is no further attempt that could tell them."""
    paper.error = OSError("no")
    begun, gate = threading.Event(), threading.Event()

    def write(batch: Batch[int]) -> None:
        begun.set()
        gate.wait(10)
        paper.write(batch)

    buffer = EventBuffer(write)
    buffer.add(0)
    assert begun.wait(10)
    with ThreadPoolExecutor(2) as pool:
        waiting = pool.submit(buffer.add, 1, wait=True)
        wait_until(lambda: len(buffer._waiting) == 1, seconds=10)
        closing = pool.submit(buffer.close)
        wait_until(lambda: buffer._closing, seconds=10)
        gate.set()
        assert (waiting.exception(10), closing.exception(10)) == (paper.error, paper.error)


def test_closing_tells_what_could_not_be_written(paper: Paper) -> None:
    """And keeps it: the next entry takes it along."""
    buffer = EventBuffer(paper.write)
    paper.error = OSError("no")
    buffer.add(0)
    with pytest.raises(OSError, match="no"):
        buffer.close()
    paper.error = None
    buffer.add(1, wait=True)
    assert paper.entries == [0, 1]
    buffer.close()


def test_a_thread_only_while_it_is_needed(paper: Paper) -> None:
    """None before the first entry, none once closed: a process with threads can't be forked."""
    before = threading.active_count()
    buffer = EventBuffer(paper.write)
    buffer.flush()
    buffer.close()
    assert threading.active_count() == before
    buffer.add(0)
    assert threading.active_count() == before + 1
    buffer.close()
    assert threading.active_count() == before
    assert paper.entries == [0]
