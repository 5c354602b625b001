"""Routes about campaign lists: the waterfall, who is on a list, who is not and why."""

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path, Request
from fastapi.responses import Response
from pydantic import BaseModel, Field

from rfm_assets.serving.api.access import SeesCustomers, SeesSegments
from rfm_assets.serving.api.answers import (
    ROW_FORMATS,
    UNCHANGED,
    Ask,
    AsOfParameter,
    Cursor,
    Limit,
    SnapshotInfo,
    answer,
    rows_answer,
)
from rfm_assets.serving.api.problems import Refused, documented
from rfm_assets.serving.queries import Row
from rfm_assets.store import Snapshot

CONTROL = "control"
GROUPS = ("deliverable", CONTROL)
MEASURES = {"buyer_rate": "buyer_rate", "spend_per_head": "spend"}
"""Measures of an outcome, and how their columns begin."""

router = APIRouter(
    tags=["campaigns"], responses=UNCHANGED | documented(401, 403, 404, 422, 429, 503)
)

CampaignPath = Annotated[
    str, Path(description="Name of the list.", max_length=200, examples=["win_back"])
]


class Stage(BaseModel):
    """One stage of the waterfall."""

    stage: str
    entered: int
    removed: int
    left: int


class Campaign(BaseModel):
    """One campaign list."""

    name: str
    snapshot: SnapshotInfo
    deliverable: int
    control: int = Field(description="Customers who are left alone, to measure the effect.")
    excluded: int
    waterfall: list[Stage]
    reasons: dict[str, int] = Field(description="Customers left out, by reason.")
    smallest_uplift: str | None = Field(
        description="What the list could show against its control group; null for a list of an "
        "earlier release."
    )


class Campaigns(BaseModel):
    """Every campaign list of a date."""

    campaigns: list[Campaign]


_EXAMPLE: dict[str, dict[str, float]] = {
    "deliverable": {"customers": 900, "buyers": 126, "buyer_rate": 0.14, "spend": 7560.0,
                    "spend_per_head": 8.4},
    "control": {"customers": 100, "buyers": 8, "buyer_rate": 0.08, "spend": 520.0,
                "spend_per_head": 5.2},
    "buyer_rate": {"value": 0.06, "low": -0.0131, "high": 0.1058},
    "spend_per_head": {"value": 3.2, "low": -1.1, "high": 6.4},
}  # fmt: skip
"""Groups and differences that belong together, for the documentation."""


class OutcomeGroup(BaseModel):
    """What the customers of one group did in the weeks."""

    customers: int = Field(description="All of them, whatever reached them.")
    buyers: int = Field(description="Those with a purchase.")
    buyer_rate: float | None = Field(description="Their share, 0..1.")
    spend: float = Field(description="Net spend of all.")
    spend_per_head: float | None


class OutcomeDifference(BaseModel):
    """Deliverable less control, with its interval."""

    value: float
    low: float
    high: float


class CampaignOutcome(BaseModel):
    """What became of a list in the weeks that followed, against its control group."""

    name: str
    snapshot: SnapshotInfo
    list_as_of: str = Field(description="Date of the list.", examples=["2026-10-19"])
    horizon_weeks: int = Field(examples=[4])
    confidence: float = Field(examples=[0.95])
    claimed_on: Literal["buyer_rate"] = Field(
        description="The one measure that the verdict is about."
    )
    verdict: Literal["uplift", "harm", "no difference seen", "not measurable"] = Field(
        examples=["no difference seen"]
    )
    reason: str | None = Field(description="Why it is not measurable.", examples=[None])
    told: str = Field(
        description="The outcome in words.",
        examples=[
            "no difference seen: 14.00 % bought, 8.00 % in control; +6.00 percentage points (95 % "
            "interval -1.31 to +10.58). An uplift below 10.34 points would probably not be seen"
        ],
    )
    experiment: str | None = Field(examples=["win_back_2026"])
    control_kind: str | None = Field(
        description="`campaign`: its own control group; `global`: of all campaigns.",
        examples=["campaign"],
    )
    control_share: float | None = Field(description="As it was declared.", examples=[0.1])
    ratio_p_value: float | None = Field(
        description="How likely groups of these sizes are by that share; below 0.001, nothing is "
        "claimed.",
        examples=[1.0],
    )
    deliverable: OutcomeGroup | None = Field(examples=[_EXAMPLE["deliverable"]])
    control: OutcomeGroup | None = Field(examples=[_EXAMPLE["control"]])
    buyer_rate: OutcomeDifference | None = Field(
        description="Null where it is not measurable.", examples=[_EXAMPLE["buyer_rate"]]
    )
    spend_per_head: OutcomeDifference | None = Field(
        description="Nothing is claimed of it.", examples=[_EXAMPLE["spend_per_head"]]
    )
    smallest_uplift: float | None = Field(
        description="Rise of the share of buyers that would probably have been seen.",
        examples=[0.1034],
    )


@router.get("/campaigns", response_model=Campaigns)
def campaigns(request: Request, caller: SeesSegments, as_of: AsOfParameter = None) -> Response:
    """The campaign lists with their waterfalls."""
    ask = Ask.of(request, caller)
    whose = None if caller.organization == "*" else caller.organization
    tables = ask.queries.catalogue.of_kind("campaign_list", whose)
    found = [ask.snapshot(table.name, as_of) for table in tables]
    return answer(ask, found, lambda: Campaigns(campaigns=[_campaign(one) for one in found]))


@router.get("/campaigns/{campaign}", response_model=Campaign)
def campaign(
    request: Request, caller: SeesSegments, campaign: CampaignPath, as_of: AsOfParameter = None
) -> Response:
    """One campaign list: how many customers each stage removed, and why."""
    ask = Ask.of(request, caller)
    snapshot = _list(ask, campaign, as_of)
    return answer(ask, snapshot, lambda: _campaign(snapshot))


