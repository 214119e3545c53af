"""Polls of a real folder, with what was seen in a real Postgres; the time is the test's own."""

import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from sqlalchemy import text

from planasonix_orchestrator.dagster_defs.sensors.arrivals.folder import Folder
from planasonix_orchestrator.dagster_defs.sensors.arrivals.place import Listing, PlaceError
from planasonix_orchestrator.dagster_defs.sensors.arrivals.record import Batch, Connect
from planasonix_orchestrator.dagster_defs.sensors.arrivals.waiting import Arrival, Patience
from planasonix_orchestrator.dagster_defs.sensors.arrivals.watch import Watch
from planasonix_orchestrator.graph.globs import Selection

DAY = 24 * 3600

WatchOf = Callable[..., Watch]


@pytest.fixture
def watch_of(tmp_path: Path, trigger_id: str) -> WatchOf:
    """Makes watches of one trigger over the test's folder: each as a new process would have it."""

    def make(
        *include: str,
        exclude: Sequence[str] = (),
        folder: Path = tmp_path,
        ignore_existing: bool = False,
        **patience: int,
    ) -> Watch:
        return Watch(
            trigger_id,
            place=Folder(folder, Selection(include=include or ["**"], exclude=exclude)),
            patience=Patience(**patience),  # type: ignore[arg-type]
            ignore_existing=ignore_existing,
        )

    return make


def write(folder: Path, *names: str, content: str = "x", modified: int = 1) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(content)
        os.utime(folder / name, (modified, modified))


def names(batches: Sequence[Batch]) -> list[str]:
    """The file names of each batch."""
    return [" ".join(sorted(Path(path).name for path in batch.paths)) for batch in batches]


def take(watch: Watch, connect: Connect, *, at: float = 0) -> list[str]:
    """What a poll wants to start; from now on, as if there were runs for it."""
    batches = watch.poll(connect, at=at).batches
    with connect() as connection:
        for batch in batches:
            connection.execute(
                text("DELETE FROM planasonix.arrival_batches WHERE batch_id = :batch_id"), {"batch_id": batch.batch_id}
            )
    return names(batches)


def test_what_lies_there_is_new_once(tmp_path: Path, watch_of: WatchOf, connect: Connect) -> None:
    """What a trigger finds when it is switched on for the first time starts a run; later only what is new does."""
    write(tmp_path, "a", "x/b")
    watch = watch_of()
    assert take(watch, connect) == ["a b"]
    assert take(watch, connect) == []
    write(tmp_path, "c")
    assert take(watch, connect) == ["c"]
    assert take(watch_of(), connect) == []


def test_paths_are_whole(tmp_path: Path, watch_of: WatchOf, connect: Connect) -> None:
    """A run gets paths that it can open, wherever it works."""
    write(tmp_path, "x/b")
    (batch,) = watch_of().poll(connect, at=0).batches
    assert batch.paths == (str(tmp_path / "x/b"),)


def test_a_rewritten_file_is_new(tmp_path: Path, watch_of: WatchOf, connect: Connect) -> None:
    """By its size or its time; one that becomes again what it was is not."""
    watch = watch_of()
    write(tmp_path, "a", "b")
    assert take(watch, connect) == ["a b"]
    write(tmp_path, "a", content="longer")
    assert take(watch, connect) == ["a"]
    write(tmp_path, "a", content="LONGER", modified=2)
    assert take(watch, connect) == ["a"]
    write(tmp_path, "a")
    assert take(watch, connect) == []
    assert take(watch_of(), connect) == []
    write(tmp_path, "a", modified=3)
    assert take(watch, connect) == ["a"]


