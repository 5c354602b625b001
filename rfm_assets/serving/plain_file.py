"""A file of customers that somebody else has clustered, as a store that the dashboard opens.

The file is that of an earlier system: CustomerID, Recency, Frequency, Monetary, Cluster. It has no
scores and no orders, so that pages which need those say so.
"""

import tempfile
from collections.abc import Mapping
from datetime import UTC, date, datetime
from pathlib import Path

import polars as pl

from rfm_assets.domain.schemes import Rule, Scheme, Segment
from rfm_assets.domain.summaries import SummaryConfig, segment_summary
from rfm_assets.engines.duckdb_engine import DuckDBEngine
from rfm_assets.errors import ColumnMissing, SourceMissing, SourceUnreadable
from rfm_assets.manifest import Manifest
from rfm_assets.store import Store

COLUMNS: Mapping[str, str] = {
    "CustomerID": "customer_id",
    "Recency": "recency",
    "Frequency": "frequency",
    "Monetary": "monetary",
    "Cluster": "segment",
}

COLORS = ("#1c7ed6", "#2f9e44", "#f08c00", "#c2255c", "#6741d9", "#0c8599", "#5c940d", "#e8590c")


def store_of_file(file: Path, *, folder: Path | None = None) -> Store:
    """A store with the customers of a file, as of the day on which it was written.

    Args:
        file: CSV with the columns of `COLUMNS`, in any order.
        folder: Where the store is made; a temporary folder where None.

    Raises:
        SourceMissing: There is no such file.
        SourceUnreadable: It is no CSV, has no customers, repeats one, or has a value that is no
            number; the message says in which line.
        ColumnMissing: A column is not there.
    """
    if not file.is_file():
        nearby = sorted(one.name for one in file.parent.glob("*.csv"))[:5]
        raise SourceMissing(path=str(file), root=str(file.parent), nearby=nearby)
    rows = _read(file)
    as_of = datetime.fromtimestamp(file.stat().st_mtime, tz=UTC).date()
    names = sorted(rows["segment"].unique().to_list(), key=_number)
    scheme = Scheme(
        id="clusters",
        title=f"Clusters of {file.name}",
        segments=tuple(
            Segment(id=f"cluster_{i}", name=name, color=COLORS[i % len(COLORS)])
            for i, name in enumerate(names)
        ),
        rules=tuple(Rule(segment=f"cluster_{i}") for i in range(len(names))),
    )
    store = Store(folder or Path(tempfile.mkdtemp(prefix="rfm_assets-file-")))
    _publish(store, rows, as_of, scheme)
    return store


def _publish(store: Store, rows: pl.DataFrame, as_of: date, scheme: Scheme) -> None:
    with DuckDBEngine() as engine:
        customers = engine.from_native(rows.with_columns(as_of=pl.lit(as_of)))
        with store.stage("customer_segments", as_of) as staging:
            count = engine.write_parquet(customers, staging.path_for(), sort_by=["customer_id"])
            extra = {"scheme": scheme.model_dump(mode="json")}
            staging.promote(
                Manifest(kind="customer_segments", row_counts={"rows": count}, extra=extra)
            )
        summary = segment_summary(
            customers, None, as_of=as_of, scheme=scheme, config=SummaryConfig()
        )
        with store.stage("segment_summary", as_of) as staging:
            count = engine.write_parquet(
                engine.from_native(summary), staging.path_for(), sort_by=["segment"]
            )
            inputs = {"customer_segments": store.current_version("customer_segments", as_of)}
            staging.promote(
                Manifest(kind="segment_summary", row_counts={"rows": count}, inputs=inputs)
            )


def _read(file: Path) -> pl.DataFrame:
    found = _opened(file)
    numbers = {"recency": pl.Int64, "frequency": pl.Int64, "monetary": pl.Float64}
    # Empty lines are no rows; the others keep their number.
    rows = found.with_row_index("line", offset=2).filter(
        ~pl.all_horizontal(pl.col(*COLUMNS).is_null())
    )
    typed = rows.select("line", *COLUMNS).rename(dict(COLUMNS))
    typed = typed.with_columns(
        pl.col("customer_id").str.strip_chars().str.replace(r"^(\d+)\.0$", "$1"),
        *(pl.col(name).str.strip_chars().cast(pl.Float64, strict=False) for name in numbers),
        segment=pl.lit("Cluster ")
        + pl.col("segment").str.strip_chars().str.replace(r"^(\d+)\.0$", "$1"),
    )
    for name in (*numbers, "customer_id", "segment"):
        wrong = typed.filter(~_usable(name, whole=numbers.get(name) == pl.Int64))
        if len(wrong):
            raise SourceUnreadable(
                source=str(file),
                reason=f"has {len(wrong)} {'row' if len(wrong) == 1 else 'rows'} without a usable "
                f"{name}, first in line {wrong['line'][0]}",
                fix=f"Correct them, or take them out. {_WANTED[name]}",
            )
    repeated = typed.filter(~pl.col("customer_id").is_first_distinct())
    if len(repeated) or typed.is_empty():
        reason = "has no customers"
        if len(repeated):
            again = repeated.row(0, named=True)
            reason = f"has customer {again['customer_id']!r} again in line {again['line']}"
        raise SourceUnreadable(source=str(file), reason=reason, fix="Give each customer one row.")
    return typed.drop("line").with_columns(
        pl.col(name).cast(kind) for name, kind in numbers.items()
    )


def _opened(file: Path) -> pl.DataFrame:
    """The file's columns as texts."""
    fix = "Export it as CSV in UTF-8."
    try:
        found = pl.read_csv(file, infer_schema=False)
    except (pl.exceptions.PolarsError, UnicodeDecodeError, OSError) as error:
        reason = str(error).partition("\n")[0]
        raise SourceUnreadable(source=str(file), reason=f"is no CSV ({reason})", fix=fix) from error
    if any("\0" in column for column in found.columns):
        raise SourceUnreadable(source=str(file), reason="is not in UTF-8", fix=fix)
    if found.width == 1 and ";" in found.columns[0]:
        raise SourceUnreadable(
            source=str(file),
            reason="has semicolons between its columns",
            fix="Export it with commas, and with points in numbers.",
        )
    stripped = {column: column.strip() for column in found.columns}
    if len(set(stripped.values())) == len(stripped):
        found = found.rename(stripped)
    for column in COLUMNS:
        if column not in found.columns:
            raise ColumnMissing(column=column, table=file.name, available=found.columns)
    return found


_WANTED: Mapping[str, str] = {
    "recency": "Recency is a whole number of days, 0 or more.",
    "frequency": "Frequency is a whole number of purchases, 0 or more.",
    "monetary": "Monetary is a number with a point, without a currency.",
    "customer_id": "CustomerID is any text.",
    "segment": "Cluster is a number or a name.",
}

_LARGEST = 2.0**53
"""Up to here a whole number is one in any of the formats."""


def _usable(name: str, *, whole: bool) -> pl.Expr:
    value = pl.col(name)
    if name in {"customer_id", "segment"}:
        return value.is_not_null() & ~value.is_in(["", "NaN", "Cluster ", "Cluster NaN"])
    known = value.is_not_null() & value.is_finite() & (value.abs() <= _LARGEST)
    return known & (value >= 0) & (value == value.floor()) if whole else known


def _number(name: str) -> tuple[int, str]:
    number = name.removeprefix("Cluster ")
    return (int(number), "") if number.isdecimal() else (10**9, number)
