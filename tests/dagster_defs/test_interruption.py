"""A node's `timeoutSeconds`, and the cancellation of its run."""

import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

import pytest
from dagster import JobDefinition

from planasonix_orchestrator.dagster_defs.interruption import NodeTimeoutError, run_interruptibly
from planasonix_orchestrator.engine.session import Session
from planasonix_orchestrator.engine.stopping import last_stop
from planasonix_orchestrator.errors import NodeError
from tests.dagster_defs.pipelines import document, events_of, execute, failure_of, job_of, metadata_of, node

pytestmark = pytest.mark.stack  # they work for seconds


def pipeline(*, seconds: float, timeout: float, inside: str = "engine", retries: int = 0) -> dict[str, object]:
    """A source and a node that takes its time."""
    slow = node("slow", "transform.slow", timeout=timeout, retries=retries, seconds=seconds, inside=inside)
    return dict(document([node("a", "source.numbers"), slow], ("a", "slow")))


def test_a_query_past_the_limit_is_stopped(tmp_path: Path) -> None:
    """The node fails soon after its limit with a message that says what to change."""
    started = time.monotonic()
    result = execute(job_of(pipeline(seconds=60, timeout=0.3), folder=tmp_path))
    assert "stopped after 0.3 s, its timeoutSeconds (raise timeoutSeconds" in failure_of(result, "slow")
    assert time.monotonic() - started < 30  # half the node's own time


def test_a_timeout_is_tried_again(tmp_path: Path) -> None:
    """A timeout is a failed attempt like any other."""
    result = execute(job_of(pipeline(seconds=60, timeout=0.2, retries=1), folder=tmp_path))
    assert len(events_of(result, "STEP_RESTARTED", "slow")) == 1
    assert not result.success


def test_a_node_within_its_limit_is_left_alone(tmp_path: Path) -> None:
    """The limit does nothing to a node that keeps it."""
    result = execute(job_of(pipeline(seconds=0, timeout=30), folder=tmp_path))
    assert result.success
    assert metadata_of(result, "slow")["planasonix/rows_out"] == 10


def test_an_error_within_the_limit_stays_what_it_is() -> None:
    """Only what happens past the limit is told as a timeout."""

    def fail() -> None:
        raise TimeoutError("of a socket")

    with pytest.raises(TimeoutError, match="of a socket"):
        run_interruptibly(fail, seconds=30)


def test_work_that_can_not_be_interrupted_counts_as_done() -> None:
    """Work that is past its last stop has been done though it ends late; telling otherwise would do it twice."""
    released = threading.Event()

    def commit() -> bool:
        last_stop()
        return released.wait()

    threading.Timer(0.3, released.set).start()
    assert run_interruptibly(commit, seconds=0.01)


def test_the_limit_reaches_the_next_query_too(tmp_path: Path) -> None:
    """A node that swallows one interrupt is stopped in its next query."""
    with Session(spill=tmp_path) as session:

        def query() -> None:
            with session.cursor() as cursor:
                cursor.execute("SELECT count(*) FROM range(10000000000) AS a(n) WHERE hash(n) % 7 = 1").fetchall()

        def swallow_one_interrupt() -> None:
            with suppress(NodeError):
                query()
            query()

        with pytest.raises(NodeTimeoutError):
            run_interruptibly(swallow_one_interrupt, seconds=0.2)


CANCELED_RUN = """
import os, signal, sys, threading
from pathlib import Path
from dagster import DagsterInstance, execute_job, build_reconstructable_job
from dagster._utils.interrupts import capture_interrupts, setup_interrupt_handlers

def cancel_once_it_runs(instance):
    while not Path(sys.argv[1], "slow.started").exists():
        pass
    instance.report_run_canceling(instance.get_runs()[0])  # what Dagster's launcher does before it sends the signal
    os.kill(os.getpid(), signal.SIGTERM)

setup_interrupt_handlers()
arguments = (sys.argv[1], int(sys.argv[2]))
recipe = build_reconstructable_job("tests.dagster_defs.test_interruption", "build_slow_job", arguments)
with capture_interrupts(), DagsterInstance.local_temp(sys.argv[1]) as instance:
    threading.Thread(target=cancel_once_it_runs, args=(instance,)).start()
    execute_job(recipe, instance)
    (run,) = instance.get_runs()
    events = [event.dagster_event_type.value for event in instance.all_logs(run.run_id) if event.step_key == "slow"]
    print(run.status.value, *events)
"""


def build_slow_job(folder: str, retries: int) -> JobDefinition:
    """A job with one long query."""
    return job_of(pipeline(seconds=300, timeout=600, retries=retries), folder=Path(folder))


@pytest.mark.parametrize("retries", [0, 2])
def test_a_cancelled_run_stops_in_the_middle_of_a_query(tmp_path: Path, retries: int) -> None:
    """The signal with which Dagster cancels a run stops the query at once and for good; the run ends as canceled."""
    started = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", CANCELED_RUN, str(tmp_path), str(retries)], capture_output=True, text=True, check=False
    )
    assert done.stdout.splitlines()[-1:] == ["CANCELED STEP_START STEP_FAILURE"], done.stderr[-3000:]
    assert time.monotonic() - started < 60
    assert list((tmp_path / ".state" / "spill").iterdir()) == []
