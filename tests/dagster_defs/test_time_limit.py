"""A node's `timeoutSeconds`."""

import time
from contextlib import suppress
from pathlib import Path

import pytest

from planasonix_orchestrator.dagster_defs.time_limit import NodeTimeoutError, time_limit
from planasonix_orchestrator.engine.session import Session
from planasonix_orchestrator.errors import NodeError
from tests.dagster_defs.pipelines import document, events_of, execute, failure_of, job_of, metadata_of, node


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


def test_an_error_within_the_limit_stays_what_it_is(tmp_path: Path) -> None:
    """Only what happens past the limit is told as a timeout."""
    with Session(spill=tmp_path) as session, pytest.raises(KeyError), time_limit(session, seconds=30):
        raise KeyError("x")


def test_work_that_can_not_be_interrupted_counts_as_done(tmp_path: Path) -> None:
    """A block that ends late without DuckDB has done its work; telling otherwise would make it be done twice."""
    with Session(spill=tmp_path) as session, time_limit(session, seconds=0):
        done = True
    assert done


def test_the_limit_reaches_the_next_query_too(tmp_path: Path) -> None:
    """A node that swallows one interrupt is stopped in its next query."""

    def query(session: Session) -> None:
        with session.cursor() as cursor:
            cursor.execute("SELECT count(*) FROM range(10000000000) AS a(n) WHERE hash(n) % 7 = 1").fetchall()

    def swallow_one_interrupt(session: Session) -> None:
        with time_limit(session, seconds=0.2):
            with suppress(NodeError):
                query(session)
            query(session)

    with Session(spill=tmp_path) as session, pytest.raises(NodeTimeoutError):
        swallow_one_interrupt(session)
