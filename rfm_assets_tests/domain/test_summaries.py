"""The summary of a snapshot by segment, worked by hand."""

from datetime import date
from typing import Any

import narwhals as nw
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from rfm_assets.domain.schemes import Scheme
from rfm_assets.domain.summaries import SummaryConfig, segment_summary, success_hours, tiers_by_name
from rfm_assets.errors import UnknownSegment
from rfm_assets.library import benchmarks, load_scheme
from rfm_assets.schemas import SEGMENT_SUMMARY
from rfm_assets_tests.tables import MakeTable, rows_of

AS_OF = date(2024, 7, 1)

SCHEME = Scheme.model_validate(
    {
        "id": "mine",
        "segments": [
            {"id": "top", "name": "Top", "aliases": ["Best"]},
            {"id": "middle", "name": "Middle"},
            {"id": "bottom", "name": "Bottom"},
        ],
        "rules": [{"segment": name} for name in ("top", "middle", "bottom")],
    }
)

NOW: dict[str, list[Any]] = {
    "customer_id": ["a", "b", "c", "d"],
    "segment": ["Top", "Top", "Bottom", "Top"],
    "recency": [1, 2, 300, 6],
    "frequency": [3, 4, 1, 5],
    "monetary": [10.5, 20.25, -0.75, 30.0],
}
BEFORE: dict[str, list[Any]] = {
    "customer_id": ["a", "b"],
    "segment": ["Top", "Middle"],
    "recency": [1, 2],
    "frequency": [3, 4],
    "monetary": [10.5, 20.25],
}


def summary(
    make: MakeTable,
    now: dict[str, Any] = NOW,
    before: dict[str, Any] | None = None,
    *,
    scheme: Scheme | None = SCHEME,
    **config: Any,
) -> list[dict[str, Any]]:
    table = segment_summary(
        make(now),
        make(before) if before else None,
        as_of=AS_OF,
        scheme=scheme,
        config=SummaryConfig(**config),
        benchmark={"Top": (5.0, 10.0)},
    )
    return rows_of(table)


def test_every_segment_of_the_scheme_has_a_row_in_its_order(engine_table: MakeTable) -> None:
    rows = summary(
        engine_table,
        before=BEFORE,
        success_hours=40,
        loyalty_tiers={"segments": {"best": "gold"}, "default": "none"},
    )
    assert rows == [
        {
            "as_of": AS_OF,
            "segment": "Top",
            "customers": 3,
            "customers_pct": 75.0,
            "monetary_total": 60.75,
            "monetary_mean": 20.25,
            "monetary_pct": 101.25,  # the others cost 0.75 of 60
            "recency_mean": 3.0,
            "frequency_mean": 4.0,
            "customers_change": 2,
            "benchmark_low_pct": 5.0,
            "benchmark_high_pct": 10.0,
            "success_hours": 40.0,
            "loyalty_tier": "gold",
        },
        {
            "as_of": AS_OF,
            "segment": "Middle",
            "customers": 0,
            "customers_pct": 0.0,
            "monetary_total": 0.0,
            "monetary_mean": None,
            "monetary_pct": 0.0,
            "recency_mean": None,
            "frequency_mean": None,
            "customers_change": -1,
            "benchmark_low_pct": None,
            "benchmark_high_pct": None,
            "success_hours": 0.0,
            "loyalty_tier": "none",
        },
        {
            "as_of": AS_OF,
            "segment": "Bottom",
            "customers": 1,
            "customers_pct": 25.0,
            "monetary_total": -0.75,
            "monetary_mean": -0.75,
            "monetary_pct": -1.25,
            "recency_mean": 300.0,
            "frequency_mean": 1.0,
            "customers_change": 1,
            "benchmark_low_pct": None,
            "benchmark_high_pct": None,
            "success_hours": 0.0,
            "loyalty_tier": "none",
        },
    ]


def test_without_options_their_columns_are_empty(engine_table: MakeTable) -> None:
    for row in summary(engine_table):
        assert row["customers_change"] is row["success_hours"] is row["loyalty_tier"] is None


def test_nobody_at_all(engine_table: MakeTable) -> None:
    table = segment_summary(
        engine_table(NOW).filter(nw.col("recency") > 999),
        None,
        as_of=AS_OF,
        scheme=SCHEME,
        config=SummaryConfig(success_hours=8),
    )
    assert table.collect_schema().names() == list(SEGMENT_SUMMARY.schema.columns)
    rows = rows_of(table)
    assert [row["customers"] for row in rows] == [0, 0, 0]
    assert [row["monetary_pct"] for row in rows] == [None, None, None]
    assert [row["success_hours"] for row in rows] == [0.0, 0.0, 0.0]


def test_scores_without_segments_make_one_row(engine_table: MakeTable) -> None:
    table = engine_table({**NOW, "segment": pa.array([None] * 4, pa.string())})
    (row,) = rows_of(segment_summary(table, None, as_of=AS_OF, scheme=None, config=SummaryConfig()))
    assert (row["segment"], row["customers"], row["customers_pct"]) == ("(none)", 4, 100.0)


def test_hours_follow_value() -> None:
    assert success_hours([30_000, 10_000, 0, -5_000], 40) == [30.0, 10.0, 0.0, 0.0]
    assert success_hours([1, 1, 1], 1) == [0.34, 0.33, 0.33]
    assert success_hours([-1, 0], 40) == [0.0, 0.0]
    assert success_hours([5, 7], None) == [None, None]


@given(
    units=st.lists(st.integers(-(10**9), 10**14), min_size=1, max_size=12),
    hundredths=st.integers(0, 10_000_000),
)
def test_hours_add_up_to_the_budget(units: list[int], hundredths: int) -> None:
    hours = success_hours(units, hundredths / 100)
    parts = [round(100 * (hour or 0.0)) for hour in hours]
    positive = sum(value for value in units if value > 0)
    assert sum(parts) == (hundredths if positive else 0)
    # Nobody is more than a hundredth of an hour away from the exact share.
    for value, part in zip(units, parts, strict=True):
        assert abs(part * positive - hundredths * max(value, 0)) <= positive


def test_a_tier_for_an_unknown_segment_names_the_nearest() -> None:
    config = SummaryConfig.model_validate({"loyalty_tiers": {"segments": {"Tops": "gold"}}})
    with pytest.raises(UnknownSegment, match=r"'Tops' is not a segment .* mean 'Top'") as caught:
        tiers_by_name(config, SCHEME)
    assert str(caught.value).startswith("loyalty_tiers.segments.Tops: ")


@pytest.mark.parametrize(
    "config", [{"success_hours": -1}, {"industry": "banking"}, {"loyalty_tier": {}}]
)
def test_settings_out_of_bounds(config: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        SummaryConfig(**config)


def test_benchmarks_are_those_published() -> None:
    found = benchmarks()
    assert set(found) == {"ecommerce", "saas", "retail"}
    order = ("Champions", "Loyal Customers", "At Risk", "Lost")
    assert [found["ecommerce"][name] for name in order] == [(5, 10), (10, 15), (10, 15), (20, 30)]
    assert [found["saas"][name] for name in order] == [(10, 15), (15, 20), (5, 10), (15, 25)]
    assert [found["retail"][name] for name in order] == [(3, 7), (8, 12), (12, 18), (25, 35)]


def test_benchmarks_name_segments_of_the_default_scheme() -> None:
    for shares in benchmarks().values():
        assert set(shares) <= set(load_scheme().names)
