"""How customers behave, by an industry profile: metrics, three-valued signals, trends, a score.

What a profile says does not belong here (`behavior_profiles.py`). A signal is fired, not fired,
or unknown, because there is too little history or the input is not mapped. Unknown is a word of
its own, so that nobody counts it as not fired.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date

import narwhals as nw
from pydantic import Field

from rfm_assets.domain.behavior_linter import FIGURE
from rfm_assets.domain.behavior_metrics import (
    Sources,
    metric_columns,
    population,
    unavailable_metrics,
)
from rfm_assets.domain.behavior_profiles import (
    BEFORE,
    COUNTED,
    HISTORY,
    STORED_COLUMNS,
    TREND_NAMES,
    URGENCIES,
    Profile,
    Signal,
    Trend,
    TrendName,
)
from rfm_assets.domain.config import ConfigModel
from rfm_assets.domain.expressions import parse
from rfm_assets.domain.frames import Table
from rfm_assets.domain.rfm import day_number

INCREASING, STABLE, DECLINING, UNKNOWN = "increasing", "stable", "declining", "unknown"
TRENDS = (INCREASING, STABLE, DECLINING, UNKNOWN)
FIRED, NOT_FIRED = "fired", "not_fired"
STATES = (FIRED, NOT_FIRED, UNKNOWN)
SIGNAL = "signal_"
"""Before a signal's name: its column."""

EXCLUSION_REASONS = {
    "value_out_of_range": "A number of the customer's rows is beyond what can be a number of its "
    "kind",
}
STAGE = "behavior"


class BehaviorConfig(ConfigModel):
    """Whose behaviour is described, and what the inputs are called."""

    organization_id: str = Field(
        default="default",
        min_length=1,
        max_length=100,
        pattern=r"^[\w.-]+$",
        description="The organisation whose customers these are.",
    )
    history_days: int = Field(
        default=365,
        ge=1,
        le=36_500,
        description="Customers with an event or a transaction in so many days before as_of are "
        "described.",
    )
    event_names: dict[str, str] = Field(
        default={},
        description="What events are called here, by the profile's name: `{login: user_login}`.",
    )
    event_columns: dict[str, str] = Field(
        default={},
        description="Columns of the events, by the profile's attribute, where they differ.",
    )
    transaction_columns: dict[str, str] = Field(
        default={},
        description="Columns of the transactions, by the profile's attribute, where they differ.",
    )


@dataclass(frozen=True)
class Behavior:
    """What a snapshot is made of.

    Attributes:
        table: `STORED_COLUMNS`, then `signal_<name>` (one of `STATES`) and every metric.
        signals: customer_id, signal, urgency, recommendation: one row per signal that fired.
        insights: One row per signal: `schemas.BehaviorInsights`.
        excluded: customer_id, stage, reason of those whose rows cannot be used.
        unavailable: Metrics that cannot be computed here, and why.
        counts: customers_seen, customers_described, customers_with_score, and customers by trend
            (`activity_trend/declining`).
        mean_score: Of those who have one; None where nobody has.
    """

    table: Table
    signals: Table
    insights: Table
    excluded: Table
    unavailable: Mapping[str, str]
    counts: Mapping[str, int]
    mean_score: float | None


def analyze_behavior(
    profile: Profile,
    *,
    events: Table | None,
    transactions: Table | None,
    as_of: date,
    config: BehaviorConfig,
    checkpoint: Callable[[Table], Table],
) -> Behavior:
    """The behaviour of everybody who was seen lately.

    Args:
        profile: One that the linter finds nothing wrong with.
        events: customer_id, day (Int32, as in transactions), event, attributes; None without.
        transactions: Canonical transactions; None without. Rows of neither count at or after
            `as_of`.
        as_of: The date to describe.
        config: What the YAML says.
        checkpoint: How the engine computes a table once and holds it.
    """
    end = day_number(as_of)
    sources = Sources.of(
        profile,
        events=events,
        transactions=transactions,
        end=end,
        event_names=config.event_names,
        columns={"events": config.event_columns, "transactions": config.transaction_columns},
    )
    missing = unavailable_metrics(profile, sources)
    seen = checkpoint(population(sources, end=end, since=end - config.history_days))
    measured = checkpoint(
        metric_columns(profile, sources, missing, seen=seen, end=end, checkpoint=checkpoint)
    )
    bad = nw.col("unusable_rows") > 0
    numbers = _numbers(profile, measured.filter(~bad), missing)
    judged = checkpoint(
        numbers.with_columns(
            **{f"{SIGNAL}{n}": _state(profile, one, missing) for n, one in profile.signals.items()},
            **_trend_columns(profile, missing),
        ).with_columns(behavior_score=_score(profile))
    )
    table = _table(judged, profile, missing, as_of=as_of, config=config)
    counted = _counted(judged, profile)
    return Behavior(
        table=table,
        signals=_fired(judged, profile, missing),
        insights=_insights(profile, counted, config),
        excluded=measured.filter(bad).select(
            "customer_id", stage=nw.lit(STAGE), reason=nw.lit("value_out_of_range")
        ),
        unavailable=missing,
        counts=_told(seen, counted),
        # From whole hundredths, because sums of floats depend on their order.
        mean_score=counted["score/hundredths"] / counted["score/known"] / 100
        if counted["score/known"]
        else None,
    )


