"""Moves between any two snapshots, stays and probabilities: by hand, and what must always hold."""

from collections import Counter
from datetime import date, timedelta
from statistics import fmean, median
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rfm_assets.domain.history import LEFT, NEW, movement
from rfm_assets.domain.transitions import (
    AtRisk,
    entered,
    left,
    movement_between,
    moves_of_customers,
    stays_by_segment,
    stays_over,
    time_in_segment,
    transition_matrix,
    value_at_risk,
)
from rfm_assets.errors import InvalidConfig
from rfm_assets_tests.domain.test_history import NEWER, OLD, SIDE, snapshot
from rfm_assets_tests.tables import MakeTable, rows_of, tables_on

FIRST, SECOND = date(2024, 6, 3), date(2024, 7, 8)


def test_movement_between_any_two_is_that_of_neighbours(engine_table: MakeTable) -> None:
    old, newer = engine_table(OLD), engine_table(NEWER)
    between = movement_between(old, newer, first_as_of=FIRST, second_as_of=SECOND)
    direct = movement(newer, old, as_of=SECOND, previous_as_of=FIRST)
    order = ("from_segment", "to_segment")
    assert rows_of(between, *order) == rows_of(direct, *order)
    with pytest.raises(InvalidConfig, match="is not after 2024-07-08"):
        movement_between(old, newer, first_as_of=SECOND, second_as_of=SECOND)


def test_who_entered_and_who_left_by_hand(engine_table: MakeTable) -> None:
    old, newer = engine_table(OLD), engine_table(NEWER)
    columns = ("customer_id", "from_segment", "to_segment", "monetary_before", "monetary_now")

    def told(table: Any) -> list[tuple[Any, ...]]:
        return [tuple(row[name] for name in columns) for row in rows_of(table, "customer_id")]

    assert told(entered(old, newer, "Loyal")) == [("b", "Lost", "Loyal", 2.0, 12.0)]
    assert told(left(old, newer, "Lost")) == [("b", "Lost", "Loyal", 2.0, 12.0)]
    assert told(entered(old, newer, "Lost")) == [("e", NEW, "Lost", None, 0.2)]
    assert told(left(old, newer, "Loyal")) == [("d", "Loyal", LEFT, 0.1, None)]


@given(now=SIDE, before=SIDE)
def test_lists_agree_with_movement(
    now: dict[str, tuple[str, int]], before: dict[str, tuple[str, int]]
) -> None:
    sides = [snapshot(*[(name, *row) for name, row in side.items()]) for side in (before, now)]
    with tables_on("polars") as make:
        first, second = make(sides[0]), make(sides[1])
        moves = rows_of(moves_of_customers(first, second))
        counted = rows_of(movement(second, first, as_of=SECOND, previous_as_of=FIRST))
        came = {row["customer_id"] for row in rows_of(entered(first, second, "A"))}
        went = {row["customer_id"] for row in rows_of(left(first, second, "A"))}
    assert sorted(row["customer_id"] for row in moves) == sorted({*now, *before})
    pairs = Counter((row["from_segment"], row["to_segment"]) for row in moves)
    assert pairs == {(row["from_segment"], row["to_segment"]): row["customers"] for row in counted}
    in_before = {name for name, row in before.items() if row[0] == "A"}
    in_now = {name for name, row in now.items() if row[0] == "A"}
    assert (came, went) == (in_now - in_before, in_before - in_now)


def week(number: int) -> date:
    return FIRST + timedelta(weeks=number)


def test_time_in_a_segment_by_hand(engine_table: MakeTable) -> None:
    weeks = [
        {"a": "Lost", "b": "Lost", "c": "Loyal"},
        {"a": "Lost", "b": "Loyal", "c": "Lost"},
        {"a": "Lost", "c": "Loyal"},  # b is missing: her stay begins anew
        {"a": "Lost", "b": "Loyal", "c": "Loyal", "d": None},
    ]
    tables = [
        (
            week(number),
            engine_table(
                {
                    "customer_id": list(rows),
                    "segment": pa.array(list(rows.values()), pa.string()),
                }
            ),
        )
        for number, rows in enumerate(weeks)
    ]
    stays = time_in_segment(tables)
    told = {
        row["customer_id"]: (row["segment"], row["since"], row["weeks"], row["at_least"])
        for row in rows_of(stays)
    }
    assert told == {
        "a": ("Lost", week(0), 3, True),
        "b": ("Loyal", week(3), 0, False),
        "c": ("Loyal", week(2), 1, False),
        "d": ("(none)", week(3), 0, False),
    }
    found = {one.segment: one for one in stays_by_segment(stays)}
    assert stays_over(tables, lambda table: table) == list(found.values())
    loyal = found["Loyal"]
    assert (loyal.customers, loyal.mean_weeks, loyal.median_weeks, loyal.at_least) == (
        2,
        0.5,
        0.5,
        0,
    )
    assert (found["Lost"].mean_weeks, found["Lost"].at_least) == (3, 1)


