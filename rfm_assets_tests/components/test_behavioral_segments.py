"""Clusters as an asset: stored with their profiles, named, kept from week to week, explained."""

from collections import Counter
from datetime import date

import pytest
from sklearn.metrics import adjusted_rand_score

from rfm_assets import load_table
from rfm_assets.errors import InvalidProject
from rfm_assets_tests.components.conftest import Project
from rfm_assets_tests.components.shop import AS_OF, FILES, FIRST, SECOND, Shop, busy_shop, failure

YAML = """
type: rfm_assets.components.BehavioralSegmentsComponent
attributes:
  asset_name: behavioral_segments
  k: 4
  bootstraps: 5
  {more}
"""


@pytest.fixture
def shop(project: Project, monkeypatch: pytest.MonkeyPatch) -> Shop:
    monkeypatch.delenv("RFM_STORE_ROOT", raising=False)
    made = busy_shop(project)
    project.write("behavioral_segments", YAML.format(more=""))
    return made


def test_two_weeks_of_it(shop: Shop) -> None:
    result = shop.run(FIRST, SECOND)
    assert result.success, failure(result)

    rows = load_table("behavioral_segments", root=shop.root, kind="pyarrow").to_pylist()
    profiles = load_table(
        "behavioral_segments", root=shop.root, kind="pyarrow", part="profiles"
    ).to_pylist()
    assert len(rows) == 600
    assert {row["cluster"] for row in rows} == {0, 1, 2, 3}
    # The profile of a cluster is what its customers are like.
    for profile in profiles:
        values = [row[profile["feature"]] for row in rows if row["cluster"] == profile["cluster"]]
        assert profile["customers"] == len(values)
        assert (profile["minimum"], profile["maximum"]) == (min(values), max(values))
        assert profile["mean"] == pytest.approx(sum(values) / len(values))
    assert sum({p["cluster"]: p["customers_pct"] for p in profiles}.values()) == pytest.approx(100)
    checks = [
        one
        for one in result.get_asset_check_evaluations()
        if one.asset_key.to_user_string() == "behavioral_segments"
    ]
    assert {"customers_reconcile", "clusters_stable", "features"} <= {c.check_name for c in checks}
    assert all(check.passed for check in checks if check.check_name != "clusters_stable")
    shown = result.asset_materializations_for_node("behavioral_segments")[-1].metadata
    assert "quantity_total" in shown["features left out"].value
    assert "recency_days" in shown["criteria"].value


def test_names_are_rules_of_the_project(shop: Shop) -> None:
    rules = (
        "cluster_names: [{name: Big, when: spend_total > spend_total_all, best_by: spend_total}, "
        "{name: Gone, when: recency_days > 200}, {name: Rest}]"
    )
    shop.project.write("behavioral_segments", YAML.format(more=rules))
    result = shop.run(SECOND)
    assert result.success, failure(result)
    rows = load_table("behavioral_segments", root=shop.root, kind="pyarrow").to_pylist()
    spend = {
        name: [row["spend_total"] for row in rows if row["segment"] == name]
        for name in ("Big", "Gone", "Rest")
    }
    assert sum(map(len, spend.values())) == 600
    assert min(map(len, spend.values())) > 0
    means = {name: sum(values) / len(values) for name, values in spend.items()}
    assert means["Big"] == max(means.values())


def test_clusters_beside_segments_by_rules(shop: Shop) -> None:
    more = "customer_segments_asset_key: customer_segments"
    shop.project.write("behavioral_segments", YAML.format(more=more))
    result = shop.run(SECOND)
    assert result.success, failure(result)
    kept = shop.store.snapshot("behavioral_segments").manifest.extra["comparison"]
    clusters, rules = (
        {row["customer_id"]: row["segment"] for row in rows.to_pylist()}
        for rows in (
            load_table(name, root=shop.root, kind="pyarrow")
            for name in ("behavioral_segments", "customer_segments")
        )
    )
    both = sorted(set(clusters) & set(rules))
    counted = Counter((clusters[one], rules[one]) for one in both)
    assert {(a, b): n for a, b, n in kept["customers"]} == dict(counted)
    assert kept["adjusted_rand_index"] == pytest.approx(
        adjusted_rand_score([clusters[one] for one in both], [rules[one] for one in both])
    )
    shown = result.asset_materializations_for_node("behavioral_segments")[-1].metadata
    assert "Champions" in shown["beside segments by rules"].value


def test_a_frozen_model_goes_on_deciding(shop: Shop) -> None:
    first = shop.run(FIRST)
    assert first.success, failure(first)
    kept = shop.store.snapshot("behavioral_segments").manifest.extra["model"]
    more = f"refit: {{frozen_from: {AS_OF[FIRST]}}}"
    shop.project.write("behavioral_segments", YAML.format(more=more))
    result = shop.run(SECOND)
    assert result.success, failure(result)
    assert shop.store.snapshot("behavioral_segments").manifest.extra["model"] == kept


