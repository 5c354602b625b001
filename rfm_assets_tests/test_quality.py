"""Rules about whole tables: where they pass, warn and block, and what they say."""

from datetime import date

import pytest

from rfm_assets import quality
from rfm_assets.errors import InvalidConfig
from rfm_assets.quality import SegmentChecks, TransactionChecks
from rfm_assets.validation import CheckOutcome


def verdict(outcome: CheckOutcome) -> str:
    if outcome.passed:
        return "passes"
    return "blocks" if outcome.blocking else "warns"


@pytest.mark.parametrize(
    ("rejected", "expected"),
    [(0, "passes"), (50, "passes"), (51, "warns"), (500, "warns"), (501, "blocks")],
)
def test_reject_rate_warns_above_5_and_blocks_above_50_per_cent(
    rejected: int, expected: str
) -> None:
    outcome = quality.reject_rate(
        rows_in=1000, by_reason={"no customer id": rejected}, checks=TransactionChecks()
    )
    assert verdict(outcome) == expected
    assert outcome.n_failed == rejected


def test_reject_rate_lists_its_reasons_largest_first() -> None:
    outcome = quality.reject_rate(
        rows_in=4_000,
        by_reason={"no date": 10, "no customer id": 1_200, "future date": 0, "a": 10},
        checks=TransactionChecks(),
    )
    assert outcome.observed == (
        "1,220 of 4,000 rows set aside, 30.5% (no customer id 1,200, a 10, no date 10)"
    )


def test_no_rows_at_all_have_no_reject_rate() -> None:
    outcome = quality.reject_rate(rows_in=0, by_reason={}, checks=TransactionChecks())
    assert verdict(outcome) == "passes"


@pytest.mark.parametrize(
    ("rows", "before", "fall", "expected"),
    [
        (0, None, 0.5, "blocks"),
        (1, None, 0.5, "passes"),
        (0, 10, 1.0, "blocks"),
        (1, 10, 1.0, "passes"),
        (5, 10, 0.5, "passes"),
        (4, 10, 0.5, "blocks"),
        (1, 10, 0.9, "passes"),
        (9, 10, 0.0, "blocks"),
        (10, 10, 0.0, "passes"),
        (500, 0, 0.5, "passes"),
    ],
)
def test_volume_blocks_on_nothing_and_on_too_deep_a_fall(
    rows: int, before: int | None, fall: float, expected: str
) -> None:
    checks = TransactionChecks(max_volume_fall=fall)
    outcome = quality.volume(rows=rows, rows_before=before, checks=checks)
    assert verdict(outcome) == expected


@pytest.mark.parametrize(
    ("newest", "limit", "expected"),
    [
        (date(2026, 1, 5), 14, "passes"),
        (date(2026, 1, 4), 14, "warns"),
        (date(2011, 12, 9), None, "passes"),
        (None, 14, "warns"),
        (None, None, "passes"),
    ],
)
def test_freshness_warns_past_a_number_of_days(
    newest: date | None, limit: int | None, expected: str
) -> None:
    checks = TransactionChecks(max_age_days=limit)
    outcome = quality.freshness(newest=newest, today=date(2026, 1, 19), checks=checks)
    assert verdict(outcome) == expected


@pytest.mark.parametrize(
    ("customers", "expected", "observed"),
    [
        ({"Lost": 8, "Champions": 2}, "passes", "Lost with 8 of 10 customers, 80.0%"),
        ({"Lost": 81, "Champions": 19}, "warns", "Lost with 81 of 100 customers, 81.0%"),
        ({"Lost": 1}, "warns", "Lost with 1 of 1 customers, 100.0%"),
        ({}, "passes", "no segment with 0 of 0 customers, 0.0%"),
        ({"Lost": 0}, "passes", "no segment with 0 of 0 customers, 0.0%"),
    ],
)
def test_largest_segment_warns_above_80_per_cent(
    customers: dict[str, int], expected: str, observed: str
) -> None:
    outcome = quality.largest_segment(customers=customers, checks=SegmentChecks())
    assert verdict(outcome) == expected
    assert outcome.observed == observed


