"""A run host as a process of its own over a real Postgres, and runs put into its queue."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil
import pytest
from dagster import DagsterInstance, DagsterRun
from dagster._core.remote_origin import RegisteredCodeLocationOrigin, RemoteJobOrigin, RemoteRepositoryOrigin

from planasonix_orchestrator.contract import tags
from planasonix_orchestrator.contract.metadata import CODE_LOCATION_NAME, REPOSITORY_NAME
from planasonix_orchestrator.dagster_defs.repository import build_job_of_document, installed
from planasonix_orchestrator.run_host.dagster_api import DagsterEvent, LaunchRunContext, SubmitRunContext
from planasonix_orchestrator.run_host.intents import intend
from planasonix_orchestrator.settings import Settings
from tests.conftest import open_instance

PLUGIN = Path(__file__).parent / "plugin"
ENDED = {"SUCCESS", "FAILURE", "CANCELED"}

_DAGSTER_YAML = """
storage:
  postgres:
    postgres_url:
      env: PLANASONIX_POSTGRES_URL
run_coordinator: {coordinator}
run_launcher:
  module: planasonix_orchestrator.run_host.launcher
  class: RunHostLauncher
  config:
    grace_seconds: {grace_seconds}
    memory_limit_megabytes: {memory_limit_megabytes}
    warm_workers: {warm_workers}
compute_logs:
  module: planasonix_orchestrator.run_host.output
  class: RunOutput
telemetry:
  enabled: false
"""

_QUEUE = (
    "{{module: planasonix_orchestrator.run_host.queue, class: RunQueue,"
    " config: {{max_concurrent_runs: {max_concurrent_runs}}}}}"
)


def pipeline(name: str, **config: Any) -> dict[str, Any]:
    """A document with one node that works in the given way."""
    return {"id": f"pl_{name}", "name": name, "nodes": [{"id": "n_work", "type": "source.work", "config": config}]}


@dataclass
class Hosted:
    """Everything about one run host."""

    settings: Settings
    environment: Mapping[str, str]
    instance: DagsterInstance
    wrapper: Sequence[str] = ()
    host: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start the host."""
        with (self.settings.state / "host.log").open("ab") as log:
            command = [*self.wrapper, sys.executable, "-m", "planasonix_orchestrator.run_host"]
            self.host = subprocess.Popen(command, env=self.environment, stdout=log, stderr=log)

    def kill(self) -> None:
        """Kill the host, and nothing else."""
        assert self.host is not None
        self.host.kill()
        self.host.wait()

    def submit(self, document: Mapping[str, Any], **more: str) -> str:
        """Queue a run of a document, and return its id."""
        run = self.create(document, **more)
        self.enqueue(run)
        return run.run_id

    def enqueue(self, run: DagsterRun) -> None:
        """Queue a run that was created."""
        self.instance.run_coordinator.submit_run(SubmitRunContext(run, workspace=None))  # type: ignore[arg-type]

    def create(self, document: Mapping[str, Any], **more: str) -> DagsterRun:
        """Create a run of a document without queueing it; `more` are further tags, `a__b` for `a/b`."""
        job = build_job_of_document(document, settings=self.settings)
        location = RegisteredCodeLocationOrigin(CODE_LOCATION_NAME)
        run = self.instance.create_run_for_job(
            job,
            run_config=job.run_config,
            remote_job_origin=RemoteJobOrigin(RemoteRepositoryOrigin(location, REPOSITORY_NAME), job.name),
            tags={**job.tags, **{key.replace("__", "/"): more[key] for key in more}},
        )
        self.instance.add_run_tags(run.run_id, {tags.TAGS_OF: run.run_id})
        return run

    def let_through(self, run: DagsterRun) -> None:
        """Do to a run what Dagster's coordinator does when it takes one from its queue."""
        event = DagsterEvent(event_type_value="PIPELINE_STARTING", job_name=run.job_name)
        self.instance.report_dagster_event(event, run_id=run.run_id)
        self.instance.run_launcher.launch_run(LaunchRunContext(run, workspace=None))

    def cancel(self, run_id: str) -> bool:
        """Store the intent to cancel a run."""
        return intend(self.instance, run_id=run_id, by="tester", at=datetime.now(UTC))

    def status(self, run_id: str) -> str:
        """Dagster's status of a run."""
        run = self.instance.get_run_by_id(run_id)
        assert run is not None
        return run.status.value

    def until(self, run_id: str, *statuses: str, seconds: float = 90) -> str:
        """Wait for one of the statuses, by default for the end."""
        wanted = set(statuses) or ENDED
        wait_until(lambda: self.status(run_id) in wanted, seconds=seconds, what=lambda: self.story(run_id))
        return self.status(run_id)

    def story(self, run_id: str) -> str:
        """All that is known of a run, for the message of a test that fails."""
        events = [f"{entry.dagster_event_type}: {entry.message}" for entry in self.instance.all_logs(run_id)]
        log = (self.settings.state / "host.log").read_text(encoding="utf-8", errors="replace")
        return "\n".join([self.status(run_id), *events, log[-3000:]])

    def notes(self, run_id: str, file: str = "notes.txt") -> list[str]:
        """What the work of a run has noted: `began`, `ended`."""
        try:
            lines = (self.settings.pipelines / file).read_text(encoding="utf-8").splitlines()
        except FileNotFoundError:
            return []
        return [line.split()[1] for line in lines if line.startswith(run_id)]

    def pid_of(self, run_id: str, file: str = "notes.txt") -> int:
        """The process in which a run has begun its work."""
        lines = (self.settings.pipelines / file).read_text(encoding="utf-8").splitlines()
        return next(int(line.split()[2]) for line in lines if line.startswith(run_id))

    def processes_of(self, pid: int) -> list[psutil.Process]:
        """The living processes of the group that this process leads."""
        found = []
        for each in psutil.process_iter():
            try:
                if os.getpgid(each.pid) == pid and each.status() != psutil.STATUS_ZOMBIE:
                    found.append(each)
            except (ProcessLookupError, psutil.NoSuchProcess):
                continue
        return found

    def processes(self) -> list[psutil.Process]:
        """All living processes of this host, its zygotes and workers included."""
        found = []
        for each in psutil.process_iter():
            try:
                if each.environ().get("PLANASONIX_STATE") == str(self.settings.state) and each.pid != os.getpid():
                    found.append(each)
            except (psutil.Error, OSError):
                continue
        return found


