"""destination.json: writes rows to a JSON file, lines or one array."""

from pathlib import Path
from typing import ClassVar, Literal

from sqlglot import exp

from planasonix_orchestrator.engine.files import resolve_path, total_bytes
from planasonix_orchestrator.engine.lines import write_lines
from planasonix_orchestrator.engine.relation import Column, Relation, column
from planasonix_orchestrator.engine.replacement import replaced_file
from planasonix_orchestrator.engine.session import Session
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
        context.session.keep_rows_of(target)
        gzip = config.compression == "gzip" or (config.compression == "auto" and target.suffix == ".gz")
        pairs = [part for column in rows.columns for part in (exp.Literal.string(column.name), _as_json(column))]
        text = exp.cast(exp.Anonymous(this="json_object", expressions=pairs), "VARCHAR", dialect="duckdb")
        with replaced_file(target) as part:
            if config.format == "lines":
                line = exp.Anonymous(this="concat", expressions=[text, exp.Literal.string("\n")])
                written = write_lines(context.session, rows.select(line), target=part, zipped=gzip)
            else:
                written = _write_array(context.session, rows.select(exp.alias_(text, "text")), target=part, zipped=gzip)
            require_written(rows, written=written)
            size = total_bytes([part])
        return Written(rows=written, bytes=size, target=str(target))


def _write_array(session: Session, objects: exp.Select, *, target: Path, zipped: bool) -> int:
    first = exp.Window(this=exp.RowNumber()).eq(1)
    start = exp.Case(ifs=[exp.If(this=first, true=exp.Literal.string("\n"))], default=exp.Literal.string(",\n"))
    element = exp.Anonymous(this="concat", expressions=[start, column("text")])
    query = exp.select(element).from_(objects.subquery("objects"))
    return write_lines(session, query, target=target, zipped=zipped, before="[", after="\n]\n")


def _as_json(col: Column) -> exp.Expr:
    this = column(col.name)
    if col.type not in {"FLOAT", "DOUBLE"}:
        return this
    number = exp.Anonymous(this="to_json", expressions=[this])
    text = exp.Anonymous(this="to_json", expressions=[exp.cast(this.copy(), "VARCHAR", dialect="duckdb")])
    finite = exp.Anonymous(this="isfinite", expressions=[this.copy()])
    return exp.Case(ifs=[exp.If(this=finite, true=number)], default=text)
