"""The rules for churn scores: whether they can be used, whom they cover, how right they were."""

from collections.abc import Mapping, Sequence
from datetime import date

from rfm_assets.quality.wording import largest_first
from rfm_assets.validation import CheckOutcome


def scores_set_aside(
    *, kept: int, by_reason: Mapping[str, int], places: Sequence[str]
) -> CheckOutcome:
    """Whether every row of the scores could be used; warns, and blocks where none could.

    `places` are the first rows set aside, by file and line.
    """
    found = [(reason, n) for reason, n in largest_first(by_reason) if n]
    total = sum(n for _, n in found)
    told = ", ".join(f"{reason} {n:,}" for reason, n in found)
    first = f"; first {', '.join(places)}" if places else ""
    return CheckOutcome(
        name="scores_set_aside",
        passed=kept > 0 and not total,
        blocking=kept == 0,
        observed=f"{kept:,} scores kept, {total:,} rows set aside"
        + (f": {told}{first}" if told else ""),
        expected="at least one score, and no row set aside",
        next_step="Look at the part `rejects` of this table, which has each row with its reason, "
        "and correct the file.",
        n_failed=total,
        sample=tuple(places),
    )


def scores_cover(*, customers: int, without: int, limit: float) -> CheckOutcome:
    """Whether the customers have churn scores; warns past a declared share without."""
    share = without / customers if customers else 0.0
    return CheckOutcome(
        name="scores_cover",
        passed=share <= limit,
        blocking=False,
        observed=f"{without:,} of {customers:,} customers have no churn score",
        expected=f"at most {limit:.0%}",
        next_step="Compare the spelling of ids in the scores with that in customer_segments, and "
        "look whether the scores are of all customers.",
        n_failed=without,
    )


def churn_model_helps(*, gain: tuple[float, float, float] | None, over: str) -> CheckOutcome:
    """Whether the model told more than a single number would have; warns.

    `gain` is the AUC above that of `over` with both ends of its interval, None where the history
    is too short to judge a model, or where the scores come from a file.
    """
    if gain is None:
        seen, passed = "no model was judged", True
    else:
        value, low, high = gain
        seen = f"AUC {value:+.3f} above {over} (95 % interval {low:+.3f} to {high:+.3f})"
        passed = low > 0
    return CheckOutcome(
        name="churn_model_helps",
        passed=passed,
        blocking=False,
        observed=seen,
        expected="an interval above 0",
        next_step=f"Order customers by {over}: it does as well, and is simpler. More history or "
        "mapped columns may help the model.",
    )


def churn_model_calibrated(*, error: float | None, limit: float) -> CheckOutcome:
    """Whether as many churned as the model predicted; warns past a declared mean distance."""
    return CheckOutcome(
        name="churn_model_calibrated",
        passed=error is None or error <= limit,
        blocking=False,
        observed="no model was judged"
        if error is None
        else f"predicted and observed churn {error:.3f} apart on average",
        expected=f"at most {limit:g}",
        next_step="Use the scores to order customers, not as probabilities: risk levels rest on "
        "them. Look for a season or a change of trend in the last two periods.",
    )


def scores_current(*, scores_of: date | None, as_of: date) -> CheckOutcome:
    """Whether the churn scores are of the same date as the segments; warns."""
    return CheckOutcome(
        name="scores_current",
        passed=scores_of is None or scores_of == as_of,
        blocking=False,
        observed="scores without a date" if scores_of is None else f"scores as of {scores_of}",
        expected=f"as of {as_of}",
        next_step="Materialise the churn scores of this week, then this table.",
    )
