"""Dagster's stock parts over the same pipelines: QueuedRunCoordinator, DefaultRunLauncher, multiprocess executor."""

import json
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import psutil

from planasonix_orchestrator.contract.metadata import CODE_LOCATION_NAME, REPOSITORY_NAME
from planasonix_orchestrator.runtime.ports import LOOPBACK, choose_port
from planasonix_orchestrator.settings import Settings
from tests.run_host.hosted import Hosted, environment_of, opened_instance, wait_until

_DAGSTER_YAML = """
storage:
  postgres:
    postgres_url:
      env: PLANASONIX_POSTGRES_URL
concurrency:
  runs:
    max_concurrent_runs: 25
run_monitoring:
  enabled: true
  max_resume_run_attempts: 0
  free_slots_after_run_end_seconds: 10
telemetry:
  enabled: false
"""
_WORKSPACE = """
load_from:
  - grpc_server: {{host: 127.0.0.1, port: {port}, location_name: planasonix}}
"""
_LAUNCH = """
mutation ($selector: JobOrPipelineSelector!, $config: RunConfigData) {
  launchRun(executionParams: {selector: $selector, runConfigData: $config, mode: "default"}) {
    __typename ... on LaunchRunSuccess { run { runId } } ... on PythonError { message }
    ... on RunConfigValidationInvalid { errors { message } }
  }
}"""
_TERMINATE = """
mutation ($runId: String!) {
  terminateRun(runId: $runId) {
    __typename ... on TerminateRunFailure { message } ... on PythonError { message }
  }
}"""


@dataclass
class Stock(Hosted):
    """Dagster as its own documentation sets it up, with run monitoring on. `answers`: to each wish to cancel a run."""

    parts: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    code_port: int = 0
    web_port: int = 0
    answers: dict[str, str] = field(default_factory=dict)

    def start_part(self, name: str) -> None:
        """Start one of its parts."""
        workspace = str(self.settings.dagster_home / "workspace.yaml")
        module = "planasonix_orchestrator.definitions"
        code = ("code-server", "start", "-m", module, "--location-name", CODE_LOCATION_NAME, "-h", LOOPBACK)
        commands = {
            "code server": ("dagster", *code, "-p", str(self.code_port)),
            "daemon": ("dagster._daemon", "run", "-w", workspace),
            "webserver": ("dagster_webserver", "-h", LOOPBACK, "-p", str(self.web_port), "-w", workspace),
        }
        with (self.settings.state / "host.log").open("ab") as log:
            command = [sys.executable, "-m", *commands[name]]
            # In a session of its own: some of Dagster's processes interrupt their whole group.
            self.parts[name] = subprocess.Popen(
                command, env=self.environment, stdout=log, stderr=log, start_new_session=True
            )

    def kill_part(self, name: str) -> None:
        """Kill one of its parts, and nothing else."""
        self.parts[name].kill()
        self.parts[name].wait()

    def submit(self, document: Mapping[str, Any], **more: str) -> str:
        """Launch a run of a document that is in the folder, as the Dagster UI does."""
        selector = {
            "repositoryLocationName": CODE_LOCATION_NAME,
            "repositoryName": REPOSITORY_NAME,
            "jobName": document["name"],
        }
        config = {"resources": {"variables": {"config": more}}} if more else {}
        answer = self.ask(_LAUNCH, selector=selector, config=json.dumps(config))["launchRun"]
        assert "run" in answer, answer
        return str(answer["run"]["runId"])

    def cancel(self, run_id: str) -> bool:
        """Terminate a run, as the Dagster UI does; note what it says."""
        try:
            answer = self.ask(_TERMINATE, runId=run_id)["terminateRun"]
        except httpx.HTTPError as error:
            self.answers[run_id] = type(error).__name__
            return True
        self.answers[run_id] = answer["__typename"].removeprefix("TerminateRun")
        return True

    def ask(self, query: str, **variables: Any) -> Any:
        """Ask Dagster's webserver."""
        url = f"http://{LOOPBACK}:{self.web_port}/graphql"
        answer = httpx.post(url, json={"query": query, "variables": variables}, timeout=60).json()
        assert answer.get("data"), answer
        return answer["data"]

    def workers(self) -> list[psutil.Process]:
        """Processes that work on runs: all that are no part, nor the code server's own."""
        parts = {part.pid for part in self.parts.values()}
        return [each for each in self.processes() if each.pid not in parts and _is_worker(each)]


def _is_worker(process: psutil.Process) -> bool:
    try:
        words = " ".join(process.cmdline())
    except psutil.Error:
        return False
    return "multiprocessing" in words and "resource_tracker" not in words


@contextmanager
def stock(folder: Path, *, postgres_url: str, documents: Iterable[Mapping[str, Any]]) -> Iterator[Stock]:
    """Run Dagster's own parts over these documents; they and all that they have started are gone at the end."""
    settings = Settings(pipelines=folder / "pipelines", state=folder / "state", postgres_url=postgres_url)
    settings.pipelines.mkdir(exist_ok=True)
    settings.dagster_home.mkdir(parents=True)
    for document in documents:
        told = {**document, "executor": {"type": "multiprocess"}}
        (settings.pipelines / f"{document['name']}.json").write_text(json.dumps(told))
    code_port = choose_port(0)
    web_port = choose_port(0, taken=[code_port])
    (settings.dagster_home / "dagster.yaml").write_text(_DAGSTER_YAML)
    (settings.dagster_home / "workspace.yaml").write_text(_WORKSPACE.format(port=code_port))
    with opened_instance(settings) as instance:
        one = Stock(settings, environment_of(settings), instance, code_port=code_port, web_port=web_port)
        try:
            for part in ("code server", "daemon", "webserver"):
                one.start_part(part)
            wait_until(
                lambda: _answers(one), seconds=120, what=lambda: (settings.state / "host.log").read_text()[-3000:]
            )
            yield one
        finally:
            for process in one.processes():
                process.kill()
            for started in one.parts.values():
                started.wait()


def _answers(one: Stock) -> bool:
    query = "{repositoriesOrError{... on RepositoryConnection{nodes{name}}}}"
    try:
        return bool(one.ask(query)["repositoriesOrError"].get("nodes"))
    except (httpx.HTTPError, AssertionError, json.JSONDecodeError):
        return False