def _numbers(profile: Profile, measured: Table, missing: Mapping[str, str]) -> Table:
    """Metrics as numbers, 0 where a measure counts and nothing was there to be counted."""
    filled = [
        nw.col(column).fill_null(0.0)
        for name, metric in profile.metrics.items()
        if name not in missing and metric.measure in COUNTED
        for column in (name, f"{name}{BEFORE}")
    ]
    return measured.with_columns(*filled) if filled else measured


def _state(profile: Profile, signal: Signal, missing: Mapping[str, str]) -> nw.Expr:
    """One of `STATES`."""
    numbers = profile.used(signal.when, signal.known_when)
    if any(number.removesuffix(BEFORE) in missing for number in numbers):
        return nw.lit(UNKNOWN)
    known = nw.col(HISTORY) >= profile.history_needed(numbers)
    for number in numbers:
        known = known & ~nw.col(number).is_null()
    if signal.known_when is not None:
        known = known & parse(signal.known_when).to_narwhals(profile.numbers)
    fired = parse(signal.when).to_narwhals(profile.numbers)
    state = nw.when(fired).then(nw.lit(FIRED)).otherwise(nw.lit(NOT_FIRED))
    return nw.when(known).then(state).otherwise(nw.lit(UNKNOWN))


def _trend_columns(profile: Profile, missing: Mapping[str, str]) -> dict[str, nw.Expr]:
    """`<name>_trend`, and `<name>_share`: of both windows together, what is in the last one."""
    found: dict[str, nw.Expr] = {}
    for name in TREND_NAMES:
        trend = profile.trends.get(name)
        if trend is None or trend.metric in missing:
            found[f"{name}_trend"] = nw.lit(UNKNOWN)
            found[f"{name}_share"] = nw.lit(None, dtype=nw.Float64)
        else:
            found |= _trend(profile, name, trend)
    return found


def _trend(profile: Profile, name: TrendName, trend: Trend) -> dict[str, nw.Expr]:
    now, before = nw.col(trend.metric), nw.col(f"{trend.metric}{BEFORE}")
    floor = nw.lit(0.0)
    both = nw.max_horizontal(now, floor) + nw.max_horizontal(before, floor)
    enough = nw.col(HISTORY) >= 2 * profile.days(trend.metric)
    known = enough & ~now.is_null() & ~before.is_null() & (both >= trend.least) & (both > 0)
    change = profile.stable_within
    direction = (
        nw.when(now > before * (1 + change))
        .then(nw.lit(INCREASING))
        .otherwise(
            nw.when(now < before * (1 - change)).then(nw.lit(DECLINING)).otherwise(nw.lit(STABLE))
        )
    )
    share = nw.max_horizontal(now, floor) / both
    return {
        f"{name}_trend": nw.when(known).then(direction).otherwise(nw.lit(UNKNOWN)),
        f"{name}_share": nw.when(known).then(share).otherwise(nw.lit(None, dtype=nw.Float64)),
    }


def _score(profile: Profile) -> nw.Expr:
    """0..100 with two decimals: 50 where both windows are alike; null where no trend is known."""
    total, weights = nw.lit(0.0), nw.lit(0.0)
    for name, trend in profile.trends.items():
        share = nw.col(f"{name}_share")
        total = total + share.fill_null(0.0) * trend.weight
        weights = weights + nw.when(share.is_null()).then(0.0).otherwise(trend.weight)
    hundredths = (total / weights * 10_000 + 0.5).floor()
    score = hundredths / (hundredths * 0.0 + 100.0)
    return nw.when(weights > 0).then(score).otherwise(nw.lit(None, dtype=nw.Float64))


def _table(
    judged: Table,
    profile: Profile,
    missing: Mapping[str, str],
    *,
    as_of: date,
    config: BehaviorConfig,
) -> Table:
    names = [f"{SIGNAL}{name}" for name in profile.signals]
    fired, unknown = nw.lit(0, dtype=nw.Int32), nw.lit(0, dtype=nw.Int32)
    listed: nw.Expr = nw.lit("")
    for name in _by_urgency(profile):
        state = nw.col(f"{SIGNAL}{name}")
        fired = fired + (state == FIRED).cast(nw.Int32)
        unknown = unknown + (state == UNKNOWN).cast(nw.Int32)
        word = nw.when(state == FIRED).then(nw.lit(f",{name}")).otherwise(nw.lit(""))
        listed = nw.concat_str(listed, word)
    metrics = [
        column
        for name in profile.metrics
        if name not in missing
        for column in (name, f"{name}{BEFORE}")
    ]
    whole = judged.with_columns(
        organization_id=nw.lit(config.organization_id),
        org_type=nw.lit(profile.id),
        risk_signals=listed.str.slice(1),
        signals_fired=fired.cast(nw.Int32),
        signals_unknown=unknown.cast(nw.Int32),
        as_of=nw.lit(as_of, dtype=nw.Date),
    )
    return whole.select(*STORED_COLUMNS, *names, HISTORY, *metrics)


