"""source.json: the rows of JSON files, lines or arrays."""

import json
from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal

from pydantic import Field
from sqlglot import exp

from planasonix_orchestrator.engine.files import OptionValue, find_files, read_files, total_bytes
from planasonix_orchestrator.engine.relation import Relation, column
from planasonix_orchestrator.engine.session import Session
from planasonix_orchestrator.engine.sql import fold
from planasonix_orchestrator.errors import NodeError
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
        if any(wanted[column.name] != column.type for column in relation.columns) or config.column_types:
            _require_true_keys(relation, read_files("read_json_objects", files, **options), session=context.session)
        if any("DECIMAL" in type_ for type_ in config.column_types.values()):
            objects = read_files("read_json_objects", files, **options)
            query = exp.select(*(_digit_by_digit(*each) for each in wanted.items())).from_(objects.subquery("objects"))
            relation = context.session.define(context.node_id, query)
        elif any(wanted[column.name] != column.type for column in relation.columns):
            query = read_files("read_json", files, **options, columns=wanted)
            relation = context.session.define(context.node_id, query)
        return relation.with_figures(bytes_read=total_bytes(files))


def _require_true_keys(relation: Relation, objects: exp.Query, *, session: Session) -> None:
    """Raise `NodeError` if a column is not called like its key: DuckDB renames keys that differ only in case."""
    names = {fold(name) for name in relation.column_names}
    for name in relation.column_names:
        stem, _, number = name.rpartition("_")
        if number.isdigit() and fold(stem) in names:
            pointer = exp.Literal.string(_pointer(name))
            there = exp.Anonymous(this="json_exists", expressions=[column("json"), pointer])
            if not session.number(exp.select("count(*)").from_(objects.subquery("objects")).where(there)):
                raise NodeError(
                    f"the keys {stem!r} and {fold(stem)!r} differ only in case, and columns can't",
                    hint="rename one of them before the file is read",
                )


def _pointer(name: str) -> str:
    return "/" + name.replace("~", "~0").replace("/", "~1")


def _digit_by_digit(name: str, type_: str) -> exp.Expr:
    """Return a key of each object, converted from its text; DuckDB's own reader goes from numbers to DOUBLE first."""
    objects = column("json")
    there = exp.Anonymous(this="json_exists", expressions=[objects, exp.Literal.string(_pointer(name))])
    shape = exp.Literal.string(json.dumps({name: type_}))
    struct = exp.Anonymous(this="json_transform_strict", expressions=[objects.copy(), shape])
    value = exp.Anonymous(this="struct_extract", expressions=[struct, exp.Literal.string(name)])
    return exp.alias_(exp.Case(ifs=[exp.If(this=there, true=value)]), name, quoted=True)
