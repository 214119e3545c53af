"""DuckDB's errors in the user's words, and which of them lie in the data."""

import re

import duckdb
import pyarrow as pa

from planasonix_orchestrator.errors import NodeError, NodeInterruptedError, NodeOutOfMemoryError

_CSV = re.compile(r"CSV Error on Line: (\d+)\n(.*)", re.DOTALL)
_CSV_FILE = re.compile(r"^  file = (.*)$", re.MULTILINE)
_CSV_ADVICE = re.compile(r"\n\n|\nPossible (?:fixes|solutions?)\b", re.IGNORECASE)
_ASIDE = re.compile(r"\n\nLINE |\nTry (?:increasing|setting) |\nPotential Fixes")
_OUT_OF_MEMORY = re.compile(r"Out of Memory Error: ([^\n]*)")
_BAD_VALUE = "Error when converting column"

# The query was sound and met rows that it can't take; as an Arrow stream, DuckDB raises them as OSError.
DATA_ERRORS = (
    duckdb.ConversionException,
    duckdb.DataError,
    duckdb.InvalidInputException,
    duckdb.OutOfRangeException,
    OSError,
    pa.ArrowException,
)


def as_node_error(error: Exception) -> NodeError:
    """Return what the user is told in place of an error that DuckDB raised."""
    text = str(error).strip()
    if isinstance(error, duckdb.InterruptException) or "INTERRUPT Error" in text:
        return NodeInterruptedError()
    memory = _OUT_OF_MEMORY.search(text)  # in an Arrow stream, nothing but the text tells
    if memory or isinstance(error, duckdb.OutOfMemoryException | MemoryError):
        return NodeOutOfMemoryError(memory[1] if memory else text)
    csv = _CSV.search(text)
    if csv:
        return _csv_error(csv, file=_CSV_FILE.search(text))
    # What follows quotes generated SQL, not the user's, or names options of DuckDB that are not the node's.
    return NodeError(_ASIDE.split(text, maxsplit=1)[0])


def _csv_error(match: re.Match[str], *, file: re.Match[str] | None) -> NodeError:
    reason = _CSV_ADVICE.split(match[2], maxsplit=1)[0].splitlines()[-1]
    place = f"{file[1] if file else 'CSV file'}, line {match[1]}"
    hint = "name the null marker in nullValues, or set the type in columnTypes" if _BAD_VALUE in reason else None
    return NodeError(f"{place}: {reason}", hint=hint)
