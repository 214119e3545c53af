"""What a node's work costs the process of its run: CPU and memory."""

import resource
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

_PROCESS = Path("/proc/self")
_RESET_PEAK = "5"  # man 5 proc_pid_clear_refs
_PEAK = "VmHWM:"  # kB; man 5 proc_pid_status
_MAXRSS_UNIT = 1 if sys.platform == "darwin" else 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """A node's part of the process's CPU seconds, and the highest resident set of the process, over some time."""

    cpu_seconds: float
    peak_memory_bytes: int


@dataclass(eq=False, slots=True)
class _Share:
    """What one node has used so far; `own` is what the clock of its thread showed last."""

    clock: int | None
    own: float
    cpu_seconds: float = 0.0
    peak: int = 0

    def advance(self) -> float:
        """Return the CPU seconds of the node's own thread since the last time; none where they can't be known."""
        if self.clock is None:
            return 0.0
        before, self.own = self.own, time.clock_gettime(self.clock)
        return self.own - before


class UsageMeter:
    """Measures what nodes cost this process, also while several of them work at the same time.

    Then the CPU of all threads of the process is divided among them as that of their own threads is: DuckDB's threads
    work for all, and don't tell for whom. So no second counts twice. The peak of memory is that of the process; where
    the kernel does not let it be started again, the peak since the process began.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._cpu = time.process_time()
        self._shares: set[_Share] = set()
        self._resettable = False

    @contextmanager
    def measured(self) -> Iterator[Callable[[], Usage]]:
        """Measure the work of a node in this thread while the block runs; call what is lent for the usage so far."""
        share = _Share(clock=_thread_clock(), own=time.thread_time())
        with self._lock:
            self._settle()
            self._shares.add(share)
            self._resettable = _reset_peak()
        try:
            yield partial(self._read, share)
        finally:
            with self._lock:
                self._settle()
                self._shares.discard(share)

    def _read(self, share: _Share) -> Usage:
        with self._lock:
            self._settle()
            return Usage(cpu_seconds=share.cpu_seconds, peak_memory_bytes=share.peak)

    def _settle(self) -> None:
        """Divide what was used since the last time among those who worked."""
        now = time.process_time()
        used, self._cpu = now - self._cpu, now
        if not self._shares:
            return
        peak = _resettable_peak() if self._resettable else peak_so_far()
        own = {share: share.advance() for share in self._shares}
        whole = sum(own.values())
        for share, seconds in own.items():
            share.cpu_seconds += used * (seconds / whole if whole else 1 / len(own))
            share.peak = max(share.peak, peak)


def peak_so_far() -> int:
    """Return the highest resident set of this process since it started, as getrusage knows it."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * _MAXRSS_UNIT


def _thread_clock() -> int | None:
    """Return the clock of this thread's CPU that other threads can read; macOS has none."""
    if not hasattr(time, "pthread_getcpuclockid"):
        return None
    return time.pthread_getcpuclockid(threading.get_ident())


def _reset_peak() -> bool:
    with suppress(OSError):
        (_PROCESS / "clear_refs").write_text(_RESET_PEAK)
        return True
    return False


def _resettable_peak() -> int:
    lines = (_PROCESS / "status").read_text().splitlines()
    (kilobytes,) = (line.split()[1] for line in lines if line.startswith(_PEAK))
    return int(kilobytes) * 1024
