"""What customers will buy and be worth, how sure that is, and how right it was before.

From canonical transactions to purchase days, from those to the few numbers that the models of
`buying_models.py` need, and from their estimates back to every customer. The mathematics does not
belong here.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

import narwhals as nw
import numpy as np
from pydantic import Field

from rfm_assets.domain.buying_models import BgNbd, Floats, GammaGamma, fit_bg_nbd, fit_gamma_gamma
from rfm_assets.domain.config import ConfigModel
from rfm_assets.domain.credible import MOST_SAMPLED, Draw, credible_totals, posterior
from rfm_assets.domain.frames import UNITS_PER_MONEY, Table
from rfm_assets.domain.judging import Interval
from rfm_assets.domain.money import from_units, to_units
from rfm_assets.domain.rfm import WEEK_DAYS, day_number
from rfm_assets.errors import ModelDidNotConverge, NotEnoughCustomers

STEP_DAYS = 28
"""Expected purchases are discounted step by step, each to its middle."""

YEAR_DAYS = 365.25

MOST_REPEATS = 7
"""Customers with so many repeat purchases or more are one class in the holdout's table."""

KINDS = ["repeat_purchases", "first_to_last_days", "age_days"]
"""What the estimate of a customer's purchases depends on."""


class LifetimeValueConfig(ConfigModel):
    """How much history is read, how far is looked ahead, and when there is too little to say."""

    history_days: int = Field(
        default=1_095,
        ge=28,
        le=36_500,
        description="Days before as_of whose purchases are read. A customer begins with her first "
        "purchase in them.",
    )
    horizon_days: int = Field(
        default=365, ge=1, le=3_650, description="Days after as_of that the value is of."
    )
    discount_rate: float = Field(
        default=0.1, ge=0, le=10, description="By which money a year later is worth less, a year."
    )
    holdout_days: int = Field(
        default=91,
        ge=7,
        le=1_825,
        description="Last days of the history that the models are judged on, after being fitted on "
        "the days before them.",
    )
    min_customers: int = Field(
        default=200,
        ge=50,
        le=1_000_000,
        description="Customers below which there is no estimate.",
    )
    min_repeat_customers: int = Field(
        default=50,
        ge=20,
        le=1_000_000,
        description="Customers with a repeat purchase below which there is no estimate.",
    )
    credible_intervals: bool = Field(
        default=False,
        description="Also give 95 % intervals of the totals, by sampling from the posterior of "
        "both models; takes half a minute and the extra `bayesian`, on Python 3.12.",
    )


@dataclass(frozen=True)
class Models:
    """The two models, fitted at one date, and on how many customers."""

    purchases: BgNbd
    spend: GammaGamma
    customers: int
    repeat_customers: int


@dataclass(frozen=True)
class HoldoutClass:
    """Customers with so many repeat purchases at the cut: what was expected, and what came."""

    repeat_purchases: int
    customers: int
    expected: float
    observed: int


@dataclass(frozen=True)
class Holdout:
    """How right the models were: fitted at `cut`, judged on the days that follow."""

    cut: date
    days: int
    classes: tuple[HoldoutClass, ...]
    expected_spend: float
    observed_spend: float

    @property
    def expected(self) -> float:
        """Purchases of all customers that were expected."""
        return sum(one.expected for one in self.classes)

    @property
    def observed(self) -> int:
        """Purchases of the same customers that came."""
        return sum(one.observed for one in self.classes)

    @property
    def error_pct(self) -> float | None:
        """By how much the expectation was too high, in per cent; None without any purchase."""
        return 100 * (self.expected / self.observed - 1) if self.observed else None


@dataclass(frozen=True)
class LifetimeValue:
    """The estimates of every customer, and what they rest on.

    `table` has customer_id, repeat_purchases, first_to_last_days, age_days (Int32),
    repeat_spend_mean (Float64, null without a repeat purchase), probability_alive,
    expected_purchases, expected_spend_per_purchase, lifetime_value (Float64) and as_of. `credible`
    has 95 % intervals of customers alive, purchases and value in all, where that was asked for.
    """

    table: Table
    models: Models
    holdout: Holdout | None
    credible: Mapping[str, Interval] | None = None


