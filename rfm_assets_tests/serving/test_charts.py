"""Every chart with nothing, with one row and with many; what their titles say, worked by hand."""

import csv
import io
import json
from collections.abc import Callable
from datetime import date
from typing import Any

import pytest

from rfm_assets.serving.charts import (
    campaigns,
    customers,
    history,
    learned,
    movement,
    quality,
    segments,
    worth,
)
from rfm_assets.serving.charts.base import Chart, Column, Palette, on_color, shown
from rfm_assets.serving.dashboard.parts import chart_card, simple_table
from rfm_assets.serving.views import CELLS, Axis, Density
from rfm_assets.validation import CheckOutcome

PALETTE = Palette({"A": "#112233", "B": "#445566"}, names={"B": "Bees"})
DAYS = (date(2026, 2, 23), date(2026, 3, 2))


def summary(segment: str, n: int, spent: float, **more: Any) -> dict[str, Any]:
    """A row of a summary in which A and B share 10 customers and 100 of spend."""
    return {
        "segment": segment,
        "customers": n,
        "customers_pct": 10.0 * n,
        "customers_change": n - 5,
        "monetary_total": spent,
        "monetary_pct": spent,
        "monetary_mean": spent / n if n else None,
        "recency_mean": 10.0,
        "frequency_mean": 2.0,
        **more,
    }


SUMMARY = [
    summary("A", 6, 20.0, benchmark_low_pct=10, benchmark_high_pct=20),
    summary("B", 4, 80.0, benchmark_low_pct=40, benchmark_high_pct=50),
]


def move(a: str, b: str, n: int) -> dict[str, Any]:
    return {
        "from_segment": a,
        "to_segment": b,
        "customers": n,
        "monetary_before": 5.0,
        "monetary_now": 6.0,
    }


MOVES = [move("A", "A", 6), move("A", "B", 1), move("B", "A", 2), move("(new)", "A", 1)]

STEPS = [
    {
        "from_segment": a, "to_segment": b, "customers": n, "probability": p,
        "low": p / 2, "high": min(1.0, p * 2),
    }
    for a, b, n, p in (
        ("A", "A", 94, 0.94), ("A", "B", 6, 0.06), ("B", "A", 1, 0.5), ("B", "(left)", 1, 0.5),
        ("(new)", "B", 9, 1.0),
    )
]  # fmt: skip

NORMAL = [
    {"segment": s, "customers": n, "share": n / 10, "low": low, "high": high, "outside": outside}
    for s, n, low, high, outside in (("A", 6, 0.4, 0.5, True), ("B", 4, 0.4, 0.5, False))
]

STAYS = [
    {"segment": s, "customers": n, "mean_weeks": mean, "median_weeks": 2.0, "at_least": 1}
    for s, n, mean in (("A", 6, 3.5), ("B", 4, 8.25))
]

PROFILES = [
    {
        "segment": "A", "cluster": cluster, "feature": feature, "mean": mean, "minimum": 0.0,
        "maximum": 9.0, "centroid": mean, "customers": n, "customers_pct": 10.0 * n,
        "spend_total": 5.0 * n, "spend_pct": 10.0 * n,
    }
    for cluster, n, means in ((0, 6, (1.0, 3.0)), (1, 4, (1.0, 0.5)))
    for feature, mean in zip(("spend_mean", "orders"), means, strict=True)
]  # fmt: skip

SIGNALS = [
    {
        "rank": rank, "signal": signal, "urgency": "high", "affected_customers": n,
        "percentage": 1.0, "known_customers": 9, "unknown_customers": 1,
    }
    for rank, signal, n in ((1, "no_orders_lately", 7), (2, "many_returns", 0))
]  # fmt: skip

SCORES = [
    {
        "candidate": name, "of": "score", "auc": auc, "auc_low": auc - 0.1, "auc_high": auc + 0.1,
        "gain": 0.0, "lift_top_10_pct": 2.0, "verdict": verdict,
    }
    for name, auc, verdict in (("rfm", 0.6, "baseline"), ("churn", 0.75, "better"))
]  # fmt: skip

