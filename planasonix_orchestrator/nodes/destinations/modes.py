"""How rows go into a table that may hold rows already; the same for every database."""

from typing import Literal, Self

from pydantic import Field, model_validator

from planasonix_orchestrator.engine.names import TableNameText
from planasonix_orchestrator.engine.relation import Column, Relation
from planasonix_orchestrator.engine.types import decimal_digits
from planasonix_orchestrator.errors import NodeError
from planasonix_orchestrator.nodes.base import NodeConfig


class TableConfig(NodeConfig):
    """The part of a config that says into which table rows go, and how."""

    connection_id: str
    """The connection."""
    table: TableNameText
    """The table, `schema.table`, in exactly this spelling; made if it is missing."""
    mode: Literal["append", "insert", "truncate", "upsert"] = "append"
    """`append` (or `insert`) adds the rows; `truncate` replaces all rows; `upsert` replaces rows with equal keys."""
    keys: tuple[str, ...] = Field(default=())
    """The columns by which `upsert` knows a row; a key may neither be NULL nor arrive twice."""

    @model_validator(mode="after")
    def _keys_with_upsert(self) -> Self:
        if (self.mode == "upsert") != bool(self.keys):
            raise ValueError("mode upsert needs keys" if not self.keys else "keys are for mode upsert only")
        return self


def require_written(rows: Relation, *, written: int) -> None:
    """Raise `NodeError` if another number of rows was written than the input has."""
    if rows.rows is not None and written != rows.rows:
        raise NodeError(
            f"{rows.rows} rows were counted, but {written} arrived, so nothing was written",
            hint="the rows changed between two reads: a source was written to, or an expression is not deterministic",
        )


def require_known(incoming: tuple[str, ...], *, table: str, existing: tuple[str, ...]) -> None:
    """Raise `NodeError` if columns arrive that the table does not have."""
    unknown = [name for name in incoming if name not in existing]
    if unknown:
        raise NodeError(
            f"table {table} has no column {', '.join(map(repr, unknown))}",
            hint=f"its columns: {', '.join(existing)}; rename or drop columns with transform.select",
        )


def require_scale(column: Column, *, table: str, type_: str, scale: int | None) -> None:
    """Raise `NodeError` if decimals would be lost in a column of the table that keeps `scale` of them (None: all)."""
    digits = decimal_digits(column.type)
    fractions = digits[1] if digits else 38 if column.type in {"FLOAT", "DOUBLE"} else 0
    if type_.upper() == "DATE" and column.type.startswith("TIMESTAMP"):
        raise NodeError(
            f"column {column.name!r} is {column.type}, but {type_} in table {table}: the time of day would be lost",
            hint="cast it to DATE with transform.select",
        )
    if scale is not None and fractions > scale:
        raise NodeError(
            f"column {column.name!r} is {column.type}, but {type_} in table {table}: decimals would be lost",
            hint="round and cast it with transform.select",
        )


def require_unique(duplicate: tuple[object, ...] | None, *, keys: tuple[str, ...]) -> None:
    """Raise `NodeError` for a key that arrived twice."""
    if duplicate is not None:
        key = ", ".join(f"{name}={value!r}" for name, value in zip(keys, duplicate, strict=True))
        raise NodeError(
            f"two rows have the key {key}", hint="put transform.deduplicate before, or add a column to keys"
        )
