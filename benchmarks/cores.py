"""Keeps the machine's cores from sleeping: a core that has to wake up works at half its speed for a while.

A request of a millisecond is over by then, one of a hundred is not: the same work would be told to be twice as slow on
one side only. It is what a `performance` governor does where one may set it.
"""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

_WORK = 100_000  # rounds of nothing between two looks at whether anybody still wants it


@contextmanager
def cores_awake() -> Iterator[None]:
    """Have each core always busy, with what gives way to all other work at once; does nothing where Linux is not."""
    if not hasattr(os, "SCHED_IDLE"):
        yield
        return
    commands = ([sys.executable, __file__, str(core), str(os.getpid())] for core in os.sched_getaffinity(0))
    busy = [subprocess.Popen(command) for command in commands]
    try:
        yield
    finally:
        for process in busy:
            process.kill()
            process.wait()


def _stay_busy(core: int, *, parent: int) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # which a terminal sends to the parent too
    os.sched_setaffinity(0, {core})
    os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
    while os.getppid() == parent:
        for _ in range(_WORK):
            pass


if __name__ == "__main__":
    _stay_busy(int(sys.argv[1]), parent=int(sys.argv[2]))