RATES = [
    {
        "candidate": "rfm", "segment": segment, "customers": 10, "buyers": 5, "lift": 1.5,
        "repurchase_rate": rate, "rate_low": rate - 0.1, "rate_high": rate + 0.1,
        "revenue_pct": 50.0,
    }
    for segment, rate in (("A", 0.25), ("B", 0.5))
]  # fmt: skip

CHECKS = [
    ("t", CheckOutcome(name=name, passed=passed, blocking=blocking, observed="o", expected="e", next_step="n"))
    for name, passed, blocking in (("one", True, True), ("two", False, False), ("three", False, True))
]  # fmt: skip

STAGES = [
    {"stage": "all customers", "entered": 20, "removed": 0, "left": 20},
    {"stage": "segments", "entered": 20, "removed": 10, "left": 10},
    {"stage": "consent", "entered": 10, "removed": 2, "left": 8},
    {"stage": "suppression", "entered": 8, "removed": 0, "left": 8},
    {"stage": "deliverable", "entered": 8, "removed": 0, "left": 8},
]

OUTCOMES = [
    {
        "list_as_of": date(2026, 3, 2), "verdict": "not measurable", "reason": "no list", "told": "x",
        **dict.fromkeys(
            ("deliverable", "control", "buyer_rate_deliverable", "buyer_rate_control",
             "buyer_rate_difference", "buyer_rate_low", "buyer_rate_high", "smallest_uplift",
             "spend_difference", "spend_low", "spend_high")
        ),
    },
    {
        "list_as_of": date(2026, 3, 9), "verdict": "uplift", "reason": None, "told": "uplift: much",
        "deliverable": 70, "control": 80, "buyer_rate_deliverable": 0.8, "buyer_rate_control": 0.6,
        "buyer_rate_difference": 0.2, "buyer_rate_low": 0.05, "buyer_rate_high": 0.33,
        "smallest_uplift": 0.2, "spend_difference": 3.0, "spend_low": -1.0, "spend_high": 9.0,
    },
]  # fmt: skip

POINTS = [
    {"customer_id": f"c{i}", "segment": s, "recency": 5, "monetary": 7.0}
    for i, s in enumerate(("A", "B", None))
]
SPREAD = [
    {"segment": s, "n": 5, **{f"recency_{q}": v for q in ("p05", "p25", "p50", "p75", "p95")}}
    for s, v in (("A", 3.0), ("B", 40.0), (None, 7.0))
]
HISTORY = [
    {"as_of": day, "segment": s, "rfm_cell": "555", "recency": 3, "frequency": 2, "monetary": 9.5}
    for day, s in zip(DAYS, "AB", strict=True)
]
OVER_TIME = [
    {"as_of": day, "segment": s, "customers": n}
    for day, sizes in zip(DAYS, ((5, 5), (6, 9)), strict=True)
    for s, n in zip("AB", sizes, strict=True)
]
LISTS = [{"list": name, "as_of": day, "customers": n} for name, n in (("x", 3), ("y", 4)) for day in DAYS]  # fmt: skip
CELLS_OF_SCORES = [
    {"R_score": r, "F_score": f, "segment": "A", "customers": n, "monetary": 5.0}
    for r, f, n in ((1, 1, 3), (5, 1, 2), (5, 5, 5))
]
RISKS = [
    {"segment": "A", "churn_risk_level": "Low", "customers": 6},
    {"segment": "B", "churn_risk_level": "Critical", "customers": 4},
]
CROSSED = [
    {"cluster": "A", "segment": "A", "customers": 6},
    {"cluster": "A", "segment": "B", "customers": 9},
]


def dense(n: int) -> Density:
    """A density with everybody in one cell."""
    counts = [[0] * CELLS for _ in range(CELLS)]
    counts[CELLS - 1][0] = n
    ends = Axis("recency", 0, 600, log=False), Axis("monetary", 1, 100, log=True)
    return Density(*ends, counts)


PLANS = [{"name": "A", "priority": 5, "campaign": "Thank them", "description": "Regulars"}]
BINS = [{"low": 0.0, "high": 0.5, "customers": 3}, {"low": 0.5, "high": 1.0, "customers": 1}]


