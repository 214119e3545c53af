"""Dagster's run monitoring takes a run for as old as it has seen it, whatever the time of day."""

import logging
import time
from collections.abc import Iterator
from typing import Any

import pytest
from dagster import DagsterInstance, DagsterRun, DagsterRunStatus
from dagster._core.storage.dagster_run import RunRecord
from dagster._core.storage.tags import MAX_RUNTIME_SECONDS_TAG
from dagster._daemon.monitoring import run_monitoring
from dagster._time import datetime_from_timestamp

from planasonix_orchestrator.runtime.run_limits import SeenFor, limiting_runtime, limiting_start

LOGGER = logging.getLogger("monitoring")
HOUR = 3600.0


class Steady:
    """A monotonic clock, as far as the tests let it go on."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def instance() -> Iterator[DagsterInstance]:
    """An instance that keeps nothing."""
    with DagsterInstance.ephemeral() as instance:
        yield instance


def _record(instance: DagsterInstance, status: DagsterRunStatus, *, since: float) -> RunRecord:
    """A run with a limit of 60 s that is in its state since that time of day."""
    run = DagsterRun(job_name="copy", status=status, tags={MAX_RUNTIME_SECONDS_TAG: "60"})
    instance.add_run(run)
    moment = datetime_from_timestamp(since)
    return RunRecord(
        storage_id=1, dagster_run=run, create_timestamp=moment, update_timestamp=moment, start_time=since, end_time=None
    )


def _status(instance: DagsterInstance, record: RunRecord) -> DagsterRunStatus:
    run = instance.get_run_by_id(record.dagster_run.run_id)
    assert run is not None
    return run.status


@pytest.mark.parametrize("jump", [-HOUR, HOUR])
def test_a_run_with_a_limit_outlives_a_clock_that_is_set_but_not_its_limit(
    instance: DagsterInstance, jump: float
) -> None:
    """The clock was set after the run had started."""
    clock = Steady()
    check = limiting_runtime(run_monitoring.check_run_timeout, seen_for=SeenFor(clock))
    record = _record(instance, DagsterRunStatus.STARTED, since=time.time() - jump)
    for seconds in (0, 30, 29):
        clock.now += seconds
        check(instance, record, LOGGER, 0.0)
        assert _status(instance, record) is DagsterRunStatus.STARTED
    clock.now += 2
    check(instance, record, LOGGER, 0.0)
    assert _status(instance, record) is DagsterRunStatus.FAILURE


def test_a_run_is_not_given_up_that_starts_while_the_clock_is_set(instance: DagsterInstance) -> None:
    """However long ago it seems to have been created."""
    clock = Steady()
    check = limiting_start(run_monitoring.monitor_starting_run, seen_for=SeenFor(clock))
    record = _record(instance, DagsterRunStatus.NOT_STARTED, since=time.time() - HOUR)
    check(instance, record, LOGGER)
    assert _status(instance, record) is DagsterRunStatus.NOT_STARTED
    clock.now += instance.run_monitoring_start_timeout_seconds
    check(instance, record, LOGGER)
    assert _status(instance, record) is DagsterRunStatus.FAILURE


def test_what_has_been_seen_is_forgotten_in_time(instance: DagsterInstance) -> None:
    """The daemon runs for months."""
    clock = Steady()
    seen_for = SeenFor(clock)
    seen_for(_record(instance, DagsterRunStatus.STARTED, since=0.0))
    clock.now += 2 * HOUR
    seen_for(_record(instance, DagsterRunStatus.STARTED, since=0.0))
    assert len(seen_for._seen) == 1


def test_dagster_asks_where_we_answer() -> None:
    """It looks both up in its module."""

    def names(function: Any) -> tuple[str, ...]:
        found: tuple[str, ...] = function.__code__.co_names
        return found

    assert "monitor_starting_run" in names(run_monitoring.execute_run_monitoring_iteration)
    assert "check_run_timeout" in names(run_monitoring.monitor_started_run)
