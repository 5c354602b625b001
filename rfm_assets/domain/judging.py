"""How well numbers that were known before tell what happened after: AUC, lift, calibration.

What the numbers are does not belong here. Customers are resampled by a fixed seed, in the order
in which they are given; give them sorted, and the same data give the same intervals.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]

TAILS_PCT = (2.5, 97.5)
"""Intervals hold 95 of a hundred resamples."""


@dataclass(frozen=True)
class Interval:
    """A value, and where it lies in 95 of a hundred resamples of the same customers."""

    value: float
    low: float
    high: float

    @property
    def excludes_zero(self) -> bool:
        """Whether the value is not chance."""
        return self.low > 0 or self.high < 0


@dataclass(frozen=True)
class CalibrationBin:
    """Customers of about the same predicted probability, and what share of them did it."""

    customers: int
    predicted: float
    observed: float


class Ranking:
    """Customers in the order of one score, so that many resamples of them cost one pass each."""

    def __init__(self, scores: Floats, happened: Flags) -> None:
        self.order = np.argsort(scores, kind="stable")
        ordered = scores[self.order]
        self.happened = happened[self.order].astype(np.float64)
        self.starts = np.flatnonzero(np.r_[True, ordered[1:] != ordered[:-1]])

    def auc(self, weights: Floats) -> float:
        """The AUC where each customer counts so many times; ties count half. NaN without both."""
        drawn = weights[self.order]
        did = np.add.reduceat(drawn * self.happened, self.starts)
        did_not = np.add.reduceat(drawn * (1 - self.happened), self.starts)
        pairs = did.sum() * did_not.sum()
        below = np.cumsum(did_not) - did_not / 2
        return float((did * below).sum() / pairs) if pairs else float("nan")


class Resampled:
    """Scores against what happened, on the customers and on resamples of them.

    Args:
        scores: One number per customer and score; higher should mean more likely.
        happened: Whether it did, customer by customer. There must be both.
        resamples: Of the customers, with replacement; the same ones for every score.
    """

    def __init__(self, scores: Mapping[str, Floats], happened: Flags, *, resamples: int) -> None:
        rankings = {name: Ranking(values, happened) for name, values in scores.items()}
        n, made = len(happened), np.random.default_rng(0)
        drawn: dict[str, list[float]] = {name: [] for name in scores}
        for _ in range(resamples):
            weights = np.bincount(made.integers(0, n, n), minlength=n).astype(np.float64)
            for name, ranking in rankings.items():
                drawn[name].append(ranking.auc(weights))
        self._drawn = {name: np.array(values) for name, values in drawn.items()}
        self._aucs = {name: ranking.auc(np.ones(n)) for name, ranking in rankings.items()}

    def auc(self, name: str) -> Interval:
        """Probability that of two customers, one of whom did it, the score is higher for her."""
        return _interval(self._aucs[name], self._drawn[name])

    def gain(self, name: str, *, over: str) -> Interval:
        """The AUC of one score less that of another."""
        return _interval(self._aucs[name] - self._aucs[over], self._drawn[name] - self._drawn[over])


def _interval(value: float, resampled: Floats) -> Interval:
    low, high = np.nanpercentile(resampled, TAILS_PCT)
    return Interval(value, float(low), float(high))


def lift(scores: Floats, happened: Flags, *, share: float = 0.1) -> float:
    """The rate among the highest `share` over that of all.

    Of those who tie for the last place an average one is taken.
    """
    rate = happened.mean()
    if not rate:
        return float("nan")
    wanted = share * len(scores)
    values, place = np.unique(-scores, return_inverse=True)
    sizes = np.bincount(place, minlength=len(values)).astype(np.float64)
    did = np.bincount(place, weights=happened.astype(np.float64), minlength=len(values))
    before = np.cumsum(sizes) - sizes
    taken = np.clip(wanted - before, 0, sizes)
    return float((did * taken / sizes).sum() / wanted / rate)


def calibration(predicted: Floats, happened: Flags, *, bins: int = 10) -> list[CalibrationBin]:
    """Customers in bins of about equal size by their prediction; equal predictions stay together."""
    points = np.quantile(predicted, np.arange(1, bins) / bins, method="inverted_cdf")
    place = np.searchsorted(np.unique(points), predicted, side="left")
    return [
        CalibrationBin(int(own.sum()), float(predicted[own].mean()), float(happened[own].mean()))
        for own in (place == one for one in np.unique(place))
    ]


def calibration_error(bins: Sequence[CalibrationBin]) -> float:
    """Mean distance of predicted and observed rates, weighted by customers (0..1)."""
    customers = sum(one.customers for one in bins)
    return sum(one.customers * abs(one.predicted - one.observed) for one in bins) / customers
