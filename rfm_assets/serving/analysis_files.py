"""What an analysis leaves beside its store: CSV files, a workbook, a report."""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Container, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

import pyarrow as pa

from rfm_assets.engines.base import to_arrow
from rfm_assets.errors import StorageUnusable
from rfm_assets.failures import storage
from rfm_assets.serving.exporting import VALUE_COLUMNS, replacing, with_value, write_file
from rfm_assets.serving.queries import BATCH_ROWS, Queries
from rfm_assets.serving.workbook import Sheet, write_workbook
from rfm_assets.store import Snapshot, Store

OutFormat: TypeAlias = Literal["csv", "excel", "html"]

CUSTOMER_COLUMNS = (
    "customer_id", "segment", "recency", "frequency", "monetary", "R_score", "F_score", "M_score",
    "RFM_score", "rfm_cell", "last_purchase_date", "recommendation", "as_of",
)  # fmt: skip
"""What of a customer's row is worth a column in a file of one snapshot."""

SEGMENT_COLUMNS = (
    "segment", "customers", "customers_pct", "monetary_total", "monetary_pct", "monetary_mean",
    "recency_mean", "frequency_mean", "as_of",
)  # fmt: skip

MOST_REJECTS = 10_000
"""Rows set aside that the workbook shows; rejects.csv has all of them."""


STORE, WORKBOOK, REPORT = "store", "analysis.xlsx", "report.html"

FILES = ("customers.csv", "segments.csv", "rejects.csv", WORKBOOK, REPORT, STORE)
"""What an analysis leaves in its folder; not each one each time."""


@contextmanager
def replaced(folder: Path, tables: Container[str]) -> Iterator[Path]:
    """A new folder whose files replace those of an earlier analysis once all are written.

    Args:
        folder: Where they go.
        tables: What the store of an earlier analysis may hold; another's store is not replaced.

    Raises:
        StorageUnusable: The folder cannot be written, or holds another store.
    """
    target = folder / STORE
    others = [name for name in Store(target).tables() if name not in tables]
    if others:
        raise StorageUnusable(
            path=str(target),
            reason=f"holds tables that no analysis makes ({', '.join(others)})",
            fix="Name another folder with --out.",
        )
    existed = folder.is_dir()
    new = folder / f".analysis-{secrets.token_hex(4)}"
    try:
        with storage(folder):
            new.mkdir(parents=True)
        yield new
        with storage(folder):
            for name in FILES:
                _remove(folder / name)
                if (new / name).exists():
                    (new / name).rename(folder / name)
    finally:
        shutil.rmtree(new, ignore_errors=True)
        if not existed:
            with suppress(OSError):  # it stays if something is in it
                folder.rmdir()


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def files_of(folder: Path) -> dict[str, Path]:
    """What an analysis has left in its folder, by name."""
    return {name: folder / name for name in FILES if (folder / name).exists()}


@dataclass(frozen=True)
class Tables:
    """The snapshots of one analysis."""

    segments: Snapshot
    summary: Snapshot
    rejects: Snapshot
    value: Snapshot | None


def write_files(
    queries: Queries,
    tables: Tables,
    folder: Path,
    formats: Sequence[OutFormat],
    about: Mapping[str, object],
) -> None:
    """Write the files of the formats asked for.

    Raises:
        StorageUnusable: The folder cannot be written.
    """
    if "csv" in formats:
        write_file(folder / "customers.csv", *_customers(queries, tables))
        write_file(folder / "segments.csv", *_rows(queries, tables.summary, SEGMENT_COLUMNS))
        if tables.rejects.manifest.row_counts["rows"]:
            write_file(folder / "rejects.csv", *_rows(queries, tables.rejects, None))
    if "excel" in formats:
        with replacing(folder / WORKBOOK) as new:
            write_workbook(new, _sheets(queries, tables, about))
    if "html" in formats:
        # Its charts take a third of a second to import.
        from rfm_assets.serving.report import write_report

        write_report(queries, tables.segments, folder / REPORT)


def _customers(queries: Queries, tables: Tables) -> tuple[pa.Schema, Iterator[pa.RecordBatch]]:
    return with_value(queries, tables.segments, tables.value, CUSTOMER_COLUMNS)


def _rows(
    queries: Queries, snapshot: Snapshot, columns: Sequence[str] | None, most: int | None = None
) -> tuple[pa.Schema, Iterator[pa.RecordBatch]]:
    rows = queries.rows(snapshot)
    rows = rows.select(*columns) if columns else rows
    schema = to_arrow(rows.head(0)).schema
    return schema, queries.engine.batches(rows if most is None else rows.head(most), BATCH_ROWS)


def _sheets(queries: Queries, tables: Tables, about: Mapping[str, object]) -> Iterator[Sheet]:
    # One after the other: a connection has one stream at a time.
    yield Sheet("segments", *_rows(queries, tables.summary, SEGMENT_COLUMNS))
    yield Sheet("customers", *_customers(queries, tables))
    yield Sheet("rejects", *_rows(queries, tables.rejects, None, MOST_REJECTS))
    set_aside = tables.rejects.manifest.row_counts["rows"]
    lines = {name: str(value) for name, value in about.items() if value is not None}
    if set_aside > MOST_REJECTS:
        lines["rejects"] = (
            f"The sheet has the first {MOST_REJECTS:,} of {set_aside:,} rows set aside; "
            "rejects.csv, and the table transaction_data_rejects of the store, have all."
        )
    if tables.value is not None:
        lines["columns of the lifetime value"] = ", ".join(VALUE_COLUMNS)
    rows = pa.table({"what": list(lines), "value": list(lines.values())})
    yield Sheet("about", rows.schema, rows.to_batches())
