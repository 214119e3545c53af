"""A served Runs API for the commands that use it, over a Dagster whose queue only the tests empty."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Event, Thread
from typing import Self

import httpx
import pytest
from click.testing import CliRunner, Result
from dagster import DagsterEvent, DagsterEventType, DagsterInstance
from dagster._core.definitions.job_base import InMemoryJob
from dagster._core.execution.api import execute_run

from planasonix_orchestrator.cli import main
from planasonix_orchestrator.contract.ids import decode_run_id
from tests.api import served
from tests.api.conftest import admin_key, client, code_server, database_url, home, instance, settings
from tests.commands.terminal import PLANASONIX

__all__ = ["client", "code_server", "database_url", "home", "instance", "settings"]

JOBS = {
    "pl_bad": served.failing,
    "pl_branches": served.two_branches,
    "pl_crm": served.crm_to_warehouse,
    "pl_slow": served.slow,
}


@pytest.fixture
def service(client: httpx.Client, database_url: str, monkeypatch: pytest.MonkeyPatch) -> httpx.Client:
    """The API, which the environment names, with a key that may do everything."""
    monkeypatch.setenv("PLANASONIX_API_URL", str(client.base_url))
    monkeypatch.setenv("PLANASONIX_API_KEY", admin_key(database_url))
    return client


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> Iterator[Event]:
    """Holds the second node of `pl_crm` until it is set."""
    gate = Event()
    monkeypatch.setitem(served.ACTS, "keep_x2d_recent", lambda _: gate.wait(30))
    yield gate
    gate.set()


def planasonix(*arguments: str, code: int = 0) -> Result:
    """What a command prints; it must end with this exit code."""
    answer = CliRunner().invoke(main, arguments)
    assert answer.exit_code == code, answer.output
    return answer


class Piped:
    """`planasonix ARGUMENTS` with pipes as its output, and nobody to ask."""

    def __init__(self, *arguments: str) -> None:
        self.process = subprocess.Popen(
            [PLANASONIX, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.stderr = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.communicate()

    def line(self) -> str:
        """The next line on stdout, as soon as it is there."""
        assert self.process.stdout is not None
        return self.process.stdout.readline().rstrip("\n")

    def error_line(self, *, until: str = "") -> str:
        """The next line on stderr that has this text."""
        assert self.process.stderr is not None
        while line := self.process.stderr.readline():
            self.stderr += line
            if until in line:
                return line.rstrip("\n")
        raise AssertionError(f"{until!r} is not in {self.stderr!r}")

    def end(self) -> tuple[int, str, str]:
        """The exit code, the rest of stdout, and all of stderr."""
        stdout, stderr = self.process.communicate(timeout=30)
        return self.process.returncode, stdout, self.stderr + stderr


def start(service: httpx.Client, pipeline_id: str = "pl_crm") -> str:
    """The id of a run that waits in the queue."""
    run_id: str = service.post(f"/api/pipelines/{pipeline_id}/run").raise_for_status().json()["runId"]
    return run_id


def work(instance: DagsterInstance, run_id: str) -> None:
    """Take a run from the queue and execute it, here and now."""
    dagster_id = decode_run_id(run_id)
    run = instance.get_run_by_id(dagster_id)
    assert run is not None
    starting = DagsterEvent(event_type_value=DagsterEventType.RUN_STARTING.value, job_name=run.job_name)
    instance.report_dagster_event(starting, run_id=dagster_id)
    run = instance.get_run_by_id(dagster_id)
    assert run is not None
    job = JOBS[run.tags["planasonix/pipeline_id"]]
    execute_run(InMemoryJob(job), run, instance)


@contextmanager
def working(instance: DagsterInstance, run_id: str) -> Iterator[None]:
    """Execute a run in the meantime; it must have ended soon after."""
    thread = Thread(target=work, args=(instance, run_id))
    thread.start()
    try:
        yield
    finally:
        thread.join(30)
        assert not thread.is_alive()
