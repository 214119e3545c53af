"""The state directory: who holds it, and how to reach the stack that runs on it."""

import fcntl
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil

from planasonix_orchestrator.runtime.errors import AlreadyRunningError, NotRunningError

LOCK_FILE = "up.lock"
RECORD_FILE = "stack.json"
KEY_FILE = "api-key"  # for its owner alone
# The guard of a killed stack holds the lock for as long as it cleans up.
SECONDS_TO_CLEAN = 15.0


@dataclass(frozen=True, slots=True, kw_only=True)
class StackRecord:
    """What others must know of a running stack; no secret. `embedded`: its Postgres is its own."""

    pipelines: str
    api_url: str
    code_server_port: int
    embedded: bool


@contextmanager
def locked(state: Path) -> Iterator[int]:
    """Hold the state directory alone and yield the lock's descriptor; `AlreadyRunningError` if another holds it.

    The kernel releases the lock when its last holder is gone, so it is never stale.
    """
    state.mkdir(mode=0o700, parents=True, exist_ok=True)  # it holds a key, data, and code that is run
    descriptor = os.open(state / LOCK_FILE, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        _lock(descriptor, state=state)
        os.truncate(descriptor, 0)
        os.pwrite(descriptor, str(os.getpid()).encode(), 0)
        yield descriptor
    finally:
        os.close(descriptor)


def write_record(state: Path, *, record: StackRecord) -> None:
    """Publish how to reach the stack."""
    (state / RECORD_FILE).write_text(json.dumps(asdict(record)), encoding="utf-8")


def read_record(state: Path) -> StackRecord:
    """Return how to reach the stack that runs on this state directory; `NotRunningError` if none does."""
    try:
        descriptor = os.open(state / LOCK_FILE, os.O_RDWR)
    except FileNotFoundError as error:
        raise NotRunningError(state) from error
    try:
        if _try_lock(descriptor):
            raise NotRunningError(state)
    finally:
        os.close(descriptor)
    try:
        text = (state / RECORD_FILE).read_text(encoding="utf-8")
    except FileNotFoundError as error:  # it has only just begun to start
        raise NotRunningError(state) from error
    return StackRecord(**json.loads(text))


def _lock(descriptor: int, *, state: Path) -> None:
    deadline = time.monotonic() + SECONDS_TO_CLEAN
    while not _try_lock(descriptor):
        pid = int(os.pread(descriptor, 20, 0) or b"0")
        if _is_alive(pid) or time.monotonic() > deadline:
            raise AlreadyRunningError(state, pid=pid)
        time.sleep(0.1)


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _is_alive(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
