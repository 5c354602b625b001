"""`rfm report`: one snapshot of segments as a single HTML file."""

from pathlib import Path
from typing import Annotated

import typer

from rfm_assets.commands.project import Project, is_project, store_of
from rfm_assets.commands.terminal import out

FOLDER = Path("data", "reports")
"""Where reports of a project go, as the ReportComponent has it."""


def report(
    as_of: Annotated[
        str | None, typer.Option(help="Date of the snapshot, such as 2025-01-06; else the latest.")
    ] = None,
    table: Annotated[
        str | None, typer.Option(help="Table of segments, where the store has several.")
    ] = None,
    store: Annotated[
        str | None, typer.Option(help="Root of the store; by default the project's.")
    ] = None,
    project: Project = Path(),
    to: Annotated[
        Path | None,
        typer.Option(help="File to write; by default `data/reports/<table>_<as_of>.html`."),
    ] = None,
) -> None:
    """Write a report of the segments as one HTML file."""
    with out.status("Writing the report …"):
        from rfm_assets.serving.queries import Queries
        from rfm_assets.serving.report import write_report
        from rfm_assets.serving.report_contents import SEGMENTS
        from rfm_assets.serving.settings import load_settings
        from rfm_assets.store import Store

        if store is None and not is_project(project):
            raise typer.BadParameter(
                f"{project.resolve()} is no project. Name one, or a --store.",
                param_hint="--project",
            )
        settings = load_settings(project)
        queries = Queries(
            Store(store) if store is not None else store_of(project.resolve()),
            organization=settings.organization,
            memory_limit=settings.memory_limit,
        )
        name = table or queries.catalogue.one_of_kind(SEGMENTS).name
        snapshot = queries.resolve(name, as_of)
        file = f"{snapshot.table}_{snapshot.as_of}.html"
        target = to or (project / FOLDER / file if is_project(project) else Path(file))
        if target.is_dir():
            target /= file
        write_report(queries, snapshot, target, settings=settings)
        queries.close()
    size = target.stat().st_size / 1e6
    out.print(f"{target} ({size:.1f} MB)", soft_wrap=True)
