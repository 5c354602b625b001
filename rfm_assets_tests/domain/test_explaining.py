"""An explanation names the segment that the computation gives, for every cell and every value."""

from datetime import date, timedelta
from itertools import product
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rfm_assets.domain.explaining import Explanation, explain
from rfm_assets.domain.segments import SegmentationConfig, segment
from rfm_assets.library import load_scheme
from rfm_assets_tests.domain.purchases import Purchase, purchases, transactions
from rfm_assets_tests.tables import held, rows_of, tables_on

AS_OF = date(2024, 7, 1)
SCHEMES = ("rfm_10", "rfm_11")


def explained(
    rows: list[Purchase], config: SegmentationConfig, engine: str = "polars"
) -> list[tuple[dict[str, Any], Explanation]]:
    """Each customer as the domain computes it, and why."""
    scheme = load_scheme(config.segment_scheme)
    with tables_on(engine) as make:
        result = segment(
            make(transactions(rows)), as_of=AS_OF, config=config, scheme=scheme, checkpoint=held
        )
        return [
            (
                row,
                explain(row, points=result.cut_points, scheme=scheme, segment_by=config.segment_by),
            )
            for row in rows_of(result.table)
        ]


def agrees(row: dict[str, Any], why: Explanation) -> None:
    """The explanation's rule, scores and limits are those of the row."""
    assert why.segment == row["segment"]
    if why.fired is None:
        scheme_rules = [rule for rule in why.rules if rule.matched]
        assert scheme_rules == []
    else:
        fired = why.rules[why.fired - 1]
        assert (fired.position, fired.segment, fired.failed) == (why.fired, row["segment"], ())
        assert all(rule.failed for rule in why.rules[: why.fired - 1])
        assert [rule.reached for rule in why.rules] == [
            rule.position <= why.fired for rule in why.rules
        ]
    for one in why.scores:
        below = sum(cut < one.value for cut in one.cut_points)
        expected = one.scale - below if one.dimension == "recency" else 1 + below
        assert one.score == expected
        assert one.low is None or one.low < one.value
        assert one.high is None or one.value <= one.high


def everybody(scale: int) -> list[Purchase]:
    """One customer for each cell, at the thresholds of `fixed`."""
    rows: list[Purchase] = []
    for r, f, m in product(range(1, scale + 1), repeat=3):
        day = (AS_OF - timedelta(days=scale - r + 1)).isoformat()
        spent = [float(m * 1_000 - 500 - (f - 1))] + [1.0] * (f - 1)
        rows += [
            (f"{r}-{f}-{m}", f"{r}-{f}-{m}-{number}", day, amount)
            for number, amount in enumerate(spent)
        ]
    return rows


def fixed(scale: int) -> dict[str, Any]:
    steps = list(range(1, scale))
    money = [step * 1_000 for step in steps]
    thresholds = {"recency": steps, "frequency": steps, "monetary": money}
    return {"scoring_method": "custom", "thresholds": thresholds}


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("segment_by", ["cell", "score_bands"])
@pytest.mark.parametrize("scale", [4, 5, 10])
def test_the_rule_that_fires_names_the_segment_of_every_cell(
    scheme: str, segment_by: str, scale: int
) -> None:
    config = SegmentationConfig(segment_scheme=scheme, segment_by=segment_by, **fixed(scale))
    found = explained(everybody(scale), config)
    cells = {(row["R_score"], row["F_score"], row["M_score"]) for row, _ in found}
    assert cells == set(product(range(1, scale + 1), repeat=3))
    for row, why in found:
        assert row["customer_id"] == f"{row['R_score']}-{row['F_score']}-{row['M_score']}"
        agrees(row, why)


@settings(max_examples=25)
@given(
    purchases(AS_OF),
    st.sampled_from(SCHEMES),
    st.sampled_from(["quartiles", "quintiles", "deciles"]),
)
def test_the_rule_that_fires_names_the_segment_of_any_customer(
    rows: list[Purchase], scheme: str, method: str
) -> None:
    config = SegmentationConfig(segment_scheme=scheme, scoring_method=method)
    for row, why in explained(rows, config):
        agrees(row, why)
        assert why.fired is not None


def test_the_sentence_of_a_score_says_where_its_limits_are() -> None:
    config = SegmentationConfig(**fixed(5))
    why = next(why for row, why in explained(everybody(5), config) if row["rfm_cell"] == "453")
    assert [one.sentence for one in why.scores] == [
        "R_score 4 of 5: 2 days (more than 1, up to 2)",
        "F_score 5 of 5: 5 purchases (more than 4)",
        "M_score 3 of 5: 2,500 net spend (more than 2,000, up to 3,000)",
    ]
    assert [one.better for one in why.scores] == [1, None, 3_000]
