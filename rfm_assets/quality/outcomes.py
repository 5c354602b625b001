"""Rules about what became of campaign lists: that no claim goes beyond its interval."""

from collections.abc import Mapping, Sequence
from typing import Any

from rfm_assets.domain.outcomes import RATIO_P_VALUE, verdict_of
from rfm_assets.validation import SAMPLE_ROWS, CheckOutcome


def claims_follow_intervals(rows: Sequence[Mapping[str, Any]]) -> CheckOutcome:
    """Whether each verdict is what its stored interval allows; blocks.

    A win without an interval above 0, or one of a list that cannot be measured, is never published.
    """
    wrong = [
        str(row["campaign"])
        for row in rows
        if row["verdict"] != verdict_of(row["buyer_rate_low"], row["buyer_rate_high"])
        or (row["verdict"] == "not measurable") != bool(row["reason"])
    ]
    return CheckOutcome(
        name="claims_follow_intervals",
        passed=not wrong,
        blocking=True,
        observed=f"{len(wrong):,} of {len(rows):,} verdicts that their intervals do not allow",
        expected="none",
        next_step="This is a defect of the computation: keep the input and report it.",
        n_failed=len(wrong),
        sample=tuple(wrong[:SAMPLE_ROWS]),
    )


def groups_as_drawn(rows: Sequence[Mapping[str, Any]]) -> CheckOutcome:
    """Whether the sizes of the groups are those of the declared draw; warns.

    Nothing is claimed of a list whose groups are not.
    """
    likely = {str(row["campaign"]): row["ratio_p_value"] for row in rows}
    wrong = sorted(name for name, p in likely.items() if p is not None and p < RATIO_P_VALUE)
    told = ", ".join(f"{name} (p {likely[name]:.1g})" for name in wrong)
    return CheckOutcome(
        name="groups_as_drawn",
        passed=not wrong,
        blocking=False,
        observed=told or f"no list of {len(rows):,}",
        expected=f"p of at least {RATIO_P_VALUE:g} for every list",
        next_step="Look whether the control group's share, experiment or salt changed on the list's "
        "date, and whether something left out customers of one group alone.",
        n_failed=len(wrong),
        sample=tuple(wrong[:SAMPLE_ROWS]),
    )
