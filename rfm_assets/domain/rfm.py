"""Recency, frequency and monetary of each customer at a date, and who is left out, and why.

Reading and cleaning transactions does not belong here (`transactions.py`), nor do scores
(`scoring.py`) and segments (`segments.py`).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

import narwhals as nw
from pydantic import Field

from rfm_assets.domain.config import ConfigModel
from rfm_assets.domain.frames import Table
from rfm_assets.domain.money import MOST_MONEY, from_units, to_units
from rfm_assets.errors import AmountsTooLarge

EPOCH = date(1970, 1, 1)

KEPT = ""
NO_PURCHASE = "no_purchase"
INACTIVE = "inactive"
BELOW_MIN_TRANSACTIONS = "below_min_transactions"
TOO_NEW = "too_new"

EXCLUSION_REASONS = {
    NO_PURCHASE: "Rows in the observation window, but none of them is a purchase: only refunds "
    "(with include_inactive: no purchase ever)",
    INACTIVE: "Nothing in the observation window, only before it",
    BELOW_MIN_TRANSACTIONS: "Fewer purchases in the observation window than min_transactions",
    TOO_NEW: "First purchase is younger than exclude_new_days",
}
"""Every reason for leaving a customer out, in the order in which they are tried."""

EXCLUSION_STAGE = "eligibility"

NEVER = 1_000_000
"""A day number beyond every calendar, where there was no purchase: integers without null stay
integers on pandas."""


class RfmConfig(ConfigModel):
    """Which transactions count, and which customers are left out."""

    analysis_period_days: int = Field(
        default=365,
        ge=1,
        le=36_500,
        description="Length of the observation window before as_of, in days.",
    )
    min_transactions: int = Field(
        default=1,
        ge=1,
        le=1_000_000,
        description="Purchases in the observation window below which a customer is left out; "
        "customers without any are the business of include_inactive.",
    )
    exclude_new_days: int = Field(
        default=0,
        ge=0,
        le=36_500,
        description="Customers whose first purchase is less than so many days before as_of are "
        "left out; 0 leaves nobody out.",
    )
    include_inactive: bool = Field(
        default=False,
        description="Keep customers who bought before the observation window but not in it, "
        "with frequency 0 and the lowest score on each dimension.",
    )

    @property
    def reads_history(self) -> bool:
        """Whether rows before the observation window change a customer's numbers."""
        return self.include_inactive or self.exclude_new_days > 0


@dataclass(frozen=True)
class CustomerRfm:
    """Everybody seen before `as_of`, each on exactly one side.

    Attributes:
        customers: One row per customer: customer_id (String), recency (Int32, days),
            frequency (Int32), monetary (Float64), monetary_units (Int64, ten-thousandths), and
            where refunds are kept separately refunded (Float64, >= 0).
        excluded: customer_id, stage, reason (String), see `EXCLUSION_REASONS`.
        judged: `customer_activity` with `reason` (`KEPT` for those who stay), for totals.
    """

    customers: Table
    excluded: Table
    judged: Table


def day_number(day: date) -> int:
    """Days since 1970-01-01, as in the column `day` of canonical transactions."""
    return (day - EPOCH).days


def customer_rfm(transactions: Table, *, as_of: date, config: RfmConfig) -> Table:
    """Recency, frequency and monetary per eligible customer (`CustomerRfm.customers`).

    Args:
        transactions: Canonical transactions; rows at or after `as_of` are invisible.
        as_of: The date to describe.
        config: Window and eligibility.

    Returns:
        A lazy table, one row per customer, in no particular order.
    """
    activity = customer_activity(transactions, as_of=as_of, config=config)
    return split_by_eligibility(activity, transactions, as_of=as_of, config=config).customers


def customer_activity(transactions: Table, *, as_of: date, config: RfmConfig) -> Table:
    """One row per customer with a row in the window, or before it where the config reads that.

    Columns: customer_id, first_day, last_day (Int32, of purchases; `NEVER` where none),
    in_window (Boolean), frequency (Int32), monetary_units (Int64), and refunded_units (Int64)
    if the transactions have `refund_amount`. A caller that uses it twice computes it once.

    Raises:
        AmountsTooLarge: The amounts of the window cannot be added up exactly.
    """
    end = day_number(as_of)
    start = end - config.analysis_period_days
    window = transactions.filter((nw.col("day") >= start) & (nw.col("day") < end))
    _refuse_unsummable(window)
    activity = _window_activity(window)
    if not config.reads_history:
        return activity
    before = _history(transactions.filter(nw.col("day") < start))
    both = activity.join(before, on="customer_id", how="full", suffix="_before")
    first, last = nw.col("first_day"), nw.col("last_day")
    earlier, later = nw.col("first_day_before"), nw.col("last_day_before")
    sums = [name for name in activity.collect_schema().names() if name.endswith("_units")]
    return both.select(
        nw.coalesce("customer_id", "customer_id_before").alias("customer_id"),
        # Of two days, one may stand for "never" (NEVER for the first, -NEVER for the last).
        nw.min_horizontal(first.fill_null(NEVER), earlier.fill_null(NEVER))
        .cast(nw.Int32)
        .alias("first_day"),
        nw.max_horizontal(last.fill_null(-NEVER), later.fill_null(-NEVER))
        .cast(nw.Int32)
        .alias("last_day"),
        (~nw.col("frequency").is_null()).alias("in_window"),
        nw.col("frequency").fill_null(0).cast(nw.Int32).alias("frequency"),
        *[nw.col(name).fill_null(0).cast(nw.Int64).alias(name) for name in sums],
    )