def worth_of(bins: list[Any]) -> dict[str, Any]:
    known = sum(one["customers"] for one in bins)
    return {"customers": known, "top_tenth_pct": 40.0 if known else None, "mean": None}


def cohort(first: str, month: int, buyers: int, *, of: int) -> dict[str, Any]:
    return {
        "cohort": first,
        "month": month,
        "customers": of,
        "buyers": buyers,
        "retention": buyers / of,
        "monetary": 10.0 * buyers,
    }


COHORTS = [
    cohort("2025-12-01", 0, 10, of=10),
    cohort("2025-12-01", 2, 3, of=10),
    cohort("2026-01-01", 0, 30, of=30),
    cohort("2026-01-01", 1, 8, of=30),
    cohort("2026-02-01", 0, 5, of=5),
]


Make = Callable[[list[Any]], Chart]

MAKERS: dict[str, tuple[Make, list[Any]]] = {
    "shares": (lambda rows: segments.shares(rows, PALETTE), SUMMARY),
    "value": (lambda rows: segments.value(rows, PALETTE), SUMMARY),
    "treemap": (lambda rows: segments.treemap(rows, PALETTE), SUMMARY),
    "score-grid": (lambda rows: segments.score_grid(rows, scale=5, palette=PALETTE), CELLS_OF_SCORES),
    "comparison": (lambda rows: segments.comparison(rows, PALETTE), SUMMARY),
    "over-time": (lambda rows: segments.over_time(rows, PALETTE), OVER_TIME),
    "matrix": (lambda rows: movement.matrix(rows, PALETTE), MOVES),
    "flows": (lambda rows: movement.flows(rows, PALETTE), MOVES),
    "steps": (lambda rows: history.steps(rows, PALETTE, counted=3, weekly=True), STEPS),
    "normal": (lambda rows: history.normal(rows, PALETTE), NORMAL),
    "stays": (lambda rows: history.stays(rows, PALETTE, snapshots=26), STAYS),
    "cohorts": (lambda rows: history.cohorts(rows, as_of=DAYS[0]), COHORTS),
    "scatter": (
        lambda rows: customers.scatter(dense(len(rows)) if rows else None, rows, len(rows), PALETTE),
        POINTS,
    ),
    "box-recency": (lambda rows: customers.boxes(rows, "recency", PALETTE, log=False), SPREAD),
    "history": (lambda rows: customers.history(rows, PALETTE), HISTORY),
    "waterfall": (lambda rows: campaigns.waterfall("x", rows), STAGES),
    "reasons": (lambda rows: campaigns.reasons(dict(rows)), [("erased", 2), ("no consent", 5)]),
    "outcomes": (lambda rows: campaigns.outcomes("x", rows), OUTCOMES),
    "sizes": (lambda rows: campaigns.sizes(rows, PALETTE), LISTS),
    "checks": (quality.checks, CHECKS),
    "fates-t": (
        lambda rows: quality.fates("t", dict(rows)),
        [("rows_in", 10), ("rows_kept", 7), ("rejected/invalid_date", 2), ("dropped/duplicate", 1)],
    ),
    "rejects-t": (
        lambda rows: quality.rejects("t", rows, len(rows)),
        [{"source": "x.csv", "source_line": n, "reason": "invalid_date"} for n in (2, 3)],
    ),
    "cluster-sizes": (lambda rows: learned.cluster_sizes(rows, PALETTE), PROFILES),
    "cluster-profiles": (lambda rows: learned.cluster_profiles(rows, PALETTE), PROFILES),
    "cluster-plans": (lambda rows: learned.cluster_plans(rows, PLANS, PALETTE), PROFILES),
    "lifetime": (lambda rows: worth.lifetime(rows, worth_of(rows)), BINS),
    "churn": (worth.churn, BINS),
    "signals": (learned.signals, SIGNALS),
    "trends": (
        lambda rows: learned.trends(dict(rows)),
        [("value_trend/declining", 1), ("value_trend/stable", 3), ("value_trend/unknown", 6)],
    ),
    "risk": (lambda rows: learned.risk(rows, PALETTE), RISKS),
    "validation": (learned.validation, SCORES),
    "repurchase": (lambda rows: learned.repurchase(rows, "rfm", PALETTE), RATES),
    "crossed": (lambda rows: learned.crossed(rows, PALETTE), CROSSED),
}  # fmt: skip


