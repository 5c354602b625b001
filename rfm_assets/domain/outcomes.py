"""What became of a campaign list: who of it bought in the weeks that followed, against its control.

By intention to treat: a customer counts where the list has put her, whether or not anything reached
her. A claim is made on one measure alone, the share that bought; spend is shown beside it. Where the
groups cannot be compared, nothing is claimed, and it says why. Who is put where does not belong here
(`campaigns.py`, `controls.py`), nor what a purchase is (`rfm.py`).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from typing import Final, Literal, TypeAlias

import narwhals as nw
import numpy as np
from pydantic import Field

from rfm_assets.domain.config import ConfigModel
from rfm_assets.domain.controls import ControlGroup, ControlKind
from rfm_assets.domain.frames import Table
from rfm_assets.domain.intervals import CONFIDENCE, Units, newcombe, redrawn, split_p_value
from rfm_assets.domain.money import money_of
from rfm_assets.domain.rfm import WEEK_DAYS, RfmConfig, customer_activity, day_number
from rfm_assets.domain.uplift import smallest_uplift
from rfm_assets.domain.waterfall import CONTROL, DELIVERABLE

Verdict: TypeAlias = Literal["uplift", "harm", "no difference seen", "not measurable"]
VERDICTS: Final[tuple[Verdict, ...]] = ("uplift", "harm", "no difference seen", "not measurable")
CLAIMS: Final[tuple[Verdict, ...]] = ("uplift", "harm")

RATIO_P_VALUE = 0.001
"""Groups whose sizes would come about less often than this by the declared draw were not drawn so."""

FEWEST = 10
"""Customers of a group below which nothing is claimed, whatever the interval: two buyers more or
fewer would be a verdict, and nobody would act on that."""

ASIDE = "aside"
"""In a control group, but not compared: of the other kind, or below the list's size limit."""


class OutcomeConfig(ConfigModel):
    """Over which weeks lists are judged, and how sure a claim must be."""

    horizon_weeks: int = Field(
        default=4,
        ge=1,
        le=52,
        description="Weeks after a list's as_of in which a purchase counts; the list is judged "
        "when they are over.",
    )
    confidence: float = Field(
        default=CONFIDENCE,
        ge=0.8,
        le=0.99,
        description="Share of lists without any effect, 0..1, that nothing is claimed of.",
    )

    def list_as_of(self, observed: date) -> date:
        """The date of the lists whose weeks end at a date."""
        return observed - timedelta(weeks=self.horizon_weeks)


@dataclass(frozen=True)
class Assignment:
    """A list and whom it left alone, as they were stored.

    Attributes:
        campaign: Name of the list.
        deliverable: customer_id.
        control: customer_id, kind, comparable; None where the list was stored without.
        drawn: The control groups that were declared then.
    """

    campaign: str
    deliverable: Table
    control: Table | None
    drawn: Sequence[ControlGroup] = ()

    @property
    def compared(self) -> ControlGroup | None:
        """The group that the list is compared with: its own, or the global one.

        Customers of the global group are left alone by all campaigns, so that they tell of all.
        """
        kinds: Mapping[ControlKind, ControlGroup] = {one.kind: one for one in self.drawn}
        return None if self.control is None else kinds.get("campaign", kinds.get("global"))


@dataclass(frozen=True)
class Group:
    """What the customers of one group did.

    Attributes:
        customers: All of them.
        buyers: Those with a purchase.
        spent: Net spend of each who has any, in ten-thousandths.
    """

    customers: int
    buyers: int
    spent: Units

    @property
    def rate(self) -> float | None:
        """Share of buyers, 0..1."""
        return self.buyers / self.customers if self.customers else None

    @property
    def units(self) -> int:
        """Net spend of all, in ten-thousandths."""
        return int(self.spent.sum())

    @property
    def spend_per_head(self) -> float | None:
        """Net spend of all over all of them."""
        return money_of(self.units) / self.customers if self.customers else None


