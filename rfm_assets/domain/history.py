"""How segments change from one snapshot to the next: movement and drift.

How a customer gets a segment does not belong here (`segments.py`), nor the sizes within one
snapshot (`summaries.py`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import date

import narwhals as nw

from rfm_assets.domain.distribution import NO_SEGMENT
from rfm_assets.domain.frames import Table
from rfm_assets.domain.money import from_units, to_units

NEW = "(new)"
LEFT = "(left)"
SMALLEST_SHARE = 0.0001
"""A share below one in ten thousand counts as this much in the population stability index, whose
logarithm has no value at 0. So an emptied segment of 5 % adds 0.31, not infinity."""


def movement(
    current: Table, previous: Table | None, *, as_of: date, previous_as_of: date | None
) -> Table:
    """Customers and money by pair of segments: where they were and where they are.

    Args:
        current: customer_id, segment and monetary of this snapshot.
        previous: The same of the snapshot before, or None where there is none.
        as_of: Date of this snapshot.
        previous_as_of: Date of the snapshot before.

    Returns:
        The rows of `schemas.SegmentMovement`. `(new)` to `(left)` does not occur; all rows except
        to `(left)` add up to this snapshot, all except from `(new)` to the one before.
    """
    here = _side(current, "to_segment", "units_now")
    if previous is None:
        nothing = nw.lit(0, dtype=nw.Int64)
        moves = here.with_columns(from_segment=nw.lit(NEW), units_before=nothing)
    else:
        there = _side(previous, "from_segment", "units_before")
        moves = here.join(there, on="customer_id", how="full", suffix="_before").with_columns(
            nw.col("to_segment").fill_null(LEFT),
            nw.col("from_segment").fill_null(NEW),
            nw.col("units_now").fill_null(0).cast(nw.Int64),
            nw.col("units_before").fill_null(0).cast(nw.Int64),
        )
    pairs = moves.group_by("from_segment", "to_segment").agg(
        nw.len().alias("customers"), nw.col("units_before").sum(), nw.col("units_now").sum()
    )
    return pairs.select(
        nw.lit(as_of, dtype=nw.Date).alias("as_of"),
        nw.lit(previous_as_of, dtype=nw.Date).alias("previous_as_of"),
        "from_segment",
        "to_segment",
        nw.col("customers").cast(nw.Int64),
        from_units(nw.col("units_before").cast(nw.Int64)).alias("monetary_before"),
        from_units(nw.col("units_now").cast(nw.Int64)).alias("monetary_now"),
    )


def population_stability_index(
    before: Mapping[str, float], now: Mapping[str, float]
) -> float | None:
    """How far two distributions over segments lie apart: sum of (now - before) ln(now / before).

    Args:
        before: Customers by segment (`distribution.customers_by_segment`), or their shares.
        now: The same of the later snapshot.

    Returns:
        0 for no change; by custom 0.1 is worth a look and 0.25 a large shift. A segment that one
        side lacks has share 0 there, and shares below `SMALLEST_SHARE` count as that. None where
        a side has no customers at all: an empty snapshot is no distribution to compare with.
    """
    old, new = _shares(before), _shares(now)
    if not old or not new:
        return None
    total = 0.0
    for name in sorted({*old, *new}):
        was = max(old.get(name, 0.0), SMALLEST_SHARE)
        is_now = max(new.get(name, 0.0), SMALLEST_SHARE)
        total += (is_now - was) * math.log(is_now / was)
    return total


def _shares(sizes: Mapping[str, float]) -> dict[str, float]:
    everybody = sum(sizes.values())
    return {name: size / everybody for name, size in sizes.items()} if everybody else {}


def largest_shifts(
    before: Mapping[str, float], now: Mapping[str, float], *, count: int = 3
) -> list[tuple[str, float, float]]:
    """The segments whose share of customers changed most: name, share before, share now (0..1).

    Takes customers or shares by segment; of equal changes the alphabetically first.
    """
    old, new = _shares(before), _shares(now)
    names = {name for name in {*old, *new} if old.get(name, 0.0) != new.get(name, 0.0)}
    shifts = [(name, old.get(name, 0.0), new.get(name, 0.0)) for name in sorted(names)]
    return sorted(shifts, key=lambda shift: -abs(shift[2] - shift[1]))[:count]


def _side(snapshot: Table, segment: str, units: str) -> Table:
    return snapshot.select(
        "customer_id",
        nw.col("segment").fill_null(NO_SEGMENT).alias(segment),
        to_units(nw.col("monetary")).alias(units),
    )
