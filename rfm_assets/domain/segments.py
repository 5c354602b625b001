"""Customer segments at a date: metrics, scores, cells, segments and recommendations together.

How each of these is computed does not belong here (`rfm.py`, `scoring.py`, `schemes.py`), nor
how segments change over time (`history.py`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from typing import Self

import narwhals as nw
from pydantic import Field, model_validator

from rfm_assets.domain.frames import Table
from rfm_assets.domain.rfm import (
    KEPT,
    CustomerRfm,
    RfmConfig,
    customer_activity,
    split_by_eligibility,
)
from rfm_assets.domain.schemes import ScaledRule, Scheme, Segment, SegmentBy
from rfm_assets.domain.scoring import CutPoints, ScoringConfig, cut_points, score
from rfm_assets.errors import (
    AttributesClash,
    CutPointsUnusable,
    DuplicateCustomers,
    InvalidConfig,
)

STORED_COLUMNS = (
    "customer_id",
    "recency",
    "frequency",
    "monetary",
    "R_score",
    "F_score",
    "M_score",
    "RFM_score",
    "rfm_cell",
    "segment",
    "recommendation",
    "previous_segment",
    "as_of",
    "last_purchase_date",
)
"""The columns of `schemas.CustomerSegments` in order, without the stamp of the component."""


class SegmentationConfig(RfmConfig, ScoringConfig):
    """Everything that decides on customers' segments; the keys are those of the YAML."""

    segment_by: SegmentBy = Field(
        default="cell",
        description="Whether the scheme reads the cell of the three scores (cell), or bands of "
        "the weighted RFM_score, so that the weights matter (score_bands).",
    )
    segment_scheme: str | dict[str, object] = Field(
        default="rfm_10",
        description="Segment scheme: rfm_10, rfm_11, the path of a YAML file, or the scheme "
        "itself as a mapping.",
    )
    use_predefined_segments: bool = Field(
        default=True,
        description="Name segments by the scheme; false leaves scores without names.",
    )
    include_recommendations: bool = Field(
        default=True, description="Store the scheme's recommendation with every customer."
    )
    calculate_segment_value: bool = Field(
        default=True,
        description="Show customers, total and mean monetary of each segment with the run.",
    )

    @model_validator(mode="after")
    def _scheme_named(self) -> Self:
        if self.segment_scheme in ("", {}):
            raise ValueError(
                "segment_scheme is empty. Name a scheme such as rfm_10, or write "
                "`use_predefined_segments: false`."
            )
        return self


@dataclass(frozen=True)
class Segmentation:
    """What a snapshot is made of.

    Attributes:
        table: One row per customer, `STORED_COLUMNS`, then refunded where refunds are kept
            separately, then the attributes. Lazy, in no particular order.
        excluded: customer_id, stage, reason of everybody seen before as_of who is not in `table`.
        cut_points: What the scores were made with.
        counts: customers_seen = customers_segmented + customers_excluded; customers excluded
            by reason (excluded_<reason>); money of the window in ten-thousandths, likewise
            monetary_units_seen = monetary_units_segmented + monetary_units_excluded.
    """

    table: Table
    excluded: Table
    cut_points: CutPoints
    counts: dict[str, int]


def segment(
    transactions: Table,
    *,
    as_of: date,
    config: SegmentationConfig,
    scheme: Scheme | None,
    checkpoint: Callable[[Table], Table],
    previous: Table | None = None,
    cut_points: CutPoints | None = None,
    attributes: Table | None = None,
) -> Segmentation:
    """Segments of all eligible customers at `as_of`.

    Args:
        transactions: Canonical transactions; rows at or after `as_of` are invisible.
        as_of: The date to describe.
        config: What the YAML says.
        scheme: The loaded scheme; None with `use_predefined_segments: false`.
        checkpoint: How the engine computes a table once and holds it (`Engine.checkpoint`).
        previous: customer_id and segment of the snapshot before, if there is one.
        cut_points: Those of an earlier snapshot, with `cut_points: {frozen_from: ...}`.
        attributes: Columns to append, one row per customer_id.

    Raises:
        InvalidConfig: No scheme although segments are wanted, or one without rules for
            `segment_by`.
        CutPointsUnusable: Frozen cut points are missing, on another scale, or empty.
        AttributesClash: An attribute has the name of a computed column or of another attribute;
            case does not tell names apart.
        DuplicateCustomers: `attributes` has a customer twice.
        AmountsTooLarge: The amounts of the window cannot be added up exactly.
    """
    names = _usable_scheme(scheme, config)
    activity = checkpoint(customer_activity(transactions, as_of=as_of, config=config))
    split = split_by_eligibility(activity, transactions, as_of=as_of, config=config)
    customers, excluded = split.customers, checkpoint(split.excluded)
    points = _points(customers, config, cut_points)
    scored = score(customers, points, config=config)
    named = scored.with_columns(
        **_segment_columns(names, config, scale=points.scale),
        as_of=nw.lit(as_of, dtype=nw.Date),
        last_purchase_date=_days_before(as_of, nw.col("recency")),
    )
    table = _with_previous(named, previous)
    columns = [*STORED_COLUMNS]
    if "refunded" in customers.collect_schema().names():
        columns.append("refunded")
    table = table.select(columns)
    if attributes is not None:
        table = _with_attributes(table, attributes)
    return Segmentation(
        table=table,
        excluded=excluded,
        cut_points=points,
        counts=_counts(split, excluded),
    )


