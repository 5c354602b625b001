"""The rules for what models say: how right they were, and whether they would say it again."""

from rfm_assets.quality.limits import LifetimeValueChecks
from rfm_assets.validation import CheckOutcome


def holdout_error(
    expected: float | None, observed: int, *, days: int, checks: LifetimeValueChecks
) -> CheckOutcome:
    """Purchases that were expected of the last days, against those that came; warns.

    `expected` is None where the history before them did not suffice for a model.
    """
    limit = checks.warn_holdout_error
    if expected is None:
        seen, off = (
            "the history before those days does not suffice for a model that could be judged",
            0.0,
        )
    else:
        off = abs(expected / observed - 1) if observed else float(expected > 0)
        seen = f"{expected:,.0f} purchases expected in {days} days and {observed:,} came"
    return CheckOutcome(
        name="holdout_error",
        passed=off <= limit,
        blocking=False,
        observed=seen,
        expected=f"at most {limit:.0%} off",
        next_step="Use the values to order customers, not as money. Look for a season, a campaign "
        "or a gap in the data within those days.",
    )


def clusters_stable(*, k: int, stability: float, stable_from: float) -> CheckOutcome:
    """Mean adjusted Rand index of the clusters over bootstraps; warns."""
    return CheckOutcome(
        name="clusters_stable",
        passed=stability >= stable_from,
        blocking=False,
        observed=f"{k} clusters with a mean adjusted Rand index of {stability:.2f} over bootstraps",
        expected=f"at least {stable_from:.2f}",
        next_step="Take fewer clusters, or `k: auto`. Customers near a border change clusters from "
        "week to week without having done anything.",
    )
