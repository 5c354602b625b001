"""Polars: in this process, lazy and streaming."""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

import narwhals as nw
import pyarrow as pa
from narwhals.dependencies import is_polars_lazyframe
from upath import UPath

from rfm_assets.domain.controls import Chooser
from rfm_assets.domain.frames import Table, number_rows
from rfm_assets.engines.base import (
    BATCH_ROWS,
    FILE_NAME,
    ROW_GROUP_ROWS,
    AnyPath,
    as_table,
    beside_day,
    chosen_of,
    rows_in,
    to_arrow,
)
from rfm_assets.engines.duckdb_engine import DuckDBEngine
from rfm_assets.errors import StorageUnusable
from rfm_assets.failures import parquet_of, storage

if TYPE_CHECKING:  # a deployment on DuckDB never loads polars: a tenth of a second, 23 MB
    import polars as pl


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
        table = as_table(frame)
        if is_polars_lazyframe(table.to_native()):
            return table
        return self.from_arrow(to_arrow(table))

    def adopt(self, table: Table) -> Table:
        return self.from_arrow(to_arrow(table))

    def checkpoint(self, table: Table) -> Table:
        return nw.from_native(self._frame(table).collect(engine="streaming").lazy())

    def number_rows(self, table: Table, name: str, order_by: Sequence[str]) -> Table:
        return number_rows(table, name, order_by)

    def choose_rows(self, table: Table, column: str, chosen: Chooser) -> Table:
        batches = to_arrow(table.select(column)).to_batches(BATCH_ROWS)
        texts = (batch.column(0).to_pylist() for batch in batches)
        return self.from_arrow(chosen_of(texts, column, chosen))

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
        return rows_in(target)

    def day_number(self, table: Table, column: str) -> Table:
        import polars as pl

        others = beside_day(table, column)
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