@pytest.mark.parametrize("key", MAKERS)
@pytest.mark.parametrize("rows", [0, 1, None])
def test_a_chart_is_whole_however_little_there_is(key: str, rows: int | None) -> None:
    make, given = MAKERS[key]
    chart = make(given[:rows])
    assert chart.key == (key if key != "scatter" or rows != 0 else "scatter")
    assert chart.finding
    assert "None" not in chart.finding
    assert "nan" not in chart.finding.lower().split()
    if chart.figure is not None:
        drawn = json.loads(chart.figure.to_json())
        assert drawn["layout"]["height"] == chart.height
        assert "NaN" not in chart.figure.to_json()
    written = list(csv.reader(io.StringIO(chart.csv())))
    assert len(written) == len(chart.rows) + 1
    assert {len(line) for line in written} == {len(chart.columns)} or not chart.columns
    # One component for the table and few for the card, whatever there is in it.
    assert len(list(chart_card(chart)._traverse())) < 20  # noqa: SLF001


def test_every_chart_is_tested() -> None:
    makers = {
        name
        for module in (segments, movement, history, customers, campaigns, quality, learned, worth)
        for name, made in vars(module).items()
        if callable(made)
        and getattr(made, "__module__", "") == module.__name__
        and made.__annotations__.get("return") is Chart
    }
    asked = {
        name for make, _ in MAKERS.values() for name in (*make.__code__.co_names, make.__name__)
    }
    assert makers - asked == set()


SENTENCES = {
    "shares": (
        "A is the largest segment, with 60.0 % of the customers; 1 of 2 lie outside what is typical",
        "Nobody is in a segment",
    ),
    "value": ("Bees: 40.0 % of the customers bring 80.0 % of the spend", "There is no spend to share out"),
    "treemap": ("A, Bees: together 100.0 % of all customers", "Nobody"),
    "score-grid": (
        "50.0 % have the best recency and frequency; 50.0 % have the lowest frequency",
        "Nobody has scores",
    ),
    "comparison": ("Bees spend most: 20.00 on average", "There is no spend to compare"),
    "over-time": (
        "Customers went from 10 to 15 (+50.0 %) in 2 snapshots; Bees grew most",
        "There is one snapshot only",
    ),
    "matrix": (
        "66.7 % of 9 customers stayed where they were",
        "Nobody moved, and nobody stayed",
    ),
    "cohorts": (
        "0.0 % of new customers buy again in the month after their first purchase",
        "No month after a first purchase is over yet",
    ),
    "flows": ("The largest move: 2 customers from Bees to A", "Nobody moved"),
    "steps": ("Of 100 A customers, 6 are Bees a week later", "No step was counted"),
    "normal": ("More customers than usual in A", "There is no share to compare"),
    "stays": (
        "Customers of Bees have been there longest, 8.2 weeks on average; A is newest, 3.5",
        "Nobody is in a segment",
    ),
    "scatter": ("Customers lie thickest around recency 5 and monetary 96", "There is nobody to show"),
    "box-recency": (
        "Median days since the last purchase: from 3 (A) to 40 (Bees)",
        "There is nobody to compare",
    ),
    "history": ("In 2 snapshots, the segment changed once", "No snapshot knows this customer"),
    "waterfall": ("x: 8 customers can be contacted, 80.0 % of the audience", "Nobody is on x"),
    "reasons": ("Most are left out because of: no consent", "Nobody is left out"),
    "outcomes": ("x, list of 2026-03-09: uplift: much", "Nothing is known of what became of x"),
    "sizes": ("y is the longest list, with 4 customers", "There is no list"),
    "checks": ("Of 3 checks, 1 failed and 1 warns", "No check was made"),
    "fates-t": ("t: 70.0 % of 10 source rows are used", "t: the source had no rows"),
    "rejects-t": ("t: 2 rows are set aside, with line and reason", "t: no row is set aside"),
    "cluster-sizes": ("A (0): 60.0 % of the customers, 60.0 % of the spend", "There are no clusters"),
    # 3.0 over (6 × 3.0 + 4 × 0.5) / 10 = 2.0
    "cluster-profiles": ("A (0) stands out most: 1.5 times the mean orders", "There are no clusters"),
    "cluster-plans": ("First A: Thank them", "There are no clusters"),
    "lifetime": (
        "A tenth of the customers will bring 40.0 % of what all will spend",
        "Nobody has a lifetime value",
    ),
    "churn": (
        "25.0 % of the customers are more likely to churn than not",
        "Nobody has a churn score",
    ),
    "signals": ("First look at no orders lately: 7 customers, high urgency", "No risk signal fired"),
    "trends": (
        "25.0 % of the customers whose spend is known to move or not spend less than before",
        "Nobody's trend is known",
    ),
    "risk": (
        "40.0 % of the customers have a high or critical risk",
        "Nobody has a churn score",
    ),
    "validation": ("churn told best who would buy again: AUC 0.750", "Nothing was validated"),
    "repurchase": ("50.0 % of Bees bought again, 1.50 times the rate of all", "Nothing was validated"),
    "crossed": (
        "Most in common: 9 customers are A by behaviour and Bees by the rules",
        "The two have no customer in common",
    ),
}  # fmt: skip


