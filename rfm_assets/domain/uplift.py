"""How small an effect a list and its control group could show.

Whether there was one is not decided here.
"""

from collections.abc import Callable
from dataclasses import dataclass
from math import sqrt
from statistics import NormalDist

import narwhals as nw

from rfm_assets.domain.frames import Table

ALPHA, POWER = 0.05, 0.8
_HALVINGS = 60


@dataclass(frozen=True)
class Detectable:
    """The smallest uplift that could be shown, or why none could.

    `uplift` is added to `baseline_rate`, both 0..1. `treated` and `control` are the customers
    that would be compared.
    """

    treated: int
    control: int
    baseline_rate: float | None
    uplift: float | None
    reason: str = ""

    @property
    def told(self) -> str:
        """It in words, for a page."""
        if self.uplift is None or self.baseline_rate is None:
            return f"not measurable: {self.reason}"
        return (
            f"{100 * self.uplift:.2f} percentage points above {100 * self.baseline_rate:.2f} %, "
            f"with {self.treated:,} on the list and {self.control:,} in control"
        )


def detectable(treated: int, control: int, baseline_rate: float | None) -> Detectable:
    """What a list of this size, its control group and this baseline could show."""
    uplift, reason = None, ""
    if not control:
        reason = "nobody is in a control group"
    elif not treated:
        reason = "nobody is on the list"
    elif baseline_rate is None:
        reason = "no baseline rate is known"
    else:
        uplift = smallest_uplift(treated, control, baseline_rate)
        if uplift is None:
            reason = (
                f"{treated:,} on the list and {control:,} in control are too few for any uplift"
            )
    return Detectable(treated, control, baseline_rate, uplift, reason)


def smallest_uplift(
    treated: int,
    control: int,
    baseline_rate: float,
    *,
    alpha: float = ALPHA,
    power: float = POWER,
) -> float | None:
    """The smallest rise of a rate that a two-sided test of two proportions finds with `power`.

    By the normal approximation without continuity correction: the difference must reach
    z(1 - alpha/2) standard errors under equal rates plus z(power) under unequal ones. (Fleiss,
    Levin and Paik, Statistical Methods for Rates and Proportions, 2003, chapter 4; R's
    power.prop.test is the same for groups of one size.)

    Args:
        treated: Customers who are contacted.
        control: Customers who are not.
        baseline_rate: Rate without contact, 0..1.
        alpha: Chance of seeing an effect where there is none.
        power: Chance of seeing one of this size.

    Returns:
        The rise, 0..1; None where even a rate of 1 would not be told from the baseline.
    """
    accept = NormalDist().inv_cdf(1 - alpha / 2)
    find = NormalDist().inv_cdf(power)

    def shown(rate: float) -> bool:
        pooled = (treated * rate + control * baseline_rate) / (treated + control)
        equal = sqrt(pooled * (1 - pooled) * (1 / treated + 1 / control))
        unequal = sqrt(rate * (1 - rate) / treated + baseline_rate * (1 - baseline_rate) / control)
        return rate - baseline_rate >= accept * equal + find * unequal

    if baseline_rate >= 1 or not shown(1.0):
        return None
    return _least(shown, baseline_rate, 1.0) - baseline_rate


def repurchase_rate(
    audience: Table, transactions: Table, *, first_day: int, days: int
) -> float | None:
    """Share of `audience` who bought on one of `days` days; None where it is empty.

    Args:
        audience: customer_id, as of `first_day`.
        transactions: customer_id, day, amount; rows without a positive amount are no purchases.
        first_day: Days since 1970-01-01.
        days: Length of the period.
    """
    inside = (nw.col("day") >= first_day) & (nw.col("day") < first_day + days)
    bought = transactions.filter(inside & (nw.col("amount") > 0))
    buyers = bought.group_by("customer_id").agg(_purchases=nw.len())
    joined = audience.select("customer_id").join(buyers, on="customer_id", how="left")
    counted = joined.select(
        n=nw.lit(1),
        bought=nw.when(nw.col("_purchases").is_null()).then(nw.lit(0)).otherwise(nw.lit(1)),
    ).select(nw.col("n").sum(), nw.col("bought").sum())
    n, hits = counted.collect("pyarrow").row(0)
    return int(hits or 0) / int(n) if n else None


def _least(holds: Callable[[float], bool], low: float, high: float) -> float:
    """The least number between a low one for which nothing holds and a high one for which it does."""
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        low, high = (low, middle) if holds(middle) else (middle, high)
    return high
