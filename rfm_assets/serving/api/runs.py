"""Routes that compute: each launches a Dagster run and answers 202 with where to follow it."""

from datetime import date
from pathlib import Path as FilePath
from typing import Annotated, Any

from fastapi import APIRouter, File, Path, Query, Request, UploadFile
from fastapi.responses import JSONResponse, Response
from pydantic import BaseModel, ConfigDict, Field

from rfm_assets.errors import KindMissing, RunMissing, SnapshotMissing
from rfm_assets.launching import Launcher, RunStatus
from rfm_assets.serving.api.access import Runs
from rfm_assets.serving.api.answers import Ask
from rfm_assets.serving.api.organizations import OrganizationPath
from rfm_assets.serving.api.problems import Refused, documented
from rfm_assets.serving.api.uploads import keep_scores
from rfm_assets.serving.keys import EVERY_ORGANIZATION
from rfm_assets.serving.settings import FILE, Organization

router = APIRouter(tags=["runs"], responses=documented(401, 403, 404, 422, 429, 503))

LONGEST_WAIT_SECONDS = 600

MOST_ERRORS = 1_000

Wait = Annotated[
    bool,
    Query(description="Answer when it is done, with what was computed, rather than at once."),
]


class RunRequest(BaseModel):
    """What to compute."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"assets": ["customer_segments"]}]}
    )

    assets: list[Annotated[str, Field(pattern=r"^[A-Za-z0-9_/]+\+?$", max_length=200)]] = Field(
        min_length=1,
        max_length=50,
        description="Assets by key; with + behind it, also all that are made from it.",
    )
    as_of: date | None = Field(
        default=None, description="Date to describe; the last finished week where left out."
    )


class Segmented(BaseModel):
    """What became of an uploaded file."""

    success: bool
    total_customers: int
    segmented: int
    errors: list[str]


class Analyzed(BaseModel):
    """What became of an analysis of behaviour."""

    success: bool
    total_customers: int
    analyzed: int
    errors: list[str]


def _accepted(model: type[BaseModel] | None) -> dict[int | str, dict[str, Any]]:
    done: dict[int | str, dict[str, Any]] = {
        202: {"model": RunStatus, "description": "The run has begun; see `Location`."}
    }
    if model is not None:
        done[200] = {"model": model, "description": "With `wait=true`: what was computed."}
    return done


@router.post("/runs", status_code=202, responses=_accepted(None) | documented(400, 409, 413))
def run(request: Request, caller: Runs, wanted: RunRequest) -> Response:
    """Compute assets again."""
    ask = Ask.of(request, caller)
    if caller.organization != EVERY_ORGANIZATION:
        raise Refused(403, "Only a key of every organisation may choose assets.")
    return _status(_launch(ask, wanted.assets, wanted.as_of))


@router.get("/runs/{run_id}")
def run_status(
    request: Request,
    caller: Runs,
    run_id: Annotated[
        str,
        Path(
            description="Id of the run.",
            max_length=100,
            examples=["6f1cf0e8-4b0a-4d0e-8a39-6f0a36f2e1aa"],
        ),
    ],
) -> RunStatus:
    """How far a run is."""
    ask = Ask.of(request, caller)
    status = _launcher(ask).status(run_id)
    if caller.organization != EVERY_ORGANIZATION:
        own = ask.settings.organizations.get(caller.organization, Organization())
        if not set(status.assets) <= {*own.segment_assets, *own.behavior_assets}:
            raise RunMissing(run_id=run_id)  # another's looks like none
    return status


@router.post(
    "/segmentation/organizations/{org_id}/segment",
    status_code=202,
    responses=_accepted(Segmented) | documented(400, 409, 413),
)
def segment(
    request: Request,
    caller: Runs,
    org_id: OrganizationPath,
    file: Annotated[
        UploadFile,
        File(
            description="A CSV `customer_id,churn_score`, with or without that header.",
            examples=["customer_id,churn_score\n17850,0.12\n13047,0.9\n"],
        ),
    ],
    *,
    wait: Wait = False,
) -> Response:
    """Segment an organisation's customers by a CSV `customer_id,churn_score`."""
    ask = Ask.of(request, caller)
    organization = _declared(ask, org_id)
    if organization.churn_scores_file is None or not organization.segment_assets:
        raise Refused(
            409,
            f"{FILE} does not say where churn scores of {org_id} go. Declare `churn_scores_file` "
            "and `segment_assets` of this organisation there.",
        )
    target = FilePath(request.app.state.project, organization.churn_scores_file)
    with _launcher(ask).starting:
        _free(ask, organization.segment_assets)
        keep_scores(file.file, target, largest=ask.settings.largest_upload_mb * 1_000_000)
        status = _launcher(ask).launch(organization.segment_assets)
    if not wait:
        return _status(status)
    ended = _waited(ask, status)
    if not ended.over:
        return _status(ended)
    return _answer(_segmented(ask, org_id, ended), ended)