def split_by_eligibility(
    activity: Table, transactions: Table, *, as_of: date, config: RfmConfig
) -> CustomerRfm:
    """Divide everybody seen before `as_of` into eligible and excluded, without remainder."""
    end = day_number(as_of)
    reason = _reason(end, config)
    judged = activity.with_columns(reason.alias("reason"))
    return CustomerRfm(
        customers=_metrics(judged.filter(nw.col("reason") == KEPT), end),
        excluded=_excluded(judged, transactions, end, config),
        judged=judged,
    )


def _refuse_unsummable(window: Table) -> None:
    """Sums beyond 64 bits wrap around on one engine and fail without a reason on another.

    The sum regardless of sign bounds every sum of these rows: by order, customer and segment.
    """
    columns = [
        name for name in ("amount", "refund_amount") if name in window.collect_schema().names()
    ]
    totals = window.select(nw.col(*columns).abs().sum()).collect("pyarrow")
    for column in columns:
        total = totals.get_column(column).to_list()[0] or 0.0
        if total > MOST_MONEY:
            raise AmountsTooLarge(column=column, total=total, limit=MOST_MONEY)


def _window_activity(window: Table) -> Table:
    """Purchases and money per customer, of rows that are all in the window.

    Grouped twice, by order and then by customer, which is faster than counting distinct orders.
    """
    bought = nw.col("amount") > 0
    money = {"monetary_units": to_units(nw.col("amount"))}
    if "refund_amount" in window.collect_schema().names():
        money["refunded_units"] = to_units(nw.col("refund_amount"))
    lines = window.select(
        "customer_id",
        "order_id",
        nw.when(bought).then(nw.col("day")).otherwise(NEVER).alias("first_day"),
        nw.when(bought).then(nw.col("day")).otherwise(-NEVER).alias("last_day"),
        bought.cast(nw.Int32).alias("purchases"),
        **money,
    )
    days = (nw.col("first_day").min(), nw.col("last_day").max())
    sums = [nw.col(name).sum() for name in money]
    orders = (
        lines.group_by("customer_id", "order_id")
        .agg(*days, nw.col("purchases").sum(), *sums)
        .with_columns(*[nw.col(name).cast(nw.Int64) for name in ("purchases", *money)])
    )
    # An order is one purchase; a purchase row without an order is a purchase of its own.
    several = nw.col("order_id").is_null() | (nw.col("purchases") == 0)
    purchases = nw.when(several).then(nw.col("purchases")).otherwise(1)
    customers = (
        orders.with_columns(purchases=purchases)
        .group_by("customer_id")
        .agg(*days, nw.col("purchases").sum(), *sums)
    )
    return customers.select(
        "customer_id",
        nw.col("first_day").cast(nw.Int32),
        nw.col("last_day").cast(nw.Int32),
        nw.lit(value=True).alias("in_window"),
        nw.col("purchases").cast(nw.Int32).alias("frequency"),
        *[nw.col(name).cast(nw.Int64) for name in money],
    )


def _history(before: Table) -> Table:
    """First and last purchase of everybody with a row before the window."""
    bought = nw.col("amount") > 0
    return (
        before.select(
            "customer_id",
            nw.when(bought).then(nw.col("day")).otherwise(NEVER).alias("first_day"),
            nw.when(bought).then(nw.col("day")).otherwise(-NEVER).alias("last_day"),
        )
        .group_by("customer_id")
        .agg(nw.col("first_day").min(), nw.col("last_day").max())
    )


def _reason(end: int, config: RfmConfig) -> nw.Expr:
    """The reason for leaving a customer out, or `KEPT`: the first that applies."""
    frequency = nw.col("frequency")
    too_few = (frequency > 0) & (frequency < config.min_transactions)
    too_new = nw.col("first_day") > end - config.exclude_new_days
    kept = nw.when(too_new).then(nw.lit(TOO_NEW)).otherwise(nw.lit(KEPT))
    kept = nw.when(too_few).then(nw.lit(BELOW_MIN_TRANSACTIONS)).otherwise(kept)
    if config.include_inactive:
        return nw.when(nw.col("last_day") == -NEVER).then(nw.lit(NO_PURCHASE)).otherwise(kept)
    kept = nw.when(frequency == 0).then(nw.lit(NO_PURCHASE)).otherwise(kept)
    return nw.when(~nw.col("in_window")).then(nw.lit(INACTIVE)).otherwise(kept)


def _metrics(customers: Table, end: int) -> Table:
    columns = {
        "recency": (nw.lit(end) - nw.col("last_day")).cast(nw.Int32),
        "frequency": nw.col("frequency"),
        "monetary": from_units(nw.col("monetary_units")),
        "monetary_units": nw.col("monetary_units"),
    }
    if "refunded_units" in customers.collect_schema().names():
        columns["refunded"] = from_units(nw.col("refunded_units"))
    return customers.select("customer_id", **columns)


def _excluded(judged: Table, transactions: Table, end: int, config: RfmConfig) -> Table:
    out = judged.filter(nw.col("reason") != KEPT).select("customer_id", "reason")
    if not config.reads_history:
        # The activity knows only the window: whoever was seen before it and not in it is added.
        before = transactions.filter(nw.col("day") < end - config.analysis_period_days)
        # Grouped, because `unique()` numbers all rows on DuckDB, at twice the time and memory.
        seen = before.group_by("customer_id").agg(nw.len().alias("rows")).select("customer_id")
        gone = seen.join(judged, on="customer_id", how="anti")
        out = nw.concat([out, gone.with_columns(nw.lit(INACTIVE).alias("reason"))])
    return out.select("customer_id", nw.lit(EXCLUSION_STAGE).alias("stage"), "reason")