def test_what_exists_can_be_ignored(tmp_path: Path, watch_of: WatchOf, connect: Connect) -> None:
    """Only what was there at the very first look, in each place; another process does not look first again."""
    write(tmp_path, "x/a", "y/b")
    assert take(watch_of(folder=tmp_path / "x", ignore_existing=True), connect) == []
    write(tmp_path, "x/c")
    assert take(watch_of(folder=tmp_path / "x", ignore_existing=True), connect) == ["c"]
    assert take(watch_of(folder=tmp_path / "y", ignore_existing=True), connect) == []
    write(tmp_path, "x/a", content="other", modified=2)
    assert take(watch_of(folder=tmp_path / "x", ignore_existing=True), connect) == ["a"]


def test_only_what_counts(tmp_path: Path, watch_of: WatchOf, connect: Connect) -> None:
    """Hidden files, links to folders and what the globs leave out start nothing; links to files do."""
    write(tmp_path, "a.csv", "b.tmp", ".c.csv", "x/d.csv", ".y/e.csv")
    (tmp_path / "link").symlink_to(tmp_path / "x")
    (tmp_path / "f.csv").symlink_to(tmp_path / "b.tmp")
    (tmp_path / "nowhere.csv").symlink_to(tmp_path / "missing")
    assert take(watch_of("**/*.csv", exclude=["x/*"]), connect) == ["a.csv f.csv"]
    assert take(watch_of("**/*.csv", ".y/*"), connect) == ["d.csv e.csv"]


def test_names_that_are_no_text(tmp_path: Path, watch_of: WatchOf, connect: Connect) -> None:
    """They keep nobody waiting, and are told."""
    write(tmp_path, "a")
    Path(os.fsdecode(bytes(tmp_path) + b"/\xff")).touch()
    poll = watch_of().poll(connect, at=0)
    assert names(poll.batches) == ["a"]
    assert poll.unusable == [repr(f"{tmp_path}/\udcff")]


def test_a_batch_is_told_until_it_has_a_run(tmp_path: Path, watch_of: WatchOf, connect: Connect) -> None:
    """Killed between seeing and starting, a process leaves the same batch to the next one, with the same key."""
    write(tmp_path, "a", "b")
    first = watch_of().poll(connect, at=0).batches
    write(tmp_path, "c")
    (tmp_path / "a").unlink()
    second = watch_of().poll(connect, at=1).batches
    assert names(second) == ["a b", "c"]
    assert second[0] == first[0]


def test_two_processes_decide_once(tmp_path: Path, watch_of: WatchOf, connect: Connect) -> None:
    """However they interleave, each file is in one batch."""
    write(tmp_path, *(f"{number:03}" for number in range(300)))
    watches = [watch_of(batch_files=7) for _ in range(4)]
    with ThreadPoolExecutor(len(watches)) as processes:
        list(processes.map(lambda watch: watch.poll(connect, at=0), watches))
    batches = watch_of().poll(connect, at=0).batches
    paths = [path for batch in batches for path in batch.paths]
    assert (len(paths), len(set(paths))) == (300, 300)


def test_a_poll_asks_for_so_much_and_no_more(tmp_path: Path, watch_of: WatchOf, connect: Connect) -> None:
    """At most 100 runs; the oldest first, the others later."""
    write(tmp_path, *(f"{number:03}" for number in range(101)))
    watch = watch_of(batch_files=1)
    assert take(watch, connect) == [f"{number:03}" for number in range(100)]
    assert take(watch, connect) == ["100"]


class Crowd:
    """A place with more files than anybody would want to make for a test."""

    address = "/crowd"
    versions = {f"/crowd/{number:05}": "1" for number in range(10_500)}  # noqa: RUF012

    def look(self, known: Mapping[str, str]) -> Listing:
        arrivals = [Arrival(path, "1", size=1, modified=0) for path in self.versions if path not in known]
        return Listing(versions=self.versions, arrivals=arrivals)


