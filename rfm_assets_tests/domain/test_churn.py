"""Categories, risk levels, scores and segments, worked out by hand and on each engine."""

from datetime import date
from itertools import pairwise
from typing import Any

import narwhals as nw
import pytest

from rfm_assets.domain.churn import (
    CategoryCuts,
    ChurnSegmentConfig,
    RiskThresholds,
    churn_segments,
    engagement,
    risk_by_segment,
)
from rfm_assets.domain.churn_generator import SHARES, synthetic_churn_scores
from rfm_assets.domain.churn_linter import lint_decisions
from rfm_assets.domain.churn_scores import judged_scores
from rfm_assets.domain.churn_tables import combinations
from rfm_assets.domain.scheme_linter import LintReport
from rfm_assets.domain.schemes import Segment
from rfm_assets.errors import ColumnMissing, InvalidConfig, InvalidScheme
from rfm_assets.library import load_decisions, packaged_decisions
from rfm_assets_tests.domain.purchases import transactions
from rfm_assets_tests.tables import MakeTable, held, rows_of, tables_on

AS_OF = date(2025, 1, 1)
TABLE = load_decisions()


def customers(**changed: list[Any]) -> dict[str, list[Any]]:
    """Ten customers c0 to c9, each dimension of whom grows with the number."""
    return {
        "customer_id": [f"c{n}" for n in range(10)],
        "recency": [100 - 10 * n for n in range(10)],
        "frequency": [1 + n for n in range(10)],
        "monetary": [10.0 * (n + 1) for n in range(10)],
        "RFM_score": [1.0 + 4 * n / 9 for n in range(10)],
        "visits": [float(n) for n in range(10)],
    } | changed


def found(make: MakeTable, rows: dict[str, list[Any]], scores: dict[str, float], **settings: Any):
    result = churn_segments(
        make(rows),
        make({"customer_id": list(scores), "churn_probability": list(scores.values())}),
        as_of=AS_OF,
        scale=5,
        table=TABLE,
        config=ChurnSegmentConfig(**{"engagement_column": "visits", **settings}),
        checkpoint=held,
    )
    table = rows_of(result.table, "customer_id")
    return {row["customer_id"]: row for row in table}, rows_of(result.excluded)


def test_categories_levels_and_scores(engine_table: MakeTable) -> None:
    scores = {f"c{n}": n / 10 for n in range(9)}
    rows, excluded = found(engine_table, customers(), scores)
    # Of ten customers, fewer than 30 % have a lower value for c0 to c2 (0, 10, 20 %); more than
    # 70 % have one for c8 and c9, exactly 70 % for c7.
    wanted = ["Low"] * 3 + ["Medium"] * 5 + ["High"]
    for dimension in "RFME":
        assert [rows[f"c{n}"][f"{dimension}_category"] for n in range(9)] == wanted
    levels = [rows[f"c{n}"]["churn_risk_level"] for n in range(9)]
    assert levels == ["Low"] * 3 + ["Medium"] * 2 + ["High"] * 2 + ["Critical"] * 2
    # c8: 70 % of (1 + 32/9 - 1) / 4 and 30 % of 1 - 0.8.
    assert rows["c8"]["segment_score"] == pytest.approx(70 * (8 / 9) + 30 * 0.2, abs=0.005)
    assert rows["c0"]["segment_score"] == 30.0
    assert excluded == [{"customer_id": "c9", "stage": "churn", "reason": "no_churn_score"}]
    assert rows["c8"]["segment"] == "Cannot Lose Them"
    assert rows["c0"]["segment"] == "Hibernating"
    assert {row["organization_id"] for row in rows.values()} == {"default"}


def test_equal_values_have_equal_categories(engine_table: MakeTable) -> None:
    rows, _ = found(
        engine_table, customers(frequency=[1] * 6 + [5] * 4), {f"c{n}": 0.1 for n in range(10)}
    )
    # Nobody has less than 1, six of ten have less than 5.
    categories = [rows[f"c{n}"]["F_category"] for n in range(10)]
    assert categories == ["Low"] * 6 + ["Medium"] * 4


def test_nobody_is_no_error() -> None:
    with tables_on("polars") as make:
        nobody = make(customers()).filter(nw.col("recency") < 0)
        scores = make({"customer_id": ["x"], "churn_probability": [0.5]})
        result = churn_segments(
            nobody,
            scores,
            as_of=AS_OF,
            scale=5,
            table=TABLE,
            config=ChurnSegmentConfig(engagement_column="visits"),
            checkpoint=held,
        )
        assert rows_of(result.table) == []
        assert result.cuts is None


