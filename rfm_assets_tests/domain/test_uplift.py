"""The smallest uplift, held to published sample sizes, and the baseline it starts from."""

from itertools import pairwise
from math import sqrt

import narwhals as nw
import pytest
from scipy.stats import norm

from rfm_assets.domain.uplift import detectable, repurchase_rate, smallest_uplift
from rfm_assets_tests.tables import MakeTable


@pytest.mark.parametrize(
    ("size", "rate", "other", "power"),
    [
        # Worked by hand: (1.959964 * sqrt(2 * .125 * .875) + .841621 * sqrt(.09 + .1275))**2
        # / .05**2 = 685.6
        (685.6, 0.10, 0.15, 0.8),
        # R's documentation of power.prop.test: n = 76.7 for .50 against .75 with power .90,
        (76.7, 0.50, 0.75, 0.9),
        # and power .740 for n = 50.
        (50, 0.50, 0.75, 0.7401659),
    ],
)
def test_published_sample_sizes(size: float, rate: float, other: float, power: float) -> None:
    found = smallest_uplift(size, size, rate, power=power)  # type: ignore[arg-type]
    assert found == pytest.approx(other - rate, abs=1e-4)


def test_groups_of_different_sizes() -> None:
    """The power at the uplift found, computed the other way round by scipy, is 0.8."""
    treated, control, rate = 5000, 500, 0.06
    found = smallest_uplift(treated, control, rate)
    assert found is not None
    other = rate + found
    pooled = (treated * other + control * rate) / (treated + control)
    equal = sqrt(pooled * (1 - pooled) * (1 / treated + 1 / control))
    unequal = sqrt(other * (1 - other) / treated + rate * (1 - rate) / control)
    assert norm.cdf((found - norm.ppf(0.975) * equal) / unequal) == pytest.approx(0.8)


def test_more_customers_show_less() -> None:
    found = [smallest_uplift(9 * n, n, 0.1) for n in (20, 200, 2000, 20_000)]
    assert all(a > b for a, b in pairwise(found) if a and b)
    assert None not in found


def test_not_measurable_says_why() -> None:
    assert detectable(100, 0, 0.1).told == "not measurable: nobody is in a control group"
    assert detectable(0, 5, 0.1).told == "not measurable: nobody is on the list"
    assert detectable(100, 10, None).told == "not measurable: no baseline rate is known"
    assert detectable(3, 1, 0.5).told == (
        "not measurable: 3 on the list and 1 in control are too few for any uplift"
    )
    assert detectable(3, 1, 1.0).uplift is None
    assert detectable(686, 686, 0.1).told == (
        "5.00 percentage points above 10.00 %, with 686 on the list and 686 in control"
    )


def test_repurchase_rate_counts_buyers_of_the_audience(engine_table: MakeTable) -> None:
    audience = engine_table({"customer_id": ["a", "b", "c", "d"]})
    transactions = engine_table(
        {
            "customer_id": ["a", "a", "b", "c", "d", "stranger"],
            "day": [100, 105, 99, 128, 110, 110],
            "amount": [5.0, 5.0, 9.0, 9.0, -3.0, 5.0],
        }
    )
    # Days 100 to 127: a bought twice; b before, c after, d gave something back.
    assert repurchase_rate(audience, transactions, first_day=100, days=28) == 0.25


def test_nobody_has_no_rate(engine_table: MakeTable) -> None:
    nobody = engine_table({"customer_id": ["a"]}).filter(nw.col("customer_id") == "b")
    transactions = engine_table({"customer_id": ["a"], "day": [1], "amount": [1.0]})
    assert repurchase_rate(nobody, transactions, first_day=0, days=28) is None
