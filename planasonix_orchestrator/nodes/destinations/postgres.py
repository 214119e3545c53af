"""destination.postgres: writes rows to a PostgreSQL table."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from planasonix_orchestrator.engine.names import TableName, literal, parse_table_name, quote
from planasonix_orchestrator.engine.postgres import copy_in, transaction
from planasonix_orchestrator.engine.postgres_types import staged, target_type
from planasonix_orchestrator.engine.relation import Column, Relation
from planasonix_orchestrator.engine.stopping import last_stop
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
    from adbc_driver_manager.dbapi import Cursor

_STAGE = "planasonix_stage"
_WHOLE_NUMBERS = {"smallint", "integer", "bigint"}
_NUMERIC = re.compile(r"numeric\(\d+,(\d+)\)")


class PostgresDestinationConfig(TableConfig):
    """Config of destination.postgres."""

    pre_sql: str | None = None
    """One statement to run before the rows go in, in the same transaction."""
    post_sql: str | None = None
    """One statement to run after the rows went in, in the same transaction."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _TargetColumn:
    """A column of the table: `type` with and `plain_type` without modifiers, `is_text` if a text goes in as it is."""

    name: str
    type: str
    plain_type: str
    is_text: bool

    @property
    def scale(self) -> int | None:
        """How many decimals it keeps; None where that is no limit."""
        numeric = _NUMERIC.fullmatch(self.type)
        return int(numeric[1]) if numeric else 0 if self.type in _WHOLE_NUMBERS else None


class PostgresDestination(Destination[PostgresDestinationConfig]):
    """Writes rows by COPY into a temporary table and from there, in the same transaction, into the target.

    Readers see the rows when all are there; if anything fails, or the run is killed, the target stays as it was. Runs
    that write to one table take turns. A missing table (and its schema) is made, in mode upsert with the keys as its
    primary key; an existing one is never altered. Columns that do not arrive get their default, in rows that upsert
    finds they stay. `upsert` is a MERGE, which PostgreSQL has since version 15, and needs no unique index.
    Lists become arrays, other nested values jsonb. `bytes_written` is the size of the rows as Arrow.
    """

    type_name = "destination.postgres"
    title = "PostgreSQL table"
    kinds = ("postgres",)
    config_model = PostgresDestinationConfig
    example: ClassVar = {
        "connectionId": "conn_pg",
        "table": "public.open_orders",
        "mode": "upsert",
        "keys": ["order_id"],
    }

    def connection_ids(self, config: PostgresDestinationConfig) -> Mapping[str, str]:  # noqa: ARG002
        """Return the one connection."""
        return {"connectionId": "postgres"}

    def write(self, config: PostgresDestinationConfig, rows: Relation, context: NodeContext) -> Written:
        """Write all rows in one transaction."""
        keys = tuple(find_columns(rows, config.keys))
        with transaction(context.connections, config.connection_id) as cursor:
            table = _locked(cursor, parse_table_name(config.table))
            if config.pre_sql:
                cursor.execute(config.pre_sql)
            inserted = _prepared(cursor, table=table, columns=rows.columns, keys=keys)
            query = rows.select(*(staged(column) for column in rows.columns))
            with context.session.stream(query) as stream:
                copy_in(cursor, stream, table=_STAGE)
            require_written(rows, written=stream.rows)
            if config.mode == "upsert":
                _upsert(cursor, table=table, inserted=inserted, keys=keys)
            else:
                _insert(cursor, table=table, inserted=inserted, empty_first=config.mode == "truncate")
            if config.post_sql:
                cursor.execute(config.post_sql)
            last_stop()
        return Written(
            rows=stream.rows,
            bytes=stream.bytes,
            target=f"{context.connections.postgres(config.connection_id).id}/{table}",
            details={"mode": config.mode},
        )


def _locked(cursor: "Cursor", name: TableName) -> TableName:
    """Return the name with its schema, once no other run writes to the table (which may not exist yet)."""
    known = f"to_regclass({literal(name.sql)})"
    cursor.execute(
        "SELECT coalesce((SELECT nspname FROM pg_class"  # noqa: S608  (every text is quoted)
        " JOIN pg_namespace ON pg_namespace.oid = relnamespace"
        f" WHERE pg_class.oid = {known}), current_schema())::text"
    )
    ((schema,),) = cursor.fetchall()
    table = TableName(name.schema or schema, name.name)
    cursor.execute(f"SELECT pg_advisory_xact_lock(hashtextextended({literal(f'planasonix {table.sql}')}, 0))::text")
    cursor.fetchall()
    return table


