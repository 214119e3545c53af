"""Dagster's own scheduler over a folder of pipelines, with the clock in the test's hands and a real Postgres."""

import json
import logging
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from dagster import DagsterInstance, DagsterRun
from dagster._core.remote_origin import InProcessCodeLocationOrigin
from dagster._core.scheduler.instigation import InstigatorTick, InstigatorType, TickStatus
from dagster._core.test_utils import freeze_time
from dagster._core.types.loadable_target_origin import LoadableTargetOrigin
from dagster._core.workspace.context import WorkspaceProcessContext
from dagster._core.workspace.load_target import InProcessWorkspaceLoadTarget
from dagster._scheduler.scheduler import ScheduleIterationTimes, launch_scheduled_runs
from sqlalchemy import text

from planasonix_orchestrator.contract.metadata import CODE_LOCATION_NAME
from planasonix_orchestrator.contract.names import encode_name
from tests.conftest import open_instance

_DAGSTER_YAML = """
storage: {postgres: {postgres_url: {env: PLANASONIX_POSTGRES_URL}}}
run_coordinator: {module: planasonix_orchestrator.run_host.queue, class: RunQueue}
scheduler: {module: dagster._core.scheduler, class: DagsterDaemonScheduler, config: {max_tick_retries: 1}}
telemetry: {enabled: false}
"""
_LOCATION = """
from pathlib import Path
from planasonix_orchestrator.dagster_defs.repository import load_repository
from planasonix_orchestrator.settings import Settings
planasonix = load_repository(Settings(pipelines=Path({pipelines!r}), state=Path({state!r})))
"""
_loads = count()


def scheduled(name: str, *schedules: Mapping[str, Any], **more: Any) -> dict[str, Any]:
    """A document that nothing executes here, with schedules."""
    nodes = [{"id": "n", "type": "source.csv", "config": {"path": "x.csv"}}]
    return {"id": f"pl_{name}", "name": name, "nodes": nodes, "schedules": list(schedules), **more}


def moment(text: str) -> datetime:
    """A moment in UTC."""
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@dataclass
class Scheduler:
    """Dagster's scheduler, which can be stopped and started like the daemon that it is part of."""

    instance: DagsterInstance
    folder: Path
    times: dict[str, ScheduleIterationTimes] = field(default_factory=dict)
    context: WorkspaceProcessContext | None = None

    def write(self, document: Mapping[str, Any]) -> None:
        """Write a document, and load the folder anew."""
        (self.folder / "pipelines" / f"{document['id']}.json").write_text(json.dumps(document))
        self.load()

    def load(self) -> None:
        """Load the folder as a code server does."""
        self.close()
        file = self.folder / f"location_{next(_loads)}.py"
        state, pipelines = str(self.folder / "state"), str(self.folder / "pipelines")
        file.write_text(_LOCATION.format(pipelines=pipelines, state=state))
        target = LoadableTargetOrigin(executable_path=sys.executable, python_file=str(file), attribute="planasonix")
        origin = InProcessCodeLocationOrigin(target, location_name=CODE_LOCATION_NAME)
        context = WorkspaceProcessContext(self.instance, InProcessWorkspaceLoadTarget(origin))
        self.context = context.__enter__()

    def forget(self) -> None:
        """Forget all that there was, in the database and here."""
        storage: Any = self.instance.run_storage
        with storage.connect() as connection:
            connection.execute(text("TRUNCATE runs, run_tags, job_ticks, instigators, jobs, kvs, event_logs"))
        for file in (self.folder / "pipelines").iterdir():
            file.unlink()
        self.restart()

    def close(self) -> None:
        """Let go of the code."""
        if self.context is not None:
            self.context.__exit__(None, None, None)
            self.context = None

    def look(self, at: datetime) -> None:
        """Have the scheduler look once what is due, at a moment."""
        assert self.context is not None
        with freeze_time(at):
            looks = launch_scheduled_runs(
                self.context,
                logging.getLogger("tests"),
                end_datetime_utc=at,
                iteration_times=self.times,
                max_tick_retries=1,
            )
            for error in looks:
                assert error is None, error

    def restart(self) -> None:
        """Forget what a daemon forgets when it is killed."""
        self.times = {}

    def switch(self, schedule_id: str, *, on: bool, at: datetime) -> None:
        """Turn a schedule on or off."""
        assert self.context is not None
        location = self.context.create_request_context().get_code_location(CODE_LOCATION_NAME)
        schedule = location.get_repository("planasonix").get_schedule(encode_name(schedule_id))
        with freeze_time(at):
            if on:
                self.instance.start_schedule(schedule)
            else:
                self.instance.stop_schedule(schedule.get_remote_origin_id(), schedule.selector_id, schedule)

    def runs(self) -> list[DagsterRun]:
        """All runs, the oldest first."""
        return list(reversed(self.instance.get_runs()))

    def started(self) -> list[str]:
        """The moments for which runs were started, in the order of their starts."""
        return [run.tags["planasonix/scheduled_at"] for run in self.runs()]

    def ticks(self) -> Sequence[InstigatorTick]:
        """All ticks of the schedules, the oldest first."""
        selectors = [state.selector_id for state in self.instance.all_instigator_state(None, None, _SCHEDULE)]
        return [tick for selector in selectors for tick in reversed(self.instance.get_ticks("", selector))]

    def skipped(self) -> dict[str, str]:
        """The reasons of skipped fires, by the moment at which they were due."""
        return {
            datetime.fromtimestamp(tick.timestamp, UTC).strftime("%Y-%m-%dT%H:%M:%SZ"): tick.skip_reason or ""
            for tick in self.ticks()
            if tick.status == TickStatus.SKIPPED
        }


_SCHEDULE = InstigatorType.SCHEDULE


@contextmanager
def opened_scheduler(folder: Path, *, postgres_url: str) -> Iterator[Scheduler]:
    """A scheduler over the pipelines of a folder."""
    home = folder / "home"
    for each in (home, folder / "pipelines"):
        each.mkdir(exist_ok=True)
    (home / "dagster.yaml").write_text(_DAGSTER_YAML)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PLANASONIX_POSTGRES_URL", postgres_url)
        patch.setenv("DAGSTER_HOME", str(home))
        with open_instance(home) as instance:
            scheduler = Scheduler(instance, folder)
            try:
                yield scheduler
            finally:
                scheduler.close()
