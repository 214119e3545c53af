"""Runs as a client sees them: started, awaited and canceled, on one stack and with one of its executors."""

import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import psutil
import psycopg2

from benchmarks.control.documents import IN_PROCESS, NOTES, write_pipelines
from benchmarks.control.processes import are_gone, cpu_seconds
from benchmarks.control.stacks import Stack, our_stack, stock_stack
from benchmarks.frame import Site
from planasonix_orchestrator.contract.ids import decode_run_id

ENDED = frozenset({"succeeded", "failed", "canceled"})
_SECONDS_AT_MOST = 900.0
_SECONDS_BETWEEN_LOOKS = 0.1
_CLIENTS = 10
_TERMINATE = "mutation($id: String!) { terminateRun(runId: $id) { __typename } }"
_STATUS = "SELECT status FROM runs WHERE run_id = %s"

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Runner:
    """Starts runs of the pipelines whose names have the given ending."""

    stack: Stack
    ending: str = ""

    def start(self, pipeline: str) -> str:
        """Put a run into the queue and return its id."""
        return str(self._post(pipeline)["runId"])

    def run(self, pipeline: str) -> Json:
        """Run a pipeline to its good end, which the answer waits for as long as it may, and return the run."""
        answer = self._post(pipeline, wait=60)
        return self.succeeded(answer["runId"]) if "runId" in answer else _checked(answer)

    def succeeded(self, run_id: str) -> Json:
        """Wait until a run has succeeded, and return it."""
        return _checked(self.ended(run_id))

    def ended(self, run_id: str, *, pause: float = _SECONDS_BETWEEN_LOOKS) -> Json:
        """Wait for the end of a run, and return it."""
        run: Json = _until(lambda: self._read(run_id), lambda run: run["status"] in ENDED, pause=pause)
        return run

    def run_many(self, pipeline: str, *, number: int) -> float:
        """Post so many runs at once, and return the seconds from the first request to the last end."""
        started = time.time()
        with ThreadPoolExecutor(_CLIENTS) as clients:
            ids = list(clients.map(lambda _: self.start(pipeline), range(number)))
        return max(seconds_of(self.succeeded(run_id)["finishedAt"]) for run_id in ids) - started

    def nodes(self, run_id: str) -> list[Json]:
        """Return the nodes of a run."""
        nodes: list[Json] = self._get(f"/api/runs/{run_id}/nodes")["nodes"]
        return nodes

    def working(self, run_id: str) -> None:
        """Return when the node `n_work` works."""
        _until(lambda: self._has_begun(run_id), bool)

    def _has_begun(self, run_id: str) -> bool:
        notes = self.stack.pipelines / NOTES
        if notes.exists() and decode_run_id(run_id) in notes.read_text(encoding="utf-8"):
            return True
        return any(node["nodeId"] == "n_work" and node["status"] == "running" for node in self.nodes(run_id))

    def cancel(self, run_id: str) -> None:
        """Have a run canceled: ours by one request; the stock stack by asking until it does not refuse any more."""
        if self.stack.is_ours:
            self.stack.api.delete(f"/api/runs/{run_id}").raise_for_status()
            return
        _until(lambda: self.terminate(run_id), bool)

    def terminate(self, run_id: str) -> bool:
        """Ask Dagster to terminate a run; False if it refuses."""
        body = {"query": _TERMINATE, "variables": {"id": decode_run_id(run_id)}}
        answer = self.stack.api.post(self.stack.graphql_url, json=body).raise_for_status().json()
        return bool(answer["data"]["terminateRun"]["__typename"] == "TerminateRunSuccess")

    def starting(self, run_id: str) -> None:
        """Return as soon as the run is in Dagster's state STARTING, which with us lasts milliseconds."""
        with self._connected() as cursor:
            while True:
                cursor.execute(_STATUS, (decode_run_id(run_id),))
                (status,) = cursor.fetchone() or ("",)
                assert status in ("NOT_STARTED", "QUEUED", "STARTING"), f"it is {status} before anybody saw it start"
                if status == "STARTING":
                    return

    def until_stopped(self, run_id: str, *, before: Sequence[psutil.Process]) -> float:
        """Cancel a run and return the seconds until none of its processes works any more, in Postgres neither."""
        works = self.stack.processes_of_run(decode_run_id(run_id), before=before)
        assert works, "no process works on the run"
        start = time.monotonic()
        self.cancel(run_id)
        if not self.stack.is_ours:  # a process that has begun since
            works += self.stack.processes_of_run(decode_run_id(run_id), before=before)
        _until(lambda: are_gone(works), bool, pause=0.005)
        with self._connected() as cursor:
            _until(lambda: _copies(cursor), lambda number: number == 0, pause=0.005)
        taken = time.monotonic() - start
        status = self.ended(run_id)["status"]
        assert status == "canceled", f"the run ends as {status}"
        return taken

    def cpu_of_runs(self, pipeline: str, *, number: int) -> float:
        """Return the CPU seconds that the whole stack takes for a run, if there are so many one after the other."""
        at_rest = self.at_rest()
        before = cpu_seconds(self.stack.processes())
        for _ in range(number):
            self.run(pipeline)
        self.at_rest(at_rest)
        return (cpu_seconds(self.stack.processes()) - before) / number

    def at_rest(self, number: int | None = None) -> int:
        """Wait until as many processes as before are there to execute runs (by default: as many as a moment ago)."""
        if number is None:
            return _settled(lambda: len(self.stack.launched()))
        same: int = _until(lambda: len(self.stack.launched()), lambda now: now == number)
        return same

    @contextmanager
    def _connected(self) -> Iterator[Any]:
        connection = psycopg2.connect(self.stack.postgres_url)
        connection.autocommit = True
        try:
            with connection.cursor() as cursor:
                yield cursor
        finally:
            connection.close()

    def _post(self, pipeline: str, *, wait: int | None = None) -> Json:
        params = {} if wait is None else {"wait": wait}
        answer = self.stack.api.post(f"/api/pipelines/pl_{pipeline}{self.ending}/run", json={}, params=params)
        assert answer.is_success, answer.text
        body: Json = answer.json()
        return body

    def _read(self, run_id: str) -> Json:
        return self._get(f"/api/runs/{run_id}")

    def _get(self, path: str) -> Json:
        body: Json = self.stack.api.get(path).raise_for_status().json()
        return body


