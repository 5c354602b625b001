"""Cut points and scores of recency, frequency and monetary.

What the three numbers mean does not belong here (`rfm.py`), nor what a combination of scores is
called (`schemes.py`). Nothing here sorts or ranks customers: cut points come from histograms.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import date
from fractions import Fraction
from itertools import accumulate, pairwise
from math import gcd, lcm
from typing import Annotated, Any, Literal, Self, TypeAlias, get_args

import narwhals as nw
from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from rfm_assets.domain.config import ConfigModel
from rfm_assets.domain.frames import Table
from rfm_assets.domain.money import MOST_MONEY, exact_ratio, money_of, units_of
from rfm_assets.errors import did_you_mean

ScoringMethod: TypeAlias = Literal["quintiles", "quartiles", "deciles", "bins", "custom"]

SCORING_METHODS: tuple[str, ...] = get_args(ScoringMethod)

BINS_OF_METHOD = {"quartiles": 4, "quintiles": 5, "deciles": 10}

MAX_BINS = 100

LARGEST_WEIGHT = 2**40
"""A score of `MAX_BINS` by three such weights stays far below 2**53."""

WIDEST_COMPACT_CELL = 9
"""Up to this scale a cell is three digits, `545`; beyond it has dashes, `10-5-4`."""

BANDS_PER_ROOT = 64
"""Fineness of the first histogram of money. The band of a value is its eighth root, so that 64
makes bands about 2 % wide at 100 and 1 % at 10,000 currency units."""


MoneyPoint: TypeAlias = Annotated[float, Field(ge=-MOST_MONEY, le=MOST_MONEY, allow_inf_nan=False)]


class Thresholds(ConfigModel):
    """Cut points of your own, ascending, each closed on the right.

    For `recency` the first bin is the best: [30, 90, 180, 365] gives the highest score up to 30
    days and the lowest beyond 365. For `frequency` and `monetary` the first bin is the worst.
    """

    recency: list[Annotated[int, Field(ge=0, le=1_000_000)]] = Field(
        description="Ascending cut points in days; up to and including the first is the best score."
    )
    frequency: list[Annotated[int, Field(ge=0, le=1_000_000_000)]] = Field(
        description="Ascending cut points in purchases; up to and including the first is score 1."
    )
    monetary: list[MoneyPoint] = Field(
        description="Ascending cut points in money; up to and including the first is score 1."
    )

    @field_validator("recency", "frequency", "monetary")
    @classmethod
    def _ascending(cls, values: list[float]) -> list[float]:
        if not 1 <= len(values) < MAX_BINS:
            raise ValueError(f"needs 1 to {MAX_BINS - 1} cut points, has {len(values)}.")
        for before, after in pairwise(values):
            if not before < after:
                fix = sorted(set(values))
                raise ValueError(f"{after} follows {before}: write them ascending, as {fix}.")
        return values

    @model_validator(mode="after")
    def _one_scale(self) -> Self:
        lengths = {name: len(getattr(self, name)) for name in ("recency", "frequency", "monetary")}
        if len(set(lengths.values())) > 1:
            shown = ", ".join(f"{name} {length}" for name, length in lengths.items())
            raise ValueError(
                f"thresholds give scales of different length ({shown} cut points). "
                "Give each the same number, so that the three scores share one scale."
            )
        return self


class FrozenCutPoints(ConfigModel):
    """Cut points taken from an earlier snapshot."""

    frozen_from: date = Field(
        description="Date (as_of) of the stored snapshot whose cut points are used again."
    )


class ScoringConfig(ConfigModel):
    """How values become scores 1..n, and how the three scores are weighed."""

    scoring_method: ScoringMethod = Field(
        default="quintiles",
        description="Where the cut points come from: quintiles, quartiles, deciles, any number "
        "of equal shares (bins), or thresholds of your own (custom).",
    )
    bins: int | None = Field(
        default=None,
        ge=2,
        le=MAX_BINS,
        description="Number of scores; only with scoring_method: bins.",
    )
    thresholds: Thresholds | None = Field(
        default=None,
        description="Cut points of your own, in days, purchases and money; only with "
        "scoring_method: custom.",
    )
    recency_weight: float = Field(
        default=1.0, ge=0, le=1e6, description="Weight of R_score in RFM_score, relative."
    )
    frequency_weight: float = Field(
        default=1.0, ge=0, le=1e6, description="Weight of F_score in RFM_score, relative."
    )
    monetary_weight: float = Field(
        default=1.0, ge=0, le=1e6, description="Weight of M_score in RFM_score, relative."
    )
    cut_points: Literal["each_run"] | FrozenCutPoints = Field(
        default="each_run",
        description="Compute the cut points at each run, or hold those of the snapshot of one "
        "date still: {frozen_from: 2024-01-01}.",
    )

    @field_validator("scoring_method", mode="before")
    @classmethod
    def _known_method(cls, value: object) -> object:
        if isinstance(value, str) and value not in SCORING_METHODS:
            raise ValueError(
                f"{value!r} is not a scoring method. {did_you_mean(value, SCORING_METHODS)}"
            )
        return value

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        method = self.scoring_method
        if self.recency_weight + self.frequency_weight + self.monetary_weight == 0:
            raise ValueError(
                "recency_weight, frequency_weight and monetary_weight are all 0, which leaves no "
                "RFM_score. Give at least one a positive weight, or leave them out for 1/1/1."
            )
        if method == "bins" and self.bins is None:
            raise ValueError("scoring_method: bins needs `bins`. Add for example `bins: 6`.")
        if method != "bins" and self.bins is not None:
            raise ValueError(
                f"bins: {self.bins} has no effect with scoring_method: {method}. "
                "Write `scoring_method: bins`, or take `bins` away."
            )
        if method == "custom" and self.thresholds is None:
            raise ValueError(
                "scoring_method: custom needs `thresholds`. Add ascending cut points for "
                "recency, frequency and monetary."
            )
        if method != "custom" and self.thresholds is not None:
            raise ValueError(
                f"thresholds have no effect with scoring_method: {method}. "
                "Write `scoring_method: custom`, or take `thresholds` away."
            )
        if method == "custom" and isinstance(self.cut_points, FrozenCutPoints):
            raise ValueError(
                "cut_points: frozen_from has no effect with scoring_method: custom, whose "
                "thresholds stand still anyway. Take `cut_points` away."
            )
        return self

    @property
    def scale(self) -> int:
        """The highest score."""
        if self.thresholds is not None:
            return len(self.thresholds.recency) + 1
        return self.bins if self.bins is not None else BINS_OF_METHOD[self.scoring_method]


class CutPoints(BaseModel):
    """Ascending cut points per dimension, each closed on the right; published with a snapshot.

    A cut point may occur several times where many customers share a value; the scores between
    are then empty. Without customers there are none at all.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    scale: int = Field(ge=2, le=MAX_BINS, description="The highest score.")
    recency: tuple[int, ...] = Field(description="Days.")
    frequency: tuple[int, ...] = Field(description="Purchases.")
    monetary_units: tuple[int, ...] = Field(description="Money in whole ten-thousandths.")

    @property
    def monetary(self) -> tuple[float, ...]:
        """The cut points of money in currency units."""
        return tuple(money_of(units) for units in self.monetary_units)

    @classmethod
    def from_thresholds(cls, thresholds: Thresholds) -> CutPoints:
        """The cut points that a configuration declares."""
        return cls(
            scale=len(thresholds.recency) + 1,
            recency=tuple(thresholds.recency),
            frequency=tuple(thresholds.frequency),
            monetary_units=tuple(units_of(value) for value in thresholds.monetary),
        )


