"""The route about clusters: what each one is like in these data."""

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from fastapi.responses import Response
from pydantic import BaseModel, Field

from rfm_assets.serving.api.access import SeesSegments
from rfm_assets.serving.api.answers import UNCHANGED, Ask, AsOfParameter, SnapshotInfo, answer
from rfm_assets.serving.api.problems import Refused, documented

router = APIRouter(
    tags=["clusters"], responses=UNCHANGED | documented(401, 403, 404, 422, 429, 503)
)


class FeatureRange(BaseModel):
    """One feature over the customers of a cluster."""

    mean: float | None
    minimum: float | None
    maximum: float | None
    centroid: float


class Cluster(BaseModel):
    """One cluster."""

    segment: str
    cluster: int
    customers: int
    customers_pct: float
    spend_total: float
    spend_pct: float | None = Field(description="Share of all net spend, in per cent.")
    averages: dict[str, float | None] = Field(description="Mean of each feature in these data.")
    features: dict[str, FeatureRange]
    priority: int | None
    campaign_type: str | None


class Clusters(BaseModel):
    """Every cluster of a snapshot."""

    snapshot: SnapshotInfo
    k: int
    segments: list[Cluster]


@router.get("/segments", response_model=Clusters)
def clusters(
    request: Request,
    caller: SeesSegments,
    as_of: AsOfParameter = None,
    table: Annotated[
        str | None, Query(max_length=200, description="Which table, where there are several.")
    ] = None,
) -> Response:
    """For each cluster the actual averages of every feature, its size and its share of spend."""
    ask = Ask.of(request, caller)
    if table is None:
        snapshot = ask.of_kind("behavioral_segments", as_of)
    else:
        snapshot = ask.snapshot(table, as_of)
        if snapshot.manifest.kind != "behavioral_segments":
            raise Refused(404, f"{table} holds no clusters.", kind="KindMissing")

    def make() -> Clusters:
        by_cluster: dict[int, list[dict[str, Any]]] = {}
        for row in ask.queries.whole(snapshot, "profiles"):
            by_cluster.setdefault(row["cluster"], []).append(row)
        found = [_cluster(ask, snapshot, rows) for rows in by_cluster.values()]
        return Clusters(
            snapshot=SnapshotInfo.of(snapshot),
            k=len(found),
            segments=sorted(found, key=lambda one: (-one.customers, one.cluster)),
        )

    return answer(ask, snapshot, make)


def _cluster(ask: Ask, snapshot: Any, rows: list[dict[str, Any]]) -> Cluster:
    first = rows[0]
    named = {one.get("name"): one for one in (ask.queries.catalogue.noted(snapshot, "names") or [])}
    about: dict[str, Any] = named.get(first["segment"], {})
    return Cluster(
        segment=first["segment"],
        cluster=first["cluster"],
        customers=first["customers"],
        customers_pct=first["customers_pct"],
        spend_total=first["spend_total"],
        spend_pct=first["spend_pct"],
        averages={row["feature"]: row["mean"] for row in rows},
        features={
            row["feature"]: FeatureRange.model_validate(
                {name: row[name] for name in ("mean", "minimum", "maximum", "centroid")}
            )
            for row in rows
        },
        priority=about.get("priority"),
        campaign_type=about.get("campaign"),
    )
