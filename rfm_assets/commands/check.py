"""`rfm check` and `rfm doctor`: what is wrong with a project's YAML, and with what surrounds it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.style import Style
from rich.table import Table as Grid
from rich.text import Text

from rfm_assets.commands.project import Project, enter, load, told_in_a_line, weekly_jobs
from rfm_assets.commands.terminal import err, out, print_json
from rfm_assets.errors import InvalidProject

if TYPE_CHECKING:
    from rfm_assets.domain.schemes import Scheme

Json = Annotated[bool, typer.Option("--json", help="Say it as one JSON document.")]

_COLORS = {"ok": "green", "warning": "yellow", "problem": "red"}


def check(
    scheme: Annotated[
        str | None,
        typer.Argument(help="With --cells: the scheme, rfm_10 by default, or the path of a file."),
    ] = None,
    project: Project = Path(),
    *,
    cells: Annotated[
        bool, typer.Option("--cells", help="Show which segment each cell of a scheme gets.")
    ] = False,
    json_output: Json = False,
) -> None:
    """Check every YAML file of a project, and say all that is wrong, with file and line."""
    if cells:
        _cells(scheme or "rfm_10", json_output=json_output)
        return
    if scheme is not None:
        raise typer.BadParameter("A scheme is named together with --cells.", param_hint="SCHEME")
    enter(project)
    try:
        with err.status("Checking …"), told_in_a_line():
            definitions = load()
            # Resolving is what Dagster does when it serves them: jobs, schedules, checks, resources.
            definitions.get_repository_def()
            specs = definitions.resolve_all_asset_specs()
    except InvalidProject as error:
        if not json_output:
            raise
        print_json({"ok": False, "problems": _problems(error)})
        raise typer.Exit(2) from None
    made = [spec for spec in specs if "dagster/auto_created_stub_asset" not in spec.metadata]
    jobs = weekly_jobs(definitions)
    if json_output:
        assets = sorted(spec.key.to_user_string() for spec in made)
        print_json({"ok": True, "problems": [], "assets": assets, "weekly_jobs": jobs})
        return
    out.print(f"No problem: {len(made)} assets; weekly jobs: {', '.join(jobs) or 'none'}.")


def _problems(error: InvalidProject) -> list[dict[str, Any]]:
    return [
        {"file": one.file, "line": line, "key": key, "message": message}
        for one in error.invalid
        for line, key, message in one.problems
    ]


def _cells(name: str, *, json_output: bool) -> None:
    """A grid of recency by frequency for each monetary score."""
    from rfm_assets.library import load_scheme

    scheme = load_scheme(name, folder=Path.cwd(), key="SCHEME")
    found = {
        cell: None if segment is None else segment.name
        for cell, segment in scheme.cells(scale=scheme.scale)
    }
    if json_output:
        named = {"".join(map(str, cell)): segment for cell, segment in found.items()}
        print_json({"scheme": scheme.reference, "scale": scheme.scale, "cells": named})
        return
    codes = _codes(scheme)
    out.print(f"Scheme {scheme.reference}: R_score downwards, F_score to the right")
    for monetary in range(scheme.scale, 0, -1):
        grid = Grid(title=f"M_score {monetary}", title_justify="left", show_lines=False)
        grid.add_column("R \\ F", justify="right")
        for frequency in range(1, scheme.scale + 1):
            grid.add_column(str(frequency), justify="center")
        for recency in range(scheme.scale, 0, -1):
            row = [found[recency, frequency, monetary] for frequency in range(1, scheme.scale + 1)]
            grid.add_row(str(recency), *(codes.get(one or "", Text("--")) for one in row))
        out.print(grid)
    sizes = [(sum(1 for one in found.values() if one == name), name) for name in scheme.names]
    for size, segment in sizes:
        out.print(codes[segment], f" {segment}: {size} of {len(found)} cells")


def _codes(scheme: Scheme) -> dict[str, Text]:
    """Two letters on its colour for each segment, different from each other's."""
    codes: dict[str, Text] = {}
    for segment in scheme.segments:
        words = segment.name.split()
        letters = [word[0] for word in words] if len(words) > 1 else list(segment.name)
        tries = ["".join(letters[:2]).title(), segment.name[:2], *map(str, range(10, 100))]
        taken = {text.plain.strip() for text in codes.values()}
        code = next(one for one in tries if one not in taken)
        codes[segment.name] = Text(f" {code} ", _style(segment.color))
    return codes


def _style(color: str) -> Style:
    red, green, blue = (int(color[at : at + 2], 16) for at in (1, 3, 5))
    light = 299 * red + 587 * green + 114 * blue > 140_000  # noqa: PLR2004  as the eye weighs them
    return Style(color="black" if light else "white", bgcolor=color)


def doctor(
    project: Project = Path(),
    *,
    json_output: Json = False,
) -> None:
    """Look at everything that a run needs: versions, YAML, Dagster, store, checks, keys."""
    from rfm_assets.commands.diagnosis import examine

    with err.status("Looking …"):
        findings = list(examine(project.resolve()))
    worst = [one.state for one in findings]
    if json_output:
        print_json({"ok": "problem" not in worst, "findings": [vars(one) for one in findings]})
    else:
        for one in findings:
            out.print(
                Text(f"{one.state:8}", _COLORS[one.state]),
                f"{one.name}: {one.found}",
                soft_wrap=True,
            )
            if one.fix:
                out.print(f"         {one.fix}", soft_wrap=True)
    if "problem" in worst:
        raise typer.Exit(1)
