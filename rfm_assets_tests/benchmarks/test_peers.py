"""The pandas that the project is compared with answers the same question."""

import pandas as pd
import pytest

from benchmarks.peers import SEGMENT_NAMES, tuned, typical
from rfm_assets import segment_customers

AS_OF = pd.Timestamp("2025-01-01")


@pytest.fixture(scope="module")
def transactions() -> pd.DataFrame:
    """Customer n bought n times in two lines each, last n days before the date, for n a line."""
    return pd.DataFrame(
        [
            (f"c{n}", f"o{n}-{order}", AS_OF - pd.Timedelta(days=n + 30 * order), float(n))
            for n in range(1, 11)
            for order in range(n)
            for _ in range(2)
        ],
        columns=["customer_id", "order_id", "date", "amount"],
    )


def test_both_ways_give_the_same(transactions: pd.DataFrame) -> None:
    first = typical(transactions, AS_OF).set_index("customer_id").sort_index()
    second = tuned(transactions, AS_OF).set_index("customer_id").sort_index()

    pd.testing.assert_frame_equal(first, second, check_dtype=False)
    assert set(first["segment"]) <= set(SEGMENT_NAMES.values())
    # Two of ten customers in each fifth; c10 bought most often, but longest ago.
    assert first.loc["c10", ["R_score", "F_score", "M_score"]].tolist() == [1, 5, 5]


def test_they_measure_customers_as_the_project_does(transactions: pd.DataFrame) -> None:
    peer = tuned(transactions, AS_OF).set_index("customer_id").sort_index()
    ours = segment_customers(transactions, as_of="2025-01-01").set_index("customer_id")

    assert len(ours) == 10
    for column in ("recency", "frequency", "monetary"):
        assert (ours[column] == peer[column]).all(), column
