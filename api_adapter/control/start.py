"""Starts a run: makes it from the job that the code location serves, and puts it into Dagster's queue."""

from collections.abc import Mapping
from copy import deepcopy
from typing import Any
from uuid import uuid4

from dagster import DagsterInstance, DagsterRunStatus

from api_adapter.control.code_location import Loaded
from api_adapter.control.dagster_api import (
    JobSubsetSelector,
    RemoteJob,
    validate_config_from_snap,
)
from api_adapter.errors import Detail, InvalidRequestError
from planasonix_orchestrator.contract import tags as tag_names
from planasonix_orchestrator.contract.metadata import CODE_LOCATION_NAME, VARIABLES_RESOURCE
from planasonix_orchestrator.contract.pipelines import PublishedPipeline

_PRESET = "default"  # Dagster's name for the config that a job brings along


def start_run(
    instance: DagsterInstance,
    *,
    loaded: Loaded,
    pipeline: PublishedPipeline,
    variables: Mapping[str, Any],
    tags: Mapping[str, str],
) -> str:
    """Create and queue a run of a pipeline; return its Dagster run id. The launch is the daemon's business."""
    job = _job(loaded, pipeline=pipeline)
    config = _run_config(job, variables=variables)
    _check_config(job, config=config)
    run_id = str(uuid4())
    plan = loaded.workspace.get_execution_plan(job, config, step_keys_to_execute=None, known_state=None)
    instance.create_run(
        job_name=job.name,
        run_id=run_id,
        run_config=config,
        status=DagsterRunStatus.NOT_STARTED,
        tags={
            **job.run_tags,
            tag_names.PIPELINE_ID: pipeline["id"],
            tag_names.PIPELINE_VERSION: pipeline["version"],
            tag_names.TAGS_OF: run_id,
            **tags,
        },
        root_run_id=None,
        parent_run_id=None,
        step_keys_to_execute=plan.execution_plan_snapshot.step_keys_to_execute,
        execution_plan_snapshot=plan.execution_plan_snapshot,
        job_snapshot=job.job_snapshot,
        parent_job_snapshot=job.parent_job_snapshot,
        asset_selection=None,
        asset_check_selection=None,
        resolved_op_selection=None,
        op_selection=None,
        remote_job_origin=job.get_remote_origin(),
        job_code_origin=job.get_python_origin(),
        asset_graph=loaded.workspace.asset_graph,
    )
    instance.submit_run(run_id, workspace=loaded.workspace)
    return run_id


def _job(loaded: Loaded, *, pipeline: PublishedPipeline) -> RemoteJob:
    selector = JobSubsetSelector(
        location_name=CODE_LOCATION_NAME,
        repository_name=loaded.repository.name,
        job_name=pipeline["jobName"],
        op_selection=None,
    )
    return loaded.workspace.get_full_job(selector)


def _run_config(job: RemoteJob, *, variables: Mapping[str, Any]) -> dict[str, Any]:
    config: dict[str, Any] = deepcopy(dict(job.get_preset(_PRESET).run_config)) if job.has_preset(_PRESET) else {}
    if variables:
        resource = config.setdefault("resources", {}).setdefault(VARIABLES_RESOURCE, {})
        resource["config"] = {**resource.get("config", {}), **variables}
    return config


def _check_config(job: RemoteJob, *, config: Mapping[str, Any]) -> None:
    """Refuse what the job would refuse, before a run exists."""
    root = job.root_config_key
    if root is None:
        return
    result = validate_config_from_snap(job.config_schema_snapshot, root, dict(config))
    if not result.success:
        details = [Detail("variables", error.message) for error in result.errors or ()]
        raise InvalidRequestError("The pipeline does not accept these variables.", details=details)
