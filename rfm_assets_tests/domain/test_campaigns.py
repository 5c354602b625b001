"""The waterfall: everyone in the audience ends in exactly one place, and suppression wins."""

from collections.abc import Callable
from datetime import date
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rfm_assets.domain.audiences import CampaignConfig, ConsentRule
from rfm_assets.domain.campaigns import CampaignResult, campaign_list
from rfm_assets.domain.frames import Table
from rfm_assets.errors import ColumnMissing, InvalidExpression

AS_OF = date(2026, 3, 2)
MakeTable = Callable[[dict[str, Any]], Table]

CUSTOMERS = {
    "customer_id": ["a", "b", "c", "d", "e", "f", "g", "h"],
    "segment": ["At Risk"] * 5 + ["Lost", "Champions", None],
    "monetary": [100.0, 300.0, 300.0, 50.0, 80.0, 10.0, 900.0, 5.0],
    "recency": [30, 60, 60, 90, 30, 300, 1, 2],
    "frequency": [3, 3, 3, 2, 2, 1, 9, 1],
    "recommendation": ["win back"] * 8,
    "consent": [True, True, True, None, False, True, True, True],
}


def rows(table: Table) -> list[dict[str, Any]]:
    return table.collect(backend="pyarrow").to_native().to_pylist()


def run(
    table: Table, config: CampaignConfig, segments: list[str], *suppression: Table
) -> CampaignResult:
    return campaign_list(
        table,
        as_of=AS_OF,
        config=config,
        segments=segments,
        suppression=suppression,
        checkpoint=lambda frame: frame,
    )


def test_list_is_ordered_by_priority_then_customer_id(engine_table: MakeTable) -> None:
    result = run(
        engine_table(CUSTOMERS),
        CampaignConfig(priority="monetary / (recency / 30 + 1)"),
        ["At Risk"],
    )
    # a 100/2 = 50, b and c 300/3 = 100, d 50/4 = 12.5, e 80/2 = 40
    members = sorted(rows(result.members), key=lambda row: row["rank"])
    assert [(m["customer_id"], m["priority"]) for m in members] == [
        ("b", 100.0),
        ("c", 100.0),
        ("a", 50.0),
        ("e", 40.0),
        ("d", 12.5),
    ]
    assert [m["rank"] for m in members] == [1, 2, 3, 4, 5]
    assert {m["as_of"] for m in members} == {AS_OF}


def test_each_stage_counts_whom_it_removes_and_why(engine_table: MakeTable) -> None:
    suppressed = engine_table({"customer_id": ["b", "g", "zz"], "reason": ["bounced"] * 3})
    config = CampaignConfig(
        where="monetary >= 60", consent=ConsentRule(column="consent"), size_limit=1
    )
    result = run(engine_table(CUSTOMERS), config, ["At Risk"], suppressed)
    assert [(s.stage, s.entered, s.removed, s.left) for s in result.steps] == [
        ("all customers", 8, 0, 8),
        ("segments", 8, 3, 5),
        ("where", 5, 1, 4),
        ("consent", 4, 1, 3),
        ("suppression", 3, 1, 2),
        ("size_limit", 2, 1, 1),
        ("deliverable", 1, 0, 1),
    ]
    assert [m["customer_id"] for m in rows(result.members)] == ["c"]
    excluded = {r["customer_id"]: (r["stage"], r["reason"]) for r in rows(result.excluded)}
    assert excluded == {
        "e": ("consent", "consent not given"),
        "b": ("suppression", "suppressed: bounced"),
        "a": ("size_limit", "below the first 1 by priority"),
    }


def test_unrecorded_consent_excludes_unless_declared_otherwise(engine_table: MakeTable) -> None:
    strict = CampaignConfig(consent=ConsentRule(column="consent"))
    result = run(engine_table(CUSTOMERS), strict, ["At Risk"])
    reasons = {r["customer_id"]: r["reason"] for r in rows(result.excluded)}
    assert reasons == {"d": "consent not recorded", "e": "consent not given"}
    lenient = CampaignConfig(consent=ConsentRule(column="consent", unknown="include"))
    result = run(engine_table(CUSTOMERS), lenient, ["At Risk"])
    assert [r["customer_id"] for r in rows(result.excluded)] == ["e"]


