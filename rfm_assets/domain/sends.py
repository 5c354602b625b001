"""Which rows of a log of sends can be used, and why the others cannot.

Reading does not belong here (`sources/sends.py`), nor what follows from a send
(`contact_rules.py`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import narwhals as nw

from rfm_assets.domain.frames import Table

REJECT_REASONS = {
    "malformed_line": "The line cannot be split into columns",
    "missing_customer_id": "The row names nobody",
    "missing_campaign": "The row does not say what was sent",
    "missing_sent_at": "The row does not say when it was sent",
    "unreadable_sent_at": "The time of the send cannot be read",
}
"""Why a row is set aside, in the order in which the reasons are tried."""

_KEPT = "kept"


@dataclass(frozen=True)
class JudgedSends:
    """Every row on exactly one side.

    Attributes:
        sends: customer_id, campaign, sent_at, day.
        rejects: The columns of `schemas.CampaignSendRejects`.
        by_reason: Rows set aside, by reason.
    """

    sends: Table
    rejects: Table
    by_reason: dict[str, int]


def judged_sends(read: Table, *, checkpoint: Callable[[Table], Table]) -> JudgedSends:
    """Decide each row's fate.

    Args:
        read: `sources.sends.SendsReading.table`.
        checkpoint: How the engine computes a table once and holds it.
    """
    tests = [
        ("malformed_line", ~nw.col("malformed").is_null()),
        ("missing_customer_id", nw.col("customer_id").is_null()),
        ("missing_campaign", nw.col("campaign").is_null()),
        ("missing_sent_at", nw.col("sent_at").is_null() & ~nw.col("sent_at_unreadable")),
        ("unreadable_sent_at", nw.col("sent_at").is_null()),
    ]
    outcome: nw.Expr = nw.lit(_KEPT)
    for reason, test in reversed(tests):
        outcome = nw.when(test).then(nw.lit(reason)).otherwise(outcome)
    judged = checkpoint(read.with_columns(outcome=outcome))
    counted = judged.group_by("outcome").agg(nw.len().alias("rows")).collect("pyarrow")
    pairs = zip(*(counted.get_column(name).to_list() for name in ("outcome", "rows")), strict=True)
    counts = {str(outcome): int(n) for outcome, n in pairs}
    return JudgedSends(
        sends=judged.filter(nw.col("outcome") == _KEPT).select(
            "customer_id", "campaign", "sent_at", "day"
        ),
        rejects=judged.filter(nw.col("outcome") != _KEPT).select(
            "source",
            "source_line",
            customer_id="customer_id_raw",
            campaign="campaign_raw",
            sent_at="sent_at_raw",
            reason="outcome",
            detail="malformed",
        ),
        by_reason={reason: counts[reason] for reason in REJECT_REASONS if reason in counts},
    )
