"""The clock that chaos sets is that of the processes under it, and of no others."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.chaos.clock import Clock, make_clock

HOUR = 3600
_PROGRAM = """
import multiprocessing, sys, threading, time
held, never = multiprocessing.Semaphore(0), threading.Event()
for _ in sys.stdin:
    began, steady = time.time(), time.monotonic()
    time.sleep(0.05), never.wait(0.05), held.acquire(timeout=0.05)
    print(began, time.monotonic() - steady, flush=True)
"""


@pytest.fixture
def clock(tmp_path: Path) -> Clock:
    return make_clock(tmp_path)


def test_a_clock_is_set_while_processes_run(clock: Clock) -> None:
    """The time of day jumps, forwards and backwards; how long something takes is not touched."""
    command = [sys.executable, "-c", _PROGRAM]
    environment = {**os.environ, **clock.environment}
    with subprocess.Popen(
        command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        for ahead in (0, HOUR, -2 * HOUR, 0):
            clock.set(ahead)
            process.stdin.write("\n")
            process.stdin.flush()
            told, took = map(float, process.stdout.readline().split())
            assert told - time.time() == pytest.approx(ahead, abs=60)
            assert 0.15 <= took < 60
            assert clock.ahead == ahead
        process.stdin.close()


def test_a_wait_for_a_time_of_day_ends_when_the_clock_is_set_to_it(clock: Clock) -> None:
    """As on a machine whose clock is set: else chaos would prove nothing of code that waits so."""
    program = "import multiprocessing as m; s = m.Semaphore(0); print(flush=True); s.acquire(timeout=1800)"
    environment = {**os.environ, **clock.environment}
    with subprocess.Popen([sys.executable, "-c", program], env=environment, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep(0.2)
        clock.set(HOUR)
        assert process.wait(timeout=60) == 0
