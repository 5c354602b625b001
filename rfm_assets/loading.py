"""Read stored tables in a notebook or a script, without Dagster.

`load_table` is public. How snapshots lie in the store is `store.py`'s business; which assets read
which partition is the IO manager's.
"""

import os
from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime
from pathlib import Path
from typing import Any, Literal, TypeAlias, get_args

import narwhals as nw
import pyarrow as pa
from upath import UPath

from rfm_assets.domain.frames import Table
from rfm_assets.engines.base import Engine, to_arrow
from rfm_assets.engines.duckdb_engine import DuckDBEngine
from rfm_assets.engines.polars_engine import PolarsEngine
from rfm_assets.errors import (
    ColumnMissing,
    InvalidAsOf,
    InvalidConfig,
    TableMissing,
    TypesDiffer,
    did_you_mean,
)
from rfm_assets.in_place import rows_of
from rfm_assets.store import ROWS, Snapshot, Store

FrameKind: TypeAlias = Literal["pandas", "polars", "polars_lazy", "pyarrow", "duckdb", "narwhals"]
"""The kinds of frame that a stored table is handed out as."""

ROOT_VARIABLE = "RFM_STORE_ROOT"
DEFAULT_ROOT = Path("data", "store")


def load_table(
    name: str,
    as_of: date | str | tuple[date | str, date | str] = "latest",
    *,
    root: str | Path | UPath | None = None,
    part: str = ROWS,
    columns: Sequence[str] | None = None,
    kind: FrameKind = "pandas",
) -> Any:
    """The rows of a stored table, in their stored order.

    Args:
        name: The table, such as `customer_segments`.
        as_of: A date, its text `2026-06-21`, `latest`, or two of them as (first, last), both
            included; then the snapshots follow each other, and a column that only some of them
            have is empty in the others. A table without dates has only its `latest`.
        root: The store; by default RFM_STORE_ROOT, else `data/store` here.
        part: A table stored beside the rows, such as `excluded` of `customer_segments`.
        columns: Read only these, in this order.
        kind: What to hand out. `polars_lazy`, `duckdb` and `narwhals` are not read yet.

    Returns:
        A pandas or polars DataFrame, a polars LazyFrame, a pyarrow Table, a DuckDB relation or
        a narwhals LazyFrame. In pandas, dates are midnight timestamps.

    Raises:
        TableMissing: The store has no such table.
        SnapshotMissing: The table has no snapshot of that date, or none in the range.
        SnapshotUnreadable: A stored file is damaged, or lies in the wrong folder.
        ColumnMissing: The table has no such column.
        TypesDiffer: In the range, a column is text here and a number there, or the like.
    """
    if kind not in get_args(FrameKind):
        raise InvalidConfig(
            key="kind",
            value=kind,
            reason="is not a kind of frame",
            fix=did_you_mean(str(kind), get_args(FrameKind)),
        )
    store = Store(root if root is not None else os.environ.get(ROOT_VARIABLE) or DEFAULT_ROOT)
    tables = store.tables()
    if name not in tables:
        raise TableMissing(table=name, root=str(store.root), available=tables)
    snapshots = _chosen(store, name, as_of)
    return hand_out(
        lambda engine: read_snapshots(engine, snapshots, part=part, columns=columns), kind
    )


def read_snapshots(
    engine: Engine,
    snapshots: Sequence[Snapshot],
    *,
    part: str = ROWS,
    columns: Sequence[str] | None = None,
) -> Table:
    """One part of one or more snapshots, one after the other, lazily.

    Raises:
        ColumnMissing: None of the snapshots has a column of `columns`.
        TypesDiffer: A column has types that do not fit into one.
    """
    tables = [rows_of(engine, snapshot, part) for snapshot in snapshots]
    schemas = [dict(table.collect_schema()) for table in tables]
    known = {column: None for schema in schemas for column in schema}
    for column in columns or ():
        if column not in known:
            raise ColumnMissing(
                column=column, table=snapshots[0].table, available=list(known), key="columns"
            )
    chosen = {
        column: _common_type(column, snapshots, [schema.get(column) for schema in schemas])
        for column in (columns or known)
    }
    return nw.concat(
        [_aligned(table, schema, chosen) for table, schema in zip(tables, schemas, strict=True)],
        how="vertical",
    )