@pytest.mark.parametrize("key", MAKERS)
def test_a_finding_says_what_there_is(key: str) -> None:
    make, given = MAKERS[key]
    assert (make(given).finding, make([]).finding) == SENTENCES[key]


def test_passed_checks_are_told_as_such() -> None:
    assert quality.checks(CHECKS[:1]).finding == "The one check passed"
    assert quality.checks(CHECKS[:2]).finding == "Of 2 checks, 1 warns"
    results = [row["result"] for row in quality.checks(CHECKS).rows]
    assert results == ["failed", "warning", "passed"]


def test_a_likely_step_of_few_customers_is_no_finding() -> None:
    few = {**STEPS[0], "to_segment": "B", "probability": 0.9, "low": 0.02, "high": 1.0}
    chart = history.steps([few, {**STEPS[1], "low": 0.04}], PALETTE, counted=1, weekly=False)
    assert chart.finding == "Of 100 A customers, 6 are Bees in the next snapshot"
    rare = history.steps([{**STEPS[1], "probability": 0.001}], PALETTE, counted=1, weekly=True)
    assert rare.finding == "Of 100 A customers, fewer than one is Bees a week later"
    assert history.steps(STEPS[2:], PALETTE, counted=1, weekly=True).finding == (
        "Nobody came down to a worse segment"
    )


def test_what_is_normal_is_told_in_words() -> None:
    usual = [{**row, "outside": False} for row in NORMAL]
    assert history.normal(usual, PALETTE).finding == "Every segment is where it usually is"
    unknown = history.normal([{**row, "low": None, "high": None} for row in usual], PALETTE)
    assert unknown.finding == (
        "Too few snapshots to say what is normal: it takes 4 before this one"
    )
    assert unknown.figure is None
    both = [NORMAL[0], {**NORMAL[1], "share": 0.3, "outside": True}]
    assert history.normal(both, PALETTE).finding == (
        "More customers than usual in A; fewer customers than usual in Bees"
    )
    many = [{**NORMAL[0], "segment": name} for name in "ACDEF"]
    assert history.normal(many, PALETTE).finding == (
        "More customers than usual in A, C, D and 2 more"
    )
    assert [row["judged"] for row in history.normal(both, PALETTE).rows] == [
        "more than usual",
        "fewer than usual",
    ]


def test_stages_that_remove_nobody_show_a_zero() -> None:
    figure = campaigns.waterfall("x", STAGES).figure
    assert figure is not None
    assert list(figure.data[0].text) == ["10", "−2", "0", "8"]


