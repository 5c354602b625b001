"""Metrics, signals and trends by hand and on each engine; planted signals found again."""

from pathlib import Path
from typing import Any

import pytest

from rfm_assets.domain.behavior import Behavior, BehaviorConfig, analyze_behavior
from rfm_assets.domain.behavior_examples import failed_examples
from rfm_assets.domain.behavior_generator import INDUSTRIES, generate_behavior
from rfm_assets.domain.behavior_profiles import Profile
from rfm_assets.errors import ColumnMissing, InvalidProfile
from rfm_assets.library import load_profile, packaged_profiles
from rfm_assets_tests.domain.behavior_rows import AS_OF, source_columns
from rfm_assets_tests.tables import MakeTable, held, rows_of, tables_on

SMALL: dict[str, Any] = {
    "id": "small",
    "window_days": 10,
    "events": {"minutes": {"kind": "number", "unit": "minutes"}, "page": {}},
    "transactions": {"paid": {"kind": "boolean"}},
    "metrics": {
        "visits": {"from": "events", "event": "visit", "measure": "count", "unit": "count"},
        "visit_days": {"from": "events", "event": "visit", "measure": "days", "unit": "days"},
        "time": {"from": "events", "measure": "sum", "of": "minutes", "unit": "minutes"},
        "typical": {"from": "events", "measure": "mean", "of": "minutes", "unit": "minutes"},
        "longest": {"from": "events", "measure": "max", "of": "minutes", "unit": "minutes"},
        "shortest": {"from": "events", "measure": "min", "of": "minutes", "unit": "minutes"},
        "pages": {"from": "events", "measure": "distinct", "of": "page", "unit": "count"},
        "old_pages": {"from": "events", "measure": "repeated", "of": "page", "unit": "share"},
        "long_share": {
            "from": "events", "where": "minutes is not null", "measure": "share",
            "of": "minutes > 5", "unit": "share",
        },
        "spend": {
            "from": "transactions", "where": "paid", "measure": "sum", "of": "amount",
            "unit": "money",
        },
    },
    "signals": {
        "fewer_visits": {
            "when": "visits < visits_before",
            "known_when": "visits_before >= 2",
            "urgency": "high",
            "recommendation": "From {visits_before} to {visits}; {long_share} long.",
        },
        "spends_little": {
            "when": "spend < 10",
            "recommendation": "Spent {spend}.",
        },
    },
    "trends": {
        "activity": {"metric": "visit_days", "weight": 2},
        "value": {"metric": "spend"},
        "engagement": {"metric": "time"},
    },
}  # fmt: skip

EVENTS = [
    # customer, days before as_of, event, minutes, page
    ("ann", 1, "visit", 2.5, "a"),
    ("ann", 10, "visit", 10.0, "b"),  # the first day of the last window
    ("ann", 11, "visit", 4.0, "b"),  # the last of the one before
    ("ann", 12, "visit", None, "c"),
    ("ann", 20, "call", 6.0, None),
    ("ann", 21, "visit", 9.0, "z"),  # before both
    ("bob", 3, "visit", 1.0, "a"),
]
PAYMENTS = [
    ("ann", 2, 30.0, True),
    ("ann", 3, 99.0, False),
    ("ann", 15, 30.25, True),
    ("cat", 25, 5.0, True),
    ("dan", 400, 5.0, True),
]


def small(**changed: Any) -> Profile:
    return load_profile({**SMALL, **changed})


def analyzed(make: MakeTable, profile: Profile, **settings: Any) -> Behavior:
    events = [
        dict(zip(("customer_id", "day", "event", "minutes", "page"), row, strict=True))
        for row in EVENTS
    ]
    payments = [
        dict(zip(("customer_id", "day", "amount", "paid"), row, strict=True)) for row in PAYMENTS
    ]
    return analyze_behavior(
        profile,
        events=make(source_columns(events, profile, "events")),
        transactions=make(source_columns(payments, profile, "transactions")),
        as_of=AS_OF,
        config=BehaviorConfig(**settings),
        checkpoint=held,
    )


