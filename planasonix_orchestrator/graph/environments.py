"""environments.yaml: by environment, the values of variables, the connections, and how many runs go on at once."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Annotated

from pydantic import Field

from planasonix_orchestrator.contract.values import VariableValueError, parse_value
from planasonix_orchestrator.graph.connections import ConnectionsDocument
from planasonix_orchestrator.graph.document import PipelineDocument
from planasonix_orchestrator.graph.execution import ExecutorDocument, RunLimit
from planasonix_orchestrator.graph.model import DocumentModel, VariableName, VariableValue
from planasonix_orchestrator.graph.source import DocumentPath, Fault
from planasonix_orchestrator.graph.validation import nearest

EnvironmentId = Annotated[str, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.-]*$", max_length=100)]
Variables = dict[VariableName, VariableValue]


class EnvironmentDocument(DocumentModel):
    """One environment. A variable's value here comes before the pipeline's default."""

    name: str | None = Field(default=None, description="What people call it; the id if none is given.")
    variables: Variables = Field(default_factory=dict, description="Values, for every pipeline that declares them.")
    connections: dict[str, str] = Field(
        default_factory=dict, description="Instead of a connection that pipelines name, the one that is used here."
    )
    max_concurrent_runs: RunLimit | None = Field(default=None, description="How many of its runs go on at once.")
    executor: ExecutorDocument | None = Field(default=None, description="Comes before the pipeline's, key by key.")


class EnvironmentsDocument(DocumentModel):
    """The file itself: ``environments: {test: {connections: {conn_pg: conn_pg_test}}}``."""

    variables: Variables = Field(
        default_factory=dict, description="Global values: they count where a pipeline has no default."
    )
    default: str | None = Field(default=None, description="The environment of runs that name none.")
    environments: dict[EnvironmentId, EnvironmentDocument] = Field(default_factory=dict, description="By id.")


def check_bindings(
    document: EnvironmentsDocument, *, connections: ConnectionsDocument, unsound: Collection[str]
) -> Iterator[Fault]:
    """Yield `unknown_connection` and `wrong_connection_type`; `unsound` are connections with faults of their own."""
    types = {id_: each.type for id_, each in connections.connections.items()}
    for id_, environment in document.environments.items():
        path = ("environments", id_, "connections")
        yield from _binding_faults(environment, types=types, unsound=unsound, path=path)


def check_default(document: EnvironmentsDocument, *, faulty: Collection[str]) -> Iterator[Fault]:
    """Yield `unknown_environment` where the default is none."""
    if document.default is not None and document.default not in {*document.environments, *faulty}:
        yield Fault(
            code="unknown_environment",
            message=f"the default {document.default!r} is not an environment",
            path=("default",),
            hint=nearest(document.default, document.environments) or "declare it under 'environments'",
        )


def check_values(document: EnvironmentsDocument, *, pipelines: Sequence[PipelineDocument]) -> Iterator[Fault]:
    """Yield `invalid_variable_value` for each value that is not of the type by which a pipeline declares it."""
    yield from _value_faults(document.variables, pipelines, owner="the global variables", path=("variables",))
    for id_, environment in document.environments.items():
        path = ("environments", id_, "variables")
        yield from _value_faults(environment.variables, pipelines, owner=f"environment {id_!r}", path=path)


def _value_faults(
    values: Mapping[str, VariableValue], pipelines: Sequence[PipelineDocument], *, owner: str, path: DocumentPath
) -> Iterator[Fault]:
    for name, value in values.items():
        for pipeline in pipelines:
            if name not in pipeline.variables:
                continue
            type_name = pipeline.variables[name].type
            try:
                parse_value(value, type_name=type_name)
            except VariableValueError as error:
                message = f"{owner}: {name!r} is {type_name} in pipeline {pipeline.id!r}, but {error}"
                yield Fault(code="invalid_variable_value", message=message, path=(*path, name))


def _binding_faults(
    environment: EnvironmentDocument, *, types: Mapping[str, str], unsound: Collection[str], path: DocumentPath
) -> Iterator[Fault]:
    known = [*types, *unsound]
    for named, used in environment.connections.items():
        for connection_id in dict.fromkeys((named, used)):
            if connection_id not in known:
                yield Fault(
                    code="unknown_connection",
                    message=f"connection {connection_id!r} does not exist",
                    path=(*path, named),
                    hint=nearest(connection_id, known) or "declare it in connections.yaml",
                )
        if named in types and used in types and types[named] != types[used]:
            fitting = sorted(id_ for id_ in types if types[id_] == types[named])
            yield Fault(
                code="wrong_connection_type",
                message=f"connection {used!r} is of type {types[used]}; {named!r} is of type {types[named]}",
                path=(*path, named),
                hint=f"of type {types[named]}: {', '.join(fitting)}",
            )
