"""The resources of a pipeline's job: its variables, the run's engine session, and the run itself, which ops use."""

from collections.abc import Iterator, Mapping
from typing import Any

from dagster import (
    Bool,
    DagsterRun,
    Field,
    Float,
    InitResourceContext,
    Int,
    Noneable,
    ResourceDefinition,
    Shape,
    String,
)

from planasonix_orchestrator.compiler.plan import PipelinePlan, PlanVariable
from planasonix_orchestrator.contract.metadata import VARIABLES_RESOURCE
from planasonix_orchestrator.contract.tags import PIPELINE_VERSION
from planasonix_orchestrator.contract.values import VariableValueError, parse_value
from planasonix_orchestrator.dagster_defs.pipeline_run import PipelineRun, Surroundings
from planasonix_orchestrator.engine.session import Session
from planasonix_orchestrator.errors import PlanasonixError
from planasonix_orchestrator.graph.model import VariableValue
from planasonix_orchestrator.settings import Settings

SESSION_RESOURCE = "session"
PIPELINE_RESOURCE = "pipeline"

_TYPES = {"integer": Int, "number": Float, "boolean": Bool}
_FORMATS = {"date": "A date, 2013-01-31.", "timestamp": "A timestamp, 2013-01-31T06:00:00Z."}


class RunVariableError(PlanasonixError):
    """A run's variables are not as the pipeline declares them; `faults` name each."""

    def __init__(self, faults: list[str]) -> None:
        self.faults = tuple(faults)
        super().__init__("; ".join(faults))


def build_resources(
    plan: PipelinePlan, *, surroundings: Surroundings, settings: Settings
) -> dict[str, ResourceDefinition]:
    """Return the resources of a plan's job, by name."""
    return {
        VARIABLES_RESOURCE: _variables(plan.variables),
        SESSION_RESOURCE: _session(settings),
        PIPELINE_RESOURCE: _pipeline(plan, surroundings),
    }


def default_variables(plan: PipelinePlan) -> dict[str, VariableValue]:
    """Return what the launchpad shows for the variables; one that a run must set stands there as null."""
    return {variable.name: None if variable.required else variable.default for variable in plan.variables}


def read_variables(
    declared: tuple[PlanVariable, ...], *, given: Mapping[str, VariableValue]
) -> dict[str, VariableValue]:
    """Return the value of every declared variable; `RunVariableError` for all that are missing or of a wrong type."""
    values: dict[str, VariableValue] = {}
    faults = []
    for variable in declared:
        value = given.get(variable.name)
        if value is None and variable.required:
            faults.append(f"variable {variable.name!r} must be set: the pipeline requires it")
        try:
            values[variable.name] = parse_value(value, type_name=variable.type)
        except VariableValueError as error:
            faults.append(f"variable {variable.name!r}: {error}")
    if faults:
        raise RunVariableError(faults)
    return values


def _variables(declared: tuple[PlanVariable, ...]) -> ResourceDefinition:
    def resource(context: InitResourceContext) -> dict[str, VariableValue]:
        return read_variables(declared, given=context.resource_config)

    fields = {variable.name: _variable_field(variable) for variable in declared}
    return ResourceDefinition(
        resource,
        config_schema=Shape(fields),
        description="The values that `{{ name }}` stands for in this run.",
    )


def _variable_field(variable: PlanVariable) -> Field:
    required = "Required: a run must set it." if variable.required else None
    texts = (variable.description, _FORMATS.get(variable.type), required)
    # Not required of Dagster even if required of a run: Dagster refuses a job whose default config is incomplete.
    return Field(
        Noneable(_TYPES.get(variable.type, String)),
        default_value=None if variable.required else variable.default,
        description=" ".join(text for text in texts if text) or None,
    )


def _session(settings: Settings) -> ResourceDefinition:
    def resource(context: InitResourceContext) -> Iterator[Session]:
        config = context.resource_config
        with Session(
            spill=settings.spill / _run(context).run_id,
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


def _pipeline(plan: PipelinePlan, surroundings: Surroundings) -> ResourceDefinition:
    def resource(context: InitResourceContext) -> PipelineRun:
        _tell_version(plan, context)
        return PipelineRun(
            plan,
            surroundings=surroundings,
            session=getattr(context.resources, SESSION_RESOURCE),
            variables=getattr(context.resources, VARIABLES_RESOURCE),
            run_id=_run(context).run_id,
            configs=_given_configs(plan, _run(context).run_config),
        )

    return ResourceDefinition(
        resource,
        required_resource_keys={VARIABLES_RESOURCE, SESSION_RESOURCE},
        description="The compiled plan and what its nodes have yielded so far.",
    )


def _tell_version(plan: PipelinePlan, context: InitResourceContext) -> None:
    """Let the run say which document it executes: another one, if that was edited after the run was queued."""
    run = _run(context)
    queued = run.tags.get(PIPELINE_VERSION)
    if queued is not None and queued != plan.version and context.instance is not None:
        context.instance.add_run_tags(run.run_id, {PIPELINE_VERSION: plan.version})
        if context.log is not None:
            context.log.warning("The pipeline was changed after this run was queued: running version %s", plan.version)


def _given_configs(plan: PipelinePlan, run_config: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    given = run_config.get("ops", {})
    return {step.node_id: given[step.op_name].get("config", {}) for step in plan.steps if step.op_name in given}


def _run(context: InitResourceContext) -> DagsterRun:
    if context.run is None:
        raise RuntimeError("the resources of a pipeline exist only in a run")
    return context.run
