"""When files are complete, and which of them one run is for; the time is the test's own."""

import pytest

from planasonix_orchestrator.dagster_defs.sensors.arrivals.waiting import Arrival, Detection, Patience, Waiting


def arrival(path: str, *, size: int = 1, modified: float = 0) -> Arrival:
    return Arrival(path, f"{modified}-{size}", size, modified)


def names(batches: object) -> list[str]:
    return [" ".join(each.path for each in batch) for batch in batches]  # type: ignore[attr-defined]


def test_at_first_sight() -> None:
    """`first_seen` starts with what it sees, be it a moment old."""
    waiting = Waiting(Patience(detection="first_seen", stable_seconds=10))
    assert names(waiting.look([arrival("a", modified=100)], at=100)) == ["a"]


def test_a_file_that_grows_is_not_complete() -> None:
    """`size_stable` counts anew when the size changes, and heeds nothing else."""
    waiting = Waiting(Patience(detection="size_stable", stable_seconds=10))
    assert names(waiting.look([arrival("a", size=1)], at=0)) == []
    assert names(waiting.look([arrival("a", size=2)], at=9)) == []
    assert names(waiting.look([arrival("a", size=2, modified=15)], at=18.9)) == []
    assert len(waiting) == 1
    (batch,) = waiting.look([arrival("a", size=2, modified=15)], at=19)
    assert batch == [arrival("a", size=2, modified=15)]


def test_a_file_that_is_written_to_is_not_complete() -> None:
    """`mtime_stable` goes by the file's own time, where that is not ahead of ours."""
    waiting = Waiting(Patience(detection="mtime_stable", stable_seconds=10))
    files = [arrival("old", modified=80), arrival("new", modified=95), arrival("ahead", modified=500)]
    assert names(waiting.look(files, at=100)) == ["old"]
    assert names(waiting.look(files[1:], at=105)) == ["new"]
    assert names(waiting.look(files[2:], at=109)) == []
    assert names(waiting.look(files[2:], at=110)) == ["ahead"]
    assert names(waiting.look([arrival("ahead", modified=501)], at=111)) == []


@pytest.mark.parametrize("detection", ["size_stable", "mtime_stable"])
def test_without_seconds_nothing_waits(detection: Detection) -> None:
    """`stableSeconds: 0` is as good as `first_seen`."""
    waiting = Waiting(Patience(detection=detection))
    assert names(waiting.look([arrival("a", modified=100)], at=100)) == ["a"]


def test_a_batch_stays_open_for_its_seconds() -> None:
    """Counted from when its first file was complete; then all that are complete go together, in that order."""
    waiting = Waiting(Patience(detection="size_stable", stable_seconds=5, batch_seconds=10))
    assert names(waiting.look([arrival("b")], at=0)) == []
    assert names(waiting.look([arrival("b"), arrival("a")], at=5)) == []
    assert names(waiting.look([arrival("b"), arrival("a"), arrival("late")], at=14)) == []
    assert names(waiting.look([arrival("b"), arrival("a"), arrival("late")], at=15)) == ["b a"]


def test_a_full_batch_does_not_wait() -> None:
    """No run gets more than `batchFiles`; what is left over waits on."""
    waiting = Waiting(Patience(batch_seconds=10, batch_files=2))
    assert names(waiting.look([arrival("a")], at=0)) == []
    files = [arrival(name) for name in "abcde"]
    assert names(waiting.look(files, at=1)) == ["a b", "c d"]
    assert names(waiting.look(files[4:], at=10)) == []
    assert names(waiting.look(files[4:], at=11)) == ["e"]


def test_without_a_window_all_start_at_once() -> None:
    """In runs of `batchFiles`, or of a thousand."""
    files = [arrival(f"{number:04}") for number in range(1001)]
    assert [len(batch) for batch in Waiting(Patience(batch_files=400)).look(files, at=0)] == [400, 400, 201]
    assert [len(batch) for batch in Waiting(Patience()).look(files, at=0)] == [1000, 1]


def test_what_was_due_stays_due_until_it_is_taken() -> None:
    """Deciding may fail; a file that is gone waits no longer."""
    waiting = Waiting(Patience())
    assert names(waiting.look([arrival("a"), arrival("b")], at=0)) == ["a b"]
    assert names(waiting.look([arrival("a")], at=1)) == ["a"]
    assert waiting.look([], at=2) == []
    assert len(waiting) == 0
