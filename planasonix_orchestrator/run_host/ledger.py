"""What the host reads and writes of runs in Dagster's storage; each call is from a thread that may wait."""

from collections.abc import Collection, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace

from dagster import DagsterInstance, DagsterRun, DefaultRunLauncher
from sqlalchemy import Connection, bindparam, text

from planasonix_orchestrator.contract import tags
from planasonix_orchestrator.contract.cancellation import UNFINISHED, read_open_intents
from planasonix_orchestrator.run_host.dagster_api import (
    GRPC_INFO_TAG,
    DagsterEvent,
    DagsterEventType,
    DagsterUserCodeUnreachableError,
    JobFailureData,
    RunFailureReason,
)
from planasonix_orchestrator.run_host.storage import RunNotWantedError

PRIORITY = "dagster/priority"
_NOT_QUEUED = ("NOT_STARTED", "STARTING", "STARTED", "CANCELING")


@dataclass(frozen=True, slots=True, kw_only=True)
class UnfinishedRun:
    """A run that has begun or is about to, or whose cancellation was asked for. `status` is Dagster's word.

    `elsewhere`: Dagster has launched it from a code server.
    """

    run_id: str
    status: str
    canceling: bool
    elsewhere: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class QueuedRun:
    """A run that waits for capacity, or has some. `limited_by` is what its tag LIMITED_BY says.

    `waits`: one of its nodes waits for another run, which has not ended.
    """

    run_id: str
    pipeline_id: str | None
    environment_id: str | None
    limited_by: str | None
    waits: bool = False


class Ledger:
    """Reads which runs there are to see to, and records what becomes of them.

    `instance` is the host's; see `storage`: of a run that was canceled it records no other end.
    """

    def __init__(self, instance: DagsterInstance) -> None:
        self._instance = instance
        self._stock = DefaultRunLauncher()
        self._stock.register_instance(instance)

    def unfinished(self) -> dict[str, UnfinishedRun]:
        """Return the runs that are not merely waiting, by id: those too that wait but have an open intent."""
        with self._connect() as connection:
            found = {run_id: (status, elsewhere) for run_id, status, elsewhere in connection.execute(_UNFINISHED)}
            intents = {intent.run_id: (intent.status, False) for intent in read_open_intents(connection)}
        return {
            run_id: UnfinishedRun(run_id=run_id, status=status, canceling=run_id in intents, elsewhere=elsewhere)
            for run_id, (status, elsewhere) in (intents | found).items()
        }

    def in_flight(self, run_ids: Collection[str]) -> Sequence[QueuedRun]:
        """Return where runs that hold a slot belong."""
        with self._connect() as connection:
            rows = connection.execute(_PLACES, {"run_ids": list(run_ids)}).all() if run_ids else ()
            waiting = self._waiting(connection, run_ids) if run_ids else set()
            return [replace(_queued_run(*each), waits=each[0] in waiting) for each in rows]

    def _waiting(self, connection: Connection, run_ids: Collection[str]) -> set[str]:
        return set(connection.execute(_WAITING, {"run_ids": list(run_ids)}).scalars())

    def queued(
        self,
        *,
        full_pipelines: Collection[str],
        full_environments: Collection[str],
        full_limits: Collection[str],
        default_environment: str | None,
        limit: int,
        awaited_by: Collection[str] | None = None,
    ) -> Sequence[QueuedRun]:
        """Return the runs to start next, the most urgent first, among equals the oldest; none of a full place.

        `full_limits` are values of LIMITED_BY. Runs that name no environment are of the default one. `awaited_by`: only
        those for which nodes of these runs wait.
        """
        parameters = {
            "default_environment": default_environment,
            "pipelines": list(full_pipelines),
            "environments": list(full_environments),
            "limits": list(full_limits),
            "limit": limit,
            "any": awaited_by is None,
            "awaited_by": list(awaited_by or ()),
        }
        with self._connect() as connection:
            return [_queued_run(*each) for each in connection.execute(_QUEUED, parameters)]

    def run(self, run_id: str) -> DagsterRun | None:
        """Return a run."""
        return self._instance.get_run_by_id(run_id)

    def enqueue(self, run_id: str) -> None:
        """Put a run into the queue that was created, but whose creator did not come to do so."""
        run = self.run(run_id)
        if run is not None and run.status.value == "NOT_STARTED":
            self._instance.report_dagster_event(DagsterEvent.job_enqueue(run), run_id=run_id)

    def starting(self, run_id: str) -> bool:
        """Record that a queued run is given to a worker; False if it is no longer queued."""
        run = self.run(run_id)
        if run is None or run.status.value != "QUEUED":
            return False
        event = DagsterEvent(event_type_value=DagsterEventType.PIPELINE_STARTING.value, job_name=run.job_name)
        try:
            self._instance.report_dagster_event(event, run_id=run_id)
        except RunNotWantedError:  # it was canceled meanwhile
            return False
        return True

    def canceling(self, run_id: str) -> None:
        """Record that a run is being stopped."""
        run = self.run(run_id)
        if run is not None and not run.is_finished and run.status.value != "CANCELING":
            self._instance.report_run_canceling(run, message="Stopping the run: its cancellation was asked for.")

    def canceled(self, run_id: str) -> None:
        """Record that a run was canceled; of one that has processes left, this would be a lie."""
        run = self.run(run_id)
        if run is not None and not run.is_finished:
            self._instance.report_run_canceled(run, message="The run was canceled; none of its processes is left.")
            self._free_slots(run_id)

    def terminate_elsewhere(self, run_id: str) -> bool:
        """Have Dagster stop a run that it has launched from a code server; False while that is away."""
        try:
            return bool(self._stock.terminate(run_id))
        except DagsterUserCodeUnreachableError:
            return False

    def failed(self, run_id: str, *, message: str, lost: bool = True) -> None:
        """Record that a run has failed with its worker, unless it was canceled; `lost` if nobody knows why."""
        run = self.run(run_id)
        if run is not None and not run.is_finished:
            reason = RunFailureReason.UNEXPECTED_TERMINATION if lost else None
            data = JobFailureData(error=None, failure_reason=reason)
            self._instance.report_run_failed(run, message, data)
            self._free_slots(run_id)

    def _connect(self) -> AbstractContextManager[Connection]:
        connection: AbstractContextManager[Connection] = self._instance.run_storage.connect()  # type: ignore[attr-defined]
        return connection

    def _free_slots(self, run_id: str) -> None:
        """Give back what the run holds of Dagster's concurrency pools."""
        storage = self._instance.event_log_storage
        if storage.supports_global_concurrency_limits:
            storage.free_concurrency_slots_for_run(run_id)


