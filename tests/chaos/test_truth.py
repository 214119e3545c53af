"""What chaos holds against a stack: each of its checks is shown a lie, and tells it."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from types import SimpleNamespace
from typing import cast
from uuid import uuid4

import duckdb
import psutil
import psycopg2
import pytest

from planasonix_orchestrator.contract.ids import encode_run_id
from planasonix_orchestrator.run_host.processes import ProcessId
from planasonix_orchestrator.run_host.run_folders import RunFolders
from tests.chaos import callers, truth
from tests.chaos.callers import Callers
from tests.chaos.faults import Saboteur
from tests.chaos.history import AskedRun, History
from tests.chaos.pipelines import BY_ID, SETUP, TABLE
from tests.chaos.truth import Truth
from tests.conftest import database
from tests.runtime.stack import Stack

ROWS = 4
WRITE = replace(BY_ID["pl_write"], table_rows=ROWS, file_rows=ROWS)
SLEEP = "import time; time.sleep(600)"


@dataclass
class Scene:
    """What a stack would have left behind that executed one run, and the run as the API has told of it."""

    url: str
    folder: Path
    run: AskedRun
    history: History
    processes: list[psutil.Process]
    supervisor: int

    @property
    def uuid(self) -> str:
        """The run's id in Dagster."""
        return self.run.tag

    @property
    def file(self) -> Path:
        """The file that the run has written."""
        return self.folder / "pipelines" / "out" / f"{self.run.tag}.parquet"

    @property
    def stack(self) -> Stack:
        """As much of a stack as the checks look at."""
        pid = self.supervisor
        return cast(
            "Stack",
            SimpleNamespace(
                state=self.folder / "state",
                pipelines=self.folder / "pipelines",
                process=SimpleNamespace(pid=pid),
                processes=lambda: self.processes,
                parts={"api": {"url": "http://127.0.0.1:1"}},
                headers={},
            ),
        )

    def execute(self, statement: str, *values: object) -> None:
        """Change the database."""
        with closing(psycopg2.connect(self.url)) as connection, connection.cursor() as cursor:
            connection.autocommit = True
            cursor.execute(statement, values)

    def put_rows(self, rows: int) -> None:
        """Have so many rows in the table."""
        self.execute(f"DELETE FROM {TABLE}")
        self.execute(f"INSERT INTO {TABLE} SELECT %s, g FROM generate_series(1, %s) AS g", self.run.tag, rows)

    def put_file(self, rows: int) -> None:
        """Have so many rows in the file."""
        with duckdb.connect() as engine:
            engine.execute(f"COPY (FROM range({rows})) TO '{self.file}' (FORMAT parquet)")

    def start(self) -> None:
        """Have the run begin."""
        self.execute(
            "INSERT INTO event_logs (run_id, event, dagster_event_type) VALUES (%s, '{}', 'PIPELINE_START')", self.uuid
        )

    def note(self) -> None:
        """Have a node note that its work begins."""
        with (self.folder / "pipelines" / "notes.txt").open("a") as notes:
            notes.write(f"{self.uuid} began\n")

    def violations(self) -> list[str]:
        """What is held against all this."""
        self.truth.check()
        return self.history.violations

    @cached_property
    def truth(self) -> Truth:
        """Which checks each run once."""
        saboteur = cast("Saboteur", SimpleNamespace(postgres_url=lambda: self.url, zygote=lambda: None))
        return Truth(self.stack, saboteur, self.history)


@contextmanager
def sleeping_process() -> Iterator[psutil.Process]:
    """A process that does nothing, while the block runs."""
    with subprocess.Popen([sys.executable, "-c", SLEEP]) as process:
        yield psutil.Process(process.pid)
        process.kill()


@pytest.fixture
def scene(
    tmp_path: Path, postgres_server: str, dagster_tables: str, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Scene]:
    """A run that has succeeded, once, with all of its rows, and has left nothing."""
    monkeypatch.setattr(truth, "_SECONDS_TO_CLEAN_UP", 0.0)
    for folder in ("state/runs", "state/spill", "pipelines/out"):
        (tmp_path / folder).mkdir(parents=True)
    uuid = str(uuid4())
    history = History()
    run = AskedRun(tag=uuid, pipeline=WRITE, run_id=encode_run_id(uuid))
    history.add(run)
    history.see(run, "succeeded", asked_at=history.now())
    with database(postgres_server, like=dagster_tables) as url, sleeping_process() as supervisor:
        made = Scene(url=url, folder=tmp_path, run=run, history=history, processes=[], supervisor=supervisor.pid)
        for statement in SETUP[:2]:
            made.execute(statement)
        made.put_rows(ROWS)
        made.put_file(ROWS)
        made.start()
        made.note()
        yield made


