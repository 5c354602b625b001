"""What the routes say: the shapes of earlier systems key by key, and figures that are those stored."""

from collections import Counter
from datetime import datetime
from statistics import fmean, median
from typing import Any

import pytest

from rfm_assets_tests.serving.asking import Client, problem
from rfm_assets_tests.serving.stored import (
    CAMPAIGNS,
    DATES,
    FIRST,
    NORTH,
    SECOND,
    SHARED,
    SOUTH,
    THIRD,
    Stored,
)

TRENDS = {"increasing", "stable", "declining", "unknown"}
SEGMENTATION, BEHAVIOR = "/segmentation", "/behavior"


def types(content: dict[str, Any]) -> dict[str, type]:
    return {name: type(value) for name, value in content.items()}


def test_sizes_of_an_organisation_s_segments(client: Client, stored: Stored) -> None:
    content = client.json(f"{SEGMENTATION}/organizations/{NORTH}/segments")
    assert types(content) == {"total_customers": int, "segments": dict}
    rows = stored.rows("churn_aware_segments")
    counts = Counter(row["segment"] for row in rows)
    assert content["total_customers"] == len(rows)
    assert {n: one["count"] for n, one in content["segments"].items() if one["count"]} == counts
    for name, one in content["segments"].items():
        assert types(one) == {"count": int, "percentage": float, "metadata": dict}
        assert one["percentage"] == round(100 * counts[name] / len(rows), 2)
        assert types(one["metadata"]) == {"description": str, "action": str}


def test_the_segment_of_a_customer(client: Client, stored: Stored) -> None:
    row = stored.rows("churn_aware_segments")[0]
    name = row["customer_id"]
    path = f"{SEGMENTATION}/customers/{name}/segment"
    content = client.json(path, organization_id=NORTH)
    assert types(content) == {
        "customer_id": str,
        "organization_id": str,
        "segment": str,
        "segment_score": float,
        "rfm_category": dict,
        "churn_risk_level": str,
        "assigned_at": str,
        "metadata": dict,
    }
    assert content["rfm_category"] == {one: row[f"{one}_category"] for one in "RFME"}
    assert (content["customer_id"], content["organization_id"]) == (name, NORTH)
    assert content["segment"] == row["segment"]
    assert content["segment_score"] == round(row["segment_score"], 2)
    assert content["churn_risk_level"] in {"Low", "Medium", "High", "Critical"}
    assert datetime.fromisoformat(content["assigned_at"]) == row["segmented_at"]


def test_definitions_of_the_churn_aware_segments(client: Client) -> None:
    content = client.json(f"{SEGMENTATION}/segment-definitions")
    assert types(content) == {"segments": dict}
    assert len(content["segments"]) == 11
    for one in content["segments"].values():
        assert types(one) == {"description": str, "action": str}
        assert one["description"]
        assert one["action"]


def test_the_behaviour_of_a_customer(client: Client, stored: Stored) -> None:
    rows = stored.rows("customer_behavior_south")
    row = next(one for one in rows if one["risk_signals"] and one["behavior_score"] is not None)
    content = client.json(f"{BEHAVIOR}/customers/{row['customer_id']}/behavior")
    assert types(content) == {
        "customer_id": str,
        "organization_id": str,
        "org_type": str,
        "behavior_score": float,
        "activity_trend": str,
        "value_trend": str,
        "engagement_trend": str,
        "risk_signals": list,
        "recommendations": list,
        "analyzed_at": str,
        "metadata": dict,
    }
    assert (content["organization_id"], content["org_type"]) == (SOUTH, "banking")
    assert content["risk_signals"] == row["risk_signals"].split(",")
    assert len(content["recommendations"]) == len(content["risk_signals"])
    for trend in ("activity_trend", "value_trend", "engagement_trend"):
        assert content[trend] in TRENDS


def test_a_behaviour_that_nothing_is_known_of_has_no_score(client: Client, stored: Stored) -> None:
    rows = stored.rows("customer_behavior")
    row = next(one for one in rows if one["behavior_score"] is None)
    content = client.json(
        f"{BEHAVIOR}/customers/{row['customer_id']}/behavior", organization_id=NORTH
    )
    assert (content["behavior_score"], content["activity_trend"]) == (None, "unknown")
    assert content["risk_signals"] == content["recommendations"] == []


