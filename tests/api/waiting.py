"""Waiting for a condition."""

import time
from collections.abc import Callable
from threading import Event


def wait_until(condition: Callable[[], bool], *, seconds: float) -> None:
    """Return as soon as the condition holds; fail the test after `seconds`."""
    end = time.monotonic() + seconds
    pause = Event()
    while not condition():
        assert time.monotonic() < end, "the condition did not come true in time"
        pause.wait(0.05)
