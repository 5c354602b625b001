"""Stored rows as files on a disk: whole or not at all, in any format, whatever their number."""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import date, datetime
from pathlib import Path
from typing import Literal, TypeAlias

import narwhals as nw
import pyarrow as pa

from rfm_assets.engines.base import collect_rows, to_arrow
from rfm_assets.errors import ColumnMissing, InvalidConfig, did_you_mean
from rfm_assets.failures import storage
from rfm_assets.serving import formats
from rfm_assets.serving.queries import BATCH_ROWS, Condition, Operator, Queries
from rfm_assets.serving.workbook import Sheet, write_workbook
from rfm_assets.store import ROWS, Snapshot

FileFormat: TypeAlias = Literal["csv", "xlsx", "parquet", "ndjson", "arrow"]

ENDINGS: Mapping[str, FileFormat] = {
    ".csv": "csv",
    ".xlsx": "xlsx",
    ".parquet": "parquet",
    ".ndjson": "ndjson",
    ".arrow": "arrow",
}


def format_of(target: Path) -> FileFormat:
    """The format that a file's name asks for.

    Raises:
        InvalidConfig: Its ending is none of those that are written.
    """
    ending = target.suffix.lower()
    if ending not in ENDINGS:
        raise InvalidConfig(
            key="--to",
            value=str(target),
            reason="does not end like a format that can be written",
            fix=did_you_mean(ending, list(ENDINGS)),
        )
    return ENDINGS[ending]


_FEW = 50
"""Values of a column that can be listed in a message."""

_SHARED = 3
"""Rows that each of them has on average, at least."""

_OPERATORS: tuple[tuple[str, Operator], ...] = (
    (">=", ">="),
    ("<=", "<="),
    ("~", "contains"),
    ("=", "="),
)


def condition(text: str, columns: Mapping[str, nw.dtypes.DType]) -> Condition:
    """A condition as people write it: `segment=Champions`, `monetary>=100`, `customer_id~17`.

    Raises:
        ColumnMissing: There is no such column.
        InvalidConfig: No condition, or a value that such a column cannot have.
    """
    found = [(text.find(sign), sign, operator) for sign, operator in _OPERATORS if sign in text]
    if not found:
        raise InvalidConfig(
            key="--where",
            value=text,
            reason="is no condition",
            fix="Write it like segment=Champions, monetary>=100 or customer_id~17.",
        )
    # The first sign decides; of two at one place, the longer one, which stands first.
    at, sign, operator = min(found, key=lambda one: one[0])
    name, value = text[:at].strip(), text[at + len(sign) :].strip()
    if name not in columns:
        raise ColumnMissing(
            column=name, table="--where", available=list(columns), key=f"--where {text}"
        )
    if operator == "contains":
        return Condition(name, operator, value)
    try:
        return Condition(name, operator, _typed(value, columns[name]))
    except ValueError as error:
        raise InvalidConfig(
            key="--where",
            value=text,
            reason=f"compares {name}, which is {columns[name]}, with another kind of value",
            fix="Write numbers like 12.5, dates like 2026-06-21, and true or false.",
        ) from error


def _typed(value: str, kind: nw.dtypes.DType) -> object:
    if kind.is_numeric():
        return int(value) if kind.is_integer() else float(value)
    if kind == nw.Date:
        return date.fromisoformat(value)
    if isinstance(kind, nw.Datetime):
        return datetime.fromisoformat(value)
    if kind == nw.Boolean:
        words = {"true": True, "false": False}
        if value.lower() not in words:
            raise ValueError(value)
        return words[value.lower()]
    return value


