"""What every engine offers, and what they share: where frames come from and run.

An engine reads and writes Parquet, holds intermediate results, and computes the few columns that
narwhals cannot express alike everywhere. What the columns mean does not belong here (`domain/`),
nor where files lie (`store.py`), nor how a source is parsed (`sources/`).
"""

from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from datetime import date
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Protocol, Self, TypeAlias

import narwhals as nw
import pyarrow as pa
import pyarrow.parquet as pq
from narwhals.dependencies import is_pandas_dataframe
from upath import UPath

from rfm_assets.domain.controls import Chooser
from rfm_assets.domain.frames import Table
from rfm_assets.errors import InvalidConfig, UnsupportedFrame
from rfm_assets.failures import duckdb_running

if TYPE_CHECKING:
    from rfm_assets.engines.duckdb_engine import DuckDBEngine

AnyPath: TypeAlias = Path | UPath

EPOCH = date(1970, 1, 1)

FILE_NAME = "rows-0.parquet"

BATCH_ROWS = 65_536
"""Rows that are handed to Python at a time."""

ROW_GROUP_ROWS = 40_960
"""Rows that are decoded together. A third of DuckDB's own size, because looking up one customer of a
million decodes one group: 5 ms rather than 16, for files that are 2 % larger."""


class Engine(Protocol):
    """What the rest of the package asks of an engine. Close it, or use it as a context manager.

    Intermediate results live until `clear`: call it after each unit of work (a partition), and a
    backfill of many weeks stays as small as one week.
    """

    @property
    def name(self) -> str:
        """How the engine is called in configuration."""
        ...

    def scan_parquet(self, paths: Sequence[AnyPath]) -> Table:
        """The rows of stored Parquet files of one schema, lazily.

        Raises:
            SnapshotUnreadable: A file is gone or damaged.
        """
        ...

    def from_arrow(self, table: pa.Table) -> Table:
        """A small table that is already in memory."""
        ...

    def from_native(self, frame: object) -> Table:
        """Any frame that narwhals knows, brought onto this engine.

        Raises:
            UnsupportedFrame: `frame` is not a frame.
        """
        ...

    def adopt(self, table: Table) -> Table:
        """The rows of a table that the DuckDB of `reading` holds, which may close afterwards.

        Raises:
            OutOfMemory: The memory limit is too small.
        """
        ...

    def checkpoint(self, table: Table) -> Table:
        """Compute `table` once and hold it, for a frame that is used several times.

        Raises:
            OutOfMemory: The memory limit is too small.
        """
        ...

    def number_rows(self, table: Table, name: str, order_by: Sequence[str]) -> Table:
        """Add `name` (Int64): the rows' numbers from 1 in an order that is total and has no nulls."""
        ...

    def choose_rows(self, table: Table, column: str, chosen: Chooser) -> Table:
        """The values of the text `column` that a Python function chooses, asked batch by batch."""
        ...

    def write_parquet(self, table: Table, folder: AnyPath, *, sort_by: Sequence[str]) -> int:
        """Write the rows, sorted, as Parquet into `folder`, and return their number.

        Nulls sort last. The bytes are the same for the same rows if `sort_by` orders them totally.

        Raises:
            StorageUnusable: The folder cannot be written, or the disk is full.
            OutOfMemory: The memory limit is too small.
        """
        ...

    def day_number(self, table: Table, column: str) -> Table:
        """Add `day` (Int32): the days from 1970-01-01 to the naive timestamp or date `column`.

        Raises:
            InvalidConfig: The timestamps have a time zone, so that their day depends on the reader.
        """
        ...

    def reading(self) -> AbstractContextManager["DuckDBEngine"]:
        """DuckDB to read sources with, which are parsed natively: itself, or one beside it."""
        ...

    def clear(self) -> None:
        """Drop the intermediate results; tables made from them cannot be read afterwards."""
        ...

    def close(self) -> None:
        """Drop everything. Tables of this engine cannot be read afterwards."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...


def to_arrow(table: Table) -> pa.Table:
    """The rows of `table` in memory.

    Raises:
        OutOfMemory: The memory limit is too small.
    """
    with duckdb_running():
        return table.collect(backend="pyarrow").to_native()


def collect_rows(table: Table) -> list[dict[str, Any]]:
    """The rows of a small table as Python values, for metadata, pictures and messages."""
    return to_arrow(table).to_pylist()


def chosen_of(batches: Iterable[list[str]], column: str, chosen: Chooser) -> pa.Table:
    """The chosen values of all batches, of which one is in memory at a time."""
    found = pa.array([], pa.string())
    kept = [found]
    for values in batches:
        verdicts = chosen(values)
        kept.append(
            pa.array([v for v, is_in in zip(values, verdicts, strict=True) if is_in], pa.string())
        )
    return pa.table({column: pa.chunked_array(kept)})


def beside_day(table: Table, column: str) -> list[str]:
    """The columns that stay beside a new `day`, once `column` is known to have one.

    Raises:
        InvalidConfig: The timestamps have a time zone, so that their day depends on the reader.
    """
    schema = table.collect_schema()
    kind = schema[column]
    if isinstance(kind, nw.Datetime) and kind.time_zone is not None:
        raise InvalidConfig(
            key=column,
            value=str(kind),
            reason="has a time zone",
            fix="Convert it to the business time zone and drop the zone, then number its days.",
        )
    return [name for name in schema.names() if name != "day"]


def rows_in(path: AnyPath) -> int:
    """The number of rows of a Parquet file, from its footer."""
    with path.open("rb") as file:
        return pq.read_metadata(file).num_rows


def as_table(frame: object) -> Table:
    """Any native or narwhals frame as a lazy table on its own engine.

    Raises:
        UnsupportedFrame: `frame` is not a frame.
    """
    frame = nw.to_native(frame, pass_through=True)
    if is_pandas_dataframe(frame):
        # An unnamed index is only row numbers; a named one is data.
        named = any(name is not None for name in frame.index.names)
        frame = pa.Table.from_pandas(
            frame.reset_index() if named else frame, preserve_index=False
        ).replace_schema_metadata()
    try:
        wrapped = nw.from_native(frame, pass_through=False)
    except TypeError as error:
        raise UnsupportedFrame(given=type(frame)) from error
    return wrapped.lazy()
