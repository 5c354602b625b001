"""Segments that know about churn: categories, risk levels, the segment score, the decision.

Where the probabilities come from does not belong here (`churn_model.py`, `churn_scores.py`), nor
which combination is called what (`churn_tables.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date
from typing import Literal, Self

import narwhals as nw
from pydantic import BaseModel, ConfigDict, Field, model_validator

from rfm_assets.domain.churn_tables import Decision, DecisionTable, RiskLevel
from rfm_assets.domain.config import ConfigModel
from rfm_assets.domain.frames import UNITS_PER_MONEY, Table, kinds_of
from rfm_assets.domain.money import to_units
from rfm_assets.domain.rfm import WEEK_DAYS, day_number
from rfm_assets.domain.scoring import quantiles
from rfm_assets.errors import ColumnMissing, InvalidConfig

NO_SCORE = "no_churn_score"
EXCLUSION_REASONS = {NO_SCORE: "In the segments, but without a churn score"}
STAGE = "churn"

Dimension = Literal["R", "F", "M", "E"]
DIMENSIONS: tuple[Dimension, ...] = ("R", "F", "M", "E")
RULE_COLUMNS = {"r": "R_category", "f": "F_category", "m": "M_category", "e": "E_category"}

STORED_COLUMNS = (
    "customer_id", "organization_id", "segment", "segment_score", "R_category", "F_category",
    "M_category", "E_category", "engagement", "churn_probability", "churn_risk_level",
    "recommendation", "previous_segment", "as_of",
)  # fmt: skip


class RiskThresholds(ConfigModel):
    """From which probability on a churn risk has a level; below all of them it is Low."""

    medium: float = Field(default=0.3, gt=0, lt=1, description="From here on the risk is Medium.")
    high: float = Field(default=0.5, gt=0, lt=1, description="From here on it is High.")
    critical: float = Field(default=0.7, gt=0, lt=1, description="From here on it is Critical.")

    @model_validator(mode="after")
    def _ascending(self) -> Self:
        if not self.medium < self.high < self.critical:
            given = f"{self.medium:g}, {self.high:g}, {self.critical:g}"
            raise ValueError(f"medium, high and critical are {given}. Write them ascending.")
        return self

    def level(self, probability: nw.Expr) -> nw.Expr:
        """Low, Medium, High or Critical."""
        found = nw.when(probability < self.critical).then(nw.lit("High"))
        found = found.otherwise(nw.lit("Critical"))
        found = nw.when(probability < self.high).then(nw.lit("Medium")).otherwise(found)
        return nw.when(probability < self.medium).then(nw.lit("Low")).otherwise(found)


class ChurnSegmentConfig(ConfigModel):
    """How categories, the score and the segment are made."""

    organization_id: str = Field(
        default="default",
        min_length=1,
        max_length=100,
        pattern=r"^[\w.-]+$",
        description="The organisation whose customers these are.",
    )
    decision_table: str | dict[str, object] = Field(
        default="churn_11",
        description="Which combination of categories and risk is which segment: churn_11, the path "
        "of a YAML file, or the table itself as a mapping.",
    )
    low_below_pct: int = Field(
        default=30,
        ge=1,
        le=99,
        description="A value is Low where fewer than so many per cent of the customers have a "
        "lower one.",
    )
    high_above_pct: int = Field(
        default=70,
        ge=1,
        le=99,
        description="A value is High where more than so many per cent of the customers have a "
        "lower one.",
    )
    risk_thresholds: RiskThresholds = Field(
        default=RiskThresholds(), description="From which probability on a risk has which level."
    )
    engagement_days: int = Field(
        default=365,
        ge=7,
        le=36_500,
        description="Engagement is the share of the weeks in so many days before as_of with a "
        "purchase; without effect where `engagement_column` is given.",
    )
    engagement_column: str | None = Field(
        default=None,
        description="Number in the segments' table that says how engaged a customer is, high is "
        "much, such as a carried attribute.",
    )
    rfm_share_pct: int = Field(
        default=70,
        ge=0,
        le=100,
        description="Per cent of segment_score that come from RFM_score; the others come from "
        "1 - churn probability.",
    )

    @model_validator(mode="after")
    def _some_are_medium(self) -> Self:
        if self.low_below_pct > self.high_above_pct:
            raise ValueError(
                f"low_below_pct: {self.low_below_pct} is above high_above_pct: "
                f"{self.high_above_pct}. Make it at most as large."
            )
        return self


class CategoryCuts(BaseModel):
    """The values that part Low, Medium and High.

    A value is Low up to and including the first, High above the second. Recency counts as its
    negative, money in ten-thousandths.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    cuts: dict[Dimension, tuple[float, float]]

    def category(self, dimension: Dimension, value: nw.Expr) -> nw.Expr:
        """Low, Medium or High."""
        low, high = self.cuts[dimension]
        upper = nw.when(value > high).then(nw.lit("High")).otherwise(nw.lit("Medium"))
        return nw.when(value <= low).then(nw.lit("Low")).otherwise(upper)

    def as_read(self) -> dict[Dimension, tuple[float, float]]:
        """The same for readers: recency in days, of which Low has more, and money as money."""
        cuts = dict(self.cuts)
        cuts["R"] = (-cuts["R"][0], -cuts["R"][1])
        cuts["M"] = (cuts["M"][0] / UNITS_PER_MONEY, cuts["M"][1] / UNITS_PER_MONEY)
        return cuts


