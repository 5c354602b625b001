"""From rows to orders: what is added up, and that it can be.

What a purchase is does not belong here, nor what is made of it (`rfm.py`, `features.py`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

import narwhals as nw

from rfm_assets.domain.frames import Table
from rfm_assets.domain.money import MOST_MONEY
from rfm_assets.errors import AmountsTooLarge

Aggregate: TypeAlias = Literal["min", "max", "sum"]

SUM: Final[Aggregate] = "sum"


@dataclass(frozen=True)
class Extent:
    """How much there is in a window.

    Attributes:
        rows: Its rows.
        alone: Those of them that belong to no order.
        largest: The largest amount, regardless of sign; 1 where there is none.
        total: What the amounts add up to, regardless of sign.
    """

    rows: int
    alone: int
    largest: float
    total: float


def extent_of(window: Table) -> Extent:
    """What the window holds, once its amounts can be added up.

    Sums beyond 64 bits wrap around on one engine and fail without a reason on another. The sum
    regardless of sign bounds every sum of these rows: by order, customer and segment.

    Raises:
        AmountsTooLarge: The amounts, or the refunds beside them, add up to too much.
    """
    columns = [
        name for name in ("amount", "refund_amount") if name in window.collect_schema().names()
    ]
    found = window.select(
        nw.col(*columns).abs().sum(),
        nw.col("amount").abs().max().alias("largest"),
        nw.len().alias("rows"),
        nw.col("order_id").is_null().cast(nw.Int64).sum().alias("alone"),
    ).collect("pyarrow")
    totals: list[float] = []
    for column in columns:
        total = found.get_column(column).to_list()[0] or 0.0
        if total > MOST_MONEY:
            raise AmountsTooLarge(column=column, total=total, limit=MOST_MONEY)
        totals.append(float(total))
    rows, alone, largest = (
        found.get_column(name).to_list()[0] or 0 for name in ("rows", "alone", "largest")
    )
    return Extent(int(rows), int(alone), float(largest) or 1.0, totals[0])


def per_order(rows: Table, extent: Extent, aggregates: Mapping[str, Aggregate]) -> Table:
    """One row per order with `customer_id` and the aggregates; a row without one is its own.

    What the extent says is not there is not looked for, because that would be one more pass over
    the data.

    Args:
        rows: `customer_id`, `order_id` and the columns that are aggregated.
        extent: Of the window that the rows come from.
        aggregates: By column; sums are whole numbers (Int64).
    """
    names, missing = ["customer_id", *aggregates], nw.col("order_id").is_null()
    with_order = rows.filter(~missing) if extent.alone else rows
    parts: list[Table] = []
    if extent.alone < extent.rows or not extent.alone:
        parts.append(grouped(with_order, ["customer_id", "order_id"], aggregates))
    if extent.alone:
        parts.append(_whole_sums(rows.filter(missing), aggregates))
    selected = [part.select(names) for part in parts]
    return nw.concat(selected) if len(selected) > 1 else selected[0]


def grouped(rows: Table, keys: list[str], aggregates: Mapping[str, Aggregate]) -> Table:
    """The aggregates by the keys; sums are whole numbers (Int64)."""
    asked: dict[Aggregate, list[str]] = {}
    for name, aggregate in aggregates.items():
        asked.setdefault(aggregate, []).append(name)
    columns = {aggregate: nw.col(*names) for aggregate, names in asked.items()}
    made: list[nw.Expr] = []
    if "min" in columns:
        made.append(columns["min"].min())
    if "max" in columns:
        made.append(columns["max"].max())
    if "sum" in columns:
        made.append(columns["sum"].sum())
    return _whole_sums(rows.group_by(keys).agg(*made), aggregates)


def _whole_sums(rows: Table, aggregates: Mapping[str, Aggregate]) -> Table:
    sums = [name for name, aggregate in aggregates.items() if aggregate == "sum"]
    return rows.with_columns(nw.col(*sums).cast(nw.Int64)) if sums else rows