def test_engagement_is_the_weeks_with_a_purchase(engine_table: MakeTable) -> None:
    rows = [
        ("ann", "1", "2024-12-31", 5.0),  # the last day before
        ("ann", "2", "2024-12-25", 5.0),  # the first of the same week
        ("ann", "3", "2024-12-24", 5.0),  # the week before
        ("ann", "4", "2024-12-10", -5.0),  # a refund is no activity
        ("bob", "5", "2024-12-04", 5.0),  # the first of the four weeks
        ("bob", "6", "2024-12-03", 5.0),  # before them
        ("cat", "7", "2025-01-01", 5.0),  # not yet
    ]
    weeks = rows_of(
        engagement(engine_table(transactions(rows)), as_of=AS_OF, days=28), "customer_id"
    )
    assert weeks == [{"customer_id": "ann", "weeks": 2}, {"customer_id": "bob", "weeks": 1}]


def test_customers_by_segment_and_level_of_risk(engine_table: MakeTable) -> None:
    rows = {
        "segment": ["Champions", "Champions", "Champions", "Hibernating"],
        "churn_risk_level": ["Low", "Low", "Critical", "High"],
    }
    found = {one.segment: one for one in risk_by_segment(engine_table(rows), TABLE)}
    assert tuple(found) == TABLE.names
    champions, hibernating = found["Champions"], found["Hibernating"]
    assert (champions.customers, champions.customers_pct) == (3, 75.0)
    assert champions.by_level == {"Low": 2, "Critical": 1}
    assert (hibernating.customers_pct, hibernating.by_level) == (25.0, {"High": 1})
    assert {one.customers for one in found.values()} == {0, 1, 3}


def test_nobody_is_in_no_segment() -> None:
    nobody: dict[str, list[str]] = {"segment": [], "churn_risk_level": []}
    rows = nw.from_dict(nobody, schema=dict.fromkeys(nobody, nw.String), backend="pyarrow")
    assert {one.customers_pct for one in risk_by_segment(rows.lazy(), TABLE)} == {0.0}


def test_cuts_are_read_in_days_and_money() -> None:
    cuts = CategoryCuts(
        cuts={"R": (-80.0, -30.0), "F": (2.0, 5.0), "M": (105_000.0, 500_000.0), "E": (1.0, 3.0)}
    )
    read = {"R": (80.0, 30.0), "F": (2.0, 5.0), "M": (10.5, 50.0), "E": (1.0, 3.0)}
    assert cuts.as_read() == read


def test_an_engagement_column_that_is_not_there() -> None:
    with tables_on("polars") as make, pytest.raises(ColumnMissing, match="Did you mean 'visits'"):
        found(make, customers(), {"c1": 0.1}, engagement_column="visit")


def test_an_engagement_column_that_is_no_number() -> None:
    rows = customers(visits=["many"] * 10)
    with tables_on("polars") as make, pytest.raises(InvalidConfig, match="is a text, not a number"):
        found(make, rows, {"c1": 0.1})


def test_thresholds_ascend() -> None:
    with pytest.raises(ValueError, match=r"0\.5, 0\.4, 0\.7. Write them ascending"):
        RiskThresholds(medium=0.5, high=0.4)
    with pytest.raises(ValueError, match="low_below_pct: 80"):
        ChurnSegmentConfig(low_below_pct=80)


@pytest.mark.parametrize("name", packaged_decisions())
def test_packaged_tables_decide_everything(name: str) -> None:
    table = load_decisions(name)
    report: LintReport = lint_decisions(table)
    assert not report.errors
    assert not report.of("warning")
    assert all(table.segment_of(one) is not None for one in combinations())


def test_the_eleven_names() -> None:
    assert set(TABLE.names) == {
        "Champions", "Loyal Customers", "Potential Loyalists", "New Customers", "Promising",
        "Need Attention", "About to Sleep", "At Risk", "Cannot Lose Them", "Hibernating", "Lost",
    }  # fmt: skip


def test_a_table_with_a_gap_says_which() -> None:
    rules = [{"segment": "good", "risk": ["Low", "Medium"]}]
    given = {"id": "mine", "segments": [{"id": "good", "name": "Good"}], "rules": rules}
    with pytest.raises(InvalidScheme) as told:
        load_decisions(given)
    assert (
        "leaves 162 of 324 combinations without a segment, first R Low, F Low, M Low, E Low, "
        "risk High" in str(told.value)
    )