def _prepared(
    cursor: "Cursor", *, table: TableName, columns: tuple[Column, ...], keys: tuple[str, ...]
) -> dict[str, str]:
    """Make the table if it is missing; return, by column to write, its expression over the staged rows."""
    existing = _existing(cursor, table)
    if not existing:
        _create(cursor, table=table, columns=columns, keys=keys)
        existing = _existing(cursor, table)
    require_known(tuple(column.name for column in columns), table=str(table), existing=tuple(existing))
    return {column.name: _converted(column, existing[column.name], table=table) for column in columns}


def _existing(cursor: "Cursor", table: TableName) -> dict[str, _TargetColumn]:
    cursor.execute(
        "SELECT attname::text, format_type(atttypid, atttypmod),"  # noqa: S608  (every text is quoted)
        " format_type(atttypid, NULL), typcategory = 'S'"
        " FROM pg_attribute JOIN pg_type ON pg_type.oid = atttypid"
        f" WHERE attrelid = to_regclass({literal(table.sql)}) AND attnum > 0 AND NOT attisdropped ORDER BY attnum"
    )
    return {
        name: _TargetColumn(name=name, type=type_, plain_type=plain_type, is_text=is_text)
        for name, type_, plain_type, is_text in cursor.fetchall()
    }


def _create(cursor: "Cursor", *, table: TableName, columns: tuple[Column, ...], keys: tuple[str, ...]) -> None:
    cursor.execute(f"CREATE SCHEMA IF NOT EXISTS {quote(table.schema or '')}")
    parts = [f"{quote(column.name)} {target_type(column.type).final}" for column in columns]
    if keys:
        parts.append(f"PRIMARY KEY ({_list(keys)})")
    cursor.execute(f"CREATE TABLE {table.sql} ({', '.join(parts)})")


def _converted(column: Column, target: _TargetColumn, *, table: TableName) -> str:
    require_scale(column, table=str(table), type_=target.type, scale=target.scale)
    name = f"stage.{quote(column.name)}"
    # Without modifiers such as (10): a cast to varchar(10) cuts off what is too long, an insert refuses it.
    return f"CAST({name} AS {target.plain_type})" if target_type(column.type).as_text and not target.is_text else name


def _insert(cursor: "Cursor", *, table: TableName, inserted: dict[str, str], empty_first: bool) -> None:
    if empty_first:
        cursor.execute(f"TRUNCATE {table.sql}")
    cursor.execute(
        f"INSERT INTO {table.sql} ({_list(inserted)})"  # noqa: S608  (every name is quoted)
        f" SELECT {', '.join(inserted.values())} FROM {_STAGE} AS stage"
    )


def _upsert(cursor: "Cursor", *, table: TableName, inserted: dict[str, str], keys: tuple[str, ...]) -> None:
    values = ", ".join(f"stage.{quote(key)}" for key in keys)
    for key in keys:
        cursor.execute(f"SELECT count(*) FROM {_STAGE} WHERE {quote(key)} IS NULL")  # noqa: S608
        ((nulls,),) = cursor.fetchall()
        if nulls:
            raise NodeError(f"{nulls} rows have no value in the key column {key!r}", hint="filter them out before")
    cursor.execute(f"SELECT {values} FROM {_STAGE} AS stage GROUP BY {values} HAVING count(*) > 1 LIMIT 1")  # noqa: S608
    require_unique(next(iter(cursor.fetchall()), None), keys=keys)
    others = [name for name in inserted if name not in keys]
    updates = ", ".join(f"{quote(name)} = {inserted[name]}" for name in others)
    cursor.execute(f"ANALYZE {_STAGE}")
    # Against writers who are no runs of ours: between its two halves, MERGE does not see their new rows.
    cursor.execute(f"LOCK TABLE {table.sql} IN SHARE ROW EXCLUSIVE MODE")
    cursor.execute(
        f"MERGE INTO {table.sql} AS target USING {_STAGE} AS stage"  # noqa: S608  (every name is quoted)
        f" ON {' AND '.join(f'target.{quote(key)} = {inserted[key]}' for key in keys)}"
        f" WHEN MATCHED THEN {f'UPDATE SET {updates}' if updates else 'DO NOTHING'}"
        f" WHEN NOT MATCHED THEN INSERT ({_list(inserted)}) VALUES ({', '.join(inserted.values())})"
    )


def _list(names: Iterable[str]) -> str:
    return ", ".join(quote(name) for name in names)
