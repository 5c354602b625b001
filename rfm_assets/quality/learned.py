"""The rules for what models say: how right they were, and whether they would say it again."""

from collections.abc import Mapping

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


def segments_predict(*, candidate: str, auc: tuple[float, float, float]) -> CheckOutcome:
    """Whether the baseline's score told who would buy again; warns where it was chance.

    `auc` is the value with both ends of its interval.
    """
    value, low, high = auc
    return CheckOutcome(
        name="segments_predict",
        passed=low > 0.5,  # noqa: PLR2004  what chance has
        blocking=False,
        observed=f"{candidate}: AUC {value:.3f} (95 % interval {low:.3f} to {high:.3f})",
        expected="an interval above 0.5",
        next_step="Look at the window and the scheme: these scores order customers no better than "
        "a coin does.",
    )


def candidates_computed(*, failed: Mapping[str, str]) -> CheckOutcome:
    """Whether every candidate could be computed; warns. `failed` says why one could not."""
    told = "; ".join(f"{name}: {reason}" for name, reason in failed.items())
    return CheckOutcome(
        name="candidates_computed",
        passed=not failed,
        blocking=False,
        observed=told or "every candidate could be computed",
        expected="every candidate",
        next_step="Wait for more history, or take these candidates away.",
        n_failed=len(failed),
    )
