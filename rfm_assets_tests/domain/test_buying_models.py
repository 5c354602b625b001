"""BG/NBD and Gamma-Gamma against the estimates that their authors published, and their limits.

`golden/cdnow_1997_09_30.csv` is the authors' sample of CDNOW customers (brucehardie.com/datasets),
reduced to what the models need: how many customers have so many repeat purchases, days and cents.
"""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy.special import gammaln
from scipy.stats import beta, gamma

from rfm_assets.domain.buying_models import BgNbd, Floats, GammaGamma, fit_bg_nbd, fit_gamma_gamma
from rfm_assets.errors import ModelDidNotConverge

CDNOW = Path(__file__).parents[1] / "golden" / "cdnow_1997_09_30.csv"
PUBLISHED = BgNbd(r=0.243, alpha=4.414, a=0.793, b=2.426)


def floats(*values: float) -> Floats:
    return np.array(values, dtype=np.float64)


@pytest.fixture(scope="module")
def cdnow() -> pd.DataFrame:
    return pd.read_csv(CDNOW).astype(float)


def test_the_published_estimates_of_bg_nbd(cdnow: pd.DataFrame) -> None:
    # Table 2 of the paper of 2005: r 0.243, alpha 4.414, a 0.793, b 2.426, LL -9582.4.
    x, t_x, t, n = (
        cdnow[name].to_numpy()
        for name in ("repeat_purchases", "first_to_last_days", "age_days", "customers")
    )
    found = fit_bg_nbd(x, t_x / 7, t / 7, n)
    assert found.model_dump() == pytest.approx(PUBLISHED.model_dump(), abs=0.0005)
    assert found.log_likelihood(x, t_x / 7, t / 7) @ n == pytest.approx(-9582.4, abs=0.05)


def test_the_published_estimates_of_gamma_gamma(cdnow: pd.DataFrame) -> None:
    # Section 5 of the note of 2013: p 6.25, q 3.74, gamma 15.44, over 946 customers.
    kept = cdnow[cdnow["repeat_purchases"] > 0]
    x, n = kept["repeat_purchases"].to_numpy(), kept["customers"].to_numpy()
    assert n.sum() == 946
    found = fit_gamma_gamma(x, kept["repeat_cents"].to_numpy() / 100 / x, n)
    assert found.model_dump() == pytest.approx({"p": 6.25, "q": 3.74, "gamma": 15.44}, abs=0.005)


def test_the_published_expectation_of_a_customer() -> None:
    # The authors' spreadsheet: x = 2, t_x = 30.43, T = 38.86, 39 weeks ahead: 1.226.
    x, t_x, t = floats(2), floats(30.43), floats(38.86)
    alive = PUBLISHED.probability_alive(x, t_x, t)
    assert alive * PUBLISHED.expected_if_alive(x, t, 39.0) == pytest.approx([1.226], abs=0.0005)


def test_the_likelihood_of_one_customer_by_hand() -> None:
    # r = alpha = a = b = 1 and one repeat purchase at 1 of 3: gamma(2) / gamma(1) * 1, times
    # gamma(2) gamma(2) / (gamma(1) gamma(3)) = 1/2, times (1/4)^2 + (1/1) (1/2)^2 = 5/16.
    model = BgNbd(r=1, alpha=1, a=1, b=1)
    found = np.exp(model.log_likelihood(floats(1), floats(1), floats(3)))
    assert found == pytest.approx([1 / 2 * 5 / 16])
    # Of the 5/16, staying is 1/16.
    assert model.probability_alive(floats(1), floats(1), floats(3)) == pytest.approx([1 / 5])


def test_nobody_without_a_repeat_purchase_has_left() -> None:
    assert PUBLISHED.probability_alive(floats(0, 0), floats(0, 0), floats(1, 500)).tolist() == [
        1,
        1,
    ]


MODELS = st.builds(
    BgNbd,
    r=st.floats(0.05, 5),
    alpha=st.floats(0.02, 100),
    a=st.floats(0.05, 9) | st.floats(9, 1e3) | st.floats(1e3, 1e7),
    b=st.floats(0.1, 9) | st.floats(9, 1e7),
)


@given(MODELS, st.integers(0, 300), st.floats(0, 200), st.floats(0.1, 60))
@example(BgNbd(r=1, alpha=0.0625, a=2, b=1), 99, 0.0, 1.0)
@settings(max_examples=300, deadline=None)
def test_expectations_are_finite_and_grow(
    model: BgNbd, purchases: int, t: float, ahead: float
) -> None:
    x, until = floats(purchases), floats(t)
    soon = model.expected_if_alive(x, until, ahead)[0]
    later = model.expected_if_alive(x, until, 2 * ahead)[0]
    # At most the rate of one who never leaves.
    most = (model.r + purchases) / (model.alpha + t) * ahead
    assert 0 <= soon <= most * (1 + 1e-5)
    assert soon <= later * (1 + 1e-6)
    assert 0 <= model.probability_alive(x, until / 2, until)[0] <= 1


