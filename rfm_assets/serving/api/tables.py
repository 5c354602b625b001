"""Routes about what is stored: health, snapshots, segments, definitions, movement."""

import math
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path, Query, Request
from fastapi.responses import Response
from pydantic import BaseModel, Field

from rfm_assets.errors import UnknownSegment
from rfm_assets.manifest import Input
from rfm_assets.serving.api.access import Anybody, SeesCustomers, SeesSegments
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
from rfm_assets.serving.queries import Condition
from rfm_assets.store import Snapshot

router = APIRouter(tags=["segments"], responses=documented(401, 403, 404, 422, 429, 503))

SegmentPath = Annotated[
    str,
    Path(description="Id, name or alias of the segment.", max_length=200, examples=["champions"]),
]


class Check(BaseModel):
    """One check of a snapshot."""

    table: str
    name: str
    passed: bool
    blocking: bool
    observed: str
    expected: str
    next_step: str


class TableHealth(BaseModel):
    """One stored table."""

    name: str
    kind: str
    organization: str
    snapshots: int = Field(description="How many dates it has; 1 for a table without dates.")
    latest: SnapshotInfo
    created_at: str | None = Field(description="UTC time at which it was made.")
    rows: int


class Health(BaseModel):
    """Whether the store can be read, what is in it, and which checks of the latest snapshots failed."""

    status: Literal["ok", "warnings", "empty"]
    tables: list[TableHealth]
    failed_checks: list[Check]


class SnapshotList(BaseModel):
    """The snapshots of the tables, newest first."""

    snapshots: list[dict[str, Any]]


class SegmentFigures(BaseModel):
    """One segment of a snapshot."""

    segment: str
    customers: int
    customers_pct: float = Field(description="Share of all customers, 0..100.")
    customers_change: int | None = Field(description="Since the snapshot before.")
    monetary_total: float
    monetary_mean: float | None
    monetary_pct: float | None = Field(description="Share of all net spend, in per cent.")
    recency_mean: float | None
    frequency_mean: float | None
    benchmark_low_pct: float | None
    benchmark_high_pct: float | None
    success_hours: float | None
    loyalty_tier: str | None
    definition: dict[str, Any] | None = Field(description="The scheme's entry of the segment.")


class Segments(BaseModel):
    """Every segment of a snapshot, as the scheme orders them."""

    snapshot: SnapshotInfo
    customers: int
    monetary_total: float
    segments: list[SegmentFigures]


class Definitions(BaseModel):
    """The scheme by which a snapshot's segments are named."""

    snapshot: SnapshotInfo
    scheme: dict[str, Any] | None
    cut_points: dict[str, Any] | None


class Move(BaseModel):
    """Customers who made one move."""

    from_segment: str = Field(description="Segment before, or (new).")
    to_segment: str = Field(description="Segment now, or (left).")
    customers: int
    monetary_before: float
    monetary_now: float


class Movement(BaseModel):
    """Who moved from the snapshot before to this one; both sides' totals reconcile."""

    snapshot: SnapshotInfo
    previous_as_of: str | None
    moves: list[Move]


@router.get("/health", tags=["store"])
def health(request: Request, caller: Anybody) -> Health:
    """Whether the store can be read, and how its newest tables are."""
    ask = Ask.of(request, caller)
    tables = [t for t in ask.queries.catalogue.tables().values() if caller.sees(t.organization)]
    failed = [
        Check(
            table=table.name,
            **check.model_dump(
                include={"name", "passed", "blocking", "observed", "expected", "next_step"}
            ),
        )
        for table in tables
        for check in table.latest.manifest.checks
        if not check.passed
    ]
    return Health(
        status="empty" if not tables else "warnings" if failed else "ok",
        tables=[
            TableHealth(
                name=table.name,
                kind=table.kind,
                organization=table.organization,
                snapshots=max(1, len(table.dates)),
                latest=SnapshotInfo.of(table.latest),
                created_at=_text(table.latest.manifest.created_at),
                rows=table.latest.manifest.row_counts.get("rows", 0),
            )
            for table in tables
        ],
        failed_checks=failed if caller.may("segments") else [],
    )


@router.get("/snapshots", tags=["store"])
def snapshots(
    request: Request,
    caller: SeesSegments,
    table: Annotated[str | None, Query(max_length=200, description="Only of this table.")] = None,
    last: Annotated[int, Query(ge=1, le=1_000, description="Dates of each table.")] = 52,
) -> SnapshotList:
    """The stored snapshots with their row counts, inputs and checks that failed."""
    ask = Ask.of(request, caller)
    names = [ask.snapshot(table, None).table] if table else list(ask.queries.catalogue.tables())
    found: list[dict[str, Any]] = []
    for name in names:
        stored = ask.queries.catalogue.table(name)
        if caller.sees(stored.organization):
            series = ask.queries.catalogue.series(name, last) or [stored.latest]
            found.extend(_described(ask, one) for one in reversed(series))
    return SnapshotList(snapshots=found)