def test_the_truth_is_no_violation(scene: Scene) -> None:
    """Nor is a run that has failed with none of its rows, or all: its destination came before another node failed."""
    assert scene.violations() == []
    for rows in (0, ROWS):
        failed = AskedRun(tag=str(uuid4()), pipeline=WRITE, run_id=encode_run_id(str(uuid4())))
        scene.history.add(failed)
        scene.history.see(failed, "failed", asked_at=scene.history.now())
        scene.execute(f"INSERT INTO {TABLE} SELECT %s, g FROM generate_series(1, %s) AS g", failed.tag, rows)
        assert scene.violations() == []


def _fail_half_way(scene: Scene) -> None:
    scene.run.seen[:] = [(0.0, "failed")]
    scene.put_rows(1)


LIES: dict[str, tuple[Callable[[Scene], object], str]] = {
    "rows missing after success": (lambda scene: scene.put_rows(ROWS - 1), "has 3 rows in the table"),
    "no rows after success": (lambda scene: scene.put_rows(0), "has 0 rows in the table"),
    "rows twice": (lambda scene: scene.put_rows(2 * ROWS), "has 8 rows in the table"),
    "a part of the rows after failure": (_fail_half_way, "has 1 rows in the table"),
    "no file after success": (lambda scene: scene.file.unlink(), "has succeeded without"),
    "half a file": (lambda scene: scene.put_file(2), "has 2 rows in"),
    "executed twice": (lambda scene: scene.start(), "was executed 2 times"),
    "worked twice": (lambda scene: scene.note(), "its work began 2 times"),
    "success of what can't succeed": (
        lambda scene: setattr(scene.run, "pipeline", replace(WRITE, can_succeed=False)),
        "has succeeded, which it can't",
    ),
    "a run's folder": (lambda scene: (scene.folder / "state" / "runs" / "x").mkdir(), "left: "),
    "spilled rows": (lambda scene: (scene.folder / "state" / "spill" / "x").touch(), "left: "),
    "half-written file": (lambda scene: (scene.folder / "pipelines" / "out" / "x.part").touch(), "left: "),
}


@pytest.mark.parametrize("lie", LIES)
def test_each_lie_is_found(lie: str, scene: Scene) -> None:
    """It is the only thing that is held against the run."""
    tell, said = LIES[lie]
    tell(scene)
    (violation,) = scene.violations()
    assert said in violation


def test_an_orphan_is_found(scene: Scene) -> None:
    """A process of the stack that its supervisor has not started."""
    with sleeping_process() as orphan:
        scene.processes.append(orphan)
        (violation,) = scene.violations()
    assert f"left: process {orphan.pid}" in violation


def test_what_the_api_takes_back_is_found(scene: Scene) -> None:
    """An end is final, and so is an accepted cancellation."""
    scene.history.see(scene.run, "running", asked_at=scene.history.now())
    promised = AskedRun(tag="promised", pipeline=WRITE, run_id="run_promised", cancel_stands=True)
    scene.history.see(promised, "failed", asked_at=scene.history.now())
    taken_back, broken = scene.history.violations
    assert "was succeeded and is running" in taken_back
    assert "is failed, but its cancellation was accepted" in broken


def test_a_run_without_a_process_is_found(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """It may read running for a while after its process has ended, and no longer."""
    run = AskedRun(tag="alone", pipeline=WRITE, run_id=scene.run.run_id)
    scene.history.see(run, "running", asked_at=scene.history.now())
    watching = Callers(scene.stack, scene.history, seed=1)
    folder = RunFolders(scene.folder / "state" / "runs").of(scene.uuid)
    me = ProcessId.of(os.getpid())
    assert me is not None
    folder.assign(me)
    watching._look_for_process(run)
    assert run.alone_since is None
    (folder.path / "process").unlink()
    for _ in range(2):
        watching._look_for_process(run)
    assert scene.history.violations == []
    monkeypatch.setattr(callers, "_SECONDS_WITHOUT_PROCESS", 0.0)
    watching._look_for_process(run)
    (violation,) = scene.history.violations
    assert "reads running without a process" in violation
