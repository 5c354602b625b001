"""Routes about several snapshots: movement, probabilities of steps, shares over time, stays, cohorts."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal, TypeAlias

from fastapi import APIRouter, Query, Request
from fastapi.responses import Response
from pydantic import BaseModel, Field

from rfm_assets.domain.trends import Share
from rfm_assets.serving.api.access import SeesSegments
from rfm_assets.serving.api.answers import (
    UNCHANGED,
    Ask,
    AsOfParameter,
    SnapshotInfo,
    answer,
    dated,
)
from rfm_assets.serving.api.problems import Refused, documented
from rfm_assets.serving.api.tables import Move
from rfm_assets.serving.history import (
    LAST,
    at_risk,
    cohorts,
    distribution,
    in_range,
    moves_between,
    pair,
    spans,
    stays,
    transitions,
)
from rfm_assets.serving.queries import DATES
from rfm_assets.store import Snapshot

router = APIRouter(
    prefix="/history",
    tags=["history"],
    responses=documented(401, 403, 404, 422, 429, 503),
)

_DATE = r"^\d{4}-(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])$"

From: TypeAlias = Annotated[
    str | None,
    Query(
        alias="from",
        description="Date of the first snapshot; the earliest possible where left out.",
        pattern=_DATE,
        examples=["2026-08-17"],
    ),
]
To: TypeAlias = Annotated[
    str | None,
    Query(
        alias="to",
        description="Date of the last snapshot; the latest where left out.",
        pattern=_DATE,
        examples=["2026-11-16"],
    ),
]


class Risk(BaseModel):
    """Customers who came down to a segment, by the order of the scheme."""

    to_segment: str = Field(description="Segment now, or (left).")
    customers: int
    monetary_before: float = Field(description="What they spent in the window before.")
    monetary_now: float


class MovementBetween(BaseModel):
    """Who moved between any two snapshots; both sides' totals reconcile."""

    snapshot: SnapshotInfo
    previous: SnapshotInfo
    moves: list[Move]
    at_risk: list[Risk]


class Step(BaseModel):
    """How likely a customer of one segment is in another in the next snapshot."""

    from_segment: str = Field(description="Segment before, or (new).")
    to_segment: str = Field(description="Segment in the next snapshot, or (left).")
    customers: int = Field(description="How often that happened in the range.")
    probability: float = Field(description="0..1; those of one `from_segment` add up to 1.")
    low: float = Field(description="Lower end of the 95 % interval.")
    high: float = Field(description="Upper end of the 95 % interval.")


class Transitions(BaseModel):
    """Steps from each snapshot to the next, over a range."""

    snapshot: SnapshotInfo
    steps_from: str | None = Field(
        description="Date at which the first step begins.", examples=["2026-08-17"]
    )
    snapshots: int = Field(description="How many steps were counted.")
    transitions: list[Step]


class SegmentShare(BaseModel):
    """The share of a segment at one date, and what was normal before it."""

    as_of: str = Field(examples=["2026-11-16"])
    segment: str
    customers: int
    share: float = Field(description="Of all customers, 0..1.")
    low: float | None = Field(description="Lower end of the normal band; null for the first dates.")
    high: float | None = Field(description="Upper end of the normal band.")
    outside: bool = Field(description="Whether the share lies outside the band.")


class Distribution(BaseModel):
    """Each segment's share over time."""

    snapshot: SnapshotInfo
    band: Literal["robust", "sd"]
    shares: list[SegmentShare]


class SegmentStay(BaseModel):
    """How long the customers of a segment have been in it without a break."""

    segment: str
    customers: int = Field(description="Who are in it now.")
    mean_weeks: float = Field(description="From the first snapshot of the stay to the last one.")
    median_weeks: float
    at_least: int = Field(
        description="Of them, who were in it in the oldest snapshot that was looked at already: theirs, "
        "and so mean and median, may be longer."
    )


class Stays(BaseModel):
    """Time in segment, best segment first."""

    snapshot: SnapshotInfo
    stays_from: str = Field(
        description="Date of the oldest snapshot that was looked at.", examples=["2026-05-25"]
    )
    snapshots: int = Field(description="How many were looked at.")
    segments: list[SegmentStay]


class CohortMonth(BaseModel):
    """Customers whose first purchase was in one month, and what they did in one month since."""

    cohort: str = Field(description="First day of that month.", examples=["2026-03-01"])
    month: int = Field(description="Months since; 0 is that of the first purchase.")
    customers: int = Field(description="Of the cohort.")
    buyers: int = Field(description="Who bought in that month.")
    retention: float = Field(description="buyers / customers, 0..1.")
    monetary: float = Field(description="Net spend of the cohort in that month.")


class Cohorts(BaseModel):
    """Customers by the month of their first purchase; the month of the date is not over."""

    snapshot: SnapshotInfo
    transactions: SnapshotInfo
    cohorts: list[CohortMonth]


