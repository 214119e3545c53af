"""transform.filter: keeps the rows for which an expression is true."""

from collections.abc import Sequence
from typing import ClassVar, Literal

from sqlglot import exp

from planasonix_orchestrator.engine.relation import Relation
from planasonix_orchestrator.engine.sql import parse_expression
from planasonix_orchestrator.nodes.base import Inputs, NodeConfig, NodeContext, Transform, UserSql


class FilterConfig(NodeConfig):
    """Config of transform.filter."""

    expression: str
    """A DuckDB expression over the columns; rows for which it is true are kept."""
    nulls: Literal["drop", "keep"] = "drop"
    """What becomes of rows for which the expression is NULL, neither true nor false."""


class Filter(Transform[FilterConfig]):
    """Keeps the rows for which an expression is true."""

    type_name = "transform.filter"
    aliases = ("filter",)
    title = "Filter"
    kinds = ("duckdb",)
    config_model = FilterConfig
    example: ClassVar = {"expression": "status = 'paid' AND amount > 10", "nulls": "drop"}

    def user_sql(self, config: FilterConfig) -> Sequence[UserSql]:
        """Return the expression."""
        return (UserSql(path=("expression",), text=config.expression),)

    def apply(self, config: FilterConfig, inputs: Inputs, context: NodeContext) -> Relation:
        """Return the rows that are kept, in the order in which they came."""
        condition = parse_expression(config.expression)
        if config.nulls == "keep":
            condition = exp.Coalesce(this=condition, expressions=[exp.true()])
        return context.session.define(context.node_id, inputs.one().select(alias="input").where(condition))
