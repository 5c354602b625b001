"""The rules that nothing is counted twice or lost on its way from table to table."""

from collections.abc import Mapping

from rfm_assets.validation import CheckOutcome


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


def _scaled(units: int, decimals: int) -> str:
    # By integers: a sum of money has more digits than a float holds.
    whole, rest = divmod(abs(units), 10**decimals)
    sign = "-" if units < 0 else ""
    return f"{sign}{whole:,}.{rest:0{decimals}d}" if decimals else f"{sign}{whole:,}"
