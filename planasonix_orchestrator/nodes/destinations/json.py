"""destination.json: writes rows to a JSON file, lines or one array."""

from typing import ClassVar, Literal

from sqlglot import exp

from planasonix_orchestrator.engine.files import resolve_path, total_bytes
from planasonix_orchestrator.engine.relation import Column, Relation, column
from planasonix_orchestrator.engine.replacement import replaced_file
from planasonix_orchestrator.nodes.base import Destination, NodeConfig, NodeContext, Written
from planasonix_orchestrator.nodes.destinations.modes import require_written


class JsonDestinationConfig(NodeConfig):
    """Config of destination.json."""

    path: str
    """The file; relative to the pipelines folder. Replaced if it is there."""
    format: Literal["lines", "array"] = "lines"
    """One object per line, or one array of objects."""
    compression: Literal["auto", "none", "gzip"] = "auto"
    """`auto` goes by the file name: `.gz` is gzip."""


class JsonDestination(Destination[JsonDestinationConfig]):
    """Writes a JSON file beside the target and moves it into place when it is complete.

    If anything fails, or the run is killed, the target stays as it was; what a killed run left behind, the next write
    removes. Decimals keep their digits; NaN and Infinity, which JSON does not have, become texts; timestamps with zone
    are written in UTC.
    """

    type_name = "destination.json"
    title = "JSON file"
    kinds = ("json",)
    config_model = JsonDestinationConfig
    example: ClassVar = {"path": "output/orders.jsonl", "format": "lines"}

    def write(self, config: JsonDestinationConfig, rows: Relation, context: NodeContext) -> Written:
        """Write all rows; `bytes` is the size of the file."""
        target = resolve_path(config.path, base=context.base)
        gzip = config.compression == "gzip" or (config.compression == "auto" and target.suffix == ".gz")
        options = (
            f"FORMAT json, ARRAY {config.format == 'array'}, COMPRESSION {'gzip' if gzip else 'none'},"
            " USE_TMP_FILE false"
        )
        with replaced_file(target) as part:
            query = rows.select(*(_as_json(column) for column in rows.columns))
            written = context.session.copy(query, target=part, options=options)
            require_written(rows, written=written)
            size = total_bytes([part])
        return Written(rows=written, bytes=size, target=str(target))


def _as_json(col: Column) -> exp.Expr:
    this = column(col.name)
    if col.type not in {"FLOAT", "DOUBLE"}:
        return this
    number = exp.Anonymous(this="to_json", expressions=[this])
    text = exp.Anonymous(this="to_json", expressions=[exp.cast(this.copy(), "VARCHAR", dialect="duckdb")])
    finite = exp.Anonymous(this="isfinite", expressions=[this.copy()])
    return exp.alias_(exp.Case(ifs=[exp.If(this=finite, true=number)], default=text), col.name, quoted=True)
