"""What Dagster's own parts (UI, daemon, command line) have for the host: runs that are new, or shall be canceled."""

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime

from dagster import DagsterEvent, DagsterInstance, DagsterRun, DagsterRunStatus, EventLogEntry
from sqlalchemy import Connection, text

from planasonix_orchestrator.contract.cancellation import CHANNEL, FINISHED, CanceledBy, has_intent, store_intent
from planasonix_orchestrator.run_host.dagster_api import RunsTable, RunTagsTable, serialize_value


def announce(instance: DagsterInstance, *, run_id: str) -> None:
    """Tell the host that there is something to do for a run."""
    with _connection(instance) as connection:
        connection.execute(_NOTIFY, {"channel": CHANNEL, "run_id": run_id})


def enqueue(instance: DagsterInstance, *, run: DagsterRun, at: datetime) -> bool:
    """Put a new run into the queue and tell the host; False if somebody else has, whatever the run does by now.

    Dagster's own way writes the status whatever it is: a late one would set a run back that has started.
    """
    with _connection(instance) as connection:
        parameters = {"run_id": run.run_id, "at": at.astimezone(UTC).replace(tzinfo=None)}
        if not connection.execute(_ENQUEUE, parameters).rowcount:
            return False
        _tell_queued(connection, instance, run=run, at=at)
        connection.execute(_NOTIFY, {"channel": CHANNEL, "run_id": run.run_id})
    return True


def create_queued(instance: DagsterInstance, *, runs: Sequence[DagsterRun], at: datetime) -> None:
    """Create runs that stand in the queue already, and tell the host: all, or none (`IntegrityError`).

    None if there is one of the id of any, or if the snapshots that one stands on are not in the record.
    """
    queued = [run.with_status(DagsterRunStatus.QUEUED) for run in runs]
    with _connection(instance) as connection:
        connection.execute(RunsTable.insert(), [_row(run, at=at) for run in queued])
        connection.execute(RunTagsTable.insert(), [tag for run in queued for tag in _tag_rows(run)])
        for run in queued:
            _tell_queued(connection, instance, run=run, at=at)
        connection.execute(_NOTIFY, {"channel": CHANNEL, "run_id": queued[0].run_id})


def intend(instance: DagsterInstance, *, run_id: str, by: str, at: datetime, source: CanceledBy = "user") -> bool:
    """Store that a run be canceled; False if it has ended, or there is none."""
    with _connection(instance) as connection:
        status = store_intent(connection, run_id, by=by, at=at, source=source)
    return status is not None and status not in FINISHED


def is_intended(instance: DagsterInstance, *, run_id: str) -> bool:
    """Tell whether it was asked that a run be canceled."""
    with _connection(instance) as connection:
        return has_intent(connection, run_id)


def _row(run: DagsterRun, *, at: datetime) -> dict[str, object]:
    """Return the row of a new run as Dagster's own storage writes it."""
    written = at.astimezone(UTC).replace(tzinfo=None)
    return {
        "run_id": run.run_id,
        "pipeline_name": run.job_name,
        "status": run.status.value,
        "run_body": serialize_value(run),
        "snapshot_id": run.job_snapshot_id,
        "create_timestamp": written,
        "update_timestamp": written,
    }


def _tag_rows(run: DagsterRun) -> Iterator[dict[str, str]]:
    for key, value in run.tags_for_storage().items():
        yield {"run_id": run.run_id, "key": key, "value": value}


def _tell_queued(connection: Connection, instance: DagsterInstance, *, run: DagsterRun, at: datetime) -> None:
    entry = EventLogEntry(
        error_info=None,
        user_message="",
        level=logging.INFO,
        run_id=run.run_id,
        timestamp=at.timestamp(),
        job_name=run.job_name,
        dagster_event=DagsterEvent.job_enqueue(run),
    )
    connection.execute(instance.event_log_storage.prepare_insert_event(entry))  # type: ignore[attr-defined]


@contextmanager
def _connection(instance: DagsterInstance) -> Iterator[Connection]:
    with instance.run_storage.connect() as connection:  # type: ignore[attr-defined]  # of the storages that are SQL
        transaction = connection.execution_options(isolation_level="READ COMMITTED")
        with transaction.begin():
            yield transaction


_NOTIFY = text("SELECT pg_notify(:channel, :run_id)")
_ENQUEUE = text(
    "UPDATE runs SET status = 'QUEUED', update_timestamp = :at WHERE run_id = :run_id AND status = 'NOT_STARTED'"
)
