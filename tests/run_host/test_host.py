"""Runs from the queue to their end, through a real run host."""

import json
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from planasonix_orchestrator.contract import tags
from planasonix_orchestrator.run_host.ledger import Ledger
from planasonix_orchestrator.run_host.storage import open_host_instance
from tests.run_host.hosted import Hosted, hosted, pipeline, wait_until
from tests.run_host.moments import stopped

pytestmark = pytest.mark.stack

GRACE_SECONDS = 4.0
SECONDS_AT_MOST = 30.0  # on any machine: left alone, the work would take ten minutes


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory, module_postgres_url: str) -> Iterator[Hosted]:
    folder = tmp_path_factory.mktemp("host")
    with hosted(
        folder, postgres_url=module_postgres_url, grace_seconds=GRACE_SECONDS, memory_limit_megabytes=600
    ) as one:
        yield one


@pytest.fixture(autouse=True)
def _nothing_is_left(host: Hosted) -> Iterator[None]:
    """After each test the host has cleaned up after the runs that have ended."""
    yield

    def left() -> list[Path]:
        folders = (host.settings.runs, host.settings.spill)
        return [path for folder in folders if folder.exists() for path in folder.iterdir()]

    wait_until(lambda: not left(), seconds=20, what=left)


def begin(host: Hosted, kind: str, **config: object) -> tuple[str, int]:
    """A run whose work has begun, and the process that does it."""
    run_id = host.submit(pipeline(kind, kind=kind, note="notes.txt", **config))
    wait_until(lambda: "began" in host.notes(run_id), seconds=60, what=lambda: host.story(run_id))
    return run_id, host.pid_of(run_id)


def events_of(host: Hosted, run_id: str) -> list[str]:
    return [str(entry.dagster_event_type) for entry in host.instance.all_logs(run_id) if entry.dagster_event_type]


def test_a_queued_run_is_executed(host: Hosted) -> None:
    """A run that is put into the queue is executed by a process of its own, and succeeds."""
    run_id = host.submit(pipeline("quick", note="notes.txt"))
    assert host.until(run_id) == "SUCCESS", host.story(run_id)
    assert host.notes(run_id) == ["began", "ended"]
    pid = host.pid_of(run_id)
    wait_until(lambda: not host.processes_of(pid), seconds=10, what=lambda: host.story(run_id))


def test_a_run_executes_what_was_queued(host: Hosted) -> None:
    """A document that is invalid by now, or gone, changes nothing for a run that was queued before."""
    document = pipeline("pinned", note="notes.txt")
    (host.settings.pipelines / "pinned.json").write_text(json.dumps(document))
    run = host.create(document)
    (host.settings.pipelines / "pinned.json").write_text("{")
    try:
        host.enqueue(run)
        assert host.until(run.run_id) == "SUCCESS"
    finally:
        (host.settings.pipelines / "pinned.json").unlink()


@pytest.mark.parametrize("kind", ["query", "loop"])
def test_work_that_can_be_interrupted_is_canceled(host: Hosted, kind: str) -> None:
    """A query or a loop ends as canceled and leaves no process; how soon, the matrix tells."""
    run_id, pid = begin(host, kind)
    assert host.cancel(run_id)
    assert host.until(run_id) == "CANCELED"
    assert not host.processes_of(pid)
    assert host.notes(run_id) == ["began"]


@pytest.mark.parametrize("kind", ["sleep", "hold", "child"])
def test_work_that_can_not_be_interrupted_is_killed(host: Hosted, kind: str) -> None:
    """What does not stop is killed after the grace period, with all that it has started; only then it is canceled."""
    run_id, pid = begin(host, kind)
    asked = time.monotonic()
    assert host.cancel(run_id)
    host.until(run_id, "CANCELING")
    assert host.processes_of(pid)
    assert host.until(run_id) == "CANCELED"
    assert not host.processes_of(pid)
    assert GRACE_SECONDS <= time.monotonic() - asked < SECONDS_AT_MOST
    assert host.notes(run_id) == ["began"]


def test_a_waiting_run_is_canceled(host: Hosted) -> None:
    """A run that waits for capacity is canceled without ever having begun."""
    running = [begin(host, "sleep")[0] for _ in range(4)]
    waiting = host.submit(pipeline("waiting", note="notes.txt"))
    assert host.status(waiting) == "QUEUED"
    assert host.cancel(waiting)
    assert host.until(waiting) == "CANCELED"
    assert host.notes(waiting) == []
    for run_id in running:
        host.cancel(run_id)
    for run_id in running:
        assert host.until(run_id) == "CANCELED"


