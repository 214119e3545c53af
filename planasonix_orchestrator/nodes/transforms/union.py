"""transform.union: puts the rows of several inputs one after the other."""

from collections.abc import Sequence
from typing import ClassVar, Literal

from sqlglot import exp

from planasonix_orchestrator.engine.relation import Relation, column, quoted
from planasonix_orchestrator.engine.sql import fold
from planasonix_orchestrator.errors import NodeError
from planasonix_orchestrator.nodes.base import InputPort, Inputs, NamedRelation, NodeConfig, NodeContext, Transform
from planasonix_orchestrator.nodes.columns import MissingColumnError


class UnionConfig(NodeConfig):
    """Config of transform.union."""

    by: Literal["name", "position"] = "name"
    """How columns are matched. By `name`, the result has every column of any input; by `position`, all inputs must have
    the same number of columns, and the first one names them."""
    distinct: bool = False
    """Whether rows that are equal in all columns go on only once."""
    missing_columns: Literal["null", "fail"] = "null"
    """By name: what happens where an input lacks a column: its values are NULL, or the run fails."""


class Union(Transform[UnionConfig]):
    """Puts the rows of several inputs one after the other, in the order of the edges."""

    type_name = "transform.union"
    aliases = ("union",)
    title = "Union"
    kinds = ("duckdb",)
    config_model = UnionConfig
    inputs = (InputPort("input", many=True),)
    example: ClassVar = {"by": "name", "distinct": False}

    def apply(self, config: UnionConfig, inputs: Inputs, context: NodeContext) -> Relation:
        """Return the rows of all inputs."""
        arrived = inputs.many()
        parts = _by_name(config, arrived) if config.by == "name" else _by_position(arrived)
        query: exp.Query = parts[0] if len(parts) == 1 else exp.union(*parts, distinct=False, copy=False)
        if config.distinct:
            query = exp.select("*").distinct().from_(query.subquery("all_rows", copy=False), copy=False)
        relation = context.session.define(context.node_id, query)
        counts = [named.relation.rows for named in arrived]
        if config.distinct or None in counts:
            return relation
        return relation.with_figures(rows=sum(count or 0 for count in counts))


def _by_name(config: UnionConfig, arrived: Sequence[NamedRelation]) -> list[exp.Query]:
    names: dict[str, str] = {}
    for named in arrived:
        for name in named.relation.column_names:
            names.setdefault(fold(name), name)
    return [_aligned(config, named, names) for named in arrived]


def _aligned(config: UnionConfig, named: NamedRelation, names: dict[str, str]) -> exp.Query:
    own = {fold(name): name for name in named.relation.column_names}
    missing = [name for key, name in names.items() if key not in own]
    if missing and config.missing_columns == "fail":
        raise MissingColumnError(missing[0], known=named.relation.column_names, where=f"input {named.name!r}")
    values = [column(own[key]) if key in own else exp.null() for key in names]
    return named.relation.select(
        *(exp.alias_(value, quoted(name)) for value, name in zip(values, names.values(), strict=True))
    )


def _by_position(arrived: Sequence[NamedRelation]) -> list[exp.Query]:
    first = arrived[0]
    for other in arrived[1:]:
        if len(other.relation.columns) != len(first.relation.columns):
            raise NodeError(
                f"input {first.name!r} has {len(first.relation.columns)} columns,"
                f" input {other.name!r} has {len(other.relation.columns)}",
                hint="select the same number of columns in both, or match them by name",
            )
    return [named.relation.select() for named in arrived]
