"""transform.sql: one SELECT over the node's inputs."""

from collections.abc import Sequence
from typing import ClassVar

from sqlglot import exp

from planasonix_orchestrator.engine.relation import Relation, quoted
from planasonix_orchestrator.engine.sql import fold, parse_query
from planasonix_orchestrator.nodes.base import InputPort, Inputs, NodeConfig, NodeContext, Transform, UserSql


class SqlConfig(NodeConfig):
    """Config of transform.sql."""

    query: str
    """One DuckDB SELECT. Its tables are the inputs, by the name of the edge's target port, else by the id of the node
    that the edge comes from; an only input is also called `input`."""


class Sql(Transform[SqlConfig]):
    """Runs one SELECT over the inputs. It can read nothing else: no files, no network, no settings."""

    type_name = "transform.sql"
    aliases = ("sql",)
    title = "SQL"
    kinds = ("duckdb", "sql")
    config_model = SqlConfig
    inputs = (InputPort("input", many=True),)
    dear = True
    example: ClassVar = {"query": "SELECT customer, amount / sum(amount) OVER () AS share FROM input"}

    def user_sql(self, config: SqlConfig) -> Sequence[UserSql]:
        """Return the query."""
        return (UserSql(path=("query",), text=config.query, kind="query"),)

    def apply(self, config: SqlConfig, inputs: Inputs, context: NodeContext) -> Relation:
        """Return the rows of the query."""
        arrived = inputs.many()
        tables = {named.name: named.relation for named in arrived}
        if len(arrived) == 1 and fold(arrived[0].name) != "input":
            tables["input"] = arrived[0].relation
        query = exp.select("*").from_(parse_query(config.query, inputs=tables))
        for name, relation in tables.items():
            query = query.with_(quoted(name), as_=relation.select(), copy=False)
        return context.session.define(context.node_id, query)
