"""The row policy: which parsed rows become transactions, which are set aside, which are dropped.

How a source is read and its text parsed does not belong here (`sources/`), nor whether the result
is good enough to publish (the checks).

Each row gets one outcome, the first that applies in this order:

1. `malformed_line`: the line has too few or too many values, or bytes outside the encoding
2. `missing_customer_id`
3. `excluded_customer` (dropped): on the list of staff and tests
4. `erased` (dropped): she asked to be erased, and the source still has her
5. `invalid_date`: missing, unparsable, or before 1900
6. `future_date`: later than today plus the declared skew
7. `invalid_amount`: missing, no number, NaN or infinite
8. `unknown_currency`: missing, or without an exchange rate
9. `absurd_amount`: larger than declared possible, after conversion
10. `refund` (dropped): under `refunds: exclude`
11. `duplicate` (dropped): alike a row with a lower source and line
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import narwhals as nw

from rfm_assets.domain.frames import Table
from rfm_assets.domain.row_policy import DROP_REASONS, REJECT_REASONS, TransactionPolicy
from rfm_assets.errors import ColumnMissing, MixedCurrencies, RowsRefused

FIRST_DAY: Final = -25_567
"""1900-01-01; an earlier date is an error of the source, such as an empty Excel cell."""

PARSED_COLUMNS: Final = (
    "source", "source_line", "customer_id", "customer_id_raw", "order_id", "order_id_raw",
    "date", "date_raw", "day", "amount", "amount_raw", "currency", "currency_raw",
    "unreadable_attributes", "row_key", "malformed",
)  # fmt: skip
"""Columns of the parsed frame; all others are attributes."""
_KEPT: Final = "kept"


@dataclass(frozen=True)
class PolicyCounts:
    """How many rows came and what became of them. `rows_in` is the sum of all others.

    `newest_day` is that of the kept rows, in days since 1970-01-01; None where none is kept.
    """

    rows_in: int
    rows_kept: int
    newest_day: int | None = None
    rejected_by_reason: Mapping[str, int] = field(default_factory=dict[str, int])
    dropped_by_reason: Mapping[str, int] = field(default_factory=dict[str, int])
    unreadable_attributes: Mapping[str, int] = field(default_factory=dict[str, int])

    @property
    def rows_rejected(self) -> int:
        """Rows set aside, with a reason each."""
        return sum(self.rejected_by_reason.values())

    @property
    def rows_dropped(self) -> int:
        """Rows left out because the policy says so."""
        return sum(self.dropped_by_reason.values())

    def as_dict(self) -> dict[str, int]:
        """Flat, for manifests and metadata: `rows_in`, `rejected/future_date` and so on."""
        flat = {
            "rows_in": self.rows_in,
            "rows_kept": self.rows_kept,
            "rows_rejected": self.rows_rejected,
            "rows_dropped": self.rows_dropped,
        }
        flat |= {f"rejected/{reason}": n for reason, n in self.rejected_by_reason.items()}
        flat |= {f"dropped/{reason}": n for reason, n in self.dropped_by_reason.items()}
        return flat | {f"unreadable/{name}": n for name, n in self.unreadable_attributes.items()}


@dataclass(frozen=True)
class PolicyResult:
    """What the policy made of the rows.

    Attributes:
        kept: customer_id, order_id, date, day, amount, refund_amount under `refunds: separate`,
            and the attributes.
        rejects: The rows set aside, in the columns of `schemas.TransactionDataRejects`.
        counts: How many rows went where.
    """

    kept: Table
    rejects: Table
    counts: PolicyCounts


def apply_policy(
    parsed: Table,
    policy: TransactionPolicy,
    *,
    now_day: int,
    checkpoint: Callable[[Table], Table] | None = None,
    erased: Sequence[str] = (),
) -> PolicyResult:
    """Decide each row's fate.

    Args:
        parsed: The parsed frame: `source`, `source_line`, the canonical columns with their
            `_raw` text, `day`, optionally `currency`, `row_key`, `malformed`, and attributes.
        policy: The switches.
        now_day: Today in days since 1970-01-01 in the business time zone.
        checkpoint: Holds a frame that is used several times; used where duplicates are sought.
        erased: Customers who asked to be erased: their rows are dropped and kept nowhere.

    Raises:
        RowsRefused: The policy says `refuse` for a reason that occurs.
        MixedCurrencies: More than one currency without exchange rates.
        ColumnMissing: `deduplicate_by` names a column that is not mapped.
    """
    names = parsed.collect_schema().names()
    attributes = _attributes(names)
    judged = _judged(parsed, policy, names, now_day, erased)
    for keys in _unique_keys(policy, names, attributes):
        judged = _without_duplicates(judged, keys)
        if checkpoint is not None:
            judged = checkpoint(judged)
    counts = _counts(judged, policy, names)
    # Where no row is set aside, none is looked for.
    rejected = judged if counts.rows_rejected else judged.head(0)
    return PolicyResult(
        kept=_kept(judged, policy, attributes),
        rejects=_rejects(rejected, policy, names),
        counts=counts,
    )


def kept_rows(
    parsed: Table, policy: TransactionPolicy, *, now_day: int, all_kept: bool = False
) -> Table:
    """The rows that `apply_policy` keeps, lazily and uncounted, under a policy of single rows.

    Args:
        parsed: The parsed frame.
        policy: One that seeks no duplicates (`judges_single_rows`).
        now_day: Today in days since 1970-01-01 in the business time zone.
        all_kept: Whether it is known that the policy keeps every row, so that none is asked: a
            condition on a column is where an engine computes all that the column is made of again.
    """
    names = parsed.collect_schema().names()
    if all_kept:
        return _canonical(_converted(parsed, policy, names), policy, _attributes(names))
    return _kept(_judged(parsed, policy, names, now_day), policy, _attributes(names))


def _attributes(names: list[str]) -> list[str]:
    return [name for name in names if name not in PARSED_COLUMNS]


def _judged(
    parsed: Table,
    policy: TransactionPolicy,
    names: list[str],
    now_day: int,
    erased: Sequence[str] = (),
) -> Table:
    converted = _converted(parsed, policy, names)
    return converted.with_columns(outcome=_outcome(policy, names, now_day, erased))


def _converted(parsed: Table, policy: TransactionPolicy, names: list[str]) -> Table:
    """Amounts in one currency; rows of an unknown one keep theirs and are judged by it."""
    if "currency" not in names or not policy.exchange_rates:
        return parsed
    rate = nw.lit(1.0)
    for code, value in policy.exchange_rates.items():
        rate = nw.when(nw.col("currency") == code).then(nw.lit(value)).otherwise(rate)
    return parsed.with_columns(amount=nw.col("amount") * rate)


def _outcome(
    policy: TransactionPolicy, names: list[str], now_day: int, erased: Sequence[str]
) -> nw.Expr:
    """The first reason that applies; `kept` if none."""
    amount, day, customer = nw.col("amount"), nw.col("day"), nw.col("customer_id")
    tests: list[tuple[str, nw.Expr]] = []
    if "malformed" in names:
        tests.append(("malformed_line", ~nw.col("malformed").is_null()))
    tests.append(("missing_customer_id", customer.is_null()))
    if policy.excluded_customers:
        tests.append(("excluded_customer", customer.is_in(policy.excluded_customers)))
    if erased:
        tests.append(("erased", customer.is_in(list(erased))))
    tests += [
        ("invalid_date", nw.col("date").is_null() | (day < FIRST_DAY)),
        ("future_date", day > now_day + policy.future_skew_days),
        ("invalid_amount", amount.is_null() | ~amount.is_finite()),
    ]
    if "currency" in names:
        currency = nw.col("currency")
        unknown = currency.is_null()
        if policy.exchange_rates:
            known = [*policy.exchange_rates, str(policy.currency).upper()]
            unknown |= ~currency.is_in(known)
        tests.append(("unknown_currency", unknown))
    tests.append(("absurd_amount", amount.abs() > policy.max_abs_amount))
    if policy.refunds == "exclude":
        tests.append(("refund", amount < 0))
    outcome = nw.lit(_KEPT)
    for reason, test in reversed(tests):
        outcome = nw.when(test).then(nw.lit(reason)).otherwise(outcome)
    return outcome


def _unique_keys(
    policy: TransactionPolicy, names: list[str], attributes: list[str]
) -> list[list[str]]:
    keys: list[list[str]] = []
    if policy.exact_duplicates == "drop":
        keys.append(["row_key"])
    if policy.deduplicate_by:
        known = ["customer_id", "order_id", "date", "day", "amount", *attributes]
        for name in policy.deduplicate_by:
            if name not in known:
                raise ColumnMissing(
                    column=name, table="transactions", available=known, key="deduplicate_by"
                )
        keys.append(policy.deduplicate_by)
    for name in ("row_key",) if policy.exact_duplicates == "drop" else ():
        if name not in names:
            raise ColumnMissing(
                column=name, table="parsed rows", available=names, key="exact_duplicates"
            )
    return keys


def _without_duplicates(judged: Table, keys: list[str]) -> Table:
    """All but the first of the kept rows with the same keys become `duplicate`."""
    # Rows that are already out, and those with an empty key, take no part.
    filled = [~nw.col(key).is_null() for key in keys]
    part = judged.filter(nw.col("outcome") == _KEPT, *filled)
    # Few rows have a twin: only those are compared, which saves a sort of everything.
    counted = part.group_by(*keys).agg(rows=nw.len(), first_source=nw.col("source").min())
    twins = part.join(counted.filter(nw.col("rows") > 1).drop("rows"), on=keys, how="inner").select(
        *keys, "first_source", twin_source="source", twin_line="source_line"
    )
    at_first = nw.col("twin_source") == nw.col("first_source")
    first = twins.filter(at_first).group_by(*keys).agg(first_line=nw.col("twin_line").min())
    later = (
        twins.join(first, on=keys, how="inner")
        .filter(~(at_first & (nw.col("twin_line") == nw.col("first_line"))))
        .select(source="twin_source", source_line="twin_line", is_later=nw.lit(value=True))
    )
    place = ["source", "source_line"]
    duplicate = ~nw.col("is_later").is_null()
    return (
        judged.join(later, on=place, how="left")
        .with_columns(
            outcome=nw.when(duplicate).then(nw.lit("duplicate")).otherwise(nw.col("outcome"))
        )
        .drop("is_later")
    )


def _counts(judged: Table, policy: TransactionPolicy, names: list[str]) -> PolicyCounts:
    by = ["outcome"]
    by += [name for name in ("unreadable_attributes", "currency") if name in names]
    rows = judged.group_by(*by).agg(rows=nw.len(), newest_day=nw.col("day").max())
    found = rows.collect(backend="pyarrow").to_native().to_pylist()
    by_outcome: dict[str, int] = {}
    days = [row["newest_day"] for row in found if row["outcome"] == _KEPT]
    currencies: dict[str, int] = {}
    unreadable: dict[str, int] = {}
    for row in found:
        by_outcome[row["outcome"]] = by_outcome.get(row["outcome"], 0) + row["rows"]
        if row["outcome"] == _KEPT:
            for name in (row.get("unreadable_attributes") or "").split(","):
                if name:
                    unreadable[name] = unreadable.get(name, 0) + row["rows"]
            if row.get("currency") is not None:
                code = row["currency"]
                currencies[code] = currencies.get(code, 0) + row["rows"]
    _refuse_rows(judged, policy, by_outcome)
    _refuse_mixture(policy, currencies)
    rejected = {
        reason: by_outcome[reason]
        for reason in REJECT_REASONS
        if reason in by_outcome and policy.treatment(reason) == "quarantine"
    }
    dropped = {
        reason: by_outcome[reason]
        for reason in (*REJECT_REASONS, *DROP_REASONS)
        if reason in by_outcome and policy.treatment(reason) == "drop"
    }
    return PolicyCounts(
        rows_in=sum(by_outcome.values()),
        rows_kept=by_outcome.get(_KEPT, 0),
        newest_day=max(days, default=None),
        rejected_by_reason=rejected,
        dropped_by_reason=dropped,
        unreadable_attributes=dict(sorted(unreadable.items())),
    )


def _refuse_rows(judged: Table, policy: TransactionPolicy, found: Mapping[str, int]) -> None:
    for reason in REJECT_REASONS:
        if reason in found and policy.treatment(reason) == "refuse":
            first = (
                judged.filter(nw.col("outcome") == reason)
                .select("source", "source_line")
                .sort("source", "source_line")
                .head(3)
                .collect(backend="pyarrow")
                .to_native()
                .to_pylist()
            )
            places = [f"{row['source']}:{row['source_line']}" for row in first]
            raise RowsRefused(reason=reason, rows=found[reason], places=places)


def _refuse_mixture(policy: TransactionPolicy, currencies: Mapping[str, int]) -> None:
    if policy.exchange_rates or not currencies:
        return
    declared = policy.currency.upper() if policy.currency else None
    expected = {declared} if declared else set(list(currencies)[:1])
    if set(currencies) - expected:
        raise MixedCurrencies(rows_by_currency=dict(sorted(currencies.items())), declared=declared)


def _kept(judged: Table, policy: TransactionPolicy, attributes: list[str]) -> Table:
    return _canonical(judged.filter(nw.col("outcome") == _KEPT), policy, attributes)


def _canonical(kept: Table, policy: TransactionPolicy, attributes: list[str]) -> Table:
    amount = nw.col("amount")
    columns: list[str | nw.Expr] = ["customer_id", "order_id", "date", "day"]
    if policy.refunds == "separate":
        columns.append(nw.when(amount < 0).then(nw.lit(0.0)).otherwise(amount).alias("amount"))
        columns.append(
            nw.when(amount < 0).then(-amount).otherwise(nw.lit(0.0)).alias("refund_amount")
        )
    else:
        columns.append("amount")
    return kept.select(*columns, *attributes)


def _rejects(judged: Table, policy: TransactionPolicy, names: list[str]) -> Table:
    reasons = [reason for reason in REJECT_REASONS if policy.treatment(reason) == "quarantine"]
    details = {
        "missing_customer_id": "customer_id_raw",
        "invalid_date": "date_raw",
        "future_date": "date_raw",
        "invalid_amount": "amount_raw",
        "absurd_amount": "amount_raw",
    }
    if "malformed" in names:
        details["malformed_line"] = "malformed"
    if "currency_raw" in names:
        details["unknown_currency"] = "currency_raw"
    detail = nw.lit(None, nw.String())
    for reason, column in details.items():
        detail = nw.when(nw.col("outcome") == reason).then(nw.col(column)).otherwise(detail)
    return judged.filter(nw.col("outcome").is_in(reasons)).select(
        "source",
        "source_line",
        reason=nw.col("outcome"),
        detail=detail,
        customer_id=nw.col("customer_id_raw"),
        order_id=nw.col("order_id_raw"),
        date=nw.col("date_raw"),
        amount=nw.col("amount_raw"),
    )
