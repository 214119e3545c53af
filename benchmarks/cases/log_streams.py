"""Streams of a log: what a long one takes in memory, and how late lines come to many who follow a run."""

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.client import HTTPConnection

from dagster import DagsterInstance, EventLogEntry

from benchmarks.frame import Case, Goal, Sides, Site
from benchmarks.readers import LARGE, record_of
from benchmarks.record.jobs import BRANCH, build_benchmark_job, launch
from benchmarks.services import Service, our_service
from planasonix_orchestrator.contract.ids import encode_run_id
from planasonix_orchestrator.runtime.ports import LOOPBACK

FOLLOWERS = 200
_LONG = 100_000  # lines
_LINES = 12
_BETWEEN_LINES = 0.23  # seconds: not a multiple of any interval at which somebody might look
_NDJSON = "application/x-ndjson"
_EVENTS = "text/event-stream"


@contextmanager
def build_memory(site: Site) -> Iterator[Sides]:
    """Stream 100,000 lines from a service that has just started and has streamed a short log before."""
    record = record_of(site, runs=LARGE)

    def grown() -> float:
        with our_service(record) as service:
            _stream(service, record.landmarks.twenty, each_time=lambda: None)
            before = service.memory()
            seen: list[int] = []
            lines = _stream(service, record.landmarks.long, each_time=lambda: seen.append(service.memory()))
            assert lines >= _LONG, f"{lines} lines came"
            return (max(seen) - before) / 1e6

    yield Sides(ours=grown)


def _stream(service: Service, dagster_id: str, *, each_time: Callable[[], None]) -> int:
    """Read a whole log and return its lines; `each_time` is called after every 64 kB."""
    connection = HTTPConnection(LOOPBACK, service.port, timeout=60)
    try:
        path = f"/api/runs/{encode_run_id(dagster_id)}/logs"
        connection.request("GET", path, headers={**service.headers, "Accept": _NDJSON})
        answer = connection.getresponse()
        kind = answer.getheader("Content-Type") or ""
        assert answer.status == 200, answer.read()
        assert kind.startswith(_NDJSON), f"the answer is {kind}"
        lines = 0
        while part := answer.read1(1 << 16):
            lines += part.count(b"\n")
            each_time()
        return lines
    finally:
        connection.close()


@contextmanager
def build_delay(site: Site) -> Iterator[Sides]:
    """Have 200 clients follow a run that is going on, and log a line every quarter of a second."""
    record = record_of(site, runs=LARGE)
    job = build_benchmark_job("followed", nodes=BRANCH, folder=record.home / "pipelines")
    with our_service(record) as service, record.instance() as instance:
        run_id = launch(job, instance=instance).run_id
        try:
            _log(instance, run_id, made_at=0.0)
            yield Sides(ours=lambda: _worst_delay(service, run_id, instance=instance))
        finally:
            instance.delete_run(run_id)


def _worst_delay(service: Service, run_id: str, *, instance: DagsterInstance) -> float:
    """Return the seconds that the slowest of all lines took from before its insert to the last of the followers."""
    request = service.request("GET", f"/api/runs/{encode_run_id(run_id)}/logs", accept=_EVENTS)
    command = [sys.executable, "-m", "benchmarks.followers", str(service.port), str(FOLLOWERS), str(_LINES)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as crowd:
        assert crowd.stdin is not None
        assert crowd.stdout is not None
        crowd.stdin.write(request)
        crowd.stdin.close()
        assert crowd.stdout.readline() == b"ready\n", "not every follower was let in"
        for _ in range(_LINES):
            _log(instance, run_id, made_at=time.monotonic())
            time.sleep(_BETWEEN_LINES)
        late: list[float] = json.loads(crowd.stdout.readline())
    assert len(late) == FOLLOWERS * _LINES, f"{len(late)} lines came instead of {FOLLOWERS * _LINES}"
    return max(late)


def _log(instance: DagsterInstance, run_id: str, *, made_at: float) -> None:
    """Log a line as a node's `context.log.info` does."""
    instance.handle_new_event(
        EventLogEntry(
            error_info=None,
            level=20,
            user_message=f"at {made_at:.6f};",
            run_id=run_id,
            timestamp=time.time(),
            step_key="n00_00",
            job_name="followed",
            dagster_event=None,
        )
    )


LOG_STREAMS = (
    Case(
        name="stream_memory",
        title=f"memory that the service takes for a stream of {_LONG:,} lines",
        goal=Goal(figure=20),
        build=build_memory,
        unit="MB",
        rounds=3,
    ),
    Case(
        name="follow_delay",
        title=f"the latest of {_LINES} lines at the last of {FOLLOWERS} followers",
        goal=Goal(figure=0.5),
        build=build_delay,
        rounds=3,
    ),
)
