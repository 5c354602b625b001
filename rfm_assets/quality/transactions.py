"""Rules about transactions: how many were set aside, how many are left, how old they are."""

from collections.abc import Mapping
from datetime import date

from rfm_assets.quality.limits import TransactionChecks
from rfm_assets.quality.wording import largest_first
from rfm_assets.validation import CheckOutcome


def reject_rate(
    *, rows_in: int, by_reason: Mapping[str, int], checks: TransactionChecks
) -> CheckOutcome:
    """The share of rows set aside; warns, and blocks past `block_reject_rate`."""
    rejected = sum(by_reason.values())
    rate = rejected / rows_in if rows_in else 0.0
    reasons = ", ".join(f"{reason} {n:,}" for reason, n in largest_first(by_reason) if n)
    return CheckOutcome(
        name="reject_rate",
        passed=rate <= checks.warn_reject_rate,
        blocking=rate > checks.block_reject_rate,
        observed=f"{rejected:,} of {rows_in:,} rows set aside, {rate:.1%}"
        + (f" ({reasons})" if reasons else ""),
        expected=f"at most {checks.warn_reject_rate:.1%}; past {checks.block_reject_rate:.1%} "
        "nothing is published",
        next_step="Look at transaction_data_rejects, where each row stands with its reason. If "
        "the rows are rightly set aside, raise `checks.warn_reject_rate`.",
        n_failed=rejected,
    )


def volume(*, rows: int, rows_before: int | None, checks: TransactionChecks) -> CheckOutcome:
    """The number of kept rows against the last run's; no rows, or too deep a fall, blocks."""
    floor = 1
    expected = "at least one row"
    if rows_before is not None:
        # Rounded before the ceiling, so that 10 rows less 90 % are 1 row and not 1.0000000002.
        floor = max(1, -int(-round(rows_before * (1 - checks.max_volume_fall), 6) // 1))
        expected = f"at least {floor:,} rows, {checks.max_volume_fall:.0%} below the last run's"
    before = "no run before" if rows_before is None else f"{rows_before:,} in the last run"
    return CheckOutcome(
        name="volume",
        passed=rows >= floor,
        blocking=True,
        observed=f"{rows:,} rows, {before}",
        expected=expected,
        next_step="Look whether the source is complete. If the fall is real, raise "
        "`checks.max_volume_fall` for one run.",
    )


def freshness(*, newest: date | None, today: date, checks: TransactionChecks) -> CheckOutcome:
    """The age of the newest transaction on `today`, the business day of the run; warns."""
    age = None if newest is None else (today - newest).days
    limit = checks.max_age_days
    return CheckOutcome(
        name="freshness",
        passed=limit is None or (age is not None and age <= limit),
        blocking=False,
        observed="no row" if age is None else f"newest row of {newest}, {_days(age)} old",
        expected="any age" if limit is None else f"at most {limit:,} days",
        next_step="Look whether the source is still being filled. For data that stands still, "
        "set `checks.max_age_days: null`.",
    )


def _days(number: int) -> str:
    return f"{number:,} day" if number == 1 else f"{number:,} days"
