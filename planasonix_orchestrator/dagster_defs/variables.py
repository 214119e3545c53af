"""The variables of a run and the environment that has a say in them, as a resource that the launchpad shows."""

import json
from collections.abc import Mapping

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
from planasonix_orchestrator.contract.masking import masked
from planasonix_orchestrator.contract.pipelines import PublishedEnvironment, PublishedEnvironments
from planasonix_orchestrator.contract.resolution import (
    ResolvedVariables,
    choose_environment,
    environment_named,
    resolve_variables,
)
from planasonix_orchestrator.contract.slices import slice_at, slice_values
from planasonix_orchestrator.contract.tags import ENVIRONMENT_ID
from planasonix_orchestrator.contract.values import VariableValue
from planasonix_orchestrator.errors import PlanasonixError

_TYPES = {"integer": Int, "number": Float, "boolean": Bool}
_FORMATS = {"date": "A date, 2013-01-31.", "timestamp": "A timestamp, 2013-01-31T06:00:00Z."}


class RunVariableError(PlanasonixError):
    """A run's variables are not as the pipeline declares them; `faults` name each."""

    def __init__(self, faults: list[str]) -> None:
        self.faults = tuple(faults)
        super().__init__("; ".join(faults))


def find_environment(run: DagsterRun, *, environments: PublishedEnvironments) -> PublishedEnvironment | None:
    """Return the environment of a run, if it has one; `EnvironmentUnavailableError` if that one can't be had."""
    return choose_environment(environments, named=environment_named(run.run_config))


def read_variables(
    plan: PipelinePlan,
    *,
    given: Mapping[str, VariableValue],
    environment: PublishedEnvironment | None,
    environments: PublishedEnvironments,
) -> ResolvedVariables:
    """Return the value of every declared variable; `RunVariableError` for all that are missing or of a wrong type."""
    resolved = resolve_variables(
        plan.document.get("variables", {}),
        given=given,
        environment=environment["variables"] if environment else {},
        global_=environments["variables"],
    )
    if resolved.faults:
        raise RunVariableError([f"variable {fault.name!r}: {fault.message}" for fault in resolved.faults])
    return resolved


def build_variables(plan: PipelinePlan, *, environments: PublishedEnvironments) -> ResourceDefinition:
    """Return the resource whose config are the values that a run sets, and which yields all that count."""

    def resource(context: InitResourceContext) -> dict[str, VariableValue]:
        environment = find_environment(run_of(context), environments=environments)
        given = context.resource_config
        resolved = read_variables(plan, given=given, environment=environment, environments=environments)
        if environment is not None:
            _tell_environment(environment, resolved=resolved, context=context)
        return dict(resolved.values)

    fields = {variable.name: _variable_field(variable, environments) for variable in plan.variables}
    return ResourceDefinition(
        resource,
        config_schema=Shape(fields),
        description="The values that `{{ name }}` stands for in this run.",
    )


def variables_of_slice(context: InitResourceContext) -> Mapping[str, VariableValue]:
    """Return what `{{ scheduled_at }}` and its like stand for in a run, whether or not a schedule has started it.

    A run that is for no slice is for the moment at which it was created; a retry, for that of the run that it retries.
    """
    run = run_of(context)
    values = slice_values(run.tags)
    if values is not None:
        return values
    if context.instance is None:
        raise RuntimeError("a run is created in an instance")
    ids = [run_id for run_id in (run.root_run_id, run.run_id) if run_id is not None]
    records = (context.instance.get_run_record_by_id(run_id) for run_id in ids)
    return slice_at(next(record.create_timestamp for record in records if record is not None))


def _tell_environment(
    environment: PublishedEnvironment, *, resolved: ResolvedVariables, context: InitResourceContext
) -> None:
    """Tag a run that does not say yet where it runs: one from the launchpad. Its log tells what that means."""
    run = run_of(context)
    if run.tags.get(ENVIRONMENT_ID) == environment["id"] or context.instance is None:
        return
    context.instance.add_run_tags(run.run_id, {ENVIRONMENT_ID: environment["id"]})
    if context.log is not None:
        values = [
            f"{name} = {json.dumps(masked(name, value), ensure_ascii=False)}"
            for name, value in resolved.values.items()
            if resolved.sources[name] in {"environment", "global"}
        ]
        connections = [f"{used} in place of {named}" for named, used in environment["connections"].items()]
        told = "; ".join(", ".join(texts) for texts in (values, connections) if texts)
        context.log.info(f"Environment {environment['id']}: {told or 'nothing differs'}")  # noqa: G004


def _variable_field(variable: PlanVariable, environments: PublishedEnvironments) -> Field:
    texts = (variable.description, _FORMATS.get(variable.type), _who_sets(variable, environments))
    # Not required of Dagster even if required of a run: Dagster refuses a job whose default config is incomplete.
    return Field(
        Noneable(_TYPES.get(variable.type, String)),
        default_value=shown_default(variable, environments=environments),
        description=" ".join(text for text in texts if text) or None,
    )


def shown_default(variable: PlanVariable, *, environments: PublishedEnvironments) -> VariableValue:
    """Return null where a default would stand in the way of an environment's value: what is given wins."""
    return None if variable.required or _is_overridden(variable, environments) else variable.default


def _who_sets(variable: PlanVariable, environments: PublishedEnvironments) -> str | None:
    overridden = _is_overridden(variable, environments)
    if not variable.required:
        return f"null: the environment's value, else {json.dumps(variable.default)}." if overridden else None
    if overridden or environments["variables"].get(variable.name) is not None:
        return "Required, where neither the environment nor the global variables have a value."
    return "Required: a run must set it."


def _is_overridden(variable: PlanVariable, environments: PublishedEnvironments) -> bool:
    return any(each["variables"].get(variable.name) is not None for each in environments["environments"])


def run_of(context: InitResourceContext) -> DagsterRun:
    """Return the run that a resource is made for."""
    if context.run is None:
        raise RuntimeError("the resources of a pipeline exist only in a run")
    return context.run
