"""Rules about a whole table rather than one column: rates, volumes, shares, totals.

Each is a pure function from numbers that its caller has computed to a worded outcome. How those
numbers are computed is the domain's business; constraints of single columns are in `schemas.py`.
"""

from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass
from datetime import date

from pydantic import Field, model_validator

from rfm_assets.domain.config import ConfigModel
from rfm_assets.errors import InvalidConfig
from rfm_assets.validation import SAMPLE_ROWS, CheckOutcome

TRANSACTION_RULES = ("rows_reconcile", "reject_rate", "volume", "freshness")
SEGMENT_RULES = (
    "transactions_cover_week",
    "customers_reconcile",
    "money_reconciles",
    "largest_segment",
    "drift",
    "reference_drift",
    "later_weeks_current",
)
CUSTOMER_RULES = ("attributes_readable",)
MOVEMENT_RULES = ("customers_reconcile",)
SUMMARY_RULES = ("customers_reconcile",)
SUPPRESSION_RULES = ("entries_readable", "entries_volume", "entries_known")
LIST_RULES = ("suppression_current", "no_suppressed_customer", "stages_reconcile")
DATABASE_RULES = ("published_rows_reconcile", "published_money_reconciles")

DESCRIPTIONS: Mapping[str, str] = {
    "rows_reconcile": "Blocks. Rows read = rows kept + rows set aside + rows dropped by policy.",
    "reject_rate": "Blocks past a declared share of rows set aside; warns before.",
    "volume": "Blocks when nothing is left, or far fewer rows than in the last run.",
    "freshness": "Warns when the newest transaction is old.",
    "transactions_cover_week": "Warns when the transactions were read before the week was over.",
    "customers_reconcile": "Blocks. Customers seen = customers in the table + customers left out.",
    "money_reconciles": "Blocks. The customers' spend adds up to that of the transactions.",
    "largest_segment": "Warns when one segment holds most of the customers.",
    "drift": "Blocks past a declared shift of the distribution since the last snapshot; warns "
    "before.",
    "reference_drift": "Blocks and warns likewise against a declared reference snapshot.",
    "later_weeks_current": "Warns when a later week was compared with a version of this week that "
    "is now replaced.",
    "attributes_readable": "Blocks when values of a boolean attribute, such as consent, cannot be "
    "read; warns for other kinds.",
    "entries_readable": "Blocks. Every line of the suppression entries could be read.",
    "entries_volume": "Blocks when far fewer entries are read than in the snapshot before.",
    "entries_known": "Warns when most entries match no customer.",
    "suppression_current": "Blocks. Every suppression list was computed recently.",
    "no_suppressed_customer": "Blocks. Nobody on the list is on a suppression list.",
    "stages_reconcile": "Blocks. Audience = deliverable customers + customers excluded.",
    "published_rows_reconcile": "Blocks. Every table in the database has the snapshot's rows.",
    "published_money_reconciles": "Blocks. Money adds up to the same there, to a ten-thousandth.",
}
"""What each rule asks, for the catalogue; those that can keep a table back begin with Blocks."""


class TransactionChecks(ConfigModel):
    """When transactions are suspicious, and when they are too bad to use."""

    warn_reject_rate: float = Field(
        default=0.05,
        ge=0,
        le=1,
        description="Share of rows set aside (0..1) above which a run warns.",
    )
    block_reject_rate: float = Field(
        default=0.5,
        ge=0,
        le=1,
        description="Share of rows set aside (0..1) above which nothing is published.",
    )
    max_volume_fall: float = Field(
        default=0.5,
        ge=0,
        le=1,
        description=(
            "Share (0..1) by which the number of kept rows may fall since the last run before "
            "nothing is published; 1 allows any fall but that to no rows."
        ),
    )
    max_age_days: int | None = Field(
        default=14,
        ge=1,
        le=36_500,
        description="Age of the newest row in days above which a run warns; null never warns.",
    )

    @model_validator(mode="after")
    def _warn_before_blocking(self) -> "TransactionChecks":
        _ordered("warn_reject_rate", self.warn_reject_rate, self.block_reject_rate)
        return self


