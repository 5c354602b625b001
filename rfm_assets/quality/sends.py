"""Rules about the log of sends, and about lists that are made by it."""

from collections.abc import Mapping, Sequence

from rfm_assets.quality.limits import SendChecks
from rfm_assets.quality.wording import largest_first
from rfm_assets.validation import CheckOutcome


def sends_set_aside(
    *, rows_in: int, by_reason: Mapping[str, int], places: Sequence[str], checks: SendChecks
) -> CheckOutcome:
    """The rows of a log of sends that cannot be used; warns, and blocks past a declared share.

    Somebody in such a row may be contacted too often.

    Args:
        rows_in: Rows read.
        by_reason: Rows set aside, by reason.
        places: File, line and reason of the first of them.
        checks: The share past which nothing is published.
    """
    aside = sum(by_reason.values())
    rate = aside / rows_in if rows_in else 0.0
    reasons = ", ".join(f"{reason} {n:,}" for reason, n in largest_first(by_reason) if n)
    return CheckOutcome(
        name="sends_set_aside",
        passed=not aside,
        blocking=rate > checks.block_reject_rate,
        observed=f"{aside:,} of {rows_in:,} rows set aside, {rate:.1%}"
        + (f" ({reasons})" if reasons else ""),
        expected=f"none; past {checks.block_reject_rate:.1%} nothing is published",
        next_step="Look at the part `rejects`, where each row stands with its line and reason. "
        "Correct the log, or how it is read.",
        n_failed=aside,
        sample=tuple(places),
    )


def sends_volume(*, rows: int, rows_before: int | None, checks: SendChecks) -> CheckOutcome:
    """The number of sends against the last run's; too deep a fall blocks.

    A log that broke off would let mails out to everybody it lost.
    """
    floor = 0
    if rows_before is not None:
        floor = -int(-round(rows_before * (1 - checks.max_volume_fall), 6) // 1)
    before = "no run before" if rows_before is None else f"{rows_before:,} in the last run"
    return CheckOutcome(
        name="sends_volume",
        passed=rows >= floor,
        blocking=True,
        observed=f"{rows:,} sends, {before}",
        expected=f"at least {floor:,}",
        next_step="Look whether the log is complete. If the fall is real, raise "
        "`checks.max_volume_fall` for one run.",
    )


def sends_current(*, ages_days: Mapping[str, float], max_age_days: int) -> CheckOutcome:
    """Whether the log of sends is recent enough to decide whom to leave alone; blocks.

    `ages_days` says how long ago it was read, and how long ago its file was written.
    """
    oldest = max(ages_days.values(), default=0.0)
    told = ", ".join(f"{what} {age:.1f} days ago" for what, age in ages_days.items())
    return CheckOutcome(
        name="sends_current",
        passed=oldest <= max_age_days,
        blocking=True,
        observed=told or "no log of sends is asked for",
        expected=f"at most {max_age_days:,} days ago",
        next_step="Export the log again, materialise it, then this list. For a log that is written "
        "less often, raise `max_sends_age_days`.",
    )


def list_large_enough(*, deliverable: int, minimum_size: int) -> CheckOutcome:
    """Whether a list has as many customers as it must have; blocks."""
    return CheckOutcome(
        name="list_large_enough",
        passed=deliverable >= minimum_size,
        blocking=True,
        observed=f"{deliverable:,} deliverable customers",
        expected=f"at least {minimum_size:,}",
        next_step="Look at the waterfall of this list for the stage that removes too many. If so "
        "few are right, lower `minimum_size`.",
    )