def _queued_run(run_id: str, pipeline_id: str | None, environment_id: str | None, limited_by: str | None) -> QueuedRun:
    return QueuedRun(run_id=run_id, pipeline_id=pipeline_id, environment_id=environment_id, limited_by=limited_by)


_UNFINISHED = text(
    "SELECT run_id, status,"
    " EXISTS (SELECT FROM run_tags WHERE run_tags.run_id = runs.run_id AND key = :grpc_info)"
    " FROM runs WHERE status IN :statuses"
).bindparams(bindparam("statuses", value=_NOT_QUEUED, expanding=True), grpc_info=GRPC_INFO_TAG)
_RUNS_AND_PLACES = (
    "SELECT runs.run_id, pipeline.value, environment.value, own.value FROM runs"
    " LEFT JOIN run_tags AS pipeline ON pipeline.run_id = runs.run_id AND pipeline.key = :pipeline_id"
    " LEFT JOIN run_tags AS environment ON environment.run_id = runs.run_id AND environment.key = :environment_id"
    " LEFT JOIN run_tags AS own ON own.run_id = runs.run_id AND own.key = :limited_by"
)
_NAMES: Mapping[str, str] = {
    "pipeline_id": tags.PIPELINE_ID,
    "environment_id": tags.ENVIRONMENT_ID,
    "limited_by": tags.LIMITED_BY,
}
_PLACES = text(_RUNS_AND_PLACES + " WHERE runs.run_id IN :run_ids").bindparams(
    bindparam("run_ids", expanding=True), **_NAMES
)
_QUEUED = text(
    _RUNS_AND_PLACES + " LEFT JOIN run_tags AS priority ON priority.run_id = runs.run_id AND priority.key = :priority"
    "   AND priority.value ~ '^-?[0-9]{1,9}$'"
    " LEFT JOIN run_tags AS awaited ON awaited.run_id = runs.run_id AND awaited.key = :waited_by"
    " WHERE runs.status = 'QUEUED' AND (:any OR awaited.value = ANY(:awaited_by))"
    "   AND NOT coalesce(pipeline.value = ANY(:pipelines), false)"
    "   AND NOT coalesce(coalesce(environment.value, :default_environment) = ANY(:environments), false)"
    "   AND NOT coalesce(own.value = ANY(:limits), false)"
    "   AND NOT EXISTS (SELECT FROM run_tags AS cancel"
    "                   WHERE cancel.run_id = runs.run_id AND cancel.key = :cancel_of AND cancel.value = runs.run_id)"
    " ORDER BY coalesce(priority.value, '0')::integer DESC, runs.id LIMIT :limit"
).bindparams(priority=PRIORITY, cancel_of=tags.CANCEL_OF, waited_by=tags.WAITED_BY, **_NAMES)
_WAITING = text(
    "SELECT DISTINCT awaited.value FROM run_tags AS awaited JOIN runs ON runs.run_id = awaited.run_id"
    " WHERE awaited.key = :waited_by AND awaited.value IN :run_ids AND runs.status IN :statuses"
).bindparams(
    bindparam("run_ids", expanding=True),
    bindparam("statuses", value=UNFINISHED, expanding=True),
    waited_by=tags.WAITED_BY,
)
