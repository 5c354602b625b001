"""Two divisions of the same customers, against scikit-learn's index and on each engine."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import adjusted_rand_score

from rfm_assets.domain.comparison import adjusted_rand_index, compared
from rfm_assets_tests.tables import MakeTable


def test_who_is_in_both_is_counted(engine_table: MakeTable) -> None:
    one = engine_table({"customer_id": ["a", "b", "c", "d"], "segment": ["x", "x", "y", "y"]})
    other = engine_table({"customer_id": ["a", "b", "c", "e"], "segment": ["p", "p", "q", "q"]})
    found = compared(one, other)
    assert found.counts == (("x", "p", 2), ("y", "q", 1))
    assert found.adjusted_rand_index == 1.0


@given(st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from("pqrs")), min_size=2))
def test_the_index_is_that_of_scikit_learn(pairs: list[tuple[str, str]]) -> None:
    counts = [(a, b, pairs.count((a, b))) for a, b in sorted(set(pairs))]
    ones, others = zip(*pairs, strict=True)
    expected = adjusted_rand_score(ones, others)
    assert adjusted_rand_index(counts) == pytest.approx(expected, abs=1e-12)


def test_nothing_to_compare_is_no_disagreement() -> None:
    assert adjusted_rand_index([]) == 1.0
