"""What is known of the Online Retail file holds for the tables that the deployment makes of it."""

from pathlib import Path

import dagster as dg
import pandas as pd
import pytest

from rfm_assets.library import load_scheme
from rfm_assets_tests.examples.deployment import TABLES, Deployment

pytestmark = pytest.mark.online_retail

WEEK, AS_OF = "2011-12-05", "2011-12-12"
"""The last week; its end lies after the last order."""


@pytest.fixture(scope="module")
def week(
    online_retail: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Deployment, dg.ExecuteInProcessResult]:
    deployment = Deployment(online_retail, tmp_path_factory.mktemp("store"))
    return deployment, deployment.run([WEEK])


@pytest.fixture(scope="module")
def deployment(week: tuple[Deployment, dg.ExecuteInProcessResult]) -> Deployment:
    return week[0]


@pytest.fixture(scope="module")
def kept(deployment: Deployment) -> pd.DataFrame:
    return deployment.table("transaction_data")


@pytest.fixture(scope="module")
def rejects(deployment: Deployment) -> pd.DataFrame:
    return deployment.table("transaction_data_rejects")


def test_every_line_is_kept_or_set_aside_for_want_of_a_customer(kept, rejects):
    assert len(kept) + len(rejects) == 541_909
    assert rejects["reason"].value_counts().to_dict() == {"missing_customer_id": 135_080}
    assert kept["customer_id"].nunique() == 4_372


def test_ids_have_one_spelling(kept):
    assert kept["customer_id"].str.fullmatch(r"\d{5}").all()


def test_invoices_and_dates(kept, rejects):
    assert pd.concat([kept["order_id"], rejects["order_id"]]).nunique() == 25_900
    assert kept["date"].min() == pd.Timestamp("2010-12-01 08:26")
    assert kept["date"].max() == pd.Timestamp("2011-12-09 12:50")
    assert set(kept["country"]) >= {"United Kingdom", "EIRE", "Germany"}


def test_cancelled_and_returned_lines(kept, rejects):
    orders = pd.concat([kept["order_id"], rejects["order_id"]])
    assert orders.str.startswith("C").sum() == 9_288
    shown = rejects["amount"].str.extract(r"Quantity=(.*), UnitPrice=(.*)").astype(float)
    assert (kept["quantity"] < 0).sum() + (shown[0] < 0).sum() == 10_624
    # A price of 0 gives an amount of 0; no line of a known customer has a negative price.
    assert (kept["amount"] == 0).sum() + (shown[1] <= 0).sum() == 2_517
    assert (kept.loc[kept["order_id"].str.startswith("C"), "amount"] < 0).all()


def test_purchases_of_known_customers(kept):
    bought = kept[kept["amount"] > 0]
    assert len(bought) == 397_884
    assert bought["customer_id"].nunique() == 4_338
    assert bought["order_id"].nunique() == 18_532
    assert bought["amount"].sum() == pytest.approx(8_911_407.90, abs=0.005)
    orders = bought.groupby("customer_id")["order_id"].nunique()
    assert (orders == 1).mean() == pytest.approx(0.344, abs=0.0005)


def test_customers_agree_with_pandas_over_the_observation_window(deployment, kept):
    window = kept[kept["date"] >= pd.Timestamp(AS_OF) - pd.Timedelta(days=365)]
    bought = window[window["amount"] > 0].groupby("customer_id")
    expected = pd.DataFrame(
        {
            "recency": (pd.Timestamp(AS_OF) - bought["date"].max().dt.normalize()).dt.days,
            "frequency": bought["order_id"].nunique(),
            "monetary": window.groupby("customer_id")["amount"].sum(),
        }
    ).dropna()

    found = deployment.table("customer_segments").set_index("customer_id")

    assert len(found) == len(expected) == 4_258
    expected = expected.reindex(found.index)
    assert (found["recency"] == expected["recency"]).all()
    assert (found["frequency"] == expected["frequency"]).all()
    # The product rounds each line to a ten-thousandth before it adds them up.
    assert (found["monetary"] - expected["monetary"]).abs().max() < 0.01


def test_everybody_has_one_segment_and_the_summary_adds_up(deployment):
    segments = deployment.table("customer_segments")
    assert segments["customer_id"].is_unique
    assert set(segments["segment"]) == set(load_scheme().names)

    summary = deployment.table("segment_summary").set_index("segment")
    assert summary["customers"].to_dict() == segments["segment"].value_counts().to_dict()
    assert summary["monetary_total"].sum() == pytest.approx(segments["monetary"].sum())
    lists = {name: set(deployment.table(name)["customer_id"]) for name in ("champions", "win_back")}
    of = segments.set_index("customer_id")["segment"]
    assert lists["champions"] == set(of.index[of == "Champions"])
    drifting = ["At Risk", "Cannot Lose Them", "About to Sleep", "Hibernating"]
    assert lists["win_back"] == set(of.index[of.isin(drifting)])
    lost = set(deployment.table("suppression_list")["customer_id"])
    assert lost == set(of.index[of == "Lost"])
    assert not lost & (lists["champions"] | lists["win_back"])


def test_every_check_of_every_table_is_reported_and_passes(week):
    _, result = week
    evaluations = result.get_asset_check_evaluations()

    assert {one.asset_key.to_user_string() for one in evaluations} == {
        "transaction_data",
        "transaction_data_rejects",
        *TABLES,
    }
    assert [one.check_name for one in evaluations if not one.passed] == []
    (rate,) = [one for one in evaluations if one.check_name == "reject_rate"]
    assert "135,080 of 541,909 rows set aside" in (rate.description or "")
