"""Shares with a normal band, and cohorts: by hand, and what must always hold."""

from collections import defaultdict
from datetime import date, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rfm_assets.domain.trends import FEWEST, cohorts, distribution_over_time, normal_band
from rfm_assets_tests.tables import MakeTable, rows_of, tables_on

FIRST = date(2024, 1, 1)


def weeks_of(*counts: tuple[int, int]) -> list[dict[str, Any]]:
    return [
        {"as_of": FIRST + timedelta(weeks=n), "segment": name, "customers": customers}
        for n, pair in enumerate(counts)
        for name, customers in zip(("A", "B"), pair, strict=True)
    ]


def test_bands_by_hand() -> None:
    before = [0.1, 0.2, 0.3, 0.4]
    # mean 0.25, population standard deviation sqrt(0.0125)
    low, high = normal_band(before, of=10**9, band="sd")
    assert (low, high) == (
        pytest.approx(0.25 - 2 * 0.0125**0.5),
        pytest.approx(0.25 + 2 * 0.0125**0.5),
    )
    # median 0.25, deviations 0.15 0.05 0.05 0.15 with median 0.1
    low, high = normal_band(before, of=10**9)
    assert (low, high) == (0, pytest.approx(0.25 + 2 * 0.14826))
    assert normal_band(before[:3], of=10**9) == (None, None)
    # Shares that never moved: what chance does to a share of 20 % of 400 customers, twice 2 %.
    assert normal_band([0.2] * 4, of=400) == (pytest.approx(0.16), pytest.approx(0.24))


@pytest.mark.parametrize("band", ["sd", "robust"])
def test_an_odd_week_lies_outside(band: Any) -> None:
    rows = weeks_of(*[(1_000, 9_000)] * 5, (2_000, 8_000), (1_000, 9_000))
    found = distribution_over_time(rows, band=band)
    assert [one.segment for one in found] == ["A"] * 7 + ["B"] * 7
    odd = {one.as_of for one in found if one.outside}
    assert odd == {FIRST + timedelta(weeks=5)}
    assert all(one.low is None for one in found if one.as_of < FIRST + timedelta(weeks=FEWEST))


def test_one_odd_week_does_not_widen_a_robust_band() -> None:
    rows = weeks_of(*[(1_000, 9_000)] * 5, (5_000, 5_000), (2_000, 8_000))
    last = FIRST + timedelta(weeks=6)

    def outside(band: Any) -> bool:
        found = distribution_over_time(rows, band=band)
        return any(one.outside for one in found if one.as_of == last)

    assert (outside("robust"), outside("sd")) == (True, False)


def test_only_the_window_counts() -> None:
    rows = weeks_of(*[(9_000, 1_000)] * 10, *[(1_000, 9_000)] * 4, (1_000, 9_000))
    assert not distribution_over_time(rows, window=4)[14].outside
    assert distribution_over_time(rows, window=14)[14].outside


@given(st.lists(st.tuples(st.integers(0, 500), st.integers(0, 500)), max_size=20))
def test_shares_add_up_in_each_snapshot(counts: list[tuple[int, int]]) -> None:
    found = distribution_over_time(weeks_of(*counts))
    sums: defaultdict[date, float] = defaultdict(float)
    for one in found:
        sums[one.as_of] += one.share
        assert one.low is None or 0 <= one.low <= (one.high or 0) <= 1
    assert len(sums) == sum(1 for pair in counts if sum(pair))
    assert all(total == pytest.approx(1) for total in sums.values())


ROWS = (
    ("a", "2024-01-05", 10.0),
    ("a", "2024-01-20", 5.0),
    ("a", "2024-03-01", 2.5),
    ("b", "2024-01-31", 1.0),
    ("b", "2024-02-01", -0.5),  # a refund alone is no purchase
    ("c", "2023-12-31", 7.0),
    ("c", "2024-01-01", 8.0),
    ("d", "2024-02-02", -3.0),  # bought nothing
    ("a", "2024-04-01", 99.0),  # not before as_of
)


def purchases(rows: Any) -> dict[str, Any]:
    return {
        "customer_id": [row[0] for row in rows],
        "date": [datetime.fromisoformat(row[1]) for row in rows],
        "amount": [row[2] for row in rows],
    }


def test_cohorts_by_hand(engine_table: MakeTable) -> None:
    found = rows_of(
        cohorts(engine_table(purchases(ROWS)), as_of=date(2024, 4, 1)), "cohort", "month"
    )
    columns = ("cohort", "month", "customers", "buyers", "retention", "monetary")
    assert [tuple(row[name] for name in columns) for row in found] == [
        ("2023-12-01", 0, 1, 1, 1.0, 7.0),
        ("2023-12-01", 1, 1, 1, 1.0, 8.0),
        ("2024-01-01", 0, 2, 2, 1.0, 16.0),
        ("2024-01-01", 1, 2, 0, 0.0, -0.5),
        ("2024-01-01", 2, 2, 1, 0.5, 2.5),
    ]


@given(
    st.lists(
        st.tuples(
            st.sampled_from("abcd"),
            st.dates(date(2023, 6, 1), date(2024, 6, 1)).map(str),
            st.integers(1, 100),
        ),
        min_size=1,
    )
)
def test_cohorts_hold_everybody_once(rows: list[tuple[str, str, int]]) -> None:
    with tables_on("polars") as make:
        data = purchases(rows) | {"amount": [float(row[2]) for row in rows]}
        found = rows_of(cohorts(make(data), as_of=date(2025, 1, 1)))
    firsts = [row for row in found if row["month"] == 0]
    assert sum(row["customers"] for row in firsts) == len({row[0] for row in rows})
    assert all(row["buyers"] == row["customers"] for row in firsts)
    assert sum(row["monetary"] for row in found) == sum(row[2] for row in rows)
