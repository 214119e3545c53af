"""destination.csv: writes rows to a delimited text file."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field
from sqlglot import exp

from planasonix_orchestrator.engine.files import resolve_path, total_bytes
from planasonix_orchestrator.engine.names import literal
from planasonix_orchestrator.engine.relation import Column, Relation, column
from planasonix_orchestrator.engine.replacement import replaced_file
from planasonix_orchestrator.engine.types import is_nested
from planasonix_orchestrator.nodes.base import Destination, NodeConfig, NodeContext, Written
from planasonix_orchestrator.nodes.destinations.modes import require_written


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
        gzip = config.compression == "gzip" or (config.compression == "auto" and target.suffix == ".gz")
        options = (
            f"FORMAT csv, HEADER {config.header}, DELIM {literal(config.delimiter)},"
            f" NULLSTR {literal(config.null_value)}, COMPRESSION {'gzip' if gzip else 'none'}, USE_TMP_FILE false"
        )
        with replaced_file(target) as part:
            query = rows.select(*(_as_text(column) for column in rows.columns))
            written = context.session.copy(query, target=part, options=options)
            require_written(rows, written=written)
            size = total_bytes([part])
        return Written(rows=written, bytes=size, target=str(target))


def _as_text(col: Column) -> exp.Expr:
    if not is_nested(col.type):
        return column(col.name)
    return exp.alias_(exp.Anonymous(this="to_json", expressions=[column(col.name)]), col.name, quoted=True)
