"""From transactions to the models' numbers and back to every customer, on each engine."""

import random
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import narwhals as nw
import numpy as np
import pytest

from rfm_assets.domain.buying_models import BgNbd, GammaGamma
from rfm_assets.domain.lifetime_value import (
    LifetimeValue,
    LifetimeValueConfig,
    Models,
    estimates,
    lifetime_value,
    purchase_days,
    purchase_history,
)
from rfm_assets.errors import NotEnoughCustomers
from rfm_assets_tests.domain.purchases import AS_OF, Purchase, shop, transactions
from rfm_assets_tests.tables import ENGINES, MakeTable, held, rows_of, tables_on

CONFIG = LifetimeValueConfig()


def computed(make: MakeTable, rows: Sequence[Purchase], **settings: Any) -> LifetimeValue:
    return lifetime_value(
        make(transactions(rows)),
        as_of=AS_OF,
        config=LifetimeValueConfig(**settings),
        checkpoint=held,
        from_native=lambda frame: make(nw.to_native(frame)),
    )


def test_the_history_of_customers(engine_table: MakeTable) -> None:
    rows = [
        ("ann", "1", "2024-12-01", 10.0),
        ("ann", "2", "2024-12-01", 5.0),  # the same day: one purchase
        ("ann", "3", "2024-12-11", 7.0),
        ("ann", "4", "2024-12-31", 8.5),
        ("ann", "5", "2024-12-12", -3.0),  # a refund is none
        ("bob", "6", "2024-12-31", 4.0),
        ("cat", "7", "2025-01-01", 9.0),  # not yet
        ("dan", "8", "2024-11-01", -9.0),
        ("eve", "9", "2021-12-01", 9.0),  # before the history
    ]
    days = purchase_days(engine_table(transactions(rows)), as_of=AS_OF, config=CONFIG)
    assert rows_of(purchase_history(days, as_of=AS_OF), "customer_id") == [
        {
            "customer_id": "ann",
            "repeat_purchases": 2,
            "first_to_last_days": 30,
            "age_days": 30,
            "repeat_units": 155_000,
        },
        {
            "customer_id": "bob",
            "repeat_purchases": 0,
            "first_to_last_days": 0,
            "age_days": 0,
            "repeat_units": 0,
        },
    ]


def test_the_estimate_of_a_customer_by_hand(engine_table: MakeTable) -> None:
    # The authors' customer in days: two repeat purchases, the last after 213 of 272 days, with
    # published parameters. 39 weeks ahead she buys 1.226 times (t_x 30.43, T 38.86 weeks).
    models = Models(
        BgNbd(r=0.243, alpha=4.414, a=0.793, b=2.426),
        GammaGamma(p=6.25, q=3.74, gamma=15.44),
        1,
        1,
    )
    history = {
        "customer_id": ["a", "b"],
        "repeat_purchases": np.array([2, 0], np.int32),
        "first_to_last_days": np.array([213, 0], np.int32),
        "age_days": np.array([272, 272], np.int32),
        "repeat_units": np.array([440_000, 0], np.int64),
    }
    config = LifetimeValueConfig(horizon_days=273, discount_rate=0)
    made = estimates(
        engine_table(history),
        models,
        as_of=AS_OF,
        config=config,
        from_native=lambda frame: engine_table(nw.to_native(frame)),
    )
    a, b = rows_of(made, "customer_id")
    assert a["expected_purchases"] == pytest.approx(1.226, abs=0.0005)
    assert a["repeat_spend_mean"] == 22.0
    # p (gamma + x m) / (p x + q - 1) = 6.25 (15.44 + 44) / (12.5 + 2.74)
    assert a["expected_spend_per_purchase"] == pytest.approx(6.25 * 59.44 / 15.24)
    assert a["lifetime_value"] == pytest.approx(
        a["expected_purchases"] * a["expected_spend_per_purchase"]
    )
    # Nothing is known of her but the mean of all: 6.25 * 15.44 / 2.74 = 35.2
    assert b["expected_spend_per_purchase"] == pytest.approx(35.2, abs=0.05)
    assert (b["probability_alive"], b["repeat_spend_mean"]) == (1.0, None)


def test_money_of_later_is_worth_less() -> None:
    with tables_on("duckdb") as make:
        plain, less = (
            rows_of(
                computed(make, shop(), discount_rate=rate, horizon_days=28).table, "customer_id"
            )
            for rate in (0, 0.2)
        )
    for one, other in zip(plain, less, strict=True):
        # One step of 28 days, discounted to its middle.
        factor = 1.2 ** (-14 / 365.25)
        assert other["lifetime_value"] == pytest.approx(one["lifetime_value"] * factor)


def test_every_engine_and_every_order_of_rows_gives_the_same() -> None:
    found = []
    for position, name in enumerate(name for name in ENGINES if isinstance(name, str)):
        rows = list(shop())
        random.Random(position).shuffle(rows)
        with tables_on(name) as make:
            result = computed(make, rows)
            found.append((rows_of(result.table, "customer_id"), result.models, result.holdout))
    assert all(one == found[0] for one in found[1:])
    rows, models, holdout = found[0]
    assert len(rows) == models.customers == 600
    assert holdout is not None


@pytest.mark.spark
@pytest.mark.xdist_group("spark")
def test_spark_gives_the_same() -> None:
    with tables_on("duckdb") as make:
        expected = computed(make, shop())
        rows = rows_of(expected.table, "customer_id")
    with tables_on("spark") as make:
        found = computed(make, shop())
        assert rows_of(found.table, "customer_id") == rows
        assert (found.models, found.holdout) == (expected.models, expected.holdout)


def test_the_holdout_counts_what_came() -> None:
    with tables_on("duckdb") as make:
        result = computed(make, shop(), holdout_days=91)
    held_out = result.holdout
    assert held_out is not None
    assert held_out.cut == AS_OF - timedelta(days=91)
    cut = held_out.cut.isoformat()
    before = {c for c, _, day, amount in shop() if day < cut and amount > 0}
    came = {(c, day) for c, _, day, amount in shop() if day >= cut and amount > 0 and c in before}
    assert sum(one.customers for one in held_out.classes) == len(before)
    assert held_out.observed == len(came)
    spend = sum(a for c, _, day, a in shop() if day >= cut and a > 0 and c in before)
    assert held_out.observed_spend == pytest.approx(spend)
    # Buying at random and leaving at random is what the model knows: it is not far off.
    assert held_out.error_pct == pytest.approx(0, abs=25)
    assert held_out.expected_spend == pytest.approx(spend, rel=0.3)


def test_a_history_too_short_for_a_holdout_has_none() -> None:
    with tables_on("duckdb") as make:
        result = computed(make, shop(), holdout_days=690)
    assert result.holdout is None


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        (shop()[:100], r"customers who have bought, and 200 are needed.*`min_customers`"),
        (
            [(f"c{n}", f"o{n}", "2024-06-01", 5.0) for n in range(300)],
            r"0 customers who have bought on a second day, and 50 are.*`min_repeat_customers`",
        ),
        ([], "there are 0 customers"),
    ],
)
def test_too_little_to_say(rows: Sequence[Purchase], said: str) -> None:
    with tables_on("duckdb") as make, pytest.raises(NotEnoughCustomers, match=said):
        computed(make, rows)
