"""What recency, frequency and monetary mean, and why customers are left out."""

from datetime import date
from typing import Any

import pytest

from rfm_assets.domain.rfm import (
    BELOW_MIN_TRANSACTIONS,
    EXCLUSION_REASONS,
    INACTIVE,
    NO_PURCHASE,
    TOO_NEW,
    CustomerRfm,
    RfmConfig,
    customer_activity,
    customer_rfm,
    day_number,
    split_by_eligibility,
)
from rfm_assets.errors import AmountsTooLarge
from rfm_assets_tests.domain.purchases import transactions
from rfm_assets_tests.tables import MakeTable, rows_of

AS_OF = date(2024, 7, 1)

# 2024-07-01 less 365 days is 2023-07-02: the first day of the observation window.
ROWS = [
    ("ann", "o1", "2024-06-30", 10.0),
    ("ann", "o1", "2024-06-30", 5.5),
    ("ann", "o2", "2024-03-01", 4.5),
    ("ann", "o3", "2024-06-30", -2.0),
    ("bob", "o4", "2023-07-02", 7.0),
    ("cat", "o5", "2023-07-01", 70.0),
    ("dan", "o6", "2024-05-01", -3.0),
    ("eve", None, "2024-06-01", 1.0),
    ("eve", None, "2024-06-01", 1.0),
    ("fay", "o7", "2024-07-01", 99.0),
]


def split(make: MakeTable, rows: list[tuple[Any, ...]], **settings: Any) -> CustomerRfm:
    config = RfmConfig(**settings)
    table = make(transactions(rows))
    activity = customer_activity(table, as_of=AS_OF, config=config)
    return split_by_eligibility(activity, table, as_of=AS_OF, config=config)


def metrics(result: CustomerRfm) -> dict[str, tuple[int, int, float]]:
    return {
        row["customer_id"]: (row["recency"], row["frequency"], row["monetary"])
        for row in rows_of(result.customers)
    }


def reasons(result: CustomerRfm) -> dict[str, str]:
    rows = rows_of(result.excluded)
    assert len({row["customer_id"] for row in rows}) == len(rows)
    return {row["customer_id"]: row["reason"] for row in rows}


def test_metrics_of_the_window(engine_table: MakeTable) -> None:
    result = split(engine_table, ROWS)
    assert metrics(result) == {
        "ann": (1, 2, 18.0),  # two orders, three lines, a refund that is no purchase
        "bob": (365, 1, 7.0),  # on the first day of the window
        "eve": (30, 2, 2.0),  # rows without an order are purchases of their own
    }


def test_whoever_is_not_segmented_has_one_reason(engine_table: MakeTable) -> None:
    # fay's purchase is on as_of itself, so she has not been seen yet.
    assert reasons(split(engine_table, ROWS)) == {"cat": INACTIVE, "dan": NO_PURCHASE}


def test_inactive_customers_on_request(engine_table: MakeTable) -> None:
    rows = [*ROWS, ("cat", "o8", "2024-06-01", -20.0)]
    result = split(engine_table, rows, include_inactive=True)
    # 2023-07-01 to 2024-07-01 are 366 days; the refund in the window is all of cat's money.
    assert metrics(result)["cat"] == (366, 0, -20.0)
    assert reasons(result) == {"dan": NO_PURCHASE}


def test_refunds_only_are_no_purchase_wherever_they_lie(engine_table: MakeTable) -> None:
    rows = [("gus", "o1", "2020-01-01", -5.0), ("ivy", "o2", "2024-06-01", 0.0)]
    assert reasons(split(engine_table, rows)) == {"gus": INACTIVE, "ivy": NO_PURCHASE}
    kept = split(engine_table, rows, include_inactive=True)
    assert reasons(kept) == {"gus": NO_PURCHASE, "ivy": NO_PURCHASE}
    assert metrics(kept) == {}


def test_new_customers_by_their_first_purchase_ever(engine_table: MakeTable) -> None:
    rows = [
        ("new", "o1", "2024-06-02", 5.0),  # 29 days
        ("month", "o2", "2024-06-01", 5.0),  # 30 days
        ("old", "o3", "2019-01-01", 5.0),
        ("old", "o4", "2024-06-20", 5.0),
    ]
    result = split(engine_table, rows, exclude_new_days=30)
    assert set(metrics(result)) == {"month", "old"}
    assert reasons(result) == {"new": TOO_NEW}