def test_metrics_signals_and_trends(engine_table: MakeTable) -> None:
    behavior = analyzed(engine_table, small())
    rows = {row["customer_id"]: row for row in rows_of(behavior.table)}
    assert set(rows) == {"ann", "bob", "cat"}
    ann, bob, cat = rows["ann"], rows["bob"], rows["cat"]
    wanted = {
        "history_days": 21.0,
        "visits": 2.0, "visits_before": 2.0,
        "visit_days": 2.0, "visit_days_before": 2.0,
        "time": 12.5, "time_before": 10.0,
        "typical": 6.25, "typical_before": 5.0,
        "longest": 10.0, "longest_before": 6.0,
        "shortest": 2.5, "shortest_before": 4.0,
        "pages": 2.0, "pages_before": 2.0,
        "old_pages": 0.5, "old_pages_before": None,
        "long_share": 0.5, "long_share_before": 0.5,
        "spend": 30.0, "spend_before": 30.25,
    }  # fmt: skip
    assert {name: ann[name] for name in wanted} == wanted
    assert (ann["signal_fewer_visits"], ann["signal_spends_little"]) == ("not_fired", "not_fired")
    trends = ("activity_trend", "value_trend", "engagement_trend")
    assert [ann[name] for name in trends] == ["stable", "stable", "increasing"]
    # Two weights of 2/4, one of 30/60.25, one of 12.5/22.5; in whole hundredths.
    assert ann["behavior_score"] == round(100 * (2 * 0.5 + 30 / 60.25 + 12.5 / 22.5) / 4, 2)
    # Bob came within the last window: nothing can be compared, but what he spent is known to be
    # unknown, too, because he has not been here for a whole window.
    assert (bob["signal_fewer_visits"], bob["signal_spends_little"]) == ("unknown", "unknown")
    assert [bob[name] for name in trends] == ["unknown"] * 3
    assert (bob["behavior_score"], bob["signals_unknown"]) == (None, 2)
    # Cat has been here for long, and came never: her visits are too few to be compared.
    assert (cat["signal_fewer_visits"], cat["signal_spends_little"]) == ("unknown", "fired")
    assert (cat["risk_signals"], cat["signals_fired"]) == ("spends_little", 1)
    assert rows_of(behavior.signals) == [
        {
            "customer_id": "cat",
            "signal": "spends_little",
            "urgency": "medium",
            "recommendation": "Spent 0.",
        }
    ]
    assert behavior.counts["customers_seen"] == 3
    assert behavior.counts["customers_with_score"] == 1
    assert behavior.mean_score == ann["behavior_score"]
    assert behavior.counts["value_trend/unknown"] == 2


def test_figures_stand_in_recommendations(engine_table: MakeTable) -> None:
    signals = {
        "all": {
            "when": "history_days > 20",
            "recommendation": "{visits} of {visits_before}, {long_share} long, {spend_before}!",
        }
    }
    behavior = analyzed(engine_table, small(signals=signals))
    told = {row["customer_id"]: row["recommendation"] for row in rows_of(behavior.signals)}
    assert told == {"ann": "2 of 2, 50% long, 30!", "cat": "0 of 0, ? long, 0!"}


def test_what_is_not_mapped_is_unknown_and_told(engine_table: MakeTable) -> None:
    profile = small()
    rows = [{"customer_id": "ann", "day": n, "event": "login"} for n in (1, 12, 30)]
    without = source_columns(rows, profile, "events").drop_columns(["minutes"])
    behavior = analyze_behavior(
        profile,
        events=engine_table(without),
        transactions=None,
        as_of=AS_OF,
        config=BehaviorConfig(event_names={"visit": "seen"}),
        checkpoint=held,
    )
    assert behavior.unavailable["spend"] == "no transactions are given"
    assert behavior.unavailable["time"] == "the events have no column 'minutes'"
    assert behavior.unavailable["visits"] == "the event 'visit' never occurs"
    (ann,) = rows_of(behavior.table)
    assert (ann["signal_fewer_visits"], ann["signal_spends_little"]) == ("unknown", "unknown")
    insights = rows_of(behavior.insights)
    assert {(row["affected_customers"], row["unknown_customers"]) for row in insights} == {(0, 1)}