def wait_until(condition: Callable[[], bool], *, seconds: float, what: Callable[[], object]) -> None:
    """Wait for a condition; fail with what is known if it does not come true."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"not within {seconds:g} s:\n{what()}"
        time.sleep(0.03)


@contextmanager
def plugin() -> Iterator[None]:
    """Let this process know the node type of the plugin, for the jobs that tests build, and forget it afterwards."""
    sys.path.insert(0, str(PLUGIN))
    installed.cache_clear()
    try:
        yield
    finally:
        sys.path.remove(str(PLUGIN))
        installed.cache_clear()


def environment_of(settings: Settings) -> dict[str, str]:
    """The environment of a stack's parts, which know the node type of the plugin."""
    return {
        **os.environ,
        "DAGSTER_HOME": str(settings.dagster_home),
        "PLANASONIX_POSTGRES_URL": str(settings.postgres_url),
        "PLANASONIX_PIPELINES": str(settings.pipelines),
        "PLANASONIX_STATE": str(settings.state),
        "PYTHONPATH": os.pathsep.join(filter(None, [str(PLUGIN), os.environ.get("PYTHONPATH")])),
    }


@contextmanager
def opened_instance(settings: Settings) -> Iterator[DagsterInstance]:
    """The instance that the stack's dagster.yaml describes, with pooled connections."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PLANASONIX_POSTGRES_URL", str(settings.postgres_url))
        with open_instance(settings.dagster_home) as instance:
            yield instance


@contextmanager
def hosted(
    folder: Path,
    *,
    postgres_url: str,
    grace_seconds: float = 10.0,
    memory_limit_megabytes: int | None = None,
    max_concurrent_runs: int = 4,
    warm_workers: int = 2,
    coordinator: str | None = None,
    wrapper: Sequence[str] = (),
) -> Iterator[Hosted]:
    """A run host that works; it and all that it has started are gone at the end.

    `coordinator`: another than ours. `wrapper`: a command that becomes the one behind it.
    """
    settings = Settings(pipelines=folder / "pipelines", state=folder / "state", postgres_url=postgres_url)
    settings.pipelines.mkdir(exist_ok=True)
    settings.dagster_home.mkdir(parents=True)
    (settings.dagster_home / "dagster.yaml").write_text(
        _DAGSTER_YAML.format(
            grace_seconds=grace_seconds,
            memory_limit_megabytes=json.dumps(memory_limit_megabytes),
            coordinator=coordinator or _QUEUE.format(max_concurrent_runs=max_concurrent_runs),
            warm_workers=warm_workers,
        )
    )
    with plugin(), opened_instance(settings) as instance:
        one = Hosted(settings, environment_of(settings), instance, wrapper)
        one.start()
        try:
            yield one
        finally:
            for process in one.processes():
                process.kill()
            if one.host is not None:
                one.host.wait()
