"""A real stack under test: `planasonix up` as a child process, and what it answers."""

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import httpx
import psutil

from planasonix_orchestrator.runtime.leftovers import POSTGRES_FOLDER, STACK_VARIABLE
from planasonix_orchestrator.runtime.state import KEY_FILE

PLANASONIX = str(Path(sys.executable).with_name("planasonix"))
COPY = """
id: pl_copy
name: copy
nodes:
  - {id: n_in, type: source.csv, config: {path: in.csv}}
  - {id: n_out, type: destination.csv, config: {path: out.csv}}
edges:
  - {id: e1, source: n_in, target: n_out}
"""


class Stack:
    """`planasonix up` on free ports, over a folder of its own with the pipeline `copy`."""

    def __init__(
        self,
        folder: Path,
        *,
        port: int = 0,
        environment: dict[str, str] | None = None,
        planasonix: Sequence[str] = (PLANASONIX,),
    ) -> None:
        self.state = folder / "state"
        self.pipelines = folder / "pipelines"
        self.pipelines.mkdir(exist_ok=True)
        (self.pipelines / "in.csv").write_text("id,name\n1,a\n2,b\n")
        (self.pipelines / "copy.yaml").write_text(COPY)
        self.errors = folder / "errors.log"
        command = [*planasonix, "up", "--json", "--port", str(port), "--dagster-port", "0"]
        command += ["--state", str(self.state), "--pipelines", str(self.pipelines)]
        with self.errors.open("a") as errors:
            self.process = subprocess.Popen(
                command, stdout=subprocess.PIPE, stderr=errors, text=True, env=environment, start_new_session=True
            )
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:  # it could not start
            self.end()
        assert line, self.errors.read_text()
        ready = json.loads(line)
        self.parts: dict[str, dict[str, Any]] = {part["name"]: part for part in ready["parts"]}
        self.first_key: str | None = ready.get("firstKey")

    @property
    def headers(self) -> dict[str, str]:
        """The header with the key that the stack keeps."""
        return {"Authorization": f"Bearer {(self.state / KEY_FILE).read_text().strip()}"}

    def api(self, path: str) -> Any:
        """The JSON that the API answers; None while it can't."""
        try:
            answer = httpx.get(self.parts["api"]["url"] + path, headers=self.headers, timeout=10)
        except httpx.HTTPError:
            return None
        return answer.json() if answer.is_success else None

    def start_run(self, pipeline_id: str = "pl_copy") -> str:
        """Start a pipeline and return the run's id; as a client should, try again when told 503."""
        answers: list[httpx.Response] = []

        def accepted() -> bool:
            url = f"{self.parts['api']['url']}/api/pipelines/{pipeline_id}/run"
            answers.append(httpx.post(url, json={}, headers=self.headers, timeout=30))
            return answers[-1].status_code != httpx.codes.SERVICE_UNAVAILABLE

        wait_until(accepted, seconds=30, what=lambda: [answer.text for answer in answers])
        run_id: str = answers[-1].raise_for_status().json()["runId"]
        return run_id

    def run_once(self) -> str:
        """Run the pipeline `copy` to its good end and return the run's id."""
        run_id = self.start_run()
        wait_until(lambda: self.status(run_id) == "succeeded", what=lambda: self.status(run_id))
        return run_id

    def status(self, run_id: str) -> str | None:
        """The status of a run; None while the API can't tell."""
        run = self.api(f"/api/runs/{run_id}")
        return run["status"] if run else None

    def job_names(self) -> set[str]:
        """The jobs that Dagster's webserver shows."""
        query = "{repositoriesOrError{... on RepositoryConnection{nodes{pipelines{name}}}}}"
        try:
            answer = httpx.post(self.parts["webserver"]["url"] + "/graphql", json={"query": query}, timeout=10).json()
        except httpx.HTTPError:
            return set()
        nodes = answer["data"]["repositoriesOrError"].get("nodes", [])
        return {pipeline["name"] for node in nodes for pipeline in node["pipelines"]}

    def told(self) -> str:
        """What the console has heard so far."""
        return self.errors.read_text()

    def processes(self) -> list[psutil.Process]:
        """Every process of this stack but the supervisor."""
        found = []
        for process in psutil.process_iter():
            try:
                ours = process.environ().get(STACK_VARIABLE) == str(self.state)
                if ours or process.cwd() == str(self.state / POSTGRES_FOLDER):
                    found.append(process)
            except (psutil.Error, OSError):
                continue
        return found

    def end(self, *, by: signal.Signals = signal.SIGTERM) -> float:
        """Send the supervisor the signal and return how many seconds it took to end."""
        started = time.monotonic()
        self.process.send_signal(by)
        self.process.wait(timeout=30)
        assert self.process.stdout is not None
        self.process.stdout.close()
        return time.monotonic() - started


def wait_until(condition: Callable[[], bool], *, seconds: float = 60, what: Callable[[], object] = lambda: "") -> None:
    """Return when the condition holds; the test fails if it does not come to hold."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"it did not happen in time: {what()}"
        time.sleep(0.1)
