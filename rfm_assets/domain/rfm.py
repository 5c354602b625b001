"""Recency, frequency and monetary of each customer at a date, and who is left out, and why.

Reading and cleaning transactions does not belong here (`transactions.py`), nor do scores
(`scoring.py`) and segments (`segments.py`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date

import narwhals as nw
from pydantic import Field

from rfm_assets.domain.config import ConfigModel
from rfm_assets.domain.frames import Table
from rfm_assets.domain.money import from_units, to_units
from rfm_assets.domain.orders import SUM, Aggregate, extent_of, grouped, per_order

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


Days = Mapping[str, int]
"""`last_day` and, where asked for, `first_day`, each with what stands for "never bought"."""


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


WEEK_DAYS = 7


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

    Columns: customer_id, last_day (Int32, of purchases; `-NEVER` where none), in_window (Boolean),
    frequency (Int32), monetary_units (Int64), refunded_units (Int64) if the transactions have
    `refund_amount`, and first_day (Int32, of purchases; `NEVER` where none) if the config leaves
    new customers out. A caller that uses it twice computes it once.

    Raises:
        AmountsTooLarge: The amounts of the window cannot be added up exactly.
    """
    end = day_number(as_of)
    start = end - config.analysis_period_days
    window = transactions.filter((nw.col("day") >= start) & (nw.col("day") < end))
    # Each day takes memory for each order: the first only where it decides about anybody.
    days = {"last_day": -NEVER} | ({"first_day": NEVER} if config.exclude_new_days else {})
    activity = _window_activity(window, days)
    if not config.reads_history:
        return activity
    earlier = transactions.filter(nw.col("day") < start)
    before = grouped(
        earlier.select("customer_id", *_of_rows(days)), ["customer_id"], _of_many(days)
    )
    both = activity.join(before, on="customer_id", how="full", suffix="_before")
    sums = [name for name in activity.collect_schema().names() if name.endswith("_units")]
    return both.select(
        nw.coalesce("customer_id", "customer_id_before").alias("customer_id"),
        *_of_two(days),
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


def _window_activity(window: Table, days: Days) -> Table:
    """Purchases and money per customer, of rows that are all in the window.

    Grouped twice, by order and then by customer, which is faster than counting distinct orders.
    """
    extent = extent_of(window)
    money = {"monetary_units": to_units(nw.col("amount"))}
    if "refund_amount" in window.collect_schema().names():
        money["refunded_units"] = to_units(nw.col("refund_amount"))
    rows = window.select("customer_id", "order_id", *_of_rows(days), **money)
    aggregates: dict[str, Aggregate] = {**_of_many(days), **dict.fromkeys(money, SUM)}
    # An order is one purchase, if it has any.
    each = per_order(rows, extent, aggregates)
    bought = nw.col("last_day") != days["last_day"]
    return grouped(
        each.with_columns(frequency=bought.cast(nw.Int64)),
        ["customer_id"],
        {**aggregates, "frequency": SUM},
    ).with_columns(nw.col("frequency").cast(nw.Int32), in_window=nw.lit(value=True))


def _of_rows(days: Days) -> list[nw.Expr]:
    bought, day = nw.col("amount") > 0, nw.col("day")
    return [
        nw.when(bought).then(day).otherwise(never).cast(nw.Int32).alias(name)
        for name, never in days.items()
    ]


def _of_many(days: Iterable[str]) -> dict[str, Aggregate]:
    return {name: "min" if name == "first_day" else "max" for name in days}


def _of_two(days: Days) -> list[nw.Expr]:
    """Of what is in the window and before it, each null where a customer is not there."""
    return [
        (nw.min_horizontal if name == "first_day" else nw.max_horizontal)(
            nw.col(name).fill_null(never), nw.col(f"{name}_before").fill_null(never)
        )
        .cast(nw.Int32)
        .alias(name)
        for name, never in days.items()
    ]


def _reason(end: int, config: RfmConfig) -> nw.Expr:
    """The reason for leaving a customer out, or `KEPT`: the first that applies."""
    frequency = nw.col("frequency")
    too_few = (frequency > 0) & (frequency < config.min_transactions)
    kept: nw.Expr = nw.lit(KEPT)
    if config.exclude_new_days:
        too_new = nw.col("first_day") > end - config.exclude_new_days
        kept = nw.when(too_new).then(nw.lit(TOO_NEW)).otherwise(kept)
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
