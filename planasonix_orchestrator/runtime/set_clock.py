"""What Dagster's daemon does when somebody sets the machine's clock back: it starts anew.

Its loops, and its signs of life, wait for a time of day. With the clock set back by an hour they would all wait for an
hour: for schedules that is right, since what was due then has been started; for all else it is not.
"""

import os
import signal
import threading
import time
from collections.abc import Callable
from logging import getLogger

from dagster._core.scheduler.instigation import InstigatorState
from dagster._daemon.sensor import get_elapsed

logger = getLogger("planasonix.daemon")

Clock = Callable[[], float]

_SECONDS_BETWEEN_LOOKS = 1.0
_SECONDS_THAT_MATTER = 5.0  # the loops wait for as long anyway
_SECONDS_TO_END = 10.0


class Setbacks:
    """Compares the time of day with a clock that goes on steadily."""

    def __init__(self, *, wall: Clock = time.time, steady: Clock = time.monotonic) -> None:
        self._wall = wall
        self._steady = steady
        self._ahead = wall() - steady()

    def seconds(self) -> float:
        """Return by how much the time of day was set back since the last call; less than 0: set ahead."""
        before, self._ahead = self._ahead, self._wall() - self._steady()
        return before - self._ahead


def has_looked_ahead(state: InstigatorState) -> bool:
    """Whether a sensor has looked at a time that is yet to come: so it is due, however long ago that was."""
    elapsed = get_elapsed(state)
    return elapsed is not None and elapsed < 0


def end_when_set_back() -> None:
    """Have this process end, so that the supervisor starts another one, once its clock is set back."""
    threading.Thread(target=_watch, args=(Setbacks(),), name="set-clock", daemon=True).start()


def _watch(setbacks: Setbacks) -> None:
    while (seconds := setbacks.seconds()) < _SECONDS_THAT_MATTER:
        time.sleep(_SECONDS_BETWEEN_LOOKS)
    logger.warning("the clock was set back by %.0f s: starting anew, as all here would wait for as long", seconds)
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(_SECONDS_TO_END)
    os._exit(1)