@pytest.mark.parametrize(
    ("index", "expected"),
    [(None, "passes"), (0.1, "passes"), (0.11, "warns"), (1.0, "warns"), (1.01, "blocks")],
)
def test_drift_warns_and_then_blocks(index: float | None, expected: str) -> None:
    shift = None if index is None else shifted(index)
    assert verdict(quality.drift(shift, checks=SegmentChecks())) == expected


def test_drift_names_the_largest_shifts() -> None:
    outcome = quality.drift(shifted(0.31), checks=SegmentChecks())
    assert outcome.observed == (
        "population stability index 0.310 since 2026-01-05 (Lost 5.0% to 12.5%)"
    )


def test_of_a_few_customers_drift_is_told_but_never_fails() -> None:
    few = shifted(5.0, customers=99)
    assert verdict(quality.drift(few, checks=SegmentChecks())) == "passes"
    assert "index 5.000" in quality.drift(few, checks=SegmentChecks()).observed
    strict = SegmentChecks(drift_min_customers=0)
    assert verdict(quality.drift(few, checks=strict)) == "blocks"


def test_an_empty_snapshot_is_nobody_to_compare_with() -> None:
    empty = shifted(None, customers=0)
    strict = SegmentChecks(drift_min_customers=0)
    for outcome in (
        quality.drift(empty, checks=strict),
        quality.reference_drift(empty, reference=FIRST_WEEK, as_of=LATER, checks=strict),
    ):
        assert verdict(outcome) == "passes"
        assert outcome.observed.startswith("nobody to compare with since 2026-01-05")


FIRST_WEEK, NEXT_WEEK, LATER = date(2026, 1, 5), date(2026, 1, 12), date(2026, 2, 2)


@pytest.mark.parametrize(
    ("later", "in_this_run", "expected"),
    [
        ([], {FIRST_WEEK}, "passes"),
        ([NEXT_WEEK, LATER], {FIRST_WEEK, NEXT_WEEK}, "passes"),
        ([NEXT_WEEK, LATER], {FIRST_WEEK}, "warns"),
        ([NEXT_WEEK, LATER], {FIRST_WEEK, LATER}, "warns"),
    ],
)
def test_a_later_week_that_saw_another_version_is_told(
    later: list[date], in_this_run: set[date], expected: str
) -> None:
    outcome = quality.later_weeks_current(later=later, in_this_run=in_this_run)
    assert verdict(outcome) == expected
    if expected == "warns":
        assert outcome.observed.startswith("2026-01-12 and 1 after it stored from the version")
        assert outcome.next_step.startswith("Backfill from the week that ends on 2026-01-12")


def shifted(index: float | None, *, customers: int = 1_000) -> quality.Shift:
    return quality.Shift(
        index=index,
        since=date(2026, 1, 5),
        customers=customers,
        largest=[("Lost", 0.05, 0.125)],
    )


def test_parts_must_add_up_exactly() -> None:
    parts = {"kept": 397_884, "rejected": 135_080, "dropped": 8_945}
    exact = quality.reconciles("rows_reconcile", whole=("rows read", 541_909), parts=parts)
    assert verdict(exact) == "passes"
    assert exact.observed == "kept 397,884 + rejected 135,080 + dropped 8,945 = 541,909"
    assert exact.expected == "rows read 541,909"
    short = quality.reconciles("rows_reconcile", whole=("rows read", 541_910), parts=parts)
    assert verdict(short) == "blocks"
    assert short.n_failed == 1
    assert short.next_step.startswith("1 are counted twice or not at all")


def test_money_is_shown_by_its_units_without_rounding() -> None:
    outcome = quality.reconciles(
        "money_reconciles",
        whole=("net spend", 90_071_992_547_409_931),
        parts={"segmented": 90_071_992_547_410_000, "left out": -70},
        decimals=4,
    )
    assert verdict(outcome) == "blocks"
    assert outcome.observed == (
        "segmented 9,007,199,254,741.0000 + left out -0.0070 = 9,007,199,254,740.9930"
    )
    assert outcome.expected == "net spend 9,007,199,254,740.9931"


