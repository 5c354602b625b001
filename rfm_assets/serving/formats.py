"""Rows as CSV, NDJSON, Arrow or Parquet, piece by piece, whatever their number.

CSV is what people open in a spreadsheet, so that cells which would run there as a formula get an
apostrophe before them; the other formats are for programs and leave every value as it is.
"""

import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from rfm_assets.domain.identifiers import NUMBER, RUNS_FROM_START, RUNS_INSIDE

Batches: TypeAlias = Iterator[pa.RecordBatch]
Format: TypeAlias = Literal["csv", "ndjson", "arrow", "parquet"]


@dataclass(frozen=True)
class Writer:
    """One format: what it is called on the wire and in a file's name, and how it is written."""

    media_type: str
    ending: str
    write: Callable[[pa.Schema, Batches], Iterator[bytes]]


def spreadsheet_safe(batch: pa.RecordBatch) -> pa.RecordBatch:
    """The same with an apostrophe before whatever a spreadsheet would run.

    That may stand inside of a text: `x;=1` is two cells where a semicolon divides them. A text that
    is a number, such as -12, stays: it is no formula.
    """
    columns = []
    for field, column in zip(batch.schema, batch.columns, strict=True):
        texts = pa.types.is_string(field.type) or pa.types.is_large_string(field.type)
        columns.append(_defused(column) if texts else column)
    return pa.RecordBatch.from_arrays(columns, schema=batch.schema)


def safe_cells(texts: Sequence[str | None]) -> list[str | None]:
    """Texts for a spreadsheet, as `spreadsheet_safe` has them; all of a column at once, for speed."""
    return _defused(pa.array(texts, pa.string())).to_pylist()


def _defused(column: pa.Array) -> pa.Array:
    number = pc.match_substring_regex(column, NUMBER)
    inside = pc.replace_substring_regex(column, RUNS_INSIDE, r"\1'\2")
    marked = pc.binary_join_element_wise(pa.scalar("'", column.type), inside, "")
    runs = pc.match_substring_regex(column, RUNS_FROM_START)
    return pc.if_else(number, column, pc.if_else(runs, marked, inside))


class _Sink(io.RawIOBase):
    """Collects what a writer writes until it is taken."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []
        self._size = 0

    def writable(self) -> bool:
        return True

    def write(self, data: object) -> int:
        piece = bytes(memoryview(data))  # type: ignore[arg-type]
        self._pieces.append(piece)
        self._size += len(piece)
        return len(piece)

    def tell(self) -> int:
        return self._size

    def take(self) -> bytes:
        taken, self._pieces = b"".join(self._pieces), []
        return taken


def _csv(schema: pa.Schema, batches: Batches) -> Iterator[bytes]:
    sink = _Sink()
    with pa_csv.CSVWriter(sink, schema) as writer:
        for batch in batches:
            writer.write_batch(spreadsheet_safe(batch))
            yield sink.take()
    yield sink.take()


def _ndjson(schema: pa.Schema, batches: Batches) -> Iterator[bytes]:
    import polars as pl

    del schema
    for batch in batches:
        yield pl.DataFrame(batch).write_ndjson().encode()


def _arrow(schema: pa.Schema, batches: Batches) -> Iterator[bytes]:
    sink = _Sink()
    with pa.ipc.new_stream(sink, schema) as writer:
        for batch in batches:
            writer.write_batch(batch)
            yield sink.take()
    yield sink.take()


def _parquet(schema: pa.Schema, batches: Batches) -> Iterator[bytes]:
    sink = _Sink()
    with pq.ParquetWriter(sink, schema, compression="zstd") as writer:
        for batch in batches:
            writer.write_batch(batch)
            yield sink.take()
    yield sink.take()


WRITERS: Mapping[Format, Writer] = {
    "csv": Writer("text/csv", "csv", _csv),
    "ndjson": Writer("application/x-ndjson", "ndjson", _ndjson),
    "arrow": Writer("application/vnd.apache.arrow.stream", "arrow", _arrow),
    "parquet": Writer("application/vnd.apache.parquet", "parquet", _parquet),
}


def stream(name: Format, batches: Batches, *, schema: pa.Schema) -> Iterator[bytes]:
    """The rows in one format, a piece for each batch."""
    return WRITERS[name].write(schema, (batch.cast(schema) for batch in batches))
