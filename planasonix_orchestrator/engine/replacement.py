"""Files and folders replaced all at once: written beside the target, then moved into its place."""

import ctypes
import errno
import fcntl
import json
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from planasonix_orchestrator.engine.stopping import last_stop
from planasonix_orchestrator.errors import NodeError

_PART = ".part"
_RENAME_EXCHANGE = 2
_AT_FDCWD = -100

_journal: Path | None = None


def journal_parts(journal: Path) -> None:
    """Note each part that this process begins in `journal`, a line of JSON each.

    A process that is killed leaves its parts behind; who watches over it can so find and remove them at once.
    """
    global _journal  # of the process, as what it leaves behind is
    _journal = journal


@contextmanager
def replaced_file(target: Path) -> Iterator[Path]:
    """Lend an empty file beside the target; when the block ends well, it takes the target's place in one step.

    If the block raises, or the process dies, the target stays as it was. What a killed process left behind is removed
    by the next write to the same target. Two writers at once don't meet; the last to finish wins.
    """
    if target.is_dir():
        raise NodeError(f"{target} is a folder", hint="name a file to write")
    target = _prepared(target)
    with _locked_part(target, folder=False) as part:
        yield part
        if target.exists():
            shutil.copymode(target, part)
        _sync(part)
        last_stop()
        part.replace(target)
        _sync(target.parent)


@contextmanager
def replaced_folder(target: Path, *, suffix: str) -> Iterator[Path]:
    """Lend an empty folder beside the target; when the block ends well, the two change places in one step.

    As `replaced_file`. A folder that holds anything but files ending in `suffix`, in folders such as `year=2013`, is
    not ours to replace: `NodeError`.
    On a file system that can't exchange two folders, the old one is moved aside first: a process killed between these
    two moves leaves no target, and the next write brings the old one back before it starts.
    """
    target = _prepared(target)
    _refuse_foreign(target, suffix=suffix)
    with _locked_part(target, folder=True) as part:
        yield part
        for path in sorted(part.rglob("*")):
            _sync(path)
        _sync(part)
        last_stop()
        if not target.exists():
            part.rename(target)
        else:
            _exchange(part, target)  # the old folder is now the part, and goes with it
        _sync(target.parent)


def _prepared(target: Path) -> Path:
    target = target.resolve()  # a symbolic link stays, its target is replaced
    target.parent.mkdir(parents=True, exist_ok=True)
    _clean(target)
    return target


def _refuse_foreign(target: Path, *, suffix: str) -> None:
    if not target.exists():
        return
    if not target.is_dir():
        raise NodeError(f"{target} is a file, not a folder", hint="remove it, or write to another path")
    for path in target.rglob("*"):
        ours = "=" in path.name if path.is_dir() else path.suffix == suffix and path.parent != target
        if not ours:
            raise NodeError(
                f"{target} would be replaced, but holds more than partitions: {path.relative_to(target)}",
                hint="write to a folder of its own",
            )


@contextmanager
def _locked_part(target: Path, *, folder: bool) -> Iterator[Path]:
    """Make the part and hold a lock on it: one without a lock belongs to a process that is gone."""
    while True:
        part = target.with_name(f".{target.name}.{secrets.token_hex(8)}{_PART}")
        _note(part)
        if folder:
            part.mkdir()
        descriptor = os.open(part, os.O_RDONLY if folder else os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o666)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        if part.exists():  # else another writer took it for a leftover before it was locked
            break
        os.close(descriptor)
    try:
        yield part
    finally:
        _remove(part)
        os.close(descriptor)


def _note(part: Path) -> None:
    if _journal is None:
        return
    descriptor = os.open(_journal, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        os.write(descriptor, (json.dumps(str(part)) + "\n").encode())
    finally:
        os.close(descriptor)


def _clean(target: Path) -> None:
    """Remove the parts of dead writers, and bring back a folder that one of them had moved aside."""
    for part in target.parent.glob(f".{_escaped(target.name)}.*{_PART}"):
        try:
            descriptor = os.open(part, os.O_RDONLY)
        except FileNotFoundError:
            continue
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            _remove(part)
        except BlockingIOError:
            continue  # its writer lives
        finally:
            os.close(descriptor)
    aside = _aside(target)
    if aside.exists():
        if target.exists():
            _remove(aside)
        else:
            aside.rename(target)


def _escaped(name: str) -> str:
    return "".join(f"[{character}]" if character in "*?[" else character for character in name)


def _aside(target: Path) -> Path:
    return target.with_name(f".{target.name}.aside")


def _exchange(part: Path, target: Path) -> None:
    if not _exchange_in_one_step(part, target):
        aside = _aside(target)
        target.rename(aside)
        part.rename(target)
        _remove(aside)


def _exchange_in_one_step(one: Path, other: Path) -> bool:
    """Swap two names by renameat2(2); False where the system or the file system does not have it."""
    renameat2 = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if renameat2 is None:
        return False
    if renameat2(_AT_FDCWD, os.fsencode(one), _AT_FDCWD, os.fsencode(other), _RENAME_EXCHANGE) == 0:
        return True
    number = ctypes.get_errno()
    if number in {errno.ENOSYS, errno.EINVAL, errno.ENOTSUP}:
        return False
    raise OSError(number, os.strerror(number), str(one), None, str(other))


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
