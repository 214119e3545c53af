"""What processes cost: CPU time of whole trees, with that of processes which have come and gone, and memory."""

from collections.abc import Iterable
from contextlib import suppress

import psutil


def tree(root: psutil.Process) -> list[psutil.Process]:
    """Return a process with all that it has started, directly or not."""
    try:
        return [root, *root.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def cpu_seconds(processes: Iterable[psutil.Process]) -> float:
    """Return the CPU time of processes, and of their children that have ended and been waited for."""
    total = 0.0
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            times = process.cpu_times()
            total += times.user + times.system + times.children_user + times.children_system
    return total


def megabytes(processes: Iterable[psutil.Process]) -> float:
    """Return the memory of processes; what several share, each has its share of."""
    total = 0
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            total += process.memory_full_info().pss
    return total / 1e6


def are_gone(processes: Iterable[psutil.Process]) -> bool:
    """Return whether none of the processes works any more."""
    return not any(_works(process) for process in processes)


def _works(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
