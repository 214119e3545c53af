"""The repository: a folder of pipelines as lazily built jobs, and what the API wants to know of them as metadata."""

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from functools import cache
from typing import Any

from dagster import JobDefinition, MetadataValue, RepositoryDefinition, repository

from planasonix_orchestrator.compiler.compile import CompiledFolder, compile_folder, compile_one
from planasonix_orchestrator.compiler.plan import PipelinePlan, Step
from planasonix_orchestrator.contract.metadata import ENVIRONMENTS, PIPELINES, PROBLEMS, REPOSITORY_NAME
from planasonix_orchestrator.contract.pipelines import (
    PublishedPipeline,
    PublishedProblem,
    PublishedStep,
)
from planasonix_orchestrator.dagster_defs.executor_of_run import publish_executor
from planasonix_orchestrator.dagster_defs.jobs import build_job
from planasonix_orchestrator.dagster_defs.ops import LazyOps, build_ops
from planasonix_orchestrator.dagster_defs.pipeline_run import Surroundings
from planasonix_orchestrator.dagster_defs.schedules import build_schedules
from planasonix_orchestrator.dagster_defs.sensors import SensorPlace, build_sensors
from planasonix_orchestrator.engine.connections import Connections
from planasonix_orchestrator.errors import Problem
from planasonix_orchestrator.graph.loading import load_document, load_folder
from planasonix_orchestrator.nodes.catalog import NodeCatalog, load_catalog
from planasonix_orchestrator.settings import Settings, load_settings


def load_repository(settings: Settings) -> RepositoryDefinition:
    """Return the repository of the pipelines folder; bad documents are problems in its metadata, never errors."""
    catalog = load_catalog()
    loaded = load_folder(settings.pipelines)
    ids = {str(each.file): each.document.id for each in (*loaded.faulty, *loaded.pipelines)}
    return build_repository(
        compile_folder(loaded, catalog=catalog), catalog=catalog, settings=settings, ids_by_file=ids
    )


def build_job_of_document(document: Mapping[str, Any], *, settings: Settings, file: str | None = None) -> JobDefinition:
    """Return the job of a document in the API's shape, as the repository would build it.

    What else belongs to it (connections) is read from the pipelines folder at this moment. `file` is the job's metadata
    of that name. `InvalidDocumentError` if the document compiles no longer.
    """
    catalog, ops = installed()
    compiled = compile_one(load_document(document, folder=settings.pipelines), catalog=catalog)
    (plan,) = compiled.plans
    return build_job(
        replace(plan, file=str(settings.pipelines / file) if file else None),
        ops=ops,
        surroundings=_surroundings(compiled, catalog=catalog, settings=settings),
        settings=settings,
    )


def rebuild_job(document: str, file: str | None) -> JobDefinition:
    """Return the job of a document given as JSON text, in a process that has nothing but its environment."""
    return build_job_of_document(json.loads(document), settings=load_settings(), file=file)


def build_repository(
    folder: CompiledFolder, *, catalog: NodeCatalog, settings: Settings, ids_by_file: Mapping[str, str]
) -> RepositoryDefinition:
    """Return the repository of compiled pipelines; each job is built when Dagster first asks for it.

    `ids_by_file` gives the ids of pipelines that have problems, by their file.
    """
    ops = build_ops(catalog)
    surroundings = _surroundings(folder, catalog=catalog, settings=settings)
    metadata = {
        PIPELINES: MetadataValue.json([publish_pipeline(plan) for plan in folder.plans]),
        ENVIRONMENTS: MetadataValue.json(folder.environments),
        PROBLEMS: MetadataValue.json([publish_problem(each, ids_by_file=ids_by_file) for each in folder.problems]),
    }

    def lazily(plan: PipelinePlan) -> Callable[[], JobDefinition]:
        def build() -> JobDefinition:  # Dagster takes a plain function only
            return build_job(plan, ops=ops, surroundings=surroundings, settings=settings)

        return build

    place = SensorPlace(
        plans={plan.pipeline_id: plan for plan in folder.plans}, surroundings=surroundings, settings=settings
    )
    sensors = {sensor.name: sensor for plan in folder.plans for sensor in build_sensors(plan, place=place)}
    schedules = {
        schedule.name: schedule
        for plan in folder.plans
        for schedule in build_schedules(plan, environments=folder.environments)
    }

    @repository(name=REPOSITORY_NAME, metadata=metadata)
    def planasonix() -> dict[str, Any]:
        jobs = {plan.job_name: lazily(plan) for plan in folder.plans}
        return {"jobs": jobs, "schedules": schedules, "sensors": sensors}

    return planasonix


@cache  # what is installed stays the same while a process lives
def installed() -> tuple[NodeCatalog, LazyOps]:
    """Return the node types that are installed, and their ops."""
    catalog = load_catalog()
    return catalog, LazyOps(catalog)


def _surroundings(folder: CompiledFolder, *, catalog: NodeCatalog, settings: Settings) -> Surroundings:
    return Surroundings(
        catalog=catalog,
        connections=Connections(folder.connections, environment=os.environ),
        base=settings.pipelines,
        environments=folder.environments,
    )


def publish_pipeline(plan: PipelinePlan) -> PublishedPipeline:
    """Return what the API tells of a pipeline."""
    return {
        "id": plan.pipeline_id,
        "name": plan.name,
        "jobName": plan.job_name,
        "version": plan.version,
        "updatedAt": _timestamp(plan.updated_at),
        "plan": [publish_step(step) for step in plan.steps],
        "requiredVariables": [variable.name for variable in plan.variables if variable.required],
        "maxConcurrentRuns": plan.max_concurrent_runs,
        "timeoutSeconds": plan.timeout_seconds,
        "executor": publish_executor(plan),
        "document": dict(plan.document),
    }


def publish_step(step: Step) -> PublishedStep:
    """Return what the API tells of a step of a plan."""
    return {
        "nodeId": step.node_id,
        "type": step.type,
        "name": step.name,
        "stage": step.stage,
        "storage": step.storage,
        "reason": step.storage_reason,
        "inputs": [{"nodeId": each.node_id, "port": each.port} for each in step.inputs],
        "retries": step.retries,
        "timeoutSeconds": step.timeout_seconds,
    }


def publish_problem(problem: Problem, *, ids_by_file: Mapping[str, str]) -> PublishedProblem:
    """Return what the API tells of a problem."""
    return {
        "code": problem.code,
        "message": problem.message,
        "file": problem.file,
        "line": problem.line,
        "column": problem.column,
        "path": problem.path,
        "hint": problem.hint,
        "pipelineId": ids_by_file.get(problem.file or ""),
    }


def _timestamp(moment: datetime | None) -> str | None:
    if moment is None:
        return None
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
