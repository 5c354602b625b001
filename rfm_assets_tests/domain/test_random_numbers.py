"""Random numbers as a function of what they are for."""

import numpy as np
import pytest

from rfm_assets.domain.random_numbers import beta, gamma, normal, uniform


def test_the_distributions_have_their_known_means_and_variances():
    index = np.arange(60_000)
    u = uniform(1, 1, index)
    assert (u.mean(), u.var()) == pytest.approx((1 / 2, 1 / 12), abs=0.005)
    n = normal(1, 2, index)
    assert (n.mean(), n.var()) == pytest.approx((0, 1), abs=0.02)
    for shape in (0.5, 0.9, 3.0):
        g = gamma(1, 3, index, shape=shape)
        assert (g.mean(), g.var()) == pytest.approx((shape, shape), rel=0.04)
    b = beta(1, 4, index, a=0.6, b=3.0)
    assert (b.mean(), b.var()) == pytest.approx((1 / 6, 0.6 * 3 / (3.6**2 * 4.6)), rel=0.03)


def test_a_draw_does_not_depend_on_the_others():
    index = np.arange(1000)
    whole = gamma(5, 6, index, index % 7, shape=0.9)
    assert np.array_equal(
        gamma(5, 6, index[[999, 3]], index[[999, 3]] % 7, shape=0.9), whole[[999, 3]]
    )
    assert len({*uniform(5, 6, index), *uniform(5, 7, index), *uniform(6, 6, index)}) == 3000
