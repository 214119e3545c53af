"""The limits of the queue, as the files say at this moment."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from planasonix_orchestrator.graph.queue_limits import FolderLimits, QueueLimits

ENVIRONMENTS = """
default: test
environments:
  test: {maxConcurrentRuns: 2}
  prod: {}
"""


class Clock:
    """Time that passes when a test says so."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def write(file: Path, **document: Any) -> None:
    file.parent.mkdir(exist_ok=True)
    file.write_text(json.dumps({"id": f"pl_{file.stem}", "name": file.stem, "nodes": [], **document}))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with limits of two pipelines and of one environment."""
    write(tmp_path / "a.json", maxConcurrentRuns=1)
    write(tmp_path / "sub" / "b.json", maxConcurrentRuns=3)
    write(tmp_path / "c.json")
    write(tmp_path / ".hidden" / "d.json", maxConcurrentRuns=4)
    (tmp_path / "environments.yaml").write_text(ENVIRONMENTS)
    return tmp_path


def test_limits_stand_in_the_files(folder: Path) -> None:
    """Those of pipelines by their id, those of environments, and the default one."""
    assert FolderLimits(folder).read() == QueueLimits(
        by_pipeline={"pl_a": 1, "pl_b": 3}, by_environment={"test": 2}, default_environment="test"
    )
    assert FolderLimits(folder / "nowhere").read() == QueueLimits()


def test_a_document_need_not_be_right(folder: Path) -> None:
    """Its runs may be in the queue all the same; what is no limit is none."""
    write(folder / "a.json", maxConcurrentRuns=1, colour="red", nodes=5)
    for number, limit in enumerate((0, -1, True, "2", None, [1])):
        write(folder / f"wrong{number}.json", maxConcurrentRuns=limit)
    (folder / "list.yaml").write_text("[maxConcurrentRuns]")
    (folder / "environments.yaml").write_text("environments: {test: {maxConcurrentRuns: 5, colour: red}, prod: no}")
    limits = FolderLimits(folder).read()
    assert (limits.by_pipeline, limits.by_environment) == ({"pl_a": 1, "pl_b": 3}, {"test": 5})


def test_a_change_is_seen_a_second_later(folder: Path) -> None:
    """A changed, a new and a removed file; until then, and without any change, nothing is read."""
    clock = Clock()
    limits = FolderLimits(folder, clock=clock)
    first = limits.read()
    write(folder / "a.json", maxConcurrentRuns=7)
    write(folder / "new.json", maxConcurrentRuns=8)
    (folder / "sub" / "b.json").unlink()
    (folder / "environments.yaml").unlink()
    clock.now = 0.9
    assert limits.read() is first
    clock.now = 1.0
    second = limits.read()
    assert second == QueueLimits(by_pipeline={"pl_a": 7, "pl_new": 8})
    clock.now = 2.0
    assert limits.read() is second


def test_a_file_that_is_being_written_keeps_its_limits(folder: Path) -> None:
    """An editor that has written half of it sets no run free."""
    clock = Clock()
    limits = FolderLimits(folder, clock=clock)
    first = limits.read()
    (folder / "a.json").write_text('{"id": "pl_a", "maxConcurrentRuns": ')
    (folder / "environments.yaml").write_text("environments: {test: {maxConc")
    clock.now = 1.0
    assert limits.read() == first
    write(folder / "a.json", maxConcurrentRuns=2)
    clock.now = 2.0
    assert limits.read().by_pipeline == {"pl_a": 2, "pl_b": 3}


def test_a_file_that_looks_the_same_is_not_read_again(folder: Path) -> None:
    """The folder may hold a thousand of them."""
    clock = Clock()
    limits = FolderLimits(folder, clock=clock)
    first = limits.read()
    status = (folder / "a.json").stat()
    write(folder / "a.json", maxConcurrentRuns=9)
    os.utime(folder / "a.json", ns=(status.st_atime_ns, status.st_mtime_ns))
    clock.now = 1.0
    assert limits.read() is first
    os.utime(folder / "a.json", (1, 1))
    clock.now = 2.0
    assert limits.read().by_pipeline["pl_a"] == 9


def test_a_yaml_file_is_read_as_far_as_its_limit(folder: Path) -> None:
    """What comes behind does not matter, a key of the same name in some part of it neither."""
    (folder / "d.yaml").write_text("id: pl_d\nnodes: [{maxConcurrentRuns: 5}]\nmaxConcurrentRuns: 4\nedges: [")
    (folder / "e.yaml").write_text("id: pl_e\nnodes: [{maxConcurrentRuns: 5}]\n")
    assert FolderLimits(folder).read().by_pipeline == {"pl_a": 1, "pl_b": 3, "pl_d": 4}
