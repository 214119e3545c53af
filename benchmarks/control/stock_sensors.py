"""The stock side of the triggers: plain Dagster sensors at their default interval, loaded by Dagster's daemon."""

import os
from collections.abc import Iterator
from pathlib import Path

import dagster as dg

FOLDER_VARIABLE = "PLANASONIX_BENCHMARK_INBOX"


@dg.op
def work() -> None:
    """Do nothing."""


@dg.job
def arrived() -> None:
    """Run when a file has arrived."""
    work()


@dg.job
def upstream() -> None:
    """Run when it is told to."""
    work()


@dg.job
def downstream() -> None:
    """Run when `upstream` has succeeded."""
    work()


@dg.sensor(job=arrived, default_status=dg.DefaultSensorStatus.RUNNING)
def watch_folder() -> Iterator[dg.RunRequest]:
    """Ask for a run for each file of the folder: Dagster makes one for each run key."""
    for file in Path(os.environ[FOLDER_VARIABLE]).iterdir():
        yield dg.RunRequest(run_key=file.name)


@dg.run_status_sensor(
    run_status=dg.DagsterRunStatus.SUCCESS,
    monitored_jobs=[upstream],
    request_job=downstream,
    default_status=dg.DefaultSensorStatus.RUNNING,
)
def watch_upstream(context: dg.RunStatusSensorContext) -> dg.RunRequest:
    """Ask for a run for each success."""
    return dg.RunRequest(run_key=context.dagster_run.run_id)


definitions = dg.Definitions(
    jobs=[arrived, upstream, downstream],
    sensors=[watch_folder, watch_upstream],
)
