"""What a node's work costs the process of its run: CPU and memory."""

import resource
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

_PROCESS = Path("/proc/self")
_RESET_PEAK = "5"  # man 5 proc_pid_clear_refs
_PEAK = "VmHWM:"  # kB; man 5 proc_pid_status
_MAXRSS_UNIT = 1 if sys.platform == "darwin" else 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """CPU seconds of all threads, and the highest resident set, of this process over some time."""

    cpu_seconds: float
    peak_memory_bytes: int


class UsageMeter:
    """Measures this process from now on. It has one peak of memory: a second meter starts that of the first again.

    Where the kernel does not let the peak be started again, it is that of the process so far.
    """

    def __init__(self) -> None:
        self._resettable = _reset_peak()
        self._cpu = time.process_time()

    def read(self) -> Usage:
        """Return what was used since the meter was made."""
        return Usage(
            cpu_seconds=time.process_time() - self._cpu,
            peak_memory_bytes=_resettable_peak() if self._resettable else peak_so_far(),
        )


def peak_so_far() -> int:
    """Return the highest resident set of this process since it started, as getrusage knows it."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * _MAXRSS_UNIT


def _reset_peak() -> bool:
    with suppress(OSError):
        (_PROCESS / "clear_refs").write_text(_RESET_PEAK)
        return True
    return False


def _resettable_peak() -> int:
    lines = (_PROCESS / "status").read_text().splitlines()
    (kilobytes,) = (line.split()[1] for line in lines if line.startswith(_PEAK))
    return int(kilobytes) * 1024
