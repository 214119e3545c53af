"""What all runs of the same nodes of a pipeline have in common: found out once for each load of the code location."""

from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from threading import Lock
from typing import Any

from dagster import DagsterInstance, DagsterRun, DagsterRunStatus

from api_adapter.control.code_location import Loaded
from api_adapter.control.dagster_api import CODE_LOCATION_TAG, JobSubsetSelector, RemoteJob
from planasonix_orchestrator.contract.metadata import CODE_LOCATION_NAME
from planasonix_orchestrator.contract.names import encode_name
from planasonix_orchestrator.contract.pipelines import PublishedPipeline

_PRESET = "default"  # Dagster's name for the config that a job brings along
_MOST = 2000


@dataclass(frozen=True, slots=True, kw_only=True)
class Blueprint:
    """A run that lacks its id, its config and its own tags; its snapshots are in Dagster's storage.

    The plan of our jobs does not depend on a run's config. `config` is what the job brings along.
    """

    job: RemoteJob
    run: DagsterRun
    config: Mapping[str, Any]


class Blueprints:
    """The blueprints of what the code location has loaded."""

    def __init__(self) -> None:
        self._version = ""
        self._known: dict[tuple[str, tuple[str, ...] | None], Blueprint] = {}
        self._lock = Lock()

    def get(
        self,
        instance: DagsterInstance,
        *,
        loaded: Loaded,
        pipeline: PublishedPipeline,
        nodes: Sequence[str] | None = None,
    ) -> Blueprint:
        """Return the blueprint of runs of these nodes of a pipeline, all of them if None."""
        key = (pipeline["id"], None if nodes is None else tuple(nodes))
        with self._lock:  # of several who need a new one, one asks the code server
            if self._version != loaded.version or len(self._known) >= _MOST:
                self._version, self._known = loaded.version, {}
            if key not in self._known:
                self._known[key] = _draw(instance, loaded=loaded, pipeline=pipeline, nodes=nodes)
            return self._known[key]

    def forget(self) -> None:
        """Draw all anew: Dagster's storage has lost what they stand on, as one that was replaced has."""
        with self._lock:
            self._known = {}


def _draw(
    instance: DagsterInstance, *, loaded: Loaded, pipeline: PublishedPipeline, nodes: Sequence[str] | None
) -> Blueprint:
    job = find_job(loaded, pipeline=pipeline)
    config = _preset(job)
    steps = None if nodes is None else [encode_name(node) for node in nodes]
    plan = loaded.workspace.get_execution_plan(job, config, step_keys_to_execute=steps, known_state=None)
    run = instance.run_domain.construct_run_with_snapshots(
        job_name=job.name,
        run_id="",
        run_config=config,
        status=DagsterRunStatus.NOT_STARTED,
        tags={**job.run_tags, CODE_LOCATION_TAG: CODE_LOCATION_NAME},
        root_run_id=None,
        parent_run_id=None,
        step_keys_to_execute=plan.execution_plan_snapshot.step_keys_to_execute,
        execution_plan_snapshot=plan.execution_plan_snapshot,
        job_snapshot=job.job_snapshot,
        parent_job_snapshot=job.parent_job_snapshot,
        resolved_op_selection=None,
        op_selection=None,
        remote_job_origin=job.get_remote_origin(),
        job_code_origin=job.get_python_origin(),
        asset_graph=None,  # of which our jobs have none
    )
    return Blueprint(job=job, run=run, config=config)


def find_job(loaded: Loaded, *, pipeline: PublishedPipeline) -> RemoteJob:
    """Return the job of a pipeline as it is loaded now."""
    selector = JobSubsetSelector(
        location_name=CODE_LOCATION_NAME,
        repository_name=loaded.repository.name,
        job_name=pipeline["jobName"],
        op_selection=None,
    )
    return loaded.workspace.get_full_job(selector)


def _preset(job: RemoteJob) -> dict[str, Any]:
    return deepcopy(dict(job.get_preset(_PRESET).run_config)) if job.has_preset(_PRESET) else {}
