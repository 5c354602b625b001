"""The fourteen features, worked out by hand, on each engine."""

from collections.abc import Mapping
from datetime import date
from typing import Any

import pyarrow as pa
import pytest

from rfm_assets.domain.features import (
    FEATURES,
    FeatureConfig,
    customer_features,
    customers_with_purchase,
)
from rfm_assets.errors import AmountsTooLarge, ColumnMissing
from rfm_assets_tests.domain.purchases import AS_OF, shop, transactions
from rfm_assets_tests.tables import ENGINES, MakeTable, rows_of, tables_on

FULL = FeatureConfig(
    quantity_column="litres",
    channel_column="channel",
    location_column="station",
    status_column="status",
)
ROWS = [
    # customer, order, day, amount, litres, channel, station, status
    ("ann", "1", "2024-11-02", 30.0, 20.0, "app", "s1", "paid"),
    ("ann", "2", "2024-12-02", 20.0, 10.5, "till", "s2", "paid"),
    ("ann", "2", "2024-12-02", 10.0, 5.0, "till", "s2", "paid"),  # a line of the same order
    ("ann", "3", "2024-12-22", 60.0, 40.0, "app", "s1", "paid"),
    ("ann", "4", "2024-12-23", -12.0, 0.0, "till", "s1", "paid"),  # a refund
    ("ann", "5", "2024-12-24", 99.0, 60.0, "app", "s3", "failed"),
    ("bob", None, "2024-12-31", 5.0, 2.0, None, None, None),
    ("cat", "6", "2025-01-01", 5.0, 2.0, "app", "s1", "paid"),  # not yet
    ("dan", "7", "2024-12-01", 8.0, 2.0, "app", "s1", "failed"),  # never bought
]


def columns(rows: list[tuple[Any, ...]]) -> Mapping[str, Any]:
    made = transactions([row[:4] for row in rows])
    made["litres"] = pa.array([row[4] for row in rows], pa.float64())
    for place, name in enumerate(("channel", "station", "status"), start=5):
        made[name] = pa.array([row[place] for row in rows], pa.string())
    return made


def test_the_features_of_two_customers(engine_table: MakeTable) -> None:
    made = customer_features(engine_table(columns(ROWS)), as_of=AS_OF, config=FULL)
    ann, bob = rows_of(made, "customer_id")
    # Purchases of 30, 30 and 60: their mean is 40, their variance (100 + 100 + 400) / 3 = 200.
    spread = 200**0.5
    assert ann == {
        "customer_id": "ann",
        "recency_days": 10.0,
        "frequency_per_day": 3 / 60,
        "transaction_count": 3.0,
        "customer_age_days": 60.0,
        "spend_total": 108.0,
        "spend_mean": 36.0,
        "spend_std": pytest.approx(spread),
        "quantity_total": 75.5,
        "app_usage_rate": 2 / 3,
        "location_diversity": 2 / 3,
        "failure_rate": 1 / 4,
        "recency_frequency_ratio": 10 / 3,
        "value_consistency": pytest.approx(40 / (40 + spread)),
        "engagement_score": pytest.approx((2 / 3 + 2 / 3 + 3 / 4) / 3),
        "first_day": 20029,
        "last_day": 20079,
        "spend_units": 1_080_000,
    }
    assert (bob["spend_std"], bob["value_consistency"]) == (0.0, 1.0)
    assert (bob["app_usage_rate"], bob["location_diversity"]) == (0.0, 0.0)


def test_as_many_have_features_as_have_bought(engine_table: MakeTable) -> None:
    rows = engine_table(columns(ROWS))
    # ann and bob; what failed is no purchase only where a column says so.
    assert customers_with_purchase(rows, as_of=AS_OF, config=FULL) == 2
    assert customers_with_purchase(rows, as_of=AS_OF, config=FeatureConfig()) == 3
    short = FeatureConfig(history_days=28, status_column="status")
    assert customers_with_purchase(rows, as_of=AS_OF, config=short) == 2
    assert customers_with_purchase(rows, as_of=date(2024, 12, 1), config=short) == 0


def test_a_purchase_that_went_back_cost_nothing(engine_table: MakeTable) -> None:
    rows = [
        # An order of 10 with a line of -15 is a purchase, but not one of less than nothing.
        ("eve", "1", "2024-11-02", 10.0, 1.0, None, None, None),
        ("eve", "1", "2024-11-02", -15.0, 1.0, None, None, None),
        ("eve", "2", "2024-11-03", 30.0, 1.0, None, None, None),
        # All that fay bought went back.
        ("fay", "3", "2024-11-02", 10.0, 1.0, None, None, None),
        ("fay", "3", "2024-11-02", -15.0, 1.0, None, None, None),
    ]
    made = customer_features(engine_table(columns(rows)), as_of=AS_OF, config=FeatureConfig())
    eve, fay = rows_of(made, "customer_id")
    # Of 0 and 30 the mean is 15, and so is the standard deviation.
    assert (eve["spend_total"], eve["transaction_count"]) == (25.0, 2.0)
    assert (eve["spend_std"], eve["value_consistency"]) == (pytest.approx(15.0), pytest.approx(0.5))
    assert (fay["spend_total"], fay["spend_std"], fay["value_consistency"]) == (-5.0, 0.0, 1.0)


def test_what_is_not_mapped_is_left_out(engine_table: MakeTable) -> None:
    config = FeatureConfig(channel_column="channel")
    made = customer_features(engine_table(columns(ROWS)), as_of=AS_OF, config=config)
    names = made.collect_schema().names()
    assert {"app_usage_rate", "engagement_score"} <= set(names)
    assert set(config.left_out) == {"quantity_total", "location_diversity", "failure_rate"}
    assert not set(config.left_out) & set(names)
    assert config.left_out["quantity_total"] == "`quantity_column` names no column"
    assert len(config.available) + len(config.left_out) == len(FEATURES) == 14


@pytest.mark.parametrize("config", [FeatureConfig(), FULL], ids=["nine", "fourteen"])
def test_engines_agree_to_the_last_bit(config: FeatureConfig) -> None:
    rows = [
        (
            *row,
            float(n % 40) + 0.5,
            "app" if n % 3 else "till",
            None if n % 11 == 0 else f"s{n % 7}",
            "failed" if n % 9 == 0 else None,
        )
        for n, row in enumerate(shop())
    ]
    found = []
    for position, name in enumerate(name for name in ENGINES if isinstance(name, str)):
        with tables_on(name) as make:
            table = make(columns(rows if position % 2 else rows[::-1]))
            found.append(
                rows_of(customer_features(table, as_of=AS_OF, config=config), "customer_id")
            )
    assert len(found[0]) > 500
    assert all(one == found[0] for one in found[1:])


def test_a_column_that_is_not_there_is_named() -> None:
    config = FeatureConfig(quantity_column="liters")
    with tables_on("duckdb") as make, pytest.raises(ColumnMissing, match=r"liters.*litres") as told:
        customer_features(make(columns(ROWS)), as_of=AS_OF, config=config)
    assert "quantity_column" in str(told.value)


def test_amounts_beyond_counting_are_refused() -> None:
    rows = [(*row[:3], 1e12, *row[4:]) for row in ROWS] * 200
    with tables_on("duckdb") as make, pytest.raises(AmountsTooLarge):
        customer_features(make(columns(rows)), as_of=AS_OF, config=FeatureConfig())
