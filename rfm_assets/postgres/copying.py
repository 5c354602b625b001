"""Stored rows into a staging table by COPY, batch by batch, and what both sides add up to.

The Parquet files are read as they lie, whatever engine wrote them, so that memory does not grow
with the snapshot. Which rows of the target follow from the staged ones is `publishing.py`'s matter.
"""

import io
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass

import psycopg2
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq
import sqlalchemy as sa
from psycopg2 import sql
from upath import UPath

from rfm_assets.domain.frames import UNITS_PER_MONEY
from rfm_assets.failures import parquet_of

BATCH_ROWS = 65_536


@dataclass(frozen=True)
class Contents:
    """How many rows there are, and what each column of money adds up to in ten-thousandths."""

    rows: int
    money: Mapping[str, int]


def contents_of_files(files: Sequence[UPath], money: Mapping[str, pa.Field]) -> Contents:
    """What the stored rows hold.

    Raises:
        SnapshotUnreadable: A file is gone or damaged.
    """
    rows, sums = 0, dict.fromkeys(money, 0)
    for batch in _batches(files, [field.name for field in money.values()]):
        rows += batch.num_rows
        for name, column in zip(money, batch.columns, strict=True):
            # Wide enough for any number of rows.
            units = pc.sum(_units(column).cast(pa.decimal128(38, 0))).as_py()
            sums[name] += int(units or 0)
    return Contents(rows, sums)


def contents_of_table(
    connection: sa.Connection, table: sa.Table, money: Sequence[str], which: sa.ColumnElement[bool]
) -> Contents:
    """What the rows of a table hold, where `which` is true."""
    sums = [sa.func.coalesce(sa.func.sum(_units_in_postgres(table.c[name])), 0) for name in money]
    counted = sa.select(sa.func.count(), *sums).select_from(table).where(which)
    rows, *found = connection.execute(counted).one()
    return Contents(rows, {name: int(units) for name, units in zip(money, found, strict=True)})


def copy_rows(
    connection: sa.Connection,
    table: sa.Table,
    files: Sequence[UPath],
    columns: Mapping[str, pa.Field],
    constants: Mapping[str, object],
) -> None:
    """Fill `table` with the stored columns, named as in Postgres, and those with one value.

    Raises:
        SnapshotUnreadable: A file is gone or damaged.
        psycopg2.Error: The server refuses a value, or is gone.
    """
    raw = connection.connection.driver_connection
    if raw is None:
        raise ValueError("the connection is closed")
    copy = sql.SQL("COPY {} ({}) FROM STDIN WITH (FORMAT csv)").format(
        sql.Identifier(table.name), sql.SQL(", ").join(map(sql.Identifier, [*columns, *constants]))
    )
    stream = _CsvStream(_csv(files, columns, constants))
    try:
        with raw.cursor() as cursor, closing(stream):
            cursor.copy_expert(copy, stream, 1 << 20)
            # A temporary table is never analysed by the server itself.
            cursor.execute(sql.SQL("ANALYZE {}").format(sql.Identifier(table.name)))
    except psycopg2.Error as error:
        if raw.closed:
            connection.invalidate(error)
        if stream.failure is not None:  # The driver words what went wrong in reading as its own.
            raise stream.failure from None
        raise


class _CsvStream:
    """Chunks of bytes as a file that the driver reads from."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks = chunks
        self._rest = b""
        self.failure: BaseException | None = None

    def read(self, size: int = -1) -> bytes:
        try:
            while size < 0 or len(self._rest) < size:
                chunk = next(self._chunks, None)
                if chunk is None:
                    break
                self._rest += chunk
        except BaseException as error:
            self.failure = error
            raise
        taken = len(self._rest) if size < 0 else size
        found, self._rest = self._rest[:taken], self._rest[taken:]
        return found

    def close(self) -> None:
        self._rest = b""


def _csv(
    files: Sequence[UPath], columns: Mapping[str, pa.Field], constants: Mapping[str, object]
) -> Iterator[bytes]:
    # Quotes tell an empty text from a null, which stands for itself without any.
    options = pa.csv.WriteOptions(include_header=False, quoting_style="needed")
    for batch in _batches(files, [field.name for field in columns.values()]):
        arrays = [_plain(column) for column in batch.columns]
        arrays += [pa.repeat(pa.scalar(value), batch.num_rows) for value in constants.values()]
        sink = io.BytesIO()
        named = pa.record_batch(arrays, names=[*columns, *constants])
        pa.csv.write_csv(named, sink, options)
        yield sink.getvalue()


def _batches(files: Sequence[UPath], columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
    with parquet_of(files):
        for path in files:
            with path.open("rb") as file, pq.ParquetFile(file) as parquet:
                for batch in parquet.iter_batches(BATCH_ROWS, columns=list(columns)):
                    yield batch.select(list(columns))


def _plain(column: pa.Array) -> pa.Array:
    if pa.types.is_dictionary(column.type):
        return column.dictionary_decode()
    if pa.types.is_timestamp(column.type):
        return column.cast(pa.timestamp("us", column.type.tz))
    return column


def _units(column: pa.Array) -> pa.Array:
    """Whole ten-thousandths, as `_units_in_postgres` computes them from the same 64 bits."""
    scaled = pc.multiply(pc.cast(column, pa.float64()), float(UNITS_PER_MONEY))
    whole = pc.multiply(pc.floor(pc.add(pc.abs(scaled), 0.5)), pc.sign(scaled))
    return pc.cast(whole, pa.int64())


def _units_in_postgres(column: sa.ColumnElement[float]) -> sa.ColumnElement[int]:
    # Not numeric: Postgres makes one of a double with fifteen digits only.
    scaled = column * sa.literal(float(UNITS_PER_MONEY), sa.Double)
    whole = sa.func.floor(sa.func.abs(scaled) + sa.literal(0.5, sa.Double)) * sa.func.sign(scaled)
    return sa.cast(whole, sa.BigInteger)
