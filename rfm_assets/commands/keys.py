"""`rfm keys`: the keys that may ask the API. A key is shown once; only its hash is kept."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table as Grid

from rfm_assets.commands.project import Project
from rfm_assets.commands.terminal import err, out, print_json
from rfm_assets.serving.keys import EVERY_ORGANIZATION, SCOPES, KeyRing, Scope
from rfm_assets.serving.settings import load_settings

app = typer.Typer(help="Keys that may ask the API.", no_args_is_help=True)

Json = Annotated[bool, typer.Option("--json", help="Say it as JSON.")]


@app.callback()
def keys() -> None:
    """Keys that may ask the API."""


@app.command()
def create(
    name: Annotated[str, typer.Argument(help="What the key is for, as logs will call it.")],
    scope: Annotated[
        list[str],
        typer.Option(help=f"What it may: {', '.join(SCOPES)}. Repeat it for several."),
    ] = ["segments"],  # noqa: B006 (typer shows it as the default)
    organization: Annotated[
        str, typer.Option(help="Whose customers it may see; * for every organisation.")
    ] = EVERY_ORGANIZATION,
    days: Annotated[int | None, typer.Option(min=1, help="Days until it ends.")] = None,
    project: Project = Path(),
) -> None:
    """Make a key and print it. It cannot be shown again."""
    unknown = [one for one in scope if one not in SCOPES]
    if unknown:
        raise typer.BadParameter(
            f"{unknown[0]!r} is no scope. There are {', '.join(SCOPES)}.", param_hint="--scope"
        )
    scopes: list[Scope] = [one for one in SCOPES if one in scope]
    key = _ring(project).create(
        name,
        scopes=scopes,
        organization=organization,
        expires_at=None if days is None else datetime.now(UTC) + timedelta(days=days),
    )
    err.print("Keep it now; only its hash is stored. Send it as `Authorization: Bearer …`.")
    typer.echo(key)


@app.command(name="list")
def list_keys(project: Project = Path(), *, json_output: Json = False) -> None:
    """Show the keys without what is secret about them."""
    ring = _ring(project)
    found = sorted(ring.keys().values(), key=lambda key: key.created_at) if _exists(ring) else []
    if json_output:
        print_json([{**key.model_dump(mode="json", exclude={"sha256"})} for key in found])
        return
    grid = Grid()
    for header in ("id", "name", "scopes", "organisation", "made", "ends"):
        grid.add_column(header)
    for key in found:
        ends = f"{key.expires_at:%Y-%m-%d}" if key.expires_at else "never"
        scopes = ", ".join(one for one in SCOPES if one in key.scopes)
        grid.add_row(key.id, key.name, scopes, key.organization, f"{key.created_at:%Y-%m-%d}", ends)
    out.print(grid if found else "There is no key yet: `rfm keys create NAME`.")


@app.command()
def revoke(
    key_id: Annotated[str, typer.Argument(help="Id of the key, as `rfm keys list` shows it.")],
    project: Project = Path(),
) -> None:
    """Remove a key; requests with it are refused from now on."""
    if not _ring(project).revoke(key_id):
        raise typer.BadParameter(f"There is no key {key_id!r}. See `rfm keys list`.")
    out.print(f"{key_id} is revoked.")


def _ring(project: Path) -> KeyRing:
    return KeyRing(project / load_settings(project).keys_file)


def _exists(ring: KeyRing) -> bool:
    return ring.file.exists()