def lifetime_value(
    transactions: Table,
    *,
    as_of: date,
    config: LifetimeValueConfig,
    checkpoint: Callable[[Table], Table],
    from_native: Callable[[object], Table],
) -> LifetimeValue:
    """Expected purchases and value over the horizon of everybody who has bought.

    Args:
        transactions: Canonical transactions; rows at or after `as_of` are invisible.
        as_of: The date to look ahead from.
        config: What the YAML says.
        checkpoint: How the engine computes a table once and holds it.
        from_native: How the engine takes a frame from memory.

    Returns:
        The estimates. The holdout is None where the history before the cut is too short for one.

    Raises:
        NotEnoughCustomers: Fewer than the config wants.
        ModelDidNotConverge: The data do not tell the parameters.
    """
    days = checkpoint(purchase_days(transactions, as_of=as_of, config=config))
    history = checkpoint(purchase_history(days, as_of=as_of))
    models = fit(history, config=config)
    return LifetimeValue(
        table=estimates(history, models, as_of=as_of, config=config, from_native=from_native),
        models=models,
        holdout=_holdout(days, as_of, config, from_native),
        credible=_credible(history, config) if config.credible_intervals else None,
    )


def purchase_days(transactions: Table, *, as_of: date, config: LifetimeValueConfig) -> Table:
    """One row per customer and day with a purchase: customer_id, day (Int32), units (Int64).

    The purchases of a day are one: what comes twice on a day is one decision, or one order in two
    parcels. Refunds are not taken off, because the model of spend knows positive amounts alone.
    """
    end = day_number(as_of)
    bought = (
        (nw.col("day") >= end - config.history_days)
        & (nw.col("day") < end)
        & (nw.col("amount") > 0)
    )
    rows = transactions.filter(bought).select(
        "customer_id", "day", to_units(nw.col("amount")).alias("units")
    )
    grouped = rows.group_by("customer_id", "day").agg(nw.col("units").sum())
    # An amount below half a ten-thousandth is nothing.
    return grouped.with_columns(nw.col("units").cast(nw.Int64)).filter(nw.col("units") > 0)


def purchase_history(days: Table, *, as_of: date) -> Table:
    """One row per customer: KINDS (Int32) and repeat_units (Int64), the spend after the first day.

    The last day that is seen is the one before `as_of`, so that `age_days` is 0 on the first.
    """
    end = day_number(as_of) - 1
    totals = days.group_by("customer_id").agg(
        nw.col("day").min().alias("first_day"),
        nw.col("day").max().alias("last_day"),
        nw.len().alias("purchase_days"),
        nw.col("units").sum().alias("all_units"),
    )
    first = days.select("customer_id", first_day="day", first_units="units")
    return totals.join(first, on=["customer_id", "first_day"], how="inner").select(
        "customer_id",
        (nw.col("purchase_days").cast(nw.Int32) - 1).cast(nw.Int32).alias("repeat_purchases"),
        (nw.col("last_day") - nw.col("first_day")).cast(nw.Int32).alias("first_to_last_days"),
        (nw.lit(end) - nw.col("first_day")).cast(nw.Int32).alias("age_days"),
        (nw.col("all_units") - nw.col("first_units")).cast(nw.Int64).alias("repeat_units"),
    )


def fit(history: Table, *, config: LifetimeValueConfig) -> Models:
    """Both models, from the numbers that are sufficient: few, however many customers there are.

    Raises:
        NotEnoughCustomers: Fewer than the config wants.
        ModelDidNotConverge: The data do not tell the parameters.
    """
    kinds = _columns(_kinds(history), [*KINDS, "customers"])
    repeated = nw.col("repeat_purchases") > 0
    # Sorted, because a sum of floats depends on their order.
    spent = (
        history.filter(repeated)
        .group_by("repeat_purchases", "repeat_units")
        .agg(nw.len().alias("customers"))
        .sort("repeat_purchases", "repeat_units")
    )
    spend = _columns(spent, ["repeat_purchases", "repeat_units", "customers"])
    customers, repeat = int(kinds["customers"].sum()), int(spend["customers"].sum())
    for what, found, key in (
        ("customers who have bought", customers, "min_customers"),
        ("customers who have bought on a second day", repeat, "min_repeat_customers"),
    ):
        needed = getattr(config, key)
        if found < needed:
            raise NotEnoughCustomers(what=what, found=found, needed=needed, key=key)
    x, t_x, t = (kinds[name] for name in KINDS)
    number = spend["repeat_purchases"]
    return Models(
        purchases=fit_bg_nbd(x, t_x / WEEK_DAYS, t / WEEK_DAYS, kinds["customers"]),
        spend=fit_gamma_gamma(number, spend["repeat_units"] / 10_000 / number, spend["customers"]),
        customers=customers,
        repeat_customers=repeat,
    )


