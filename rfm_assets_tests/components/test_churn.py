"""Churn scores from files and by training, and the segments that rest on them, as assets."""

from pathlib import Path
from typing import Any

import dagster as dg
import duckdb
import pytest

from rfm_assets import load_table
from rfm_assets.errors import InvalidProject
from rfm_assets_tests.components.conftest import Project
from rfm_assets_tests.components.shop import AS_OF, FIRST, SECOND, Shop, busy_shop, failure

SEGMENTS = """
type: rfm_assets.components.ChurnAwareSegmentationComponent
attributes:
  asset_name: churn_aware_segments
  {more}
"""
TRAINED = """
type: rfm_assets.components.ChurnScoresComponent
attributes:
  asset_name: churn_scores
  train: {horizon_days: 60, min_customers: 100, resamples: 100}
"""
FROM_FILE = """
type: rfm_assets.components.ChurnScoresComponent
attributes:
  asset_name: churn_scores
  file:
    source: {source}
"""
CSV = "{type: csv, path: churn.csv}"


@pytest.fixture
def shop(project: Project, monkeypatch: pytest.MonkeyPatch) -> Shop:
    """The small shop: customers a to d."""
    monkeypatch.delenv("RFM_STORE_ROOT", raising=False)
    made = Shop(project)
    project.write("churn_scores", FROM_FILE.format(source=CSV))
    project.write("churn_aware_segments", SEGMENTS.format(more=""))
    return made


def write(shop: Shop, *lines: str, name: str = "churn.csv") -> Path:
    path = shop.project.root / name
    path.write_text("\n".join([*lines, ""]), encoding="utf-8")
    return path


def table(shop: Shop, name: str, **options: Any) -> list[dict[str, Any]]:
    return load_table(name, root=shop.root, kind="pyarrow", **options).to_pylist()


def checks(result: dg.ExecuteInProcessResult, name: str) -> dict[str, Any]:
    return {
        one.check_name: one
        for one in result.get_asset_check_evaluations()
        if one.asset_key.to_user_string() == name
    }


def test_every_row_at_fault_is_told_and_the_rest_is_used(shop: Shop) -> None:
    write(
        shop,
        "customer_id,churn_score",
        "a,0.1",
        "b,1.7",
        "nobody,0.5",
        "c,0.9",
        "a,0.2",
        ",0.3",
        "d,soon",
        "d,",
        "d,0.4,0.5",
    )
    result = shop.run(SECOND)
    assert result.success, failure(result)

    assert {
        row["customer_id"]: row["churn_probability"] for row in table(shop, "churn_scores")
    } == {
        "a": 0.1,
        "c": 0.9,
    }
    rejects = table(shop, "churn_scores", part="rejects")
    assert {row["source_line"]: (row["customer_id"], row["reason"]) for row in rejects} == {
        3: ("b", "score_out_of_range"),
        4: ("nobody", "unknown_customer"),
        6: ("a", "duplicate_customer"),
        7: (None, "missing_customer_id"),
        8: ("d", "unreadable_score"),
        9: ("d", "missing_score"),
        10: (None, "malformed_line"),
    }
    seen = checks(result, "churn_scores")
    assert seen["rows_reconcile"].passed
    assert not seen["scores_set_aside"].passed
    assert "churn.csv:3 score_out_of_range" in seen["scores_set_aside"].description
    assert "2 of 4 customers have no churn score" in seen["scores_cover"].description

    segmented = {row["customer_id"]: row for row in table(shop, "churn_aware_segments")}
    excluded = table(shop, "churn_aware_segments", part="excluded")
    assert set(segmented) == {"a", "c"}
    assert {(row["customer_id"], row["reason"]) for row in excluded} == {
        ("b", "no_churn_score"),
        ("d", "no_churn_score"),
    }
    assert segmented["c"]["churn_risk_level"] == "Critical"
    assert segmented["a"]["previous_segment"] is None
    assert checks(result, "churn_aware_segments")["customers_reconcile"].passed
    shown = result.asset_materializations_for_node("churn_aware_segments")[-1].metadata
    assert "| Champions |" in shown["segments"].value
    assert "recency, days" in shown["categories"].value


def test_a_file_without_header_is_read_by_position(shop: Shop) -> None:
    write(shop, "a,0.1", "b,0.2", "c,0.3", "x,0.4")
    result = shop.run(SECOND)
    assert result.success, failure(result)
    found = {row["customer_id"]: row["churn_probability"] for row in table(shop, "churn_scores")}
    assert found == {"a": 0.1, "b": 0.2, "c": 0.3}
    (reject,) = table(shop, "churn_scores", part="rejects")
    assert (reject["source_line"], reject["reason"]) == (4, "unknown_customer")
    assert shop.store.snapshot("churn_scores").manifest.extra["headless"] == ["churn.csv"]