def test_one_suppressed_customer_blocks_and_is_named() -> None:
    assert verdict(quality.no_suppressed_customer(on_list=[], n_suppressed=9)) == "passes"
    found = [f"c{i}" for i in range(7)]
    outcome = quality.no_suppressed_customer(on_list=found, n_suppressed=9)
    assert verdict(outcome) == "blocks"
    assert outcome.n_failed == 7
    assert outcome.observed == (
        "7 of 9 suppressed customers on the list (for example c0, c1, c2, c3, c4)"
    )


def test_a_limit_that_warns_lies_at_or_below_the_one_that_blocks() -> None:
    with pytest.raises(InvalidConfig, match=r"warn_reject_rate: 0\.6 is above the limit 0\.5"):
        TransactionChecks(warn_reject_rate=0.6)
    with pytest.raises(InvalidConfig, match="warn_drift: 2"):
        SegmentChecks(warn_drift=2)
    assert TransactionChecks(warn_reject_rate=0.5).warn_reject_rate == 0.5


@pytest.mark.parametrize(
    ("unreadable", "expected", "observed"),
    [
        ({"consent": 0, "age": 0}, "passes", "no unreadable value"),
        ({"consent": 0, "age": 3}, "warns", "age 3 unreadable values"),
        ({"consent": 1, "age": 3}, "blocks", "age 3, consent 1 unreadable values"),
    ],
)
def test_unreadable_consent_blocks_and_other_unreadable_values_warn(
    unreadable: dict[str, int], expected: str, observed: str
) -> None:
    outcome = quality.attributes_readable(unreadable=unreadable, booleans={"consent"})
    assert (verdict(outcome), outcome.observed) == (expected, observed)


def test_every_rule_of_a_table_is_described() -> None:
    rules = {
        *quality.TRANSACTION_RULES,
        *quality.SEGMENT_RULES,
        *quality.CUSTOMER_RULES,
        *quality.MOVEMENT_RULES,
        *quality.SUMMARY_RULES,
        *quality.LIFETIME_VALUE_RULES,
        *quality.CLUSTER_RULES,
        *quality.CHURN_SCORE_RULES,
        *quality.CHURN_SEGMENT_RULES,
        *quality.EVENT_RULES,
        *quality.BEHAVIOR_RULES,
        *quality.VALIDATION_RULES,
        *quality.SUPPRESSION_RULES,
        *quality.LIST_RULES,
        *quality.OUTCOME_RULES,
        *quality.SEND_RULES,
        *quality.EXPORT_RULES,
        *quality.DATABASE_RULES,
    }
    assert rules == set(quality.DESCRIPTIONS)


def test_a_reference_is_compared_by_the_same_limits() -> None:
    checks = SegmentChecks(warn_drift=0.1, block_drift=0.3)

    def told(shift: quality.Shift) -> CheckOutcome:
        return quality.reference_drift(shift, reference=FIRST_WEEK, as_of=LATER, checks=checks)

    assert verdict(told(shifted(0.05))) == "passes"
    loud = told(shifted(0.31))
    assert verdict(loud) == "blocks"
    assert "since 2026-01-05" in loud.observed


def test_a_reference_that_was_never_stored_warns_after_its_week() -> None:
    def told(as_of: date) -> CheckOutcome:
        return quality.reference_drift(
            None, reference=FIRST_WEEK, as_of=as_of, checks=SegmentChecks()
        )

    assert verdict(told(LATER)) == "warns"
    assert told(LATER).observed == "no snapshot of the reference 2026-01-05"
    assert told(FIRST_WEEK).passed


@pytest.mark.parametrize(
    ("read_on", "expected"),
    [(date(2026, 2, 1), "warns"), (date(2026, 2, 2), "passes"), (None, "warns")],
)
def test_transactions_must_be_read_when_the_week_is_over(
    read_on: date | None, expected: str
) -> None:
    assert verdict(quality.transactions_cover_week(read_on=read_on, as_of=LATER)) == expected


