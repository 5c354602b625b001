"""A model of who will not buy again, learned on one period and judged on the next.

Segments by churn do not belong here (`churn.py`). The model is a logistic regression over the
features of `features.py`: a handful of numbers, which the engine computes with. Trees did no
better on the orders of a real shop, and squares of the features did worse after a change of trend.
"""
# scikit-learn has no types.
# pyright: basic

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

import narwhals as nw
import numpy as np
from pydantic import Field

from rfm_assets.domain.clustering import sample, transformed
from rfm_assets.domain.config import ConfigModel
from rfm_assets.domain.features import FeatureConfig, customer_features
from rfm_assets.domain.frames import Table
from rfm_assets.domain.judging import (
    CalibrationBin,
    Flags,
    Floats,
    Interval,
    Resampled,
    calibration,
    calibration_error,
)
from rfm_assets.domain.rfm import RfmConfig, customer_rfm, day_number
from rfm_assets.domain.scoring import ScoringConfig, cut_points, score
from rfm_assets.errors import ModelDidNotConverge, NotEnoughCustomers

RECENCY, RFM, MODEL = "recency alone", "RFM_score alone", "model"
"""What is judged: the model, and what anybody has without one."""

DIGITS = 6
"""Decimals of a probability: engines differ in the last bits of logarithms and exponentials."""

_CHURNED = "churned"


class ChurnModelConfig(FeatureConfig):
    """What is learned from, and what counts as churn."""

    history_days: int = Field(
        default=365,
        ge=28,
        le=36_500,
        description="Days before a cut in which a customer must have bought to be scored, and "
        "that the features describe.",
    )
    horizon_days: int = Field(
        default=91,
        ge=7,
        le=730,
        description="A customer who does not buy within so many days has churned.",
    )
    min_customers: int = Field(
        default=200,
        ge=50,
        description="Customers that a model is learned from at the least, of each kind a tenth.",
    )
    sample_size: int = Field(
        default=200_000,
        ge=1_000,
        le=5_000_000,
        description="Customers that the model is learned from, chosen by their numbers; with "
        "fewer customers all of them.",
    )
    resamples: int = Field(
        default=500, ge=100, le=10_000, description="Resamples that intervals are measured on."
    )


class ChurnModel(ConfigModel):
    """Everything that decides a customer's probability, as plain numbers.

    The features, of which those in `logs` by their logarithm, are standardised by `mean` and
    `scale`; the probability is the logistic function of intercept + the sum of factors * z.
    """

    features: tuple[str, ...]
    logs: tuple[bool, ...]
    mean: tuple[float, ...]
    scale: tuple[float, ...]
    intercept: float
    factors: tuple[float, ...]
    cut: date
    horizon_days: int
    customers: int
    churned: int


@dataclass(frozen=True)
class Judgement:
    """A model learned at one cut, judged on the period after a later one.

    Attributes:
        learned: The cut that it was learned at.
        cut: The cut whose customers it was asked about.
        customers: So many of them.
        churned: Those who did not buy in the period after it.
        aucs: Of the model and of what anybody has without one.
        gains: The model's over each of those.
        bins: Its calibration.
    """

    learned: date
    cut: date
    customers: int
    churned: int
    aucs: Mapping[str, Interval]
    gains: Mapping[str, Interval]
    bins: Sequence[CalibrationBin]

    @property
    def error(self) -> float:
        """Mean distance of predicted and observed rates, 0..1."""
        return calibration_error(self.bins)

    @property
    def better_than(self) -> list[str]:
        """What the model beats beyond chance."""
        return [name for name, gain in self.gains.items() if gain.low > 0]


@dataclass(frozen=True)
class Trained:
    """A model, and how one learned a period earlier did; None where that was not asked or cannot be."""

    model: ChurnModel
    judgement: Judgement | None


def train(
    transactions: Table,
    *,
    as_of: date,
    config: ChurnModelConfig,
    checkpoint: Callable[[Table], Table],
    judge: bool = True,
) -> Trained:
    """Learn from the last whole period before `as_of`, and judge the same on the one before it.

    The model is learned at `as_of - horizon_days`, from who bought until `as_of`. Judged is one
    that was learned a period earlier and asked about that cut, because a model is not judged on
    what it was learned from; none is where `judge` is false.

    Raises:
        NotEnoughCustomers: Too few customers, or too few of those who stay or go.
        ModelDidNotConverge: The data do not tell the parameters.
    """
    period = timedelta(days=config.horizon_days)
    here, before = as_of - period, as_of - 2 * period
    now = checkpoint(labelled(transactions, cut=here, config=config))
    model = fit(now, cut=here, config=config)
    if not judge:
        return Trained(model, None)
    try:
        rows = checkpoint(labelled(transactions, cut=before, config=config))
        earlier = fit(rows, cut=before, config=config)
    except (NotEnoughCustomers, ModelDidNotConverge):
        return Trained(model, None)
    return Trained(model, _judgement(earlier, transactions, now, cut=here, config=config))


