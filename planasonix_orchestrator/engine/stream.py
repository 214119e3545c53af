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
        self._schema = schema
        self._batches = batches

    @property
    def reader(self) -> pa.RecordBatchReader:
        """The batches, to be read once."""
        # Not kept: with a reference back to this object it would be a cycle that no garbage collector can see into.
        return pa.RecordBatchReader.from_batches(self._schema, self._counted())

    def _counted(self) -> Iterator[pa.RecordBatch]:
        try:
            for batch in self._batches:
                self.rows += batch.num_rows
                self.bytes += batch.nbytes
                yield batch
        except GeneratorExit:
            raise
        except BaseException as error:
            self.error = error
            raise
