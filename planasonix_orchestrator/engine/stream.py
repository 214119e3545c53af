"""Arrow batches on their way between two databases, counted, with the error that ended them kept."""

from collections.abc import Iterable, Iterator

import pyarrow as pa


class BatchStream:
    """A stream of Arrow batches for a consumer in C, such as DuckDB or an ADBC driver.

    `rows` and `bytes` grow while `reader` is consumed. A consumer in C turns an error of ours into one of its own,
    with a traceback in the text; `error` keeps the original, so that it can be raised instead.
    """

    def __init__(self, schema: pa.Schema, batches: Iterable[pa.RecordBatch]) -> None:
        self.rows = 0
        self.bytes = 0
        self.error: BaseException | None = None
        self.reader: pa.RecordBatchReader = pa.RecordBatchReader.from_batches(schema, self._counted(batches))

    def _counted(self, batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        try:
            for batch in batches:
                self.rows += batch.num_rows
                self.bytes += batch.nbytes
                yield batch
        except GeneratorExit:
            raise
        except BaseException as error:
            self.error = error
            raise
