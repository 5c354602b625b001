"""Validation as an asset; on the Online Retail data, what a good segmentation shows there."""

from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from rfm_assets import load_table
from rfm_assets.errors import InvalidProject
from rfm_assets.store import Store
from rfm_assets_tests.components.conftest import Project
from rfm_assets_tests.components.shop import SECOND, Shop, busy_shop, failure

YAML = """
type: rfm_assets.components.SegmentValidationComponent
attributes:
  asset_name: segment_validation
  resamples: 200
  {more}
"""
QUICK = (
    "candidates: [{type: rfm, name: rfm_10}, {type: recency}, "
    "{type: rfm, name: money, segmentation: {recency_weight: 0, frequency_weight: 0}}]"
)
WHOLESALER = """
type: rfm_assets.components.TransactionDataComponent
attributes:
  asset_name: transaction_data
  time_zone: Europe/London
  source: {type: csv, path: orders.csv.gz}
  columns:
    customer_id: CustomerID
    order_id: InvoiceNo
    date: InvoiceDate
    amount: Quantity * UnitPrice
  checks: {warn_reject_rate: 0.3, max_age_days: null}
"""


@pytest.fixture
def shop(project: Project, monkeypatch: pytest.MonkeyPatch) -> Shop:
    monkeypatch.delenv("RFM_STORE_ROOT", raising=False)
    return busy_shop(project)


def table(root: Path, **options: Any) -> list[dict[str, Any]]:
    return load_table("segment_validation", root=root, kind="pyarrow", **options).to_pylist()


def test_a_report_that_says_which_to_use(shop: Shop) -> None:
    shop.project.write("segment_validation", YAML.format(more=QUICK))
    result = shop.run(SECOND)
    assert result.success, failure(result)
    rows, scores = table(shop.root), table(shop.root, part="scores")
    assert {row["candidate"] for row in rows} == {"rfm_10", "money"}
    assert {(row["candidate"], row["of"]) for row in scores} == {
        ("rfm_10", "score"),
        ("rfm_10", "segment"),
        ("recency alone", "score"),
        ("money", "score"),
        ("money", "segment"),
    }
    for name in ("rfm_10", "money"):
        own = [row for row in rows if row["candidate"] == name]
        assert sum(row["customers_pct"] for row in own) == pytest.approx(100)
        assert sum(row["revenue_pct"] for row in own) == pytest.approx(100)
    seen = {
        one.check_name: one
        for one in result.get_asset_check_evaluations()
        if one.asset_key.to_user_string() == "segment_validation"
    }
    assert seen["customers_reconcile"].passed
    assert {"segments_predict", "candidates_computed"} <= set(seen)
    shown = result.asset_materializations_for_node("segment_validation")[-1].metadata
    assert "AUC" in shown["which to use"].value
    assert "| rfm_10 | score |" in shown["scores"].value


def test_a_candidate_that_cannot_be_computed_is_told(shop: Shop) -> None:
    more = (
        "candidates: [{type: rfm, name: rfm_10}, "
        "{type: lifetime_value, name: value, model: {min_customers: 100000}}]"
    )
    shop.project.write("segment_validation", YAML.format(more=more))
    result = shop.run(SECOND)
    assert result.success, failure(result)
    (check,) = (
        one
        for one in result.get_asset_check_evaluations()
        if one.check_name == "candidates_computed"
    )
    assert not check.passed
    assert "value: there are" in str(check.description)
    shown = result.asset_materializations_for_node("segment_validation")[-1].metadata
    assert "100,000 are needed" in shown["could not be computed"].value


@pytest.mark.parametrize(
    ("more", "told"),
    [
        ("candidates: [{type: clusters, name: four}]", "has no score"),
        ("candidates: [{type: recency}, {type: recency}]", "stands twice"),
        ("candidates: [{type: rfm, name: a, segmentation: {segment_scheme: rfm_12}}]", "'rfm_11'"),
        ("candidates: [{type: rmf, name: a}]", "Did you mean 'rfm'"),
        ("outcome_days: 3", "at least 7"),
    ],
)
def test_wrong_yaml_is_told_with_its_line(shop: Shop, more: str, told: str) -> None:
    shop.project.write("segment_validation", YAML.format(more=more))
    with pytest.raises(InvalidProject, match=r"segment_validation/defs\.yaml:\d+") as error:
        shop.project.load()
    assert told in str(error.value)


@pytest.mark.online_retail
@pytest.mark.parametrize("as_of", ["2011-09-09", "2011-12-10"])
def test_what_a_good_segmentation_shows(
    project: Project, online_retail: Path, monkeypatch: pytest.MonkeyPatch, as_of: str
) -> None:
    """Judged on the 91 days after 10 June and after 10 September 2011, by the component."""
    monkeypatch.delenv("RFM_STORE_ROOT", raising=False)
    (project.root / "orders.csv.gz").symlink_to(online_retail)
    project.write("transaction_data", WHOLESALER)
    project.write("segment_validation", YAML.format(more=""))
    job = project.load().resolve_implicit_global_asset_job_def()
    # Closed, because without partitions Dagster makes itself a folder for outputs.
    with dg.DagsterInstance.ephemeral() as instance:
        result = job.execute_in_process(
            instance=instance,
            run_config={
                "ops": {"segment_validation": {"config": {"as_of": as_of}}},
                "loggers": {"console": {"config": {"log_level": "CRITICAL"}}},
            },
        )
    assert result.success
    root = project.root / "data" / "store"
    by_name = {row["segment"]: row for row in table(root) if row["candidate"] == "rfm_10"}
    champions, lost = by_name["Champions"], by_name["Lost"]
    assert 5 <= champions["customers_pct"] <= 10
    assert champions["lift"] >= 1.6
    assert champions["revenue_pct"] >= 40
    assert lost["lift"] <= 0.65
    scores = {(row["candidate"], row["of"]): row for row in table(root, part="scores")}
    assert scores["rfm_10", "score"]["auc"] >= 0.72
    assert scores["recency alone", "score"]["verdict"] == "worse"
    # Seven candidates on the same customers; lifetime value has too short a history there.
    extra = Store(root).snapshot("segment_validation").manifest.extra
    assert set(extra["failed"]) <= {"lifetime value"}
    assert "AUC" in extra["advice"]
