"""Campaign lists that know of each other, of what was sent, and of whom to leave alone."""

import os
from datetime import UTC, date, datetime, timedelta

import dagster as dg
import pytest

from rfm_assets import load_table
from rfm_assets.domain.controls import ControlGroup, chooser
from rfm_assets.erasing import erase
from rfm_assets.errors import InvalidProject
from rfm_assets.planning import Table, due
from rfm_assets.store import Store
from rfm_assets_tests.components.conftest import Project
from rfm_assets_tests.components.shop import AS_OF, FIRST, SECOND, Shop, busy_shop, failure

LIST = "type: rfm_assets.components.CampaignListComponent\nattributes:\n"
SENDS = """
    type: rfm_assets.components.CampaignSendsComponent
    attributes:
      asset_name: campaign_sends
      source: {type: csv, path: sends.csv}
    """


@pytest.fixture
def shop(project: Project) -> Shop:
    return busy_shop(project)


def campaign(shop: Shop, name: str, *lines: str) -> None:
    body = "".join(f"  {line}\n" for line in (f"asset_name: {name}", *lines))
    shop.project.write(name, LIST + body)


def ids(shop: Shop, name: str, part: str = "rows", week: str = SECOND) -> set[str]:
    table = load_table(name, AS_OF[week], root=shop.root, part=part)
    return set(table["customer_id"])


def stage(shop: Shop, name: str, which: str, week: str = SECOND) -> dict[str, int]:
    extra = shop.store.snapshot(name, AS_OF[week]).manifest.extra["waterfall"]
    (found,) = [step for step in extra if step["stage"] == which]
    return found


def write_sends(shop: Shop, *rows: str) -> None:
    text = "\n".join(["customer_id,campaign,sent_at", *rows, ""])
    (shop.project.root / "sends.csv").write_text(text, encoding="utf-8")


def test_a_list_waits_for_those_above_it_and_gets_what_they_leave(shop: Shop) -> None:
    group = "exclusive_group: {name: retention, priority: %d}"
    control = "control: {share: 0.3, experiment: spring}"
    campaign(shop, "champions", group % 10, control)
    campaign(shop, "win_back", group % 5)

    assert shop.run(FIRST, SECOND).success

    graph = shop.project.load().get_repository_def().asset_graph
    assert dg.AssetKey("champions") in graph.get(dg.AssetKey("win_back")).parent_keys
    above = ids(shop, "champions") | ids(shop, "champions", "control")
    assert ids(shop, "champions", "control")
    assert stage(shop, "win_back", "claimed")["removed"] == len(above)
    assert not above & ids(shop, "win_back")


def test_equal_priorities_are_an_error_of_both_files(shop: Shop) -> None:
    for name in ("champions", "win_back"):
        campaign(shop, name, "exclusive_group:", "  name: retention", "  priority: 5")

    with pytest.raises(InvalidProject) as caught:
        shop.project.load()

    text = str(caught.value)
    assert "champions/defs.yaml:6 `exclusive_group.priority`: 5 is also the priority" in text
    assert "win_back/defs.yaml:6 `exclusive_group.priority`: 5 is also the priority" in text
    assert "Give each list of the group a number of its own." in text


def test_everything_that_is_wrong_with_lists_is_told_at_load(shop: Shop) -> None:
    campaign(
        shop,
        "champions",
        "segments: [Champion, Lost, Hibernatin]",
        "where: contry = 'DE'",
        "priority: segment",
        "consent: {column: monetary}",
        "columns: [recency, experiment, counrty]",
    )
    # A list that cannot even be read hides nothing of the other.
    campaign(shop, "win_back", "priority: monetary / (recency + 1")

    with pytest.raises(InvalidProject) as caught:
        shop.project.load()

    told = [line for line in str(caught.value).splitlines() if "defs.yaml" in line]
    beginnings = [
        "champions/defs.yaml:4 segments[0]: 'Champion' is not a segment of the scheme. Did you mean",
        "champions/defs.yaml:4 segments[2]: 'Hibernatin' is not a segment of the scheme. Did you",
        "champions/defs.yaml:5 where: expression is wrong at character 1: column 'contry' does not",
        "champions/defs.yaml:6 priority: expression is wrong at character 1:",
        "champions/defs.yaml:7 consent.column: 'monetary' holds numbers, not true and false.",
        "champions/defs.yaml:8 customer_segments: column 'experiment' (named by `columns[1]`) does",
        "champions/defs.yaml:8 customer_segments: column 'counrty' (named by `columns[2]`) does not",
        "win_back/defs.yaml:4 `priority`: expression is wrong at character 24: found the end.",
    ]
    found = sorted(line.partition("/")[2] for line in told)
    assert len(found) == len(beginnings)
    for line, beginning in zip(found, sorted(beginnings), strict=True):
        assert line.startswith(beginning)