@router.get("/movement", response_model=MovementBetween, responses=UNCHANGED)
def movement(
    request: Request, caller: SeesSegments, first: From = None, last: To = None
) -> Response:
    """Who moved between two snapshots; the one before the last where `from` is left out."""
    ask = Ask.of(request, caller)
    table = ask.of_kind("customer_segments", None).table
    earlier, later = pair(ask.queries, table, dated(first), dated(last))

    def make() -> MovementBetween:
        moves = moves_between(ask.queries, earlier, later)
        return MovementBetween(
            snapshot=SnapshotInfo.of(later),
            previous=SnapshotInfo.of(earlier),
            moves=[Move.model_validate(row) for row in moves],
            at_risk=[Risk(**vars(one)) for one in at_risk(ask.queries, moves, later)],
        )

    return answer(ask, [later, earlier], make)


@router.get("/transitions", response_model=Transitions, responses=UNCHANGED)
def probabilities(
    request: Request, caller: SeesSegments, first: From = None, last: To = None
) -> Response:
    """How likely each step from one snapshot to the next is, over a range."""
    ask = Ask.of(request, caller)
    found = _range(ask, "segment_movement", first, last)

    def make() -> Transitions:
        starts = [start for start, _ in spans(ask.queries, found)]
        return Transitions(
            snapshot=SnapshotInfo.of(found[-1]),
            steps_from=str(min(starts)) if starts else None,
            snapshots=len(starts),
            transitions=[Step(**vars(one)) for one in transitions(ask.queries, found)],
        )

    return answer(ask, found[::-1], make)


@router.get("/distribution", response_model=Distribution, responses=UNCHANGED)
def shares(
    request: Request,
    caller: SeesSegments,
    first: From = None,
    last: To = None,
    band: Annotated[
        Literal["robust", "sd"],
        Query(description="Median and median absolute deviation, or mean and standard deviation."),
    ] = "robust",
) -> Response:
    """Each segment's share over time, with the band of the weeks before each."""
    ask = Ask.of(request, caller)
    found = _range(ask, "segment_summary", first, last)

    def make() -> Distribution:
        return Distribution(
            snapshot=SnapshotInfo.of(found[-1]),
            band=band,
            shares=[
                SegmentShare(**_told(one)) for one in distribution(ask.queries, found, band=band)
            ],
        )

    return answer(ask, found[::-1], make)


@router.get("/stays", response_model=Stays, responses=UNCHANGED)
def time_in_segment(
    request: Request,
    caller: SeesSegments,
    first: From = None,
    last: To = None,
    at_most: Annotated[
        int,
        Query(
            alias="snapshots",
            ge=1,
            le=DATES,
            description="Look back over at most so many snapshots; each costs a pass over all customers.",
        ),
    ] = LAST,
) -> Response:
    """How long the customers of each segment have been in it."""
    ask = Ask.of(request, caller)
    found = _range(ask, "customer_segments", first, last, at_most)

    def make() -> Stays:
        return Stays(
            snapshot=SnapshotInfo.of(found[-1]),
            stays_from=str(found[0].as_of),
            snapshots=len(found),
            segments=[SegmentStay(**vars(one)) for one in stays(ask.queries, found)],
        )

    return answer(ask, found[::-1], make)


@router.get("/cohorts", response_model=Cohorts, responses=UNCHANGED)
def first_purchases(
    request: Request,
    caller: SeesSegments,
    as_of: AsOfParameter = None,
    months: Annotated[
        int, Query(ge=1, le=240, description="Only the newest so many cohorts.")
    ] = 24,
) -> Response:
    """Customers by month of their first purchase, and how many buy in each month after it."""
    ask = Ask.of(request, caller)
    snapshot = ask.of_kind("customer_segments", as_of)
    transactions = ask.of_kind("transaction_data", None)

    def make() -> Cohorts:
        rows = cohorts(ask.queries, transactions, snapshot)
        newest = set(sorted({row["cohort"] for row in rows})[-months:])
        return Cohorts(
            snapshot=SnapshotInfo.of(snapshot),
            transactions=SnapshotInfo.of(transactions),
            cohorts=[CohortMonth.model_validate(row) for row in rows if row["cohort"] in newest],
        )

    return answer(ask, [snapshot, transactions], make)


def _range(
    ask: Ask, kind: str, first: str | None, last: str | None, at_most: int = 260
) -> list[Snapshot]:
    table = ask.of_kind(kind, None).table
    found = in_range(ask.queries, table, dated(first), dated(last), at_most=at_most)
    if not found:
        raise Refused(
            404, f"{table} has no snapshot from {first} to {last}.", kind="SnapshotMissing"
        )
    return found


def _told(one: Share) -> Mapping[str, Any]:
    return {**vars(one), "as_of": one.as_of.isoformat(), "outside": one.outside}