def cut_points(customers: Table, *, scale: int) -> CutPoints:
    """The k/scale quantiles of recency, frequency and monetary, for k = 1 .. scale-1.

    Each is the inverse of the empirical distribution: the smallest value that occurs with at
    least k/scale of the customers at or below it. Customers without a purchase in the window do
    not count: they score lowest whatever the cut points are.

    Args:
        customers: `rfm.customer_rfm`'s table, computed (it is read four times).
        scale: Number of scores.
    """
    active = customers.filter(nw.col("frequency") > 0)

    def ranks(customers: int) -> list[int]:
        # In whole numbers, ceil(customers * k / scale): a float may fall beside its value.
        return [-(-customers * k // scale) for k in range(1, scale)]

    money = quantiles(active, "monetary_units", ranks, many=True)
    return CutPoints(
        scale=scale,
        recency=tuple(int(value) for value in quantiles(active, "recency", ranks)),
        frequency=tuple(int(value) for value in quantiles(active, "frequency", ranks)),
        monetary_units=tuple(int(value) for value in money),
    )


def score(customers: Table, points: CutPoints, *, config: ScoringConfig) -> Table:
    """Add R_score, F_score, M_score (Int8), RFM_score (Float64) and rfm_cell (String).

    A score is 1 + the number of cut points strictly below the value, for recency the highest
    score less that number. So equal values always have equal scores.
    """
    bought = nw.col("frequency") > 0
    top = points.scale
    scored = customers.with_columns(
        _lowest_unless(bought, top - _cuts_below("recency", points.recency)).alias("R_score"),
        _lowest_unless(bought, 1 + _cuts_below("frequency", points.frequency)).alias("F_score"),
        _lowest_unless(bought, 1 + _cuts_below("monetary_units", points.monetary_units)).alias(
            "M_score"
        ),
    )
    cell = [nw.col(name).cast(nw.String) for name in ("R_score", "F_score", "M_score")]
    return scored.with_columns(
        _weighted_mean(config).alias("RFM_score"),
        nw.concat_str(*cell, separator=cell_separator(top)).alias("rfm_cell"),
    )


def cell_separator(scale: int) -> str:
    """What stands between the three scores of a cell on this scale."""
    return "" if scale <= WIDEST_COMPACT_CELL else "-"


def _lowest_unless(bought: nw.Expr, value: nw.Expr) -> nw.Expr:
    return nw.when(bought).then(value).otherwise(nw.lit(1)).cast(nw.Int8)


def _cuts_below(column: str, points: tuple[int, ...]) -> nw.Expr:
    """How many of the cut points lie strictly below the value of `column`."""
    below = nw.lit(0, dtype=nw.Int32)
    for point, times in Counter(points).items():
        above = nw.col(column) > point
        below = below + nw.when(above).then(nw.lit(times)).otherwise(nw.lit(0))
    return below


def _weighted_mean(config: ScoringConfig) -> nw.Expr:
    # Whole numbers below 2**53 add up exactly in floats, so that the one division is all that is
    # rounded: three scores of 4 have a mean of exactly 4 whatever the weights.
    weights = _whole_weights(config.recency_weight, config.frequency_weight, config.monetary_weight)
    r, f, m = (nw.col(name).cast(nw.Float64) for name in ("R_score", "F_score", "M_score"))
    return exact_ratio(r * weights[0] + f * weights[1] + m * weights[2], sum(weights))


def _whole_weights(*weights: float) -> list[float]:
    """Whole numbers in the proportions of `weights` as they are written: 0.6, 0.3, 0.1 are 6, 3, 1.

    Proportions that need larger numbers than `LARGEST_WEIGHT` are rounded to that fineness.
    """
    written = [Fraction(str(weight)) for weight in weights]
    unit = Fraction(
        gcd(*(part.numerator for part in written)), lcm(*(part.denominator for part in written))
    )
    whole = [part / unit for part in written]
    if max(whole) > LARGEST_WEIGHT:
        whole = [part * LARGEST_WEIGHT / max(whole) for part in whole]
    return [float(round(part)) for part in whole]


def quantiles(
    customers: Table, column: str, ranks: Callable[[int], Sequence[int]], *, many: bool = False
) -> tuple[float, ...]:
    """The values of a column that stand at these ranks, from 1, among all customers ascending.

    Args:
        customers: Computed; it is read once, or twice where values are `many`.
        column: Whole numbers, or any where they are not many.
        ranks: From the number of customers, ascending.
        many: Whether nearly every customer has a value of her own, as with money. Then a histogram
            of coarse bands comes first, and exact values only in the few that hold a rank.
    """
    if not many:
        return tuple(value for (value,) in _at_ranks(_histogram(customers, column), ranks))
    value = nw.col(column)
    root = value.cast(nw.Float64).abs().sqrt().sqrt().sqrt()
    # Square roots are correctly rounded, so bands ascend with the value on every engine.
    band = (root * BANDS_PER_ROOT).floor().cast(nw.Int64)
    banded = customers.select(value, nw.when(value < 0).then(-band).otherwise(band).alias("band"))
    coarse = _histogram(banded, "band")
    wanted = {key for key, *_ in _at_ranks(coarse, ranks)}
    exact = _histogram(banded.filter(nw.col("band").is_in(sorted(wanted))), "band", column)
    # Of a band without a rank only the number of customers matters, not their values.
    others = [((key, 0), count) for (key, *_), count in coarse if key not in wanted]
    return tuple(value for _, value in _at_ranks(sorted([*exact, *others]), ranks))


def _histogram(customers: Table, *columns: str) -> list[tuple[tuple[Any, ...], int]]:
    """(values of the columns, number of customers), ascending."""
    counted = customers.group_by(*columns).agg(nw.len().alias("customers")).collect("pyarrow")
    keys = zip(*(counted.get_column(name).to_list() for name in columns), strict=True)
    return sorted(zip(keys, counted.get_column("customers").to_list(), strict=True))


def _at_ranks(
    histogram: list[tuple[tuple[Any, ...], int]], ranks: Callable[[int], Sequence[int]]
) -> list[tuple[Any, ...]]:
    if not histogram:
        return []
    seen = list(accumulate(count for _, count in histogram))
    return [histogram[bisect_left(seen, rank)][0] for rank in ranks(seen[-1])]
