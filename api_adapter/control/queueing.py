"""Puts runs into the queue: each in one transaction with the run itself, where Dagster's coordinator allows it.

Dagster writes a run, its tags, the event and the new status one by one, so that a crash leaves half of them; and it
asks the database for the columns of its tables at each step, which takes several times as long as the writing.
"""

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from dagster import DagsterEvent, DagsterInstance, DagsterRun, DagsterRunStatus, EventLogEntry
from psycopg2 import errors
from sqlalchemy import Connection
from sqlalchemy.exc import IntegrityError

from api_adapter.control.code_location import DagsterConnection, dagster_errors
from api_adapter.control.dagster_api import (
    QueuedRunCoordinator,
    RunsTable,
    RunTagsTable,
    SqlEventLogStorage,
    SubmitRunContext,
    serialize_value,
)
from api_adapter.control.database import Database
from api_adapter.control.orders import StartedRun
from api_adapter.errors import IdempotencyConflictError
from planasonix_orchestrator.contract import tags as tag_names
from planasonix_orchestrator.contract.cancellation import CHANNEL, has_intent


class RunExistsError(Exception):
    """There is a run of this id already."""


class SnapshotsLostError(Exception):
    """The snapshots that a run stands on are not in Dagster's storage."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownRun:
    """A run that is in the record, as far as it matters to somebody who asks for it again. `status` is Dagster's."""

    run_id: str
    status: str
    created_at: datetime
    tags: Mapping[str, str]

    @property
    def request_hash(self) -> str | None:
        """The hash of the request that created it."""
        return self.tags.get(tag_names.REQUEST_HASH)


class Queue:
    """The way into the queue of Dagster's coordinator."""

    def __init__(self, connection: DagsterConnection, *, database: Database) -> None:
        self._connection = connection
        self._database = database

    def put(self, runs: Sequence[DagsterRun], *, at: datetime) -> None:
        """Create runs and queue them in their order: all, or none if there is one of the id of any.

        `RunExistsError`, `SnapshotsLostError`.
        """
        with dagster_errors():
            instance = self._connection.instance()
            at_once = _takes_queued_runs(instance)
            self._create(instance, [run.with_status(_QUEUED) for run in runs] if at_once else runs, at=at)
            for run in () if at_once else runs:
                self._submit(run.run_id)

    def find(self, run_id: str) -> KnownRun | None:
        """Return what is known of a run, None if there is none of this id."""
        row = self._database.transact(
            lambda connection: connection.exec_driver_sql(_FIND, {"run_id": run_id}).one_or_none()
        )
        if row is None:
            return None
        return KnownRun(run_id=run_id, status=row.status, created_at=row.created, tags=json.loads(row.run_body)["tags"])

    def replay(self, run_id: str, *, request_hash: str) -> StartedRun | None:
        """Return the run of this id, if an earlier request has created it; see to it that it is queued.

        `IdempotencyConflictError` if that request was not the one of this hash.
        """
        known = self.find(run_id)
        if known is None:
            return None
        if known.request_hash != request_hash:
            raise IdempotencyConflictError
        return self.resume(known)

    def resume(self, known: KnownRun) -> StartedRun:
        """Return a run that was created before, and see to it that it is queued."""
        if known.status == DagsterRunStatus.NOT_STARTED.value:
            with dagster_errors():
                self._submit(known.run_id)
        return StartedRun(dagster_id=known.run_id, queued_at=known.created_at, replayed=True)

    def _submit(self, run_id: str) -> None:
        """Submit a run that was only created, unless somebody else does so, or wants it canceled."""
        workspace = self._connection.loaded().workspace
        instance = self._connection.instance()
        with self._database.alone_with(run_id, wait=True):
            run = instance.get_run_by_id(run_id)
            unwanted = self._database.transact(lambda connection: has_intent(connection, run_id))
            if run is not None and run.status is DagsterRunStatus.NOT_STARTED and not unwanted:
                instance.run_coordinator.submit_run(SubmitRunContext(run, workspace))

    def _create(self, instance: DagsterInstance, runs: Sequence[DagsterRun], *, at: datetime) -> None:
        events = instance.event_log_storage

        def insert(connection: Connection) -> None:
            connection.execute(RunsTable.insert(), [_row(run, at=at) for run in runs])
            tags = [
                {"run_id": run.run_id, "key": key, "value": value}
                for run in runs
                for key, value in run.tags_for_storage().items()
            ]
            connection.execute(RunTagsTable.insert(), tags)
            for run in runs:
                if run.status is _QUEUED and isinstance(events, SqlEventLogStorage):
                    connection.execute(events.prepare_insert_event(_enqueued(run, at=at)))
            connection.exec_driver_sql("SELECT pg_notify(%s, %s)", (CHANNEL, runs[0].run_id))

        try:
            self._database.transact(insert)
        except IntegrityError as error:
            if isinstance(error.orig, errors.ForeignKeyViolation):
                raise SnapshotsLostError from error
            raise RunExistsError from error


def _takes_queued_runs(instance: DagsterInstance) -> bool:
    """Tell whether a run is in the queue as soon as the record says so: that is all that submitting it would do."""
    coordinator = instance.run_coordinator
    stock = type(coordinator).submit_run is QueuedRunCoordinator.submit_run
    return stock or bool(getattr(coordinator, "takes_queued_runs", False))


def _row(run: DagsterRun, *, at: datetime) -> dict[str, object]:
    """Return the row of a new run as Dagster's own storage writes it."""
    return {
        "run_id": run.run_id,
        "pipeline_name": run.job_name,
        "status": run.status.value,
        "run_body": serialize_value(run),
        "snapshot_id": run.job_snapshot_id,
        "create_timestamp": at,
        "update_timestamp": at,
    }


def _enqueued(run: DagsterRun, *, at: datetime) -> EventLogEntry:
    return EventLogEntry(
        user_message="",
        level=logging.INFO,
        job_name=run.job_name,
        run_id=run.run_id,
        error_info=None,
        timestamp=at.timestamp(),
        dagster_event=DagsterEvent.job_enqueue(run),
    )


_QUEUED = DagsterRunStatus.QUEUED
_FIND = "SELECT status, run_body, create_timestamp::timestamptz AS created FROM runs WHERE run_id = %(run_id)s"
