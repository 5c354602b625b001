"""Outcomes of lists by hand, what keeps them from being measured, and what never changes them."""

from dataclasses import replace
from datetime import date, timedelta
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rfm_assets.domain.controls import ControlGroup
from rfm_assets.domain.outcome_rows import outcome_rows, told
from rfm_assets.domain.outcomes import (
    Assignment,
    Outcome,
    OutcomeConfig,
    campaign_outcomes,
    not_measurable,
    verdict_of,
)
from rfm_assets.schemas import CAMPAIGN_OUTCOME
from rfm_assets_tests.domain.purchases import Purchase, transactions
from rfm_assets_tests.tables import MakeTable, rows_of, tables_on

LIST = date(2026, 1, 5)
CONFIG = OutcomeConfig(horizon_weeks=2)
END = date(2026, 1, 19)
HALF = ControlGroup("campaign", "spring", 0.5)
EVERY_WEEK: list[Purchase] = [
    ("somebody", None, "2026-01-06", 1.0),
    ("somebody", None, "2026-01-13", 1.0),
]
"""Of a customer who is on no list, so that no week is without transactions."""


def named(prefix: str, customers: int) -> list[str]:
    return [f"{prefix}{number}" for number in range(customers)]


def assigned(
    make: MakeTable,
    deliverable: list[str],
    control: list[tuple[str, str, bool]] | None,
    *drawn: ControlGroup,
    campaign: str = "win_back",
) -> Assignment:
    """A list; of those in control, the kind and whether they are comparable."""
    held = None
    if control is not None:
        held = make(
            pa.table(
                {
                    "customer_id": pa.array([one[0] for one in control], pa.string()),
                    "kind": pa.array([one[1] for one in control], pa.string()),
                    "comparable": pa.array([one[2] for one in control], pa.bool_()),
                }
            )
        )
    members = make(pa.table({"customer_id": pa.array(deliverable, pa.string())}))
    return Assignment(campaign, members, held, drawn)


def campaign(customers: list[str]) -> list[tuple[str, str, bool]]:
    return [(one, "campaign", True) for one in customers]


def outcome(make: MakeTable, one: Assignment, rows: list[Purchase], **more: Any) -> Outcome:
    asked: dict[str, Any] = {"as_of": LIST, "observed": END, "config": CONFIG} | more
    return campaign_outcomes([one], make(transactions([*EVERY_WEEK, *rows])), **asked)[0]


def test_a_list_by_hand(engine_table: MakeTable) -> None:
    """Seventy of the list and eighty in control, with the buyers of Newcombe's first example."""
    rows: list[Purchase] = [(f"t{n}", None, "2026-01-10", 10.0) for n in range(56)]
    rows += [(f"c{n}", None, "2026-01-18", 5.0) for n in range(48)]
    rows += [
        ("t0", "o1", "2026-01-12", 7.5),  # one more order does not make one more buyer
        ("t0", "o1", "2026-01-12", -2.5),  # a refund is taken off
        ("t60", None, "2026-01-12", -4.0),  # and is no purchase
        ("t61", None, "2026-01-04", 99.0),  # the day before the list
        ("t62", None, "2026-01-19", 99.0),  # the day on which is looked back
        ("nobody", None, "2026-01-12", 99.0),
    ]
    one = assigned(engine_table, named("t", 70), campaign(named("c", 80)), HALF)
    found = outcome(engine_table, one, rows)

    assert found.deliverable is not None
    assert found.control is not None
    assert found.buyers is not None
    assert found.spend is not None
    assert (found.deliverable.customers, found.deliverable.buyers) == (70, 56)
    assert (found.control.customers, found.control.buyers) == (80, 48)
    assert found.buyers.value == pytest.approx(56 / 70 - 48 / 80)
    # Newcombe 1998, table II, method 10.
    assert (found.buyers.low, found.buyers.high) == pytest.approx((0.0524, 0.3339), abs=5e-5)
    assert found.verdict == "uplift"
    assert found.deliverable.units == 5_610_000  # 56 * 10 + 7.50 - 2.50 - 4
    assert found.deliverable.spend_per_head == pytest.approx(561 / 70)
    assert found.control.spend_per_head == 3.0
    assert found.spend.value == pytest.approx(561 / 70 - 3, abs=1e-4)
    # Twice P(X <= 70) of 150 by halves.
    assert found.ratio_p_value == pytest.approx(0.4625, abs=1e-3)
    assert told(found, confidence=0.95) == (
        "uplift: 80.00 % bought, 60.00 % in control; +20.00 percentage points "
        "(95 % interval +5.24 to +33.39)"
    )


