"""source.postgres: the rows of a PostgreSQL table or query."""

from collections.abc import Mapping
from typing import ClassVar, Self

from pydantic import model_validator
from sqlglot import exp

from planasonix_orchestrator.engine.names import TableNameText, parse_table_name
from planasonix_orchestrator.engine.postgres import transaction
from planasonix_orchestrator.engine.postgres_types import SourceColumn
from planasonix_orchestrator.engine.relation import Relation, column
from planasonix_orchestrator.engine.session import Session
from planasonix_orchestrator.errors import NodeError
from planasonix_orchestrator.nodes.base import NodeConfig, NodeContext, Source
from planasonix_orchestrator.nodes.columns import ColumnType, find_duplicate

_MAX_DIGITS = 38


class PostgresSourceConfig(NodeConfig):
    """Config of source.postgres; either `table` or `query` is set."""

    connection_id: str
    """A connection of type `postgres`."""
    table: TableNameText | None = None
    """A table or view, `schema.table`; names are taken as they are spelled, upper and lower case too."""
    query: str | None = None
    """One SELECT in PostgreSQL's SQL; it runs in a transaction that can't write."""
    column_types: Mapping[str, ColumnType] = {}
    """DuckDB types by column, for those that must arrive as another type than their own."""

    @model_validator(mode="after")
    def _one_of_two(self) -> Self:
        if (self.table is None) == (self.query is None):
            raise ValueError("set either table or query")
        return self


class PostgresSource(Source[PostgresSourceConfig]):
    """Reads a PostgreSQL table or query as a stream, with bounded memory.

    `numeric(p,s)` becomes DECIMAL(p,s). A `numeric` without precision, or with more than 38 digits, becomes
    DECIMAL(38,s), s being the most decimals that a row has: no digit is lost, and rows that 38 digits can't hold are an
    error. `json` and `jsonb` arrive as JSON; types that DuckDB does not have (enums, ranges, addresses) as their text.
    `bytes_read` is the size of the rows as Arrow.
    """

    type_name = "source.postgres"
    title = "PostgreSQL table or query"
    kinds = ("postgres",)
    config_model = PostgresSourceConfig
    materialised = True
    example: ClassVar = {"connectionId": "conn_pg", "table": "public.orders"}

    def connection_ids(self, config: PostgresSourceConfig) -> Mapping[str, str]:  # noqa: ARG002
        """Return the one connection."""
        return {"connectionId": "postgres"}

    def read(self, config: PostgresSourceConfig, context: NodeContext) -> Relation:
        """Return the rows, in the order in which PostgreSQL sends them."""
        session = context.session
        with transaction(context.connections, config.connection_id) as cursor:
            cursor.execute("SET TRANSACTION READ ONLY")
            rows = _rows(config)
            columns = [SourceColumn(field) for field in cursor.adbc_execute_schema(_select("*", rows=rows))]
            _refuse_duplicates(columns)
            cursor.execute(_select(*(col.selected() for col in columns), rows=rows))
            expressions = {col.name: col.loaded() for col in columns} | {
                name: exp.cast(column(name), type_, dialect="duckdb") for name, type_ in config.column_types.items()
            }
            relation = session.load(context.node_id, cursor.fetch_record_batch(), columns=expressions)
        free = [col for col in columns if col.is_free_decimal and col.name not in config.column_types]
        types = {col.name: _decimal_type(session, relation, col) for col in free}
        return session.retype(relation, types) if types else relation


def _select(*columns: str, rows: str) -> str:
    return f"SELECT {', '.join(columns)} FROM {rows}"  # noqa: S608  (names are quoted; a query is the user's own)


def _rows(config: PostgresSourceConfig) -> str:
    if config.table is not None:
        return parse_table_name(config.table).sql
    # In a subquery, so that nothing but one SELECT is understood; on lines of its own, for it may end in a comment.
    return f"(\n{(config.query or '').strip().rstrip(';')}\n) AS source"


def _refuse_duplicates(columns: list[SourceColumn]) -> None:
    duplicate = find_duplicate(col.name for col in columns)
    if duplicate is not None:
        raise NodeError(f"the query has two columns {duplicate!r}", hint="name one of them otherwise, by AS")


def _decimal_type(session: Session, relation: Relation, col: SourceColumn) -> str:
    """Return the DECIMAL type that holds every row's digits; they are text so far."""
    is_list = col.postgres_type == "_numeric"
    values = (
        relation.select(exp.alias_(exp.Unnest(expressions=[column(col.name)]), "value"))
        if is_list
        else (relation.select(exp.alias_(column(col.name), "value")))
    )
    digits = exp.select(
        "max(strlen(split_part(value, '.', 2))) AS scale",
        "max(strlen(ltrim(split_part(value, '.', 1), '-0'))) AS whole",
        "count(*) FILTER (WHERE NOT regexp_full_match(value, '-?[0-9]+([.][0-9]+)?')) AS odd",
        dialect="duckdb",
    ).from_(values.subquery("numbers"))
    with session.cursor() as cursor:
        ((scale, whole, odd),) = cursor.execute(digits.sql("duckdb")).fetchall()
    if odd or (scale or 0) + (whole or 0) > _MAX_DIGITS:
        raise NodeError(
            f"column {col.name!r} has numbers that DECIMAL can't hold: "
            + ("NaN or Infinity" if odd else f"{whole} digits before the point and {scale} after it"),
            hint="set its type in columnTypes: VARCHAR keeps every digit, DOUBLE the nearest value",
        )
    return f"DECIMAL({_MAX_DIGITS},{scale or 0})" + ("[]" if is_list else "")
