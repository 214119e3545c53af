"""Text files written from a query whose only column is the text of each row.

Not by DuckDB's COPY: version 2.0.0 hangs, in one of some hundred tries, when a row of the query fails while several
threads write CSV or JSON.
"""

import gzip
from pathlib import Path

import pyarrow as pa
from sqlglot import exp

from planasonix_orchestrator.engine.session import Session

_ROWS_PER_BATCH = 20_000


def write_lines(
    session: Session, query: exp.Query, *, target: Path, zipped: bool, before: str = "", after: str = ""
) -> int:
    """Write `before`, the texts of all rows, end to end, and `after`, in UTF-8; return the number of rows.

    NULL is no text: the query must not give any. Line ends are part of the texts.
    """
    with session.stream(query, rows_per_batch=_ROWS_PER_BATCH) as stream:
        with gzip.open(target, "wb", compresslevel=6) if zipped else target.open("wb") as file:
            file.write(before.encode())
            for batch in stream.reader:
                file.write(_bytes(batch.column(0)))
            file.write(after.encode())
        return stream.rows


def _bytes(texts: "pa.Array[pa.StringScalar]") -> memoryview:
    """Return the texts of an Arrow column as they lie in memory: one after the other, nothing between them."""
    _, offsets, data = texts.buffers()
    if data is None or offsets is None:
        return memoryview(b"")
    places = memoryview(offsets).cast("i")
    return memoryview(data)[places[texts.offset] : places[texts.offset + len(texts)]]
