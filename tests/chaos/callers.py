"""The callers of the API: they start runs, cancel some, and read what it says of them all the time."""

import random
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

import httpx

from planasonix_orchestrator.contract.ids import decode_run_id
from planasonix_orchestrator.run_host.run_folders import RunFolders
from tests.chaos.history import AskedRun, History
from tests.chaos.pipelines import PIPELINES, Chaotic
from tests.runtime.stack import Stack

_MOST_OPEN_RUNS = 10
_SECONDS_WITHOUT_PROCESS = 60.0
_GOOD_ANSWERS: Mapping[str, frozenset[int]] = {
    "POST": frozenset({202}),
    "GET": frozenset({200}),
    "DELETE": frozenset({200, 202, 409}),
}


class Callers:
    """People and programs that use the API, each in a thread, and try again what it could not answer."""

    def __init__(self, stack: Stack, history: History, *, seed: int) -> None:
        self._stack = stack
        self._history = history
        self._seed = seed
        self._stop = threading.Event()
        self._posting = threading.Event()
        self._number = 0
        self._folders = RunFolders(stack.state / "runs")
        self._threads = [
            threading.Thread(target=self._repeat, args=(what, pause), daemon=True)
            for what, pause in ((self._post, 0.15), (self._cancel, 0.05), (self._poll, 0.05), (self._list, 0.2))
        ]
        self._random = random.Random(f"callers {seed}")  # noqa: S311

    def __enter__(self) -> "Callers":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def resume(self) -> None:
        """Start runs from now on."""
        self._posting.set()

    def pause(self) -> None:
        """Start no more runs; what was begun is brought to an end."""
        self._posting.clear()

    def _repeat(self, what: Callable[[httpx.Client], None], pause: float) -> None:
        limits = httpx.Limits(max_keepalive_connections=2)
        with httpx.Client(base_url=self._stack.parts["api"]["url"], headers=self._stack.headers, limits=limits) as http:
            while not self._stop.wait(pause):
                try:
                    what(http)
                except Exception as error:  # a mistake of the tests: it must not pass unseen
                    self._history.violate(f"{what.__name__}: {error!r}")
                    raise

    def _call(self, http: httpx.Client, method: str, path: str, **more: Any) -> httpx.Response | None:
        """Call the API once; None if it can't answer now."""
        try:
            answer = http.request(method, path, timeout=10, **more)
        except httpx.HTTPError as error:
            self._history.count(f"{method} {type(error).__name__}")
            return None
        self._history.count(f"{method} {answer.status_code}")
        if answer.status_code in _GOOD_ANSWERS[method]:
            return answer
        if answer.status_code != httpx.codes.SERVICE_UNAVAILABLE:
            self._history.violate(f"{method} {path} was answered {answer.status_code}: {answer.text[:600]}")
        return None

    def _post(self, http: httpx.Client) -> None:
        if not self._posting.is_set() or len(self._history.open_runs()) >= _MOST_OPEN_RUNS:
            return
        (pipeline,) = self._random.choices(PIPELINES, weights=[each.weight for each in PIPELINES])
        self.start(http, pipeline, changes_mind=self._random.random() < 0.35)

    def start(self, http: httpx.Client, pipeline: Chaotic, *, changes_mind: bool = False) -> AskedRun:
        """Have a run started, as often as it takes; sometimes ask again although it has been."""
        self._number += 1
        run = AskedRun(tag=f"c{self._seed}-{self._number}", pipeline=pipeline)
        delay = self._random.uniform(0, 4)
        twice = self._random.random() < 0.15
        self._history.add(run)
        self._ask(http, run)
        if twice:
            self._ask(http, run)
        if changes_mind:
            run.cancel_at = time.monotonic() + delay
        return run

    def _ask(self, http: httpx.Client, run: AskedRun) -> None:
        path, body = f"/api/pipelines/{run.pipeline.id}/run", {"variables": {"tag": run.tag}}
        while not self._stop.is_set():
            answer = self._call(http, "POST", path, json=body, headers={"Idempotency-Key": run.tag})
            if answer is None:
                self._stop.wait(0.3)
                continue
            run_id = answer.json()["runId"]
            if run.run_id and run_id != run.run_id:
                self._history.violate(f"the key {run.tag} stands for {run.run_id} and for {run_id}")
            run.run_id = run_id
            return

    def _cancel(self, http: httpx.Client) -> None:
        for run in self._history.open_runs():
            if run.cancel_at is None or time.monotonic() < run.cancel_at:
                continue
            answer = self._call(http, "DELETE", f"/api/runs/{run.run_id}")
            if answer is not None:
                run.cancel_at = None
                run.cancel_stands = run.cancel_stands or answer.status_code != httpx.codes.CONFLICT
                self._history.tell(f"run {run.run_id} ({run.pipeline.name}): cancel was answered {answer.status_code}")

    def _poll(self, http: httpx.Client) -> None:
        for run in self._history.open_runs():
            if run.run_id:
                asked_at = self._history.now()
                answer = self._call(http, "GET", f"/api/runs/{run.run_id}")
                if answer is None:
                    continue  # what the API said before may have become untrue, which it can't tell now
                said = answer.json()
                self._history.see(run, said["status"], asked_at=asked_at)
                if said["error"] is not None and said["error"]["code"] == "timeout":
                    self._history.violate(f"{run.pipeline.name} {run.run_id} is said to have taken too long")
                self._look_for_process(run)

    def _look_for_process(self, run: AskedRun) -> None:
        process = self._folders.of(decode_run_id(run.run_id)).process
        if run.status != "running" or (process is not None and process.alive):
            run.alone_since = None
        elif run.alone_since is None:
            run.alone_since = time.monotonic()
        elif time.monotonic() - run.alone_since > _SECONDS_WITHOUT_PROCESS:
            self._history.violate(f"{run.pipeline.name} {run.run_id} reads running without a process")
            run.alone_since = float("inf")  # told once

    def _list(self, http: httpx.Client) -> None:
        """Read the newest runs: what has ended stays as it is."""
        asked_at = self._history.now()
        answer = self._call(http, "GET", "/api/runs?limit=50")
        if answer is None:
            return
        said = {each["id"]: each["status"] for each in answer.json()["data"]}
        for run in self._history.all_runs():
            if run.has_ended and said.get(run.run_id, run.status) != run.status:
                self._history.see(run, said[run.run_id], asked_at=asked_at)
