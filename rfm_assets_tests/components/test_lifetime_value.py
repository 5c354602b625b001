"""Lifetime value as an asset: stored, checked, explained, and refused where there is too little."""

import json

import pytest

from rfm_assets import load_table
from rfm_assets.domain.credible import installed
from rfm_assets.errors import InvalidProject
from rfm_assets_tests.components.conftest import Project
from rfm_assets_tests.components.shop import AS_OF, FIRST, SECOND, Shop, busy_shop, failure

YAML = """
type: rfm_assets.components.LifetimeValueComponent
attributes:
  asset_name: customer_lifetime_value
  {more}
"""


@pytest.fixture
def shop(project: Project, monkeypatch: pytest.MonkeyPatch) -> Shop:
    monkeypatch.delenv("RFM_STORE_ROOT", raising=False)
    made = busy_shop(project)
    project.write("customer_lifetime_value", YAML.format(more=""))
    return made


def test_two_weeks_of_it(shop: Shop) -> None:
    result = shop.run(FIRST, SECOND)
    assert result.success, failure(result)

    rows = load_table("customer_lifetime_value", root=shop.root, kind="pyarrow").to_pylist()
    assert len(rows) == 600
    assert all(0 < row["probability_alive"] <= 1 < row["lifetime_value"] + 1 for row in rows)
    # Who bought lately and often is worth more than who did not.
    best = max(rows, key=lambda row: row["lifetime_value"])
    assert best["repeat_purchases"] > 3
    assert {row["as_of"] for row in rows} == {AS_OF[SECOND]}
    assert shop.store.dates("customer_lifetime_value") == [AS_OF[FIRST], AS_OF[SECOND]]

    kept = shop.store.snapshot("customer_lifetime_value").manifest.extra
    assert set(kept["models"]["bg_nbd"]) == {"r", "alpha", "a", "b"}
    assert json.loads(json.dumps(kept["holdout"]))["days"] == 91
    checks = {
        one.check_name: one
        for one in result.get_asset_check_evaluations()
        if one.asset_key.to_user_string() == "customer_lifetime_value"
    }
    assert {"customers_reconcile", "holdout_error", "value_ranges"} <= set(checks)
    assert all(check.passed for check in checks.values())
    shown = result.asset_materializations_for_node("customer_lifetime_value")[-1].metadata
    assert "BG/NBD" in shown["parameters"].value
    assert "7 or more" in shown["holdout"].value


def test_the_same_week_again_is_the_same_table(shop: Shop) -> None:
    tables = []
    for _ in range(2):
        first = shop.run(FIRST)
        assert first.success, failure(first)
        tables.append(load_table("customer_lifetime_value", root=shop.root, kind="pyarrow"))
    assert tables[0].equals(tables[1])


def test_a_model_that_was_far_off_warns(shop: Shop) -> None:
    shop.project.write(
        "customer_lifetime_value", YAML.format(more="checks: {warn_holdout_error: 0.0001}")
    )
    result = shop.run(FIRST)
    assert result.success, failure(result)
    (check,) = (
        one for one in result.get_asset_check_evaluations() if one.check_name == "holdout_error"
    )
    assert not check.passed
    assert "purchases expected in 91 days and" in str(check.description)


def test_too_few_customers_keep_the_last_good_week(shop: Shop) -> None:
    first = shop.run(FIRST)
    assert first.success, failure(first)
    shop.project.write("customer_lifetime_value", YAML.format(more="min_customers: 601"))
    result = shop.run(SECOND)
    assert not result.success
    assert "there are 600 customers who have bought, and 601 are needed" in failure(result)
    assert "`min_customers`" in failure(result)
    assert shop.store.dates("customer_lifetime_value") == [AS_OF[FIRST]]


def test_intervals_where_they_can_be_sampled_and_a_message_where_not(shop: Shop) -> None:
    shop.project.write("customer_lifetime_value", YAML.format(more="credible_intervals: true"))
    if not installed():
        with pytest.raises(InvalidProject, match=r"defs\.yaml:\d+ .*rfm_assets\[bayesian\]"):
            shop.project.load()
        return
    result = shop.run(SECOND)
    assert result.success, failure(result)
    found = shop.store.snapshot("customer_lifetime_value").manifest.extra["credible"]
    rows = load_table("customer_lifetime_value", root=shop.root, kind="pyarrow").to_pylist()
    for name, column in (
        ("alive", "probability_alive"),
        ("expected_purchases", "expected_purchases"),
        ("lifetime_value", "lifetime_value"),
    ):
        mean, low, high = found[name]
        assert low < mean < high
        # The maximum of the likelihood is within what the posterior holds possible.
        assert low < sum(row[column] for row in rows) < high
    shown = result.asset_materializations_for_node("customer_lifetime_value")[-1].metadata
    assert "| lifetime value |" in shown["in all"].value
