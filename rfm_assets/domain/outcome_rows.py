"""Outcomes of campaign lists as the rows that are stored of them, and in words.

How they are judged is in `outcomes.py`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date

import narwhals as nw
from narwhals.typing import IntoDType

from rfm_assets.domain.frames import Table
from rfm_assets.domain.money import money_of
from rfm_assets.domain.outcomes import CLAIMS, Difference, Group, Outcome, OutcomeConfig
from rfm_assets.domain.waterfall import CONTROL, DELIVERABLE


def told(one: Outcome, *, confidence: float) -> str:
    """The outcome in words: what is claimed of the buyers, or why nothing can be."""
    if one.buyers is None or one.deliverable is None or one.control is None:
        return f"not measurable: {one.reason}"
    found = one.buyers
    text = (
        f"{one.verdict}: {100 * (one.deliverable.rate or 0):.2f} % bought, "
        f"{100 * (one.control.rate or 0):.2f} % in control; {100 * found.value:+.2f} percentage "
        f"points ({100 * confidence:g} % interval {100 * found.low:+.2f} to {100 * found.high:+.2f})"
    )
    if one.verdict in CLAIMS or one.smallest_uplift is None:
        return text
    return (
        f"{text}. An uplift below {100 * one.smallest_uplift:.2f} points would probably not be seen"
    )


def outcome_rows(
    outcomes: Sequence[Outcome], *, list_as_of: date, as_of: date, config: OutcomeConfig
) -> Table:
    """One row per list, as `schemas.CampaignOutcome` has it."""
    rows = [
        {
            "campaign": one.campaign,
            "list_as_of": list_as_of,
            "horizon_weeks": config.horizon_weeks,
            "confidence": config.confidence,
            "verdict": one.verdict,
            "reason": one.reason or None,
            "told": told(one, confidence=config.confidence),
            "experiment": one.drawn.experiment if one.drawn else None,
            "control_kind": one.drawn.kind if one.drawn else None,
            "control_share": one.drawn.share if one.drawn else None,
            "ratio_p_value": one.ratio_p_value,
            **_of_group("deliverable", one.deliverable),
            **_of_group("control", one.control),
            **_of_difference("buyer_rate", one.buyers),
            "smallest_uplift": one.smallest_uplift,
            **_of_difference("spend", one.spend),
            "as_of": as_of,
        }
        for one in outcomes
    ]
    columns = {name: [row[name] for row in rows] for name in TYPES}
    return nw.from_dict(columns, schema=TYPES, backend="pyarrow").lazy()


def _of_group(name: str, group: Group | None) -> dict[str, object]:
    return {
        name: group.customers if group else None,
        f"buyers_{name}": group.buyers if group else None,
        f"buyer_rate_{name}": group.rate if group else None,
        f"spend_{name}": money_of(group.units) if group else None,
        f"spend_per_head_{name}": group.spend_per_head if group else None,
    }


def _of_difference(name: str, found: Difference | None) -> dict[str, object]:
    return {
        f"{name}_difference": found.value if found else None,
        f"{name}_low": found.low if found else None,
        f"{name}_high": found.high if found else None,
    }


_GROUP_TYPES: Mapping[str, IntoDType] = {
    f"{measure}{name}": kind
    for name in (DELIVERABLE, CONTROL)
    for measure, kind in (
        ("", nw.Int64),
        ("buyers_", nw.Int64),
        ("buyer_rate_", nw.Float64),
        ("spend_", nw.Float64),
        ("spend_per_head_", nw.Float64),
    )
}

TYPES: Mapping[str, IntoDType] = {
    "campaign": nw.String,
    "list_as_of": nw.Date,
    "horizon_weeks": nw.Int64,
    "confidence": nw.Float64,
    "verdict": nw.String,
    "reason": nw.String,
    "told": nw.String,
    "experiment": nw.String,
    "control_kind": nw.String,
    "control_share": nw.Float64,
    "ratio_p_value": nw.Float64,
    **_GROUP_TYPES,
    "buyer_rate_difference": nw.Float64,
    "buyer_rate_low": nw.Float64,
    "buyer_rate_high": nw.Float64,
    "smallest_uplift": nw.Float64,
    "spend_difference": nw.Float64,
    "spend_low": nw.Float64,
    "spend_high": nw.Float64,
    "as_of": nw.Date,
}
