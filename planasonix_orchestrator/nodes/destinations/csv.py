"""destination.csv: writes rows to a delimited text file."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field
from sqlglot import exp

from planasonix_orchestrator.engine.files import resolve_path, total_bytes
from planasonix_orchestrator.engine.lines import write_lines
from planasonix_orchestrator.engine.relation import Column, Relation, column
from planasonix_orchestrator.engine.replacement import replaced_file
from planasonix_orchestrator.engine.types import is_nested
from planasonix_orchestrator.nodes.base import Destination, NodeConfig, NodeContext, Written
from planasonix_orchestrator.nodes.destinations.modes import require_written

_PLAIN = {"BOOLEAN", "TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT", "FLOAT", "DOUBLE", "DATE"}


class CsvDestinationConfig(NodeConfig):
    """Config of destination.csv."""

    path: str
    """The file; relative to the pipelines folder. Replaced if it is there."""
    delimiter: Annotated[str, Field(min_length=1, max_length=1)] = ","
    """What separates values."""
    header: bool = True
    """Whether the first line holds the column names."""
    null_value: str = ""
    """What is written for NULL; a text that is the same is put in quotes."""
    compression: Literal["auto", "none", "gzip"] = "auto"
    """`auto` goes by the file name: `.gz` is gzip."""


class CsvDestination(Destination[CsvDestinationConfig]):
    """Writes a CSV file (UTF-8, nested values as JSON) beside the target and moves it into place when it is complete.

    If anything fails, or the run is killed, the target stays as it was; what a killed run left behind, the next write
    removes. Timestamps with zone are written in UTC.
    """

    type_name = "destination.csv"
    title = "CSV file"
    kinds = ("csv",)
    config_model = CsvDestinationConfig
    example: ClassVar = {"path": "output/orders.csv", "nullValue": "NA"}

    def write(self, config: CsvDestinationConfig, rows: Relation, context: NodeContext) -> Written:
        """Write all rows; `bytes` is the size of the file."""
        target = resolve_path(config.path, base=context.base)
        context.session.keep_rows_of(target)
        gzip = config.compression == "gzip" or (config.compression == "auto" and target.suffix == ".gz")
        with replaced_file(target) as part:
            line = _joined([_value(column, config) for column in rows.columns], delimiter=config.delimiter)
            header = config.delimiter.join(_quoted(name, config) for name in rows.column_names) + "\n"
            written = write_lines(
                context.session,
                rows.select(line),
                target=part,
                zipped=gzip,
                before=header if config.header else "",
            )
            require_written(rows, written=written)
            size = total_bytes([part])
        return Written(rows=written, bytes=size, target=str(target))


def _value(col: Column, config: CsvDestinationConfig) -> exp.Expr:
    """Return the text of a column's values, in quotes where they are needed."""
    this: exp.Expr = column(col.name)
    if is_nested(col.type):
        this = exp.Anonymous(this="to_json", expressions=[this])
    text = exp.cast(this, "VARCHAR", dialect="duckdb")
    if col.type in _PLAIN and config.delimiter in ",;|\t" and not config.null_value:
        return exp.func("coalesce", text, exp.Literal.string(config.null_value))
    special = [config.delimiter, '"', "\n", "\r"]
    needed = exp.or_(
        text.eq(exp.Literal.string(config.null_value)),
        *(exp.Anonymous(this="contains", expressions=[text.copy(), exp.Literal.string(each)]) for each in special),
    )
    doubled = exp.Anonymous(
        this="replace", expressions=[text.copy(), exp.Literal.string('"'), exp.Literal.string('""')]
    )
    quote = exp.Literal.string('"')
    quoted = exp.Anonymous(this="concat", expressions=[quote, doubled, quote.copy()])
    written = exp.Case(ifs=[exp.If(this=needed, true=quoted)], default=text.copy())
    return exp.func("coalesce", written, exp.Literal.string(config.null_value))


def _joined(values: list[exp.Expr], *, delimiter: str) -> exp.Expr:
    parts: list[exp.Expr] = []
    for value in values:
        parts += [value, exp.Literal.string(delimiter)]
    return exp.Anonymous(this="concat", expressions=[*parts[:-1], exp.Literal.string("\n")])


def _quoted(text: str, config: CsvDestinationConfig) -> str:
    if text != config.null_value and not any(each in text for each in (config.delimiter, '"', "\n", "\r")):
        return text
    return '"' + text.replace('"', '""') + '"'
