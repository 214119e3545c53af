"""Events put into an instance by hand, and what of them is in the database, seen over a connection of its own."""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg2
from dagster import DagsterEvent, DagsterEventType, DagsterInstance, DagsterRunStatus, EventLogEntry, job
from dagster._core.events import EventSpecificData, JobFailureData
from dagster._core.execution.plan.objects import StepSuccessData
from dagster._core.remote_origin import RegisteredCodeLocationOrigin, RemoteJobOrigin, RemoteRepositoryOrigin

_DAGSTER_YAML = """
storage:
  postgres:
    postgres_url: "{url}"
telemetry:
  enabled: false
"""
# Which a queued run must have.
_ORIGIN = RemoteJobOrigin(RemoteRepositoryOrigin(RegisteredCodeLocationOrigin("planasonix"), "planasonix"), "nothing")
_DATA: dict[DagsterEventType, EventSpecificData] = {
    DagsterEventType.STEP_SUCCESS: StepSuccessData(1.0),
    DagsterEventType.RUN_FAILURE: JobFailureData(None),
}


@job
def nothing() -> None:
    """A job to have runs of."""


def write_home(folder: Path, *, url: str) -> str:
    """Make a folder the home of an instance whose record is in the database at `url`."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "dagster.yaml").write_text(_DAGSTER_YAML.format(url=url))
    return str(folder)


def make_run(instance: DagsterInstance, status: DagsterRunStatus = DagsterRunStatus.STARTED) -> str:
    """The id of a new run in the given status."""
    return instance.create_run_for_job(nothing, run_id=str(uuid4()), status=status, remote_job_origin=_ORIGIN).run_id


def event_of(run_id: str, kind: DagsterEventType, *, step_key: str | None = None, message: str = "") -> EventLogEntry:
    """An event."""
    told = DagsterEvent(
        event_type_value=kind.value,
        job_name="nothing",
        step_key=step_key,
        message=message,
        event_specific_data=_DATA.get(kind),
    )
    return EventLogEntry(
        error_info=None,
        level=20,
        user_message="",
        run_id=run_id,
        timestamp=time.time(),
        step_key=step_key,
        job_name="nothing",
        dagster_event=told,
    )


def line_of(run_id: str, text: str) -> EventLogEntry:
    """A line that a node has logged."""
    return EventLogEntry(error_info=None, level=20, user_message=text, run_id=run_id, timestamp=time.time())


def rows_of(url: str, statement: str, *parameters: Any) -> Sequence[tuple[Any, ...]]:
    """What a statement finds in a transaction of its own."""
    connection = psycopg2.connect(url)
    try:
        with connection, connection.cursor() as cursor:
            cursor.execute(statement, parameters)
            return cursor.fetchall()
    finally:
        connection.close()


def kinds_of(url: str, run_id: str) -> list[str | None]:
    """The types of the events of a run that are in the database; None for a line of a log."""
    rows = rows_of(url, "SELECT dagster_event_type FROM event_logs WHERE run_id = %s ORDER BY id", run_id)
    return [kind for (kind,) in rows]


def status_of(url: str, run_id: str) -> str:
    """The status of a run as it stands in the database."""
    ((status,),) = rows_of(url, "SELECT status FROM runs WHERE run_id = %s", run_id)
    return str(status)
