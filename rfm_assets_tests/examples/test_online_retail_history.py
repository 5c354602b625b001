"""A week of the past: as it would have been then, and what it said about the quarter after it."""

import shutil
from datetime import date, timedelta
from pathlib import Path

import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from rfm_assets.components.weekly_refresh import DAYS
from rfm_assets_tests.examples.deployment import MODULE, PROJECT, TABLES, Deployment

pytestmark = pytest.mark.online_retail

BEFORE, WEEK, AFTER = "2011-08-29", "2011-09-05", "2011-09-19"
AS_OF = "2011-09-12"

CUTS = ["2011-06-10", "2011-09-10"]
WEEKLY = timedelta(days=7)
QUARTER = timedelta(days=91)


@pytest.fixture(scope="module")
def raw(online_retail: Path) -> pd.DataFrame:
    """Every line as it stands, as text."""
    return pd.read_csv(online_retail, dtype="string", keep_default_na=False)


def test_a_backfilled_week_equals_what_it_was(raw: pd.DataFrame, tmp_path: Path) -> None:
    """Row for row and column for column, when all is known since and the lines are shuffled."""
    known = raw[raw["InvoiceDate"] < AS_OF]
    assert 0 < len(known) < len(raw)
    then = made_of(known, tmp_path / "then", [BEFORE, WEEK])
    now = made_of(raw.sample(frac=1, random_state=1), tmp_path / "now", [BEFORE, AFTER])

    assert len(now.table("customer_segments")) > len(now.table("customer_segments", AS_OF))
    for table, part in [*((table, "rows") for table in TABLES), ("customer_segments", "excluded")]:
        before, after = (one.table(table, AS_OF, part) for one in (then, now))
        if "segmented_at" in before:
            before, after = (one.drop(columns="segmented_at") for one in (before, after))
        assert len(before) > 0, table
        pd.testing.assert_frame_equal(after, before, check_exact=True, obj=f"{table} {part}")


def made_of(lines: pd.DataFrame, folder: Path, weeks: list[str]) -> Deployment:
    folder.mkdir()
    lines.to_csv(folder / "orders.csv", index=False)
    deployment = Deployment(folder / "orders.csv", folder / "store")
    deployment.run(weeks)
    return deployment


@pytest.fixture(params=CUTS)
def judged(
    request: pytest.FixtureRequest, online_retail: Path, raw: pd.DataFrame, tmp_path: Path
) -> pd.DataFrame:
    """Customers at a cut, with whether and for how much they bought in the quarter after."""
    cut = date.fromisoformat(request.param)
    deployment = ending_on(cut, online_retail, tmp_path)
    deployment.run([str(cut - WEEKLY)])
    customers = deployment.table("customer_segments", str(cut)).set_index("customer_id")
    when = pd.to_datetime(raw["InvoiceDate"])
    as_of = pd.Timestamp(cut)
    quarter = raw[(when >= as_of) & (when < as_of + QUARTER) & (raw["CustomerID"] != "")]
    spent = pd.DataFrame(
        {
            "customer": quarter["CustomerID"],
            "amount": quarter["Quantity"].astype(float) * quarter["UnitPrice"].astype(float),
        }
    )
    customers["again"] = customers.index.isin(spent.loc[spent["amount"] > 0, "customer"])
    revenue = spent.groupby("customer")["amount"].sum()
    customers["revenue"] = revenue.reindex(customers.index).fillna(0.0)
    return customers


def ending_on(cut: date, csv: Path, folder: Path) -> Deployment:
    """The project with other weeks: 10 June is a Friday, and 10 September a Saturday."""
    project = folder / "project"
    shutil.copytree(
        PROJECT, project, ignore=shutil.ignore_patterns("data", ".dagster", "__pycache__")
    )
    start = cut - WEEKLY
    (project / MODULE / "weekly_refresh" / "defs.yaml").write_text(
        "type: rfm_assets.components.WeeklyRefreshComponent\n"
        f"attributes: {{start_date: {start}, day_of_week: {DAYS[start.weekday()]}}}\n",
        encoding="utf-8",
    )
    return Deployment(csv, folder / "store", folder=project)


def test_segments_at_a_cut_tell_the_quarter_after_it(judged: pd.DataFrame) -> None:
    champions = judged["segment"] == "Champions"
    assert 0.05 <= champions.mean() <= 0.10
    assert judged.loc[champions, "again"].mean() >= 1.6 * judged["again"].mean()
    assert judged.loc[champions, "revenue"].sum() >= 0.4 * judged["revenue"].sum()

    lost = judged["segment"] == "Lost"
    assert lost.sum() > 50
    assert judged.loc[lost, "again"].mean() <= 0.65 * judged["again"].mean()

    assert roc_auc_score(judged["again"], judged["RFM_score"]) >= 0.72