@dataclass(frozen=True)
class ChurnSegments:
    """What a snapshot is made of.

    Attributes:
        table: `STORED_COLUMNS`, one row per customer with a churn score.
        excluded: customer_id, stage, reason of those in the segments without one.
        cuts: What the categories were made with; None without customers.
    """

    table: Table
    excluded: Table
    cuts: CategoryCuts | None


@dataclass(frozen=True)
class SegmentRisk:
    """A segment's customers, their share of all, and how many have which level of risk."""

    segment: str
    customers: int
    customers_pct: float
    by_level: Mapping[RiskLevel, int]


def risk_by_segment(rows: Table, table: DecisionTable) -> list[SegmentRisk]:
    """Every segment of the table in the order shown; levels that do not occur are left out."""
    counted = (
        rows.group_by("segment", "churn_risk_level")
        .agg(nw.len().alias("customers"))
        .collect("pyarrow")
    )
    found: dict[str, dict[RiskLevel, int]] = {name: {} for name in table.names}
    columns = (counted.get_column(n) for n in ("segment", "churn_risk_level", "customers"))
    for segment, level, customers in zip(*(one.to_list() for one in columns), strict=True):
        found[segment][level] = int(customers)
    sizes = {name: sum(levels.values()) for name, levels in found.items()}
    total = sum(sizes.values())
    return [
        SegmentRisk(name, n, 100 * n / total if total else 0.0, found[name])
        for name, n in sizes.items()
    ]


