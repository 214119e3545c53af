"""source.parquet: the rows of Parquet files."""

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from planasonix_orchestrator.engine.files import find_files, read_files, resolve_path, total_bytes
from planasonix_orchestrator.engine.relation import Relation
from planasonix_orchestrator.engine.session import Session
from planasonix_orchestrator.engine.sql import fold
from planasonix_orchestrator.errors import NodeError
from planasonix_orchestrator.nodes.base import NodeConfig, NodeContext, Source


class ParquetSourceConfig(NodeConfig):
    """Config of source.parquet."""

    path: str
    """A file, a glob (`*`, `**`), or a folder of `.parquet` files; relative to the pipelines folder."""
    hive_partitions: bool | None = None
    """Whether folder names such as `year=2013` are columns; by default they are when `path` is a folder."""
    union_by_name: bool = False
    """Whether files may differ in their columns: one that a file does not have is NULL in its rows."""


class ParquetSource(Source[ParquetSourceConfig]):
    """Reads Parquet files; only the columns and row groups that are needed later are read at all."""

    type_name = "source.parquet"
    title = "Parquet files"
    kinds = ("parquet",)
    config_model = ParquetSourceConfig
    example: ClassVar = {"path": "orders.parquet"}

    def read(self, config: ParquetSourceConfig, context: NodeContext) -> Relation:
        """Return the rows of all files, in the order of the file names; `bytes_read` is their whole size."""
        files = find_files(config.path, base=context.base, suffix=".parquet")
        partitions = config.hive_partitions
        if partitions is None:
            partitions = resolve_path(config.path, base=context.base).is_dir()
        if not config.union_by_name:
            _require_equal_columns(files, partitions=partitions, session=context.session)
        # By name in any case: by position, DuckDB squeezes all files into the types of the first.
        query = read_files("read_parquet", files, hive_partitioning=partitions, union_by_name=True)
        relation = context.session.define(context.node_id, query, files=files)
        return relation.with_figures(bytes_read=total_bytes(files))


def _require_equal_columns(files: Sequence[Path], *, partitions: bool, session: Session) -> None:
    first: frozenset[str] | None = None
    for file in files if len(files) > 1 else ():
        columns = session.columns(read_files("read_parquet", [file], hive_partitioning=partitions))
        names = frozenset(fold(column.name) for column in columns)
        first = names if first is None else first
        if names != first:
            raise NodeError(
                f"{file} and {files[0]} differ in columns: {', '.join(sorted(names ^ first))}",
                hint="set unionByName: true to read NULL where a file does not have a column",
            )
