"""A year of a real wholesaler: what segments at a date say about the quarter that follows.

The quarter is judged with pandas and scikit-learn on the raw file, beside the product.
"""

from datetime import date, timedelta
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pytest
from sklearn.metrics import roc_auc_score

from rfm_assets.domain.segments import SegmentationConfig, segment
from rfm_assets.engines.base import to_arrow
from rfm_assets.engines.duckdb_engine import DuckDBEngine
from rfm_assets.library import load_scheme

pytestmark = pytest.mark.online_retail

CUTS = [date(2011, 6, 10), date(2011, 9, 10)]
QUARTER = timedelta(days=91)


@pytest.fixture(scope="module")
def lines(online_retail: Path) -> pd.DataFrame:
    raw = pd.read_csv(
        online_retail,
        dtype={"CustomerID": "string", "InvoiceNo": "string"},
        parse_dates=["InvoiceDate"],
    ).dropna(subset=["CustomerID"])
    return pd.DataFrame(
        {
            "customer_id": raw["CustomerID"],
            "order_id": raw["InvoiceNo"],
            "date": raw["InvoiceDate"],
            "day": (raw["InvoiceDate"].dt.normalize() - pd.Timestamp(0)).dt.days.astype("int32"),
            "amount": raw["Quantity"] * raw["UnitPrice"],
        }
    )


@pytest.fixture(params=CUTS, ids=str)
def judged(request: pytest.FixtureRequest, lines: pd.DataFrame) -> pd.DataFrame:
    """Customers at a cut, with whether and for how much they bought in the quarter after."""
    as_of: date = request.param
    with DuckDBEngine(threads=2) as engine:
        result = segment(
            engine.from_arrow(pa.Table.from_pandas(lines, preserve_index=False)),
            as_of=as_of,
            config=SegmentationConfig(),
            scheme=load_scheme(),
            checkpoint=engine.checkpoint,
        )
        customers = to_arrow(result.table).to_pandas().set_index("customer_id")
    when = lines["date"].dt.date
    quarter = lines[(when >= as_of) & (when < as_of + QUARTER)]
    bought = quarter[quarter["amount"] > 0]
    customers["again"] = customers.index.isin(bought["customer_id"])
    revenue = quarter.groupby("customer_id")["amount"].sum()
    customers["revenue"] = revenue.reindex(customers.index).fillna(0.0)
    return customers


def test_metrics_agree_with_pandas(lines: pd.DataFrame, judged: pd.DataFrame) -> None:
    as_of = judged["as_of"].iloc[0]
    seen = lines[lines["date"] < pd.Timestamp(as_of)]
    bought = seen[seen["amount"] > 0].groupby("customer_id")
    last = bought["date"].max().dt.normalize()
    expected = pd.DataFrame(
        {
            "recency": (pd.Timestamp(as_of) - last).dt.days,
            "frequency": bought["order_id"].nunique(),
            "monetary": seen.groupby("customer_id")["amount"].sum(),
        }
    ).dropna()
    assert len(expected) == len(judged)
    expected = expected.reindex(judged.index)
    assert (judged["recency"] == expected["recency"]).all()
    assert (judged["frequency"] == expected["frequency"]).all()
    # The product rounds each line to a ten-thousandth before it adds them up.
    assert (judged["monetary"] - expected["monetary"]).abs().max() < 0.01


def test_scores_agree_with_the_definition(judged: pd.DataFrame) -> None:
    for column, scores, sign in (
        ("recency", "R_score", -1),
        ("frequency", "F_score", 1),
        ("monetary", "M_score", 1),
    ):
        values = judged[column]
        ordered = values.sort_values().to_numpy()
        cuts = [ordered[-(-len(ordered) * k // 5) - 1] for k in range(1, 5)]
        below = sum((values > cut).astype(int) for cut in cuts)
        assert (judged[scores] == (1 + below if sign > 0 else 5 - below)).all()


def test_champions_are_few_and_bring_much(judged: pd.DataFrame) -> None:
    champions = judged["segment"] == "Champions"
    assert 0.05 <= champions.mean() <= 0.10
    assert judged.loc[champions, "again"].mean() >= 1.6 * judged["again"].mean()
    assert judged.loc[champions, "revenue"].sum() >= 0.4 * judged["revenue"].sum()


def test_lost_customers_rarely_return(judged: pd.DataFrame) -> None:
    lost = judged["segment"] == "Lost"
    assert lost.sum() > 50
    assert judged.loc[lost, "again"].mean() <= 0.65 * judged["again"].mean()


def test_the_score_ranks_who_buys_again(judged: pd.DataFrame) -> None:
    assert roc_auc_score(judged["again"], judged["RFM_score"]) >= 0.72


def test_every_segment_has_customers(judged: pd.DataFrame) -> None:
    assert set(judged["segment"]) == set(load_scheme().names)
