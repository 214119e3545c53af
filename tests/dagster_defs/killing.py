"""Plays a month of schedules in processes that are killed at random moments; the time between them is lost.

``python -m tests.dagster_defs.killing FOLDER SEED LOOKS FIRST LAST`` works on the pipelines in FOLDER, with the
database that PLANASONIX_POSTGRES_URL names, and kills a process amid one of its first LOOKS looks. It prints as JSON
when each was at work: its first look, and the last that it has begun.
"""

import json
import os
import random
import signal
import sys
import time
import traceback
from collections.abc import Iterator
from datetime import datetime, timedelta
from mmap import mmap
from pathlib import Path

from planasonix_orchestrator.dagster_defs.repository import load_repository
from planasonix_orchestrator.dagster_defs.schedules.times import Rhythm
from planasonix_orchestrator.settings import Settings
from tests.dagster_defs.scheduling import moment, opened_scheduler

_LONGEST_AWAY = timedelta(days=2)
_SIZE = 32
_LONGEST_LOOK = 0.2  # seconds, more or less


class Progress:
    """How far a child has come, shared with its parent: how many looks it has begun, and when the last was."""

    def __init__(self) -> None:
        self._shared = mmap(-1, _SIZE)

    def put(self, looks: int, at: datetime) -> None:
        """Write it down."""
        self._shared[:] = f"{looks} {at.timestamp():.0f}".encode().ljust(_SIZE)

    def get(self) -> tuple[int, datetime]:
        """Return it."""
        looks, at = self._shared[:].decode().split()
        return int(looks), moment("1970-01-01") + timedelta(seconds=float(at))


def looks(folder: Path, *, begin: datetime, end: datetime) -> Iterator[datetime]:
    """Yield when the scheduler looks: at once, and then just after each fire of any schedule."""
    rhythms = [
        Rhythm(cron=each["cronExpression"], timezone=each["timezone"])
        for file in (folder / "pipelines").glob("*.json")
        for each in json.loads(file.read_text())["schedules"]
    ]
    yield begin
    fires = {fire for rhythm in rhythms for fire in rhythm.fires(after=begin, until=end)}
    yield from (fire + timedelta(seconds=1) for fire in sorted(fires))


def play(folder: Path, *, begin: datetime, end: datetime, progress: Progress) -> None:
    """Be the scheduler, until the end or until killed."""
    with opened_scheduler(folder, postgres_url=os.environ["PLANASONIX_POSTGRES_URL"]) as scheduler:
        scheduler.load()
        for number, at in enumerate(looks(folder, begin=begin, end=end)):
            progress.put(number + 1, at)
            scheduler.look(at)


def main(folder: Path, *, seed: int, most_looks: int, begin: datetime, end: datetime) -> list[tuple[str, str]]:
    """Return when the schedulers were at work, one after the other; the last one is not killed."""
    load_repository(
        Settings(pipelines=folder / "pipelines", state=folder / "state")
    )  # its imports are for all children
    chance = random.Random(seed)  # noqa: S311
    at_work: list[tuple[str, str]] = []
    progress = Progress()
    while True:
        progress.put(0, begin)
        child = os.fork()
        if child == 0:
            try:
                play(folder, begin=begin, end=end, progress=progress)
            except BaseException:
                traceback.print_exc()
                os._exit(1)
            os._exit(0)
        looks, seconds = chance.randint(1, most_looks), chance.uniform(0, _LONGEST_LOOK)
        ended = _kill_amid(child, looks=looks, seconds=seconds, progress=progress)
        _, last = progress.get()
        at_work.append((begin.isoformat(), last.isoformat()))
        if ended:
            return at_work
        begin = min(last + chance.choice([timedelta(), chance.random() * _LONGEST_AWAY]), end)


def _kill_amid(child: int, *, looks: int, seconds: float, progress: Progress) -> bool:
    """Kill a child so long after it has begun so many looks; return True if it has ended by itself."""
    deadline = float("inf")
    while time.monotonic() < deadline:
        pid, status = os.waitpid(child, os.WNOHANG)
        if pid != 0:
            if status != 0:
                raise SystemExit("a scheduler has failed")
            return True
        if progress.get()[0] >= looks:
            deadline = min(deadline, time.monotonic() + seconds)
        time.sleep(0.002)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return False


if __name__ == "__main__":
    _, folder_, seed_, looks_, first, last_ = sys.argv
    told = main(Path(folder_), seed=int(seed_), most_looks=int(looks_), begin=moment(first), end=moment(last_))
    sys.stdout.write(json.dumps(told))
