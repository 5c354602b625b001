"""AUC, intervals, lift and calibration against scikit-learn and against numbers worked by hand."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from rfm_assets.domain.judging import Ranking, Resampled, calibration, calibration_error, lift

PAIRS = st.lists(st.tuples(st.integers(0, 6), st.booleans()), min_size=2, max_size=60)


@given(PAIRS)
def test_the_auc_is_that_of_scikit_learn(pairs: list[tuple[int, bool]]) -> None:
    scores = np.array([float(score) for score, _ in pairs])
    happened = np.array([did for _, did in pairs])
    found = Ranking(scores, happened).auc(np.ones(len(pairs)))
    if happened.all() or not happened.any():
        assert np.isnan(found)
    else:
        assert found == pytest.approx(roc_auc_score(happened, scores))


@given(PAIRS, st.integers(1, 4))
def test_a_weight_is_as_many_customers(pairs: list[tuple[int, bool]], times: int) -> None:
    scores = np.array([float(score) for score, _ in pairs])
    happened = np.array([did for _, did in pairs])
    weights = np.where(scores > 2, float(times), 1.0)
    many = np.repeat(np.arange(len(pairs)), weights.astype(int))
    one = Ranking(scores, happened).auc(weights)
    other = Ranking(scores[many], happened[many]).auc(np.ones(len(many)))
    assert one == pytest.approx(other, nan_ok=True)


def test_an_interval_holds_the_truth_nineteen_times_of_twenty() -> None:
    # Of two normal scores one deviation apart the true AUC is Phi(1 / sqrt 2) = 0.76025.
    truth, held = 0.76025, 0
    for seed in range(100):
        made = np.random.default_rng(seed)
        happened = made.random(400) < 0.4
        scores = made.normal(size=400) + happened
        found = Resampled({"it": scores}, happened, resamples=200).auc("it")
        assert found.low < found.value < found.high
        held += found.low <= truth <= found.high
    assert 88 <= held <= 99


def test_a_gain_is_measured_on_the_same_resamples() -> None:
    made = np.random.default_rng(1)
    happened = made.random(3_000) < 0.4
    good = made.normal(size=3_000) + happened
    same, noise = good + made.normal(size=3_000) * 0.001, made.normal(size=3_000)
    found = Resampled({"good": good, "same": same, "noise": noise}, happened, resamples=200)
    against_noise, against_same = found.gain("good", over="noise"), found.gain("good", over="same")
    assert against_noise.low > 0.15
    # Two scores that are nearly one differ by far less than each of them wavers.
    width = against_same.high - against_same.low
    assert width < (found.auc("good").high - found.auc("good").low) / 10


def test_the_lift_of_the_best_tenth() -> None:
    # Of twenty customers the best two: one of two did it, of all five did. 0.5 / 0.25 = 2.
    scores = np.arange(20.0)
    happened = np.isin(np.arange(20), [19, 3, 4, 5, 6])
    assert lift(scores, happened) == pytest.approx(2.0)
    # Where all tie, everybody is as good as anybody.
    assert lift(np.zeros(20), happened) == pytest.approx(1.0)
    # Three tie for two places, one of them did it: two thirds of one on average.
    tied = np.where(scores >= 17, 17.0, scores)
    assert lift(tied, happened) == pytest.approx((1 / 3) / 0.25)


def test_calibration_by_bins() -> None:
    predicted = np.array([0.1] * 50 + [0.8] * 50)
    happened = np.array([True] * 10 + [False] * 40 + [True] * 40 + [False] * 10)
    low, high = calibration(predicted, happened)
    assert (low.customers, low.predicted, low.observed) == (50, pytest.approx(0.1), 0.2)
    assert (high.customers, high.predicted, high.observed) == (50, pytest.approx(0.8), 0.8)
    assert calibration_error([low, high]) == pytest.approx(0.05)
