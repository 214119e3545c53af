"""The resources of a pipeline's job: its variables, the run's engine session, and the run itself, which ops use."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from dagster import (
    Enum,
    EnumValue,
    Field,
    InitResourceContext,
    Noneable,
    ResourceDefinition,
)

from planasonix_orchestrator.compiler.plan import PipelinePlan
from planasonix_orchestrator.contract.metadata import ENVIRONMENT_KEY, PIPELINE_RESOURCE, VARIABLES_RESOURCE
from planasonix_orchestrator.contract.pipelines import PublishedEnvironments
from planasonix_orchestrator.contract.tags import PIPELINE_VERSION
from planasonix_orchestrator.dagster_defs.pipeline_run import PipelineRun, Surroundings
from planasonix_orchestrator.dagster_defs.variables import (
    build_variables,
    find_environment,
    run_of,
    shown_default,
    variables_of_slice,
)
from planasonix_orchestrator.engine.session import Session
from planasonix_orchestrator.nodes.pipelines import NoPipelines, Pipelines
from planasonix_orchestrator.settings import Settings

SESSION_RESOURCE = "session"


def build_resources(
    plan: PipelinePlan, *, surroundings: Surroundings, settings: Settings
) -> dict[str, ResourceDefinition]:
    """Return the resources of a plan's job, by name."""
    return {
        VARIABLES_RESOURCE: build_variables(plan, environments=surroundings.environments),
        SESSION_RESOURCE: _session(settings),
        PIPELINE_RESOURCE: _pipeline(plan, surroundings, settings=settings),
    }


def launchpad_config(plan: PipelinePlan, *, environments: PublishedEnvironments) -> dict[str, Any]:
    """Return what the launchpad opens with for the resources: the default environment, and the variables.

    A variable that a run must set stands there as null, and so does one that an environment may set.
    """
    variables = {each.name: shown_default(each, environments=environments) for each in plan.variables}
    config: dict[str, Any] = {VARIABLES_RESOURCE: {"config": variables}}
    ids = [each["id"] for each in environments["environments"]]
    if ids:
        default = environments["default"] if environments["default"] in ids else None
        config[PIPELINE_RESOURCE] = {"config": {ENVIRONMENT_KEY: default}}
    return config


def _session(settings: Settings) -> ResourceDefinition:
    def resource(context: InitResourceContext) -> Iterator[Session]:
        config = context.resource_config
        with Session(
            spill=settings.spill / run_of(context).run_id,
            memory_limit=config["memoryLimit"] or settings.memory_limit,
            threads=config["threads"] or settings.threads,
        ) as session:
            yield session

    return ResourceDefinition(
        resource,
        config_schema={
            "memoryLimit": Field(
                Noneable(str),
                default_value=None,
                description="Memory past which the run spills to disk, such as 4GB. null: PLANASONIX_MEMORY_LIMIT.",
            ),
            "threads": Field(
                Noneable(int), default_value=None, description="Threads of the run. null: PLANASONIX_THREADS."
            ),
        },
        description="The run's DuckDB database.",
    )


def _pipeline(plan: PipelinePlan, surroundings: Surroundings, *, settings: Settings) -> ResourceDefinition:
    def resource(context: InitResourceContext) -> PipelineRun:
        _tell_version(plan, context)
        environment = find_environment(run_of(context), environments=environments)
        bindings = environment["connections"] if environment else {}
        return PipelineRun(
            plan,
            surroundings=replace(surroundings, connections=surroundings.connections.bound(bindings)),
            session=getattr(context.resources, SESSION_RESOURCE),
            variables={**variables_of_slice(context), **getattr(context.resources, VARIABLES_RESOURCE)},
            run_id=run_of(context).run_id,
            configs=_given_configs(plan, run_of(context).run_config),
            pipelines=_pipelines(context, surroundings, settings=settings),
        )

    environments = surroundings.environments
    ids = [*(each["id"] for each in environments["environments"]), *environments["faulty"]]
    return ResourceDefinition(
        resource,
        config_schema={
            ENVIRONMENT_KEY: Field(
                Noneable(_choice_of_environments(ids)),
                default_value=None,
                description="Whose connections and variables count. null: the default of environments.yaml.",
            )
        },
        required_resource_keys={VARIABLES_RESOURCE, SESSION_RESOURCE},
        description="The compiled plan and what its nodes have yielded so far.",
    )


def _pipelines(context: InitResourceContext, surroundings: Surroundings, *, settings: Settings) -> Pipelines:
    from planasonix_orchestrator.dagster_defs.child_runs import ChildRuns  # which makes jobs, and those have this here

    if context.instance is None:
        return NoPipelines()
    return ChildRuns(context.instance, parent=run_of(context), surroundings=surroundings, settings=settings)


def _choice_of_environments(ids: Sequence[str]) -> Enum:
    # Dagster takes types of one name for the same type, and tells the name to whoever names something else.
    return Enum(f"environment ({', '.join(ids) or 'there is none'})", [EnumValue(id_) for id_ in ids])


def _tell_version(plan: PipelinePlan, context: InitResourceContext) -> None:
    """Let the run say which document it executes: another one, if that was edited after the run was queued."""
    run = run_of(context)
    queued = run.tags.get(PIPELINE_VERSION)
    if queued is not None and queued != plan.version and context.instance is not None:
        context.instance.add_run_tags(run.run_id, {PIPELINE_VERSION: plan.version})
        if context.log is not None:
            context.log.warning("The pipeline was changed after this run was queued: running version %s", plan.version)


def _given_configs(plan: PipelinePlan, run_config: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    given = run_config.get("ops", {})
    return {step.node_id: given[step.op_name].get("config", {}) for step in plan.steps if step.op_name in given}