def labelled(transactions: Table, *, cut: date, config: ChurnModelConfig) -> Table:
    """`customer_features` at the cut, and `churned` (Float64, 0 or 1) by the period after it."""
    features = customer_features(transactions, as_of=cut, config=config)
    at = day_number(cut)
    bought = transactions.filter(
        (nw.col("day") >= at)
        & (nw.col("day") < at + config.horizon_days)
        & (nw.col("amount") > 0)
        & ~config.failed
    )
    stayed = bought.group_by("customer_id").agg(nw.len().alias("rows"))
    joined = features.join(stayed, on="customer_id", how="left")
    return joined.with_columns(
        nw.when(nw.col("rows").is_null()).then(nw.lit(1.0)).otherwise(nw.lit(0.0)).alias(_CHURNED)
    ).drop("rows")


def fit(rows: Table, *, cut: date, config: ChurnModelConfig) -> ChurnModel:
    """Learn from labelled customers.

    Raises:
        NotEnoughCustomers: Too few customers, or too few of those who stay or go.
        ModelDidNotConverge: The data do not tell the parameters.
    """
    names = [feature.name for feature in config.available]
    matrix = sample(rows, [*names, _CHURNED], config.sample_size)
    raw, churned = matrix[:, :-1], matrix[:, -1] == 1
    gone, needed = int(churned.sum()), config.min_customers
    after = f"in the {config.horizon_days} days after {cut}"
    for what, found, least in (
        (f"customers who bought in the {config.history_days} days before {cut}", len(raw), needed),
        (f"customers who did not buy again {after}", gone, needed // 10),
        (f"customers who bought again {after}", len(raw) - gone, needed // 10),
    ):
        if found < least:
            raise NotEnoughCustomers(what=what, found=found, needed=least, key="min_customers")
    logs = np.array([feature.log for feature in config.available])
    values = np.where(logs, np.sign(raw) * np.log1p(np.abs(raw)), raw)
    kept = np.flatnonzero(values.std(axis=0) > 1e-12)  # noqa: PLR2004  rounding
    mean, scale = values[:, kept].mean(axis=0), values[:, kept].std(axis=0)
    z = (values[:, kept] - mean) / scale
    intercept, factors = _logistic(z, churned)
    return ChurnModel(
        features=tuple(names[position] for position in kept),
        logs=tuple(bool(logs[position]) for position in kept),
        mean=tuple(map(float, mean)),
        scale=tuple(map(float, scale)),
        intercept=intercept,
        factors=tuple(factors),
        cut=cut,
        horizon_days=config.horizon_days,
        customers=len(raw),
        churned=gone,
    )


def _logistic(design: Floats, churned: Flags) -> tuple[float, list[float]]:
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression
    from threadpoolctl import threadpool_limits

    settings: dict[str, Any] = {"C": 1.0, "tol": 1e-8, "max_iter": 2_000}
    with threadpool_limits(limits=1), warnings.catch_warnings():
        warnings.simplefilter("error", ConvergenceWarning)
        try:
            found = LogisticRegression(**settings).fit(design, churned)
        except ConvergenceWarning as error:
            raise ModelDidNotConverge(model="The churn model", reason=str(error)) from error
    factors = np.round(found.coef_[0], 12)
    return float(np.round(found.intercept_[0], 12)), [float(one) for one in factors]


def churn_probability(model: ChurnModel) -> nw.Expr:
    """The probability (Float64, 0..1, six decimals) of rows with the model's features."""
    total = nw.lit(model.intercept)
    parts = zip(model.features, model.logs, model.mean, model.scale, model.factors, strict=True)
    for name, log, mean, scale, factor in parts:
        total = total + (transformed(name, log=log) - mean) * (factor / scale)
    # Beyond 700 the exponential leaves the range of floats.
    bounded = nw.min_horizontal(nw.max_horizontal(total, nw.lit(-700.0)), nw.lit(700.0))
    return (1.0 / (1.0 + (-bounded).exp())).round(DIGITS)


def _judgement(
    model: ChurnModel, transactions: Table, rows: Table, *, cut: date, config: ChurnModelConfig
) -> Judgement:
    customers = customer_rfm(
        transactions, as_of=cut, config=RfmConfig(analysis_period_days=config.history_days)
    )
    scored = score(
        customers,
        cut_points(customers, scale=5),
        config=ScoringConfig(),
    ).select("customer_id", "RFM_score")
    asked = rows.select("customer_id", "recency_days", _CHURNED, predicted=churn_probability(model))
    found = asked.join(scored, on="customer_id", how="inner").sort("customer_id")
    columns = found.collect("pyarrow")
    predicted, recency, rfm, churned = (
        columns.get_column(name).to_numpy().astype(np.float64)
        for name in ("predicted", "recency_days", "RFM_score", _CHURNED)
    )
    happened = churned == 1
    scores = {MODEL: predicted, RECENCY: recency, RFM: -rfm}
    resampled = Resampled(scores, happened, resamples=config.resamples)
    return Judgement(
        learned=model.cut,
        cut=cut,
        customers=len(happened),
        churned=int(happened.sum()),
        aucs={name: resampled.auc(name) for name in scores},
        gains={name: resampled.gain(MODEL, over=name) for name in (RECENCY, RFM)},
        bins=calibration(predicted, happened),
    )