def _by_urgency(profile: Profile) -> list[str]:
    """Signals, the most urgent first, else in the order of the profile."""
    return sorted(profile.signals, key=lambda name: -URGENCIES[profile.signals[name].urgency])


def _fired(judged: Table, profile: Profile, missing: Mapping[str, str]) -> Table:
    parts = [
        judged.filter(nw.col(f"{SIGNAL}{name}") == FIRED).select(
            "customer_id",
            signal=nw.lit(name),
            urgency=nw.lit(signal.urgency),
            recommendation=_with_figures(profile, signal, missing),
        )
        for name, signal in profile.signals.items()
    ]
    return nw.concat(parts)


def _with_figures(profile: Profile, signal: Signal, missing: Mapping[str, str]) -> nw.Expr:
    """The recommendation with each metric's value: whole numbers, shares in per cent."""
    pieces: list[nw.Expr] = []
    for position, piece in enumerate(FIGURE.split(signal.recommendation)):
        if position % 2 == 0 or piece.removesuffix(BEFORE) in missing:
            pieces.append(nw.lit(piece if position % 2 == 0 else "?"))
            continue
        metric = profile.metrics.get(piece.removesuffix(BEFORE))
        is_share = metric is not None and metric.unit == "share"
        value = nw.col(piece).fill_null(0.0) * (100.0 if is_share else 1.0)
        # Text of whole numbers is alike on every engine; of others it is not.
        shown = (value + 0.5).floor().cast(nw.Int64).cast(nw.String)
        shown = nw.concat_str(shown, nw.lit("%")) if is_share else shown
        pieces.append(nw.when(nw.col(piece).is_null()).then(nw.lit("?")).otherwise(shown))
    return nw.concat_str(*pieces)


def _counted(judged: Table, profile: Profile) -> dict[str, int]:
    """How many of what, in one pass: `<trend>/<direction>`, `signal/<name>/fired`."""
    wanted: dict[str, nw.Expr] = {"customers": nw.lit(1)}
    for name in TREND_NAMES:
        for direction in TRENDS:
            is_so = (nw.col(f"{name}_trend") == direction).cast(nw.Int64)
            wanted[f"{name}_trend/{direction}"] = is_so
    for name in profile.signals:
        state = nw.col(f"{SIGNAL}{name}")
        wanted[f"signal/{name}/fired"] = (state == FIRED).cast(nw.Int64)
        wanted[f"signal/{name}/unknown"] = (state == UNKNOWN).cast(nw.Int64)
    score = nw.col("behavior_score")
    wanted["score/known"] = (~score.is_null()).cast(nw.Int64)
    wanted["score/hundredths"] = (score.fill_null(0.0) * 100 + 0.5).floor().cast(nw.Int64)
    columns = {f"n{i}": one for i, one in enumerate(wanted.values())}
    summed = judged.select(**columns).select(*[nw.col(name).sum() for name in columns])
    (row,) = summed.collect("pyarrow").to_native().to_pylist()
    return {name: int(row[f"n{i}"] or 0) for i, name in enumerate(wanted)}


def _told(seen: Table, counted: Mapping[str, int]) -> dict[str, int]:
    return {
        "customers_seen": int(seen.select(nw.len()).collect().item()),
        "customers_described": counted["customers"],
        "customers_with_score": counted["score/known"],
        **{name: n for name, n in counted.items() if "_trend/" in name},
    }


def _insights(profile: Profile, counted: Mapping[str, int], config: BehaviorConfig) -> Table:
    """Signals by what they cost: affected customers times urgency, most first."""
    customers = counted["customers"]
    affected = {name: counted[f"signal/{name}/fired"] for name in profile.signals}
    unknown = {name: counted[f"signal/{name}/unknown"] for name in profile.signals}

    def cost(name: str) -> int:
        return affected[name] * URGENCIES[profile.signals[name].urgency]

    # Of two that cost the same, the profile's first stays first, for the sort is stable.
    rows: list[dict[str, object]] = [
        {
            "organization_id": config.organization_id,
            "org_type": profile.id,
            "signal": name,
            "urgency": profile.signals[name].urgency,
            "affected_customers": affected[name],
            "percentage": 100.0 * affected[name] / max(customers, 1),
            "known_customers": customers - unknown[name],
            "unknown_customers": unknown[name],
            "rank": rank,
        }
        for rank, name in enumerate(sorted(profile.signals, key=cost, reverse=True), start=1)
    ]
    return nw.from_dict(
        {name: [row[name] for row in rows] for name in _INSIGHT_TYPES},
        schema=_INSIGHT_TYPES,
        backend="pyarrow",
    ).lazy()


_INSIGHT_TYPES = {
    "organization_id": nw.String,
    "org_type": nw.String,
    "signal": nw.String,
    "urgency": nw.String,
    "affected_customers": nw.Int64,
    "percentage": nw.Float64,
    "known_customers": nw.Int64,
    "unknown_customers": nw.Int64,
    "rank": nw.Int64,
}