def estimates(
    history: Table,
    models: Models,
    *,
    as_of: date,
    config: LifetimeValueConfig,
    from_native: Callable[[object], Table],
) -> Table:
    """The table of `LifetimeValue`: estimated once for each kind of customer, joined to all."""
    kinds = _columns(_kinds(history), KINDS)
    expected, discounted = _ahead(models.purchases, kinds, config)
    estimated = nw.from_dict(
        {
            **{name: kinds[name].astype(np.int32) for name in KINDS},
            "probability_alive": _alive(models.purchases, kinds),
            "expected_purchases": expected,
            "discounted_purchases": discounted,
        },
        backend="pyarrow",
    )
    joined = history.join(from_native(estimated), on=KINDS, how="inner")
    p, q, gamma = models.spend.p, models.spend.q, models.spend.gamma
    purchases, spent = nw.col("repeat_purchases"), from_units(nw.col("repeat_units"))
    # Her own mean and that of all, weighted by how much is known of her.
    per_purchase = (spent + gamma) * p / (purchases.cast(nw.Float64) * p + (q - 1))
    mean = nw.when(purchases > 0).then(spent / purchases.cast(nw.Float64))
    return joined.with_columns(
        repeat_spend_mean=mean.otherwise(nw.lit(None, dtype=nw.Float64)),
        expected_spend_per_purchase=per_purchase,
    ).select(
        "customer_id",
        *KINDS,
        "repeat_spend_mean",
        "probability_alive",
        "expected_purchases",
        "expected_spend_per_purchase",
        (nw.col("discounted_purchases") * nw.col("expected_spend_per_purchase")).alias(
            "lifetime_value"
        ),
        nw.lit(as_of, dtype=nw.Date).alias("as_of"),
    )


def _holdout(
    days: Table, as_of: date, config: LifetimeValueConfig, from_native: Callable[[object], Table]
) -> Holdout | None:
    cut = as_of - timedelta(days=config.holdout_days)
    at = day_number(cut)
    history = purchase_history(days.filter(nw.col("day") < at), as_of=cut)
    try:
        models = fit(history, config=config)
    except (NotEnoughCustomers, ModelDidNotConverge):
        return None
    no_discount = config.model_copy(
        update={"horizon_days": config.holdout_days, "discount_rate": 0.0}
    )
    expected = estimates(
        history, models, as_of=cut, config=no_discount, from_native=from_native
    ).select("customer_id", "repeat_purchases", "expected_purchases", "lifetime_value")
    came = (
        days.filter(nw.col("day") >= at)
        .group_by("customer_id")
        .agg(nw.len().alias("observed"), nw.col("units").sum().alias("units"))
    )
    group = nw.when(nw.col("repeat_purchases") > MOST_REPEATS).then(nw.lit(MOST_REPEATS))
    judged = (
        expected.join(came, on="customer_id", how="left")
        .select(
            group.otherwise(nw.col("repeat_purchases")).cast(nw.Int32).alias("group"),
            # In millionths, because sums of whole numbers do not depend on their order.
            (nw.col("expected_purchases") * 1e6).round().cast(nw.Int64).alias("expected"),
            to_units(nw.col("lifetime_value")).alias("expected_units"),
            nw.col("observed").fill_null(0).cast(nw.Int64).alias("observed"),
            nw.col("units").fill_null(0).cast(nw.Int64).alias("units"),
        )
        .group_by("group")
        .agg(
            nw.len().alias("customers"),
            *[nw.col(name).sum() for name in ("expected", "expected_units", "observed", "units")],
        )
        .sort("group")
    )
    rows: list[dict[str, Any]] = judged.collect("pyarrow").to_native().to_pylist()
    return Holdout(
        cut=cut,
        days=config.holdout_days,
        classes=tuple(
            HoldoutClass(
                repeat_purchases=int(row["group"]),
                customers=int(row["customers"]),
                expected=int(row["expected"]) / 1e6,
                observed=int(row["observed"]),
            )
            for row in rows
        ),
        expected_spend=sum(int(row["expected_units"]) for row in rows) / 10_000,
        observed_spend=sum(int(row["units"]) for row in rows) / 10_000,
    )