def test_insights_into_an_organisation(client: Client, stored: Stored) -> None:
    content = client.json(f"{BEHAVIOR}/organizations/{SOUTH}/behavior-insights")
    assert types(content) == {
        "organization_id": str,
        "org_type": str,
        "total_customers": int,
        "top_risk_signals": dict,
        "avg_behavior_score": float,
        "customers_by_trend": dict,
        "priority_actions": list,
    }
    rows = stored.rows("customer_behavior_south")
    fired = Counter(name for row in rows for name in row["risk_signals"].split(",") if name)
    scores = [row["behavior_score"] for row in rows if row["behavior_score"] is not None]
    assert content["total_customers"] == len(rows) == 60
    assert content["top_risk_signals"] == fired
    assert list(content["top_risk_signals"].values()) == sorted(fired.values(), reverse=True)
    assert content["avg_behavior_score"] == pytest.approx(sum(scores) / len(scores))
    trends = Counter(row["activity_trend"] for row in rows)
    assert list(content["customers_by_trend"]) == ["increasing", "stable", "declining", "unknown"]
    assert {t: n for t, n in content["customers_by_trend"].items() if n} == trends
    for one in content["priority_actions"]:
        assert types(one) == {
            "risk_signal": str,
            "affected_customers": int,
            "urgency": str,
            "percentage": float,
        }
        assert one["affected_customers"] == fired[one["risk_signal"]]
        assert one["percentage"] == pytest.approx(100 * fired[one["risk_signal"]] / 60, abs=0.01)


def test_clusters_have_the_averages_of_every_feature(client: Client, stored: Stored) -> None:
    content = client.json("/api/ml/segments")
    rows = stored.rows("behavioral_segments")
    assert content["k"] == len(content["segments"]) == 4
    assert sum(one["customers"] for one in content["segments"]) == len(rows)
    assert sum(one["spend_pct"] for one in content["segments"]) == pytest.approx(100, abs=0.1)
    for one in content["segments"]:
        members = [row for row in rows if row["cluster"] == one["cluster"]]
        assert one["customers"] == len(members)
        for feature, mean in one["averages"].items():
            values = [row[feature] for row in members]
            assert mean == pytest.approx(sum(values) / len(values))
            assert one["features"][feature]["minimum"] == min(values)
            assert one["features"][feature]["maximum"] == max(values)


def test_a_customer_of_several_organisations_needs_one_named(client: Client) -> None:
    path = f"{SEGMENTATION}/customers/{SHARED}/segment"
    refused = client.get(path)
    assert problem(refused) == (422, "UnprocessableContent")
    assert "north, south" in refused.json()["detail"]
    assert client.json(path, organization_id=NORTH)["organization_id"] == NORTH
    assert client.json(path, organization_id=SOUTH)["organization_id"] == SOUTH


def test_a_card_holds_nothing_of_another_organisation_s_customer(client: Client) -> None:
    beside = client.json(f"/customers/{SHARED}/card")["beside"]
    assert set(beside) == {
        "behavioral_segments",
        "customer_lifetime_value",
        "churn_scores",
        "churn_aware_segments",
        "customer_behavior",
    }


def test_segments_are_those_of_the_summary(client: Client, stored: Stored) -> None:
    content = client.json("/segments")
    rows = {row["segment"]: row for row in stored.rows("segment_summary")}
    assert {one["segment"]: one["customers"] for one in content["segments"]} == {
        name: row["customers"] for name, row in rows.items()
    }
    assert content["customers"] == len(stored.rows("customer_segments"))
    assert content["snapshot"]["as_of"] == str(THIRD)
    assert next(iter(content["segments"]))["definition"]["recommendation"]