@router.post(
    "/behavior/organizations/{org_id}/analyze-behaviors",
    status_code=202,
    responses=_accepted(Analyzed) | documented(409, 413),
)
def analyze_behaviors(
    request: Request, caller: Runs, org_id: OrganizationPath, *, wait: Wait = False
) -> Response:
    """Analyse the behaviour of an organisation's customers."""
    ask = Ask.of(request, caller)
    organization = _declared(ask, org_id)
    if not organization.behavior_assets:
        raise Refused(
            409,
            f"{FILE} does not say what analyses behaviour of {org_id}. Declare `behavior_assets` "
            "of this organisation there.",
        )
    status = _launch(ask, organization.behavior_assets, None)
    if not wait:
        return _status(status)
    ended = _waited(ask, status)
    if not ended.over:
        return _status(ended)
    return _answer(_analyzed(ask, org_id, ended), ended)


def _declared(ask: Ask, org_id: str) -> Organization:
    ask.known_organization(org_id)
    return ask.settings.organizations.get(org_id, Organization())


def _free(ask: Ask, assets: Any) -> None:
    going = _launcher(ask).same_running(assets)
    if going is not None:
        raise Refused(
            409,
            f"Run {going.run_id} computes the same assets. Wait until it is over.",
            headers={"Location": f"/api/v1/runs/{going.run_id}", "Retry-After": "5"},
        )


def _launch(ask: Ask, assets: Any, as_of: date | None) -> RunStatus:
    with _launcher(ask).starting:
        _free(ask, assets)
        return _launcher(ask).launch(list(assets), as_of=as_of)


def _launcher(ask: Ask) -> Launcher:
    return ask.request.app.state.launcher


def _waited(ask: Ask, status: RunStatus) -> RunStatus:
    return _launcher(ask).wait(status.run_id, LONGEST_WAIT_SECONDS)


def _status(status: RunStatus) -> Response:
    return JSONResponse(
        status.model_dump(), 202, {"Location": f"/api/v1/runs/{status.run_id}", "Retry-After": "2"}
    )


def _answer(content: BaseModel, status: RunStatus) -> Response:
    return JSONResponse(content.model_dump(), 200, {"Location": f"/api/v1/runs/{status.run_id}"})


def _segmented(ask: Ask, org_id: str, status: RunStatus) -> Segmented:
    if status.state == "failed":
        return Segmented(success=False, total_customers=0, segmented=0, errors=[status.message])
    queries = ask.queries
    queries.catalogue.forget()
    segments = queries.catalogue.one_of_kind("churn_aware_segments", org_id).latest
    errors: list[str] = []
    total = segments.manifest.row_counts["rows"]
    for name in segments.manifest.inputs:
        tables = queries.catalogue.tables()
        if name not in tables or tables[name].kind != "churn_scores":
            continue
        scores = queries.catalogue.snapshot(name, segments.as_of)
        total = scores.manifest.row_counts["rows"] + scores.manifest.row_counts.get("rejects", 0)
        rejects = queries.page(scores, "rejects", sort=[("source_line", False)], limit=MOST_ERRORS)
        errors = [
            f"line {row['source_line']}: {row['customer_id'] or 'no customer'}: {row['reason']}"
            + (f" ({row['churn_score']})" if row["churn_score"] else "")
            for row in rejects.rows
        ]
        if rejects.total > MOST_ERRORS:
            errors.append(f"… and {rejects.total - MOST_ERRORS:,} more; see the part `rejects`.")
    return Segmented(
        success=True,
        total_customers=total,
        segmented=segments.manifest.row_counts["rows"],
        errors=errors,
    )


def _analyzed(ask: Ask, org_id: str, status: RunStatus) -> Analyzed:
    if status.state == "failed":
        return Analyzed(success=False, total_customers=0, analyzed=0, errors=[status.message])
    ask.queries.catalogue.forget()
    try:
        behavior = ask.queries.catalogue.one_of_kind("customer_behavior", org_id).latest
    except (KindMissing, SnapshotMissing) as error:
        return Analyzed(success=False, total_customers=0, analyzed=0, errors=[str(error)])
    excluded = ask.queries.page(behavior, "excluded", limit=MOST_ERRORS)
    rows = behavior.manifest.row_counts["rows"]
    return Analyzed(
        success=True,
        total_customers=rows + excluded.total,
        analyzed=rows,
        errors=[f"{row['customer_id']}: {row['reason']}" for row in excluded.rows],
    )
