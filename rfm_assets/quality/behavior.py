"""The rules for behaviour: whether a profile could be computed, and of whom anything is known."""

from collections.abc import Mapping

from rfm_assets.validation import CheckOutcome


def inputs_mapped(*, unavailable: Mapping[str, str]) -> CheckOutcome:
    """Whether every metric of the profile could be computed; warns.

    `unavailable` says by metric what is missing.
    """
    told = "; ".join(f"{name}: {reason}" for name, reason in unavailable.items())
    return CheckOutcome(
        name="inputs_mapped",
        passed=not unavailable,
        blocking=False,
        observed=told or "every metric could be computed",
        expected="every metric",
        next_step="Map what is missing by `event_names`, `event_columns` or `transaction_columns`; "
        "or write a profile without these metrics. Their signals are unknown.",
        n_failed=len(unavailable),
    )


def behavior_known(*, customers: int, known: int) -> CheckOutcome:
    """Whether at least half of the customers have a behaviour score; warns."""
    return CheckOutcome(
        name="behavior_known",
        passed=2 * known >= customers,
        blocking=False,
        observed=f"{known:,} of {customers:,} customers have a score",
        expected="at least half of them",
        next_step="Look whether events and transactions reach back two windows, and whether their "
        "customer ids are spelt alike.",
        n_failed=customers - known,
    )