def test_a_column_of_another_kind_is_told_and_a_missing_one_refused() -> None:
    profile = small()
    rows = [{"customer_id": "ann", "day": n, "event": "visit"} for n in (1, 12, 30)]
    table = source_columns(rows, profile, "events")
    text = table.set_column(table.column_names.index("minutes"), "minutes", table["page"])

    def analyzed_with(events: Any) -> Behavior:
        with tables_on("polars") as make:
            return analyze_behavior(
                profile,
                events=make(events),
                transactions=None,
                as_of=AS_OF,
                config=BehaviorConfig(),
                checkpoint=held,
            )

    told = analyzed_with(text).unavailable
    assert told["time"] == "column 'minutes' of the events is a text, not a number"
    with pytest.raises(ColumnMissing, match=r"column 'day' .named by `events_asset_key`."):
        analyzed_with(table.drop_columns(["day"]))


def test_names_of_a_deployment_are_mapped(engine_table: MakeTable) -> None:
    profile = small()
    events = [
        {"customer_id": "ann", "day": n, "event": "seen", "minutes": 2.0} for n in (1, 12, 13, 30)
    ]
    # What is called a visit here is something else.
    events.append({"customer_id": "ann", "day": 2, "event": "visit", "minutes": None})
    table = source_columns(events, profile, "events").rename_columns(
        ["customer_id", "event", "duration", "page", "day"]
    )
    behavior = analyze_behavior(
        profile,
        events=engine_table(table),
        transactions=None,
        as_of=AS_OF,
        config=BehaviorConfig(event_names={"visit": "seen"}, event_columns={"minutes": "duration"}),
        checkpoint=held,
    )
    (ann,) = rows_of(behavior.table)
    assert (ann["visits"], ann["visits_before"], ann["time"]) == (1.0, 2.0, 2.0)
    assert ann["signal_fewer_visits"] == "fired"


def test_a_customer_with_an_impossible_number_is_left_out_alone(engine_table: MakeTable) -> None:
    profile = small()
    events = [
        {"customer_id": name, "day": n, "event": "visit", "minutes": minutes}
        for name, minutes in (("ann", 1.0), ("bob", 1e12))
        for n in (1, 12, 13, 30)
    ]
    behavior = analyze_behavior(
        profile,
        events=engine_table(source_columns(events, profile, "events")),
        transactions=None,
        as_of=AS_OF,
        config=BehaviorConfig(),
        checkpoint=held,
    )
    assert [row["customer_id"] for row in rows_of(behavior.table)] == ["ann"]
    assert rows_of(behavior.excluded) == [
        {"customer_id": "bob", "stage": "behavior", "reason": "value_out_of_range"}
    ]


@pytest.mark.parametrize("industry", INDUSTRIES)
def test_planted_signals_are_found(industry: str) -> None:
    profile = load_profile(industry)
    generated = generate_behavior(industry, customers=1_500, seed=11)
    with tables_on("duckdb") as make:
        behavior = analyze_behavior(
            profile,
            events=make(source_columns(generated.events, profile, "events")),
            transactions=make(source_columns(generated.transactions, profile, "transactions")),
            as_of=AS_OF,
            config=BehaviorConfig(),
            checkpoint=held,
        )
        rows = {row["customer_id"]: row for row in rows_of(behavior.table)}
    assert behavior.unavailable == {}
    assert set(rows) == set(generated.planted)
    settled = set(rows) - generated.newcomers
    for signal in profile.signals:
        fired = {name for name in settled if rows[name][f"signal_{signal}"] == "fired"}
        planted = {name for name in settled if generated.planted[name] == signal}
        assert len(planted) > 80
        precision, recall = len(fired & planted) / len(fired), len(fired & planted) / len(planted)
        assert precision >= 0.95, signal
        assert recall >= 0.95, signal
        # Of who has just come nothing is known, and unknown is never "not fired".
        assert {rows[name][f"signal_{signal}"] for name in generated.newcomers} == {"unknown"}
    assert len(generated.newcomers) > 50


