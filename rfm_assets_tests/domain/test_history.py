"""Movement between two snapshots reconciles with both, and drift has the published formula."""

from datetime import date
from math import log
from typing import Any

import narwhals as nw
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rfm_assets.domain.history import (
    LEFT,
    NEW,
    SMALLEST_SHARE,
    largest_shifts,
    movement,
    population_stability_index,
)
from rfm_assets.schemas import SEGMENT_MOVEMENT
from rfm_assets_tests.tables import MakeTable, rows_of, tables_on

NOW, BEFORE = date(2024, 7, 8), date(2024, 7, 1)


def snapshot(*rows: tuple[str, str | None, float]) -> dict[str, Any]:
    return {
        "customer_id": [customer for customer, _, _ in rows],
        "segment": pa.array([segment for _, segment, _ in rows], pa.string()),
        "monetary": [monetary for _, _, monetary in rows],
    }


OLD = snapshot(("a", "Lost", 1.0), ("b", "Lost", 2.0), ("c", "Loyal", 4.0), ("d", "Loyal", 0.1))
NEWER = snapshot(("a", "Lost", 1.0), ("b", "Loyal", 12.0), ("c", "Loyal", 4.5), ("e", "Lost", 0.2))


def moves(make: MakeTable, now: dict[str, Any], before: dict[str, Any] | None) -> list[Any]:
    table = movement(
        make(now),
        make(before) if before else None,
        as_of=NOW,
        previous_as_of=BEFORE if before else None,
    )
    return rows_of(table, "from_segment", "to_segment")


def test_moves_by_hand(engine_table: MakeTable) -> None:
    found = moves(engine_table, NEWER, OLD)
    assert {(row["as_of"], row["previous_as_of"]) for row in found} == {(NOW, BEFORE)}
    columns = ("from_segment", "to_segment", "customers", "monetary_before", "monetary_now")
    assert [tuple(row[name] for name in columns) for row in found] == [
        (NEW, "Lost", 1, 0.0, 0.2),
        ("Lost", "Lost", 1, 1.0, 1.0),
        ("Lost", "Loyal", 1, 2.0, 12.0),
        ("Loyal", LEFT, 1, 0.1, 0.0),
        ("Loyal", "Loyal", 1, 4.0, 4.5),
    ]


def test_the_first_snapshot_is_all_new(engine_table: MakeTable) -> None:
    found = moves(engine_table, OLD, None)
    assert [row["previous_as_of"] for row in found] == [None, None]
    assert [(row["from_segment"], row["to_segment"], row["customers"]) for row in found] == [
        (NEW, "Lost", 2),
        (NEW, "Loyal", 2),
    ]
    assert [row["monetary_now"] for row in found] == [3.0, 4.1]


def test_columns_are_those_of_the_contract(engine_table: MakeTable) -> None:
    for before in (OLD, None):
        table = movement(
            engine_table(NEWER),
            engine_table(before) if before else None,
            as_of=NOW,
            previous_as_of=None,
        )
        names = table.collect_schema().names()
        assert names == list(SEGMENT_MOVEMENT.schema.columns)
        types = {name: str(dtype) for name, dtype in table.collect_schema().items()}
        assert (types["customers"], types["as_of"]) == ("Int64", "Date")
        assert (types["previous_as_of"], types["monetary_now"]) == ("Date", "Float64")


def test_customers_without_a_named_segment_move_too(engine_table: MakeTable) -> None:
    found = moves(engine_table, snapshot(("a", None, 1.0)), snapshot(("a", "Lost", 1.0)))
    assert [(row["from_segment"], row["to_segment"]) for row in found] == [("Lost", "(none)")]


def test_two_empty_snapshots_have_no_moves(engine_table: MakeTable) -> None:
    empty = engine_table(OLD).filter(nw.col("monetary") > 100)
    assert rows_of(movement(empty, empty, as_of=NOW, previous_as_of=BEFORE)) == []


SIDE = st.dictionaries(
    st.sampled_from([f"c{number}" for number in range(12)]),
    st.tuples(st.sampled_from(["A", "B", "C"]), st.integers(-500, 10_000)),
    min_size=1,
)


@given(now=SIDE, before=SIDE)
def test_both_sides_reconcile(
    now: dict[str, tuple[str, int]], before: dict[str, tuple[str, int]]
) -> None:
    sides = [snapshot(*[(name, *row) for name, row in side.items()]) for side in (now, before)]
    with tables_on("polars") as make:
        found = moves(make, sides[0], sides[1])
    for segment in ("A", "B", "C"):
        for side, column in ((now, "to_segment"), (before, "from_segment")):
            moved = sum(row["customers"] for row in found if row[column] == segment)
            assert moved == sum(name == segment for name, _ in side.values())
    assert (NEW, LEFT) not in {(row["from_segment"], row["to_segment"]) for row in found}
    assert sum(row["monetary_now"] for row in found) == sum(m for _, m in now.values())
    assert sum(row["monetary_before"] for row in found) == sum(m for _, m in before.values())


def test_drift_by_hand() -> None:
    # (0.6 - 0.5) ln(0.6 / 0.5) + (0.4 - 0.5) ln(0.4 / 0.5)
    index = population_stability_index({"A": 50, "B": 50}, {"A": 6, "B": 4})
    assert index == pytest.approx(0.1 * log(1.2) - 0.1 * log(0.8))


def test_an_emptied_segment_drifts_far_but_not_infinitely() -> None:
    index = population_stability_index({"A": 0.95, "B": 0.05}, {"A": 1.0})
    share = SMALLEST_SHARE
    assert index == pytest.approx(0.05 * log(1 / 0.95) + (share - 0.05) * log(share / 0.05))
    assert 0.31 < index < 0.32


SIZES = st.dictionaries(st.sampled_from("ABCDE"), st.integers(1, 1_000))


@given(before=SIZES, now=SIZES)
def test_drift_is_symmetric_and_nothing_without_change(
    before: dict[str, int], now: dict[str, int]
) -> None:
    index = population_stability_index(before, now)
    if not sum(before.values()) or not sum(now.values()):
        assert index is None
        return
    assert index is not None
    assert index >= 0
    assert index == pytest.approx(population_stability_index(now, before))
    doubled = {name: 2 * size for name, size in now.items()}
    assert population_stability_index(now, doubled) == 0


def test_largest_shifts_are_told_by_share_largest_first() -> None:
    before = {"Champions": 50, "Hibernating": 10, "Lost": 40}
    now = {"Champions": 110, "Hibernating": 20, "Lost": 50, "Promising": 20}
    # 50 % to 55 %, 10 % to 10 %, 40 % to 25 %, 0 % to 10 %: who kept the share is not told
    assert [name for name, _, _ in largest_shifts(before, now)] == [
        "Lost",
        "Promising",
        "Champions",
    ]
    assert largest_shifts(before, now, count=1) == [("Lost", 0.4, 0.25)]
    assert largest_shifts({}, {}) == []
