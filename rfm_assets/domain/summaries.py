"""One snapshot in figures by segment: size, value, means, hours, tiers.

How segments come about does not belong here (`segments.py`), nor who moved (`history.py`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date
from typing import Literal, TypeAlias

import narwhals as nw
from narwhals.typing import IntoDType
from pydantic import Field

from rfm_assets.domain.config import ConfigModel
from rfm_assets.domain.distribution import NO_SEGMENT, customers_by_segment
from rfm_assets.domain.frames import Table
from rfm_assets.domain.money import money_of, to_units
from rfm_assets.domain.schemes import Scheme

Industry: TypeAlias = Literal["ecommerce", "saas", "retail"]

Benchmark: TypeAlias = Mapping[str, tuple[float, float]]
"""Typical share of customers, low and high in per cent, by segment name."""


class LoyaltyTiers(ConfigModel):
    """Which loyalty tier each segment maps to."""

    segments: dict[str, str] = Field(
        default={}, description="Tier by segment; segments by id, name or alias."
    )
    default: str | None = Field(default=None, description="Tier of the segments not named.")


class SummaryConfig(ConfigModel):
    """What is shown beside the sizes of the segments."""

    success_hours: float | None = Field(
        default=None,
        ge=0,
        le=100_000,
        description="Customer-success time to divide among the segments by value, in hours a week.",
    )
    loyalty_tiers: LoyaltyTiers | None = Field(
        default=None, description="Loyalty tier of each segment, with a default for the others."
    )
    industry: Industry | None = Field(
        default=None,
        description="Whose typical shares to show beside the observed: ecommerce, saas or retail.",
    )


def tiers_by_name(config: SummaryConfig, scheme: Scheme) -> dict[str, str | None]:
    """The loyalty tier of each segment of the scheme.

    Raises:
        UnknownSegment: `loyalty_tiers` names a segment that the scheme does not have.
    """
    tiers = config.loyalty_tiers or LoyaltyTiers()
    named = {
        scheme.segment_called(word, key=f"loyalty_tiers.segments.{word}").name: tier
        for word, tier in tiers.segments.items()
    }
    return {name: named.get(name, tiers.default) for name in scheme.names}


def segment_summary(
    current: Table,
    previous: Table | None,
    *,
    as_of: date,
    scheme: Scheme | None,
    config: SummaryConfig,
    benchmark: Benchmark | None = None,
) -> Table:
    """A row for every segment of the scheme, in its order, also for those without customers.

    Args:
        current: segment, recency, frequency and monetary of this snapshot.
        previous: segment of the snapshot before, or None where there is none.
        as_of: Date of this snapshot.
        scheme: The scheme that made `current`; None where it has scores only, which gives one
            row `(none)`.
        config: What else to show.
        benchmark: `library.benchmarks()[config.industry]`.

    Returns:
        The rows of `schemas.SegmentSummary`, on pyarrow whatever the engine: they are few.

    Raises:
        UnknownSegment: `loyalty_tiers` names a segment that the scheme does not have.
    """
    names = scheme.names if scheme else (NO_SEGMENT,)
    tiers = tiers_by_name(config, scheme) if scheme else {}
    sizes = _sizes(current)
    before = None if previous is None else customers_by_segment(previous)
    customers = [sizes.get(name, _EMPTY)["customers"] for name in names]
    units = [sizes.get(name, _EMPTY)["units"] for name in names]
    everybody, all_units = sum(customers), sum(units)
    hours = success_hours(units, config.success_hours)
    rows = [
        {
            "as_of": as_of,
            "segment": name,
            "customers": size,
            "customers_pct": 100 * size / everybody if everybody else 0.0,
            "monetary_total": money_of(total),
            "monetary_mean": money_of(total) / size if size else None,
            "monetary_pct": 100 * total / all_units if all_units > 0 else None,
            "recency_mean": sizes[name]["recency"] / size if size else None,
            "frequency_mean": sizes[name]["frequency"] / size if size else None,
            "customers_change": None if before is None else size - before.get(name, 0),
            "benchmark_low_pct": (benchmark or {}).get(name, (None, None))[0],
            "benchmark_high_pct": (benchmark or {}).get(name, (None, None))[1],
            "success_hours": hour,
            "loyalty_tier": tiers.get(name),
        }
        for name, size, total, hour in zip(names, customers, units, hours, strict=True)
    ]
    columns = {name: [row[name] for row in rows] for name in _TYPES}
    return nw.from_dict(columns, schema=_TYPES, backend="pyarrow").lazy()


def success_hours(units: Sequence[int], budget: float | None) -> Sequence[float | None]:
    """The weekly hours divided in proportion to positive value, in hundredths of an hour.

    What rounding leaves over goes to the largest remainders, so that the parts add up to the
    budget. Segments that cost more than they bring get none; without any value nobody does.
    """
    if budget is None:
        return [None] * len(units)
    values = [max(value, 0) for value in units]
    everything = sum(values)
    if everything == 0:
        return [0.0] * len(units)
    hundredths = round(budget * 100)
    shares = [divmod(hundredths * value, everything) for value in values]
    left = hundredths - sum(whole for whole, _ in shares)
    order = sorted(range(len(shares)), key=lambda i: (-shares[i][1], i))
    lucky = set(order[:left])
    return [(whole + (i in lucky)) / 100 for i, (whole, _) in enumerate(shares)]


_EMPTY = {"customers": 0, "units": 0, "recency": 0, "frequency": 0}

_TYPES: Mapping[str, IntoDType] = {
    "as_of": nw.Date,
    "segment": nw.String,
    "customers": nw.Int64,
    "customers_pct": nw.Float64,
    "monetary_total": nw.Float64,
    "monetary_mean": nw.Float64,
    "monetary_pct": nw.Float64,
    "recency_mean": nw.Float64,
    "frequency_mean": nw.Float64,
    "customers_change": nw.Int64,
    "benchmark_low_pct": nw.Float64,
    "benchmark_high_pct": nw.Float64,
    "success_hours": nw.Float64,
    "loyalty_tier": nw.String,
}


def _sizes(snapshot: Table) -> dict[str, dict[str, int]]:
    """Customers and whole-number sums by segment; sums of whole numbers are exact."""
    sums = ("units", "recency", "frequency")
    counted = (
        snapshot.select(
            nw.col("segment").fill_null(NO_SEGMENT),
            to_units(nw.col("monetary")).alias("units"),
            *[nw.col(name).cast(nw.Int64) for name in ("recency", "frequency")],
        )
        .group_by("segment")
        .agg(nw.len().alias("customers"), *[nw.col(name).sum() for name in sums])
        .collect("pyarrow")
    )
    columns = {name: counted.get_column(name).to_list() for name in ("customers", *sums)}
    return {
        segment: {name: int(values[row]) for name, values in columns.items()}
        for row, segment in enumerate(counted.get_column("segment").to_list())
    }