def test_segments_of_a_table_without_any_are_told_at_load(shop: Shop) -> None:
    segments = shop.project.defs / "customer_segments" / "defs.yaml"
    text = segments.read_text("utf-8") + "  use_predefined_segments: false\n"
    shop.project.write("customer_segments", text)
    campaign(shop, "champions", "segments: [Champions]")
    with pytest.raises(InvalidProject, match=r"champions/defs.yaml:4 segments: .* but no segments"):
        shop.project.load()


def test_a_component_of_ones_own_may_have_other_columns(shop: Shop) -> None:
    (shop.project.defs / "own.py").write_text(
        "from rfm_assets.components import CustomerSegmentationComponent\n"
        "class OwnSegments(CustomerSegmentationComponent):\n    pass\n",
        "utf-8",
    )
    campaign(shop, "champions", "where: shoe_size > 40")
    with pytest.raises(InvalidProject, match="column 'shoe_size' does not exist"):
        shop.project.load()
    segments = shop.project.defs / "customer_segments" / "defs.yaml"
    ours, own = "rfm_assets.components.CustomerSegmentation", f"{shop.project.defs_module}.own.Own"
    text = segments.read_text("utf-8").replace(f"{ours}Component", f"{own}Segments")
    shop.project.write("customer_segments", text)
    shop.project.load()


def test_a_consent_list_holds_for_lists_that_do_not_name_it(shop: Shop) -> None:
    (shop.project.root / "no.csv").write_text("who,why\nc1,objected\nc2,bounced\n", "utf-8")
    shop.project.write(
        "said_no",
        """
        type: rfm_assets.components.SuppressionListComponent
        attributes:
          asset_name: said_no
          kind: consent
          entries:
            source: {type: csv, path: no.csv}
            columns: {customer_id: who, reason: why}
        """,
    )
    campaign(shop, "win_back", "suppression_asset_keys: []")
    campaign(shop, "champions")

    assert shop.run(SECOND).success

    graph = shop.project.load().get_repository_def().asset_graph
    assert graph.get(dg.AssetKey("win_back")).parent_keys >= {dg.AssetKey("said_no")}
    left_out = load_table("win_back", root=shop.root, part="excluded")
    customers = ids(shop, "customer_segments")
    assert set(left_out["customer_id"]) == {"c1", "c2"} & customers
    assert stage(shop, "champions", "suppression")["removed"] >= len(left_out)


def test_the_log_leaves_people_alone(shop: Shop) -> None:
    shop.project.write("campaign_sends", SENDS)
    cool = ("campaign_sends_asset_key: campaign_sends", "cool_off: {days: 14}")
    campaign(shop, "champions", *cool)
    write_sends(shop)  # nothing sent is something known
    assert shop.run(SECOND).success
    on_list = sorted(ids(shop, "champions"))
    as_of = AS_OF[SECOND]
    write_sends(
        shop,
        f"{on_list[0]},x,{as_of - timedelta(days=1)}",
        f"{on_list[1]},x,{as_of - timedelta(days=14)}",
        f"{on_list[2]},x,{as_of}",
    )

    assert shop.run(SECOND).success

    assert sorted(ids(shop, "champions")) == [one for one in on_list if one != on_list[0]]
    assert stage(shop, "champions", "cool_off")["removed"] == 1


