"""Rules about segments: what they rest on, how they are spread, and how far that moved."""

from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass
from datetime import date

from rfm_assets.quality.limits import SegmentChecks
from rfm_assets.quality.wording import largest_first
from rfm_assets.validation import CheckOutcome


def transactions_cover_week(*, read_on: date | None, as_of: date) -> CheckOutcome:
    """Whether the transactions were read when the week was over; warns.

    `read_on` is the day, None where it is not known.
    """
    return CheckOutcome(
        name="transactions_cover_week",
        passed=read_on is not None and read_on >= as_of,
        blocking=False,
        observed=f"transactions read on {read_on or 'an unknown day'}",
        expected=f"read on {as_of} or later, when the week was over",
        next_step="Materialise transaction_data, then this week again.",
    )


def largest_segment(*, customers: Mapping[str, int], checks: SegmentChecks) -> CheckOutcome:
    """The share of the largest segment, from customers per segment; warns."""
    total = sum(customers.values())
    name, most = largest_first(customers)[0] if total else ("no segment", 0)
    share = most / total if total else 0.0
    return CheckOutcome(
        name="largest_segment",
        passed=share <= checks.warn_largest_share,
        blocking=False,
        observed=f"{name} with {most:,} of {total:,} customers, {share:.1%}",
        expected=f"at most {checks.warn_largest_share:.1%} in one segment",
        next_step="Look at the cut points: where most customers are alike, try fewer bins, "
        "custom thresholds or a longer `analysis_period_days`.",
    )


@dataclass(frozen=True)
class Shift:
    """How far a distribution over segments moved since a snapshot.

    `index` is the population stability index, None where a snapshot is empty; `largest` are
    segments with their share of customers before and now (0..1); `customers` is the smaller of
    both snapshots' sizes.
    """

    index: float | None
    since: date
    customers: int
    largest: Sequence[tuple[str, float, float]]

    @property
    def words(self) -> str:
        """The shift in one line."""
        if self.index is None:
            return f"nobody to compare with since {self.since}: a snapshot without customers"
        moved = ", ".join(f"{name} {old:.1%} to {new:.1%}" for name, old, new in self.largest)
        return f"population stability index {self.index:.3f} since {self.since}" + (
            f" ({moved})" if moved else ""
        )


def drift(shift: Shift | None, *, checks: SegmentChecks) -> CheckOutcome:
    """The shift since the snapshot before, None where there is none; warns, then blocks."""
    return _drift("drift", shift, checks)


def reference_drift(
    shift: Shift | None, *, reference: date, as_of: date, checks: SegmentChecks
) -> CheckOutcome:
    """The same against the declared `reference`; one that was never stored warns.

    `shift` is None where there is no such snapshot. Snapshots up to the reference pass.
    """
    outcome = _drift("reference_drift", shift, checks)
    if as_of <= reference:
        return outcome.model_copy(
            update={"passed": True, "blocking": False, "observed": "not later than the reference"}
        )
    if shift is not None:
        return outcome
    return outcome.model_copy(
        update={
            "passed": False,
            "observed": f"no snapshot of the reference {reference}",
            "next_step": "Materialise that week, or declare another `checks.reference`.",
        }
    )


def _drift(name: str, shift: Shift | None, checks: SegmentChecks) -> CheckOutcome:
    index = shift.index if shift and shift.customers >= checks.drift_min_customers else None
    return CheckOutcome(
        name=name,
        passed=index is None or index <= checks.warn_drift,
        blocking=index is not None and index > checks.block_drift,
        observed="no snapshot before" if shift is None else shift.words,
        expected=f"at most {checks.warn_drift:g}; past {checks.block_drift:g} nothing is published",
        next_step="Look whether the source or the configuration changed. If the shift is meant, "
        "raise `checks.block_drift` for one run.",
    )


def later_weeks_current(*, later: Sequence[date], in_this_run: Container[date]) -> CheckOutcome:
    """Whether the week after this one is compared with this version of it; warns.

    Args:
        later: Dates of the stored snapshots after this one, ascending. None of them has seen this
            version, which is new.
        in_this_run: Dates that this run computes; what it computes anew is no longer stale.
    """
    stale = bool(later) and later[0] not in in_this_run
    others = f" and {len(later) - 1:,} after it" if len(later) > 1 else ""
    return CheckOutcome(
        name="later_weeks_current",
        passed=not stale,
        blocking=False,
        observed=f"{later[0]}{others} stored from the version that this one replaces"
        if stale
        else "no later week is out of date",
        expected="every later week compared with the current version of the week before it",
        next_step=f"Backfill from the week that ends on {later[0]} to the newest: its previous "
        "segments, movement and changes of size were computed from the replaced version."
        if stale
        else "",
    )
