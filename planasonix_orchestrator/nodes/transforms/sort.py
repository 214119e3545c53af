"""transform.sort: puts rows in order."""

from typing import ClassVar

from pydantic import Field

from planasonix_orchestrator.engine.relation import Relation
from planasonix_orchestrator.nodes.base import Inputs, NodeConfig, NodeContext, Transform
from planasonix_orchestrator.nodes.columns import OrderKey, ordered


class SortConfig(NodeConfig):
    """Config of transform.sort."""

    keys: tuple[OrderKey, ...] = Field(min_length=1)
    """The columns to sort by, the most important first."""


class Sort(Transform[SortConfig]):
    """Puts rows in order. Filters, selects and destinations keep it; joins, unions and summaries do not."""

    type_name = "transform.sort"
    aliases = ("sort",)
    title = "Sort"
    kinds = ("duckdb",)
    config_model = SortConfig
    keeps_rows = True
    dear = True
    example: ClassVar = {"keys": [{"column": "amount", "direction": "desc"}, {"column": "order_id"}]}

    def apply(self, config: SortConfig, inputs: Inputs, context: NodeContext) -> Relation:
        """Return the rows in order."""
        relation = inputs.one()
        return context.session.define(context.node_id, relation.select().order_by(*ordered(relation, config.keys)))