def test_an_old_log_or_one_too_bad_stops_the_list(shop: Shop) -> None:
    shop.project.write("campaign_sends", SENDS)
    campaign(shop, "champions", "campaign_sends_asset_key: campaign_sends", "cool_off: {days: 14}")
    write_sends(shop, "c1,x,2026-02-01", "c2,,2026-02-01")

    refused = shop.run(SECOND)

    assert not refused.success
    assert "1 of 2 rows set aside, 50.0% (missing_campaign 1)" in failure(refused)
    assert "sends.csv:3 missing_campaign" in str(
        [e.metadata for e in refused.get_asset_check_evaluations() if not e.passed]
    )
    assert not shop.store.dates("champions") if "champions" in shop.store.tables() else True

    write_sends(shop, "c1,x,2026-02-01")
    ago = (datetime.now(UTC) - timedelta(days=9)).timestamp()
    os.utime(shop.project.root / "sends.csv", (ago, ago))
    late = shop.run(SECOND)
    assert not late.success
    assert "written 9.0 days ago; expected at most 7 days ago" in failure(late)


def test_earlier_lists_count_as_sent_where_the_yaml_says_so(shop: Shop) -> None:
    rules = ("count_planned: true", "cool_off: {days: 14}")
    campaign(shop, "champions", *rules, "control: {share: 0.3, experiment: spring}")

    assert shop.run(FIRST, SECOND).success

    first, held = ids(shop, "champions", week=FIRST), ids(shop, "champions", "control", FIRST)
    assert first
    assert held
    assert not (first | held) & (ids(shop, "champions") | ids(shop, "champions", "control"))


def test_a_rule_about_sends_needs_to_know_them(shop: Shop) -> None:
    campaign(shop, "champions", "frequency_cap: {sends: 1, days: 7}")
    (problem,) = shop.project.problems()
    assert "cannot be kept: nothing says what was sent" in problem.message