def test_a_header_with_other_names_is_an_error_with_the_nearest(shop: Shop) -> None:
    path = shop.project.defs / "churn_scores" / "defs.yaml"
    write(shop, "customer_id,churn", "a,0.1")
    result = shop.run(SECOND)
    assert "column 'churn_score'" in failure(result)
    assert "Did you mean 'churn'" in failure(result)
    assert path.is_file()


def test_files_of_both_kinds_together(shop: Shop) -> None:
    write(shop, "a,0.1", name="churn1.csv")
    write(shop, "churn_score,customer_id", "0.6,b", "0.7,a", name="churn2.csv")
    shop.project.write("churn_scores", FROM_FILE.format(source="{type: csv, path: 'churn?.csv'}"))
    result = shop.run(SECOND)
    assert result.success, failure(result)
    found = {row["customer_id"]: row["churn_probability"] for row in table(shop, "churn_scores")}
    assert found == {"a": 0.1, "b": 0.6}
    (reject,) = table(shop, "churn_scores", part="rejects")
    assert (reject["source"], reject["source_line"]) == ("churn2.csv", 3)


def test_a_table_of_a_database(shop: Shop) -> None:
    with duckdb.connect(str(shop.project.root / "ml.duckdb")) as database:
        database.execute("create table scores as select 'a' as who, 0.25 as risk")
    source = "{type: duckdb, path: ml.duckdb, table: scores}"
    text = FROM_FILE.format(source=source) + "    columns: {customer_id: who, churn_score: risk}\n"
    shop.project.write("churn_scores", text)
    result = shop.run(SECOND)
    assert result.success, failure(result)
    assert table(shop, "churn_scores")[0]["churn_probability"] == 0.25


def test_no_usable_score_keeps_the_last_good_one(shop: Shop) -> None:
    write(shop, "customer_id,churn_score", "a,0.1")
    assert shop.run(SECOND).success
    write(shop, "customer_id,churn_score", "a,2", "b,3")
    result = shop.run(SECOND)
    assert not result.success
    assert "0 scores kept, 2 rows set aside" in failure(result)
    assert [row["churn_probability"] for row in table(shop, "churn_scores")] == [0.1]


def test_trained_scores_and_segments_week_by_week(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("RFM_STORE_ROOT", raising=False)
    shop = busy_shop(project)
    project.write("churn_scores", TRAINED)
    project.write("churn_aware_segments", SEGMENTS.format(more="organization_id: north"))
    result = shop.run(FIRST, SECOND)
    assert result.success, failure(result)

    scores = table(shop, "churn_scores")
    assert {row["as_of"] for row in scores} == {AS_OF[SECOND]}
    extra = shop.store.snapshot("churn_scores").manifest.extra
    assert extra["model"]["churned"] > 0
    assert set(extra["judged"]["auc"]) == {"model", "recency alone", "RFM_score alone"}
    assert {"churn_model_helps", "churn_model_calibrated"} <= set(checks(result, "churn_scores"))
    shown = result.asset_materializations_for_node("churn_scores")[-1].metadata
    assert "recency alone" in shown["AUC"].value

    rows = table(shop, "churn_aware_segments")
    before = table(shop, "churn_aware_segments", as_of=AS_OF[FIRST])
    then = {row["customer_id"]: row["segment"] for row in before}
    assert len(rows) > 300
    assert {row["organization_id"] for row in rows} == {"north"}
    assert all(row["previous_segment"] == then.get(row["customer_id"]) for row in rows)
    assert len({row["segment"] for row in rows}) >= 6


def test_the_same_week_again_is_the_same_table(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("RFM_STORE_ROOT", raising=False)
    shop = busy_shop(project)
    project.write("churn_scores", TRAINED)
    seen = []
    for _ in range(2):
        assert shop.run(SECOND).success
        seen.append(table(shop, "churn_scores"))
    assert seen[0] == seen[1]


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("  train:", "  trian:", "Did you mean 'train'"),
        ("horizon_days: 60", "horizon_days: long", "a whole number"),
        ("  train: {horizon_days: 60, min_customers: 100, resamples: 100}", "", "both missing"),
    ],
)
def test_wrong_yaml_is_told_with_its_line(project: Project, old: str, new: str, told: str) -> None:
    Shop(project)
    project.write("churn_scores", TRAINED.replace(old, new))
    with pytest.raises(InvalidProject, match=r"churn_scores/defs\.yaml:\d+") as error:
        project.load()
    assert told in str(error.value)


def test_a_wrong_decision_table_is_told_with_its_line(project: Project) -> None:
    Shop(project)
    project.write("churn_scores", TRAINED)
    more = "decision_table: mine.yaml"
    path = project.write("churn_aware_segments", SEGMENTS.format(more=more))
    (path.parent / "mine.yaml").write_text(
        "id: mine\nsegments:\n  - {id: good, name: Good}\nrules:\n  - {segment: goood}\n",
        encoding="utf-8",
    )
    with pytest.raises(InvalidProject, match=r"mine\.yaml:5 .*Did you mean 'good'"):
        project.load()
