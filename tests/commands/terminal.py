"""A command on a terminal of its own: what it shows there, and keys that are pressed."""

import fcntl
import os
import pty
import select
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

CTRL_C = b"\x03"
PLANASONIX = str(Path(sys.executable).with_name("planasonix"))
_SECONDS = 30


class Terminal:
    """`planasonix ARGUMENTS` with a pseudo-terminal as its input, output and controlling terminal."""

    def __init__(self, *arguments: str, environment: Mapping[str, str] | None = None, lines: int = 40) -> None:
        self._ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", lines, 160, 0, 0))
        self.shown = ""
        self.process = subprocess.Popen(
            [PLANASONIX, *arguments],
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            env={"TERM": "xterm-256color", **(os.environ if environment is None else environment)},
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),  # so that Ctrl-C reaches it
        )
        os.close(theirs)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self._ours)

    def press(self, keys: bytes) -> None:
        os.write(self._ours, keys)

    def wait_for(self, text: str) -> None:
        """Wait until the text is shown."""
        deadline = time.monotonic() + _SECONDS
        while text not in self.shown:
            assert time.monotonic() < deadline, f"{text!r} is not in {self.shown!r}"
            assert self._read() or text in self.shown, f"{text!r} is not in {self.shown!r}"

    def end(self) -> int:
        """Wait until the command has ended, and return its exit code."""
        while self._read():
            pass
        return self.process.wait(_SECONDS)

    def _read(self) -> bool:
        """Take what is shown next; False at the end."""
        ready, _, _ = select.select([self._ours], [], [], _SECONDS)
        assert ready, f"nothing more is shown: {self.shown!r}"
        try:
            shown = os.read(self._ours, 65536)
        except OSError:  # Linux's way to say that the other end is closed
            return False
        self.shown += shown.decode(errors="replace")
        return bool(shown)