@router.get("/segments", response_model=Segments, responses=UNCHANGED)
def segments(request: Request, caller: SeesSegments, as_of: AsOfParameter = None) -> Response:
    """Size, value and change of every segment."""
    ask = Ask.of(request, caller)
    summary = ask.of_kind("segment_summary", as_of)
    source = _described_by(ask, summary)

    def make() -> Segments:
        rows = ask.queries.whole(summary)
        scheme = ask.queries.scheme(source) if source else None
        defined = (
            {one.name: one.model_dump(mode="json") for one in scheme.segments} if scheme else {}
        )
        order = {name: position for position, name in enumerate(defined)}
        return Segments(
            snapshot=SnapshotInfo.of(summary),
            customers=sum(row["customers"] for row in rows),
            monetary_total=round(math.fsum(row["monetary_total"] for row in rows), 4),
            segments=[
                SegmentFigures(**row, definition=defined.get(row["segment"]))
                for row in sorted(rows, key=lambda r: order.get(r["segment"], len(order)))
            ],
        )

    return answer(ask, [summary, *([source] if source else [])], make)


@router.get("/segments/{segment}/members", responses=ROW_FORMATS | UNCHANGED | documented(406, 410))
def members(  # noqa: PLR0917
    request: Request,
    caller: SeesCustomers,
    segment: SegmentPath,
    as_of: AsOfParameter = None,
    limit: Limit = 100,
    cursor: Cursor = None,
) -> Response:
    """The customers of a segment: pages of JSON, or all of them as CSV, NDJSON, Arrow or Parquet."""
    ask = Ask.of(request, caller)
    snapshot = ask.of_kind("customer_segments", as_of)
    scheme = ask.queries.scheme(snapshot)
    if scheme is None:
        raise Refused(404, "The segments of this snapshot have no names.", kind="SegmentMissing")
    try:
        found = scheme.segment_called(segment, key="segment")
    except UnknownSegment as error:
        raise Refused(404, str(error), kind="SegmentMissing") from error
    return rows_answer(
        ask,
        snapshot,
        conditions=[Condition("segment", "=", found.name)],
        limit=limit,
        cursor=cursor,
        name=found.id,
    )


@router.get("/definitions", response_model=Definitions, responses=UNCHANGED)
def definitions(request: Request, caller: SeesSegments, as_of: AsOfParameter = None) -> Response:
    """The segments, their rules, recommendations and actions, and the cut points of the scores."""
    ask = Ask.of(request, caller)
    snapshot = ask.of_kind("customer_segments", as_of)

    def make() -> Definitions:
        scheme = ask.queries.scheme(snapshot)
        return Definitions(
            snapshot=SnapshotInfo.of(snapshot),
            scheme=scheme.model_dump(mode="json") if scheme else None,
            cut_points=snapshot.manifest.cut_points,
        )

    return answer(ask, snapshot, make)


@router.get("/movement", response_model=Movement, responses=UNCHANGED)
def movement(request: Request, caller: SeesSegments, as_of: AsOfParameter = None) -> Response:
    """How many customers, and how much spend, moved between segments since the snapshot before."""
    ask = Ask.of(request, caller)
    snapshot = ask.of_kind("segment_movement", as_of)

    def make() -> Movement:
        rows = ask.queries.whole(snapshot)
        previous = next((row["previous_as_of"] for row in rows if row["previous_as_of"]), None)
        return Movement(
            snapshot=SnapshotInfo.of(snapshot),
            previous_as_of=_text(previous),
            moves=[Move.model_validate(row) for row in rows],
        )

    return answer(ask, snapshot, make)


def _described_by(ask: Ask, summary: Snapshot) -> Snapshot | None:
    """The snapshot of customers that a summary was made from, or the one of that date now."""
    tables = ask.queries.catalogue.tables()
    for name in summary.manifest.inputs:
        if name in tables and tables[name].kind == "customer_segments":
            return ask.queries.catalogue.snapshot(name, summary.as_of)
    return None


def _described(ask: Ask, snapshot: Snapshot) -> dict[str, Any]:
    manifest = snapshot.manifest
    hidden = {
        table.name
        for table in ask.queries.catalogue.tables().values()
        if not ask.caller.sees(table.organization)
    }
    return {
        **SnapshotInfo.of(snapshot).model_dump(),
        "kind": manifest.kind,
        "created_at": _text(manifest.created_at),
        "run_id": manifest.run_id,
        "row_counts": dict(manifest.row_counts),
        "inputs": {
            name: version
            for name, version in manifest.inputs.items()
            if Input.named(name).table not in hidden
        },
        "failed_checks": [check.name for check in manifest.checks if not check.passed],
    }


def _text(value: Any) -> str | None:
    return None if value is None else value.isoformat()
