"""A handful of small node types, one for each thing that a node type can say about itself."""
# ruff: noqa: ARG002  (the base classes give the signatures)

from collections.abc import Mapping, Sequence
from typing import ClassVar, Literal

from sqlglot import exp

from planasonix_orchestrator.engine.relation import Relation
from planasonix_orchestrator.engine.sql import parse_expression, parse_query
from planasonix_orchestrator.nodes.base import (
    Destination,
    InputPort,
    Inputs,
    NodeConfig,
    NodeContext,
    Source,
    Transform,
    UserSql,
    Written,
)
from planasonix_orchestrator.nodes.catalog import NodeCatalog


class NumbersConfig(NodeConfig):
    count: int = 10
    order: Literal["up", "down"] = "up"


class Numbers(Source[NumbersConfig]):
    type_name = "source.numbers"
    title = "Numbers"
    config_model = NumbersConfig
    example: ClassVar = {}

    def read(self, config: NumbersConfig, context: NodeContext) -> Relation:
        rows = exp.select("range AS n").from_(exp.func("range", exp.Literal.number(config.count)))
        return context.session.define(context.node_id, rows)


class Feed(Numbers):
    type_name = "source.feed"
    title = "Feed"
    materialised = True


class KeepConfig(NodeConfig):
    expression: str


class Keep(Transform[KeepConfig]):
    type_name = "transform.keep"
    aliases = ("keep",)
    title = "Keep"
    config_model = KeepConfig
    example: ClassVar = {"expression": "n > 1"}

    def user_sql(self, config: KeepConfig) -> Sequence[UserSql]:
        return (UserSql(path=("expression",), text=config.expression),)

    def apply(self, config: KeepConfig, inputs: Inputs, context: NodeContext) -> Relation:
        return context.session.define(context.node_id, inputs.one().select().where(parse_expression(config.expression)))


class CopyConfig(NodeConfig):
    pass


class Copy(Transform[CopyConfig]):
    type_name = "transform.copy"
    title = "Copy"
    config_model = CopyConfig
    keeps_rows = True
    example: ClassVar = {}

    def apply(self, config: CopyConfig, inputs: Inputs, context: NodeContext) -> Relation:
        return context.session.define(context.node_id, inputs.one().select())


class PairKey(NodeConfig):
    left_column: str
    kind: Literal["equal", "less"] = "equal"


class PairConfig(NodeConfig):
    keys: tuple[PairKey, ...] = ()


class Pair(Transform[PairConfig]):
    type_name = "transform.pair"
    title = "Pair"
    config_model = PairConfig
    inputs = (InputPort("left"), InputPort("right"))
    dear = True
    example: ClassVar = {}

    def apply(self, config: PairConfig, inputs: Inputs, context: NodeContext) -> Relation:
        right = inputs.one("right").table("r")
        return context.session.define(context.node_id, inputs.one("left").select("l.n", alias="l").join(right))


class QueryConfig(NodeConfig):
    query: str


class Query(Transform[QueryConfig]):
    type_name = "transform.query"
    title = "Query"
    config_model = QueryConfig
    inputs = (InputPort("input", many=True),)
    dear = True
    example: ClassVar = {"query": "SELECT * FROM input"}

    def user_sql(self, config: QueryConfig) -> Sequence[UserSql]:
        return (UserSql(path=("query",), text=config.query, kind="query"),)

    def apply(self, config: QueryConfig, inputs: Inputs, context: NodeContext) -> Relation:
        names = [named.name for named in inputs.many()]
        return context.session.define(context.node_id, parse_query(config.query, inputs=names))


class ShelfConfig(NodeConfig):
    connection_id: str
    table: str


class Shelf(Destination[ShelfConfig]):
    type_name = "destination.shelf"
    title = "Shelf"
    config_model = ShelfConfig
    example: ClassVar = {"connectionId": "conn_duck", "table": "numbers"}

    def connection_ids(self, config: ShelfConfig) -> Mapping[str, str]:
        return {"connectionId": "duckdb"}

    def write(self, config: ShelfConfig, rows: Relation, context: NodeContext) -> Written:
        return Written(rows=context.session.count(rows).rows or 0, bytes=0, target=config.table)


CATALOG = NodeCatalog((Numbers(), Feed(), Keep(), Copy(), Pair(), Query(), Shelf()))