def test_a_week_before_is_asked_for_by_its_date(client: Client, stored: Stored) -> None:
    content = client.json("/segments", as_of=str(FIRST))
    assert content["snapshot"]["as_of"] == str(FIRST)
    assert content["customers"] == len(stored.rows("customer_segments", as_of=FIRST))
    assert client.get("/segments", as_of="2026-02-17").status_code == 404
    assert client.get("/segments", as_of="2026-02-30").status_code == 422


def test_movement_reconciles_with_both_weeks(client: Client, stored: Stored) -> None:
    content = client.json("/movement")
    assert content["previous_as_of"] == str(SECOND)
    now, before = Counter[str](), Counter[str]()
    for move in content["moves"]:
        now[move["to_segment"]] += move["customers"]
        before[move["from_segment"]] += move["customers"]
    segments = stored.rows("customer_segments")
    assert {k: n for k, n in now.items() if k != "(left)"} == Counter(
        row["segment"] for row in segments
    )
    assert {k: n for k, n in before.items() if k != "(new)"} == Counter(
        row["segment"] for row in stored.rows("customer_segments", as_of=SECOND)
    )


def test_movement_between_any_two_weeks(client: Client, stored: Stored) -> None:
    content = client.json("/history/movement", **{"from": str(FIRST), "to": str(THIRD)})
    assert content["previous"]["as_of"] == str(FIRST)
    now = Counter[str]()
    for move in content["moves"]:
        now[move["to_segment"]] += move["customers"]
    segments = stored.rows("customer_segments")
    assert {k: n for k, n in now.items() if k != "(left)"} == Counter(
        r["segment"] for r in segments
    )
    # Of neighbours it says what is stored.
    keys = ("from_segment", "to_segment")
    neighbours = client.json("/history/movement")["moves"]
    direct = client.json("/movement")["moves"]
    assert sorted(neighbours, key=lambda m: [m[k] for k in keys]) == sorted(
        direct, key=lambda m: [m[k] for k in keys]
    )
    assert all(one["monetary_before"] >= 0 for one in content["at_risk"])
    for wrong, status in (
        ({"from": str(THIRD), "to": str(FIRST)}, 422),
        ({"from": "2026-02-30"}, 422),
        ({"to": "2026-02-17"}, 404),
        ({"to": str(FIRST)}, 404),  # nothing before the first
    ):
        assert client.get("/history/movement", **wrong).status_code == status, wrong


def test_steps_of_a_range_add_up(client: Client, stored: Stored) -> None:
    content = client.json("/history/transitions")
    assert (content["steps_from"], content["snapshots"]) == (str(FIRST), 2)
    assert content["snapshot"]["as_of"] == str(THIRD)
    sums = Counter[str]()
    for one in content["transitions"]:
        sums[one["from_segment"]] += one["probability"]
    assert all(total == pytest.approx(1) for total in sums.values())
    moved = sum(one["customers"] for one in content["transitions"])
    weeks = [stored.rows("segment_movement", as_of=day) for day in (SECOND, THIRD)]
    assert moved == sum(row["customers"] for rows in weeks for row in rows)
    one_step = client.json("/history/transitions", **{"from": str(THIRD)})
    assert (one_step["steps_from"], one_step["snapshots"]) == (str(SECOND), 1)
    nothing = client.get("/history/transitions", **{"from": "2027-01-01"})
    assert nothing.status_code == 404


def test_shares_over_time_are_those_stored(client: Client, stored: Stored) -> None:
    content = client.json("/history/distribution", band="sd")
    assert {one["as_of"] for one in content["shares"]} == {str(day) for day in DATES}
    latest = {o["segment"]: o for o in content["shares"] if o["as_of"] == str(THIRD)}
    for row in stored.rows("segment_summary"):
        one = latest[row["segment"]]
        assert one["customers"] == row["customers"]
        assert one["share"] == pytest.approx(row["customers_pct"] / 100)
    assert not any(one["outside"] for one in content["shares"])  # three weeks are no norm


