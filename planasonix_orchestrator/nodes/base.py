"""What a node type is: its config, its ports, what it says about its rows, and the work it does on relations."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from logging import Logger, LoggerAdapter
from pathlib import Path
from typing import Any, ClassVar, Generic, Literal, Self, TypeVar

from pydantic import (
    BaseModel,
    ConfigDict,
    ValidationError,
    ValidationInfo,
    ValidatorFunctionWrapHandler,
    field_validator,
)
from pydantic.alias_generators import to_camel
from pydantic_core import ErrorDetails

from planasonix_orchestrator.engine.connections import Connections
from planasonix_orchestrator.engine.relation import Relation
from planasonix_orchestrator.engine.session import Session
from planasonix_orchestrator.nodes.pipelines import NoPipelines, Pipelines

_TEMPLATES_WAIT = object()
_NEVER_TEXT = {"tuple_type", "list_type", "set_type", "dict_type", "mapping_type", "model_type"}


class NodeConfig(BaseModel):
    """Base of every node's config and of the models in it: camelCase keys, unknown keys refused, fields described."""

    model_config = ConfigDict(
        alias_generator=to_camel,
        populate_by_name=True,
        extra="forbid",
        frozen=True,
        use_attribute_docstrings=True,
    )

    @classmethod
    def with_templates(cls, values: Mapping[str, Any]) -> Self:
        """Return the config of values in which `{{ variables }}` still stand, for the checks before a run.

        A value that its field refuses only because a template stands in for it (`mode: "{{ mode }}"`) is kept as text.
        """
        return cls.model_validate(values, context=_TEMPLATES_WAIT)

    @field_validator("*", mode="wrap")
    @classmethod
    def _wait_for_variables(cls, value: Any, handler: ValidatorFunctionWrapHandler, info: ValidationInfo) -> Any:
        try:
            return handler(value)
        except ValidationError as error:
            if info.context is _TEMPLATES_WAIT and all(may_fit_later(each) for each in error.errors()):
                return value
            raise


def may_fit_later(error: ErrorDetails) -> bool:
    """Say whether a field refused a template that a variable's value may replace; a list or an object never can."""
    value = error["input"]
    return isinstance(value, str) and "{{" in value and error["type"] not in _NEVER_TEXT


ConfigT = TypeVar("ConfigT", bound=NodeConfig)


@dataclass(frozen=True, slots=True)
class InputPort:
    """A named input. `many` takes any number of edges, at least one if `required`; otherwise exactly one."""

    name: str
    required: bool = True
    many: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class UserSql:
    """SQL that a user wrote in a node's config, for the check before any run.

    `path` is its place in the config (``("columns", 2, "expression")``). An *expression* is evaluated per row
    (or per group); a *query* is one whole SELECT over the node's inputs.
    """

    path: tuple[str | int, ...]
    text: str
    kind: Literal["expression", "query"] = "expression"


@dataclass(frozen=True, slots=True, kw_only=True)
class NamedRelation:
    """An input as it arrives: the relation, and the name under which SQL may call it."""

    name: str
    relation: Relation


class Inputs:
    """The relations that arrived at a node, by port and in the order of the edges."""

    def __init__(self, ports: Mapping[str, Sequence[NamedRelation]]) -> None:
        self._ports = {port: tuple(relations) for port, relations in ports.items()}

    def one(self, port: str = "input") -> Relation:
        """Return the only relation of a port that takes one edge."""
        (named,) = self._ports[port]
        return named.relation

    def many(self, port: str = "input") -> tuple[NamedRelation, ...]:
        """Return all relations of a port, in edge order."""
        return self._ports.get(port, ())

    def __iter__(self) -> Iterator[NamedRelation]:
        return (named for relations in self._ports.values() for named in relations)


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeContext:
    """What a node may use while it works: the run's session, connections, a base folder for paths, a log.

    `pipelines` starts runs of others.
    """

    node_id: str
    run_id: str
    session: Session
    connections: Connections
    base: Path
    log: "Logger | LoggerAdapter[Logger]"
    pipelines: Pipelines = field(default_factory=NoPipelines)


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """What a destination has written, once it is there for good.

    `target` names it for lineage (``conn_pg/public.contacts``, a file path); `details` are shown with the run.
    """

    rows: int
    bytes: int
    target: str
    details: Mapping[str, str | int | float] = field(default_factory=dict)


class NodeType(ABC, Generic[ConfigT]):
    """Base of `Source`, `Transform` and `Destination`. Class attributes describe; instances hold no state."""

    type_name: ClassVar[str]  # "transform.filter"
    aliases: ClassVar[tuple[str, ...]] = ()  # the product's short ids: ("filter",)
    title: ClassVar[str]  # "Filter"
    kinds: ClassVar[tuple[str, ...]] = ()  # Dagster's icons on the op: ("postgres",); at most two
    config_model: ClassVar[type[NodeConfig]]
    inputs: ClassVar[tuple[InputPort, ...]] = ()
    outputs: ClassVar[tuple[str, ...]] = ()
    materialised: ClassVar[bool] = False  # computing its rows twice is dear, or may differ: keep them
    dear: ClassVar[bool] = False  # cheaper to compute twice than to keep, but not for several readers: a join, a sort
    keeps_rows: ClassVar[bool] = False  # exactly as many rows go out as came in on its only input
    example: ClassVar[Mapping[str, Any]]  # a config for docs/nodes.md; a test runs it

    def user_sql(self, config: ConfigT) -> Sequence[UserSql]:  # noqa: ARG002  (most nodes have none)
        """Return the SQL texts in the config that must be checked before a run."""
        return ()

    def connection_ids(self, config: ConfigT) -> Mapping[str, str]:  # noqa: ARG002
        """Return the connections used: config key to the connection type that it must have."""
        return {}

    def pipeline_ids(self, config: ConfigT) -> Mapping[str, str]:  # noqa: ARG002
        """Return the pipelines of which it starts runs: config key to pipeline id."""
        return {}


class Source(NodeType[ConfigT]):
    """A node that brings rows in."""

    outputs: ClassVar[tuple[str, ...]] = ("output",)

    @abstractmethod
    def read(self, config: ConfigT, context: NodeContext) -> Relation:
        """Return the rows as a relation named `context.node_id`, with `bytes_read` filled in."""


class Transform(NodeType[ConfigT]):
    """A node that makes one relation out of its inputs."""

    inputs: ClassVar[tuple[InputPort, ...]] = (InputPort("input"),)
    outputs: ClassVar[tuple[str, ...]] = ("output",)

    @abstractmethod
    def apply(self, config: ConfigT, inputs: Inputs, context: NodeContext) -> Relation:
        """Return the result as a relation named `context.node_id`; no row is read."""


class Destination(NodeType[ConfigT]):
    """A node that takes rows out; all of them or none."""

    inputs: ClassVar[tuple[InputPort, ...]] = (InputPort("input"),)

    @abstractmethod
    def write(self, config: ConfigT, rows: Relation, context: NodeContext) -> Written:
        """Write all rows and return what was written; on any error the target is as it was before.

        `rows.rows` is the exact number that the target must receive; a different number is an error that is
        raised before anything is made visible.
        """