def test_first_suppression_list_that_names_a_customer_gives_the_reason(
    engine_table: MakeTable,
) -> None:
    first = engine_table({"customer_id": ["a"], "reason": ["legal_hold"]})
    second = engine_table({"customer_id": ["a", "b"], "reason": ["test", "test"]})
    result = run(engine_table(CUSTOMERS), CampaignConfig(), ["At Risk"], first, second)
    reasons = {r["customer_id"]: r["reason"] for r in rows(result.excluded)}
    assert reasons == {"a": "suppressed: legal_hold", "b": "suppressed: test"}


def test_without_segments_everybody_is_in_the_audience(engine_table: MakeTable) -> None:
    result = run(engine_table(CUSTOMERS), CampaignConfig(), [])
    assert result.steps[-1].left == 8


def test_empty_audience_gives_an_empty_list_with_all_columns(engine_table: MakeTable) -> None:
    result = run(engine_table(CUSTOMERS), CampaignConfig(), ["Promising"])
    assert rows(result.members) == []
    assert result.members.collect_schema().names()[:5] == [
        "customer_id",
        "rank",
        "priority",
        "segment",
        "as_of",
    ]
    assert result.steps[-1].left == 0


def test_condition_must_be_a_condition_and_priority_a_number(engine_table: MakeTable) -> None:
    with pytest.raises(InvalidExpression, match=r"where.*is a number[^$]*A boolean is needed"):
        run(engine_table(CUSTOMERS), CampaignConfig(where="monetary + 1"), [])
    with pytest.raises(InvalidExpression, match=r"priority.*is a text[^$]*A number is needed"):
        run(engine_table(CUSTOMERS), CampaignConfig(priority="segment"), [])


def test_unknown_columns_name_the_nearest(engine_table: MakeTable) -> None:
    with pytest.raises(ColumnMissing, match="'monetary'"):
        run(engine_table(CUSTOMERS), CampaignConfig(columns=("monetry",)), [])
    with pytest.raises(ColumnMissing, match="'consent'"):
        run(engine_table(CUSTOMERS), CampaignConfig(consent=ConsentRule(column="consnt")), [])


@settings(
    max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_everyone_in_the_audience_ends_in_exactly_one_place(
    engine_table: MakeTable, data: st.DataObject
) -> None:
    ids = [f"c{i}" for i in range(data.draw(st.integers(1, 12)))]
    pick = lambda values: [data.draw(st.sampled_from(values)) for _ in ids]  # noqa: E731
    customers = {
        "customer_id": ids,
        "segment": pick(["At Risk", "Lost"]),
        "monetary": pick([0.0, 1.0, 2.5]),
        "recency": pick([1, 30]),
        "frequency": pick([1, 2]),
        "recommendation": ["x"] * len(ids),
        "consent": [*pick([True, False]), True][: len(ids)],
    }
    named = data.draw(st.lists(st.sampled_from([*ids, "stranger"]), unique=True, min_size=1))
    suppressed = engine_table({"customer_id": named, "reason": ["test"] * len(named)})
    config = CampaignConfig(
        consent=ConsentRule(column="consent"),
        size_limit=data.draw(st.one_of(st.none(), st.integers(1, 5))),
    )
    result = run(engine_table(customers), config, ["At Risk"], suppressed)
    members = [r["customer_id"] for r in rows(result.members)]
    excluded = [r["customer_id"] for r in rows(result.excluded)]
    audience = [i for i, s in zip(ids, customers["segment"], strict=True) if s == "At Risk"]
    assert sorted(members + excluded) == sorted(audience)
    assert not set(members) & set(named)
    assert result.steps[-1].left == len(members)
    assert sum(step.removed for step in result.steps[2:]) == len(excluded)