@router.get("/campaigns/{campaign}/members", responses=ROW_FORMATS | documented(406, 409, 410))
def members(  # noqa: PLR0917
    request: Request,
    caller: SeesCustomers,
    campaign: CampaignPath,
    as_of: AsOfParameter = None,
    limit: Limit = 100,
    cursor: Cursor = None,
) -> Response:
    """The deliverable customers, best first: pages of JSON, or all of them as a file.

    Whoever was suppressed since the list was made is left out; the header `Suppressed-Since` counts
    them. Where a suppression list cannot be read, nobody is given out.
    """
    ask = Ask.of(request, caller)
    snapshot = _list(ask, campaign, as_of)
    return rows_answer(ask, snapshot, key="rank", limit=limit, cursor=cursor, name=snapshot.table)


@router.get("/campaigns/{campaign}/excluded", responses=ROW_FORMATS | documented(406, 410))
def excluded(  # noqa: PLR0917
    request: Request,
    caller: SeesCustomers,
    campaign: CampaignPath,
    as_of: AsOfParameter = None,
    limit: Limit = 100,
    cursor: Cursor = None,
) -> Response:
    """The eligible customers who are left out, each with stage and reason."""
    ask = Ask.of(request, caller)
    snapshot = _list(ask, campaign, as_of)
    return rows_answer(
        ask,
        snapshot,
        "excluded",
        limit=limit,
        cursor=cursor,
        name=f"{snapshot.table}_excluded",
    )


@router.get("/campaigns/{campaign}/control", responses=ROW_FORMATS | documented(406, 410))
def control(  # noqa: PLR0917
    request: Request,
    caller: SeesCustomers,
    campaign: CampaignPath,
    as_of: AsOfParameter = None,
    limit: Limit = 100,
    cursor: Cursor = None,
) -> Response:
    """The control group: eligible customers who are not contacted, so that the effect shows."""
    ask = Ask.of(request, caller)
    snapshot = _list(ask, campaign, as_of)
    if CONTROL not in snapshot.manifest.row_counts:
        raise Refused(404, f"{campaign} of that date has no control group.", kind="PartMissing")
    return rows_answer(
        ask, snapshot, CONTROL, limit=limit, cursor=cursor, name=f"{snapshot.table}_control"
    )


@router.get("/campaigns/{campaign}/outcome", response_model=CampaignOutcome)
def outcome(
    request: Request, caller: SeesSegments, campaign: CampaignPath, as_of: AsOfParameter = None
) -> Response:
    """Whether a list worked: buyers and spend in the weeks after it, against its control group.

    `as_of` is the date that is looked back from, not that of the list.
    """
    ask = Ask.of(request, caller)
    _list(ask, campaign, None)
    snapshot, row = _judged(ask, campaign, as_of)
    return answer(ask, snapshot, lambda: _outcome(snapshot, row))


def _judged(ask: Ask, campaign: str, as_of: str | None) -> tuple[Snapshot, Row]:
    """The outcome of a list, of the first table that has it."""
    whose = None if ask.caller.organization == "*" else ask.caller.organization
    for table in ask.queries.catalogue.of_kind("campaign_outcome", whose):
        snapshot = ask.snapshot(table.name, as_of)
        for row in ask.queries.whole(snapshot):
            if row["campaign"] == campaign:
                return snapshot, row
    raise Refused(404, f"No table has the outcome of {campaign}.", kind="OutcomeMissing")


def _outcome(snapshot: Snapshot, row: Row) -> CampaignOutcome:
    groups = {
        group: None
        if row[group] is None
        else OutcomeGroup(
            customers=row[group],
            buyers=row[f"buyers_{group}"],
            buyer_rate=row[f"buyer_rate_{group}"],
            spend=row[f"spend_{group}"],
            spend_per_head=row[f"spend_per_head_{group}"],
        )
        for group in GROUPS
    }
    differences = {
        measure: None
        if row[f"{begin}_low"] is None
        else OutcomeDifference(
            value=row[f"{begin}_difference"],
            low=row[f"{begin}_low"],
            high=row[f"{begin}_high"],
        )
        for measure, begin in MEASURES.items()
    }
    same = ("horizon_weeks", "confidence", "verdict", "reason", "told", "experiment",
            "control_kind", "control_share", "ratio_p_value", "smallest_uplift")  # fmt: skip
    return CampaignOutcome(
        name=row["campaign"],
        snapshot=SnapshotInfo.of(snapshot),
        list_as_of=row["list_as_of"].isoformat(),
        claimed_on="buyer_rate",
        **{name: row[name] for name in same},
        **groups,
        **differences,
    )


def _list(ask: Ask, name: str, as_of: str | None) -> Snapshot:
    snapshot = ask.snapshot(name, as_of)
    if snapshot.manifest.kind != "campaign_list":
        raise Refused(404, f"{name} is no campaign list.", kind="CampaignMissing")
    return snapshot


def _campaign(snapshot: Snapshot) -> Campaign:
    manifest = snapshot.manifest
    stages: Any = manifest.extra.get("waterfall", [])
    measurement: Any = manifest.extra.get("measurement", {})
    return Campaign(
        name=snapshot.table,
        snapshot=SnapshotInfo.of(snapshot),
        deliverable=manifest.row_counts["rows"],
        control=manifest.row_counts.get(CONTROL, 0),
        excluded=manifest.row_counts.get("excluded", 0),
        waterfall=[Stage.model_validate(one) for one in stages],
        reasons={
            name.removeprefix("excluded: "): count
            for name, count in manifest.counts.items()
            if name.startswith("excluded: ")
        },
        smallest_uplift=measurement.get("told"),
    )
