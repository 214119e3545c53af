"""Time limits of runs in Dagster's run monitoring, by a clock that nobody sets.

Dagster compares the time of day with that at which a run was started. Once somebody has set the machine's clock an hour
ahead, it took every run with a limit for an hour old, and called it failed while it worked. Here it counts for how long
the daemon has seen a run in its state; one that comes to the daemon's attention anew has its whole time before it.
"""

import time
from collections.abc import Callable
from logging import Logger
from typing import Any

from dagster import DagsterInstance
from dagster._core.storage.dagster_run import RunRecord

Monitor = Callable[..., None]
_SECONDS_TO_FORGET = 3600.0  # monitoring looks at each run every 30 s


class SeenFor:
    """For how many seconds each run has been seen in the state that it is in; `clock` is never set."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._seen: dict[tuple[str, str], tuple[float, float]] = {}  # by run and status: first, and last

    def __call__(self, record: RunRecord) -> float:
        """Note that the run is seen now."""
        now = self._clock()
        self._seen = {key: seen for key, seen in self._seen.items() if now - seen[1] < _SECONDS_TO_FORGET}
        key = (record.dagster_run.run_id, record.dagster_run.status.value)
        first, _ = self._seen.get(key, (now, now))
        self._seen[key] = (first, now)
        return now - first


def limiting_start(monitor: Monitor, *, seen_for: SeenFor) -> Monitor:
    """Return Dagster's `monitor_starting_run`, but a run must also have been seen for the time that it may take."""

    def monitor_starting_run(instance: DagsterInstance, run_record: RunRecord, logger: Logger) -> None:
        if seen_for(run_record) >= instance.run_monitoring_start_timeout_seconds:
            monitor(instance, run_record, logger)

    return monitor_starting_run


def limiting_runtime(monitor: Monitor, *, seen_for: SeenFor) -> Monitor:
    """Return Dagster's `check_run_timeout`, but that a run counts as started when it was first seen so."""

    def check_run_timeout(instance: DagsterInstance, run_record: RunRecord, *arguments: Any) -> None:
        monitor(instance, run_record._replace(start_time=time.time() - seen_for(run_record)), *arguments)

    return check_run_timeout
