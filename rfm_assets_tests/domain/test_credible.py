"""Intervals of lifetime value: the arithmetic everywhere, the sampling where its package is."""

import csv
from pathlib import Path

import numpy as np
import pytest

from rfm_assets.domain.buying_models import BgNbd, GammaGamma
from rfm_assets.domain.credible import Draw, credible_totals, installed, posterior
from rfm_assets.domain.lifetime_value import KINDS, LifetimeValueConfig, totals_of
from rfm_assets_tests.domain.test_lifetime_value import computed, shop
from rfm_assets_tests.tables import rows_of, tables_on

CDNOW = Path(__file__).parents[1] / "golden" / "cdnow_1997_09_30.csv"


def test_the_totals_of_one_pair_of_models_are_those_of_the_table() -> None:
    with tables_on("polars") as make:
        found = computed(make, list(shop()))
        rows = rows_of(found.table, "customer_id")
    kinds = {name: np.array([float(row[name]) for row in rows]) for name in KINDS}
    spent = [(row["repeat_spend_mean"] or 0.0) * row["repeat_purchases"] for row in rows]
    kinds["repeat_units"] = np.array(spent) * 10_000
    draw = Draw(found.models.purchases, found.models.spend)
    totals = totals_of(draw, kinds, LifetimeValueConfig(), scale=1.0)
    for name, column in (("alive", "probability_alive"), ("lifetime_value", "lifetime_value")):
        assert totals[name] == pytest.approx(sum(row[column] for row in rows))
    expected = sum(row["expected_purchases"] for row in rows)
    assert totals["expected_purchases"] == pytest.approx(expected)
    # Draws that are all alike leave nothing open.
    (same,) = {
        (one.low, one.high)
        for name, one in credible_totals(
            [draw] * 5, lambda one: totals_of(one, kinds, LifetimeValueConfig(), scale=2.0)
        ).items()
        if name == "alive"
    }
    assert same == pytest.approx((2 * totals["alive"],) * 2)


def test_an_interval_holds_95_of_a_hundred_draws() -> None:
    draws = [
        Draw(BgNbd(r=float(n), alpha=1, a=1, b=1), GammaGamma(p=2, q=3, gamma=1))
        for n in range(1, 102)
    ]
    found = credible_totals(draws, lambda one: {"r": one.purchases.r})["r"]
    assert (found.value, found.low, found.high) == (51.0, 3.5, 98.5)


@pytest.mark.skipif(not installed(), reason="needs the extra `bayesian`, on Python 3.12")
def test_the_posterior_of_cdnow_holds_the_published_estimates() -> None:
    with CDNOW.open(encoding="utf-8") as stream:
        kinds = [
            {name: int(value) for name, value in row.items()} for row in csv.DictReader(stream)
        ]
    rows = [row for row in kinds for _ in range(row["customers"])]
    x, t_x, t, cents = (
        np.array([float(row[name]) for row in rows])
        for name in ("repeat_purchases", "first_to_last_days", "age_days", "repeat_cents")
    )
    draws = posterior(x, t_x / 7, t / 7, cents / 100 / np.maximum(x, 1), seed=1)
    # Fader, Hardie and Lee (2005): r 0.243, alpha 4.414, a 0.793, b 2.426.
    for name, published in {"r": 0.243, "alpha": 4.414, "a": 0.793, "b": 2.426}.items():
        values = [getattr(one.purchases, name) for one in draws]
        low, high = np.percentile(values, (2.5, 97.5))
        assert low < published < high