def test_a_churn_model_must_beat_recency_beyond_chance() -> None:
    better = quality.churn_model_helps(gain=(0.05, 0.01, 0.09), over="recency alone")
    chance = quality.churn_model_helps(gain=(0.05, -0.01, 0.09), over="recency alone")
    assert (verdict(better), verdict(chance)) == ("passes", "warns")
    assert "AUC +0.050 above recency alone (95 % interval -0.010 to +0.090)" in chance.observed
    assert verdict(quality.churn_model_helps(gain=None, over="recency alone")) == "passes"


def test_predicted_and_observed_churn_may_lie_so_far_apart() -> None:
    verdicts = [
        verdict(quality.churn_model_calibrated(error=error, limit=0.1))
        for error in (None, 0.1, 0.101)
    ]
    assert verdicts == ["passes", "passes", "warns"]


def test_scores_of_another_date_warn() -> None:
    current = quality.scores_current(scores_of=LATER, as_of=LATER)
    old = quality.scores_current(scores_of=FIRST_WEEK, as_of=LATER)
    undated = quality.scores_current(scores_of=None, as_of=LATER)
    assert [verdict(one) for one in (current, old, undated)] == ["passes", "warns", "passes"]


def test_no_usable_score_blocks_and_some_that_are_not_warn() -> None:
    cases = ((5, {}), (5, {"missing_score": 1}), (0, {"missing_score": 3}))
    verdicts = [
        verdict(quality.scores_set_aside(kept=kept, by_reason=reasons, places=()))
        for kept, reasons in cases
    ]
    assert verdicts == ["passes", "warns", "blocks"]


def test_behavior_of_most_customers_should_be_known() -> None:
    assert verdict(quality.behavior_known(customers=10, known=5)) == "passes"
    assert verdict(quality.behavior_known(customers=10, known=4)) == "warns"
    assert verdict(quality.behavior_known(customers=0, known=0)) == "passes"


def test_scores_no_better_than_a_coin_warn() -> None:
    good = quality.segments_predict(candidate="a", auc=(0.6, 0.51, 0.7))
    coin = quality.segments_predict(candidate="a", auc=(0.6, 0.49, 0.7))
    assert (verdict(good), verdict(coin)) == ("passes", "warns")


def outcome_row(verdict: str, low: float | None, high: float | None, **more: object) -> dict:
    reason = "too few" if verdict == "not measurable" else None
    values = {"campaign": "spring", "verdict": verdict, "reason": reason, "ratio_p_value": 0.4}
    return {**values, "buyer_rate_low": low, "buyer_rate_high": high, **more}


def test_a_claim_beyond_its_interval_is_never_published() -> None:
    fair = [
        outcome_row("uplift", 0.01, 0.2),
        outcome_row("harm", -0.2, -0.01),
        outcome_row("no difference seen", -0.1, 0.1),
        outcome_row("not measurable", None, None),
    ]
    assert quality.claims_follow_intervals(fair).passed
    for unfair in (
        outcome_row("uplift", 0.0, 0.2),
        outcome_row("uplift", None, None),
        outcome_row("not measurable", 0.01, 0.2),
        outcome_row("no difference seen", -0.1, 0.1, reason="but"),
        outcome_row("not measurable", None, None, reason=None),
    ):
        found = quality.claims_follow_intervals([*fair, unfair])
        assert (found.passed, found.blocking, found.n_failed) == (False, True, 1)
        assert found.sample == ("spring",)


def test_groups_that_were_not_drawn_as_declared_are_told() -> None:
    rows = [outcome_row("not measurable", None, None, ratio_p_value=p) for p in (None, 0.001)]
    assert quality.groups_as_drawn(rows).passed
    odd = outcome_row("not measurable", None, None, campaign="odd", ratio_p_value=0.0004)
    found = quality.groups_as_drawn([*rows, odd])
    assert (found.passed, found.blocking, found.observed) == (False, False, "odd (p 0.0004)")
