"""How long a poll of a folder takes whose 100,000 files are all known, beside a bare look at each of them."""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dagster import DagsterInstance

from benchmarks.frame import Case, Goal, Sides, Site, seconds, typical
from benchmarks.record.server import write_home
from planasonix_orchestrator.dagster_defs.sensors.arrivals.folder import Folder
from planasonix_orchestrator.dagster_defs.sensors.arrivals.waiting import Patience
from planasonix_orchestrator.dagster_defs.sensors.arrivals.watch import Watch
from planasonix_orchestrator.graph.globs import Selection
from planasonix_orchestrator.runtime.leftovers import guarded
from planasonix_orchestrator.runtime.postgres import EmbeddedPostgres

FILES = 100_000


@contextmanager
def build(site: Site) -> Iterator[Sides]:
    """Make the files, have one poll see them all and take what it ignores as known, and check the next ones.

    Dagster's tables, and ours, are in a Postgres of the case's own, through the connections that a code server has.
    """
    folder = site.folder("folder_polls")
    files = make_files(folder / "files")
    postgres = EmbeddedPostgres(folder / "postgres")
    with guarded(folder):
        postgres.start(log=folder / "postgres.log")
        try:
            write_home(folder / "home", url=postgres.url())
            with DagsterInstance.from_config(str(folder / "home")) as instance:
                yield _sides(files, instance=instance)
        finally:
            postgres.stop()


def _sides(files: Path, *, instance: DagsterInstance) -> Sides:
    def watch() -> Watch:
        place = Folder(files, Selection(include=["**/*.csv"], exclude=["**/*.tmp"]))
        return Watch("trg_bench", place=place, patience=Patience(), ignore_existing=True)

    connect = instance.run_storage.connect  # type: ignore[attr-defined]
    ours, restarted = watch(), watch()
    ours.poll(connect, at=time.time())
    details = {
        "first poll of a new process (s)": seconds(lambda: restarted.poll(connect, at=time.time())),
        "daily poll that tidies up (s)": seconds(lambda: restarted.poll(connect, at=time.time() + 24 * 3600)),
    }
    poll = ours.poll(connect, at=time.time())
    assert f"{FILES:,} files" in poll.summary, poll.summary
    assert not poll.batches
    assert look(files) == FILES

    return Sides(
        ours=lambda: typical(lambda: ours.poll(connect, at=time.time()), times=5, within=3),
        limit=lambda: typical(lambda: look(files), times=5, within=3),
        details=lambda: details,
    )


def look(folder: Path) -> int:
    """Ask the system for the names of the files and for the size and time of each; nothing else tells versions."""
    number = 0
    with os.scandir(folder) as entries:
        for entry in entries:
            entry.stat()
            number += 1
    return number


def make_files(folder: Path) -> Path:
    """Return the folder with the files, made now unless they are there."""
    folder.mkdir(parents=True, exist_ok=True)
    if look(folder) != FILES:
        for number in range(FILES):
            (folder / f"orders-{number:06}.csv").touch()
    return folder


FOLDER_POLL = Case(
    name="folder_poll",
    title=f"a poll of a folder of {FILES:,} files, all of them known",
    goal=Goal(figure=1.0),
    build=build,
)
