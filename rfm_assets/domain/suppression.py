"""The suppression list: who must not be contacted, each once with the strongest reason.

How a campaign list heeds it is in `campaigns.py`; reading the files of entries does not belong here.
"""

from collections.abc import Sequence
from datetime import date

import narwhals as nw
from pydantic import Field

from rfm_assets.domain.config import ConfigModel
from rfm_assets.domain.frames import Table
from rfm_assets.errors import InvalidConfig

SUPPRESSION_REASONS: tuple[str, ...] = (
    "legal_hold",
    "erased",
    "objected",
    "complained",
    "unsubscribed",
    "bounced",
    "test",
    "other",
    "paid_media_saving",
)
"""Reasons for suppression, strongest first: a customer with several keeps the first of them."""


class SuppressionConfig(ConfigModel):
    """Which customers must not be contacted."""

    segments: tuple[str, ...] = Field(
        default=(),
        description="Segments that are suppressed from paid media, by name, id or alias.",
    )


def suppression_list(
    *,
    as_of: date,
    customers: Table | None,
    segments: Sequence[str],
    entries: Table | None,
    source: str,
    point_in_time: bool = False,
) -> Table:
    """One row per suppressed customer with the strongest reason, from segments and entries.

    `entries` has customer_id in canonical spelling and, where known, reason and since (a date or
    null). All of them hold, also those that took effect after `as_of`: a list is sent after the
    day it describes. With `point_in_time`, one with `since` on or after `as_of` is invisible. A
    reason outside SUPPRESSION_REASONS suppresses as `other`, because a misspelt reason must not
    let a mail out.
    """
    parts: list[Table] = []
    if customers is not None and segments:
        hit = customers.filter(nw.col("segment").is_in(list(segments)))
        parts.append(
            hit.select(
                "customer_id",
                reason=nw.lit("paid_media_saving"),
                since=nw.lit(None, dtype=nw.Date),
                source=nw.concat_str(nw.lit("segment "), nw.col("segment")),
            )
        )
    if entries is not None:
        entries = _completed(entries)
        unseen = point_in_time & (nw.col("since") >= as_of).fill_null(value=False)
        visible = entries.filter(~unseen)
        known = nw.col("reason").is_in(list(SUPPRESSION_REASONS))
        parts.append(
            visible.select(
                "customer_id",
                reason=nw.when(known).then(nw.col("reason")).otherwise(nw.lit("other")),
                since=nw.col("since"),
                source=nw.lit(source),
            )
        )
    if not parts:
        raise InvalidConfig(
            key="suppression_list",
            value=None,
            reason="names neither segments nor a file of entries",
            fix="Set `segments`, `entries`, or both.",
        )
    everything = parts[0] if len(parts) == 1 else nw.concat(parts, how="vertical")
    strength = nw.lit(len(SUPPRESSION_REASONS))
    for position, reason in reversed(list(enumerate(SUPPRESSION_REASONS))):
        strength = nw.when(nw.col("reason") == reason).then(nw.lit(position)).otherwise(strength)
    graded = everything.with_columns(_strength=strength)
    strongest = graded.group_by("customer_id").agg(_strongest=nw.col("_strength").min())
    best = graded.join(strongest, on="customer_id", how="inner").filter(
        nw.col("_strength") == nw.col("_strongest")
    )
    once = best.group_by("customer_id").agg(
        reason=nw.col("reason").min(), source=nw.col("source").min(), since=nw.col("since").min()
    )
    return once.with_columns(as_of=nw.lit(as_of, dtype=nw.Date)).select(
        "customer_id", "reason", "source", "since", "as_of"
    )


def suppressed_by_reason(suppression: Table) -> dict[str, int]:
    """Customers on a suppression list by reason, strongest first."""
    counted = suppression.group_by("reason").agg(n=nw.len()).collect()
    found = {str(reason): int(n) for reason, n in counted.iter_rows()}
    return {reason: found[reason] for reason in SUPPRESSION_REASONS if reason in found}


def unknown_entries(entries: Table, known: Sequence[Table]) -> int:
    """Entries whose customer is in none of the tables: perhaps misspelt ids, such as lost zeros."""
    strangers = entries.select("customer_id")
    for table in known:
        strangers = strangers.join(table.select("customer_id"), on="customer_id", how="anti")
    counted = strangers.select(nw.len().alias("n")).collect("pyarrow")
    return int(counted.get_column("n").to_list()[0])


def suppressed_members(members: Table, suppression: Sequence[Table]) -> list[str]:
    """Customers who are on a list and on a suppression list, sorted; there should be none."""
    if not suppression:
        return []
    lists = [table.select("customer_id") for table in suppression]
    suppressed = nw.concat(lists, how="vertical")
    both = members.select("customer_id").join(suppressed, on="customer_id", how="inner")
    return sorted(set(both.collect("pyarrow").get_column("customer_id").to_list()))


def _completed(entries: Table) -> Table:
    """Entries with a reason and a day, empty where the file has none."""
    names = entries.collect_schema().names()
    reason = nw.lit("other")
    if "reason" in names:
        # `Legal Hold` and `legal-hold` are legal_hold.
        words = nw.col("reason").str.strip_chars().str.to_lowercase()
        reason = words.str.replace_all(r"[\s-]+", "_")
    since = nw.col("since").cast(nw.Date) if "since" in names else nw.lit(None, dtype=nw.Date)
    return entries.select("customer_id", reason=reason, since=since)