def values_that_are_none(
    queries: Queries, snapshot: Snapshot, part: str, conditions: Sequence[Condition]
) -> Iterator[str]:
    """What to say of each text that a column is compared with and never has: the nearest it has.

    Only of columns whose few values each hold for several rows, such as segments: whose id or
    address it might have been is not told.
    """
    for one in conditions:
        if one.operator != "=" or not isinstance(one.value, str):
            continue
        counted = queries.rows(snapshot, part).group_by(one.column).agg(nw.len().alias("_rows"))
        found = [row for row in collect_rows(counted.head(_FEW + 1)) if row[one.column]]
        shared = sum(row["_rows"] for row in found) >= _SHARED * len(found)
        values = sorted(str(row[one.column]) for row in found)
        if values and len(values) <= _FEW and shared and one.value not in values:
            yield f"No {one.column} is {one.value!r}. {did_you_mean(one.value, values)}"


@contextmanager
def replacing(target: Path) -> Iterator[Path]:
    """A name beside `target` to write to, which takes its place once all of it is written.

    Raises:
        StorageUnusable: The folder cannot be written, or the disk is full.
    """
    new = target.with_name(f".{target.stem}-{secrets.token_hex(4)}{target.suffix}")
    try:
        with storage(target):
            target.parent.mkdir(parents=True, exist_ok=True)
            yield new
            new.replace(target)
    finally:
        new.unlink(missing_ok=True)


def export(
    queries: Queries,
    snapshot: Snapshot,
    target: Path,
    *,
    part: str = ROWS,
    columns: Sequence[str] | None = None,
    conditions: Sequence[Condition] = (),
) -> int:
    """Write the rows of a part of a snapshot in the format of the file's ending; how many they are.

    Members of a campaign list who were suppressed since are left out.

    Raises:
        ColumnMissing: There is no such column.
        InvalidConfig: The ending is none of a known format.
        StorageUnusable: The file cannot be written.
        SuppressionUnknown: Nobody can say which members were suppressed since.
    """
    known = queries.columns(snapshot, part)
    for name in [*(columns or ()), *(one.column for one in conditions)]:
        if name not in known:
            raise ColumnMissing(column=name, table=snapshot.table, available=list(known))
    rows = queries.rows(snapshot, part)
    schema = to_arrow((rows.select(*columns) if columns else rows).head(0)).schema
    batches = queries.batches(snapshot, part, conditions=conditions, columns=columns)
    return write_file(target, schema, batches)


def write_file(target: Path, schema: pa.Schema, batches: Iterator[pa.RecordBatch]) -> int:
    """Write rows in the format of the file's ending; how many they are."""
    kind = format_of(target)
    counted = _Counted(batches)
    with replacing(target) as new:
        if kind == "xlsx":
            name = target.stem[:25].translate({ord(sign): "_" for sign in "[]:*?/\\'"}) or "rows"
            write_workbook(new, [Sheet(name, schema, counted)])
        else:
            with new.open("wb") as file:
                for piece in formats.stream(kind, iter(counted), schema=schema):
                    file.write(piece)
    return counted.rows


class _Counted:
    """Batches, and how many rows went by."""

    def __init__(self, batches: Iterator[pa.RecordBatch]) -> None:
        self._batches, self.rows = batches, 0

    def __iter__(self) -> Iterator[pa.RecordBatch]:
        for batch in self._batches:
            self.rows += batch.num_rows
            yield batch


def with_value(
    queries: Queries, segments: Snapshot, value: Snapshot | None, columns: Sequence[str]
) -> tuple[pa.Schema, Iterator[pa.RecordBatch]]:
    """Rows of segments with what a snapshot of lifetime value says of the same customers."""
    rows = queries.rows(segments).select(*columns)
    if value is not None:
        beside = queries.rows(value).select("customer_id", *VALUE_COLUMNS)
        rows = rows.join(beside, on="customer_id", how="left").sort("customer_id")
    schema = to_arrow(rows.head(0)).schema
    return schema, queries.engine.batches(nw.from_native(rows.to_native()), BATCH_ROWS)


VALUE_COLUMNS = ("probability_alive", "expected_purchases", "lifetime_value")
"""What of a customer's lifetime value stands beside her segment."""
