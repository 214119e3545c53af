"""Processes of runs: each leads a process group of its own, by which all that the run has started can be ended."""

import asyncio
import os
import signal
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

_SECONDS_BETWEEN_LOOKS = 0.02
_TOLERANCE_SECONDS = 0.05
_STARTED = 19  # its place in /proc/PID/stat behind the name, which may hold spaces and brackets: see proc(5)


@dataclass(frozen=True, slots=True)
class ProcessId:
    """A process for certain: pids are given again, but not to a process that `started` at the same moment."""

    pid: int
    started: float  # see `_started`

    @classmethod
    def of(cls, pid: int) -> "ProcessId | None":
        """Return the identity of a living process."""
        try:
            return cls(pid, _started(pid))
        except psutil.NoSuchProcess:
            return None

    @property
    def alive(self) -> bool:
        """Whether the process still works; one that only waits to be reaped does not."""
        try:
            return (
                abs(_started(self.pid) - self.started) < _TOLERANCE_SECONDS
                and psutil.Process(self.pid).status() != psutil.STATUS_ZOMBIE
            )
        except psutil.NoSuchProcess:
            return False

    def ask_to_stop(self) -> None:
        """Send SIGTERM to the process alone: it knows in which order to stop what it has started."""
        if self.alive:
            with suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGTERM)

    def kill_group(self) -> None:
        """Kill the process and all of its group that is left, also after the process itself has gone."""
        for member in self.group():
            with suppress(psutil.NoSuchProcess):
                member.kill()

    def group(self) -> list[psutil.Process]:
        """Return the living processes of the group: the leader, and what it has started."""
        try:
            os.killpg(self.pid, 0)
        except ProcessLookupError:
            return []
        except PermissionError:
            return []  # the pid has been given to a process of another user: the group was gone before
        return [each for each in psutil.process_iter() if self._is_member(each)]

    def memory(self) -> int:
        """Return the resident bytes of the whole group."""
        total = 0
        for member in self.group():
            with suppress(psutil.NoSuchProcess):
                total += member.memory_info().rss
        return total

    async def wait(self) -> None:
        """Return when the process itself is gone."""
        try:
            descriptor = os.pidfd_open(self.pid)
        except (AttributeError, OSError):  # another system than Linux, or gone already
            while self.alive:  # noqa: ASYNC110  (nothing tells)
                await asyncio.sleep(_SECONDS_BETWEEN_LOOKS)
            return
        try:
            if self.alive:
                gone = asyncio.Event()
                loop = asyncio.get_running_loop()
                loop.add_reader(descriptor, gone.set)
                try:
                    await gone.wait()
                finally:
                    loop.remove_reader(descriptor)
        finally:
            os.close(descriptor)

    def _is_member(self, process: psutil.Process) -> bool:
        try:
            return (
                os.getpgid(process.pid) == self.pid
                and _started(process.pid) >= self.started - _TOLERANCE_SECONDS
                and process.status() != psutil.STATUS_ZOMBIE
            )
        except (ProcessLookupError, psutil.NoSuchProcess):
            return False


def _started(pid: int) -> float:
    """Return when a process has started; `NoSuchProcess` if there is none.

    In seconds since the machine has, where the kernel tells: psutil's figure changes whenever somebody sets the clock.
    """
    try:
        stat = Path(f"/proc/{pid}/stat").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return psutil.Process(pid).create_time()  # which raises, or another system than Linux
    return int(stat.rpartition(b")")[2].split()[_STARTED]) / os.sysconf("SC_CLK_TCK")
