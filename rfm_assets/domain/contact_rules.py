"""How often a customer may be contacted, over all campaigns: cool-off, frequency cap, claims.

What was sent comes from a log, and where a campaign says so from its earlier lists. Sends on or
after `as_of` are invisible, so that an old week comes out as it did then. Reading a log does not
belong here (`sources/sends.py`), nor judging its rows (`sends.py`).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Literal

import narwhals as nw
from pydantic import Field

from rfm_assets.domain.config import ConfigModel
from rfm_assets.domain.frames import Table
from rfm_assets.domain.waterfall import Note, Stage, first_said

EPOCH = date(1970, 1, 1)

PLANNED_SPAN_DAYS = 7
"""A list counts until the next week's: a logged send within these days is the same contact."""


class CoolOff(ConfigModel):
    """How long a customer is left alone after a send."""

    days: int = Field(
        ge=1, le=3650, description="Days from a send to the next: with 14, two weeks later is fine."
    )
    campaigns: Literal["any"] | tuple[str, ...] = Field(
        default="any",
        description="Campaigns whose sends count, by the names in the log and of the lists; `any` "
        "counts all.",
    )


class FrequencyCap(ConfigModel):
    """How many sends a customer may get within some days."""

    sends: int = Field(ge=1, le=1000, description="Most sends of all campaigns to one customer.")
    days: int = Field(
        ge=1, le=3650, description="Consecutive days within which they are counted, as_of included."
    )


class ExclusiveGroup(ConfigModel):
    """Campaigns that share their customers: each customer is on one list of the group at most."""

    name: str = Field(
        min_length=1, description="Name of the group, the same in each of its campaigns."
    )
    priority: int = Field(
        description="The campaign of the highest number chooses first; no two may be equal."
    )


@dataclass(frozen=True)
class PlannedSends:
    """An earlier list, whose customers count as sent `campaign` on its date."""

    campaign: str
    as_of: date
    members: Table


@dataclass(frozen=True)
class Claim:
    """Who a campaign of higher priority has: the customers of its list and of its control group."""

    campaign: str
    customers: Sequence[Table]


def past_sends(
    log: Table | None, planned: Sequence[PlannedSends], *, as_of: date, days: int
) -> Table | None:
    """Who was sent what on which day, in the `days` days that end with `as_of`, without `as_of`.

    Args:
        log: customer_id, campaign, sent_at and day (days since 1970-01-01); a row that stands
            twice is one send.
        planned: Earlier lists; where the log has the send, too, it is one contact.
        as_of: The day of the list that is being made.
        days: How far back anybody asks.

    Returns:
        customer_id, campaign, day; None where nothing is known to have been sent.
    """
    today = (as_of - EPOCH).days
    sends: list[Table] = []
    if log is not None:
        visible = log.filter((nw.col("day") > today - days) & (nw.col("day") < today))
        once = visible.group_by("customer_id", "campaign", "sent_at").agg(day=nw.col("day").min())
        sends.append(_plain(once, nw.col("campaign"), nw.col("day")))
    for one in planned:
        sent = (one.as_of - EPOCH).days
        if not today - days < sent < today:
            continue
        customers = one.members
        if log is not None:
            span = (nw.col("day") >= sent) & (nw.col("day") < min(sent + PLANNED_SPAN_DAYS, today))
            logged = log.filter((nw.col("campaign") == one.campaign) & span)
            customers = customers.join(logged.select("customer_id"), on="customer_id", how="anti")
        sends.append(_plain(customers, nw.lit(one.campaign), nw.lit(sent)))
    if not sends:
        return None
    return sends[0] if len(sends) == 1 else nw.concat(sends, how="vertical")


def cool_off_stage(
    rule: CoolOff, sends: Table | None, *, as_of: date
) -> tuple[Stage, Sequence[Note]]:
    """Remove whom one of the campaigns was sent to within the days."""
    counts = nw.lit(value=True)
    if rule.campaigns != "any":
        counts = nw.col("campaign").is_in(list(rule.campaigns))
    reason = nw.lit(f"sent a campaign within {rule.days} days")
    return _counting("cool_off", reason, 1, sends, counts & _within(rule.days, as_of))


def frequency_cap_stage(
    rule: FrequencyCap, sends: Table | None, *, as_of: date
) -> tuple[Stage, Sequence[Note]]:
    """Remove whom one more send would bring above the cap."""
    reason = nw.lit(f"had {rule.sends} sends within {rule.days} days")
    return _counting("frequency_cap", reason, rule.sends, sends, _within(rule.days, as_of))


def claimed_stage(claims: Sequence[Claim]) -> tuple[Stage, Sequence[Note]]:
    """Remove whom a campaign of higher priority has; the first claim gives the reason."""
    names = [f"_claim_{position}" for position in range(len(claims))]
    notes = [
        Note(table, name, nw.lit(claim.campaign))
        for name, claim in zip(names, claims, strict=True)
        for table in claim.customers
    ]
    claimed = first_said(names)
    reason = nw.concat_str(nw.lit("claimed by "), claimed)
    return Stage("claimed", ~claimed.is_null(), reason), notes


def _plain(sends: Table, campaign: nw.Expr, day: nw.Expr) -> Table:
    return sends.select("customer_id", campaign=campaign, day=day.cast(nw.Int32))


def _within(days: int, as_of: date) -> nw.Expr:
    return nw.col("day") > (as_of - EPOCH).days - days


def _counting(
    name: str, reason: nw.Expr, most: int, sends: Table | None, counts: nw.Expr
) -> tuple[Stage, Sequence[Note]]:
    """Remove whoever has `most` of the sends that count."""
    if sends is None:
        return Stage(name, nw.lit(value=False), reason), []
    column = f"_{name}"
    number = nw.when(counts).then(nw.lit(1)).otherwise(nw.lit(0))
    return Stage(name, nw.col(column) >= most, reason), [Note(sends, column, number, counts=True)]
