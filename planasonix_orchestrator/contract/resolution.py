"""What a run gets: its environment, the value of every variable, its executor. The most specific word wins."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from planasonix_orchestrator.contract.metadata import ENVIRONMENT_KEY, PIPELINE_RESOURCE
from planasonix_orchestrator.contract.pipelines import (
    ExecutorType,
    PublishedEnvironment,
    PublishedEnvironments,
    PublishedExecutor,
)
from planasonix_orchestrator.contract.values import VariableType, VariableValue, VariableValueError, parse_value

Source = Literal["run", "environment", "pipeline", "global"]  # who gave a value, the most specific first
DEFAULT_EXECUTOR: ExecutorType = "threads"


class EnvironmentUnavailableError(ValueError):
    """A run can't have its environment: there is none of the id, or its part of environments.yaml has problems."""

    def __init__(self, environment_id: str | None, *, reason: str, known: tuple[str, ...]) -> None:
        self.environment_id = environment_id
        self.known = known
        super().__init__(reason)


@dataclass(frozen=True, slots=True, kw_only=True)
class VariableFault:
    """Why a variable has no value: `source` gave a wrong one, or, if it is None, nobody gave one."""

    name: str
    message: str
    source: Source | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ResolvedVariables:
    """The value of every declared variable and who gave it (nobody: None); those with faults are left out."""

    values: Mapping[str, VariableValue]
    sources: Mapping[str, Source | None]
    faults: tuple[VariableFault, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ResolvedExecutor:
    """How a run executes its nodes; without a limit, as many at once as there are cores."""

    type: ExecutorType
    max_parallel_nodes: int | None


def environment_named(run_config: Mapping[str, Any]) -> str | None:
    """Return the id of the environment that a run's config names, if it names one."""
    value: Any = run_config
    for key in ("resources", PIPELINE_RESOURCE, "config", ENVIRONMENT_KEY):
        value = value.get(key) if isinstance(value, Mapping) else None
    return value if isinstance(value, str) else None


def choose_environment(published: PublishedEnvironments, *, named: str | None) -> PublishedEnvironment | None:
    """Return the environment of a run: the one that it names, else the default; None if there is neither.

    `EnvironmentUnavailableError` where that one can't be had: a run never goes on with other connections instead.
    """
    known = tuple(environment["id"] for environment in published["environments"])
    if not published["readable"]:
        reason = "the environments can't be read: environments.yaml has problems"
        raise EnvironmentUnavailableError(named, reason=reason, known=known)
    wanted = named if named is not None else published["default"]
    if wanted is None:
        return None
    for environment in published["environments"]:
        if environment["id"] == wanted:
            return environment
    if wanted in published["faulty"]:
        reason = f"environment {wanted!r} has problems in environments.yaml"
    else:
        reason = f"environment {wanted!r} does not exist (known: {', '.join(known) or 'none'})"
    raise EnvironmentUnavailableError(wanted, reason=reason, known=known)


def resolve_variables(
    declared: Mapping[str, Mapping[str, Any]],
    *,
    given: Mapping[str, Any],
    environment: Mapping[str, Any],
    global_: Mapping[str, Any],
) -> ResolvedVariables:
    """Return the value of every declared variable: that of the run, else the environment's, the default, the global.

    `declared` is the `variables` object of a pipeline document. A null says nothing: the next one counts. Of `given`,
    which the run itself sets, every name must be declared; the others serve many pipelines.
    """
    values: dict[str, VariableValue] = {}
    sources: dict[str, Source | None] = {}
    faults = [*_undeclared(given, declared=declared)]
    for name, variable in declared.items():
        type_name: VariableType = variable.get("type") or "string"
        default = None if variable.get("required") else variable.get("default")
        said: tuple[tuple[Source, Any], ...] = (
            ("run", given.get(name)),
            ("environment", environment.get(name)),
            ("pipeline", default),
            ("global", global_.get(name)),
        )
        source, value = next(((source, value) for source, value in said if value is not None), (None, None))
        if source is None and (variable.get("required") or "default" not in variable):
            faults.append(VariableFault(name=name, message=f"must be set ({type_name})"))
            continue
        try:
            values[name] = parse_value(value, type_name=type_name)
        except VariableValueError as error:
            faults.append(VariableFault(name=name, message=f"{_OWNERS[source]}{error}", source=source))
        else:
            sources[name] = source
    return ResolvedVariables(values=values, sources=sources, faults=tuple(faults))


def resolve_executor(
    *,
    run: PublishedExecutor | None = None,
    environment: PublishedExecutor | None = None,
    pipeline: PublishedExecutor | None = None,
) -> ResolvedExecutor:
    """Return how a run executes its nodes: its own word, the environment's, the pipeline's, key by key."""
    said = [executor for executor in (run, environment, pipeline) if executor is not None]
    type_ = next((each["type"] for each in said if each["type"] is not None), DEFAULT_EXECUTOR)
    limit = next((each["maxParallelNodes"] for each in said if each["maxParallelNodes"] is not None), None)
    return ResolvedExecutor(type=type_, max_parallel_nodes=limit)


_OWNERS: Mapping[Source | None, str] = {
    "run": "",
    "environment": "the environment's value ",
    "pipeline": "the default ",
    "global": "the global value ",
}


def _undeclared(given: Mapping[str, Any], *, declared: Mapping[str, Any]) -> Iterator[VariableFault]:
    known = ", ".join(sorted(declared)) or "none"
    for name in given:
        if name not in declared:
            message = f"the pipeline declares no such variable; it declares: {known}"
            yield VariableFault(name=name, message=message, source="run")
