"""What a week that was computed again says differently: customers and money, in a few numbers.

Of two versions of the same snapshot. What changed from one week to the next is in `history.py`.
"""

from __future__ import annotations

from typing import TypeAlias

import narwhals as nw

from rfm_assets.domain.distribution import NO_SEGMENT
from rfm_assets.domain.frames import UNITS_PER_MONEY, Table
from rfm_assets.domain.money import to_units

Change: TypeAlias = dict[str, int | float]

_HERE = "here"


def change_of_customers(before: Table, now: Table) -> Change:
    """What is different, given the rows of two versions with one row for each customer.

    Returns:
        `customers_before`, `customers_now`, `customers_added` and `customers_gone`; where both have
        segments `customers_moved`, who are in another one; where both have spend `monetary_before`,
        `monetary_now` and `customers_with_other_spend`.
    """
    shared = set(before.collect_schema().names()) & set(now.collect_schema().names())
    with_segment, with_spend = "segment" in shared, "monetary" in shared
    old = _side(before, with_segment=with_segment, with_spend=with_spend)
    new = _side(now, with_segment=with_segment, with_spend=with_spend)
    both = new.join(old, on="customer_id", how="inner", suffix="_before")
    customers_before, units_before = _total(old)
    customers_now, units_now = _total(new)
    moved = nw.col("segment") != nw.col("segment_before")
    other = nw.col("units") != nw.col("units_before")
    counted = both.select(
        nw.col(_HERE), moved=moved.cast(nw.Int64), other=other.cast(nw.Int64)
    ).select(nw.col(_HERE).sum(), nw.col("moved").sum(), nw.col("other").sum())
    found = counted.collect("pyarrow")
    stayed, changed, spent = (
        int(found.get_column(name).to_list()[0] or 0) for name in (_HERE, "moved", "other")
    )
    change: Change = {
        "customers_before": customers_before,
        "customers_now": customers_now,
        "customers_added": customers_now - stayed,
        "customers_gone": customers_before - stayed,
    }
    if with_segment:
        change["customers_moved"] = changed
    if with_spend:
        change["customers_with_other_spend"] = spent
        change["monetary_before"] = units_before / UNITS_PER_MONEY
        change["monetary_now"] = units_now / UNITS_PER_MONEY
    return change


def _side(rows: Table, *, with_segment: bool, with_spend: bool) -> Table:
    segment = nw.col("segment").cast(nw.String).fill_null(NO_SEGMENT)
    nothing = nw.lit(0, dtype=nw.Int64)
    return rows.select(
        "customer_id",
        segment=segment if with_segment else nw.lit(""),
        units=to_units(nw.col("monetary")) if with_spend else nothing,
        here=nw.lit(1, dtype=nw.Int64),
    )


def _total(side: Table) -> tuple[int, int]:
    found = side.select(nw.col(_HERE).sum(), nw.col("units").sum()).collect("pyarrow")
    customers, units = (int(found.get_column(n).to_list()[0] or 0) for n in (_HERE, "units"))
    return customers, units
