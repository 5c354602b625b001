"""Routes about one customer: values, scores, why this segment, history."""

from typing import Annotated, Any

from fastapi import APIRouter, Path, Request
from fastapi.responses import Response
from pydantic import BaseModel, Field

from rfm_assets.domain.explaining import Explanation
from rfm_assets.serving.api.access import SeesCustomers
from rfm_assets.serving.api.answers import UNCHANGED, Ask, AsOfParameter, SnapshotInfo, answer
from rfm_assets.serving.api.problems import Refused, documented
from rfm_assets.serving.customers import CustomerCard, customer_card, customer_history
from rfm_assets.store import ROWS, Snapshot

router = APIRouter(
    tags=["customers"], responses=UNCHANGED | documented(401, 403, 404, 422, 429, 503)
)

CustomerPath = Annotated[
    str, Path(description="The customer's id, as stored.", max_length=500, examples=["17850"])
]


class ScoreWhy(BaseModel):
    """One score and the cut points that made it."""

    dimension: str
    value: float
    score: int
    scale: int
    cut_points: list[float] = Field(examples=[[12.0, 30.0, 61.0, 142.0]])
    sentence: str


class RuleWhy(BaseModel):
    """One rule of the scheme on this customer."""

    position: int
    segment: str
    conditions: list[str]
    failed: list[str] = Field(description="What does not hold; empty where the rule matches.")
    reached: bool = Field(description="False after the rule that decided.")


class Why(BaseModel):
    """The way from values to segment."""

    scores: list[ScoreWhy]
    fired: int | None = Field(description="Position of the rule that decided.")
    rules: list[RuleWhy]

    @classmethod
    def of(cls, explanation: Explanation) -> "Why":
        return cls(
            scores=[
                ScoreWhy(
                    dimension=one.dimension,
                    value=one.value,
                    score=one.score,
                    scale=one.scale,
                    cut_points=list(one.cut_points),
                    sentence=one.sentence,
                )
                for one in explanation.scores
            ],
            fired=explanation.fired,
            rules=[
                RuleWhy(
                    position=rule.position,
                    segment=rule.segment,
                    conditions=list(rule.conditions),
                    failed=list(rule.failed),
                    reached=rule.reached,
                )
                for rule in explanation.rules
            ],
        )


class Customer(BaseModel):
    """One customer as of a date."""

    snapshot: SnapshotInfo
    customer_id: str
    values: dict[str, Any] | None = Field(description="The stored row; null if left out.")
    excluded: dict[str, Any] | None = Field(description="Why the customer is left out.")
    explanation: Why | None


class CustomerCardAnswer(Customer):
    """The same with what other tables say of the customer."""

    beside: dict[str, dict[str, Any]] = Field(description="Rows of other tables, by table.")
    signals: list[dict[str, Any]]
    lists: list[dict[str, Any]]


class History(BaseModel):
    """One customer at every date."""

    snapshot: SnapshotInfo
    customer_id: str
    history: list[dict[str, Any]]


@router.get("/customers/{customer_id}", response_model=Customer)
def customer(
    request: Request, caller: SeesCustomers, customer_id: CustomerPath, as_of: AsOfParameter = None
) -> Response:
    """Values, scores and segment of a customer, and why: cut points, the rule that fired, the others."""
    ask = Ask.of(request, caller)
    snapshot = ask.of_kind("customer_segments", as_of)
    row = ask.queries.one(snapshot, customer_id)
    known = "excluded" in snapshot.manifest.files  # a published copy may go without
    excluded = None if row or not known else ask.queries.one(snapshot, customer_id, "excluded")
    if row is None and excluded is None:
        raise _nobody(customer_id, snapshot)

    def make() -> Customer:
        why = ask.queries.explain(snapshot, row) if row else None
        return Customer(
            snapshot=SnapshotInfo.of(snapshot),
            customer_id=customer_id,
            values=_seen(ask, snapshot, row),
            excluded=_seen(ask, snapshot, excluded, "excluded"),
            explanation=Why.of(why) if why else None,
        )

    return answer(ask, snapshot, make)


@router.get("/customers/{customer_id}/card", response_model=CustomerCardAnswer)
def card(
    request: Request, caller: SeesCustomers, customer_id: CustomerPath, as_of: AsOfParameter = None
) -> Response:
    """The same with clusters, lifetime value, churn, behaviour, signals and campaign lists."""
    ask = Ask.of(request, caller)
    snapshot = ask.of_kind("customer_segments", as_of)
    found = customer_card(ask.queries, snapshot, customer_id)
    if found is None:
        raise _nobody(customer_id, snapshot)
    return answer(ask, [snapshot, *found.read], lambda: _card(ask, found, customer_id))


@router.get("/customers/{customer_id}/history", response_model=History)
def history(request: Request, caller: SeesCustomers, customer_id: CustomerPath) -> Response:
    """Segment and values of a customer at every date that has them."""
    ask = Ask.of(request, caller)
    snapshot = ask.of_kind("customer_segments", None)
    rows = customer_history(ask.queries, snapshot.table, customer_id)
    if not rows:
        raise _nobody(customer_id, snapshot)
    return answer(
        ask,
        ask.queries.catalogue.series(snapshot.table)[::-1] or snapshot,
        lambda: History(snapshot=SnapshotInfo.of(snapshot), customer_id=customer_id, history=rows),
    )


def _card(ask: Ask, found: CustomerCard, customer_id: str) -> CustomerCardAnswer:
    snapshot = found.snapshot
    return CustomerCardAnswer(
        snapshot=SnapshotInfo.of(snapshot),
        customer_id=customer_id,
        values=_seen(ask, snapshot, found.row),
        excluded=_seen(ask, snapshot, found.excluded, "excluded"),
        explanation=Why.of(found.explanation) if found.explanation else None,
        beside={name: _seen(ask, found.at[name], row) or {} for name, row in found.beside.items()},
        signals=found.signals,
        lists=found.lists,
    )


def _seen(
    ask: Ask, snapshot: Snapshot, row: dict[str, Any] | None, part: str = ROWS
) -> dict[str, Any] | None:
    """A row with the columns that the caller may see."""
    if row is None:
        return None
    visible = set(ask.visible(snapshot, part))
    return {name: value for name, value in row.items() if name in visible}


def _nobody(customer_id: str, snapshot: Snapshot) -> Refused:
    return Refused(
        404,
        f"No customer {customer_id!r} in {snapshot.table} as of {snapshot.as_of}.",
        kind="CustomerMissing",
    )