def test_without_a_snapshot_there_is_no_stay() -> None:
    with pytest.raises(InvalidConfig, match="no snapshot"):
        time_in_segment([])
    with pytest.raises(InvalidConfig, match="no snapshot"):
        stays_over([], lambda table: table)


HISTORIES = st.lists(
    st.dictionaries(st.sampled_from("abcdef"), st.sampled_from("XYZ"), min_size=1),
    min_size=1,
    max_size=6,
)


@given(weeks=HISTORIES)
def test_stays_are_what_counting_backwards_gives(weeks: list[dict[str, str]]) -> None:
    with tables_on("polars") as make:
        tables = [
            (week(n), make({"customer_id": list(rows), "segment": list(rows.values())}))
            for n, rows in enumerate(weeks)
        ]
        stays = time_in_segment(tables)
        told = {row["customer_id"]: row["weeks"] for row in rows_of(stays)}
        by_segment = stays_by_segment(stays)
        assert stays_over(tables, lambda table: table) == by_segment
    expected: dict[str, int] = {}
    for customer, segment in weeks[-1].items():
        length = 0
        while length < len(weeks) and weeks[-1 - length].get(customer) == segment:
            length += 1
        expected[customer] = length - 1
    assert told == expected
    for one in by_segment:
        lengths = [told[c] for c, segment in weeks[-1].items() if segment == one.segment]
        assert one.mean_weeks == pytest.approx(fmean(lengths))
        assert one.median_weeks == median(lengths)


def test_probabilities_by_hand() -> None:
    moves = [
        {"from_segment": "A", "to_segment": "A", "customers": 6},
        {"from_segment": "A", "to_segment": "B", "customers": 1},
        {"from_segment": "A", "to_segment": "B", "customers": 1},  # of another week
        {"from_segment": NEW, "to_segment": "B", "customers": 5},
    ]
    found = {(one.from_segment, one.to_segment): one for one in transition_matrix(moves)}
    assert found["A", "A"].probability == 0.75
    step = found["A", "B"]
    assert (step.customers, step.probability) == (2, 0.25)
    # Wilson: (p + z²/2n ± z sqrt(p(1-p)/n + z²/4n²)) / (1 + z²/n) with p = 1/4, n = 8
    assert (step.low, step.high) == (
        pytest.approx(0.0715, abs=5e-5),
        pytest.approx(0.5907, abs=5e-5),
    )
    assert found[NEW, "B"].probability == 1


@given(
    moves=st.lists(
        st.tuples(st.sampled_from("ABC"), st.sampled_from("ABCD"), st.integers(0, 10_000))
    )
)
def test_rows_of_the_matrix_add_up(moves: list[tuple[str, str, int]]) -> None:
    rows = [{"from_segment": a, "to_segment": b, "customers": n} for a, b, n in moves]
    found = transition_matrix(rows)
    for start in {one.from_segment for one in found}:
        assert sum(o.probability for o in found if o.from_segment == start) == pytest.approx(1)
    assert all(0 <= one.low <= one.probability <= one.high <= 1 for one in found)
    assert sum(one.customers for one in found) == sum(n for _, _, n in moves)


def test_value_at_risk_by_hand() -> None:
    def move(start: str, end: str, customers: int, before: float, now: float) -> dict[str, Any]:
        return {
            "from_segment": start,
            "to_segment": end,
            "customers": customers,
            "monetary_before": before,
            "monetary_now": now,
        }

    moves = [
        move("Best", "Good", 2, 100.1, 60.2),
        move("Best", "Bad", 1, 50.0, 5.0),
        move("Good", "Bad", 3, 30.3, 3.3),
        move("Bad", "Best", 1, 1.0, 90.0),  # better
        move("Good", "Good", 9, 90.0, 80.0),
        move("Bad", LEFT, 1, 2.0, 0.0),
        move(NEW, "Bad", 4, 0.0, 8.0),  # nobody came down
        move("(none)", "Bad", 4, 9.0, 8.0),
    ]
    assert value_at_risk(moves, ["Best", "Good", "Bad"]) == [
        AtRisk("Good", 2, 100.1, 60.2),
        AtRisk("Bad", 4, 80.3, 8.3),
        AtRisk(LEFT, 1, 2.0, 0.0),
    ]