def _kinds(history: Table) -> Table:
    """How many customers there are of each kind, sorted."""
    return history.group_by(*KINDS).agg(nw.len().alias("customers")).sort(*KINDS)


def _columns(table: Table, names: Sequence[str]) -> dict[str, Floats]:
    collected = table.collect("pyarrow")
    return {name: collected.get_column(name).to_numpy().astype(np.float64) for name in names}


def _steps(horizon_days: int) -> list[tuple[int, int]]:
    ends = [*range(STEP_DAYS, horizon_days, STEP_DAYS), horizon_days]
    return list(zip([0, *ends[:-1]], ends, strict=True))


def _alive(model: BgNbd, kinds: dict[str, Floats]) -> Floats:
    x, t_x, t = (kinds[name] for name in KINDS)
    return model.probability_alive(x, t_x / WEEK_DAYS, t / WEEK_DAYS)


def _expected(model: BgNbd, kinds: dict[str, Floats], ahead: Sequence[int]) -> Floats:
    """Purchases until each of the days ahead: one row for each of them."""
    # When she last bought matters only for whether she is alive: far fewer kinds are left.
    x, t = kinds["repeat_purchases"], kinds["age_days"]
    pairs, back = np.unique(np.stack([x, t]), axis=1, return_inverse=True)
    if_alive = [
        model.expected_if_alive(pairs[0], pairs[1] / WEEK_DAYS, days / WEEK_DAYS) for days in ahead
    ]
    return np.stack(if_alive)[:, back.reshape(-1)] * _alive(model, kinds)


def _ahead(
    model: BgNbd, kinds: dict[str, Floats], config: LifetimeValueConfig
) -> tuple[Floats, Floats]:
    """Purchases over the horizon, and the same discounted step by step."""
    steps = _steps(config.horizon_days)
    factors = [
        (1 + config.discount_rate) ** (-(start + end) / 2 / YEAR_DAYS) for start, end in steps
    ]
    each = _expected(model, kinds, [end for _, end in steps])
    return each[-1], np.asarray(factors) @ np.diff(each, axis=0, prepend=0)


def _credible(history: Table, config: LifetimeValueConfig) -> dict[str, Interval]:
    """Intervals of the totals of all customers, from as many of them as are sampled."""
    rows = history.select("customer_id", *KINDS, "repeat_units").sort("customer_id")
    collected = rows.collect("pyarrow")
    hashes = [zlib.crc32(str(one).encode()) for one in collected.get_column("customer_id")]
    few = np.sort(np.argsort(hashes, kind="stable")[:MOST_SAMPLED])
    kinds = {
        name: collected.get_column(name).to_numpy().astype(np.float64)[few]
        for name in (*KINDS, "repeat_units")
    }
    x, spent = kinds["repeat_purchases"], kinds["repeat_units"] / UNITS_PER_MONEY
    draws = posterior(
        x,
        kinds["first_to_last_days"] / WEEK_DAYS,
        kinds["age_days"] / WEEK_DAYS,
        spent / np.maximum(x, 1),
    )
    scale = len(hashes) / len(few)
    return credible_totals(draws, lambda draw: totals_of(draw, kinds, config, scale=scale))


def totals_of(
    draw: Draw, kinds: dict[str, Floats], config: LifetimeValueConfig, *, scale: float
) -> dict[str, float]:
    """Customers alive, expected purchases and lifetime value in all, by one pair of models.

    Args:
        draw: The models.
        kinds: `KINDS` and repeat_units (ten-thousandths) of each customer.
        config: Horizon and discount.
        scale: What the totals are multiplied with, where not all customers are given.
    """
    expected, discounted = _ahead(draw.purchases, kinds, config)
    p, q, gamma = draw.spend.p, draw.spend.q, draw.spend.gamma
    spent = kinds["repeat_units"] / UNITS_PER_MONEY
    each = (spent + gamma) * p / (kinds["repeat_purchases"] * p + (q - 1))
    return {
        "alive": scale * float(_alive(draw.purchases, kinds).sum()),
        "expected_purchases": scale * float(expected.sum()),
        "lifetime_value": scale * float((discounted * each).sum()),
    }
