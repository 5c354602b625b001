"""Cool-off, frequency cap and claims, worked by hand on each engine."""

from datetime import date

import pytest

from rfm_assets.domain.audiences import CampaignConfig
from rfm_assets.domain.contact_rules import (
    Claim,
    CoolOff,
    ExclusiveGroup,
    FrequencyCap,
    PlannedSends,
    past_sends,
)
from rfm_assets_tests.domain.campaigns_by_hand import (
    AS_OF,
    days_before,
    ends,
    ids_of,
    reasons,
    run,
    sends,
    shop,
)
from rfm_assets_tests.tables import MakeTable, rows_of


def test_cool_off_ends_when_its_days_are_over(engine_table: MakeTable) -> None:
    log = sends(
        engine_table,
        ("a", "spring", days_before(14)),  # two weeks ago: free again
        ("b", "spring", days_before(13)),
        ("c", "spring", days_before(1)),
        ("d", "spring", AS_OF),  # not yet
        ("e", "spring", date(2026, 4, 1)),
    )
    known = past_sends(log, [], as_of=AS_OF, days=14)
    config = CampaignConfig(cool_off=CoolOff(days=14))

    result = run(engine_table(shop("abcdef")), config, sends=known)

    assert ids_of(result.members) == ["a", "d", "e", "f"]
    assert reasons(result) == dict.fromkeys("bc", "sent a campaign within 14 days")
    assert [(s.stage, s.entered, s.removed, s.left) for s in result.steps] == [
        ("all customers", 6, 0, 6),
        ("suppression", 6, 0, 6),
        ("cool_off", 6, 2, 4),
        ("deliverable", 4, 0, 4),
    ]


def test_cool_off_may_ask_for_some_campaigns(engine_table: MakeTable) -> None:
    log = sends(engine_table, ("a", "spring", days_before(3)), ("b", "news", days_before(3)))
    known = past_sends(log, [], as_of=AS_OF, days=14)
    config = CampaignConfig(cool_off=CoolOff(days=14, campaigns=("spring",)))

    assert ids_of(run(engine_table(shop("abc")), config, sends=known).members) == ["b", "c"]


def test_a_row_that_stands_twice_is_one_send(engine_table: MakeTable) -> None:
    twice = ("a", "spring", days_before(3))
    log = sends(
        engine_table, twice, twice, ("b", "spring", days_before(3)), ("b", "news", days_before(3))
    )
    known = past_sends(log, [], as_of=AS_OF, days=30)
    config = CampaignConfig(frequency_cap=FrequencyCap(sends=2, days=30))

    result = run(engine_table(shop("abc")), config, sends=known)

    assert ends(result) == {"a": "deliverable", "b": "frequency_cap", "c": "deliverable"}
    assert reasons(result) == {"b": "had 2 sends within 30 days"}


def test_the_cap_counts_consecutive_days_with_today(engine_table: MakeTable) -> None:
    # 30 days with today begin 29 days ago.
    log = sends(engine_table, ("a", "x", days_before(30)), ("b", "x", days_before(29)))
    known = past_sends(log, [], as_of=AS_OF, days=30)
    config = CampaignConfig(frequency_cap=FrequencyCap(sends=1, days=30))

    assert ids_of(run(engine_table(shop("ab")), config, sends=known).members) == ["a"]


def test_the_shorter_rule_looks_back_less(engine_table: MakeTable) -> None:
    log = sends(engine_table, ("a", "x", days_before(10)), ("b", "x", days_before(3)))
    known = past_sends(log, [], as_of=AS_OF, days=30)
    config = CampaignConfig(cool_off=CoolOff(days=7), frequency_cap=FrequencyCap(sends=2, days=30))

    result = run(engine_table(shop("ab")), config, sends=known)

    assert ends(result) == {"a": "deliverable", "b": "cool_off"}


def test_an_earlier_list_counts_once_beside_the_log(engine_table: MakeTable) -> None:
    earlier = engine_table({"customer_id": ["a", "b"]})
    planned = PlannedSends("spring", days_before(7), earlier)
    later = PlannedSends("spring", AS_OF, earlier)
    log = sends(engine_table, ("a", "spring", days_before(5)), ("c", "news", days_before(5)))

    known = past_sends(log, [planned, later], as_of=AS_OF, days=30)

    assert known is not None
    assert [(r["customer_id"], r["campaign"]) for r in rows_of(known, "customer_id")] == [
        ("a", "spring"),
        ("b", "spring"),
        ("c", "news"),
    ]


def test_lists_alone_can_be_what_is_known(engine_table: MakeTable) -> None:
    planned = PlannedSends("spring", days_before(7), engine_table({"customer_id": ["a"]}))
    old = PlannedSends("spring", days_before(14), engine_table({"customer_id": ["b"]}))
    known = past_sends(None, [planned, old], as_of=AS_OF, days=14)
    config = CampaignConfig(cool_off=CoolOff(days=14))

    assert ids_of(run(engine_table(shop("abc")), config, sends=known).members) == ["b", "c"]


def test_nothing_sent_leaves_everybody(engine_table: MakeTable) -> None:
    assert past_sends(None, [], as_of=AS_OF, days=14) is None
    config = CampaignConfig(cool_off=CoolOff(days=14), frequency_cap=FrequencyCap(sends=1, days=14))
    assert ids_of(run(engine_table(shop("ab")), config).members) == ["a", "b"]


def test_the_highest_campaign_that_has_a_customer_claims_her(engine_table: MakeTable) -> None:
    config = CampaignConfig(exclusive_group=ExclusiveGroup(name="retention", priority=1))
    claims = [
        Claim(
            "first", [engine_table({"customer_id": ["a"]}), engine_table({"customer_id": ["b"]})]
        ),
        Claim("second", [engine_table({"customer_id": ["a", "c"]})]),
    ]

    result = run(engine_table(shop("abcd")), config, claims=claims)

    assert reasons(result) == {
        "a": "claimed by first",
        "b": "claimed by first",
        "c": "claimed by second",
    }
    assert result.steps[-2].stage == "claimed"


@pytest.mark.parametrize("days", [0, -1])
def test_a_rule_needs_days(days: int) -> None:
    with pytest.raises(ValueError, match="greater than or equal to 1"):
        CoolOff(days=days)
