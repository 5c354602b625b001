"""Where frames come from and run: DuckDB (the default, out of core) and polars.

An engine reads and writes Parquet, holds intermediate results, and computes the few columns that
narwhals cannot express alike everywhere. What the columns mean does not belong here (`domain/`),
nor where files lie (`store.py`), nor how a source is parsed (`sources.py`).
"""

import glob
import secrets
import tempfile
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from datetime import date
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, Protocol, Self, TypeAlias

import duckdb
import narwhals as nw
import pyarrow as pa
import pyarrow.parquet as pq
from narwhals.dependencies import (
    is_pandas_dataframe,
    is_polars_dataframe,
    is_polars_lazyframe,
)
from upath import UPath

from rfm_assets.domain.frames import Table
from rfm_assets.errors import InvalidConfig, StorageUnusable, UnsupportedFrame
from rfm_assets.failures import duckdb_running, parquet_of, storage

if TYPE_CHECKING:  # a deployment on DuckDB never loads polars: a tenth of a second, 23 MB
    import polars as pl

EngineName: TypeAlias = Literal["duckdb", "polars"]
"""The engines that a deployment can choose."""

AnyPath: TypeAlias = Path | UPath

EPOCH = date(1970, 1, 1)

FILE_NAME = "rows-0.parquet"

ROW_GROUP_ROWS = 122_880
"""DuckDB's own size, taken for every engine."""


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

    def checkpoint(self, table: Table) -> Table:
        """Compute `table` once and hold it, for a frame that is used several times.

        Raises:
            OutOfMemory: The memory limit is too small.
        """
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


class DuckDBEngine:
    """One in-memory DuckDB connection that spills to disk beyond `memory_limit`.

    Args:
        memory_limit: With unit, such as `1GB`. What does not fit is spilled.
        threads: Number of threads; every core where None.
        spill_dir: Folder for spilled data; one of its own below the system's temporary folder
            where None. DuckDB makes it when it first spills, and removes it with the connection.
        keep_order: Whether rows keep the order in which they were stored or given, at the price
            of some memory. For what is handed out; the domain needs no order.

    Raises:
        InvalidConfig: DuckDB does not accept a setting.
    """

    name = "duckdb"

    def __init__(
        self,
        memory_limit: str = "1GB",
        threads: int | None = None,
        spill_dir: str | Path | None = None,
        *,
        keep_order: bool = False,
    ) -> None:
        own = Path(tempfile.gettempdir(), f"rfm_assets-spill-{secrets.token_hex(8)}")
        self._spill = Path(spill_dir or own)
        settings: dict[str, str | bool | int | float | list[str]] = {
            "memory_limit": memory_limit,
            "temp_directory": str(self._spill),
            # Order is made where it matters, on writing; keeping it everywhere costs memory.
            "preserve_insertion_order": keep_order,
            # An engine never reaches for the network on its own.
            "autoinstall_known_extensions": False,
        }
        if threads is not None:
            settings["threads"] = threads
        try:
            self.connection = duckdb.connect(":memory:", config=settings)
        except duckdb.Error as error:
            raise InvalidConfig(
                key="engine",
                value={"memory_limit": memory_limit, "threads": threads},
                reason=f"is refused by DuckDB: {error}",
                fix="Write for example `memory_limit: 1GB` and `threads: 2`.",
            ) from error
        # It would draw itself into the output of whoever runs this.
        self.connection.execute("SET enable_progress_bar = false")
        self._checkpoints = 0

    def scan_parquet(self, paths: Sequence[AnyPath]) -> Table:
        self._reach(paths)
        # DuckDB reads a pattern even where a file of that name exists: another store's, then.
        # The store's folders are called as_of=...: DuckDB would make columns of them.
        with parquet_of(paths):
            relation = self.connection.read_parquet(
                [glob.escape(str(path)) for path in paths], hive_partitioning=False
            )
        return nw.from_native(relation)

    def from_arrow(self, table: pa.Table) -> Table:
        return nw.from_native(self.connection.from_arrow(table))

    def from_native(self, frame: object) -> Table:
        return self.from_arrow(to_arrow(_as_table(frame)))

    def checkpoint(self, table: Table) -> Table:
        self._checkpoints += 1
        # In the catalogue of this private in-memory database, which closing drops whole.
        name = f"checkpoint_{self._checkpoints}"
        with duckdb_running(self._spill):
            self._relation(table).create(name)
        return nw.from_native(self.connection.table(name))

    def write_parquet(self, table: Table, folder: AnyPath, *, sort_by: Sequence[str]) -> int:
        with storage(folder):
            folder.mkdir(parents=True, exist_ok=True)
        self._reach([folder])
        target = folder / FILE_NAME
        with duckdb_running(folder, self._spill):
            relation = self._relation(table.sort(*sort_by, nulls_last=True) if sort_by else table)
            relation.write_parquet(str(target), compression="zstd", overwrite=True)
        return _rows_in(target)

    def day_number(self, table: Table, column: str) -> Table:
        others = _beside_day(table, column)
        days = duckdb.ColumnExpression(column).cast(duckdb.sqltypes.DATE) - (
            duckdb.ConstantExpression(EPOCH)
        )
        day = days.cast(duckdb.sqltypes.INTEGER).alias("day")
        kept = [duckdb.ColumnExpression(name) for name in others]
        return nw.from_native(self._relation(table).select(*kept, day))

    def reading(self) -> AbstractContextManager["DuckDBEngine"]:
        return nullcontext(self)

    def clear(self) -> None:
        while self._checkpoints:
            self.connection.execute(f"DROP TABLE IF EXISTS checkpoint_{self._checkpoints}")
            self._checkpoints -= 1

    def close(self) -> None:
        self.connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _relation(self, table: Table) -> duckdb.DuckDBPyRelation:
        native = table.to_native()
        if isinstance(native, duckdb.DuckDBPyRelation):
            return native
        return self.connection.from_arrow(to_arrow(table))

    def _reach(self, paths: Sequence[AnyPath]) -> None:
        """Let DuckDB read and write where the paths lie, if that is not the local disk."""
        for path in paths:
            remote = isinstance(path, UPath) and path.protocol not in {"", "file"}
            if remote and not self.connection.filesystem_is_registered(path.protocol):
                self.connection.register_filesystem(path.fs)