def test_what_was_canceled_meanwhile_is_not_started(host: Hosted) -> None:
    """A run whose cancellation comes after the host has chosen it from the queue, and before it starts it, stays."""
    assert host.host is not None
    with stopped([psutil.Process(host.host.pid)]), open_host_instance(str(host.settings.dagster_home)) as instance:
        run_id = host.submit(pipeline("chosen", note="notes.txt"))
        ledger = Ledger(instance)
        assert host.cancel(run_id)
        assert not ledger.starting(run_id)
    assert host.until(run_id) == "CANCELED"
    assert host.notes(run_id) == []


def test_the_cancellation_of_what_was_never_queued_counts(host: Hosted) -> None:
    """A run that was only created can be canceled; it is never executed."""
    run = host.create(pipeline("created", note="notes.txt"))
    assert host.cancel(run.run_id)
    assert host.until(run.run_id) == "CANCELED"
    host.enqueue(run)
    assert host.until(run.run_id) == "CANCELED"
    assert host.notes(run.run_id) == []


def test_a_run_that_nobody_queued_is_queued(host: Hosted) -> None:
    """Where the creator of a run has died before queueing it, the host does it."""
    run = host.create(pipeline("forgotten", note="notes.txt"))
    assert host.until(run.run_id, seconds=30) == "SUCCESS"


def test_a_canceled_run_says_who_and_when(host: Hosted) -> None:
    """Who asked first stands on the run; asking again changes nothing; after the end there is nothing to ask for."""
    run_id, _ = begin(host, "query")
    assert host.cancel(run_id)
    assert host.cancel(run_id)
    host.until(run_id)
    assert not host.cancel(run_id)
    run = host.instance.get_run_by_id(run_id)
    assert run is not None
    assert run.tags[tags.CANCEL_REQUESTED_BY] == "tester"
    assert events_of(host, run_id).count("DagsterEventType.RUN_CANCELING") == 1
    assert events_of(host, run_id)[-1] == "DagsterEventType.RUN_CANCELED"


def test_a_killed_worker_fails_its_run(host: Hosted) -> None:
    """A run whose process is killed fails at once, and says so."""
    run_id, pid = begin(host, "sleep")
    os.kill(pid, signal.SIGKILL)
    assert host.until(run_id, seconds=SECONDS_AT_MOST) == "FAILURE"
    assert "was killed by SIGKILL" in host.story(run_id)


def test_a_run_that_takes_too_much_memory_is_killed(host: Hosted) -> None:
    """Past the memory limit the processes of a run are killed, and the run says why."""
    run_id, pid = begin(host, "memory")
    assert host.until(run_id) == "FAILURE"
    assert not host.processes_of(pid)
    assert "MB of memory" in host.story(run_id)


def test_the_runs_of_a_killed_host_are_found_again(host: Hosted) -> None:
    """A host that takes the place of a killed one goes on with its runs: they end well, fail or are canceled."""
    ends, _ = begin(host, "sleep", seconds=4)
    lost, lost_pid = begin(host, "sleep", seconds=60)
    unwanted, unwanted_pid = begin(host, "query")
    host.kill()
    os.kill(lost_pid, signal.SIGKILL)
    assert host.cancel(unwanted)
    queued = host.submit(pipeline("quick", note="notes.txt"))
    host.start()
    assert host.until(unwanted) == "CANCELED"
    assert not psutil.pid_exists(unwanted_pid) or not host.processes_of(unwanted_pid)
    assert host.until(lost) == "FAILURE"
    assert host.until(ends) == "SUCCESS"
    assert host.notes(ends) == ["began", "ended"]
    assert host.until(queued) == "SUCCESS"


def test_a_zygote_that_is_killed_is_replaced(host: Hosted) -> None:
    """Without its zygote the host makes another one; runs in flight go on."""
    run_id, _ = begin(host, "sleep", seconds=3)
    zygotes = [each for each in host.processes() if "zygote" in " ".join(each.cmdline()) and is_zygote(host, each)]
    assert zygotes
    for zygote in zygotes:
        zygote.kill()
    assert host.until(run_id) == "SUCCESS"
    assert host.until(host.submit(pipeline("quick"))) == "SUCCESS"


def is_zygote(host: Hosted, process: psutil.Process) -> bool:
    assert host.host is not None
    return process.ppid() == host.host.pid


def test_no_more_runs_than_allowed_work_at_once(host: Hosted) -> None:
    """At most four runs work at a time; the most urgent of those that wait comes first."""
    first = [begin(host, "sleep")[0] for _ in range(4)]
    low = host.submit(pipeline("low", note="order.txt"), dagster__priority="-1")
    high = host.submit(pipeline("high", note="order.txt"), dagster__priority="5")
    assert {host.status(low), host.status(high)} == {"QUEUED"}
    assert host.cancel(first[0])
    for run_id in (high, low):
        assert host.until(run_id) == "SUCCESS"
    for run_id in first[1:]:
        assert host.status(run_id) == "STARTED"
        assert host.cancel(run_id)
    for run_id in first:
        assert host.until(run_id) == "CANCELED"
    order = [line.split()[0] for line in (host.settings.pipelines / "order.txt").read_text().splitlines()]
    assert order.index(high) < order.index(low)