def test_a_month_has_one_model(shop: Shop) -> None:
    shop.project.write("behavioral_segments", YAML.format(more="refit: monthly"))
    # The weeks end on 23 February and on 2 March: another month.
    both = shop.run(FIRST, SECOND)
    assert both.success, failure(both)
    fitted = [
        shop.store.snapshot("behavioral_segments", AS_OF[week]).manifest.extra["model"]["fitted_on"]
        for week in (FIRST, SECOND)
    ]
    assert fitted == [str(AS_OF[FIRST]), str(AS_OF[SECOND])]
    earlier = "2026-02-09"
    result = shop.run(earlier, FIRST)
    assert result.success, failure(result)
    february = [
        shop.store.snapshot("behavioral_segments", day).manifest.extra["model"]["fitted_on"]
        for day in (date(2026, 2, 16), AS_OF[FIRST])
    ]
    assert february == ["2026-02-16", "2026-02-16"]


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ("features: [recency_days, litres]", r"'litres' is no feature"),
        ("features: [recency_days, quantity_total]", r"`quantity_column` names no column"),
        (
            "cluster_names: [{name: A, when: spend_totl > 3}]",
            r"spend_totl.*spend_total",
        ),
        ("k: 1", r"k"),
    ],
)
def test_what_is_wrong_is_told_at_load(shop: Shop, more: str, said: str) -> None:
    shop.project.write(
        "behavioral_segments",
        YAML.format(more=more).replace("  k: 4\n", "")
        if more == "k: 1"
        else YAML.format(more=more),
    )
    with pytest.raises(InvalidProject, match=said) as raised:
        shop.project.load()
    assert "behavioral_segments/defs.yaml:" in str(raised.value)


def test_too_few_customers(shop: Shop) -> None:
    shop.write_orders([f"{n},c{n},2026-02-01,{n}" for n in range(1, 20)])
    result = shop.run(FIRST)
    assert not result.success
    assert "there are 19 customers to learn 4 clusters from, and 40 are needed" in failure(result)
    assert "behavioral_segments" not in shop.store.tables()


def test_another_configuration_learns_within_the_month(shop: Shop) -> None:
    shop.project.write("behavioral_segments", YAML.format(more="refit: monthly"))
    first = shop.run("2026-02-09")
    assert first.success, failure(first)
    shop.project.write(
        "behavioral_segments",
        YAML.format(more="refit: monthly").replace("k: 4", "k: 3"),
    )
    result = shop.run(FIRST)
    assert result.success, failure(result)
    model = shop.store.snapshot("behavioral_segments", AS_OF[FIRST]).manifest.extra["model"]
    assert (model["fitted_on"], len(model["centroids"])) == (str(AS_OF[FIRST]), 3)


def test_a_column_that_is_not_there_is_told_with_file_and_line(shop: Shop) -> None:
    path = shop.project.write("behavioral_segments", YAML.format(more="quantity_column: litres"))
    line = path.read_text(encoding="utf-8").splitlines().index("  quantity_column: litres") + 1
    result = shop.run(FIRST)
    assert f"behavioral_segments/defs.yaml:{line}" in failure(result)
    assert "column 'litres'" in failure(result)


def test_a_frozen_model_needs_its_features(shop: Shop) -> None:
    shop.project.write(
        "transaction_data",
        FILES["transaction_data"].replace(
            "amount: amount}", "amount: amount, attributes: {channel: {column: customer}}}"
        ),
    )
    shop.project.write("behavioral_segments", YAML.format(more="location_column: channel"))
    first = shop.run(FIRST)
    assert first.success, failure(first)
    more = f"refit: {{frozen_from: {AS_OF[FIRST]}}}"
    shop.project.write("behavioral_segments", YAML.format(more=more))
    result = shop.run(SECOND)
    assert "names a model over location_diversity" in failure(result)
    assert "`location_column` names no column" in failure(result)


def test_an_unknown_feature_and_number_are_told(shop: Shop) -> None:
    shop.project.write(
        "behavioral_segments",
        YAML.format(more="features: [recency_days, spend_totals]").replace("k: 4", "k: eight"),
    )
    (problem,) = shop.project.problems()
    assert (
        "'eight' is not allowed. Allowed: a whole number, at least 2, at most 30 or 'auto'"
        in str(problem)
    )
    shop.project.write(
        "behavioral_segments", YAML.format(more="features: [recency_days, spend_totals]")
    )
    with pytest.raises(InvalidProject, match="Did you mean 'spend_total'"):
        shop.project.load()
