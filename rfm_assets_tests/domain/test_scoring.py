"""Cut points and scores, by hand, by properties, and against a second, plain implementation."""

import math
from datetime import date
from typing import Any

import narwhals as nw
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from rfm_assets.domain.scoring import (
    CutPoints,
    ScoringConfig,
    Thresholds,
    cut_points,
    score,
)
from rfm_assets_tests.tables import ENGINES, MakeTable, rows_of, tables_on

WEIGHT_NAMES = ("recency_weight", "frequency_weight", "monetary_weight")

THRESHOLDS: dict[str, Any] = {
    "recency": [30, 90, 180, 365],
    "frequency": [1, 2, 4, 8],
    "monetary": [10.0, 20.0, 50.0, 100.0],
}


def custom(**changed: list[Any]) -> dict[str, Any]:
    return {"scoring_method": "custom", "thresholds": {**THRESHOLDS, **changed}}


def customers(values: list[tuple[int, int, int]]) -> dict[str, list[Any]]:
    """Customers 0, 1, 2, … with recency, frequency and monetary_units."""
    return {
        "customer_id": [f"{index:06}" for index in range(len(values))],
        "recency": [recency for recency, _, _ in values],
        "frequency": [frequency for _, frequency, _ in values],
        "monetary_units": [units for _, _, units in values],
    }


def scored(
    make: MakeTable, values: list[tuple[int, int, int]], **settings: Any
) -> list[tuple[int, int, int, float, str]]:
    config = ScoringConfig(**settings)
    table = make(customers(values))
    if config.thresholds is not None:
        points = CutPoints.from_thresholds(config.thresholds)
    else:
        points = cut_points(table, scale=config.scale)
    return [
        (row["R_score"], row["F_score"], row["M_score"], row["RFM_score"], row["rfm_cell"])
        for row in rows_of(score(table, points, config=config), "customer_id")
    ]


def plain_cut_points(values: list[int], scale: int) -> list[int]:
    """The same definition, by sorting: the value at rank ceil(k n / scale)."""
    ordered = sorted(values)
    return [ordered[math.ceil(k * len(ordered) / scale) - 1] for k in range(1, scale)]


def test_cut_points_are_values_that_occur(engine_table: MakeTable) -> None:
    values = [(day, day, day * 100) for day in range(1, 11)]
    points = cut_points(engine_table(customers(values)), scale=5)
    # Of ten values, a fifth is the second, two fifths the fourth, and so on.
    assert points.recency == (2, 4, 6, 8)
    assert points.frequency == (2, 4, 6, 8)
    assert points.monetary_units == (200, 400, 600, 800)
    assert points.monetary == (0.02, 0.04, 0.06, 0.08)


def test_scores_of_ten_customers(engine_table: MakeTable) -> None:
    values = [(day, day, day * 100) for day in range(1, 11)]
    got = scored(engine_table, values)
    assert [row[0] for row in got] == [5, 5, 4, 4, 3, 3, 2, 2, 1, 1]
    assert [row[1] for row in got] == [1, 1, 2, 2, 3, 3, 4, 4, 5, 5]
    assert got[0] == (5, 1, 1, 7 / 3, "511")
    assert got[-1] == (1, 5, 5, 11 / 3, "155")


def test_most_customers_bought_once(engine_table: MakeTable) -> None:
    # Three cut points are 1 and one is 2: two purchases are already above three of them.
    values = [(5, 1, 100)] * 6 + [(5, 2, 200)] * 2 + [(5, 3, 300)] * 2
    table = engine_table(customers(values))
    points = cut_points(table, scale=5)
    assert points.frequency == (1, 1, 1, 2)
    rows = rows_of(score(table, points, config=ScoringConfig()), "customer_id")
    assert [row["F_score"] for row in rows] == [1] * 6 + [4] * 2 + [5] * 2


def test_all_customers_alike(engine_table: MakeTable) -> None:
    # Nobody is less recent than anybody, and nobody buys more: best and lowest score.
    assert set(scored(engine_table, [(7, 3, 500)] * 9)) == {(5, 1, 1, 7 / 3, "511")}


def test_one_customer(engine_table: MakeTable) -> None:
    assert scored(engine_table, [(7, 3, 500)]) == [(5, 1, 1, 7 / 3, "511")]


def test_no_customer(engine_table: MakeTable) -> None:
    table = engine_table(customers([(7, 3, 500)])).filter(nw.col("frequency") > 9)
    points = cut_points(table, scale=5)
    assert (points.recency, points.frequency, points.monetary_units) == ((), (), ())
    result = score(table, points, config=ScoringConfig())
    assert rows_of(result) == []
    assert "rfm_cell" in result.collect_schema().names()


