"""The bench of the cancel matrix: runs of each kind of work, and a look at what is left of them: nothing."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from planasonix_orchestrator.run_host.run_folders import RunFolders
from tests.conftest import superuser
from tests.run_host.hosted import Hosted, pipeline, wait_until
from tests.run_host.kinds import Kind

Runs = Mapping[Kind, str]  # the run of each kind

CONNECTIONS = "connections: {conn_pg: {type: postgres, url: {env: PLANASONIX_POSTGRES_URL}}}"
_TABLES = ("target", "emptied")
_BEFORE = "what was there before"
_SECONDS_TO_WORK = 90.0
_SECONDS_TO_END = 60.0


@dataclass(frozen=True, slots=True)
class Bench:
    """A run host, with a folder of pipelines and a database whose state before each run is known."""

    host: Hosted
    grace_seconds: float
    asked: dict[str, float] = field(default_factory=dict)  # by run: when its cancellation was asked for
    ended: dict[str, float] = field(default_factory=dict)  # by run: when it was first seen as canceled

    def prepare(self) -> None:
        """Make the destinations, and open the gate."""
        folder = self.host.settings.pipelines
        (folder / "connections.yaml").write_text(CONNECTIONS)
        (folder / "out").mkdir()
        (folder / "out" / "target.parquet").write_text(_BEFORE)
        with superuser(str(self.host.settings.postgres_url)) as cursor:
            cursor.execute("CREATE TABLE gate AS SELECT 1 AS open")
            for table in _TABLES:
                cursor.execute(f"CREATE TABLE {table} AS SELECT 1::bigint AS n, 1::double precision AS v")
        self.open_gate(is_open=True)

    def open_gate(self, *, is_open: bool) -> None:
        """Let attempts succeed, or have them fail."""
        unfinished = self.host.settings.pipelines / "gate.new"
        unfinished.write_text("open" if is_open else "closed")
        unfinished.replace(self.host.settings.pipelines / "gate.txt")
        with superuser(str(self.host.settings.postgres_url)) as cursor:
            cursor.execute(f"UPDATE gate SET open = {int(is_open)}")

    def submit(self, kinds: Sequence[Kind], **options: Any) -> Runs:
        """Queue a run of each kind."""
        return {kind: self.host.submit(kind.document(**options)) for kind in kinds}

    def pid(self, run_id: str) -> int | None:
        """The process that the host has given a run."""
        process = RunFolders(self.host.settings.runs).of(run_id).process
        return process.pid if process else None

    def until_at_work(self, runs: Runs) -> None:
        """Wait until each run does what its kind does."""
        for kind, run_id in runs.items():
            story = lambda run_id=run_id: self.host.story(run_id)  # noqa: E731
            wait_until(lambda: self.is_at_work(kind, run_id), seconds=_SECONDS_TO_WORK, what=story)  # noqa: B023

    def is_at_work(self, kind: Kind, run_id: str) -> bool:
        """Whether a run does what its kind does."""
        if kind.file is not None:
            return any((self.host.settings.pipelines / "out").glob(kind.file))
        if kind.query is not None:
            return self._backends(kind.query) > 0
        return "began" in self.host.notes(run_id)

    def _backends(self, query: str) -> int:
        with superuser(str(self.host.settings.postgres_url)) as cursor:
            cursor.execute(_BACKENDS, (query,))
            ((number,),) = cursor.fetchall()
            return int(number)

    def until_tried_again(self, runs: Runs) -> None:
        """Wait until each run has a node that waits for its next attempt."""
        for run_id in runs.values():
            story = lambda run_id=run_id: self.host.story(run_id)  # noqa: E731
            wait_until(lambda: "STEP_UP_FOR_RETRY" in self.events(run_id), seconds=_SECONDS_TO_WORK, what=story)  # noqa: B023

    def events(self, run_id: str) -> list[str]:
        """The names of a run's events."""
        logs = self.host.instance.all_logs(run_id)
        return [entry.dagster_event_type.value.replace("PIPELINE", "RUN") for entry in logs if entry.dagster_event_type]

    def cancel(self, runs: Runs) -> None:
        """Ask that all be canceled."""
        for run_id in runs.values():
            self.asked.setdefault(run_id, time.monotonic())
            assert self.host.cancel(run_id), self.host.story(run_id)

    def until_canceled(self, runs: Runs) -> dict[str, float]:
        """Wait until all are canceled; return after how many seconds each was, by kind.

        As soon as a run reads so, none of its processes is left.
        """
        pids = {run_id: self.pid(run_id) for run_id in runs.values()}
        deadline = time.monotonic() + _SECONDS_TO_END
        while open_runs := [run_id for run_id in runs.values() if run_id not in self.ended]:
            for run_id in open_runs:
                status = self.host.status(run_id)
                if status == "CANCELED":
                    self.ended[run_id] = time.monotonic()
                    pid = pids[run_id]
                    assert pid is None or not self.host.processes_of(pid), self.host.story(run_id)
                assert status not in {"SUCCESS", "FAILURE"}, self.host.story(run_id)
                assert time.monotonic() < deadline, self.host.story(run_id)
            time.sleep(0.01)
        return {kind.name: self.ended[run_id] - self.asked[run_id] for kind, run_id in runs.items()}

    def check(self, runs: Runs) -> None:
        """Check that the record of each run is true, and that nothing is left of any of them."""
        for run_id in runs.values():
            events = self.events(run_id)
            story = self.host.story(run_id)
            assert events[-1] == "RUN_CANCELED", story
            assert events.count("RUN_CANCELED") == 1, story
            assert events.count("RUN_CANCELING") <= 1, story
            assert events.count("RUN_START") <= 1, story
            assert not {"RUN_SUCCESS", "RUN_FAILURE"} & set(events), story
            assert "ended" not in self.host.notes(run_id), story
        wait_until(lambda: not self.left(), seconds=10, what=self.left)
        quick = self.host.submit(pipeline("quick"))
        assert self.host.until(quick) == "SUCCESS"

    def left(self) -> list[object]:
        """What there is that should not be: files, locks, connections, rows."""
        folder = self.host.settings.pipelines
        found: list[object] = [*folder.rglob("*.part"), *(folder / "out").iterdir()]
        found.remove(folder / "out" / "target.parquet")
        for place in (self.host.settings.runs, self.host.settings.spill):
            found += list(place.iterdir()) if place.exists() else []
        if (folder / "out" / "target.parquet").read_text(errors="replace") != _BEFORE:
            found.append("another target.parquet")
        with superuser(str(self.host.settings.postgres_url)) as cursor:
            cursor.execute(_OTHERS)
            others = cursor.fetchall()
            for table in () if others else _TABLES:  # which may be locked
                cursor.execute(f"SELECT count(*) FROM {table}")
                ((rows,),) = cursor.fetchall()
                found += [f"{rows} rows in {table}"] if rows != 1 else []
        return found + others


_BACKENDS = """
SELECT count(*) FROM pg_stat_activity
WHERE datname = current_database() AND state = 'active' AND query LIKE %s AND pid <> pg_backend_pid()"""
_OTHERS = """
SELECT query, state FROM pg_stat_activity
WHERE datname = current_database() AND pid <> pg_backend_pid() AND state <> 'idle'
  AND (query LIKE '%planasonix_stage%' OR query LIKE '%pg_sleep%')"""