def _usable_scheme(scheme: Scheme | None, config: SegmentationConfig) -> Scheme | None:
    if not config.use_predefined_segments:
        return None
    if scheme is None:
        raise InvalidConfig(
            key="segment_scheme",
            value=config.segment_scheme,
            reason="was not loaded although segments are wanted",
            fix="Load it with `load_scheme`, or set `use_predefined_segments: false`.",
        )
    if not scheme.reads(config.segment_by):
        wanted = "`score`" if config.segment_by == "score_bands" else "`r`, `f`, `m`"
        raise InvalidConfig(
            key="segment_by",
            value=config.segment_by,
            reason=f"does not fit scheme {scheme.id!r}, which has no such rules",
            fix=f"Add rules with {wanted} to the scheme, or set `segment_by` to the other way.",
        )
    return scheme


def _points(customers: Table, config: SegmentationConfig, frozen: CutPoints | None) -> CutPoints:
    if config.thresholds is not None:
        return CutPoints.from_thresholds(config.thresholds)
    if config.cut_points == "each_run":
        return cut_points(customers, scale=config.scale)
    frozen_from = config.cut_points.frozen_from.isoformat()
    if frozen is None:
        raise CutPointsUnusable(frozen_from=frozen_from, reason="were not found")
    if frozen.scale != config.scale:
        raise CutPointsUnusable(
            frozen_from=frozen_from,
            reason=f"make scores 1..{frozen.scale}, not 1..{config.scale}",
        )
    if not frozen.recency:
        raise CutPointsUnusable(
            frozen_from=frozen_from, reason="are empty, because no customer was active"
        )
    return frozen


def _segment_columns(
    scheme: Scheme | None, config: SegmentationConfig, *, scale: int
) -> dict[str, nw.Expr]:
    nothing = nw.lit(None, dtype=nw.String)
    if scheme is None:
        return {"segment": nothing, "recommendation": nothing}
    rules = scheme.rules_on(scale, config.segment_by)
    fallback = scheme.fallback_segment
    advice = _first_match(rules, fallback, lambda found: found.recommendation)
    return {
        "segment": _first_match(rules, fallback, lambda found: found.name),
        "recommendation": advice if config.include_recommendations else nothing,
    }


def _first_match(
    rules: Sequence[ScaledRule], fallback: Segment | None, text: Callable[[Segment], str | None]
) -> nw.Expr:
    """`text` of the first rule that matches: a chain of conditions, built from its end."""
    chosen = nw.lit(text(fallback) if fallback else None, dtype=nw.String)
    for rule in reversed(rules):
        then = nw.lit(text(rule.segment), dtype=nw.String)
        inside = [nw.col(column).is_between(*ends) for column, ends in rule.ranges.items()]
        chosen = nw.when(*inside).then(then).otherwise(chosen) if inside else then
    return chosen


def _days_before(as_of: date, days: nw.Expr) -> nw.Expr:
    midnight = nw.lit(datetime.combine(as_of, time.min))
    return (midnight - days.cast(nw.Int64) * timedelta(days=1)).cast(nw.Date)


def _with_previous(table: Table, previous: Table | None) -> Table:
    if previous is None:
        return table.with_columns(previous_segment=nw.lit(None, dtype=nw.String))
    before = previous.select("customer_id", nw.col("segment").alias("previous_segment"))
    return table.join(before, on="customer_id", how="left")


def _with_attributes(table: Table, attributes: Table) -> Table:
    columns = attributes.collect_schema().names()
    # Engines differ in whether case tells columns apart; DuckDB's does not.
    added = [name for name in columns if name != "customer_id"]
    taken = Counter(
        name.casefold() for name in [*table.collect_schema().names(), "segmented_at", *added]
    )
    clashes = [name for name in added if taken[name.casefold()] > 1]
    if clashes:
        raise AttributesClash(columns=clashes)
    repeated = (
        attributes.group_by("customer_id")
        .agg(nw.len().alias("rows"))
        .filter(nw.col("rows") > 1)
        .sort("customer_id")
        .head(1)
        .collect("pyarrow")
        .get_column("customer_id")
        .to_list()
    )
    if repeated:
        raise DuplicateCustomers(table="customer attributes", example=str(repeated[0]))
    return table.join(attributes, on="customer_id", how="left")


def _counts(split: CustomerRfm, excluded: Table) -> dict[str, int]:
    customers = _by_reason(excluded, nw.len())
    money = _by_reason(split.judged, nw.col("monetary_units").sum())
    everybody = _by_reason(split.judged, nw.len())
    segmented, left_out = everybody.pop(KEPT, 0), sum(customers.values())
    units, units_left_out = money.pop(KEPT, 0), sum(money.values())
    return {
        "customers_seen": segmented + left_out,
        "customers_segmented": segmented,
        "customers_excluded": left_out,
        **{f"excluded_{reason}": customers[reason] for reason in sorted(customers)},
        "monetary_units_seen": units + units_left_out,
        "monetary_units_segmented": units,
        "monetary_units_excluded": units_left_out,
    }


def _by_reason(table: Table, total: nw.Expr) -> dict[str, int]:
    counted = table.group_by("reason").agg(total.alias("total")).collect("pyarrow")
    reasons = counted.get_column("reason").to_list()
    totals = counted.get_column("total").to_list()
    return {reason: int(total) for reason, total in zip(reasons, totals, strict=True)}