@given(MODELS, st.integers(0, 30), st.floats(1, 200), st.floats(1, 60))
@example(BgNbd(r=1, alpha=0.5, a=900, b=2000), 3, 1.0, 52.0)  # its series has no end
@settings(max_examples=50, deadline=None)
def test_the_series_is_the_integral(model: BgNbd, purchases: int, t: float, ahead: float) -> None:
    # The expectation over the customer's own probability of leaving p and rate, given that she is
    # alive: of (1 - exp(-rate p t)) / p, summed over many draws of p.
    p = np.random.default_rng(1).beta(model.a, model.b + purchases, 200_000)
    p = np.maximum(p, 1e-300)
    rate = model.r + purchases
    values = -np.expm1(-rate * np.log1p(p * ahead / (model.alpha + t))) / p
    noise = 6 * values.std() / np.sqrt(len(p))
    found = model.expected_if_alive(floats(purchases), floats(t), ahead)[0]
    assert found == pytest.approx(values.mean(), abs=noise + 1e-6 * found)


@given(a=st.floats(0.9999, 1.0001))
def test_no_step_where_the_formula_divides_by_nothing(a: float) -> None:
    around = [
        BgNbd(r=0.5, alpha=4, a=one, b=2).expected_if_alive(floats(3), floats(20), 10.0)[0]
        for one in (0.9999, a, 1.0001)
    ]
    assert min(around[0], around[2]) - 1e-4 <= around[1] <= max(around[0], around[2]) + 1e-4


def drawn(model: BgNbd, spend: GammaGamma, customers: int, seed: int) -> pd.DataFrame:
    """Customers who buy as the models say, over 52 weeks."""
    made = np.random.default_rng(seed)
    rows = []
    for _ in range(customers):
        rate = made.gamma(model.r, 1 / model.alpha)
        leaves = made.beta(model.a, model.b)
        at, x = 0.0, 0
        last = 0.0
        while (at := at + made.exponential(1 / rate)) < 52:
            x, last = x + 1, at
            if made.random() < leaves:
                break
        scale = made.gamma(spend.q, 1 / spend.gamma)
        rows.append((x, last, made.gamma(spend.p, 1 / scale, max(x, 1)).mean()))
    return pd.DataFrame(rows, columns=["x", "t_x", "mean"]).astype(float)


def test_what_was_put_in_is_found_again() -> None:
    model, spend = BgNbd(r=1.2, alpha=10, a=0.9, b=3), GammaGamma(p=4, q=5, gamma=60)
    made = drawn(model, spend, 20_000, seed=7)
    t, ones = np.full(len(made), 52.0), np.ones(len(made))
    found = fit_bg_nbd(made["x"].to_numpy(), made["t_x"].to_numpy(), t, ones)
    assert found.model_dump() == pytest.approx(model.model_dump(), rel=0.15)
    kept = made[made["x"] > 0]
    paid = fit_gamma_gamma(kept["x"].to_numpy(), kept["mean"].to_numpy(), np.ones(len(kept)))
    assert paid.model_dump() == pytest.approx(spend.model_dump(), rel=0.1)


@given(scale=st.sampled_from([0.01, 100.0, 15_000.0]))
@settings(max_examples=3, deadline=None)
def test_the_currency_changes_only_the_scale(scale: float) -> None:
    kept = pd.read_csv(CDNOW).query("repeat_purchases > 0").astype(float)
    x, n = kept["repeat_purchases"].to_numpy(), kept["customers"].to_numpy()
    mean = kept["repeat_cents"].to_numpy() / 100 / x
    one, other = fit_gamma_gamma(x, mean, n), fit_gamma_gamma(x, mean * scale, n)
    assert other.model_dump() == pytest.approx(
        {"p": one.p, "q": one.q, "gamma": one.gamma * scale}, rel=1e-3
    )


def test_customers_who_never_leave_do_not_tell_how_they_leave() -> None:
    # All bought on the last day: there is no sign of anybody leaving.
    x = floats(*range(1, 40))
    t = np.full(39, 50.0)
    with pytest.raises(ModelDidNotConverge, match=r"BG/NBD did not converge.*longer history"):
        fit_bg_nbd(x, t, t, np.full(39, 100.0))


def alike(r: float, alpha: float, leaving: float, customers: int, seed: int) -> pd.DataFrame:
    """Customers who all leave with the same probability."""
    made = np.random.default_rng(seed)
    rows = []
    for _ in range(customers):
        rate, at, x, last = made.gamma(r, 1 / alpha), 0.0, 0, 0.0
        while (at := at + made.exponential(1 / rate)) < 52:
            x, last = x + 1, at
            if made.random() < leaving:
                break
        rows.append((x, round(last, 1)))
    table = pd.DataFrame(rows, columns=["x", "t_x"]).value_counts().sort_index().reset_index()
    return table.astype(float)


