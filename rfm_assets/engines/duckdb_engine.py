"""DuckDB, the default: in this process, out of core."""

import glob
import os
import secrets
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from copy import copy
from pathlib import Path
from types import TracebackType
from typing import Self

import duckdb
import narwhals as nw
import pyarrow as pa
from upath import UPath

from rfm_assets.domain.controls import Chooser
from rfm_assets.domain.frames import Table, number_rows
from rfm_assets.engines.base import (
    BATCH_ROWS,
    EPOCH,
    FILE_NAME,
    ROW_GROUP_ROWS,
    AnyPath,
    as_table,
    beside_day,
    chosen_of,
    rows_in,
    to_arrow,
)
from rfm_assets.errors import InvalidConfig
from rfm_assets.failures import duckdb_running, parquet_of, storage


class DuckDBEngine:
    """One in-memory DuckDB connection that spills to disk beyond `memory_limit`.

    Args:
        memory_limit: With unit, such as `1GB`. What does not fit is spilled.
        threads: Number of threads; one for each core that this process may use where None.
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
        # DuckDB would start one for each core of the machine, also where this process has fewer.
        settings["threads"] = usable_cores() if threads is None else threads
        try:
            self.connection = duckdb.connect(":memory:", config=settings)
        except duckdb.Error as error:
            raise InvalidConfig(
                key="engine",
                value={"memory_limit": memory_limit, "threads": threads},
                reason=f"is refused by DuckDB: {error}",
                fix="Write for example `memory_limit: 1GB` and `threads: 2`.",
            ) from error
        hide_progress_bar(self.connection)
        self._leave_groups_whole()
        self._checkpoints = 0

    def remember_footers(self) -> None:
        """Keep the footers of Parquet files that were read, which is a third of looking up a row.

        For files that never change under their name, as those of the store.
        """
        self.connection.execute("SET parquet_metadata_cache = true")

    def beside(self) -> "DuckDBEngine":
        """Another connection to the same database, for another thread; they share the memory."""
        other = copy(self)
        other.connection = self.connection.cursor()
        hide_progress_bar(other.connection)
        return other

    def scan_parquet(self, paths: Sequence[AnyPath]) -> Table:
        self.reach(paths)
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
        return self.from_arrow(to_arrow(as_table(frame)))

    def adopt(self, table: Table) -> Table:
        return self.from_native(table)

    def checkpoint(self, table: Table) -> Table:
        self._checkpoints += 1
        # In the catalogue of this private in-memory database, which closing drops whole.
        name = f"checkpoint_{self._checkpoints}"
        with duckdb_running(self._spill):
            self._relation(table).create(name)
        return nw.from_native(self.connection.table(name))

    def number_rows(self, table: Table, name: str, order_by: Sequence[str]) -> Table:
        return number_rows(table, name, order_by)

    def choose_rows(self, table: Table, column: str, chosen: Chooser) -> Table:
        batches = self.batches(table.select(column), BATCH_ROWS)
        texts = (batch.column(0).to_pylist() for batch in batches)
        return self.from_arrow(chosen_of(texts, column, chosen))

    def write_parquet(self, table: Table, folder: AnyPath, *, sort_by: Sequence[str]) -> int:
        with storage(folder):
            folder.mkdir(parents=True, exist_ok=True)
        self.reach([folder])
        target = folder / FILE_NAME
        with duckdb_running(folder, self._spill):
            relation = self._relation(table.sort(*sort_by, nulls_last=True) if sort_by else table)
            relation.write_parquet(
                str(target), compression="zstd", overwrite=True, row_group_size=ROW_GROUP_ROWS
            )
        return rows_in(target)

    def day_number(self, table: Table, column: str) -> Table:
        others = beside_day(table, column)
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

    def _leave_groups_whole(self) -> None:
        """Keep DuckDB 2 from splitting a large GROUP BY by ranges of a key.

        It then reads all of a file again for each range: ten times, and five times as slow, where
        the rows of 100 million are grouped by customer and order.
        """
        split = "partitioned_execution"
        known = self.connection.execute("SELECT name FROM duckdb_optimizers()").fetchall()
        if (split,) in known:
            self.connection.execute("SET disabled_optimizers = $names", {"names": split})

    def batches(self, table: Table, rows: int) -> Iterator[pa.RecordBatch]:
        """The rows as a stream of which only a few batches are in memory at a time."""
        with duckdb_running(self._spill):
            yield from self._relation(table).to_arrow_reader(rows)

    def _relation(self, table: Table) -> duckdb.DuckDBPyRelation:
        native = table.to_native()
        if isinstance(native, duckdb.DuckDBPyRelation):
            return native
        return self.connection.from_arrow(to_arrow(table))

    def reach(self, paths: Sequence[AnyPath]) -> None:
        """Let DuckDB read and write where the paths lie, if that is not the local disk."""
        for path in paths:
            remote = isinstance(path, UPath) and path.protocol not in {"", "file"}
            if remote and not self.connection.filesystem_is_registered(path.protocol):
                self.connection.register_filesystem(path.fs)


def hide_progress_bar(connection: duckdb.DuckDBPyConnection) -> None:
    """Keep DuckDB from drawing into the output of whoever runs this.

    In a notebook without ipywidgets it draws nothing, and refuses to be told so.
    """
    if connection.execute("SELECT current_setting('enable_progress_bar')").fetchall() == [(True,)]:
        connection.execute("SET enable_progress_bar = false")


def usable_cores() -> int:
    """The cores that this process may use, of those that the machine has."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
