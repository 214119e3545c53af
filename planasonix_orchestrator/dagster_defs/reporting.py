"""What Dagster is told of a node's work: metadata on its output, an asset materialisation, a log line."""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from dagster import AssetKey, AssetMaterialization, MetadataValue, TableColumn, TableSchema
from dagster._core.definitions.metadata import RawMetadataValue  # public in Dagster's signatures only

from planasonix_orchestrator.contract import metadata
from planasonix_orchestrator.dagster_defs.usage import Usage
from planasonix_orchestrator.engine.relation import Column, Relation
from planasonix_orchestrator.nodes.execution import NodeResult

_ROW_COUNT = "dagster/row_count"  # Dagster's own keys: its UI draws them over time, and as a table
_COLUMN_SCHEMA = "dagster/column_schema"


def output_metadata(result: NodeResult, *, usage: Usage) -> dict[str, RawMetadataValue]:
    """Return a node's figures, what its work has cost, and the columns that go on to the next nodes."""
    figures: dict[str, int | None] = {
        metadata.ROWS_IN: result.rows_in,
        metadata.ROWS_OUT: result.rows_out,
        metadata.BYTES_READ: result.bytes_read,
        metadata.BYTES_WRITTEN: result.bytes_written,
        metadata.BYTES_SHUFFLED: result.bytes_shuffled,
    }
    known: dict[str, RawMetadataValue] = {
        key: MetadataValue.int(value) for key, value in figures.items() if value is not None
    }
    known |= usage_metadata(usage)
    if result.relation is not None and result.rows_out is not None:
        known[_ROW_COUNT] = MetadataValue.int(result.rows_out)
        known[_COLUMN_SCHEMA] = _schema(result.relation.columns)
    return known


def usage_metadata(usage: Usage) -> dict[str, RawMetadataValue]:
    """Return what a node's work has cost, whether it ended well or not."""
    return {
        metadata.CPU_SECONDS: MetadataValue.float(usage.cpu_seconds),
        metadata.PEAK_MEMORY_BYTES: MetadataValue.int(usage.peak_memory_bytes),
    }


def materializations(
    result: NodeResult, *, inputs: Sequence[Relation], base: Path, connection_ids: Sequence[str]
) -> Iterator[AssetMaterialization]:
    """Yield the asset that a destination has written; nothing for other nodes."""
    if result.target is None:
        return
    known: dict[str, RawMetadataValue] = {
        **result.details,
        "target": MetadataValue.text(result.target),
        _ROW_COUNT: MetadataValue.int(result.rows_in or 0),
        metadata.BYTES_WRITTEN: MetadataValue.int(result.bytes_written or 0),
    }
    if len(inputs) == 1:
        known[_COLUMN_SCHEMA] = _schema(inputs[0].columns)
    key = asset_key(result.target, base=base, connection_ids=connection_ids)
    yield AssetMaterialization(asset_key=key, metadata=known)


def asset_key(target: str, *, base: Path, connection_ids: Sequence[str]) -> AssetKey:
    """Return the asset of a destination's target: connection, schema and table, or the parts of a path.

    A path is taken from the pipelines folder, without the dots, so that it is the same on every machine.
    """
    connection_id, _, table = target.partition("/")
    if connection_id in connection_ids:
        return AssetKey([connection_id, *table.split(".")])
    relative = os.path.relpath(base / target, base)
    return AssetKey([part for part in Path(relative).parts if part != os.pardir] or [target])


def log_line(result: NodeResult) -> str:
    """Return in one sentence what a node has done, without a full stop."""
    if result.target is not None:
        return f"Wrote {_rows(result.rows_in)} to {result.target} ({_size(result.bytes_written)})"
    if result.rows_in is None:
        read = f" ({_size(result.bytes_read)})" if result.bytes_read is not None else ""
        return f"Read {_rows(result.rows_out)}{read}"
    return f"Made {_rows(result.rows_out)} of {_rows(result.rows_in)}"


def _schema(columns: Sequence[Column]) -> MetadataValue:
    return MetadataValue.table_schema(
        TableSchema(columns=[TableColumn(name=column.name, type=column.type) for column in columns])
    )


def _rows(number: int | None) -> str:
    return "1 row" if number == 1 else f"{number or 0:,} rows"


def _size(number: int | None) -> str:
    size = float(number or 0)
    for unit in ("bytes", "kB", "MB", "GB"):
        if size < 1000 or unit == "GB":
            return f"{size:,.0f} {unit}" if unit == "bytes" else f"{size:,.1f} {unit}"
        size /= 1000
    raise AssertionError
