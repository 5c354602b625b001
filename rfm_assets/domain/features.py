"""Fourteen numbers that say how a customer behaves, for clustering.

What is made of them does not belong here (`clustering.py`). A feature whose input no column is
named for is left out, and so is one that says the same of everybody.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date

import narwhals as nw
from pydantic import Field

from rfm_assets.domain.config import ConfigModel
from rfm_assets.domain.frames import UNITS_PER_MONEY, Table
from rfm_assets.domain.money import exact_ratio, from_units, to_units
from rfm_assets.domain.orders import SUM, Aggregate, Extent, extent_of, grouped, per_order
from rfm_assets.domain.rfm import NEVER, day_number
from rfm_assets.errors import ColumnMissing

_FIRST_DAY = -30_000
"""Before every day that a transaction can have, so that codes are above 1."""

_EXACT = 2**53
"""Below it a float holds every whole number."""

_SQUARES = 2**40
"""Squares of spend are summed as whole numbers: this many to the square of the largest amount."""


@dataclass(frozen=True)
class Feature:
    """One feature: what it is, in which unit, and which settings name its inputs.

    Attributes:
        log: Whether its logarithm is clustered, because few customers have most of it.
    """

    name: str
    unit: str
    formula: str
    needs: tuple[str, ...] = ()
    log: bool = False


FEATURES: tuple[Feature, ...] = (
    Feature("recency_days", "days", "as_of less the day of the last purchase", log=True),
    Feature("frequency_per_day", "purchases a day", "purchases / customer_age_days", log=True),
    Feature("transaction_count", "purchases", "distinct purchases", log=True),
    Feature("customer_age_days", "days", "as_of less the day of the first purchase"),
    Feature("spend_total", "money", "sum of purchases, refunds taken off", log=True),
    Feature("spend_mean", "money", "spend_total / transaction_count", log=True),
    Feature("spend_std", "money", "standard deviation of what the purchases cost", log=True),
    Feature(
        "quantity_total", "units", "sum of quantity_column", needs=("quantity_column",), log=True
    ),
    Feature(
        "app_usage_rate",
        "0..1",
        "purchases by one of app_channels / purchases",
        needs=("channel_column",),
    ),
    Feature(
        "location_diversity",
        "0..1",
        "distinct values of location_column / purchases, at most 1",
        needs=("location_column",),
    ),
    Feature(
        "failure_rate",
        "0..1",
        "failed attempts / (failed attempts + purchases)",
        needs=("status_column",),
    ),
    Feature(
        "recency_frequency_ratio",
        "days a purchase",
        "recency_days / transaction_count",
        log=True,
    ),
    Feature(
        "value_consistency", "0..1", "mean / (mean + standard deviation) of what the purchases cost"
    ),
    Feature(
        "engagement_score",
        "0..1",
        "mean of app_usage_rate, location_diversity and 1 - failure_rate, of those there are",
        needs=("channel_column", "location_column", "status_column"),
    ),
)
"""All of them, in the order of the stored columns. `engagement_score` needs any of its inputs."""

RFM_FEATURES = ("recency_days", "transaction_count", "spend_total")


class FeatureConfig(ConfigModel):
    """Which days count, and which columns of the transactions say what."""

    history_days: int = Field(
        default=730, ge=28, le=36_500, description="Days before as_of that are described."
    )
    quantity_column: str | None = Field(
        default=None,
        description="Attribute of the transactions with the number of units, such as litres.",
    )
    channel_column: str | None = Field(
        default=None, description="Attribute with the channel of a purchase."
    )
    app_channels: list[str] = Field(
        default=["app"], min_length=1, description="Channels that count as the app."
    )
    location_column: str | None = Field(
        default=None, description="Attribute with the place of a purchase, such as a station."
    )
    status_column: str | None = Field(
        default=None, description="Attribute that tells failed attempts from purchases."
    )
    failed_statuses: list[str] = Field(
        default=["failed"],
        min_length=1,
        description="Statuses of attempts that failed: they are no purchases.",
    )

    @property
    def failed(self) -> nw.Expr:
        """Whether a row is an attempt that failed."""
        if self.status_column is None:
            return nw.lit(value=False)
        return nw.col(self.status_column).is_in(self.failed_statuses).fill_null(value=False)

    @property
    def available(self) -> tuple[Feature, ...]:
        """The features that can be computed with the columns that are named."""
        return tuple(
            feature
            for feature in FEATURES
            if not feature.needs or any(getattr(self, name) for name in feature.needs)
        )

    @property
    def left_out(self) -> dict[str, str]:
        """The others, and why."""
        return {
            feature.name: f"{' or '.join(f'`{name}`' for name in feature.needs)} names no column"
            for feature in FEATURES
            if feature not in self.available
        }


def customer_features(transactions: Table, *, as_of: date, config: FeatureConfig) -> Table:
    """The features of everybody with a purchase in the history.

    Args:
        transactions: Canonical transactions with the columns that the config names; rows at or
            after `as_of` are invisible.
        as_of: The date to describe.
        config: Days and columns.

    Returns:
        customer_id (String), `config.available` (Float64), and first_day, last_day (Int32),
        spend_units (Int64, ten-thousandths) for those who count in whole numbers.

    Raises:
        ColumnMissing: A column that the config names is not there.
        AmountsTooLarge: The amounts cannot be added up exactly.
    """
    end = day_number(as_of)
    _require_columns(transactions, config)
    window = transactions.filter(
        (nw.col("day") >= end - config.history_days) & (nw.col("day") < end)
    )
    extent = extent_of(window)
    customers = _customers(_orders(window, config, extent), config, extent)
    goods = _goods(window, config)
    if goods is not None:
        customers = customers.join(goods, on="customer_id", how="inner")
    return _features(customers, end, extent.largest, config)


def customers_with_purchase(transactions: Table, *, as_of: date, config: FeatureConfig) -> int:
    """How many have features, counted from the rows without regard to orders."""
    end = day_number(as_of)
    bought = transactions.filter(
        _bought(config) & (nw.col("day") >= end - config.history_days) & (nw.col("day") < end)
    )
    # DuckDB gives null where there is no row.
    return int(bought.select(nw.col("customer_id").n_unique()).collect().item() or 0)


def _require_columns(transactions: Table, config: FeatureConfig) -> None:
    known = transactions.collect_schema().names()
    for key in ("quantity_column", "channel_column", "location_column", "status_column"):
        name = getattr(config, key)
        if name is not None and name not in known:
            raise ColumnMissing(column=name, table="transaction_data", available=known, key=key)


def _bought(config: FeatureConfig) -> nw.Expr:
    return (nw.col("amount") > 0) & ~config.failed


def _orders(window: Table, config: FeatureConfig, extent: Extent) -> Table:
    """One row per order, as `rfm.py` counts them: customer_id, code, units.

    Refunds are rows without a purchase: they count for nothing but the money. The code is one
    number, because each further one that is kept for every order costs as much as all of them:
    twice the day of the last purchase, counted from `_FIRST_DAY`, and one more if that was by the
    app; 1 where nothing but failed attempts was, 0 where not even these.
    """
    failed, bought = config.failed, _bought(config)
    by_app = nw.lit(value=False)
    if config.channel_column is not None:
        by_app = nw.col(config.channel_column).is_in(config.app_channels).fill_null(value=False)
    day = (nw.col("day") - _FIRST_DAY) * 2 + by_app.cast(nw.Int32)
    code = nw.when(bought).then(day).otherwise(failed.cast(nw.Int32))
    # What failed was not paid.
    units = nw.when(failed).then(nw.lit(0)).otherwise(to_units(nw.col("amount")))
    rows = window.select("customer_id", "order_id", code=code.cast(nw.Int32), units=units)
    return per_order(rows, extent, {"code": "max", "units": SUM})


def _customers(orders: Table, config: FeatureConfig, extent: Extent) -> Table:
    """Whole numbers of each customer, from which the features are divided once."""
    code = nw.col("code")
    purchase, bought_on = code > 1, code // 2 + _FIRST_DAY
    # Lines that went back can outweigh the others: such a purchase cost nothing, not less.
    cost = nw.max_horizontal(nw.col("units"), nw.lit(0))
    # Whole numbers that a float holds are divided as they are; the way around it costs time.
    plain = extent.total * UNITS_PER_MONEY < _EXACT
    money = exact_ratio(cost.cast(nw.Float64), UNITS_PER_MONEY) if plain else from_units(cost)
    paid = exact_ratio(money, extent.largest)
    squares = (paid * paid * float(_SQUARES)).round().cast(nw.Int64)
    sums: dict[str, nw.Expr] = {
        # A refund is in no purchase of its own, but it is money that went back.
        "spend_units": nw.col("units"),
        "paid_units": nw.when(purchase).then(cost).otherwise(0),
        "squares": nw.when(purchase).then(squares).otherwise(0),
        "purchases": purchase.cast(nw.Int64),
    }
    if config.status_column is not None:
        sums["failures"] = (code == 1).cast(nw.Int64)
    if config.channel_column is not None:
        sums["by_app"] = (purchase & (code % 2 == 1)).cast(nw.Int64)
    # An order without purchase says nothing of days; its own would be the first and the last.
    days = {
        "first_day": nw.when(purchase).then(bought_on).otherwise(NEVER),
        "last_day": nw.when(purchase).then(bought_on).otherwise(-NEVER),
    }
    aggregates: dict[str, Aggregate] = {"first_day": "min", "last_day": "max"}
    aggregates |= dict.fromkeys(sums, SUM)
    rows = orders.select("customer_id", **days, **sums)
    customers = grouped(rows, ["customer_id"], aggregates).filter(nw.col("purchases") > 0)
    return customers.with_columns(nw.col("first_day", "last_day").cast(nw.Int32))


def _goods(window: Table, config: FeatureConfig) -> Table | None:
    """What was bought, and where: customer_id, quantity (thousandths), places, both Int64."""
    if config.quantity_column is None and config.location_column is None:
        return None
    columns: dict[str, nw.Expr] = {"customer_id": nw.col("customer_id")}
    if config.quantity_column is not None:
        # In thousandths, because sums of whole numbers do not depend on their order.
        quantity = nw.col(config.quantity_column).cast(nw.Float64).fill_null(0.0) * 1_000
        columns["quantity"] = quantity.round().cast(nw.Int64)
    aggregates: dict[str, Aggregate] = dict.fromkeys(columns.keys() - {"customer_id"}, SUM)
    rows = window.filter(_bought(config))
    if config.location_column is None:
        return grouped(rows.select(**columns), ["customer_id"], aggregates)
    # By place and then by customer, which is faster than counting distinct places.
    columns["place"] = nw.col(config.location_column).cast(nw.String)
    columns["rows"] = nw.lit(1, dtype=nw.Int64)
    aggregates["rows"] = SUM
    placed = grouped(rows.select(**columns), ["customer_id", "place"], aggregates)
    there = (~nw.col("place").is_null()).cast(nw.Int64)
    counted: dict[str, Aggregate] = {**aggregates, "places": SUM}
    return grouped(placed.with_columns(places=there), ["customer_id"], counted).drop("rows")


def _features(customers: Table, end: int, largest: float, config: FeatureConfig) -> Table:
    count = nw.col("purchases").cast(nw.Float64)
    base = customers.with_columns(
        recency_days=(nw.lit(end) - nw.col("last_day")).cast(nw.Float64),
        transaction_count=count,
        customer_age_days=(nw.lit(end) - nw.col("first_day")).cast(nw.Float64),
        spend_total=from_units(nw.col("spend_units")),
        paid_mean=from_units(nw.col("paid_units")) / count,
    )
    mean = nw.col("paid_mean")
    variance = nw.col("squares").cast(nw.Float64) / float(_SQUARES) * (
        largest * largest
    ) / count - (mean * mean)
    # One purchase has no spread, and equal ones none but that of rounding.
    spread = nw.when((count > 1) & (variance > mean * mean * 1e-9)).then(variance).otherwise(0.0)
    base = base.with_columns(
        frequency_per_day=count / nw.col("customer_age_days"),
        spend_mean=nw.col("spend_total") / count,
        spend_std=spread.sqrt(),
        recency_frequency_ratio=nw.col("recency_days") / count,
    )
    whole = mean + nw.col("spend_std")
    # Purchases that all cost nothing are alike.
    base = base.with_columns(value_consistency=nw.when(whole > 0).then(mean / whole).otherwise(1.0))
    rates: dict[str, nw.Expr] = {}
    if config.quantity_column is not None:
        base = base.with_columns(
            quantity_total=exact_ratio(nw.col("quantity").cast(nw.Float64), 1_000.0)
        )
    if config.channel_column is not None:
        rates["app_usage_rate"] = nw.col("by_app").cast(nw.Float64) / count
    if config.location_column is not None:
        # An order may have lines of several places; more than one for each purchase says no more.
        places = nw.min_horizontal(nw.col("places").cast(nw.Float64), count)
        rates["location_diversity"] = places / count
    if config.status_column is not None:
        failures = nw.col("failures").cast(nw.Float64)
        rates["failure_rate"] = failures / (failures + count)
    if rates:
        base = base.with_columns(**rates).with_columns(engagement_score=_engagement(rates))
    names = [feature.name for feature in config.available]
    return base.select("customer_id", *names, "first_day", "last_day", "spend_units")


def _engagement(rates: Mapping[str, nw.Expr]) -> nw.Expr:
    parts = [1.0 - nw.col(name) if name == "failure_rate" else nw.col(name) for name in rates]
    total = parts[0]
    for part in parts[1:]:
        total = total + part
    return exact_ratio(total, float(len(parts)))
