"""source.csv: the rows of delimited text files."""

import csv
import gzip
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, ClassVar, Literal

from pydantic import Field
from sqlglot import exp

from planasonix_orchestrator.engine.files import OptionValue, find_files, read_files, total_bytes
from planasonix_orchestrator.engine.relation import Relation
from planasonix_orchestrator.errors import NodeError
from planasonix_orchestrator.nodes.base import NodeConfig, NodeContext, Source
from planasonix_orchestrator.nodes.columns import ColumnType

Character = Annotated[str, Field(max_length=1)]


class CsvSourceConfig(NodeConfig):
    """Config of source.csv."""

    path: str
    """A file or a glob (`*`, `**`); a relative path starts at the pipelines folder."""
    delimiter: Annotated[str, Field(min_length=1, max_length=1)] = ","
    """What separates values."""
    quote: Character = '"'
    """What encloses a value that holds delimiters or line ends; empty for none."""
    escape: Character = '"'
    """What stands before a quote inside a quoted value; empty for none."""
    header: bool = True
    """Whether the first line of each file holds the column names."""
    columns: tuple[str, ...] = ()
    """Names for the columns, in order, where files have no header."""
    column_types: Mapping[str, ColumnType] = {}
    """DuckDB types by column (`DECIMAL(12,2)`); the types of all other columns are found out from the rows."""
    null_values: tuple[str, ...] = ("",)
    """Unquoted texts that mean NULL."""
    quoted_nulls: bool = False
    """Whether these texts mean NULL in quotes, too."""
    sample_rows: Annotated[int, Field(ge=1)] | Literal["all"] = 20_480
    """How many rows are looked at to find out types; `all` reads every row twice."""
    encoding: Literal["utf-8", "utf-16", "latin-1"] = "utf-8"
    """The encoding of the text."""
    compression: Literal["auto", "none", "gzip"] = "auto"
    """`auto` goes by the file name: `.gz` is gzip."""


class CsvSource(Source[CsvSourceConfig]):
    """Reads CSV files; a line that does not fit is an error with its number, never skipped.

    Files that a glob finds must have the same columns; their order may differ.
    """

    type_name = "source.csv"
    title = "CSV files"
    kinds = ("csv",)
    config_model = CsvSourceConfig
    materialised = True
    example: ClassVar = {
        "path": "orders.csv",
        "nullValues": ["", "NA"],
        "columnTypes": {"amount": "DECIMAL(12,2)"},
    }

    def read(self, config: CsvSourceConfig, context: NodeContext) -> Relation:
        """Return the rows of all files, in the order of the file names."""
        files = find_files(config.path, base=context.base)
        try:
            relation = context.session.define(context.node_id, _query(config, files))
        except NodeError as error:
            raise _exact(error, config=config, files=files, context=context) from error
        return relation.with_figures(bytes_read=total_bytes(files))


def _query(config: CsvSourceConfig, files: Sequence[Path]) -> exp.Select:
    options = _dialect(config)
    if config.columns:
        options["names"] = config.columns
    if config.column_types:
        options["types"] = config.column_types
    sample = -1 if config.sample_rows == "all" else config.sample_rows
    return read_files("read_csv", files, **options, sample_size=sample, files_to_sniff=-1)


def _dialect(config: CsvSourceConfig) -> dict[str, OptionValue]:
    return {
        "delim": config.delimiter,
        "quote": config.quote,
        "escape": config.escape,
        "header": config.header,
        "skip": 0,  # left to itself, DuckDB takes a bad line near the top for preamble and drops all before it
        "comment": "",  # nor is a line that begins with # a comment
        "nullstr": config.null_values,
        "allow_quoted_nulls": config.quoted_nulls,
        "encoding": config.encoding,
        "compression": config.compression,
    }


def _exact(error: NodeError, *, config: CsvSourceConfig, files: Sequence[Path], context: NodeContext) -> NodeError:
    """Return an error with the line at fault for one that only says that the file could not be understood."""
    if "sniffing" not in str(error):
        return error
    for file in files:
        names = config.columns or _first_line(file, config=config)
        columns = {f"{number}": "VARCHAR" for number, _ in enumerate(names)}
        query = read_files("read_csv", [file], **_dialect(config), auto_detect=False, columns=columns)
        try:
            context.session.number(exp.select("count(columns(*))").from_(query.subquery("lines")).limit(1))
        except NodeError as exact:
            return exact
    return error


def _first_line(file: Path, *, config: CsvSourceConfig) -> Sequence[str]:
    zipped = config.compression == "gzip" or (config.compression == "auto" and file.suffix == ".gz")
    with (gzip.open if zipped else open)(file, "rt", encoding=config.encoding, errors="replace", newline="") as lines:
        quoted = csv.reader(lines, delimiter=config.delimiter, quotechar=config.quote or '"')
        unquoted = csv.reader(lines, delimiter=config.delimiter, quoting=csv.QUOTE_NONE)
        return next(quoted if config.quote else unquoted, ())
