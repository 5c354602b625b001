"""Which rows of a file of churn scores can be used, and why the others cannot.

Reading does not belong here (`sources/scores.py`), nor a model of one's own (`churn_model.py`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import narwhals as nw

from rfm_assets.domain.frames import Table

REJECT_REASONS = {
    "malformed_line": "The line cannot be split into columns",
    "missing_customer_id": "The row names nobody",
    "missing_score": "The score is empty",
    "unreadable_score": "The score is no number",
    "score_out_of_range": "The score is below 0 or above 1",
    "unknown_customer": "Nobody among the known customers has this id",
    "duplicate_customer": "The customer has a score further up",
}
"""Why a row is set aside, in the order in which the reasons are tried."""

_KEPT = "kept"


@dataclass(frozen=True)
class JudgedScores:
    """Every row on exactly one side.

    Attributes:
        scores: customer_id and churn_probability, one row per customer.
        rejects: The columns of `schemas.ChurnScoreRejects`.
        by_reason: Rows set aside, by reason.
    """

    scores: Table
    rejects: Table
    by_reason: dict[str, int]


def judged_scores(
    read: Table, *, known: Table | None, checkpoint: Callable[[Table], Table]
) -> JudgedScores:
    """Decide each row's fate.

    Args:
        read: `sources.scores.ScoreReading.table`.
        known: customer_id of everybody who may have a score; None knows everybody.
        checkpoint: How the engine computes a table once and holds it.
    """
    score = nw.col("churn_score")
    rows = read
    tests = [
        ("malformed_line", ~nw.col("malformed").is_null()),
        ("missing_customer_id", nw.col("customer_id").is_null()),
        ("missing_score", nw.col("raw").is_null() | (nw.col("raw").str.strip_chars() == "")),
        ("unreadable_score", score.is_null() | score.is_nan()),
        ("score_out_of_range", (score < 0) | (score > 1)),
    ]
    if known is not None:
        names = known.select("customer_id", known=nw.lit(value=True))
        rows = rows.join(names, on="customer_id", how="left")
        tests.append(("unknown_customer", nw.col("known").is_null()))
    outcome: nw.Expr = nw.lit(_KEPT)
    for reason, test in reversed(tests):
        outcome = nw.when(test).then(nw.lit(reason)).otherwise(outcome)
    judged = checkpoint(_without_twins(checkpoint(rows.with_columns(outcome=outcome))))
    counted = judged.group_by("outcome").agg(nw.len().alias("rows")).collect("pyarrow")
    pairs = zip(*(counted.get_column(name).to_list() for name in ("outcome", "rows")), strict=True)
    counts = {str(outcome): int(n) for outcome, n in pairs}
    return JudgedScores(
        scores=judged.filter(nw.col("outcome") == _KEPT).select(
            "customer_id", churn_probability="churn_score"
        ),
        rejects=judged.filter(nw.col("outcome") != _KEPT).select(
            "source",
            "source_line",
            customer_id="customer_id_raw",
            churn_score="raw",
            reason="outcome",
            detail="malformed",
        ),
        by_reason={reason: counts[reason] for reason in REJECT_REASONS if reason in counts},
    )


def _without_twins(judged: Table) -> Table:
    """All but the first row of a customer become duplicates."""
    kept = judged.filter(nw.col("outcome") == _KEPT)
    first = kept.group_by("customer_id").agg(first_source=nw.col("source").min())
    placed = kept.join(first, on="customer_id", how="inner")
    there = placed.filter(nw.col("source") == nw.col("first_source"))
    lines = there.group_by("customer_id").agg(first_line=nw.col("source_line").min())
    places = first.join(lines, on="customer_id", how="inner")
    joined = judged.join(places, on="customer_id", how="left")
    again = (nw.col("outcome") == _KEPT) & ~(
        (nw.col("source") == nw.col("first_source"))
        & (nw.col("source_line") == nw.col("first_line"))
    )
    return joined.with_columns(
        outcome=nw.when(again).then(nw.lit("duplicate_customer")).otherwise(nw.col("outcome"))
    )