def test_fewer_values_than_bins(engine_table: MakeTable) -> None:
    got = scored(engine_table, [(1, 1, 100), (2, 2, 200)], scoring_method="deciles")
    # The first five cut points are the smaller value, the other four the larger.
    assert got == [(10, 1, 1, 4.0, "10-1-1"), (5, 6, 6, 17 / 3, "5-6-6")]


def test_inactive_customers_score_lowest_and_shift_no_cut_point(engine_table: MakeTable) -> None:
    active = [(day, day, -day * 100) for day in range(1, 6)]
    inactive = [(900, 0, 0), (400, 0, -90_000)]
    got = scored(engine_table, active + inactive)
    assert got[:5] == scored(engine_table, active)
    # Their money of 0 is more than anybody's here, and still they score 1.
    assert got[5:] == [(1, 1, 1, 1.0, "111")] * 2


def test_refunds_beyond_spend_are_the_lowest_values(engine_table: MakeTable) -> None:
    values = [(1, 1, units) for units in (-70_000, -1, 0, 1, 90_000_000)]
    points = cut_points(engine_table(customers(values)), scale=5)
    assert points.monetary_units == (-70_000, -1, 0, 1)


def test_thresholds_are_closed_on_the_right(engine_table: MakeTable) -> None:
    values = [(30, 1, 100_000), (31, 2, 100_001), (365, 8, 1_000_000), (366, 9, 1_000_001)]
    got = scored(engine_table, values, scoring_method="custom", thresholds=THRESHOLDS)
    assert [row[:3] for row in got] == [(5, 1, 1), (4, 2, 2), (2, 4, 4), (1, 5, 5)]


@pytest.mark.parametrize(
    ("settings", "scale", "cell"),
    [
        ({}, 5, "511"),
        ({"scoring_method": "quartiles"}, 4, "411"),
        ({"scoring_method": "bins", "bins": 9}, 9, "911"),
        ({"scoring_method": "deciles"}, 10, "10-1-1"),
    ],
)
def test_scale_and_cell_of_each_method(
    engine_table: MakeTable, settings: dict[str, Any], scale: int, cell: str
) -> None:
    assert ScoringConfig(**settings).scale == scale
    assert scored(engine_table, [(7, 3, 500)], **settings)[0][4] == cell


def test_weights_shape_the_mean(engine_table: MakeTable) -> None:
    values = [(day, day, day * 100) for day in range(1, 11)]
    got = scored(engine_table, values, recency_weight=2, frequency_weight=0.5, monetary_weight=0)
    assert got[0][3] == (2 * 5 + 0.5 * 1) / 2.5
    assert got[9][3] == (2 * 1 + 0.5 * 5) / 2.5


WEIGHTS = st.tuples(
    *[st.floats(0, 1e6) | st.decimals(0, 1, places=2).map(float) | st.sampled_from([0.0, 1e-300])]
    * 3
).filter(lambda weights: sum(weights) > 0)

NUMBERS = st.tuples(st.integers(1, 60), st.integers(1, 60), st.integers(1, 60))


@settings(max_examples=30)
@given(weights=WEIGHTS, values=st.lists(NUMBERS, min_size=1, max_size=8), scale=st.integers(2, 12))
def test_the_mean_lies_within_the_scale_and_equal_scores_are_their_mean(
    weights: tuple[float, ...], values: list[tuple[int, int, int]], scale: int
) -> None:
    cuts = list(range(1, scale))
    config = custom(recency=cuts, frequency=cuts, monetary=cuts)
    config |= dict(zip(WEIGHT_NAMES, weights, strict=True))
    equal = [(scale + 1 - points, points, points * 10_000) for points in range(1, scale + 1)]
    found = []
    for engine in ENGINES:
        with tables_on(engine) as make:
            found.append(scored(make, [*values, *equal], **config))
    assert all(rows == found[0] for rows in found)
    assert all(1 <= row[3] <= scale for row in found[0])
    assert [row[3] for row in found[0][len(values) :]] == list(range(1, scale + 1))


def test_ordinary_weights_do_not_lead_beyond_the_scale(engine_table: MakeTable) -> None:
    # In floats 5*0.6 + 5*0.3 + 5*0.1 over 0.6 + 0.3 + 0.1 is 5.000000000000001.
    weights = dict(zip(WEIGHT_NAMES, (0.6, 0.3, 0.1), strict=True))
    values = [(1, 9, 2_000_000), (31, 9, 1)]
    got = scored(engine_table, values, scoring_method="custom", thresholds=THRESHOLDS, **weights)
    assert [row[3] for row in got] == [5.0, (6 * 4 + 3 * 5 + 1) / 10]


VALUES = st.lists(
    st.tuples(
        st.integers(1, 60),
        st.one_of(st.just(1), st.integers(1, 30)),
        st.one_of(st.integers(-(10**6), 10**9), st.sampled_from([0, 10_000, 20_000])),
    ),
    min_size=1,
    max_size=80,
)


