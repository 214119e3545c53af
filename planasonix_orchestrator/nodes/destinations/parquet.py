"""destination.parquet: writes rows to a Parquet file, or to a folder of them by partition."""

from typing import ClassVar, Literal

from sqlglot import exp

from planasonix_orchestrator.engine.files import resolve_path, total_bytes
from planasonix_orchestrator.engine.names import quote
from planasonix_orchestrator.engine.relation import Column, Relation, column
from planasonix_orchestrator.engine.replacement import replaced_file, replaced_folder
from planasonix_orchestrator.errors import NodeError
from planasonix_orchestrator.nodes.base import Destination, NodeConfig, NodeContext, Written
from planasonix_orchestrator.nodes.columns import find_columns
from planasonix_orchestrator.nodes.destinations.modes import require_written


class ParquetDestinationConfig(NodeConfig):
    """Config of destination.parquet."""

    path: str
    """The file, or the folder if `partitionBy` is set; relative to the pipelines folder. Replaced if it is there."""
    compression: Literal["zstd", "snappy", "gzip", "lz4", "none"] = "zstd"
    """How pages are compressed."""
    partition_by: tuple[str, ...] = ()
    """Columns by whose values rows are put into folders such as `year=2013`."""


class ParquetDestination(Destination[ParquetDestinationConfig]):
    """Writes a Parquet file beside the target and moves it into place when it is complete.

    If anything fails, or the run is killed, the target stays as it was; what a killed run left behind, the next write
    removes. With `partitionBy`, the whole folder is replaced; it must hold nothing but Parquet files.
    """

    type_name = "destination.parquet"
    title = "Parquet file"
    kinds = ("parquet",)
    config_model = ParquetDestinationConfig
    example: ClassVar = {"path": "output/orders.parquet", "compression": "zstd"}

    def write(self, config: ParquetDestinationConfig, rows: Relation, context: NodeContext) -> Written:
        """Write all rows; `bytes` is the size of the file, or of all files."""
        target = resolve_path(config.path, base=context.base)
        context.session.keep_rows_of(target)
        codec = "uncompressed" if config.compression == "none" else config.compression
        options = f"FORMAT parquet, COMPRESSION {codec}"
        partitions = find_columns(rows, config.partition_by)
        query = rows.select(*(_exact(column) for column in rows.columns))
        if not partitions:
            with replaced_file(target) as part:
                written = context.session.copy(query, target=part, options=f"{options}, USE_TMP_FILE false")
                require_written(rows, written=written)
                size = total_bytes([part])
            return Written(rows=written, bytes=size, target=str(target))
        if len(partitions) == len(rows.columns):
            raise NodeError("partitionBy names every column", hint="leave at least one for the files themselves")
        names = ", ".join(quote(name) for name in partitions)
        with replaced_folder(target, suffix=".parquet") as folder:
            partitioned = f"{options}, PARTITION_BY ({names}), OVERWRITE_OR_IGNORE"
            written = context.session.copy(query, target=folder, options=partitioned)
            require_written(rows, written=written)
            files = tuple(folder.rglob("*.parquet"))
            size = total_bytes(files)
        return Written(rows=written, bytes=size, target=str(target), details={"files": len(files)})


def _exact(col: Column) -> exp.Expr:
    this = column(col.name)
    if col.type not in {"HUGEINT", "UHUGEINT"}:  # which DuckDB would write as DOUBLE
        return this
    return exp.alias_(exp.cast(this, "DECIMAL(38,0)", dialect="duckdb"), col.name, quoted=True)
