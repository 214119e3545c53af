"""What is true, seen past the API: rows, files, events, processes; and what it says of what the API has said."""

import time
from collections import Counter
from contextlib import closing
from pathlib import Path

import duckdb
import psutil
import psycopg2

from planasonix_orchestrator.contract.ids import decode_run_id
from tests.chaos.faults import Saboteur
from tests.chaos.history import AskedRun, History
from tests.chaos.pipelines import TABLE
from tests.runtime.stack import Stack

_SECONDS_TO_CLEAN_UP = 20.0
_MOST_WARM = 3  # two, and one that takes the place of one that was just used


class Truth:
    """Compares what there is with what there should be, once no run is open."""

    def __init__(self, stack: Stack, saboteur: Saboteur, history: History) -> None:
        self._stack = stack
        self._saboteur = saboteur
        self._history = history
        self._checked: set[str] = set()

    def check(self) -> None:
        """Check all runs that have ended since the last time, and that nothing is left of any."""
        runs = [run for run in self._history.all_runs() if run.tag not in self._checked]
        rows, starts = self._read()
        noted = self._noted()
        for run in runs:
            self._checked.add(run.tag)
            self._check_rows(run, rows.get(run.tag, 0))
            self._check_file(run)
            uuid = decode_run_id(run.run_id)
            if starts.get(uuid, 0) > 1 or noted.get(uuid, 0) > 1:
                self._violate(
                    run, f"was executed {starts.get(uuid, 0)} times, its work began {noted.get(uuid, 0)} times"
                )
        deadline = time.monotonic() + _SECONDS_TO_CLEAN_UP
        while (left := self.left()) and time.monotonic() < deadline:
            time.sleep(0.2)
        for each in left:
            self._history.violate(f"left: {each}")

    def _check_rows(self, run: AskedRun, rows: int) -> None:
        allowed = {run.pipeline.table_rows} if run.status == "succeeded" else {0, run.pipeline.table_rows}
        if rows not in allowed:
            self._violate(run, f"is {run.status} and has {rows} rows in the table")
        if run.status == "succeeded" and not run.pipeline.can_succeed:
            self._violate(run, "has succeeded, which it can't")

    def _check_file(self, run: AskedRun) -> None:
        if run.pipeline.file is None:
            return
        path = self._stack.pipelines / "out" / run.pipeline.file.format(run.tag)
        if path.exists():
            rows = _rows_of(path)
            if rows != run.pipeline.file_rows:
                self._violate(run, f"is {run.status} and has {rows} rows in {path.name}")
            path.unlink()
        elif run.status == "succeeded":
            self._violate(run, f"has succeeded without {path.name}")

    def _violate(self, run: AskedRun, what: str) -> None:
        self._history.violate(f"{run.pipeline.name} {run.run_id} {what}")

    def _read(self) -> tuple[dict[str, int], dict[str, int]]:
        with closing(psycopg2.connect(self._saboteur.postgres_url())) as connection, connection.cursor() as cursor:
            cursor.execute(f"SELECT run, count(*) FROM {TABLE} GROUP BY run")
            rows = {str(run): int(number) for run, number in cursor.fetchall()}
            cursor.execute(
                "SELECT run_id, count(*) FROM event_logs WHERE dagster_event_type = 'PIPELINE_START' GROUP BY run_id"
            )
            return rows, {str(run): int(number) for run, number in cursor.fetchall()}

    def _noted(self) -> Counter[str]:
        try:
            lines = (self._stack.pipelines / "notes.txt").read_text().splitlines()
        except FileNotFoundError:
            return Counter()
        return Counter(line.split()[0] for line in lines if line.split()[1] == "began")

    def left(self) -> list[str]:
        """What there is that should not be, now that no run is open."""
        folders = (self._stack.state / "runs", self._stack.state / "spill")
        found = [str(path) for folder in folders if folder.exists() for path in folder.iterdir()]
        found += [str(path) for path in self._stack.pipelines.rglob("*.part")]
        return found + [f"process {each.pid} {_command(each)}" for each in self._orphans()]

    def _orphans(self) -> list[psutil.Process]:
        """The processes of the stack that belong neither to a part nor to the warm workers of the host."""
        try:
            zygote = self._saboteur.zygote()
            warm = zygote.children(recursive=True) if zygote else []
            wanted = {each.pid for each in psutil.Process(self._stack.process.pid).children(recursive=True)}
        except psutil.NoSuchProcess:
            return []
        orphans = [each for each in self._stack.processes() if each.pid not in wanted and "postgres" not in _name(each)]
        return orphans + (warm if len(warm) > _MOST_WARM else [])


def _rows_of(path: Path) -> int:
    with duckdb.connect() as database:
        ((rows,),) = database.execute(f"SELECT count(*) FROM '{path}'").fetchall()
        return int(rows)


def _command(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())[:200]
    except psutil.Error:
        return "(gone)"


def _name(process: psutil.Process) -> str:
    try:
        return process.name()
    except psutil.Error:
        return ""
