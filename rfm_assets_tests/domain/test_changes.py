"""What a week that was computed again says differently: by hand, and what must always hold."""

from typing import Any

from hypothesis import given

from rfm_assets.domain.changes import change_of_customers
from rfm_assets_tests.domain.test_history import NEWER, OLD, SIDE, snapshot
from rfm_assets_tests.tables import MakeTable, tables_on


def test_a_change_by_hand(engine_table: MakeTable) -> None:
    assert change_of_customers(engine_table(OLD), engine_table(NEWER)) == {
        "customers_before": 4,
        "customers_now": 4,
        "customers_added": 1,
        "customers_gone": 1,
        "customers_moved": 1,
        "customers_with_other_spend": 2,
        "monetary_before": 7.1,
        "monetary_now": 17.7,
    }


def test_what_only_one_side_has_is_not_compared(engine_table: MakeTable) -> None:
    ids: dict[str, Any] = {"customer_id": ["a", "x"]}
    assert change_of_customers(engine_table(ids), engine_table(OLD)) == {
        "customers_before": 2,
        "customers_now": 4,
        "customers_added": 3,
        "customers_gone": 1,
    }


@given(now=SIDE, before=SIDE)
def test_both_sides_reconcile(
    now: dict[str, tuple[str, int]], before: dict[str, tuple[str, int]]
) -> None:
    sides = [snapshot(*[(name, *row) for name, row in side.items()]) for side in (before, now)]
    with tables_on("polars") as make:
        change = change_of_customers(make(sides[0]), make(sides[1]))
        same = change_of_customers(make(sides[1]), make(sides[1]))
    stayed = change["customers_before"] - change["customers_gone"]
    assert stayed == change["customers_now"] - change["customers_added"] == len({*now} & {*before})
    both = {*now} & {*before}
    assert change["customers_moved"] == sum(now[c][0] != before[c][0] for c in both)
    assert change["customers_with_other_spend"] == sum(now[c][1] != before[c][1] for c in both)
    assert same["customers_moved"] == same["customers_added"] == same["customers_gone"] == 0
