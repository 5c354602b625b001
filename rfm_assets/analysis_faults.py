"""Why a file cannot be analysed, in words for somebody who has its rows and the command's options."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from typing import Any, TypeAlias

from rfm_assets.domain.rfm import EPOCH
from rfm_assets.domain.transactions import PolicyCounts
from rfm_assets.errors import NothingToAnalyze, TooManySetAside
from rfm_assets.validation import CheckOutcome

Examples: TypeAlias = Mapping[str, list[dict[str, Any]]]
"""The first rows set aside, by reason: source, source_line and detail."""

FIXES: Mapping[str, str] = {
    "malformed_line": "give --delimiter, or quote values that hold it",
    "missing_customer_id": "give another --customer, or fill the column",
    "invalid_date": "say how dates are written, such as --date-format %d.%m.%Y",
    "future_date": "correct the dates, or check the order of day and month with --date-format",
    "invalid_amount": "give another --amount, or --decimal , where cents follow a comma",
    "unknown_currency": "fill the column of currencies",
    "absurd_amount": "check --decimal",
}
"""What to do about each reason, for whoever has nothing but the command's options."""


def none_usable(source: str, counts: PolicyCounts, examples: Examples) -> NothingToAnalyze:
    """Every row was set aside."""
    return NothingToAnalyze(
        source=source,
        reason=f"none of its {counts.rows_in:,} rows can be used",
        examples=set_aside(counts, examples),
        fix="Correct the file, or give the options named here.",
    )


def too_many_set_aside(
    source: str, outcomes: Sequence[CheckOutcome], counts: PolicyCounts, examples: Examples
) -> TooManySetAside:
    """What is left of the rows cannot speak for all of them."""
    (failed, *_) = [one for one in outcomes if one.blocking and not one.passed]
    return TooManySetAside(
        source=source,
        reason=f"refused by the check {failed.name}: {failed.observed}, expected {failed.expected}",
        examples=set_aside(counts, examples),
        fix="Correct the file, or give the options named here.",
    )


def nobody_bought(source: str, as_of: date, days: int, span: Mapping[str, int]) -> NothingToAnalyze:
    """Rows can be used, but the window has no purchase."""
    first, last = (EPOCH + timedelta(days=span[name]) for name in ("first", "last"))
    if not span["purchases"]:
        return NothingToAnalyze(
            source=source,
            reason=f"no row is a purchase: none of the amounts from {first} to {last} is above 0",
            examples=[],
            fix="Give another --amount, or turn the sign: --amount '-COLUMN'.",
        )
    return NothingToAnalyze(
        source=source,
        reason=f"nobody bought anything from {as_of - timedelta(days=days)} to {as_of}; its rows "
        f"are from {first} to {last}",
        examples=[],
        fix=f"Leave out --as-of, or give one after {first}; or raise --days.",
    )


def set_aside(counts: PolicyCounts, examples: Examples) -> list[str]:
    """A line for each reason: how many rows, where the first ones are, what to do."""
    return [
        _reason_line(reason, n, examples.get(reason, []))
        for reason, n in counts.rejected_by_reason.items()
    ]


def _reason_line(reason: str, rows: int, examples: list[dict[str, Any]]) -> str:
    lines = ", ".join(str(one["source_line"]) for one in examples)
    values = [one["detail"] for one in examples if one["detail"]]
    shown = f" ({', '.join(repr(value) for value in values)})" if values else ""
    return f"{rows:,} {reason}, first in line {lines}{shown}: {FIXES[reason]}."