def test_stays_are_counted_from_the_rows(client: Client, stored: Stored) -> None:
    content = client.json("/history/stays")
    assert (content["stays_from"], content["snapshots"]) == (str(FIRST), 3)
    assert content["snapshot"]["as_of"] == str(THIRD)
    weeks = [
        {row["customer_id"]: row["segment"] for row in stored.rows("customer_segments", as_of=day)}
        for day in (THIRD, SECOND, FIRST)
    ]
    lengths: dict[str, list[int]] = {}
    for customer, segment in weeks[0].items():
        known = [week.get(customer) == segment for week in weeks]
        lengths.setdefault(segment, []).append([*known, False].index(False) - 1)
    assert {
        one["segment"]: (one["customers"], one["median_weeks"], one["at_least"])
        for one in content["segments"]
    } == {name: (len(all_), median(all_), all_.count(2)) for name, all_ in lengths.items()}
    for one in content["segments"]:
        assert one["mean_weeks"] == pytest.approx(fmean(lengths[one["segment"]]))
    scheme = [one["name"] for one in client.json("/definitions")["scheme"]["segments"]]
    order = [one["segment"] for one in content["segments"]]
    assert order == [name for name in scheme if name in order]
    # Fewer snapshots are looked at where fewer are asked for.
    fewer = client.json("/history/stays", snapshots=2)
    assert (fewer["stays_from"], fewer["snapshots"]) == (str(SECOND), 2)
    assert max(one["mean_weeks"] for one in fewer["segments"]) <= 1
    assert client.json("/history/stays", to=str(FIRST))["snapshots"] == 1
    assert client.get("/history/stays", snapshots=0).status_code == 422
    assert client.get("/history/stays", to="2001-01-01").status_code == 404


def test_cohorts_are_counted_from_the_transactions(client: Client, stored: Stored) -> None:
    content = client.json("/history/cohorts", months=240)
    assert content["snapshot"]["as_of"] == str(THIRD)
    assert content["transactions"]["table"] == "transaction_data"
    bought: dict[str, set[int]] = {}
    for row in stored.rows("transaction_data"):
        if row["amount"] > 0 and row["date"].date() < THIRD:
            months = 12 * row["date"].year + row["date"].month - 1
            bought.setdefault(row["customer_id"], set()).add(months)
    sizes, buyers = Counter[str](), Counter[tuple[str, int]]()
    for months in bought.values():
        cohort = f"{min(months) // 12}-{min(months) % 12 + 1:02}-01"
        sizes[cohort] += 1
        buyers.update((cohort, month - min(months)) for month in months)
    found = {(one["cohort"], one["month"]): one for one in content["cohorts"]}
    assert {key: one["buyers"] for key, one in found.items() if one["buyers"]} == buyers
    assert {one["cohort"]: one["customers"] for one in content["cohorts"]} == sizes
    assert all(one["retention"] == one["buyers"] / one["customers"] for one in content["cohorts"])
    newest = client.json("/history/cohorts", months=2)["cohorts"]
    assert {one["cohort"] for one in newest} == set(sorted(sizes)[-2:])
    # An earlier date sees less.
    earlier = client.json("/history/cohorts", as_of=str(FIRST), months=240)
    assert earlier["snapshot"]["as_of"] == str(FIRST)
    assert sum(one["buyers"] for one in earlier["cohorts"]) < sum(buyers.values())
    assert client.get("/history/cohorts", as_of="2001-01-01").status_code == 404


def test_why_a_customer_has_the_segment(client: Client, stored: Stored) -> None:
    row = next(one for one in stored.rows("customer_segments") if one["segment"] == "Champions")
    content = client.json(f"/customers/{row['customer_id']}")
    why = content["explanation"]
    assert content["values"]["segment"] == "Champions"
    assert [one["score"] for one in why["scores"]] == [
        row["R_score"],
        row["F_score"],
        row["M_score"],
    ]
    fired = next(rule for rule in why["rules"] if rule["position"] == why["fired"])
    assert (fired["segment"], fired["failed"], fired["reached"]) == ("Champions", [], True)


def test_a_customer_who_is_left_out_has_a_reason(client: Client, stored: Stored) -> None:
    left_out = stored.rows("customer_segments", part="excluded")[0]
    content = client.json(f"/customers/{left_out['customer_id']}")
    assert content["values"] is None
    assert content["explanation"] is None
    assert content["excluded"]["reason"] == left_out["reason"]