def test_the_first_and_the_last_day_count(engine_table: MakeTable) -> None:
    rows: list[Purchase] = [("t0", None, "2026-01-05", 1.0), ("t1", None, "2026-01-18", 1.0)]
    one = assigned(engine_table, named("t", 20), campaign(named("c", 20)), HALF)
    found = outcome(engine_table, one, rows)
    assert found.deliverable is not None
    assert found.deliverable.buyers == 2


def test_harm_and_nothing_seen(engine_table: MakeTable) -> None:
    rows: list[Purchase] = [(f"t{n}", None, "2026-01-10", 10.0) for n in range(48)]
    rows += [(f"c{n}", None, "2026-01-18", 10.0) for n in range(56)]
    harmed = assigned(engine_table, named("t", 80), campaign(named("c", 70)), HALF)
    assert outcome(engine_table, harmed, rows).verdict == "harm"
    # Where nearly all of control bought, no uplift could be shown, and harm could.
    full = assigned(engine_table, named("t", 60), campaign(named("c", 60)), HALF)
    found = outcome(engine_table, full, rows)
    assert (found.verdict, found.smallest_uplift) == ("harm", None)
    alike = assigned(engine_table, named("t", 450), campaign(named("u", 50)), tenth())
    found = outcome(engine_table, alike, rows[:3])
    assert found.verdict == "no difference seen"
    # By hand: 1.96 * sqrt(.0828 * .9172 / 45) + .8416 * sqrt(.092 * .908 / 450) = .092.
    assert told(found, confidence=0.95).endswith(
        "An uplift below 9.20 points would probably not be seen"
    )


def tenth() -> ControlGroup:
    return replace(HALF, share=0.1)


def test_only_its_own_comparable_control_is_compared(engine_table: MakeTable) -> None:
    """Of a list with a group of its own and the global one, and with a size limit."""
    control = [
        *campaign(named("c", 40)),
        *[(one, "campaign", False) for one in named("low", 7)],
        *[(one, "global", True) for one in named("g", 5)],
    ]
    everywhere = ControlGroup("global", "never", 0.05)
    one = assigned(engine_table, named("t", 40), control, everywhere, HALF)
    found = outcome(engine_table, one, [])
    assert found.control is not None
    assert (found.control.customers, found.aside, found.drawn) == (40, 12, HALF)
    # Without a group of its own, a list is compared with the global one.
    alone = assigned(engine_table, named("t", 95), control, everywhere)
    found = outcome(engine_table, alone, [])
    assert found.control is not None
    assert (found.control.customers, found.aside, found.drawn) == (5, 47, everywhere)


def not_measured(found: Outcome) -> str:
    assert found.verdict == "not measurable"
    assert found.buyers is None
    assert found.spend is None
    assert told(found, confidence=0.95) == f"not measurable: {found.reason}"
    return found.reason


def test_what_keeps_a_list_from_being_measured(engine_table: MakeTable) -> None:
    """With sixty buyers of sixty against none of sixty, which otherwise is a clear uplift."""
    rows: list[Purchase] = [(f"t{n}", None, "2026-01-10", 10.0) for n in range(60)]
    one = assigned(engine_table, named("t", 60), campaign(named("c", 60)), HALF)
    assert outcome(engine_table, one, rows).verdict == "uplift"

    assert not_measured(outcome(engine_table, replace(one, drawn=()), rows)) == (
        "the list has no control group"
    )
    assert not_measured(outcome(engine_table, replace(one, control=None), rows)) == (
        "the list has no control group"
    )
    early = END - timedelta(days=1)
    assert not_measured(outcome(engine_table, one, rows, observed=early)) == (
        "its weeks are over on 2026-01-19, and this is known as of 2026-01-18"
    )
    later = OutcomeConfig(horizon_weeks=3)
    found = outcome(engine_table, one, rows, observed=date(2026, 1, 26), config=later)
    assert not_measured(found) == ("there are no transactions at all of the week of 2026-01-19")
    found = outcome(engine_table, replace(one, drawn=(tenth(),)), rows)
    assert not_measured(found) == (
        "60 of 120 are in control, and by a share of 0.1 that is no chance: the groups were not "
        "drawn as declared"
    )
    few = assigned(engine_table, ["t1", "t2"], campaign(["c1"]), HALF)
    assert not_measured(outcome(engine_table, few, rows)) == (
        "2 on the list and 1 in control: it takes 10 in each"
    )
    # All of nine against none of nine would be an interval far above 0.
    nine = assigned(engine_table, named("t", 9), campaign(named("c", 9)), HALF)
    assert not_measured(outcome(engine_table, nine, rows)) == (
        "9 on the list and 9 in control: it takes 10 in each"
    )
    ten = assigned(engine_table, named("t", 10), campaign(named("c", 10)), HALF)
    assert outcome(engine_table, ten, rows).verdict == "uplift"
    nobody = assigned(engine_table, [], campaign(["c1"]), HALF)
    assert not_measured(outcome(engine_table, nobody, rows)) == "nobody is on the list"
    free = assigned(engine_table, ["t1"], [], HALF)
    assert not_measured(outcome(engine_table, free, rows)) == "nobody is in the control group"