@given(values=VALUES, scale=st.integers(2, 12))
def test_against_the_plain_implementation(values: list[tuple[int, int, int]], scale: int) -> None:
    columns = list(zip(*values, strict=True))
    cuts = [plain_cut_points(list(column), scale) for column in columns]
    below = [[sum(cut < value for cut in cuts[i]) for i, value in enumerate(row)] for row in values]
    with tables_on("polars") as make:
        got = scored(make, values, scoring_method="bins", bins=scale)
    assert [row[:3] for row in got] == [(scale - r, 1 + f, 1 + m) for r, f, m in below]


@given(values=VALUES, factor=st.sampled_from([2, 7, 100, 10_000]))
def test_the_scale_of_money_does_not_matter(
    values: list[tuple[int, int, int]], factor: int
) -> None:
    dearer = [(r, f, units * factor) for r, f, units in values]
    with tables_on("polars") as make:
        assert scored(make, values) == scored(make, dearer)


@given(values=VALUES)
def test_equal_values_score_equally_and_higher_never_lower(
    values: list[tuple[int, int, int]],
) -> None:
    with tables_on("polars") as make:
        got = scored(make, values)
    for column, better in ((0, -1), (1, 1), (2, 1)):
        pairs = sorted(
            (better * value[column], row[column]) for value, row in zip(values, got, strict=True)
        )
        scores = [points for _, points in pairs]
        assert scores == sorted(scores)
        by_value: dict[int, set[int]] = {}
        for value, points in pairs:
            by_value.setdefault(value, set()).add(points)
        assert all(len(points) == 1 for points in by_value.values())


def test_cut_points_of_many_distinct_amounts_are_exact(engine_table: MakeTable) -> None:
    # Squares spread over eight orders of magnitude, so that bands differ much in width.
    units = [number * number for number in range(1, 20_001)]
    points = cut_points(engine_table(customers([(1, 1, value) for value in units])), scale=10)
    assert list(points.monetary_units) == plain_cut_points(units, 10)
    assert points.monetary_units[0] == 2_000**2


def test_cut_points_survive_json() -> None:
    points = CutPoints(scale=3, recency=(1, 2), frequency=(1, 1), monetary_units=(-5, 7))
    assert CutPoints.model_validate_json(points.model_dump_json()) == points


def test_thresholds_in_money_become_whole_units() -> None:
    points = CutPoints.from_thresholds(Thresholds(**THRESHOLDS))
    assert points.monetary_units == (100_000, 200_000, 500_000, 1_000_000)
    assert points.scale == 5


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"scoring_method": "quintile"}, "Did you mean 'quintiles'? Allowed: 'quintiles', "),
        (
            {"recency_weight": 0, "frequency_weight": 0, "monetary_weight": 0},
            "are all 0, which leaves no RFM_score. Give at least one a positive weight",
        ),
        ({"recency_weight": -1}, "greater than or equal to 0"),
        ({"scoring_method": "bins"}, "needs `bins`. Add for example `bins: 6`"),
        ({"bins": 6}, "bins: 6 has no effect with scoring_method: quintiles"),
        ({"scoring_method": "bins", "bins": 1}, "greater than or equal to 2"),
        ({"scoring_method": "custom"}, "needs `thresholds`"),
        ({"thresholds": THRESHOLDS}, "Write `scoring_method: custom`, or take `thresholds` away"),
        (
            {"scoring_method": "custom", "thresholds": {**THRESHOLDS, "recency": [30, 90]}},
            "different length (recency 2, frequency 4, monetary 4 cut points)",
        ),
        (
            {"scoring_method": "custom", "thresholds": {**THRESHOLDS, "recency": [90, 30, 30]}},
            "30 follows 90: write them ascending, as [30, 90]",
        ),
        (
            {
                "scoring_method": "custom",
                "thresholds": THRESHOLDS,
                "cut_points": {"frozen_from": date(2024, 1, 1)},
            },
            "frozen_from has no effect with scoring_method: custom",
        ),
        (custom(monetary=[1.0, float("nan")]), "monetary.1\n  Input should be a finite number"),
        (custom(monetary=[1.0, float("inf")]), "monetary.1\n  Input should be a finite number"),
        (custom(monetary=[-1e300, 1.0]), "monetary.0\n  Input should be greater than or equal to"),
        (custom(recency=[1, 10**30]), "recency.1\n  Input should be less than or equal to 1000000"),
        (custom(frequency=[-1, 1]), "frequency.0\n  Input should be greater than or equal to 0"),
        ({"cut_points": "weekly"}, "each_run"),
        ({"weights": 1}, "Extra inputs are not permitted"),
    ],
)
def test_wrong_settings_say_how_to_mend_them(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError) as caught:
        ScoringConfig(**settings)
    assert words in str(caught.value)