def _common_type(
    column: str, snapshots: Sequence[Snapshot], found: Sequence[nw.dtypes.DType | None]
) -> nw.dtypes.DType:
    """The type that holds the column's values of every snapshot.

    Unlike a cast to the last one's type, it cuts off no fraction and makes no number of a text.
    """
    seen: dict[nw.dtypes.DType, str] = {}
    for snapshot, kind in zip(snapshots, found, strict=True):
        # A column of nulls alone has no type of its own.
        if kind is not None and kind != nw.Unknown:
            seen.setdefault(kind, str(snapshot.as_of or "all"))
    if len(seen) <= 1:
        return next(iter(seen), nw.Unknown())
    if all(kind.is_integer() for kind in seen) and nw.UInt64() not in seen:
        return nw.Int64()
    if all(kind.is_numeric() for kind in seen):
        return nw.Float64()
    texts = (nw.String, nw.Categorical, nw.Enum)
    if all(isinstance(kind, texts) for kind in seen):
        return nw.String()
    days = (nw.Date, nw.Datetime)
    if all(isinstance(kind, days) and getattr(kind, "time_zone", None) is None for kind in seen):
        return nw.Datetime("us")
    raise TypesDiffer(
        table=snapshots[0].table,
        column=column,
        types={str(kind): as_of for kind, as_of in seen.items()},
    )


def hand_out(read: Callable[[Engine], Table], kind: FrameKind) -> Any:
    """What `read` finds, as a frame of that kind, rows in stored order.

    A lazy kind keeps the engine's connection alive for as long as it is referred to.
    """
    if kind == "duckdb":
        return read(DuckDBEngine(keep_order=True)).to_native()
    if kind == "narwhals":
        return read(DuckDBEngine(keep_order=True))
    lazy = read(PolarsEngine())
    if kind == "polars_lazy":
        return lazy.to_native()
    if kind == "polars":
        return lazy.collect().to_native()
    return to_arrow(lazy) if kind == "pyarrow" else to_pandas(to_arrow(lazy))


def to_pandas(table: pa.Table) -> Any:
    """The rows as a pandas DataFrame, dates as midnight timestamps rather than Python objects."""
    schema = pa.schema(
        [
            pa.field(one.name, pa.timestamp("us") if pa.types.is_date(one.type) else one.type)
            for one in table.schema
        ]
    )
    return table.cast(schema).to_pandas()


def _aligned(
    table: Table, schema: Mapping[str, nw.dtypes.DType], wanted: Mapping[str, nw.dtypes.DType]
) -> Table:
    """The wanted columns in their order and type, empty where this snapshot lacks one."""
    return table.select(
        *(
            nw.col(name)
            if schema.get(name) == dtype
            else (nw.col(name) if name in schema else nw.lit(None)).cast(dtype).alias(name)
            for name, dtype in wanted.items()
        )
    )


def _chosen(
    store: Store, name: str, as_of: date | str | tuple[date | str, date | str]
) -> list[Snapshot]:
    if isinstance(as_of, tuple):
        first, last = (_as_date(end) for end in as_of)
        if first > last:
            raise InvalidConfig(
                key="as_of",
                value=(str(first), str(last)),
                reason="ends before it begins",
                fix="Give the earlier date first.",
            )
        # Where nothing is found, asking for one date says what exists instead.
        return store.between(name, first, last) or [store.snapshot(name, last)]
    return [store.snapshot(name, "latest" if as_of == "latest" else _as_date(as_of))]


def _as_date(value: object) -> date:
    if isinstance(value, str):
        try:
            return date.fromisoformat(value)
        except ValueError as error:
            raise InvalidAsOf(given=value) from error
    if isinstance(value, date) and not isinstance(value, datetime):
        return value
    raise InvalidAsOf(given=value)