def test_fewer_purchases_than_wanted(engine_table: MakeTable) -> None:
    result = split(engine_table, ROWS, min_transactions=2, analysis_period_days=100)
    assert set(metrics(result)) == {"eve"}
    assert reasons(result) == {
        "ann": BELOW_MIN_TRANSACTIONS,
        "bob": INACTIVE,
        "cat": INACTIVE,
        "dan": NO_PURCHASE,
    }


def test_inactive_customers_are_not_measured_by_their_purchases(engine_table: MakeTable) -> None:
    result = split(engine_table, ROWS, min_transactions=2, include_inactive=True)
    assert set(metrics(result)) == {"ann", "cat", "eve"}
    assert reasons(result) == {"bob": BELOW_MIN_TRANSACTIONS, "dan": NO_PURCHASE}


def test_refunds_that_are_kept_separately(engine_table: MakeTable) -> None:
    data = transactions([("ann", "o1", "2024-06-30", 10.0), ("ann", "o2", "2024-06-30", 0.0)])
    data["refund_amount"] = [0.0, 2.25]
    config = RfmConfig()
    (row,) = rows_of(customer_rfm(engine_table(data), as_of=AS_OF, config=config))
    assert (row["frequency"], row["monetary"], row["refunded"]) == (1, 10.0, 2.25)


def test_money_is_added_exactly(engine_table: MakeTable) -> None:
    # As floats, 0.1 + 0.2 is 0.30000000000000004, and the order of summing shows.
    rows = [("ann", f"o{i}", "2024-06-30", amount) for i, amount in enumerate([0.1, 0.2, 82.3])]
    assert metrics(split(engine_table, rows))["ann"] == (1, 3, 82.6)


@pytest.mark.parametrize(
    ("amount", "units"), [(0.00005, 1), (-0.00005, -1), (0.00004, 0), (2.5, 25_000)]
)
def test_half_a_unit_is_rounded_away_from_zero(
    engine_table: MakeTable, amount: float, units: int
) -> None:
    rows = [("ann", "o1", "2024-06-30", 1.0), ("ann", "o1", "2024-06-30", amount)]
    (row,) = rows_of(split(engine_table, rows).customers)
    assert row["monetary_units"] == 10_000 + units


def test_no_transaction_at_all(engine_table: MakeTable) -> None:
    result = split(engine_table, [])
    assert rows_of(result.customers) == []
    assert rows_of(result.excluded) == []


def test_every_reason_is_explained() -> None:
    assert set(EXCLUSION_REASONS) == {INACTIVE, NO_PURCHASE, BELOW_MIN_TRANSACTIONS, TOO_NEW}


def test_day_number_counts_from_1970() -> None:
    assert day_number(date(1970, 1, 2)) == 1
    assert day_number(AS_OF) == 19_905


def test_money_that_cannot_be_added_up_is_refused(engine_table: MakeTable) -> None:
    # A thousand amounts of 1e12 are 1e19 ten-thousandths, and 64 bits hold 9.2e18.
    many = [("ann", None, "2024-06-01", 1e12)] * 1_000
    with pytest.raises(AmountsTooLarge, match=r"`amount` of the observation window adds up to 1e"):
        split(engine_table, many)
    # Opposite signs cancel in the end, but not on the way.
    with pytest.raises(AmountsTooLarge):
        split(engine_table, [("ann", None, "2024-06-01", sign * 6e14) for sign in (1, -1)])
    before = [("ann", None, "2020-06-01", 1e300), ("ann", None, "2024-06-01", 9e14)]
    assert metrics(split(engine_table, before)) == {"ann": (30, 1, 9e14)}


def test_refunds_that_cannot_be_added_up_are_refused(engine_table: MakeTable) -> None:
    table = engine_table({**transactions(ROWS), "refund_amount": [1e14] * len(ROWS)})
    with pytest.raises(AmountsTooLarge, match="`refund_amount`"):
        customer_activity(
            table, as_of=date(2100, 1, 1), config=RfmConfig(analysis_period_days=36_500)
        )
