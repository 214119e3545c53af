"""transform.summarize: one row per group, with aggregates of the group's rows."""

from typing import ClassVar, Literal

from pydantic import Field, model_validator
from sqlglot import exp

from planasonix_orchestrator.engine.relation import Relation, column, quoted
from planasonix_orchestrator.nodes.base import Inputs, NodeConfig, NodeContext, Transform
from planasonix_orchestrator.nodes.columns import OrderKey, find_columns, find_duplicate, ordered

_FUNCTIONS = {"stddev": "stddev_samp", "variance": "var_samp", "count_distinct": "count"}
_WHOLE_NUMBERS = {"TINYINT", "SMALLINT", "INTEGER", "BIGINT", "UTINYINT", "USMALLINT", "UINTEGER", "UBIGINT"}


class Aggregation(NodeConfig):
    """One aggregate. NULLs do not take part, except in `count` without a column, `first` and `last`."""

    function: Literal["sum", "avg", "min", "max", "count", "count_distinct", "stddev", "variance", "first", "last"]
    """What is computed. `stddev` and `variance` are those of a sample. The `sum` of whole numbers is a BIGINT."""
    column: str | None = None
    """The column; only `count` can do without, it counts rows then."""
    name: str | None = Field(default=None, alias="as", min_length=1)
    """The result's column; `<function>_<column>` if not given, or `count`."""

    @model_validator(mode="after")
    def _check(self) -> "Aggregation":
        if self.column is None and self.function != "count":
            raise ValueError(f"{self.function} needs a column")
        return self

    @property
    def output(self) -> str:
        """The name of the result's column."""
        return self.name or "_".join(part for part in (self.function, self.column) if part)


class SummarizeConfig(NodeConfig):
    """Config of transform.summarize."""

    group_by: tuple[str, ...] = ()
    """The columns whose values make a group; rows without a value make one too. Without any, all rows are one group."""
    aggregations: tuple[Aggregation, ...] = ()
    """The aggregates, in order; without any, the result is the groups."""
    order_by: tuple[OrderKey, ...] = ()
    """The order of rows within a group, for `first` and `last`; without it, that in which rows happen to arrive."""

    @model_validator(mode="after")
    def _check(self) -> "SummarizeConfig":
        if not self.group_by and not self.aggregations:
            raise ValueError("name columns to group by, or aggregations")
        duplicate = find_duplicate((*self.group_by, *(each.output for each in self.aggregations)))
        if duplicate is not None:
            raise ValueError(f"two columns would be named {duplicate!r}; give one of them another name with as")
        return self


class Summarize(Transform[SummarizeConfig]):
    """Makes one row per group, with aggregates of the group's rows; their order is not defined."""

    type_name = "transform.summarize"
    aliases = ("summarize",)
    title = "Summarize"
    kinds = ("duckdb",)
    config_model = SummarizeConfig
    materialised = True
    example: ClassVar = {
        "groupBy": ["customer"],
        "aggregations": [
            {"function": "count", "as": "orders"},
            {"function": "sum", "column": "amount", "as": "total"},
            {"function": "last", "column": "status", "as": "latest_status"},
        ],
        "orderBy": [{"column": "ordered_at"}],
    }

    def apply(self, config: SummarizeConfig, inputs: Inputs, context: NodeContext) -> Relation:
        """Return the group columns, then the aggregates."""
        relation = inputs.one()
        groups = [column(name) for name in find_columns(relation, config.group_by)]
        aggregates = [
            exp.alias_(_aggregate(each, relation, config), quoted(each.output)) for each in config.aggregations
        ]
        query = relation.select(*groups, *aggregates)
        return context.session.define(context.node_id, query.group_by(*groups) if groups else query)


def _aggregate(aggregation: Aggregation, relation: Relation, config: SummarizeConfig) -> exp.Expression:
    if aggregation.column is None:
        return exp.Count(this=exp.Star())
    (name,) = find_columns(relation, [aggregation.column])
    value: exp.Expression = column(name)
    if aggregation.function == "count_distinct":
        value = exp.Distinct(expressions=[value])
    elif aggregation.function in ("first", "last") and config.order_by:
        value = exp.Order(this=value, expressions=ordered(relation, config.order_by))
    call = exp.Anonymous(this=_FUNCTIONS.get(aggregation.function, aggregation.function), expressions=[value])
    # DuckDB's sum of whole numbers is a HUGEINT, which no file format and few databases have.
    if aggregation.function == "sum" and relation.type_of(name) in _WHOLE_NUMBERS:
        return exp.cast(call, "BIGINT", dialect="duckdb")
    return call