def test_runs_that_share_a_limit_wait_for_each_other(host: Hosted) -> None:
    """At most so many as it says work at once, in the order of the queue; runs behind them are not held up."""
    document = pipeline("shared", kind="sleep", note="notes.txt")
    limited = [host.submit(document, planasonix__limited_by="sch_a 1") for _ in range(2)]
    others = [host.submit(document, planasonix__limited_by=value) for value in ("sch_b 1", "sch_c none")]
    try:
        for run_id in (limited[0], *others):
            host.until(run_id, "STARTED")
        assert host.status(limited[1]) == "QUEUED"
        host.cancel(limited[0])
        host.until(limited[1], "STARTED")
        assert host.status(limited[0]) == "CANCELED"
    finally:
        for run_id in (*limited, *others):
            host.cancel(run_id)
        for run_id in (*limited, *others):
            host.until(run_id)


def test_a_pipeline_and_an_environment_have_limits_of_their_own(host: Hosted) -> None:
    """What would be too many of a pipeline, or in an environment, waits while others start."""
    limited = {**pipeline("limited", kind="sleep", note="notes.txt"), "maxConcurrentRuns": 1}
    environments = {"environments": {"small": {"maxConcurrentRuns": 1}}}
    files = {"limited.json": limited, "environments.json": environments}
    for name, content in files.items():
        (host.settings.pipelines / name).write_text(json.dumps(content))
    time.sleep(1.1)  # after which a change of the folder is seen at the latest
    try:
        runs = [host.submit(limited), host.submit(limited)]
        places = {"planasonix__environment_id": "small"}
        runs += [host.submit(pipeline(name, kind="sleep", note="notes.txt"), **places) for name in ("one", "two")]
        for run_id in (runs[0], runs[2]):
            host.until(run_id, "STARTED")
        assert [host.status(run_id) for run_id in (runs[1], runs[3])] == ["QUEUED", "QUEUED"]
        assert host.until(host.submit(pipeline("quick"))) == "SUCCESS"
        assert [host.status(run_id) for run_id in (runs[1], runs[3])] == ["QUEUED", "QUEUED"]
        for run_id in runs:
            host.cancel(run_id)
        assert {host.until(run_id) for run_id in runs} == {"CANCELED"}
    finally:
        for name in files:
            (host.settings.pipelines / name).unlink()


@pytest.mark.parametrize("way", ["the UI", "the daemon"])
def test_a_termination_by_dagster_goes_the_same_way(host: Hosted, way: str) -> None:
    """What Dagster's UI and its daemon do to stop a run stores an intent, which the host brings to its end."""
    run_id, pid = begin(host, "query")
    instance = host.instance
    stop = instance.run_coordinator.cancel_run if way == "the UI" else instance.run_launcher.terminate
    assert stop(run_id)
    assert host.until(run_id) == "CANCELED"
    assert not host.processes_of(pid)
    assert not stop(run_id)


def test_dagsters_monitoring_is_told_whether_a_worker_lives(host: Hosted, monkeypatch: pytest.MonkeyPatch) -> None:
    """While the host is away a lost worker is told; one that lives, or whose run was canceled, is the host's to end."""
    monkeypatch.setenv("PLANASONIX_STATE", str(host.settings.state))

    def health(run_id: str) -> str:
        run = host.instance.get_run_by_id(run_id)
        assert run is not None
        return host.instance.run_launcher.check_run_worker_health(run).status.value

    run_id, pid = begin(host, "sleep")
    assert health(run_id) == "RUNNING"
    host.kill()
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: not host.processes_of(pid), seconds=10, what=lambda: host.story(run_id))
    assert health(run_id) == "FAILED"
    host.cancel(run_id)
    assert health(run_id) == "RUNNING"
    host.start()
    assert host.until(run_id) == "CANCELED"


def test_a_run_marked_as_canceled_by_others_stops_working(host: Hosted) -> None:
    """Dagster can be made to say that a run is canceled while it works: then its process is ended, too."""
    run_id, pid = begin(host, "sleep")
    run = host.instance.get_run_by_id(run_id)
    assert run is not None
    host.instance.report_run_canceled(run)
    wait_until(lambda: not host.processes_of(pid), seconds=20, what=lambda: host.story(run_id))
    assert host.status(run_id) == "CANCELED"
