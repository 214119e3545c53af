"""source.json: the rows of JSON files, lines or arrays."""

from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from planasonix_orchestrator.engine.files import OptionValue, find_files, read_files, total_bytes
from planasonix_orchestrator.engine.relation import Relation
from planasonix_orchestrator.nodes.base import NodeConfig, NodeContext, Source
from planasonix_orchestrator.nodes.columns import ColumnType, find_columns

_FORMATS = {"auto": "auto", "lines": "newline_delimited", "array": "array"}
_NO_TYPE = {'"NULL"': "VARCHAR"}


class JsonSourceConfig(NodeConfig):
    """Config of source.json."""

    path: str
    """A file or a glob (`*`, `**`); a relative path starts at the pipelines folder."""
    format: Literal["auto", "lines", "array"] = "auto"
    """One object per line, or one array of objects; `auto` finds out."""
    column_types: Mapping[str, ColumnType] = {}
    """DuckDB types by column (`DECIMAL(12,2)`); the types of all other columns are found out from the rows."""
    sample_rows: Annotated[int, Field(ge=1)] | Literal["all"] = "all"
    """How many rows are looked at to find out columns and types. With fewer than all, keys that come later are lost."""
    compression: Literal["auto", "none", "gzip"] = "auto"
    """`auto` goes by the file name: `.gz` is gzip."""


class JsonSource(Source[JsonSourceConfig]):
    """Reads JSON files; objects and arrays inside a row become nested columns."""

    type_name = "source.json"
    title = "JSON files"
    kinds = ("json",)
    config_model = JsonSourceConfig
    materialised = True
    example: ClassVar = {"path": "orders.jsonl", "format": "lines"}

    def read(self, config: JsonSourceConfig, context: NodeContext) -> Relation:
        """Return the rows of all files, in the order of the file names."""
        files = find_files(config.path, base=context.base)
        options: dict[str, OptionValue] = {"format": _FORMATS[config.format], "compression": config.compression}
        sample = -1 if config.sample_rows == "all" else config.sample_rows
        relation = context.session.define(
            context.node_id, read_files("read_json", files, **options, sample_size=sample, maximum_sample_files=-1)
        )
        # Columns without any value have no type yet.
        found = {column.name: _NO_TYPE.get(column.type, column.type) for column in relation.columns}
        wanted = found | dict(
            zip(find_columns(relation, config.column_types), config.column_types.values(), strict=True)
        )
        if any(wanted[column.name] != column.type for column in relation.columns):
            # The whole list of columns, so that a number goes from its text to the wanted type, not by way of DOUBLE.
            query = read_files("read_json", files, **options, columns=wanted)
            relation = context.session.define(context.node_id, query)
        return relation.with_figures(bytes_read=total_bytes(files))
