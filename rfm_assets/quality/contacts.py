"""Rules about who may be contacted: attributes such as consent, suppression, campaign lists."""

from collections.abc import Container, Mapping, Sequence

from rfm_assets.quality.wording import largest_first
from rfm_assets.validation import SAMPLE_ROWS, CheckOutcome


def attributes_readable(*, unreadable: Mapping[str, int], booleans: Container[str]) -> CheckOutcome:
    """Whether every value of the customers' attributes could be read.

    Blocks for a boolean attribute: a `no` that is not understood would count as not recorded, and
    a campaign may include those. Warns for other kinds.

    Args:
        unreadable: Values that are there but cannot be read, by attribute; those without any may
            be left out.
        booleans: Names of the boolean attributes.
    """
    found = [(name, n) for name, n in largest_first(unreadable) if n]
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


def entries_readable(
    *, broken_lines: int, rows_without_customer: int, first_broken: str = ""
) -> CheckOutcome:
    """Whether every entry of a suppression file says whom it is about; blocks.

    A line that cannot be read may name a customer who must not be contacted: unknown is not empty.
    `first_broken` is the place of the first one.
    """
    at_fault = broken_lines + rows_without_customer
    place = f" (the first: {first_broken})" if first_broken else ""
    return CheckOutcome(
        name="entries_readable",
        passed=at_fault == 0,
        blocking=True,
        observed=f"{broken_lines:,} broken lines{place}, "
        f"{rows_without_customer:,} rows without customer",
        expected="none",
        next_step="Correct the file of entries, or its mapping under `entries.columns`.",
        n_failed=at_fault,
    )


def entries_dated(*, unreadable: int) -> CheckOutcome:
    """Whether every `since` that is there could be read; warns.

    An entry without a day suppresses at every `as_of`, which errs on the safe side.
    """
    return CheckOutcome(
        name="entries_dated",
        passed=unreadable == 0,
        blocking=False,
        observed=f"{unreadable:,} unreadable days; these entries hold always"
        if unreadable
        else "no unreadable day",
        expected="none",
        next_step="Declare how the file writes them under `date_formats` of `entries.source`, or "
        "correct the file.",
        n_failed=unreadable,
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


def suppression_current(
    *,
    ages_days: Mapping[str, float],
    max_age_days: int,
    written: Mapping[str, tuple[float, int]] | None = None,
) -> CheckOutcome:
    """Whether the suppression lists are recent enough to send by; blocks.

    Args:
        ages_days: By table, how long ago it was computed.
        max_age_days: How long ago that may be.
        written: By table whose entries have a limit, how long ago their file was written and how
            long ago that may be.
    """
    oldest = max(ages_days.values(), default=0.0)
    old_files = {name: pair for name, pair in (written or {}).items() if pair[0] > pair[1]}
    told = [f"{name} computed {age:.1f} days ago" for name, age in ages_days.items()]
    told += [
        f"file of {name} written {age:.1f} days ago" for name, (age, _) in (written or {}).items()
    ]
    allowed = [f"{name}'s file {limit:,}" for name, (_, limit) in (written or {}).items()]
    return CheckOutcome(
        name="suppression_current",
        passed=oldest <= max_age_days and not old_files,
        blocking=True,
        observed=", ".join(told) or "no suppression list is asked for",
        expected=", ".join([f"at most {max_age_days:,} days ago", *allowed]),
        next_step="Export the entries again and materialise the suppression list for this week, "
        "then this list."
        if old_files
        else "Materialise the suppression list for this week, then this list.",
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


def identifiers_usable(
    *, members: int, set_aside: int, reasons: Mapping[str, int], warn_share: float
) -> CheckOutcome:
    """Whether most members of a list can be reached by a destination; warns.

    Args:
        members: Members of the list.
        set_aside: Those without an identifier that the destination could use.
        reasons: How many of them by reason.
        warn_share: Share of the members past which it warns.
    """
    told = ", ".join(f"{reason} {n:,}" for reason, n in largest_first(reasons))
    return CheckOutcome(
        name="identifiers_usable",
        passed=set_aside <= warn_share * members,
        blocking=False,
        observed=f"{set_aside:,} of {members:,} members set aside{f' ({told})' if told else ''}",
        expected=f"at most {warn_share:.0%} of them",
        next_step="Look into rejects.csv beside the files; correct the contact data, or map another "
        "column under `contact_columns`.",
        n_failed=set_aside,
    )
