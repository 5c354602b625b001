"""Each sentence of the overview, by a case worked by hand."""

from dataclasses import replace
from typing import Any

import pytest

from rfm_assets.serving.insights import (
    Insight,
    Totals,
    data_or_customers,
    failed_checks,
    of_behavior,
    of_campaigns,
    of_movement,
    of_segments,
    totals,
)
from rfm_assets.serving.queries import Queries
from rfm_assets.store import Snapshot
from rfm_assets.validation import CheckOutcome
from rfm_assets_tests.serving.stored import FIRST, SECOND, THIRD


def row(segment: str, n: int, spent: float, share: float | None, change: int = 0) -> dict[str, Any]:
    return {
        "segment": segment,
        "customers": n,
        "customers_pct": 10.0 * n,
        "customers_change": change,
        "monetary_total": spent,
        "monetary_pct": share,
        "frequency_mean": 2.0 if n else None,
    }


ROWS = [row("A", 6, 30.0, 30.0, -2), row("B", 4, 70.0, 70.0, 1), row("C", 0, 0.0, 0.0)]


def test_totals_are_sums_over_the_segments() -> None:
    found = totals(ROWS, [row("A", 5, 50.0, 100.0)])
    assert (found.customers, found.monetary, found.frequency_mean) == (10, 100.0, 2.0)
    assert found.monetary_mean == 10.0
    assert found.before == Totals(5, 50.0, 2.0)
    nobody = totals([])
    assert (nobody.customers, nobody.monetary_mean, nobody.frequency_mean) == (0, None, None)


@pytest.mark.parametrize(
    ("before", "told"),
    [
        (90.0, ("Net spend in the window changed by +11.1 %.", "good")),
        (120.0, ("Net spend in the window changed by -16.7 %.", "bad")),
        (99.0, None),
        (0.0, None),
    ],
)
def test_a_notable_change_of_spend_is_told(before: float, told: tuple[str, str] | None) -> None:
    found = of_segments(ROWS, totals(ROWS, [row("A", 5, before, 100.0)]))
    changes = [(one.text, one.tone) for one in found if one.text.startswith("Net spend")]
    assert changes == ([told] if told else [])


def test_what_stands_out_in_the_segments() -> None:
    names = {"A": "Gold", "B": "Silver", "C": "Bronze"}
    texts = [one.text for one in of_segments(ROWS, totals(ROWS), names.__getitem__)]
    assert texts == [
        "Silver bring 70.0 % of the spend with 40.0 % of the customers.",
        "Gold changed most: -2 customers.",
        "Nobody is in Bronze.",
    ]
    assert of_segments([], totals([])) == []
    only_refunds = [row("A", 3, -5.0, None)]
    assert of_segments(only_refunds, totals(only_refunds)) == []


def move(a: str, b: str, n: int, spent: float) -> dict[str, Any]:
    return {"from_segment": a, "to_segment": b, "customers": n, "monetary_before": spent}


def test_the_dearest_move_to_what_is_urgent_is_told() -> None:
    moves = [
        move("(new)", "A", 3, 0.0),
        move("B", "(left)", 2, 10.0),
        move("A", "B", 4, 1234.5),
        move("B", "A", 9, 9999.0),
        move("B", "B", 5, 8888.0),
    ]
    texts = [one.text for one in of_movement(moves, {"A": 1, "B": 5}, str.lower)]
    assert texts == [
        "3 customers came in, 2 left.",
        "4 customers went from a to b, who spent 1,234.50 before.",
    ]


def snapshots(queries: Queries) -> Snapshot:
    return queries.resolve("customer_segments", None)


def test_the_first_question_is_whether_the_data_moved(queries: Queries) -> None:
    now = snapshots(queries)
    first, drift = data_or_customers(queries, now)
    assert first == Insight(
        f"Same rules and same data as for {SECOND}: what moved are the customers.",
        "movement",
        "good",
    )
    assert drift.text.startswith("Shift of the segments: population stability index")
    alone = data_or_customers(queries, queries.resolve("customer_segments", FIRST))
    assert [one.text for one in alone] == [
        "This is the first snapshot: there is nothing to compare it with."
    ]
    manifest = now.manifest.model_copy(
        update={"config_hash": "other", "inputs": {**now.manifest.inputs, "customer_data": "new"}}
    )
    texts = [one.text for one in data_or_customers(queries, replace(now, manifest=manifest))]
    assert texts[:2] == [
        f"The configuration has changed since {SECOND}: part of what moved is the rules, not the "
        "customers.",
        f"customer_data was read anew since {SECOND}: late or corrected rows may be part of what "
        "moved.",
    ]


def test_failed_checks_are_told_by_table(queries: Queries) -> None:
    now = snapshots(queries)
    check = CheckOutcome(
        name="no_giants", passed=False, blocking=False, observed="2 of 9", expected="none", next_step=""
    )  # fmt: skip
    failed = replace(now, manifest=now.manifest.model_copy(update={"checks": [check]}))
    assert failed_checks([failed]) == [
        Insight("customer_segments: no giants: 2 of 9.", "quality", "bad")
    ]


def test_lists_and_signals_are_counted(queries: Queries) -> None:
    champions = queries.resolve("champions", THIRD)
    counts = {"rows": 1_234, "excluded": 5}
    one = replace(champions, manifest=champions.manifest.model_copy(update={"row_counts": counts}))
    assert of_campaigns([one]) == [
        Insight(
            "champions: 1,234 customers can be contacted, 5 are left out.",
            "campaigns?list=champions",
        )
    ]
    south = queries.resolve("customer_behavior_south", THIRD)
    rows = [r for r in queries.whole(south, "insights") if r["affected_customers"]]
    found = of_behavior(queries, south)
    assert len(found) == bool(rows)
    for insight in found:
        first = min(rows, key=lambda r: r["rank"])
        assert f"affects {first['affected_customers']} customers" in insight.text