@dataclass(frozen=True, slots=True, kw_only=True)
class Runners:
    """The three ways to execute runs that are compared."""

    ours: Runner
    multiprocess: Runner
    in_process: Runner

    def check(self) -> None:
        """Check that a pipeline's nodes tell the same rows however they are executed, which also warms up."""
        ways = {"ours": self.ours, "multiprocess": self.multiprocess, "in_process": self.in_process}
        facts = {name: _facts(runner) for name, runner in ways.items()}
        assert facts["ours"] == facts["multiprocess"] == facts["in_process"], f"the nodes differ: {facts}"


def runners_of(site: Site) -> Runners:
    """Return the runners of this invocation, with both stacks running and warm."""
    return site.share("runners", lambda: _open_runners(site))


@contextmanager
def _open_runners(site: Site) -> Iterator[Runners]:
    folder = site.folder("run_control")
    write_pipelines(folder / "our_pipelines", executors={"": "threads"})
    write_pipelines(folder / "stock_pipelines", executors={"": "multiprocess", IN_PROCESS: "in_process"})
    with (
        our_stack(folder / "ours", pipelines=folder / "our_pipelines") as ours,
        stock_stack(folder / "stock", pipelines=folder / "stock_pipelines") as stock,
    ):
        runners = Runners(ours=Runner(ours), multiprocess=Runner(stock), in_process=Runner(stock, IN_PROCESS))
        runners.check()
        yield runners


def _facts(runner: Runner) -> list[tuple[str, str, int | None]]:
    nodes = runner.nodes(runner.run("three")["id"])
    return [(node["nodeId"], node["status"], node["metrics"].get("rowsOut")) for node in nodes]


def seconds_of(timestamp: str) -> float:
    """Return the seconds since the epoch of a timestamp of the API."""
    return datetime.fromisoformat(timestamp).timestamp()


def _checked(run: Json) -> Json:
    assert run["status"] == "succeeded", f"a run {run['status']}: {run['error']}"
    return run


def _copies(cursor: Any) -> int:
    cursor.execute("SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND query ILIKE 'copy %'")
    (number,) = cursor.fetchone()
    return int(number)


def _settled(number: Callable[[], int]) -> int:
    """Return a number once it has stayed the same for a second."""
    now, since = number(), time.monotonic()
    while time.monotonic() - since < 1.0:
        time.sleep(_SECONDS_BETWEEN_LOOKS)
        if (next_number := number()) != now:
            now, since = next_number, time.monotonic()
    return now


def _until(look: Callable[[], Any], wanted: Callable[[Any], bool], *, pause: float = _SECONDS_BETWEEN_LOOKS) -> Any:
    deadline = time.monotonic() + _SECONDS_AT_MOST
    while not wanted(seen := look()):
        assert time.monotonic() < deadline, f"it did not come; last seen: {seen}"
        time.sleep(pause)
    return seen
