"""destination.duckdb: writes rows to a table in a DuckDB file."""

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, ClassVar

from planasonix_orchestrator.engine.names import TableName, parse_table_name, quote
from planasonix_orchestrator.engine.relation import Relation
from planasonix_orchestrator.engine.stopping import last_stop
from planasonix_orchestrator.engine.types import decimal_digits
from planasonix_orchestrator.errors import NodeError
from planasonix_orchestrator.nodes.base import Destination, NodeContext, Written
from planasonix_orchestrator.nodes.columns import find_columns
from planasonix_orchestrator.nodes.destinations.modes import (
    TableConfig,
    require_known,
    require_scale,
    require_unique,
    require_written,
)

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

_STAGE = "temp.planasonix_stage"


class DuckDBDestinationConfig(TableConfig):
    """Config of destination.duckdb."""


class DuckDBDestination(Destination[DuckDBDestinationConfig]):
    """Writes rows to a DuckDB file in one transaction.

    If anything fails, or the run is killed, the table stays as it was. A missing file, schema or table is made; an
    existing table is never altered. Columns that do not arrive get their default, in rows that upsert finds they stay.
    Only one process at a time can have a DuckDB file open; if another one has it, the node fails and says so.
    `bytes_written` is by how much the file grew, and 0 if the rows found room in it.
    """

    type_name = "destination.duckdb"
    title = "DuckDB table"
    kinds = ("duckdb",)
    config_model = DuckDBDestinationConfig
    example: ClassVar = {"connectionId": "conn_duck", "table": "orders", "mode": "truncate"}

    def connection_ids(self, config: DuckDBDestinationConfig) -> Mapping[str, str]:  # noqa: ARG002
        """Return the one connection."""
        return {"connectionId": "duckdb"}

    def write(self, config: DuckDBDestinationConfig, rows: Relation, context: NodeContext) -> Written:
        """Write all rows in one transaction."""
        connection = context.connections.duckdb(config.connection_id)
        path = connection.path
        path.parent.mkdir(parents=True, exist_ok=True)
        before = path.stat().st_size if path.exists() else 0
        name = parse_table_name(config.table)
        table = TableName(name.schema or "main", name.name)
        keys = tuple(find_columns(rows, config.keys))
        with context.session.attached(path) as database, context.session.cursor() as cursor:
            cursor.execute("BEGIN")
            target = f"{quote(database)}.{table.sql}"
            _prepare(cursor, database=database, table=table, rows=rows, keys=keys)
            if config.mode == "upsert":
                written = _upsert(cursor, target=target, rows=rows, keys=keys)
            else:
                written = _insert(cursor, target=target, rows=rows, empty_first=config.mode == "truncate")
            require_written(rows, written=written)
            last_stop()
            cursor.execute("COMMIT")
        return Written(
            rows=written,
            bytes=max(0, path.stat().st_size - before),
            target=f"{connection.id}/{table}",
            details={"mode": config.mode},
        )


def _prepare(
    cursor: "DuckDBPyConnection", *, database: str, table: TableName, rows: Relation, keys: tuple[str, ...]
) -> None:
    existing = dict(
        cursor.execute(
            "SELECT column_name, data_type FROM duckdb_columns()"
            " WHERE database_name = ? AND schema_name = ? AND table_name = ? ORDER BY column_index",
            [database, table.schema, table.name],
        ).fetchall()
    )
    if existing:
        require_known(rows.column_names, table=str(table), existing=tuple(existing))
        for column in rows.columns:
            type_ = existing[column.name]
            digits = decimal_digits(type_)
            scale = digits[1] if digits else 0 if type_.endswith(("INT", "INTEGER")) else None
            require_scale(column, table=str(table), type_=type_, scale=scale)
        return
    columns = [f"{quote(column.name)} {column.type}" for column in rows.columns]
    primary_key = [f"PRIMARY KEY ({_list(keys)})"] if keys else []
    cursor.execute(f"CREATE SCHEMA IF NOT EXISTS {quote(database)}.{quote(table.schema or 'main')}")
    cursor.execute(f"CREATE TABLE {quote(database)}.{table.sql} ({', '.join([*columns, *primary_key])})")


def _insert(cursor: "DuckDBPyConnection", *, target: str, rows: Relation, empty_first: bool) -> int:
    if empty_first:
        cursor.execute(f"DELETE FROM {target}").fetchall()  # noqa: S608  (every name is quoted)
    columns = _list(rows.column_names)
    return _number(cursor, f"INSERT INTO {target} ({columns}) SELECT {columns} FROM {rows.table().sql('duckdb')}")  # noqa: S608


def _upsert(cursor: "DuckDBPyConnection", *, target: str, rows: Relation, keys: tuple[str, ...]) -> int:
    written = _number(cursor, f"CREATE TEMP TABLE planasonix_stage AS FROM {rows.table().sql('duckdb')}")
    for key in keys:
        nulls = _number(cursor, f"SELECT count(*) FROM {_STAGE} WHERE {quote(key)} IS NULL")  # noqa: S608
        if nulls:
            raise NodeError(f"{nulls} rows have no value in the key column {key!r}", hint="filter them out before")
    repeated = f"SELECT {_list(keys)} FROM {_STAGE} GROUP BY ALL HAVING count(*) > 1 LIMIT 1"  # noqa: S608
    require_unique(next(iter(cursor.execute(repeated).fetchall()), None), keys=keys)
    updates = ", ".join(f"{quote(name)} = stage.{quote(name)}" for name in rows.column_names if name not in keys)
    cursor.execute(
        f"MERGE INTO {target} AS target USING {_STAGE} AS stage"  # noqa: S608  (every name is quoted)
        f" ON {' AND '.join(f'target.{quote(key)} = stage.{quote(key)}' for key in keys)}"
        f" WHEN MATCHED THEN {f'UPDATE SET {updates}' if updates else 'DO NOTHING'}"
        f" WHEN NOT MATCHED THEN INSERT ({_list(rows.column_names)})"
        f" VALUES ({', '.join(f'stage.{quote(name)}' for name in rows.column_names)})"
    ).fetchall()
    return written


def _number(cursor: "DuckDBPyConnection", statement: str) -> int:
    ((number,),) = cursor.execute(statement).fetchall()
    return int(number)


def _list(names: Iterable[str]) -> str:
    return ", ".join(quote(name) for name in names)
