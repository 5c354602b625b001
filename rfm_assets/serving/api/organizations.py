"""Routes about an organisation's churn-aware segments and behaviour, in the shapes of before.

Paths, names and types are those that earlier systems had, so that a team can move over without
changing its callers. What is missing in an answer there is missing here.
"""

from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Request
from fastapi.responses import Response
from pydantic import BaseModel

from rfm_assets.serving.api.access import SeesCustomers, SeesSegments
from rfm_assets.serving.api.answers import UNCHANGED, Ask, AsOfParameter, answer
from rfm_assets.serving.api.problems import Refused, documented
from rfm_assets.store import Snapshot

router = APIRouter(
    tags=["organizations"], responses=UNCHANGED | documented(401, 403, 404, 422, 429, 503)
)

OrganizationPath = Annotated[
    str, Path(description="Id of the organisation.", max_length=200, examples=["stations"])
]
CustomerPath = Annotated[
    str, Path(description="The customer's id.", max_length=500, examples=["17850"])
]
OrganizationQuery = Annotated[
    str | None,
    Query(
        alias="organization_id",
        max_length=200,
        description="Whose customer; needed where several organisations know the same id.",
    ),
]


class SegmentCount(BaseModel):
    """One segment of an organisation."""

    count: int
    percentage: float
    metadata: dict[str, str]


class OrganizationSegments(BaseModel):
    """Sizes of an organisation's segments."""

    total_customers: int
    segments: dict[str, SegmentCount]


class CustomerSegment(BaseModel):
    """The segment of one customer."""

    customer_id: str
    organization_id: str
    segment: str
    segment_score: float
    rfm_category: dict[str, str]
    churn_risk_level: str
    assigned_at: str
    metadata: dict[str, Any]


class SegmentDefinition(BaseModel):
    """What a segment is, and what to do."""

    description: str
    action: str


class SegmentDefinitions(BaseModel):
    """Every segment's definition."""

    segments: dict[str, SegmentDefinition]


class CustomerBehavior(BaseModel):
    """Behaviour of one customer."""

    customer_id: str
    organization_id: str
    org_type: str
    behavior_score: float | None
    activity_trend: str
    value_trend: str
    engagement_trend: str
    risk_signals: list[str]
    recommendations: list[str]
    analyzed_at: str
    metadata: dict[str, Any]


class PriorityAction(BaseModel):
    """One risk signal by how much it costs to wait."""

    risk_signal: str
    affected_customers: int
    urgency: str
    percentage: float


class BehaviorInsights(BaseModel):
    """Behaviour of all customers of an organisation."""

    organization_id: str
    org_type: str
    total_customers: int
    top_risk_signals: dict[str, int]
    avg_behavior_score: float | None
    customers_by_trend: dict[str, int]
    priority_actions: list[PriorityAction]


@router.get("/segmentation/organizations/{org_id}/segments", response_model=OrganizationSegments)
def organization_segments(
    request: Request, caller: SeesSegments, org_id: OrganizationPath, as_of: AsOfParameter = None
) -> Response:
    """Sizes of the churn-aware segments of an organisation."""
    ask = Ask.of(request, caller)
    snapshot = _of(ask, "churn_aware_segments", org_id, as_of)

    def make() -> OrganizationSegments:
        counts = ask.queries.counts(snapshot, "segment")
        total = snapshot.manifest.row_counts["rows"]
        described = _definitions(ask, snapshot)
        return OrganizationSegments(
            total_customers=total,
            segments={
                name: SegmentCount(
                    count=counts.get(name, 0),
                    percentage=round(100 * counts.get(name, 0) / total, 2) if total else 0.0,
                    metadata=one.model_dump(),
                )
                for name, one in described.items()
            },
        )

    return answer(ask, snapshot, make)


@router.get("/segmentation/customers/{customer_id}/segment", response_model=CustomerSegment)
def customer_segment(
    request: Request,
    caller: SeesCustomers,
    customer_id: CustomerPath,
    organization: OrganizationQuery = None,
    as_of: AsOfParameter = None,
) -> Response:
    """The churn-aware segment of one customer."""
    ask = Ask.of(request, caller)
    snapshot, row = _customer(ask, "churn_aware_segments", customer_id, organization, as_of)
    described = _definitions(ask, snapshot)
    return answer(
        ask,
        snapshot,
        lambda: CustomerSegment(
            customer_id=row["customer_id"],
            organization_id=row["organization_id"],
            segment=row["segment"],
            segment_score=round(row["segment_score"], 2),
            rfm_category={name: row[f"{name}_category"] for name in "RFME"},
            churn_risk_level=row["churn_risk_level"],
            assigned_at=row["segmented_at"].isoformat(),
            metadata={
                **described[row["segment"]].model_dump(),
                "churn_probability": row["churn_probability"],
                "as_of": row["as_of"].isoformat(),
            },
        ),
    )