def test_a_poll_asks_for_so_many_files_and_no_more(trigger_id: str, connect: Connect) -> None:
    """At most 10,000, in whole batches; nothing is left out in the end."""
    watch = Watch(trigger_id, place=Crowd(), patience=Patience(batch_files=3000))
    first, second = (watch.poll(connect, at=at).batches for at in (0, 1))
    assert [len(batch.paths) for batch in first] == [3000, 3000, 3000]
    assert first == second
    assert sum(len(files.split()) for files in take(watch, connect, at=2)) == 9000
    assert sum(len(files.split()) for files in take(watch, connect, at=3)) == 1500


def test_what_waits_is_told(tmp_path: Path, watch_of: WatchOf, connect: Connect) -> None:
    """A poll that starts nothing says why."""
    watch = watch_of(stable_seconds=10, detection="size_stable")
    assert watch.poll(connect, at=0).summary == f"0 files in {tmp_path}, none of them new."
    write(tmp_path, "a")
    assert "1 file in" in (summary := watch.poll(connect, at=0).summary)
    assert "1 of them wait" in summary
    assert names(watch.poll(connect, at=10).batches) == ["a"]


def test_what_has_been_gone_for_long_is_forgotten(tmp_path: Path, watch_of: WatchOf, connect: Connect) -> None:
    """Moved away and back within days, a file is known; after a month it is new, and starts another run."""
    write(tmp_path, "a", "b")
    watch = watch_of()
    (before,) = watch.poll(connect, at=0).batches
    (tmp_path / "a").rename(tmp_path.parent / "a")
    assert take(watch, connect, at=DAY) == ["a b"]
    (tmp_path.parent / "a").rename(tmp_path / "a")
    assert take(watch, connect, at=29 * DAY) == []
    (tmp_path / "a").rename(tmp_path.parent / "a")
    assert take(watch, connect, at=30 * DAY + 1) == []
    assert take(watch, connect, at=61 * DAY) == []
    (tmp_path.parent / "a").rename(tmp_path / "a")
    (again,) = watch.poll(connect, at=61 * DAY).batches
    assert names([again]) == ["a"]
    assert again.batch_id != before.batch_id


def test_a_trigger_can_start_over(tmp_path: Path, watch_of: WatchOf, connect: Connect, trigger_id: str) -> None:
    """Once its row is deleted, all is new again, to processes that work meanwhile too; the runs have other keys."""
    write(tmp_path, "a")
    watch = watch_of()
    before = watch.poll(connect, at=0).batches
    with connect() as connection:
        connection.execute(
            text("DELETE FROM planasonix.arrival_triggers WHERE trigger_id = :trigger_id"), {"trigger_id": trigger_id}
        )
    after = watch.poll(connect, at=1).batches
    assert (names(before), names(after)) == (["a"], ["a"])
    assert before[0].batch_id != after[0].batch_id
    assert watch_of().poll(connect, at=2).batches == after


def test_a_folder_that_is_gone(tmp_path: Path, watch_of: WatchOf, connect: Connect) -> None:
    """The poll fails and names it; the next one goes on where the last good one was."""
    folder = tmp_path / "in"
    write(folder, "a")
    watch = watch_of(folder=folder)
    assert take(watch, connect) == ["a"]
    folder.rename(tmp_path / "away")
    with pytest.raises(PlaceError, match=f"{folder}: the folder can't be read: No such file"):
        watch.poll(connect, at=1)
    (tmp_path / "away").rename(folder)
    write(folder, "b")
    assert take(watch, connect) == ["b"]


def test_a_path_longer_than_an_index_takes(tmp_path: Path, watch_of: WatchOf, connect: Connect) -> None:
    """Postgres refuses keys of more than 2.7 kB."""
    deep = Path(*(str(number % 10) * 200 for number in range(17)))
    here = Path.cwd()
    try:
        os.chdir(tmp_path)
        for part in deep.parts:
            Path(part).mkdir()
            os.chdir(part)
        Path("a").touch()
    finally:
        os.chdir(here)
    assert take(watch_of(), connect) == ["a"]
