"""The stack under the demo: `planasonix up` as a child process, stopped whatever happens."""

import json
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from queue import Empty, Queue
from typing import Any

import httpx

PLANASONIX = Path(sys.executable).with_name("planasonix")
SECONDS_TO_START = 180
SECONDS_TO_STOP = 30


class StackError(Exception):
    """The stack did not come up, or could not be asked."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stack:
    """A running stack: where its API and the Dagster UI answer, the key of the API, and the URL of its Postgres."""

    api_url: str
    api_key: str = field(repr=False)
    dagster_url: str
    postgres_url: str

    def client(self) -> httpx.Client:
        """Return a client of the API that sends the key."""
        headers = {"Authorization": f"Bearer {self.api_key}"}
        return httpx.Client(base_url=self.api_url, headers=headers, timeout=30)


@contextmanager
def running_stack(*, pipelines: Path, state: Path) -> Iterator[Stack]:
    """Start the stack on free ports, wait until it is ready, lend it, and stop it at the end."""
    command = [
        str(PLANASONIX),
        "up",
        "--json",
        "--port",
        "0",
        "--dagster-port",
        "0",
        "--pipelines",
        str(pipelines),
        "--state",
        str(state),
    ]
    # A session of its own: Ctrl-C reaches the demo alone, which then stops the stack in good order.
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True) as process:
        try:
            yield _stack(_ready(process), state=state)
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(SECONDS_TO_STOP)
            except subprocess.TimeoutExpired:
                process.kill()


def environment(state: Path) -> dict[str, str]:
    """Return the variables that `planasonix env` exports for the stack that runs on this state directory."""
    command = [str(PLANASONIX), "env", "--state", str(state)]
    # The shell undoes its own quoting; the values come back separated by NUL.
    script = f'eval "$({" ".join(repr(word) for word in command)})" && env -0'
    done = subprocess.run(["/bin/sh", "-c", script], capture_output=True, text=True, check=False)
    if done.returncode:
        raise StackError(f"planasonix env failed: {done.stderr.strip()}")
    return dict(line.split("=", 1) for line in done.stdout.split("\0") if "=" in line)


def _ready(process: subprocess.Popen[str]) -> dict[str, Any]:
    lines: Queue[str] = Queue()

    def read() -> None:
        for line in process.stdout or ():
            lines.put(line)
        lines.put("")

    threading.Thread(target=read, daemon=True).start()
    try:
        line = lines.get(timeout=SECONDS_TO_START)
    except Empty as error:
        raise StackError(f"planasonix up was not ready after {SECONDS_TO_START} s") from error
    if not line:
        raise StackError(f"planasonix up ended with exit code {process.wait()} before it was ready")
    ready: dict[str, Any] = json.loads(line)
    return ready


def _stack(ready: dict[str, Any], *, state: Path) -> Stack:
    urls = {part["name"]: part["url"] for part in ready["parts"]}
    return Stack(
        api_url=urls["api"],
        api_key=(state / "api-key").read_text(encoding="ascii").strip(),
        dagster_url=urls["webserver"],
        postgres_url=environment(state)["PLANASONIX_POSTGRES_URL"],
    )