def test_a_long_table_ends_with_how_many_there_are_more() -> None:
    rows = [{"n": n} for n in range(1_234)]
    chart = Chart("long", "Long", None, (Column("n", "Number", 0),), rows)
    body = simple_table(chart).data["body"]
    assert len(body) == 101
    assert body[-1] == ["… and 1,134 more in the CSV"]
    assert len(chart.csv().splitlines()) == 1_235


def test_a_download_runs_nothing_in_a_spreadsheet() -> None:
    rows = [{"=name": text} for text in ("=1+1", "-2+3", "@SUM(A1)", "-12", "plain")]
    chart = Chart("x", "X", None, (Column("=name", "=name"),), rows)
    assert [line.strip('"') for line in chart.csv().splitlines()] == [
        "'=name", "'=1+1", "'-2+3", "'@SUM(A1)", "-12", "plain",
    ]  # fmt: skip


def test_values_are_shown_as_people_read_them() -> None:
    told = [(None, 2), (float("nan"), 2), (1234.5, 2), (1234.5, 0), ("text", 2), (7, None)]
    assert [shown(*one) for one in told] == ["–", "–", "1,234.50", "1,234", "text", "7"]
    assert shown(12.34, 1, " %") == "12.3 %"


def test_colours_and_names_of_a_palette() -> None:
    palette = Palette(
        {"A": "#000000"}, instead={"A": "#ffffff"}, names={"3": "Third", "A": "First"}
    )
    assert palette.color("A") == "#ffffff"
    assert palette.color("unknown") == palette.color("unknown") != palette.color("another")
    assert [palette.name(n) for n in ("A", "Cluster 3", "B", None)] == [
        "First",
        "Third",
        "B",
        "(none)",
    ]
    assert (on_color("#ffffff"), on_color("#000000"), on_color("#f1c232")) == (
        "#000000",
        "#ffffff",
        "#000000",
    )


def test_an_outcome_is_drawn_with_its_interval_only_where_there_is_one() -> None:
    figure = campaigns.outcomes("x", OUTCOMES).figure
    assert figure is not None
    drawn = figure.data[0]
    assert list(drawn.y) == [20.0]
    assert [drawn.error_y.arrayminus[0], drawn.error_y.array[0]] == pytest.approx([15.0, 13.0])
    assert campaigns.outcomes("x", OUTCOMES[:1]).figure is None


def test_cohorts_have_a_cell_for_every_month_that_began() -> None:
    chart = history.cohorts(COHORTS, as_of=date(2026, 2, 23))
    # January and February follow December; in January nobody of December's ten came back.
    found = [(r["cohort"], r["month"], r["buyers"], r["over"]) for r in chart.rows]
    assert found == [
        ("2025-12-01", 0, 10, ""),
        ("2025-12-01", 1, 0, ""),
        ("2025-12-01", 2, 3, "so far"),
        ("2026-01-01", 0, 30, ""),
        ("2026-01-01", 1, 8, "so far"),
        ("2026-02-01", 0, 5, "so far"),
    ]
    # The month after is over for December's ten alone, of whom none came back.
    assert chart.finding.startswith("0.0 % of new customers buy again in the month after")
    assert chart.figure is not None
    (cells,) = chart.figure.data
    assert list(cells.x) == [1, 2]
    assert [[one if one is None else round(one, 1) for one in line] for line in cells.z] == [
        [None, None],
        [26.7, None],
        [0.0, 30.0],
    ]


def test_a_month_is_over_on_the_first_of_the_next() -> None:
    chart = history.cohorts(COHORTS, as_of=date(2026, 3, 1))
    assert {r["over"] for r in chart.rows} == {""}
    assert max(r["month"] for r in chart.rows) == 2
    # 0 of 10 and 8 of 30.
    assert chart.finding.startswith("20.0 % of new customers")


def test_the_first_month_of_all_has_nobody_who_came_back_yet() -> None:
    chart = history.cohorts(COHORTS[4:], as_of=date(2026, 2, 23))
    assert chart.finding == "No month after a first purchase is over yet"
    assert chart.figure is None
    assert [r["buyers"] for r in chart.rows] == [5]
