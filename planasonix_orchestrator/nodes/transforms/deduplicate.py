"""transform.deduplicate: keeps one row of those that are equal in some columns."""

from typing import ClassVar, Literal

from sqlglot import exp

from planasonix_orchestrator.engine.relation import Relation, column, quoted
from planasonix_orchestrator.nodes.base import Inputs, NodeConfig, NodeContext, Transform
from planasonix_orchestrator.nodes.columns import OrderKey, find_columns, numbered, ordered


class DeduplicateConfig(NodeConfig):
    """Config of transform.deduplicate."""

    keys: tuple[str, ...] = ()
    """The columns that make rows equal (no value equals no value); all columns if none is named."""
    order_by: tuple[OrderKey, ...] = ()
    """The order among equal rows; without it, and where it leaves a tie, the order in which they arrive."""
    keep: Literal["first", "last"] = "first"
    """Which of the equal rows goes on."""


class Deduplicate(Transform[DeduplicateConfig]):
    """Keeps one row of those that are equal in the keys, and the order of rows.

    The choice is the same in every run if `orderBy` leaves no ties, or if rows arrive in the same order, as they do
    from files, tables of one run, filters, selects and sorts on all columns; after a join or a summary, use `orderBy`.
    """

    type_name = "transform.deduplicate"
    aliases = ("deduplicate", "dedupe")
    title = "Deduplicate"
    kinds = ("duckdb",)
    config_model = DeduplicateConfig
    materialised = True
    example: ClassVar = {"keys": ["customer"], "orderBy": [{"column": "ordered_at"}], "keep": "last"}

    def apply(self, config: DeduplicateConfig, inputs: Inputs, context: NodeContext) -> Relation:
        """Return the rows that are kept."""
        relation = inputs.one()
        keys = find_columns(relation, config.keys) or list(relation.column_names)
        rows, number = numbered(relation)
        last = config.keep == "last"
        order = [*ordered(relation, config.order_by, reverse=last), exp.Ordered(this=column(number), desc=last)]
        rank = exp.Window(
            this=exp.RowNumber(), partition_by=[column(key) for key in keys], order=exp.Order(expressions=order)
        )
        query = exp.select(exp.Star(except_=[quoted(number)])).from_(rows).order_by(column(number))
        query.set("qualify", exp.Qualify(this=exp.EQ(this=rank, expression=exp.Literal.number(1))))
        return context.session.define(context.node_id, query)
