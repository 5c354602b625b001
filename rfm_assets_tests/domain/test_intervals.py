"""Intervals held to published ones, and to what they promise; the split of two groups."""

from itertools import product
from math import comb

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom, binomtest

from rfm_assets.domain.intervals import newcombe, redrawn, split_p_value, wilson


def test_wilsons_interval() -> None:
    # Wilson's for 10 of 100: 0.0552 to 0.1744 (Newcombe 1998, method 3).
    assert wilson(10, 100) == pytest.approx((0.0552, 0.1744), abs=1e-4)
    assert wilson(0, 10)[0] == 0.0
    assert wilson(10, 10)[1] == pytest.approx(1.0)
    # By hand with z = 1.644854: (0.1 + 0.0135277 ± 1.644854 * 0.0311069) / 1.0270554.
    assert wilson(10, 100, confidence=0.9) == pytest.approx((0.06072, 0.16036), abs=1e-5)


@pytest.mark.parametrize(
    ("counts", "low", "high"),
    [
        # Newcombe, Interval estimation for the difference between independent proportions:
        # comparison of eleven methods, Statistics in Medicine 17 (1998), table II, method 10.
        ((56, 70, 48, 80), 0.0524, 0.3339),
        ((9, 10, 3, 10), 0.1705, 0.8090),
        ((6, 7, 2, 7), 0.0582, 0.8062),
        ((5, 56, 0, 29), -0.0381, 0.1926),
        ((0, 10, 0, 20), -0.1611, 0.2775),
        ((0, 10, 0, 10), -0.2775, 0.2775),
        ((10, 10, 0, 20), 0.6791, 1.0),
        ((10, 10, 0, 10), 0.6075, 1.0),
    ],
)
def test_published_intervals_of_a_difference(
    counts: tuple[int, int, int, int], low: float, high: float
) -> None:
    assert newcombe(*counts) == pytest.approx((low, high), abs=5e-5)


@pytest.mark.parametrize("rate", [0.01, 0.03, 0.08, 0.2, 0.4])
@pytest.mark.parametrize(("of", "of_others"), [(98, 10), (180, 20), (450, 50), (300, 100)])
def test_without_an_effect_a_difference_is_seen_no_more_often_than_stated(
    of: int, of_others: int, rate: float
) -> None:
    """Over every outcome there can be, each with its probability."""
    first = [binom_pmf(x, of, rate) for x in range(of + 1)]
    second = [binom_pmf(y, of_others, rate) for y in range(of_others + 1)]
    above = below = 0.0
    for x, y in product(range(of + 1), range(of_others + 1)):
        if (likely := first[x] * second[y]) > 1e-9:
            low, high = newcombe(x, of, y, of_others)
            above += likely * (low > 0)
            below += likely * (high < 0)
    assert above <= 0.025
    # Counts are whole, and so no interval misses in exactly 5 of a hundred.
    assert above + below <= 0.053


def binom_pmf(x: int, of: int, rate: float) -> float:
    return comb(of, x) * rate**x * (1 - rate) ** (of - x)


def units(*values: int) -> np.ndarray:
    return np.array(values, dtype=np.int64)


def test_redrawing_a_small_group_gives_what_can_be_counted() -> None:
    """One in control of twenty: nineteen draws of twenty change one customer for another.

    With 1 unit each but 21 in control, a draw without the 21 has the difference 20/19 of what the
    other spends more, so that every effect is the same: that of giving back her place.
    """
    found = redrawn(units(*[1] * 19), 19, units(21), 1, confidence=0.8)
    assert found == pytest.approx((-20.0, -20.0))


def test_groups_that_spent_alike_have_no_interval() -> None:
    assert redrawn(units(), 10, units(), 5) is None
    assert redrawn(units(7, 7, 7), 3, units(7, 7), 2) is None
    # A draw of two is mostly one of the very groups that were observed.
    assert redrawn(units(1), 1, units(2), 1) is None


def test_it_covers_a_constant_effect_where_one_customer_spends_most() -> None:
    """A thousand customers, one of whom spends more than all the others together."""
    made = np.random.default_rng(1)
    spends = np.round(made.lognormal(8, 1.5, 1000)).astype(np.int64) * (made.random(1000) < 0.3)
    spends[0] = 30 * spends.max()
    missed, draws, effect = 0, 150, 5_000
    for _ in range(draws):
        control = made.random(1000) < 0.1
        treated = spends[~control] + effect
        low, high = redrawn(treated, len(treated), spends[control], int(control.sum())) or (0, 0)
        missed += not low <= effect <= high
    # Up to the 99.9 % point of as many draws that miss by 5 %.
    assert missed <= binom.ppf(0.999, draws, 0.05)


groups = st.lists(st.integers(-500, 100_000).filter(bool), max_size=12)


@given(groups, groups, st.integers(3, 30), st.integers(3, 30))
def test_the_opposite_difference_has_the_opposite_interval(
    one: list[int], other: list[int], more: int, others: int
) -> None:
    of, of_others = len(one) + more, len(other) + others
    found = redrawn(units(*one), of, units(*other), of_others)
    back = redrawn(units(*reversed(other)), of_others, units(*one), of)
    if of == of_others and sorted(one) == sorted(other):
        return  # nothing tells which is redrawn
    assert back == (None if found is None else (-found[1], -found[0]))


@given(st.integers(0, 60), st.integers(1, 60), st.floats(0.01, 0.99))
def test_a_split_is_as_likely_as_the_binomial_distribution_says(
    hits: int, of: int, share: float
) -> None:
    hits = min(hits, of)
    lower, upper = binom.cdf(hits, of, share), binom.sf(hits - 1, of, share)
    expected = min(1.0, 2 * (lower if hits <= of * share else upper))
    assert split_p_value(hits, of, share) == pytest.approx(expected, rel=1e-6, abs=1e-12)


def test_splits_of_many_and_few() -> None:
    # 10 million customers with a share of 0.1, three standard deviations off: 2 * 0.00134990.
    off = round(1_000_000 + 3 * (10_000_000 * 0.1 * 0.9) ** 0.5)
    assert split_p_value(off, 10_000_000, 0.1) == pytest.approx(0.0027, rel=0.01)
    assert split_p_value(0, 100, 0.1) == pytest.approx(2 * 0.9**100)
    assert split_p_value(5, 5, 0.1) == pytest.approx(2e-5)
    # scipy's exact test takes the other tail by another rule; here both rules agree.
    assert split_p_value(50, 100, 0.5) == binomtest(50, 100, 0.5).pvalue == 1.0