@pytest.mark.parametrize("name", packaged_profiles())
def test_examples_of_the_packaged_profiles(name: str) -> None:
    profile = load_profile(name)
    assert failed_examples(profile) == []
    shown = {one for example in profile.examples for one in example.fired}
    assert shown == set(profile.signals)


def test_an_example_that_is_wrong_says_so() -> None:
    profile = small(
        examples=[
            {
                "name": "comes less",
                "events": [
                    {"day": 15, "event": "visit", "times": 3},
                    {"day": 30, "event": "visit"},
                    {"day": 5, "event": "visit"},
                ],
                "not_fired": ["fewer_visits"],
            }
        ]
    )
    assert failed_examples(profile) == [
        "example 'comes less': fewer_visits is fired, not not_fired"
    ]


WRONG = [
    ("logins < 0.6 * logins_before", "login < 1", 28, "Did you mean 'logins'"),
    ("measure: count, unit: count}", "measure: count, unit: money}", 16, "a count is in count"),
    ("of: amount, unit: money", "of: amount, unit: mony", 22, "Did you mean 'money'"),
    ("of: amount, unit: money", "of: amount, unit: days", 22, "is in money, not in days"),
    ("payments <= 0.25 * balance_checks", "volume <= balance_checks", 46, "joins money and count"),
    ("of: feature", "of: featur", 18, "Did you mean 'feature'"),
    ("urgency: low", "urgency: lwo", 53, "Did you mean 'low'"),
    ("measure: sum", "measure: summ", 22, "Did you mean 'sum'"),
    ("{logins_before} to", "{login_before} to", 32, "Did you mean 'logins_before'"),
    ("metric: volume", "metric: volum", 64, "Did you mean 'volume'"),
    ("known_when: logins_before", "known_wen: logins_before", 29, "Did you mean 'known_when'"),
    ("logins < 0.6 * logins_before", "logins", 28, "A boolean is needed"),
    (
        "  logins: {from",
        "  as_of: {from: events, measure: count, unit: count}\n  logins: {from",
        16,
        "Rename",
    ),
    # Nothing but the grammar can be reached.
    ("logins < 0.6 * logins_before", "read_csv('/etc/passwd') = 1", 28, "does not exist"),
    ("logins < 0.6 * logins_before", "logins < (select 1)", 28, "Expected ')'"),
    ("logins < 0.6 * logins_before", "__import__('os') = 1", 28, "does not exist"),
    ("logins < 0.6 * logins_before", "logins.__class__ = 1", 28, "not part of the grammar"),
    ("logins < 0.6 * logins_before", "logins < 1; drop table x", 28, "not part of the grammar"),
    ("fired: [login_frequency_decline", "fired: [login_decline", 79, "login_frequency_decline"),
]


@pytest.mark.parametrize(("old", "new", "line", "told"), WRONG, ids=[case[1] for case in WRONG])
def test_a_wrong_profile_is_told_with_its_line(
    tmp_path: Path, old: str, new: str, line: int, told: str
) -> None:
    from rfm_assets import library

    text = (Path(library.__file__).parent / "industry_profiles" / "banking.yaml").read_text("utf-8")
    assert old in text
    (tmp_path / "mine.yaml").write_text(text.replace(old, new, 1), encoding="utf-8")
    with pytest.raises(InvalidProfile, match=rf"mine\.yaml:{line} ") as error:
        load_profile("mine.yaml", folder=tmp_path)
    assert told in str(error.value)