def engagement(transactions: Table, *, as_of: date, days: int) -> Table:
    """customer_id and the weeks (Int64) with a purchase in the days before `as_of`.

    Weeks are counted back from `as_of`, so that they are whole; those of an incomplete last one
    count, too.
    """
    end = day_number(as_of)
    bought = transactions.filter(
        (nw.col("amount") > 0) & (nw.col("day") >= end - days) & (nw.col("day") < end)
    )
    weeks = bought.select("customer_id", week=(nw.lit(end - 1) - nw.col("day")) // WEEK_DAYS)
    each = weeks.group_by("customer_id", "week").agg(nw.len().alias("rows"))
    counted = each.group_by("customer_id").agg(nw.len().alias("weeks"))
    return counted.with_columns(nw.col("weeks").cast(nw.Int64))


def churn_segments(
    customers: Table,
    scores: Table,
    *,
    as_of: date,
    scale: int,
    table: DecisionTable,
    config: ChurnSegmentConfig,
    checkpoint: Callable[[Table], Table],
    transactions: Table | None = None,
    previous: Table | None = None,
) -> ChurnSegments:
    """The segment of every customer with a churn score.

    Args:
        customers: A snapshot of `customer_segments`.
        scores: customer_id and churn_probability.
        as_of: The date to describe.
        scale: The highest R_score, F_score and M_score.
        table: Proven to decide every combination.
        config: What the YAML says.
        checkpoint: How the engine computes a table once and holds it.
        transactions: For engagement, where no column says it.
        previous: customer_id and segment of the snapshot before.

    Raises:
        ColumnMissing: `engagement_column` is not in the segments.
    """
    values = checkpoint(_values(customers, transactions, as_of=as_of, config=config))
    cuts = _cuts(values, config)
    joined = values.join(
        scores.select("customer_id", "churn_probability"), on="customer_id", how="left"
    )
    without = nw.col("churn_probability").is_null()
    known = joined.filter(~without)
    if cuts is not None:
        known = known.with_columns(
            **{f"{d}_category": cuts.category(d, nw.col(f"{d}_value")) for d in DIMENSIONS}
        )
    else:
        known = known.with_columns(**{f"{d}_category": nw.lit("Medium") for d in DIMENSIONS})
    risk = config.risk_thresholds.level(nw.col("churn_probability"))
    known = known.with_columns(churn_risk_level=risk)
    named = known.with_columns(
        organization_id=nw.lit(config.organization_id),
        segment_score=_score(scale, config),
        as_of=nw.lit(as_of, dtype=nw.Date),
        **_decided(table),
    )
    if previous is None:
        named = named.with_columns(previous_segment=nw.lit(None, dtype=nw.String))
    else:
        before = previous.select("customer_id", previous_segment="segment")
        named = named.join(before, on="customer_id", how="left")
    return ChurnSegments(
        table=named.select(*STORED_COLUMNS),
        excluded=joined.filter(without).select(
            "customer_id", stage=nw.lit(STAGE), reason=nw.lit(NO_SCORE)
        ),
        cuts=cuts,
    )


def _values(
    customers: Table, transactions: Table | None, *, as_of: date, config: ChurnSegmentConfig
) -> Table:
    """One number per dimension, high is good: what percentiles are made of."""
    rows = customers.with_columns(
        R_value=-nw.col("recency").cast(nw.Int64),
        F_value=nw.col("frequency").cast(nw.Int64),
        M_value=to_units(nw.col("monetary")),
    )
    if config.engagement_column is not None:
        names = customers.collect_schema().names()
        if config.engagement_column not in names:
            raise ColumnMissing(
                column=config.engagement_column,
                table="customer_segments",
                available=names,
                key="engagement_column",
            )
        kind = kinds_of(customers).get(config.engagement_column)
        if kind != "number":
            raise InvalidConfig(
                key="engagement_column",
                value=config.engagement_column,
                reason=f"is a {kind or 'column of another kind'}, not a number",
                fix="Name a column with numbers, high is much.",
            )
        number = nw.col(config.engagement_column).cast(nw.Float64).fill_null(0.0)
        rows = rows.with_columns(E_value=number, engagement=number)
    elif transactions is not None:
        weeks = engagement(transactions, as_of=as_of, days=config.engagement_days)
        whole = float(-(-config.engagement_days // WEEK_DAYS))
        rows = rows.join(weeks, on="customer_id", how="left").with_columns(
            E_value=nw.col("weeks").fill_null(0).cast(nw.Int64)
        )
        rows = rows.with_columns(
            engagement=nw.col("E_value").cast(nw.Float64)
            / (nw.col("E_value").cast(nw.Float64) * 0.0 + whole)
        )
    return rows.select(
        "customer_id",
        "RFM_score",
        "engagement",
        *[f"{dimension}_value" for dimension in DIMENSIONS],
    )


def _cuts(values: Table, config: ChurnSegmentConfig) -> CategoryCuts | None:
    def ranks(customers: int) -> list[int]:
        low = -(-customers * config.low_below_pct // 100)
        return [low, customers * config.high_above_pct // 100 + 1]

    cuts: dict[Dimension, tuple[float, float]] = {}
    for dimension in DIMENSIONS:
        found = quantiles(values, f"{dimension}_value", ranks, many=dimension == "M")
        if not found:
            return None
        cuts[dimension] = (float(found[0]), float(found[1]))
    return CategoryCuts(cuts=cuts)


def _score(scale: int, config: ChurnSegmentConfig) -> nw.Expr:
    """0..100 with two decimals."""
    rfm = (nw.col("RFM_score") - 1.0) * (1.0 / (scale - 1))
    share = config.rfm_share_pct
    stays = 1.0 - nw.col("churn_probability")
    hundredths = (rfm * (100.0 * share) + stays * (100.0 * (100 - share)) + 0.5).floor()
    return hundredths / (hundredths * 0.0 + 100.0)


def _decided(table: DecisionTable) -> Mapping[str, nw.Expr]:
    """The segment and its recommendation: the first rule that matches."""
    segment: nw.Expr = nw.lit(None, dtype=nw.String)
    recommendation: nw.Expr = nw.lit(None, dtype=nw.String)
    for found, rule in reversed(list(table.decisions())):
        condition = nw.lit(value=True) if rule is None else _condition(rule)
        advice = nw.lit(found.recommendation, dtype=nw.String)
        segment = nw.when(condition).then(nw.lit(found.name)).otherwise(segment)
        recommendation = nw.when(condition).then(advice).otherwise(recommendation)
    return {"segment": segment, "recommendation": recommendation}


def _condition(rule: Decision) -> nw.Expr:
    parts = [
        nw.col(column).is_in(list(allowed))
        for column, allowed in [
            *((name, getattr(rule, key)) for key, name in RULE_COLUMNS.items()),
            ("churn_risk_level", rule.risk),
        ]
        if allowed is not None
    ]
    whole = nw.lit(value=True)
    for part in parts:
        whole = whole & part
    return whole
