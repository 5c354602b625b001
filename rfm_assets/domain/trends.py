"""What a range of snapshots looks like from afar: shares with a normal band, and cohorts.

Single customers and pairs of snapshots are in `transitions.py`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from statistics import fmean, median, pstdev
from typing import Any, Literal

import narwhals as nw

from rfm_assets.domain.frames import Table
from rfm_assets.domain.money import from_units, to_units

WINDOW = 12
"""Snapshots before a week that say what is normal for it."""

FEWEST = 4
"""With fewer of them nothing is called normal."""

WIDTH = 2.0
"""Standard deviations to either side."""

_MAD_TO_SD = 1.4826
"""The median absolute deviation of a normal distribution times this is its standard deviation."""

_MONTHS = 12


@dataclass(frozen=True)
class Share:
    """The share of a segment in one snapshot, and what was normal before it.

    Attributes:
        share: Of all customers, 0..1.
        low: Lower end of the band; None while too few snapshots came before.
        high: Upper end.
        outside: Whether the share lies outside the band.
    """

    as_of: date
    segment: str
    customers: int
    share: float
    low: float | None
    high: float | None

    @property
    def outside(self) -> bool:
        """Whether the share lies outside the band; what has none is not."""
        return (self.low is not None and self.share < self.low) or (
            self.high is not None and self.share > self.high
        )


def distribution_over_time(
    rows: Iterable[Mapping[str, Any]],
    *,
    window: int = WINDOW,
    band: Literal["sd", "robust"] = "robust",
) -> list[Share]:
    """Each segment's share in each snapshot, with the band of the snapshots before.

    Args:
        rows: as_of, segment and customers, such as the rows of `segment_summary`. A segment
            that a snapshot lacks has nobody in it.
        window: How many snapshots before make the band.
        band: `sd` for mean and standard deviation, `robust` for median and median absolute
            deviation, which one odd week does not widen. Either way two deviations to each side, and
            never less than chance alone moves a share of so many customers.

    Returns:
        By segment, then by date.
    """
    counts: defaultdict[date, dict[str, int]] = defaultdict(dict)
    for row in rows:
        of_date = counts[row["as_of"]]
        of_date[str(row["segment"])] = of_date.get(str(row["segment"]), 0) + int(row["customers"])
    dates = [day for day in sorted(counts) if sum(counts[day].values())]
    found: list[Share] = []
    for name in sorted({name for of_date in counts.values() for name in of_date}):
        shares = [counts[day].get(name, 0) / sum(counts[day].values()) for day in dates]
        for position, day in enumerate(dates):
            before = shares[max(0, position - window) : position]
            everybody = sum(counts[day].values())
            low, high = normal_band(before, of=everybody, band=band)
            customers = counts[day].get(name, 0)
            found.append(Share(day, name, customers, shares[position], low, high))
    return found


def normal_band(
    before: Sequence[float], *, of: int, band: Literal["sd", "robust"] = "robust"
) -> tuple[float | None, float | None]:
    """Between what a share of `of` customers is normal, given those before; None if they are few."""
    if len(before) < FEWEST:
        return None, None
    if band == "sd":
        centre, deviation = fmean(before), pstdev(before)
    else:
        centre = median(before)
        deviation = _MAD_TO_SD * median(abs(one - centre) for one in before)
    # A share that never moved would make any change abnormal, also that of one customer.
    by_chance = (centre * (1 - centre) / of) ** 0.5
    half = WIDTH * max(deviation, by_chance)
    return max(0.0, centre - half), min(1.0, centre + half)


def cohorts(transactions: Table, *, as_of: date) -> Table:
    """Customers by the month of their first purchase: how many buy in each month after it.

    Args:
        transactions: customer_id, day, date and amount.
        as_of: Rows on or after it are invisible.

    Returns:
        cohort (first day of the month, as text), month (0 is that of the first purchase), customers (of the
        cohort), buyers (who bought in that month), retention (0..1), monetary (net spend of the
        cohort in that month), for each month in which somebody of it has a row. Who only has
        refunds is in no cohort. The month of `as_of` is not over and counts as far as it is seen.
    """
    month = nw.col("date").dt.year().cast(nw.Int64) * _MONTHS + nw.col("date").dt.month() - 1
    seen = transactions.filter(nw.col("date").cast(nw.Date) < as_of).select(
        "customer_id",
        calendar=month.cast(nw.Int64),
        units=to_units(nw.col("amount")),
        bought=nw.when(nw.col("amount") > 0)
        .then(nw.lit(1, dtype=nw.Int64))
        .otherwise(nw.lit(0, dtype=nw.Int64)),
    )
    active = seen.group_by("customer_id", "calendar").agg(
        nw.col("units").sum(), nw.col("bought").max()
    )
    first = (
        active.filter(nw.col("bought") == 1)
        .group_by("customer_id")
        .agg(nw.col("calendar").min().alias("start"))
    )
    sizes = first.group_by("start").agg(nw.len().alias("customers"))
    months = (
        active.join(first, on="customer_id", how="inner")
        .filter(nw.col("calendar") >= nw.col("start"))
        .group_by("start", "calendar")
        .agg(nw.col("bought").sum().alias("buyers"), nw.col("units").sum())
    )
    joined = months.join(sizes, on="start", how="inner")
    return joined.select(
        cohort=_first_day(nw.col("start")),
        month=(nw.col("calendar") - nw.col("start")).cast(nw.Int64),
        customers=nw.col("customers").cast(nw.Int64),
        buyers=nw.col("buyers").cast(nw.Int64),
        retention=nw.col("buyers").cast(nw.Float64) / nw.col("customers").cast(nw.Float64),
        monetary=from_units(nw.col("units").cast(nw.Int64)),
    )


def _first_day(month: nw.Expr) -> nw.Expr:
    """The first day of a month that is counted from the year 0, as text: 2026-03-01."""
    year = (month // _MONTHS).cast(nw.Int64)
    within = (month - year * _MONTHS + 1).cast(nw.Int64)
    padded = nw.when(within < 10).then(nw.lit("0")).otherwise(nw.lit(""))  # noqa: PLR2004 two digits
    return nw.concat_str(
        year.cast(nw.String), nw.lit("-"), padded, within.cast(nw.String), nw.lit("-01")
    )
