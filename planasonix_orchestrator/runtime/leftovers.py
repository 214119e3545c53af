"""Processes of a stack that have lost their supervisor: finding and ending them, and the guard that does so at once.

Every process of a stack carries its state directory in the environment, which children inherit, so that a
grandchild that left its process group is found too. Postgres overwrites its environment with its title; it is
known by its working directory, which is the data directory.
"""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

STACK_VARIABLE = "PLANASONIX_STACK"
POSTGRES_FOLDER = "postgres"
SECONDS_TO_END = 4.0
_CODE_HOLDER = " api grpc "


def end_leftovers(state: Path) -> None:
    """End every process of the stack on this state directory: first asked, then killed; Postgres last."""
    _end(_processes_of(state))
    end_postgres(state / POSTGRES_FOLDER)


def end_code_holders(state: Path) -> None:
    """End the processes that hold the code for a code server which is gone; by themselves they stay for 90 s."""
    _end([process for process in _processes_of(state) if _CODE_HOLDER in " ".join(_command(process))])


def end_postgres(data: Path) -> None:
    """End every process of a Postgres on this data directory, also those that have outlived their postmaster."""
    # SIGINT is Postgres's fast shutdown: it ends its sessions and writes a checkpoint.
    _end([process for process in _processes() if _folder(process) == str(data)], ask=signal.SIGINT)


@contextmanager
def guarded(state: Path, *, keep_open: Iterable[int] = ()) -> Iterator[None]:
    """Have the stack's leftovers ended as soon as this process is gone, even if it was killed.

    The guard inherits the descriptors in `keep_open`: a lock held through one is released only after the cleaning.
    """
    arguments = [sys.executable, "-P", "-m", __name__, str(state)]
    # A session of its own: a Ctrl-C in the terminal is not meant for it.
    with subprocess.Popen(arguments, stdin=subprocess.PIPE, pass_fds=tuple(keep_open), start_new_session=True):
        yield


def _end(processes: list[psutil.Process], *, ask: signal.Signals = signal.SIGTERM) -> None:
    _tell(processes, lambda process: process.send_signal(ask))
    _, remaining = psutil.wait_procs(processes, timeout=SECONDS_TO_END)
    _tell(remaining, psutil.Process.kill)
    psutil.wait_procs(remaining, timeout=SECONDS_TO_END)


def _tell(processes: Iterable[psutil.Process], send: Callable[[psutil.Process], None]) -> None:
    for process in processes:
        try:
            send(process)
        except psutil.NoSuchProcess:
            continue


def _processes() -> Iterator[psutil.Process]:
    return (process for process in psutil.process_iter() if process.pid != os.getpid())


def _processes_of(state: Path) -> list[psutil.Process]:
    return [process for process in _processes() if _environment(process).get(STACK_VARIABLE) == str(state)]


def _command(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except (psutil.Error, OSError):
        return []


def _environment(process: psutil.Process) -> dict[str, str]:
    try:
        return process.environ()
    except (psutil.Error, OSError):
        return {}


def _folder(process: psutil.Process) -> str | None:
    try:
        return process.cwd() if process.name().startswith("postgres") else None
    except (psutil.Error, OSError):
        return None


if __name__ == "__main__":
    for unwanted in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(unwanted, signal.SIG_IGN)
    sys.stdin.read()
    end_leftovers(Path(sys.argv[1]))
