"""The wall clock of a stack under test, which can be set without touching the machine's own.

Every process of the stack, Postgres too, loads `clock.c`: built here by the machine's C compiler. libfaketime, which is
there for this, does not serve: as of 0.9.10, which Debian 12 has, `time.sleep` of Python 3.11 fails unless the
monotonic clock jumps, too (wolfcw/libfaketime#426). The times of files stay the machine's.

``python -m tests.chaos.clock up ...`` is `planasonix up ...`, but that Postgres loads the library like all others: the
supervisor keeps its own environment from it.
"""

import ctypes
import mmap
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from planasonix_orchestrator import cli
from planasonix_orchestrator.runtime.postgres import EmbeddedPostgres

SOURCE = Path(__file__).with_suffix(".c")
STACK_COMMAND = (sys.executable, "-m", __name__ if __name__ != "__main__" else "tests.chaos.clock")
_FILE_VARIABLE, _LOADER_VARIABLE = "CHAOS_CLOCK", "LD_PRELOAD"
_COMPILERS = ("cc", "gcc", "clang")
_NANOSECONDS = 1_000_000_000


class NoClockError(Exception):
    """The clock of processes can't be set here, and why."""


class Clock:
    """A clock that is the machine's at first; `environment` puts a process and its children under it."""

    def __init__(self, folder: Path, *, library: Path) -> None:
        path = folder / "clock"
        path.write_bytes(bytes(8))
        path.chmod(0o644)  # Postgres has a user of its own
        with path.open("r+b") as file:
            self._ahead = ctypes.c_int64.from_buffer(mmap.mmap(file.fileno(), 8))
        self.environment: Mapping[str, str] = {_LOADER_VARIABLE: str(library), _FILE_VARIABLE: str(path)}

    @property
    def ahead(self) -> int:
        """How many seconds the clock is ahead of the machine's."""
        return self._ahead.value // _NANOSECONDS

    def set(self, ahead: int) -> None:
        """Set the clock, for all processes in the same moment."""
        self._ahead.value = ahead * _NANOSECONDS


def make_clock(folder: Path) -> Clock:
    """Return a clock whose files lie in this folder; `NoClockError` where there can be none.

    It takes a C compiler: Debian's is installed if there is none.
    """
    if not sys.platform.startswith("linux"):
        raise NoClockError("that takes Linux")
    library = folder / "clock.so"
    command = [_compiler(), "-shared", "-fPIC", "-O2", "-o", str(library), str(SOURCE)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise NoClockError(f"{SOURCE.name} does not compile here: {done.stderr.strip()[:300]}")
    return Clock(folder, library=library)


def _compiler() -> str:
    for name in _COMPILERS:
        if found := shutil.which(name):
            return found
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        raise NoClockError("there is no C compiler")
    for words in (("update",), ("install", "--yes", "--no-install-recommends", "gcc", "libc6-dev")):
        if subprocess.run(["apt-get", "--quiet", *words], capture_output=True, check=False).returncode:
            raise NoClockError("there is no C compiler, and apt-get can't install one")
    return "gcc"


def main() -> None:
    """Run `planasonix` with a Postgres that has our clock."""
    given = {name: os.environ[name] for name in (_LOADER_VARIABLE, _FILE_VARIABLE)}
    stock: property = vars(EmbeddedPostgres)["environment"]
    EmbeddedPostgres.environment = property(lambda server: {**stock.__get__(server), **given})  # type: ignore[assignment]
    cli.main()


if __name__ == "__main__":
    main()
