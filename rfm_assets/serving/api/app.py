"""The server: the API under /api, and the dashboard under / where one is given."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from fastapi import APIRouter, FastAPI
from fastapi.responses import RedirectResponse
from fastapi_offline import FastAPIOffline

from rfm_assets.launching import Launcher
from rfm_assets.serving.api import (
    campaigns,
    clusters,
    customers,
    history,
    organizations,
    runs,
    tables,
)
from rfm_assets.serving.api.access import Access, Audit
from rfm_assets.serving.api.documenting import describe, operation_id
from rfm_assets.serving.api.guards import BodiesUpTo, LocalNamesOnly
from rfm_assets.serving.api.problems import add_handlers
from rfm_assets.serving.keys import KeyRing
from rfm_assets.serving.queries import Queries
from rfm_assets.serving.settings import ServingSettings

DESCRIPTION = """Customer segments, campaign lists and what is behind them, as stored.

Every answer says of which snapshot it is (`Snapshot-Id`, `Snapshot-As-Of`) and has an `ETag`. Pages
of rows are tied to one snapshot. Errors are `application/problem+json`. Rows also come as CSV,
NDJSON, Arrow or Parquet, by `Accept`."""

_AROUND_A_FILE_BYTES = 100_000
"""What a form with an upload holds besides the file."""

_LARGEST_BODY_BYTES = 1_000_000


def create_app(
    queries: Queries,
    *,
    project: Path,
    settings: ServingSettings | None = None,
    keys: KeyRing | None = None,
    dashboard: Callable[..., Any] | None = None,
    local: bool = True,
) -> FastAPI:
    """The server of one project.

    Args:
        queries: The store.
        project: Folder of the project: uploads, audit and runs lie below it.
        settings: What `serving.yaml` says.
        keys: The API keys; None leaves the server open, which is for this machine alone.
        dashboard: A WSGI application that is mounted under `/app`.
        local: Whether it answers under this machine's own names only.
    """
    settings = settings or ServingSettings()
    # Its page of the routes has its scripts with it, so that it opens without the internet.
    app = FastAPIOffline(
        docs_url="/api/v1/docs",
        redoc_url=None,
        static_url="/api/v1/docs-files",
        title="rfm_assets",
        version="1",
        description=DESCRIPTION,
        openapi_url="/api/v1/openapi.json",
        redirect_slashes=False,
        generate_unique_id_function=operation_id,
    )
    app.state.queries = queries
    app.state.settings = settings
    app.state.project = project
    app.state.launcher = Launcher(project)
    app.state.access = Access(keys, requests_per_minute=settings.requests_per_minute)
    app.state.audit = Audit(project / settings.audit_file)
    add_handlers(app)
    app.add_middleware(
        BodiesUpTo,
        upload_bytes=settings.largest_upload_mb * 1_000_000 + _AROUND_A_FILE_BYTES,
        other_bytes=_LARGEST_BODY_BYTES,
        uploads=["/segment"],
    )
    if local or keys is None:
        app.add_middleware(LocalNamesOnly)
    v1 = APIRouter(prefix="/api/v1")
    for part in (tables, history, customers, campaigns, organizations, runs):
        v1.include_router(part.router)
    app.include_router(v1)
    app.include_router(clusters.router, prefix="/api/ml")
    describe(app)
    _add_pages(app, with_dashboard=dashboard is not None)
    if dashboard is not None:
        from a2wsgi import WSGIMiddleware

        app.mount("/app", WSGIMiddleware(dashboard))  # type: ignore[arg-type]
    return app


def _add_pages(app: FastAPI, *, with_dashboard: bool) -> None:
    @app.get("/", include_in_schema=False)
    def start() -> RedirectResponse:
        return RedirectResponse("/app/" if with_dashboard else "/api/v1/docs")

    if with_dashboard:

        @app.get("/app", include_in_schema=False)
        def dashboard() -> RedirectResponse:
            return RedirectResponse("/app/")
