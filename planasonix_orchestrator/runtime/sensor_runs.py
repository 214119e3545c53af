"""Creates the runs that a sensor asks for, many in one transaction.

Dagster's daemon fetches the plan of each run from the code server, and writes the run, its tags, the event and the new
status one by one: of a thousand runs that are due at once it creates 8 to 25 a second, while the first of them are at
work already. Where the run queue is ours, they are put into it together; Dagster's own way is left to all that it has
begun, or refuses.
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final, Protocol, runtime_checkable

from dagster import DagsterInstance, DagsterRun, DagsterRunStatus, RunRequest
from dagster._config import validate_config_from_snap
from dagster._core.definitions.selector import JobSubsetSelector
from dagster._core.remote_representation.external import RemoteJob, RemoteSensor
from dagster._core.storage.tags import CODE_LOCATION_TAG, RUN_KEY_TAG, SENSOR_NAME_TAG
from dagster._core.workspace.context import IWorkspaceProcessContext
from dagster._daemon.sensor import SensorLaunchContext
from sqlalchemy.exc import IntegrityError

from planasonix_orchestrator.contract import tags as tag_names

AT_ONCE: Final = 100  # so that the first are at work while the last are still made

Request = tuple[str, RunRequest]  # with the id that is reserved for its run
Submit = Callable[..., Iterator[Any]]


@runtime_checkable
class TakesNewRuns(Protocol):
    """A run coordinator that can create runs, too, as queued already."""

    def put(self, runs: Sequence[DagsterRun], *, at: datetime) -> None:
        """Create and queue runs: all, or none (`IntegrityError`) if there is one of the id of any."""


def in_bulk(submit: Submit) -> Submit:
    """Return what creates in bulk what it can of the requests of a tick, and leaves the others to `submit`.

    Both are as `_submit_run_requests` of Dagster's sensor daemon: they yield after each bit of work, so that the daemon
    can show that it is alive, and note in the tick what has become of each request.
    """

    def submit_run_requests(
        requests: Sequence[Request],
        automation_condition_evaluations: Sequence[Any],
        instance: DagsterInstance,
        context: SensorLaunchContext,
        remote_sensor: RemoteSensor,
        workspace_process_context: IWorkspaceProcessContext[Any],
        *arguments: Any,
        **options: Any,
    ) -> Iterator[Any]:
        left = list(requests)
        queue = instance.run_coordinator
        if isinstance(queue, TakesNewRuns):
            maker = _Maker(workspace_process_context, remote_sensor=remote_sensor, tick_id=context.tick_id)
            new = _without_known(instance, requests, remote_sensor=remote_sensor)
            for first in range(0, len(new), AT_ONCE):
                made = [run for run in map(maker.make, new[first : first + AT_ONCE]) if run is not None]
                if made and _put(queue, made):
                    for run in made:
                        context.add_run_info(run_id=run.run_id, run_key=run.tags.get(RUN_KEY_TAG))
                    context.logger.info("Queued %d new runs for %s", len(made), remote_sensor.name)
                    ids = {run.run_id for run in made}
                    left = [request for request in left if request[0] not in ids]
                yield None
        if left:
            given = (automation_condition_evaluations, instance, context, remote_sensor, workspace_process_context)
            yield from submit(left, *given, *arguments, **options)

    return submit_run_requests


class _Maker:
    """Makes the runs of a tick; what those of a job have in common is asked of the code server once."""

    def __init__(self, workspace: IWorkspaceProcessContext[Any], *, remote_sensor: RemoteSensor, tick_id: str) -> None:
        self._instance = workspace.instance
        self._repository = remote_sensor.get_remote_origin().repository_origin
        location_name = self._repository.code_location_origin.location_name
        self._location = workspace.create_request_context().get_code_location(location_name)
        self._sensor = remote_sensor
        self._common_tags = {**DagsterRun.tags_for_tick_id(tick_id), **DagsterRun.tags_for_sensor(remote_sensor)}
        self._jobs: dict[str, RemoteJob] = {}
        self._drafts: dict[str, DagsterRun] = {}
        self._accepted: dict[str, bool] = {}

    def make(self, request: Request) -> DagsterRun | None:
        """Return the run that is asked for; None if Dagster must see to it."""
        run_id, asked = request
        target = self._sensor.get_target(asked.job_name)
        if target is None or target.op_selection is not None or not _is_plain(asked):
            return None
        job = self._jobs.get(target.job_name) or self._find(target.job_name)
        if tag_names.PIPELINE_ID not in job.run_tags or not self._accepts(job, asked.run_config):
            return None
        draft = self._drafts.get(job.name) or self._draw(job, asked)
        key = {RUN_KEY_TAG: asked.run_key} if asked.run_key else {}
        tags = {**draft.tags, **asked.tags, **self._common_tags, **key}
        return draft._replace(run_id=run_id, run_config=asked.run_config, tags=tags)

    def _find(self, job_name: str) -> RemoteJob:
        selector = JobSubsetSelector(
            location_name=self._location.name,
            repository_name=self._repository.repository_name,
            job_name=job_name,
            op_selection=None,
        )
        return self._jobs.setdefault(job_name, self._location.get_job(selector))

    def _accepts(self, job: RemoteJob, config: Mapping[str, Any]) -> bool:
        text = job.name + json.dumps(config, sort_keys=True, default=str)
        if text not in self._accepted:
            root = job.root_config_key
            checked = root is None or validate_config_from_snap(job.config_schema_snapshot, root, dict(config)).success
            self._accepted[text] = bool(checked)
        return self._accepted[text]

    def _draw(self, job: RemoteJob, asked: RunRequest) -> DagsterRun:
        """Return a run that lacks its id, config and own tags: the plan of our jobs does not depend on the config."""
        plan = self._location.get_execution_plan(
            job, asked.run_config, step_keys_to_execute=None, known_state=None, instance=self._instance
        ).execution_plan_snapshot
        draft = self._instance.run_domain.construct_run_with_snapshots(
            job_name=job.name,
            run_id="",
            run_config={},
            status=DagsterRunStatus.QUEUED,
            tags={**job.run_tags, CODE_LOCATION_TAG: self._location.name},
            root_run_id=None,
            parent_run_id=None,
            step_keys_to_execute=None,
            execution_plan_snapshot=plan,
            job_snapshot=job.job_snapshot,
            parent_job_snapshot=job.parent_job_snapshot,
            resolved_op_selection=None,
            op_selection=None,
            remote_job_origin=job.get_remote_origin(),
            job_code_origin=job.get_python_origin(),
            asset_graph=None,  # of which our jobs have none
        )
        return self._drafts.setdefault(job.name, draft)


def _is_plain(asked: RunRequest) -> bool:
    """Tell whether it asks for nothing but a whole run of a job."""
    return not (
        asked.requires_backfill_daemon()
        or asked.stale_assets_only
        or asked.partition_key is not None
        or asked.asset_selection is not None
        or asked.asset_check_keys is not None
    )


def _put(queue: TakesNewRuns, runs: Sequence[DagsterRun]) -> bool:
    try:
        queue.put(runs, at=datetime.now(UTC))
    except IntegrityError:  # one is there by now, or the snapshots are not: Dagster looks at each by itself
        return False
    return True


def _without_known(
    instance: DagsterInstance, requests: Sequence[Request], *, remote_sensor: RemoteSensor
) -> list[Request]:
    """Leave out the requests whose runs are there, of this tick or of one before it; of two with a key, the second."""
    keys = [asked.run_key for _, asked in requests if asked.run_key]
    parameters = {
        "run_ids": [run_id for run_id, _ in requests],
        "keys": keys,
        "run_key": RUN_KEY_TAG,
        "sensor_name": SENSOR_NAME_TAG,
        "sensor": remote_sensor.name,
    }
    with instance.run_storage.connect() as connection:  # type: ignore[attr-defined]  # the queue is in Postgres
        known_ids = set(connection.exec_driver_sql(_KNOWN_IDS, parameters).scalars())
        known_keys = set(connection.exec_driver_sql(_KNOWN_KEYS, parameters).scalars())
    new = []
    for run_id, asked in requests:
        if run_id not in known_ids and asked.run_key not in known_keys:
            new.append((run_id, asked))
        if asked.run_key:
            known_keys.add(asked.run_key)
    return new


_KNOWN_IDS: Final = "SELECT run_id FROM runs WHERE run_id = ANY(%(run_ids)s)"
# By each key alone: the planner takes the sensor's name for the rarer one, of which there may be a million.
_KNOWN_KEYS: Final = """
SELECT asked FROM unnest(%(keys)s::text[]) AS asked WHERE EXISTS (
    SELECT FROM run_tags AS keys JOIN run_tags AS names USING (run_id)
    WHERE keys.key = %(run_key)s AND keys.value = asked AND names.key = %(sensor_name)s AND names.value = %(sensor)s
)"""