class PolarsEngine:
    """Polars on this machine: lazy, streaming, for teams that already hold polars frames.

    It decides on memory, threads and spilling itself; the settings are those of the DuckDB that
    reads sources for it.
    """

    name = "polars"

    def __init__(
        self,
        memory_limit: str = "1GB",
        threads: int | None = None,
        spill_dir: str | Path | None = None,
    ) -> None:
        self._reading = partial(DuckDBEngine, memory_limit, threads, spill_dir)

    def scan_parquet(self, paths: Sequence[AnyPath]) -> Table:
        import polars as pl

        first = paths[0]
        with parquet_of(paths):
            if isinstance(first, UPath) and first.protocol not in {"", "file"}:
                import pyarrow.dataset as pads

                files = pads.dataset(
                    [path.path for path in paths if isinstance(path, UPath)], filesystem=first.fs
                )
                return nw.from_native(pl.scan_pyarrow_dataset(files))
            names = [str(path) for path in paths]
            table = nw.from_native(pl.scan_parquet(names, hive_partitioning=False, glob=False))
            table.collect_schema()  # opens the files
            return table

    def from_arrow(self, table: pa.Table) -> Table:
        import polars as pl

        return nw.from_native(pl.from_arrow(table).lazy())

    def from_native(self, frame: object) -> Table:
        table = _as_table(frame)
        if is_polars_lazyframe(table.to_native()):
            return table
        return self.from_arrow(to_arrow(table))

    def checkpoint(self, table: Table) -> Table:
        return nw.from_native(self._frame(table).collect(engine="streaming").lazy())

    def write_parquet(self, table: Table, folder: AnyPath, *, sort_by: Sequence[str]) -> int:
        import polars as pl

        frame = self._frame(table.sort(*sort_by, nulls_last=True) if sort_by else table)
        target = folder / FILE_NAME
        with storage(folder):
            folder.mkdir(parents=True, exist_ok=True)
            try:
                with target.open("wb") as file:
                    # A fixed size, because by default it follows the number of threads.
                    frame.sink_parquet(
                        file, compression="zstd", row_group_size=ROW_GROUP_ROWS, engine="streaming"
                    )
            except pl.exceptions.ComputeError as error:
                if "IO error" not in str(error):
                    raise
                raise StorageUnusable(
                    path=str(folder), reason=f"cannot be written: {error}"
                ) from error
        return _rows_in(target)

    def day_number(self, table: Table, column: str) -> Table:
        import polars as pl

        others = _beside_day(table, column)
        day = pl.col(column).cast(pl.Date).cast(pl.Int32).alias("day")
        return nw.from_native(self._frame(table).select(*others, day))

    def reading(self) -> AbstractContextManager[DuckDBEngine]:
        return self._reading()

    def clear(self) -> None:
        """Nothing to drop: polars frees what is no longer referred to."""

    def close(self) -> None:
        """Nothing to drop: polars frees what is no longer referred to."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _frame(self, table: Table) -> "pl.LazyFrame":
        native = table.to_native()
        return (
            native if is_polars_lazyframe(native) else self.from_arrow(to_arrow(table)).to_native()
        )


def _beside_day(table: Table, column: str) -> list[str]:
    """The columns that stay beside a new `day`, once `column` is known to have one."""
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


def _rows_in(path: AnyPath) -> int:
    with path.open("rb") as file:
        return pq.read_metadata(file).num_rows


def _as_table(frame: object) -> Table:
    """Any native or narwhals frame as a lazy table on its own engine."""
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


def open_engine(
    name: EngineName = "duckdb",
    *,
    memory_limit: str = "1GB",
    threads: int | None = None,
    spill_dir: str | Path | None = None,
) -> Engine:
    """The engine of that name; `polars` follows the settings only where DuckDB reads for it."""
    engine = PolarsEngine if name == "polars" else DuckDBEngine
    return engine(memory_limit, threads, spill_dir)


def engine_for_native(frame: object) -> Engine:
    """The engine on which a notebook's frame is computed: polars for polars, else DuckDB.

    pandas and pyarrow go through DuckDB rather than natively, so that a notebook computes with
    the engine of the stored tables, nulls and NaN included.
    """
    if isinstance(frame, nw.DataFrame | nw.LazyFrame):
        frame = frame.to_native()
    if is_polars_dataframe(frame) or is_polars_lazyframe(frame):
        return PolarsEngine()
    return DuckDBEngine(keep_order=True)