class SegmentChecks(ConfigModel):
    """When a distribution of segments is suspicious, and when it must not be used."""

    warn_largest_share: float = Field(
        default=0.8,
        gt=0,
        le=1,
        description="Share of customers (0..1) in the largest segment above which a run warns.",
    )
    warn_drift: float = Field(
        default=0.1,
        ge=0,
        le=100,
        description="Population stability index against the last snapshot above which a run warns.",
    )
    block_drift: float = Field(
        default=1.0,
        ge=0,
        le=100,
        description=(
            "Population stability index against the last snapshot above which nothing is published."
        ),
    )

    drift_min_customers: int = Field(
        default=100,
        ge=0,
        description="Customers below which drift is told but never fails: of a few customers, "
        "one who moves is a large share.",
    )
    reference: date | None = Field(
        default=None,
        description="Date of a snapshot that every later one is compared with as well; the same "
        "limits hold.",
    )

    @model_validator(mode="after")
    def _warn_before_blocking(self) -> "SegmentChecks":
        _ordered("warn_drift", self.warn_drift, self.block_drift)
        return self


def reject_rate(
    *, rows_in: int, by_reason: Mapping[str, int], checks: TransactionChecks
) -> CheckOutcome:
    """The share of rows set aside; warns, and blocks past `block_reject_rate`."""
    rejected = sum(by_reason.values())
    rate = rejected / rows_in if rows_in else 0.0
    reasons = ", ".join(f"{reason} {n:,}" for reason, n in _largest_first(by_reason) if n)
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
    name, most = _largest_first(customers)[0] if total else ("no segment", 0)
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


def reconciles(
    name: str, *, whole: tuple[str, int], parts: Mapping[str, int], decimals: int = 0
) -> CheckOutcome:
    """Whether the parts add up to the whole exactly; blocks.

    Args:
        name: Of the check, such as `stages_reconcile`.
        whole: What is divided and how much it is, in whole units.
        parts: What it is divided into.
        decimals: Digits of the unit behind the point, such as 4 for ten-thousandths.
    """
    what, amount = whole
    total = sum(parts.values())
    summands = " + ".join(f"{part} {_scaled(n, decimals)}" for part, n in parts.items())
    return CheckOutcome(
        name=name,
        passed=total == amount,
        blocking=True,
        observed=f"{summands} = {_scaled(total, decimals)}",
        expected=f"{what} {_scaled(amount, decimals)}",
        next_step=f"{_scaled(abs(amount - total), decimals)} are counted twice or not at all. "
        "This is a defect of the computation: keep the input and report it.",
        n_failed=abs(amount - total) if decimals == 0 else 0,
    )


def no_suppressed_customer(*, on_list: Sequence[str], n_suppressed: int) -> CheckOutcome:
    """Whether nobody on the list is suppressed; blocks.

    Args:
        on_list: Suppressed customers found on the list, at best sorted.
        n_suppressed: How many customers are suppressed in all.
    """
    sample = tuple(on_list[:SAMPLE_ROWS])
    shown = f" (for example {', '.join(sample)})" if sample else ""
    return CheckOutcome(
        name="no_suppressed_customer",
        passed=not on_list,
        blocking=True,
        observed=f"{len(on_list):,} of {n_suppressed:,} suppressed customers on the list{shown}",
        expected="none",
        next_step="Materialise the suppression list first, then this list for the same date.",
        n_failed=len(on_list),
        sample=sample,
    )


