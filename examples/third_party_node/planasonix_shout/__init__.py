"""transform.shout: writes a text column in capitals."""

from typing import ClassVar

from sqlglot import exp

from planasonix_orchestrator.engine.relation import Relation, column, quoted
from planasonix_orchestrator.nodes.base import Inputs, NodeConfig, NodeContext, Transform
from planasonix_orchestrator.nodes.columns import find_columns


class ShoutConfig(NodeConfig):
    """Config of transform.shout."""

    column: str
    """The column to write in capitals."""
    marks: int = 1
    """How many exclamation marks follow."""


class Shout(Transform[ShoutConfig]):
    """Writes a text column in capitals, with exclamation marks."""

    type_name = "transform.shout"
    aliases = ("shout",)
    title = "Shout"
    kinds = ("duckdb",)
    config_model = ShoutConfig
    keeps_rows = True
    example: ClassVar = {"column": "customer", "marks": 2}

    def apply(self, config: ShoutConfig, inputs: Inputs, context: NodeContext) -> Relation:
        """Return all columns, the chosen one changed in place."""
        relation = inputs.one()
        (name,) = find_columns(relation, [config.column])
        loud = exp.Concat(expressions=[exp.Upper(this=column(name)), exp.Literal.string("!" * config.marks)])
        columns = [exp.alias_(loud, quoted(each)) if each == name else column(each) for each in relation.column_names]
        return context.session.define(context.node_id, relation.select(*columns))
