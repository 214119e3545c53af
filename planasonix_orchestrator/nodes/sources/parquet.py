"""source.parquet: the rows of Parquet files."""

from typing import ClassVar

from planasonix_orchestrator.engine.files import find_files, read_files, resolve_path, total_bytes
from planasonix_orchestrator.engine.relation import Relation
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
        query = read_files("read_parquet", files, hive_partitioning=partitions, union_by_name=config.union_by_name)
        return context.session.define(context.node_id, query).with_figures(bytes_read=total_bytes(files))
