"""Stopping work from other threads: what is told, when, and that nothing is stopped that is past its last stop."""

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress

import pytest

from planasonix_orchestrator.engine import stopping
from planasonix_orchestrator.engine.stopping import Turns, Work, WorkStoppedError, last_stop, stoppable
from planasonix_orchestrator.errors import NodeInterruptedError


def begin(work: Work, what: Callable[[threading.Event], object]) -> "Future[object]":
    """Do the work in a thread of its own, and return when it has set the event that it is given."""
    there = threading.Event()
    pool = ThreadPoolExecutor(1)
    future = pool.submit(work.do, lambda: what(there))
    there.wait()
    pool.shutdown(wait=False)
    return future


def work_for_ever(there: threading.Event) -> None:
    """A loop in Python that goes on after errors."""
    while True:
        with suppress(Exception):
            there.set()


def test_a_loop_in_python_is_stopped() -> None:
    """Python code without any safe point gets an error that `except Exception` lets through."""
    work = Work()
    future = begin(work, work_for_ever)
    work.stop(KeyboardInterrupt)
    with pytest.raises(WorkStoppedError):
        future.result()
    assert work.stopped_by is KeyboardInterrupt


def test_what_is_thrown_at_the_end_does_not_reach_other_work() -> None:
    """A thread whose work was stopped when it was about to end goes on unharmed."""
    with ThreadPoolExecutor(1) as pool:
        for _ in range(200):
            work = Work()
            future = pool.submit(work.do, lambda: None)
            work.stop(KeyboardInterrupt)
            with suppress(WorkStoppedError):
                future.result()
            assert pool.submit(lambda: sum(range(100))).result() == 4950


def test_what_cleans_up_is_not_disturbed() -> None:
    """Work that has been told once is left alone while it cleans up."""
    cleaned: list[int] = []

    def clean_up_for_long(there: threading.Event) -> None:
        try:
            work_for_ever(there)
        finally:
            until = time.monotonic() + 0.5
            while time.monotonic() < until:
                pass
            cleaned.append(1)

    work = Work()
    future = begin(work, clean_up_for_long)
    work.stop(KeyboardInterrupt)
    with pytest.raises(WorkStoppedError):
        future.result()
    assert cleaned == [1]


def test_work_that_goes_on_all_the_same_is_stopped_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """An exception that got lost, or was swallowed, is thrown again after a while."""
    monkeypatch.setattr(stopping, "_PATIENCE", 0.2)

    def swallow_one(there: threading.Event) -> None:
        with suppress(WorkStoppedError):
            work_for_ever(there)
        # Another event: what is thrown into the midst of setting one leaves its lock behind.
        work_for_ever(threading.Event())

    work = Work()
    future = begin(work, swallow_one)
    work.stop(KeyboardInterrupt)
    assert isinstance(future.exception(), WorkStoppedError)


def test_a_call_that_can_be_stopped_is_stopped_by_its_own_means() -> None:
    """While a call says how it is stopped, nothing is thrown at it: its own error says how far it has come."""
    stopped = threading.Event()

    def call(there: threading.Event) -> str:
        with stoppable(stopped.set):
            there.set()
            stopped.wait()
            return "done so far"

    work = Work()
    future = begin(work, call)
    work.stop(KeyboardInterrupt)
    assert future.result() == "done so far"


def test_stopped_work_begins_no_further_call() -> None:
    """A stop between two calls shows at the beginning of the next."""
    work = Work()
    released = threading.Event()

    def two_calls(there: threading.Event) -> None:
        with stoppable(there.set):
            there.wait()
        with stoppable(lambda: None):
            released.set()

    thread = threading.Thread(target=work.stop, args=(KeyboardInterrupt,))
    thread.start()
    with pytest.raises(NodeInterruptedError):
        work.do(lambda: two_calls(threading.Event()))
    thread.join()
    assert not released.is_set()


def test_who_waits_for_a_turn_is_stopped_at_once() -> None:
    """A wait for another node ends, and the turn is free for the next when the other has had it."""
    turns, work = Turns(), Work()

    def wait(there: threading.Event) -> None:
        there.set()
        with turns.turn():
            pass

    with turns.turn():
        future = begin(work, wait)
        work.stop(KeyboardInterrupt)
        with pytest.raises((NodeInterruptedError, WorkStoppedError)):
            future.result()
    with turns.turn():
        pass


def test_turns_are_taken_one_at_a_time() -> None:
    """No two threads have the turn at once, and each gets it."""
    turns = Turns()
    inside: list[int] = []
    most: list[int] = []

    def take() -> None:
        for _ in range(50):
            with turns.turn():
                inside.append(1)
                most.append(len(inside))
                inside.pop()

    with ThreadPoolExecutor(8) as pool:
        for future in [pool.submit(take) for _ in range(8)]:
            future.result()
    assert most == [1] * 400


def test_nothing_is_stopped_past_its_last_stop() -> None:
    """What has been changed for good is told as done, however often it is stopped then."""
    work = Work()
    released = threading.Event()
    calls: list[int] = []

    def commit(there: threading.Event) -> str:
        with stoppable(lambda: calls.append(1)):
            last_stop()
            there.set()
            released.wait()
        return "committed"

    future = begin(work, commit)
    stopper = threading.Thread(target=work.stop, args=(KeyboardInterrupt,))
    stopper.start()
    while work.stopped_by is None:
        pass
    stopper.join(0.3)  # some rounds
    released.set()
    stopper.join()
    assert (future.result(), calls) == ("committed", [])


def test_what_was_stopped_before_does_not_change_anything_for_good() -> None:
    """At its last stop, work learns of a stop that came just before."""
    work = Work()
    stopper = threading.Thread(target=work.stop, args=(KeyboardInterrupt,))

    def commit() -> None:
        with stoppable(lambda: None):  # so that nothing is thrown meanwhile
            stopper.start()
            while work.stopped_by is None:
                pass
            last_stop()

    with pytest.raises(NodeInterruptedError):
        work.do(commit)
    stopper.join()


def test_the_first_reason_counts() -> None:
    """Who stops work that is being stopped changes nothing."""
    work = Work()
    future = begin(work, work_for_ever)
    for reason in (KeyboardInterrupt, SystemExit):
        work.stop(reason)
    assert isinstance(future.exception(), WorkStoppedError)
    assert work.stopped_by is KeyboardInterrupt