@dataclass(frozen=True)
class Difference:
    """Deliverable less control, with its interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Outcome:
    """What became of one list.

    Attributes:
        campaign: Name of the list.
        drawn: The control group that it is compared with.
        verdict: What is claimed, by the buyers alone.
        reason: Why it is not measurable, else empty.
        deliverable: The list; None where nothing is known of the weeks.
        control: Those whom it is compared with.
        aside: Customers in control who are not compared.
        ratio_p_value: How likely groups of these sizes are by the declared draw.
        buyers: Difference of the rates of buyers; None where it is not measurable.
        spend: Difference of spend per head, with the interval of `intervals.redrawn`.
        smallest_uplift: Rise of control's rate that groups of these sizes would probably have
            shown, 0..1; None where even a rate of 1 would not be told from it.
    """

    campaign: str
    drawn: ControlGroup | None
    verdict: Verdict
    reason: str = ""
    deliverable: Group | None = None
    control: Group | None = None
    aside: int = 0
    ratio_p_value: float | None = None
    buyers: Difference | None = None
    spend: Difference | None = None
    smallest_uplift: float | None = None


def campaign_outcomes(
    assignments: Sequence[Assignment],
    transactions: Table,
    *,
    as_of: date,
    observed: date,
    config: OutcomeConfig,
) -> list[Outcome]:
    """What became of the lists of `as_of` in the weeks that followed, seen from `observed`.

    Args:
        assignments: The lists of that date.
        transactions: Canonical transactions; those on or after `observed` are invisible.
        as_of: Date of the lists: the first day of the first week.
        observed: The date that is looked back from.
        config: Weeks and confidence.

    Raises:
        AmountsTooLarge: The amounts of the weeks cannot be added up exactly.
    """
    end = as_of + timedelta(weeks=config.horizon_weeks)
    if observed < end:
        reason = f"its weeks are over on {end}, and this is known as of {observed}"
        return [not_measurable(one.campaign, reason, one.compared) for one in assignments]
    if not assignments:
        return []
    groups = _groups(assignments, transactions, end=end, config=config)
    empty = _weeks_without_rows(transactions, as_of=as_of, config=config)
    weeks = ", ".join(str(as_of + timedelta(weeks=week)) for week in empty)
    gap = f"there are no transactions at all of the week of {weeks}" if empty else ""
    return [_judged(one, groups[one.campaign], config, gap=gap) for one in assignments]


def not_measurable(campaign: str, reason: str, drawn: ControlGroup | None = None) -> Outcome:
    """An outcome of which nothing is known."""
    return Outcome(campaign, drawn, "not measurable", reason)


def verdict_of(low: float | None, high: float | None) -> Verdict:
    """What the interval of the difference of buyers allows to claim."""
    if low is None or high is None:
        return "not measurable"
    if low > 0:
        return "uplift"
    return "harm" if high < 0 else "no difference seen"


def _groups(
    assignments: Sequence[Assignment], transactions: Table, *, end: date, config: OutcomeConfig
) -> Mapping[str, Mapping[str, Group]]:
    """What the customers of each list and group did, by campaign and group."""
    days = WEEK_DAYS * config.horizon_weeks
    first = day_number(end) - days
    activity = customer_activity(
        transactions.filter(nw.col("day") >= first),
        as_of=end,
        config=RfmConfig(analysis_period_days=days),
    ).select("customer_id", "frequency", units="monetary_units")
    assigned = nw.concat([part for one in assignments for part in _parts(one)], how="vertical")
    bought = nw.col("frequency").fill_null(0) > 0
    counted = (
        assigned.join(activity, on="customer_id", how="left")
        .select(
            "campaign",
            "group",
            bought=nw.when(bought).then(nw.lit(1)).otherwise(nw.lit(0)),
            units=nw.col("units").fill_null(0).cast(nw.Int64),
        )
        .group_by("campaign", "group", "bought", "units")
        .agg(customers=nw.len())
        .collect("pyarrow")
    )
    names = ("campaign", "group", "bought", "units", "customers")
    rows = zip(*(counted.get_column(name).to_list() for name in names), strict=True)
    # Sorted, because the order of rows decides about nothing.
    return _summed(sorted(rows), [one.campaign for one in assignments])


def _parts(one: Assignment) -> list[Table]:
    name = nw.lit(one.campaign)
    parts = [one.deliverable.select("customer_id", campaign=name, group=nw.lit(DELIVERABLE))]
    if one.control is not None:
        kind = one.compared.kind if one.compared else ""
        inside = (nw.col("kind") == kind) & nw.col("comparable")
        group = nw.when(inside).then(nw.lit(CONTROL)).otherwise(nw.lit(ASIDE))
        parts.append(one.control.select("customer_id", campaign=name, group=group))
    return parts


def _summed(
    rows: Collection[tuple[str, str, int, int, int]], campaigns: Sequence[str]
) -> Mapping[str, Mapping[str, Group]]:
    found: dict[str, dict[str, Group]] = {}
    for campaign in campaigns:
        found[campaign] = {}
        for name in (DELIVERABLE, CONTROL, ASIDE):
            own = [row for row in rows if row[:2] == (campaign, name)]
            spending = [(units, n) for _, _, _, units, n in own if units]
            found[campaign][name] = Group(
                customers=sum(n for *_, n in own),
                buyers=sum(n for _, _, bought, _, n in own if bought),
                spent=np.repeat(
                    np.array([units for units, _ in spending], dtype=np.int64),
                    np.array([n for _, n in spending], dtype=np.int64),
                ),
            )
    return found


def _weeks_without_rows(transactions: Table, *, as_of: date, config: OutcomeConfig) -> list[int]:
    """The weeks, from 0, of which there is no transaction of anybody."""
    first = day_number(as_of)
    inside = (nw.col("day") >= first) & (nw.col("day") < first + WEEK_DAYS * config.horizon_weeks)
    days = transactions.filter(inside).group_by("day").agg(rows=nw.len()).collect("pyarrow")
    seen = {(int(day) - first) // WEEK_DAYS for day in days.get_column("day").to_list()}
    return [week for week in range(config.horizon_weeks) if week not in seen]


def _judged(
    one: Assignment, groups: Mapping[str, Group], config: OutcomeConfig, *, gap: str
) -> Outcome:
    mine, theirs, drawn = groups[DELIVERABLE], groups[CONTROL], one.compared
    alpha = round(1 - config.confidence, 12)
    both = mine.customers + theirs.customers
    likely = split_p_value(theirs.customers, both, drawn.share) if drawn and both else None
    outcome = Outcome(
        campaign=one.campaign,
        drawn=drawn,
        verdict="not measurable",
        deliverable=mine,
        control=theirs if drawn else None,
        aside=groups[ASIDE].customers,
        ratio_p_value=likely,
    )
    if drawn is None or mine.rate is None or theirs.rate is None:
        missing = "the list has no control group" if drawn is None else ""
        nobody = "nobody is on the list" if mine.rate is None else "nobody is in the control group"
        return replace(outcome, reason=missing or gap or nobody)
    if reason := gap or _mismatch(mine, theirs, drawn, likely) or _too_few(mine, theirs):
        return replace(outcome, reason=reason)
    low, high = newcombe(
        mine.buyers,
        mine.customers,
        theirs.buyers,
        theirs.customers,
        confidence=config.confidence,
    )
    return replace(
        outcome,
        verdict=verdict_of(low, high),
        buyers=Difference(mine.rate - theirs.rate, low, high),
        spend=_spend(mine, theirs, config.confidence),
        smallest_uplift=smallest_uplift(mine.customers, theirs.customers, theirs.rate, alpha=alpha),
    )


def _mismatch(mine: Group, theirs: Group, drawn: ControlGroup, likely: float | None) -> str:
    """That the sizes are not those of the declared draw, or nothing."""
    if likely is None or likely >= RATIO_P_VALUE:
        return ""
    return (
        f"{theirs.customers:,} of {mine.customers + theirs.customers:,} are in control, and by a "
        f"share of {drawn.share:g} that is no chance: the groups were not drawn as declared"
    )


def _too_few(mine: Group, theirs: Group) -> str:
    """That nothing is claimed of groups of these sizes, or nothing."""
    if min(mine.customers, theirs.customers) >= FEWEST:
        return ""
    sizes = f"{mine.customers:,} on the list and {theirs.customers:,} in control"
    return f"{sizes}: it takes {FEWEST} in each"


def _spend(mine: Group, theirs: Group, confidence: float) -> Difference | None:
    found = redrawn(
        mine.spent, mine.customers, theirs.spent, theirs.customers, confidence=confidence
    )
    if found is None:
        return None
    value = mine.units / mine.customers - theirs.units / theirs.customers
    low, high = (round(end) for end in found)
    return Difference(money_of(round(value)), money_of(low), money_of(high))