# Other seeds make, by chance, customers who look as if they differed.
@pytest.mark.parametrize(("leaving", "seed"), [(0.04, 3), (0.25, 3), (0.8, 5)])
def test_customers_who_leave_alike_need_one_probability(leaving: float, seed: int) -> None:
    made = alike(0.9, 6.0, leaving, 4_000, seed)
    x, t_x, n = (made[name].to_numpy() for name in ("x", "t_x", "count"))
    t = np.full(len(made), 52.0)
    found = fit_bg_nbd(x, t_x, t, n)
    assert found.a + found.b == pytest.approx(1e8)
    assert found.a / (found.a + found.b) == pytest.approx(leaving, rel=0.1)
    assert (found.r, found.alpha) == pytest.approx((0.9, 6.0), rel=0.15)

    # The likelihood as the model's story tells it: x purchases by her rate, which is gamma
    # distributed, the last at t_x; after each but the last she stayed, after that she left or not.
    def likely(r: float, alpha: float, p: float) -> Floats:
        rate = gammaln(r + x) - gammaln(r) + r * np.log(alpha)
        stayed = x * np.log(1 - p) - (r + x) * np.log(alpha + t)
        gone = np.where(x > 0, np.log(p) - np.log(1 - p), -np.inf)
        left = gone + x * np.log(1 - p) - (r + x) * np.log(alpha + t_x)
        return rate + np.logaddexp(stayed, left)

    p = found.a / (found.a + found.b)
    assert found.log_likelihood(x, t_x, t) == pytest.approx(
        likely(found.r, found.alpha, p), abs=1e-4
    )
    best = float(likely(found.r, found.alpha, p) @ n)
    for direction in np.vstack([np.eye(3), -np.eye(3)]):
        r, alpha, beside = np.array([found.r, found.alpha, p]) * (1 + 0.01 * direction)
        assert float(likely(r, alpha, beside) @ n) < best
    nudged = fit_bg_nbd(x, t_x * (1 + 1e-12), t, n * 3)
    assert nudged.model_dump() == pytest.approx(found.model_dump(), rel=1e-4)
    # The expectation with one probability for all, which has a closed form.
    expected = found.expected_if_alive(x, t, 13.0)
    closed = (1 - (1 + p * 13.0 / (found.alpha + t)) ** -(found.r + x)) / p
    assert expected == pytest.approx(closed, rel=1e-5)


@pytest.mark.parametrize("seed", [1, 2])
def test_customers_who_spend_alike_have_one_mean(seed: int) -> None:
    made = np.random.default_rng(seed)
    x = made.integers(1, 12, 3_000).astype(float)
    mean = made.gamma(4.0 * x, 25.0 / (4.0 * x))
    found = fit_gamma_gamma(x, mean, np.ones(3_000))
    assert found.q == pytest.approx(1e8)
    assert found.p == pytest.approx(4.0, rel=0.1)
    assert found.p * found.gamma / (found.q - 1) == pytest.approx(25.0, rel=0.02)
    nudged = fit_gamma_gamma(x, mean * (1 + 1e-12), np.full(3_000, 2.0))
    assert nudged.model_dump() == pytest.approx(found.model_dump(), rel=1e-5)

    # The mean of x purchases of one shape and rate is gamma distributed.
    def likely(p: float, rate: float) -> Floats:
        return np.asarray(gamma.logpdf(mean, p * x, scale=1 / (rate * x)))

    rate = found.q / found.gamma
    assert found.log_likelihood(x, mean) == pytest.approx(likely(found.p, rate), abs=1e-3)
    best = likely(found.p, rate).sum()
    for up, along in ((1.01, 1), (0.99, 1), (1, 1.01), (1, 0.99)):
        assert likely(found.p * up, rate * along).sum() < best


@pytest.mark.parametrize("a", [999.0, 1_000.0])
def test_two_points_stand_for_a_narrow_distribution(a: float) -> None:
    # On both sides of where the formula changes, beside an integral by quadrature over the density.
    model = BgNbd(r=0.69, alpha=9.12, a=a, b=3_400.0)
    x, t = floats(0, 1, 3, 10, 40), floats(1, 10, 40, 50, 52)
    found = model.expected_if_alive(x, t, 52.0)
    nodes, weights = np.polynomial.legendre.leggauss(400)
    for number in range(5):
        density = beta(model.a, model.b + x[number])
        low, high = density.ppf(1e-16), density.isf(1e-16)
        p = (high - low) / 2 * nodes + (high + low) / 2
        rate = model.r + x[number]
        each = -np.expm1(-rate * np.log1p(p * 52.0 / (model.alpha + t[number]))) / p
        whole = float(np.sum(weights * (high - low) / 2 * density.pdf(p) * each))
        assert found[number] == pytest.approx(whole, rel=1e-6)


def test_equal_spends_have_no_spread_to_fit() -> None:
    x = floats(1, 2, 3)
    with pytest.raises(ModelDidNotConverge, match="Gamma-Gamma did not converge"):
        fit_gamma_gamma(x, floats(10, 10, 10), floats(100, 100, 100))
