"""`rfm serve`: dashboard and API over the stored snapshots, or over those published to Postgres."""

import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rfm_assets.commands.project import Project, is_project, store_of
from rfm_assets.commands.terminal import err, out

if TYPE_CHECKING:
    from rfm_assets.serving.settings import PublishedTables, ServingSettings
    from rfm_assets.store import Store

PORT = 8050

LOCAL = frozenset({"127.0.0.1", "localhost", "::1"})


def serve(  # noqa: PLR0917  a file and options
    file: Annotated[
        Path | None,
        typer.Argument(
            help="A file of clustered customers to open instead of a store: CustomerID, Recency, "
            "Frequency, Monetary, Cluster."
        ),
    ] = None,
    host: Annotated[
        str, typer.Option(help="Address to listen on; any but this machine's needs keys.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65_535, help="Port to listen on.")] = PORT,
    store: Annotated[
        str | None, typer.Option(help="Root of the store; by default the project's.")
    ] = None,
    postgres: Annotated[
        str | None,
        typer.Option(
            metavar="VARIABLE",
            help="Environment variable with the URL of a database to which tables are published: "
            "they are served instead of a store.",
        ),
    ] = None,
    schema: Annotated[
        str | None, typer.Option(help="Schema that they are published to; by default rfm.")
    ] = None,
    project: Project = Path(),
    threads: Annotated[
        int | None, typer.Option(min=1, help="Threads of the engine; one for each core.")
    ] = None,
    *,
    api_only: Annotated[bool, typer.Option("--api-only", help="Without the dashboard.")] = False,
) -> None:
    """Open the dashboard and the API."""
    if threads is not None:
        # polars reads it once, when it is first imported.
        os.environ.setdefault("POLARS_MAX_THREADS", str(threads))
    import uvicorn

    from rfm_assets.serving.api.app import create_app
    from rfm_assets.serving.keys import KeyRing
    from rfm_assets.serving.queries import Queries
    from rfm_assets.serving.settings import load_settings

    project = project.resolve()
    settings = load_settings(project)
    ring = KeyRing(project / settings.keys_file)
    keyed = ring.file.exists() and bool(ring.keys())
    if host not in LOCAL and not keyed:
        raise typer.BadParameter(
            "Without keys the API answers everybody, so it listens to this machine alone. Make one "
            "first: `rfm keys create NAME --scope segments`.",
            param_hint="--host",
        )
    if sum(one is not None for one in (file, store, postgres)) > 1:
        raise typer.BadParameter("Name one of a file, a --store and --postgres.")
    published = None if file or store else _published(settings, postgres, schema)
    if schema is not None and published is None:
        raise typer.BadParameter(
            "Name the variable with the database's URL, too: --postgres CRM_DATABASE_URL.",
            param_hint="--schema",
        )
    opened = _opened(project, file, store, published)
    queries = Queries(
        opened,
        organization=settings.organization,
        owners=settings.owners(),
        memory_limit=settings.memory_limit,
        threads=threads,
    )
    if not queries.catalogue.tables():
        err.print(f"Nothing is stored below {opened.place} yet; pages stay empty until it is.")
    dashboard = None
    if not api_only and host in LOCAL:
        # It has no log-in of its own, and so is for this machine, or behind a proxy that has one.
        from rfm_assets.serving.dashboard.app import create_dashboard

        dashboard = create_dashboard(queries, settings=settings, prefix="/app/").server
    app = create_app(
        queries,
        project=project,
        settings=settings,
        keys=ring if keyed else None,
        dashboard=dashboard,
        local=host in LOCAL,
    )
    shown = f"http://{'localhost' if host in LOCAL else host}:{port}"
    out.print(f"{shown}/ {'' if dashboard is None else '(dashboard) '}and {shown}/api/v1/docs")
    uvicorn.run(
        app,
        host=host,
        port=port,
        log_level="warning",
        access_log=False,
        # Longer than clients keep a connection: one that closes as it is used again is an error there.
        timeout_keep_alive=75,
    )


def _published(
    settings: "ServingSettings", variable: str | None, schema: str | None
) -> "PublishedTables | None":
    """The Postgres schema to serve from, if that is wanted: what is given here, then what is set."""
    from pydantic import ValidationError

    from rfm_assets.serving.settings import PublishedTables

    given = {"url_env": variable, "schema_name": schema}
    given = {name: value for name, value in given.items() if value is not None}
    before = settings.published.model_dump() if settings.published else {}
    if variable is None and not before:
        return None
    try:
        return PublishedTables.model_validate(before | given)
    except ValidationError as error:
        told = "; ".join(one["msg"].removeprefix("Value error, ") for one in error.errors())
        raise typer.BadParameter(told, param_hint="--postgres and --schema") from None


def _opened(
    project: Path, file: Path | None, root: str | None, published: "PublishedTables | None"
) -> "Store":
    """What is to be served."""
    from rfm_assets.store import Store

    if file is not None:
        from rfm_assets.serving.plain_file import store_of_file

        return store_of_file(file)
    if root is not None:
        return Store(root)
    if published is not None:
        from rfm_assets.database_url import Server
        from rfm_assets.postgres.mirror import PublishedStore

        # What was fetched is removed at the end, which has to come for that.
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
        folder = published.cache_folder
        return PublishedStore(
            Server.named(published.url_env),
            published.schema_name,
            cache_folder=None if folder is None else project / folder,
            most_bytes=published.cache_mb << 20,
        )
    if not is_project(project):
        raise typer.BadParameter(
            f"{project} is no project. Name one, a --store, --postgres, or a file of customers.",
            param_hint="--project",
        )
    return store_of(project)