def entries_volume(*, entries: int, entries_before: int | None, max_fall: float) -> CheckOutcome:
    """The number of suppression entries against the snapshot before; too deep a fall blocks.

    An export that broke off would let mails out to everybody it lost.
    """
    floor = 0
    if entries_before is not None:
        floor = -int(-round(entries_before * (1 - max_fall), 6) // 1)
    before = "no snapshot before" if entries_before is None else f"{entries_before:,} before"
    return CheckOutcome(
        name="entries_volume",
        passed=entries >= floor,
        blocking=True,
        observed=f"{entries:,} entries, {before}",
        expected=f"at least {floor:,}",
        next_step="Look whether the file of entries is complete. If the fall is real, raise "
        "`entries.max_fall` for one run.",
    )


def entries_known(*, entries: int, unknown: int | None) -> CheckOutcome:
    """Whether the entries speak of customers that exist; warns when most do not.

    `unknown` is None where there is no table of customers to compare with.
    """
    return CheckOutcome(
        name="entries_known",
        passed=unknown is None or 2 * unknown <= entries,
        blocking=False,
        observed="no customers to compare with"
        if unknown is None
        else f"{unknown:,} of {entries:,} entries match no customer",
        expected="at most half of them",
        next_step="Compare the spelling of ids in the entries with that in customer_segments; "
        "spreadsheets drop leading zeros.",
        n_failed=unknown or 0,
    )


def suppression_current(*, ages_days: Mapping[str, float], max_age_days: int) -> CheckOutcome:
    """Whether the suppression lists are recent enough to send by; blocks.

    `ages_days` says by table how long ago it was computed.
    """
    oldest = max(ages_days.values(), default=0.0)
    told = ", ".join(f"{name} computed {age:.1f} days ago" for name, age in ages_days.items())
    return CheckOutcome(
        name="suppression_current",
        passed=oldest <= max_age_days,
        blocking=True,
        observed=told or "no suppression list is asked for",
        expected=f"at most {max_age_days:,} days ago",
        next_step="Materialise the suppression list for this week, then this list.",
    )


def entries_readable(*, broken_lines: int, rows_without_customer: int) -> CheckOutcome:
    """Whether every entry of a suppression file says whom it is about; blocks.

    A line that cannot be read may name a customer who must not be contacted: unknown is not empty.
    """
    at_fault = broken_lines + rows_without_customer
    return CheckOutcome(
        name="entries_readable",
        passed=at_fault == 0,
        blocking=True,
        observed=f"{broken_lines:,} broken lines, {rows_without_customer:,} rows without customer",
        expected="none",
        next_step="Correct the file of entries, or its mapping under `entries.columns`.",
        n_failed=at_fault,
    )


def attributes_readable(*, unreadable: Mapping[str, int], booleans: Container[str]) -> CheckOutcome:
    """Whether every value of the customers' attributes could be read.

    Blocks for a boolean attribute: a `no` that is not understood would count as not recorded, and
    a campaign may include those. Warns for other kinds.

    Args:
        unreadable: Values that are there but cannot be read, by attribute; those without any may
            be left out.
        booleans: Names of the boolean attributes.
    """
    found = [(name, n) for name, n in _largest_first(unreadable) if n]
    return CheckOutcome(
        name="attributes_readable",
        passed=not found,
        blocking=any(name in booleans for name, _ in found),
        observed=", ".join(f"{name} {n:,}" for name, n in found) + " unreadable values"
        if found
        else "no unreadable value",
        expected="none",
        next_step="Declare how the source writes them: `true_words` and `false_words` of a boolean "
        "attribute, `date_formats` and `decimal_separator` of the source; or correct the source.",
        n_failed=sum(n for _, n in found),
    )


def same_in_database(
    name: str, amounts: Mapping[str, tuple[int, int]], *, decimals: int = 0
) -> CheckOutcome:
    """Whether a database holds what the store holds; blocks.

    Args:
        name: Of the check, such as `published_rows_reconcile`.
        amounts: By table or column, what the store holds and what the database does.
        decimals: Digits of the unit behind the point, such as 4 for ten-thousandths.
    """
    differ = {what: pair for what, pair in amounts.items() if pair[0] != pair[1]}
    shown = differ or amounts

    def listed(side: int) -> str:
        return ", ".join(f"{what} {_scaled(pair[side], decimals)}" for what, pair in shown.items())

    return CheckOutcome(
        name=name,
        passed=not differ,
        blocking=True,
        observed=listed(1) or "nothing to compare",
        expected=f"as stored: {listed(0)}" if amounts else "the same on both sides",
        next_step="Look for triggers, rules or row security on the table that change what is "
        "written, remove them, and run it again.",
        n_failed=len(differ),
    )


def _ordered(key: str, warn: float, block: float) -> None:
    if warn > block:
        raise InvalidConfig(
            key=key,
            value=warn,
            reason=f"is above the limit {block:g} at which nothing is published",
            fix="Warn at or below the limit that blocks.",
        )


def _largest_first(counts: Mapping[str, int]) -> list[tuple[str, int]]:
    return sorted(counts.items(), key=lambda item: (-item[1], item[0]))


def _days(number: int) -> str:
    return f"{number:,} day" if number == 1 else f"{number:,} days"


def _scaled(units: int, decimals: int) -> str:
    # By integers: a sum of money has more digits than a float holds.
    whole, rest = divmod(abs(units), 10**decimals)
    sign = "-" if units < 0 else ""
    return f"{sign}{whole:,}.{rest:0{decimals}d}" if decimals else f"{sign}{whole:,}"