def test_groups_of_the_declared_share_are_no_mismatch() -> None:
    """0.1 % of draws are called a mismatch; one of three standard deviations is not."""
    with tables_on("polars") as make:
        for control, measured in ((128, True), (133, False)):  # 100 ± 9.5, 3 and 3.5 of them
            one = assigned(make, named("t", 1000 - control), campaign(named("c", control)), tenth())
            assert (outcome(make, one, []).verdict != "not measurable") == measured


def test_several_lists_at_once(engine_table: MakeTable) -> None:
    rows: list[Purchase] = [(f"t{n}", None, "2026-01-10", 10.0) for n in range(9)]
    first = assigned(engine_table, named("t", 20), campaign(named("c", 20)), HALF, campaign="a")
    second = assigned(engine_table, named("c", 20), campaign(named("t", 20)), HALF, campaign="b")
    both = campaign_outcomes(
        [first, second],
        engine_table(transactions([*EVERY_WEEK, *rows])),
        as_of=LIST,
        observed=END,
        config=CONFIG,
    )
    assert [one.campaign for one in both] == ["a", "b"]
    assert [one.deliverable.buyers for one in both if one.deliverable] == [9, 0]


def test_rows_follow_the_contract(engine_table: MakeTable) -> None:
    rows: list[Purchase] = [(f"t{n}", None, "2026-01-10", 10.0) for n in range(56)]
    one = assigned(engine_table, named("t", 70), campaign(named("c", 80)), HALF)
    found = [outcome(engine_table, one, rows), not_measurable("reactivation", "no list")]
    table = rows_of(outcome_rows(found, list_as_of=LIST, as_of=END, config=CONFIG))
    assert list(table[0]) == list(CAMPAIGN_OUTCOME.schema.columns)
    assert table[0]["experiment"] == "spring"
    assert table[1]["deliverable"] is None
    assert table[1]["told"] == "not measurable: no list"


def test_verdicts_follow_the_interval() -> None:
    assert verdict_of(0.001, 0.1) == "uplift"
    assert verdict_of(-0.1, -0.001) == "harm"
    assert verdict_of(0.0, 0.1) == verdict_of(-0.1, 0.0) == "no difference seen"
    assert verdict_of(None, None) == "not measurable"


spends = st.lists(
    st.tuples(st.booleans(), st.integers(0, 29), st.integers(-500, 50_000).filter(bool)),
    max_size=40,
)


@given(spends, st.randoms(use_true_random=False))
def test_the_order_of_rows_decides_nothing(
    bought: list[tuple[bool, int, int]], shuffled: Any
) -> None:
    rows = [("t" if of else "c") + str(n) for of, n, _ in bought]
    lines: list[Purchase] = [
        (customer, None, "2026-01-10", cents / 100)
        for customer, (_, _, cents) in zip(rows, bought, strict=True)
    ]
    mixed, members = list(lines), named("t", 30)
    shuffled.shuffle(mixed)
    with tables_on("polars") as make:
        one = assigned(make, members, campaign(named("c", 30)), HALF)
        other = assigned(make, members[::-1], campaign(named("c", 30)[::-1]), HALF)
        tables = [
            rows_of(outcome_rows([found], list_as_of=LIST, as_of=END, config=CONFIG))
            for found in (outcome(make, one, lines), outcome(make, other, mixed))
        ]
    assert tables[0] == tables[1]


@given(spends)
def test_swapping_the_groups_turns_the_sign(bought: list[tuple[bool, int, int]]) -> None:
    lines: list[Purchase] = [
        (("t" if of else "c") + str(n), None, "2026-01-10", cents / 100) for of, n, cents in bought
    ]
    with tables_on("polars") as make:
        # Of different sizes, so that it does not matter which of two equal ones is redrawn.
        there = assigned(make, named("t", 30), campaign(named("c", 31)), HALF)
        back = assigned(make, named("c", 31), campaign(named("t", 30)), HALF)
        one, other = outcome(make, there, lines), outcome(make, back, lines)
    opposite = {"uplift": "harm", "harm": "uplift"}
    assert other.verdict == opposite.get(one.verdict, one.verdict)
    for mine, theirs in ((one.buyers, other.buyers), (one.spend, other.spend)):
        assert (mine is None) == (theirs is None)
        if mine and theirs:
            assert theirs.value == pytest.approx(-mine.value, abs=1e-4)
            assert (theirs.low, theirs.high) == pytest.approx((-mine.high, -mine.low), abs=1e-4)