def test_the_history_of_a_customer_has_every_week(client: Client, stored: Stored) -> None:
    name = stored.rows("customer_segments", as_of=FIRST)[0]["customer_id"]
    content = client.json(f"/customers/{name}/history")
    assert [row["as_of"] for row in content["history"]] == [
        str(day)
        for day in DATES
        if name in {row["customer_id"] for row in stored.rows("customer_segments", as_of=day)}
    ]


def test_lists_with_their_waterfalls(client: Client, stored: Stored) -> None:
    content = client.json("/campaigns")
    assert [one["name"] for one in content["campaigns"]] == list(CAMPAIGNS)
    for one in content["campaigns"]:
        stages = one["waterfall"]
        assert all(stage["entered"] - stage["removed"] == stage["left"] for stage in stages)
        assert one["deliverable"] == stages[-1]["left"] == len(stored.rows(one["name"]))
        assert one["excluded"] == sum(one["reasons"].values())
        assert one == client.json(f"/campaigns/{one['name']}")


def test_what_became_of_a_list(client: Client, stored: Stored) -> None:
    (row,) = [one for one in stored.rows("campaign_outcome") if one["campaign"] == "champions"]
    content = client.json("/campaigns/champions/outcome")
    assert (content["snapshot"]["as_of"], content["list_as_of"]) == (str(THIRD), str(SECOND))
    assert (content["verdict"], content["told"]) == (row["verdict"], row["told"])
    assert content["claimed_on"] == "buyer_rate"
    for group in ("deliverable", "control"):
        assert content[group]["customers"] == row[group] > 0
        assert content[group]["buyer_rate"] == row[f"buyer_rate_{group}"]
        assert content[group]["spend_per_head"] == row[f"spend_per_head_{group}"]
    assert content["buyer_rate"] == {
        name: row[f"buyer_rate_{column}"]
        for name, column in (("value", "difference"), ("low", "low"), ("high", "high"))
    }
    assert content["spend_per_head"]["low"] == row["spend_low"]


def test_what_cannot_be_measured_has_no_interval(client: Client) -> None:
    content = client.json("/campaigns/win_back/outcome")
    assert content["told"] == "not measurable: the list has no control group"
    assert (content["verdict"], content["buyer_rate"]) == ("not measurable", None)
    first = client.json("/campaigns/champions/outcome", as_of=str(FIRST))
    assert first["told"] == "not measurable: there is no list as of 2026-02-09"
    assert first["deliverable"] is None


def test_only_of_a_list_and_of_a_date_there_is_an_outcome(client: Client) -> None:
    missing = client.get("/campaigns/customer_segments/outcome")
    assert problem(missing) == (404, "CampaignMissing")
    undated = client.get("/campaigns/champions/outcome", as_of="2020-01-06")
    assert problem(undated) == (404, "SnapshotMissing")


def test_a_table_that_is_no_list_is_no_campaign(client: Client) -> None:
    assert problem(client.get("/campaigns/customer_segments")) == (404, "CampaignMissing")
    assert problem(client.get("/api/ml/segments", table="champions")) == (404, "KindMissing")


def test_health_tells_what_is_stored_and_what_failed(client: Client, stored: Stored) -> None:
    content = client.json("/health")
    assert {one["name"] for one in content["tables"]} == set(stored.store.tables())
    failed = {(one["table"], one["name"]) for one in content["failed_checks"]}
    assert ("churn_scores", "scores_set_aside") in failed
    assert content["status"] == "warnings"


def test_snapshots_are_listed_newest_first(client: Client) -> None:
    content = client.json("/snapshots", table="win_back", last=2)
    assert [one["as_of"] for one in content["snapshots"]] == [str(THIRD), str(SECOND)]


def test_lines_that_could_not_be_used_are_counted(stored: Stored) -> None:
    rejects = stored.rows("churn_scores", part="rejects")
    found = {row["source_line"]: row["reason"] for row in rejects}
    assert [found[line] for line in (2, 3, 4)] == [
        "score_out_of_range",
        "unknown_customer",
        "unreadable_score",
    ]