@router.get("/segmentation/segment-definitions", response_model=SegmentDefinitions)
def segment_definitions(
    request: Request, caller: SeesSegments, as_of: AsOfParameter = None
) -> Response:
    """What each churn-aware segment is, and what to do about it."""
    ask = Ask.of(request, caller)
    snapshot = ask.of_kind("churn_aware_segments", as_of)
    return answer(ask, snapshot, lambda: SegmentDefinitions(segments=_definitions(ask, snapshot)))


@router.get("/behavior/customers/{customer_id}/behavior", response_model=CustomerBehavior)
def customer_behavior(
    request: Request,
    caller: SeesCustomers,
    customer_id: CustomerPath,
    organization: OrganizationQuery = None,
    as_of: AsOfParameter = None,
) -> Response:
    """Score, trends, risk signals and recommendations of one customer."""
    ask = Ask.of(request, caller)
    snapshot, row = _customer(ask, "customer_behavior", customer_id, organization, as_of)
    signals = ask.queries.of_customer(snapshot, customer_id, "signals")
    by_name = {one["signal"]: one["recommendation"] for one in signals}
    fired = [name for name in row["risk_signals"].split(",") if name]
    return answer(
        ask,
        snapshot,
        lambda: CustomerBehavior(
            customer_id=row["customer_id"],
            organization_id=row["organization_id"],
            org_type=row["org_type"],
            behavior_score=row["behavior_score"],
            activity_trend=row["activity_trend"],
            value_trend=row["value_trend"],
            engagement_trend=row["engagement_trend"],
            risk_signals=fired,
            recommendations=[by_name[name] for name in fired if name in by_name],
            analyzed_at=row["analyzed_at"].isoformat(),
            metadata={
                "as_of": row["as_of"].isoformat(),
                "signals_unknown": row["signals_unknown"],
            },
        ),
    )


@router.get("/behavior/organizations/{org_id}/behavior-insights", response_model=BehaviorInsights)
def behavior_insights(
    request: Request, caller: SeesSegments, org_id: OrganizationPath, as_of: AsOfParameter = None
) -> Response:
    """Risk signals, trends and priority actions over all customers of an organisation."""
    ask = Ask.of(request, caller)
    snapshot = _of(ask, "customer_behavior", org_id, as_of)

    def make() -> BehaviorInsights:
        insights = ask.queries.whole(snapshot, "insights")
        counts = snapshot.manifest.counts
        mean: Any = ask.queries.catalogue.noted(snapshot, "mean_score")
        profile: Any = ask.queries.catalogue.noted(snapshot, "profile") or {}
        fired = [row for row in insights if row["affected_customers"]]
        return BehaviorInsights(
            organization_id=org_id,
            org_type=str(profile.get("id", "")),
            total_customers=snapshot.manifest.row_counts["rows"],
            top_risk_signals={
                row["signal"]: row["affected_customers"]
                for row in sorted(fired, key=lambda r: (-r["affected_customers"], r["signal"]))
            },
            avg_behavior_score=mean,
            customers_by_trend={
                trend: counts.get(f"activity_trend/{trend}", 0)
                for trend in ("increasing", "stable", "declining", "unknown")
            },
            priority_actions=[
                PriorityAction(
                    risk_signal=row["signal"],
                    affected_customers=row["affected_customers"],
                    urgency=row["urgency"],
                    percentage=row["percentage"],
                )
                for row in sorted(fired, key=lambda r: r["rank"])
            ],
        )

    return answer(ask, snapshot, make)


def _of(ask: Ask, kind: str, organization: str, as_of: str | None) -> Snapshot:
    return ask.of_kind(kind, as_of, ask.known_organization(organization))


def _customer(
    ask: Ask, kind: str, customer_id: str, organization: str | None, as_of: str | None
) -> tuple[Snapshot, dict[str, Any]]:
    """The row of a customer in the tables of a kind that exist for the caller."""
    if organization is not None:
        ask.known_organization(organization)
    whose = organization if ask.caller.organization == "*" else ask.caller.organization
    if organization not in {None, whose}:
        raise Refused(404, f"No customer {customer_id!r}.", kind="CustomerMissing")
    found = []
    for table in ask.queries.catalogue.of_kind(kind, whose):
        snapshot = ask.snapshot(table.name, as_of)
        row = ask.queries.one(snapshot, customer_id)
        if row is not None:
            found.append((snapshot, row))
    if not found:
        raise Refused(404, f"No customer {customer_id!r}.", kind="CustomerMissing")
    if len(found) > 1:
        names = ", ".join(sorted({row["organization_id"] for _, row in found}))
        raise Refused(
            422,
            f"organization_id: {customer_id!r} is a customer of several ({names}). Name one.",
        )
    return found[0]


def _definitions(ask: Ask, snapshot: Snapshot) -> dict[str, SegmentDefinition]:
    table: Any = ask.queries.catalogue.noted(snapshot, "decision_table") or {"segments": []}
    return {
        one["name"]: SegmentDefinition(
            description=one["description"], action=one["recommendation"] or ""
        )
        for one in table["segments"]
    }