def test_a_table_with_a_dead_rule_and_a_misspelt_level(tmp_path: Any) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(
        "id: mine\nsegments:\n  - {id: good, name: Good}\n  - {id: bad, name: Bad}\n"
        "rules:\n  - {segment: good}\n  - {segment: bad, risk: Critical}\n",
        encoding="utf-8",
    )
    with pytest.raises(InvalidScheme, match=r"mine\.yaml:7 .*rule 2 \(bad\) can never fire"):
        load_decisions("mine.yaml", folder=tmp_path)
    path.write_text(path.read_text("utf-8").replace("Critical", "Critcal"), encoding="utf-8")
    with pytest.raises(InvalidScheme, match=r"mine\.yaml:7 .*Did you mean 'Critical'"):
        load_decisions("mine.yaml", folder=tmp_path)


def test_the_engine_decides_as_the_table_says(engine_table: MakeTable) -> None:
    """Each of the 324 combinations, by customers whose values make just that combination."""
    from rfm_assets.domain.churn import _decided

    every = combinations()
    names = ["R_category", "F_category", "M_category", "E_category", "churn_risk_level"]
    columns = {name: [one[i] for one in every] for i, name in enumerate(names)}
    rows = rows_of(engine_table(columns).with_columns(**_decided(TABLE)))
    for row in rows:
        combination: Any = tuple(row[name] for name in names)
        expected = TABLE.segment_of(combination)
        assert isinstance(expected, Segment)
        assert (row["segment"], row["recommendation"]) == (expected.name, expected.recommendation)


def test_synthetic_scores_have_their_shares(engine_table: MakeTable) -> None:
    n = 1_000
    rows = {
        "customer_id": [f"c{i}" for i in range(n)],
        "recency": [1 + i % 300 for i in range(n)],
        "frequency": [1 + i % 7 for i in range(n)],
    }
    made = synthetic_churn_scores(engine_table(rows), seed=3)
    edges = [0.0, 0.3, 0.5, 0.7, 1.0]
    shares = [sum(low <= s < high for _, s in made) / n for low, high in pairwise(edges)]
    assert shares == pytest.approx(list(SHARES.values()), abs=0.002)
    with tables_on("polars") as make:
        backwards = {name: values[::-1] for name, values in rows.items()}
        assert synthetic_churn_scores(make(backwards), seed=3) == made


def test_rows_of_scores_are_judged_one_by_one(engine_table: MakeTable) -> None:
    lines: list[tuple[Any, ...]] = [
        # line, customer, score, as it stood, malformed
        (2, "c1", 0.2, "0.2", None),
        (3, "c2", 1.2, "1.2", None),
        (4, None, 0.2, "0.2", None),
        (5, "c3", None, None, None),
        (6, "c4", None, "often", None),
        (7, "zz", 0.4, "0.4", None),
        (8, "c1", 0.3, "0.3", None),
        (9, "c5", -0.1, "-0.1", None),
        (10, None, None, None, "too few values: c6"),
        (11, "c7", 1.0, "1", None),
        (12, "c8", 0.0, "0", None),
    ]
    names = ("source_line", "customer_id", "churn_score", "raw", "malformed")
    columns: dict[str, Any] = {n: [row[i] for row in lines] for i, n in enumerate(names)}
    columns |= {"source": ["f.csv"] * len(lines), "customer_id_raw": columns["customer_id"]}
    known = {"customer_id": [f"c{n}" for n in range(9)]}
    judged = judged_scores(engine_table(columns), known=engine_table(known), checkpoint=held)
    assert rows_of(judged.scores, "customer_id") == [
        {"customer_id": "c1", "churn_probability": 0.2},
        {"customer_id": "c7", "churn_probability": 1.0},
        {"customer_id": "c8", "churn_probability": 0.0},
    ]
    reasons = {row["source_line"]: row["reason"] for row in rows_of(judged.rejects)}
    assert reasons == {
        3: "score_out_of_range",
        4: "missing_customer_id",
        5: "missing_score",
        6: "unreadable_score",
        7: "unknown_customer",
        8: "duplicate_customer",
        9: "score_out_of_range",
        10: "malformed_line",
    }
    assert sum(judged.by_reason.values()) == 8
