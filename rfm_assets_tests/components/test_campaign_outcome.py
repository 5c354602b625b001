"""What became of a list, as an asset: judged when its weeks are over, by what was known then."""

from typing import Any

import dagster as dg
import pandas as pd
import pytest

from rfm_assets import load_table
from rfm_assets.errors import InvalidProject
from rfm_assets_tests.components.conftest import Project
from rfm_assets_tests.components.shop import (
    AS_OF,
    FIRST,
    SECOND,
    Shop,
    busy_shop,
    declared,
    failure,
    recorded,
)

KEY = dg.AssetKey("campaign_outcome")


@pytest.fixture
def shop(project: Project, monkeypatch: pytest.MonkeyPatch) -> Shop:
    """The shop with a list of everybody, half of whom are in control, judged after a week."""
    monkeypatch.delenv("RFM_STORE_ROOT", raising=False)
    made = busy_shop(project)
    everybody = {"asset_name": "spring", "control": "{share: 0.5, experiment: spring_2026}"}
    made.project.write("spring", declared("CampaignListComponent", everybody))
    made.project.write("campaign_outcome", outcome_yaml())
    return made


def outcome_yaml(**attributes: Any) -> str:
    values = {"asset_name": "campaign_outcome", "campaign_asset_keys": ["spring"]}
    return declared("CampaignOutcomeComponent", values | {"horizon_weeks": 1} | attributes)


def outcome(shop: Shop, week: str) -> dict[str, Any]:
    rows = load_table("campaign_outcome", AS_OF[week], root=shop.root, kind="pyarrow").to_pylist()
    (row,) = rows
    return row


def test_the_list_of_a_week_ago_is_judged(shop: Shop) -> None:
    result = shop.run(FIRST, SECOND)
    assert result.success, failure(result)

    found = outcome(shop, SECOND)
    assert (found["list_as_of"], found["as_of"]) == (AS_OF[FIRST], AS_OF[SECOND])
    orders = pd.read_csv(shop.orders, parse_dates=["ordered_at"])
    when = orders["ordered_at"].dt.date
    week = orders[(when >= AS_OF[FIRST]) & (when < AS_OF[SECOND])]
    bought = set(week.loc[week["amount"] > 0, "customer"])
    for part, group in (("rows", "deliverable"), ("control", "control")):
        customers = set(
            load_table("spring", AS_OF[FIRST], root=shop.root, part=part)["customer_id"]
        )
        assert found[group] == len(customers) > 100
        assert found[f"buyers_{group}"] == len(bought & customers)
        spent = week.loc[week["customer"].isin(customers), "amount"].sum()
        assert found[f"spend_{group}"] == pytest.approx(spent)
    assert found["verdict"] != "not measurable"
    assert found["buyer_rate_low"] < found["buyer_rate_difference"] < found["buyer_rate_high"]
    assert (found["experiment"], found["control_kind"]) == ("spring_2026", "campaign")

    page = recorded(result, KEY, SECOND)
    assert page["lists as of"] == str(AS_OF[FIRST])
    assert found["told"] in page["in words"]
    assert shop.store.snapshot("campaign_outcome", AS_OF[SECOND]).manifest.kind == (
        "campaign_outcome"
    )
    checks = {c.check_name for c in result.get_asset_check_evaluations() if c.asset_key == KEY}
    assert checks == {
        "schema",
        "customers_reconcile",
        "claims_follow_intervals",
        "groups_as_drawn",
    }


def test_a_week_without_a_list_is_not_measurable(shop: Shop) -> None:
    shop.run(FIRST)
    found = outcome(shop, FIRST)
    assert found["told"] == "not measurable: there is no list as of 2026-02-16"
    assert (found["deliverable"], found["buyer_rate_low"]) == (None, None)


def test_an_old_week_sees_nothing_of_what_came_later(shop: Shop) -> None:
    shop.run(FIRST, SECOND)
    before = outcome(shop, SECOND)
    text = shop.orders.read_text(encoding="utf-8")
    customers = load_table("spring", AS_OF[FIRST], root=shop.root)["customer_id"]
    later = [f"late{n},{customer},{AS_OF[SECOND]},500" for n, customer in enumerate(customers)]
    shop.orders.write_text("\n".join([text.rstrip(), *later, ""]), encoding="utf-8")

    shop.run(FIRST, SECOND)

    assert outcome(shop, SECOND) == before


def test_transactions_that_stop_before_the_week_is_over_show_nothing(shop: Shop) -> None:
    rows = shop.orders.read_text(encoding="utf-8").splitlines()[1:]
    early = [row for row in rows if row.split(",")[2] < str(AS_OF[FIRST])]
    shop.write_orders(early)
    shop.run(FIRST, SECOND)
    assert outcome(shop, SECOND)["told"] == (
        "not measurable: there are no transactions at all of the week of 2026-02-23"
    )


def test_a_list_without_control_and_a_global_group(shop: Shop) -> None:
    shop.project.write("spring", declared("CampaignListComponent", {"asset_name": "spring"}))
    shop.run(FIRST, SECOND)
    assert outcome(shop, SECOND)["told"] == "not measurable: the list has no control group"

    shop.project.write(
        "deployment",
        "type: rfm_assets.components.DeploymentComponent\nattributes:\n"
        "  global_control: {share: 0.3, experiment: never_2026}\n",
    )
    shop.run(FIRST, SECOND)
    found = outcome(shop, SECOND)
    assert (found["experiment"], found["control_kind"]) == ("never_2026", "global")
    assert found["verdict"] != "not measurable"


def test_only_a_campaign_list_is_judged(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    shop.project.write("campaign_outcome", outcome_yaml(campaign_asset_keys=["segment_summary"]))
    with pytest.raises(InvalidProject, match="Name the asset of a CampaignListComponent"):
        shop.project.load()
    # As where another project makes it.
    monkeypatch.setattr("rfm_assets.components.wiring.MAKERS", {})
    assert "'segment_summary' holds a segment_summary table, not a campaign list" in failure(
        shop.run(FIRST, SECOND)
    )