def test_control_groups_with_a_secret_and_a_global_one(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop.project.write(
        "deployment",
        """
        type: rfm_assets.components.DeploymentComponent
        attributes:
          threads: 2
          global_control: {share: 0.2, experiment: never}
        """,
    )
    campaign(
        shop, "champions", "control:", "  share: 0.5", "  experiment: spring", "  salt_env: MY_SALT"
    )
    monkeypatch.delenv("MY_SALT", raising=False)
    refused = shop.run(SECOND)
    assert not refused.success
    assert "champions/defs.yaml:7 control.salt_env: 'MY_SALT' is not set" in failure(refused)

    monkeypatch.setenv("MY_SALT", "hush")
    assert shop.run(SECOND).success

    everybody = sorted(ids(shop, "champions") | ids(shop, "champions", "control"))
    never = chooser(ControlGroup("global", "never", 0.2))(everybody)
    spring = chooser(ControlGroup("campaign", "spring", 0.5, b"hush"))(everybody)
    control = load_table("champions", AS_OF[SECOND], root=shop.root, part="control")
    kinds = dict(zip(control["customer_id"], control["kind"], strict=True))
    assert kinds == {
        one: "global" if is_never else "campaign"
        for one, is_never, is_spring in zip(everybody, never, spring, strict=True)
        if is_never or is_spring
    }
    manifest = shop.store.snapshot("champions", AS_OF[SECOND]).manifest
    assert manifest.extra["control"] == [
        {"kind": "global", "experiment": "never", "share": 0.2, "keyed": False},
        {"kind": "campaign", "experiment": "spring", "share": 0.5, "keyed": True},
    ]
    assert "hush" not in manifest.model_dump_json()
    # The global group is left out of the lists without one of their own, too.
    win_back = load_table("win_back", AS_OF[SECOND], root=shop.root, part="control")
    assert set(win_back["kind"]) <= {"global"}


def test_two_control_groups_are_two_experiments(shop: Shop) -> None:
    shop.project.write(
        "deployment",
        """
        type: rfm_assets.components.DeploymentComponent
        attributes:
          global_control: {share: 0.2, experiment: spring}
        """,
    )
    campaign(shop, "champions", "control:", "  share: 0.5", "  experiment: spring")
    with pytest.raises(InvalidProject) as refused:
        shop.project.load()
    assert (
        "champions/defs.yaml:6 control.experiment: 'spring' is that of the global control group"
    ) in str(refused.value)


def test_a_list_below_its_minimum_is_not_published(shop: Shop) -> None:
    campaign(shop, "champions", "segments: [Champions]")
    assert shop.run(SECOND).success
    before = shop.store.snapshot("champions", AS_OF[SECOND]).version
    campaign(shop, "champions", "segments: [Champions]", "minimum_size: 5000")

    refused = shop.run(SECOND)

    assert not refused.success
    assert "Look at the waterfall of this list for the stage that removes too many" in failure(
        refused
    )
    assert shop.store.snapshot("champions", AS_OF[SECOND]).version == before


def test_a_baseline_of_two_weeks_ago_is_no_change_to_a_plan(shop: Shop) -> None:
    campaign(
        shop,
        "champions",
        "control: {share: 0.3, experiment: spring}",
        "transaction_data_asset_key: transaction_data",
        "outcome_days: 14",
    )
    assert shop.run(FIRST, SECOND, "2026-03-02").success
    third = date(2026, 3, 9)
    inputs = shop.store.snapshot("champions", third).manifest.inputs
    assert f"customer_segments as of {AS_OF[FIRST]}" in inputs
    planned = [Table("champions", frozenset({"customer_segments"}), (AS_OF[SECOND], third))]
    assert due(shop.store, planned) == []


def test_the_baseline_is_what_the_audience_bought_since(shop: Shop) -> None:
    campaign(
        shop,
        "champions",
        "control: {share: 0.3, experiment: spring}",
        "transaction_data_asset_key: transaction_data",
        "outcome_days: 7",
    )
    assert shop.run(FIRST, SECOND).success

    then = load_table("customer_segments", AS_OF[FIRST], root=shop.root)
    orders = load_table("transaction_data", root=shop.root)
    since = orders["date"].dt.date
    inside = (since >= AS_OF[FIRST]) & (since < AS_OF[FIRST] + timedelta(days=7))
    buyers = set(orders.loc[inside & (orders["amount"] > 0), "customer_id"])
    rate = then["customer_id"].isin(buyers).mean()
    found = shop.store.snapshot("champions", AS_OF[SECOND]).manifest.extra["measurement"]
    assert found["baseline_rate"] == pytest.approx(rate)
    assert 0 < found["smallest_uplift"] < 1
    first = shop.store.snapshot("champions", AS_OF[FIRST]).manifest.extra["measurement"]
    assert first["told"] == "not measurable: no baseline rate is known"


def test_old_weeks_do_not_see_later_sends(shop: Shop) -> None:
    shop.project.write("campaign_sends", SENDS)
    campaign(shop, "champions", "campaign_sends_asset_key: campaign_sends", "cool_off: {days: 14}")
    write_sends(shop)
    assert shop.run(FIRST).success
    before = ids(shop, "champions", week=FIRST)
    write_sends(shop, *(f"{one},x,{date(2026, 2, 23)}" for one in sorted(before)))

    assert shop.run(FIRST, SECOND).success

    assert ids(shop, "champions", week=FIRST) == before
    assert not before & ids(shop, "champions")


def test_who_was_erased_is_in_no_control_group_and_in_no_log(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RFM_ERASURE_KEY", "a secret of the tests, and of nobody else")
    shop.project.write("campaign_sends", SENDS)
    campaign(shop, "champions", "control: {share: 0.5, experiment: half}")
    write_sends(shop)
    assert shop.run(SECOND).success
    her, other = sorted(ids(shop, "champions", "control"))[:2]
    write_sends(shop, f"{her},x,2026-02-01", f"{her},y,2026-02-02", f"{other},x,2026-02-01")
    assert shop.run(SECOND).success

    done = erase(Store(shop.root), [her], today=date(2026, 3, 4), key_variable="RFM_ERASURE_KEY")

    assert done.left == []
    assert her not in ids(shop, "champions", "control")
    assert set(load_table("campaign_sends", root=shop.root)["customer_id"]) == {other}
    # The file still has her; the next run leaves her out, and counts add up.
    assert shop.run(SECOND).success
    assert set(load_table("campaign_sends", root=shop.root)["customer_id"]) == {other}
    counts = Store(shop.root).snapshot("campaign_sends", None).manifest.counts
    assert counts == {"of erased customers": 2}
    assert other in ids(shop, "champions", "control")
    assert her not in ids(shop, "champions", "control") | ids(shop, "champions")
