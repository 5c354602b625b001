"""`rfm versions`: the kept versions of one snapshot, and what the newest says differently."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rfm_assets.commands.asking import AsOf, Json, asking
from rfm_assets.commands.project import Project, StoreRoot, chosen_store
from rfm_assets.commands.terminal import out, print_json, show_rows

if TYPE_CHECKING:
    from rfm_assets.domain.changes import Change
    from rfm_assets.serving.queries import Queries
    from rfm_assets.store import Snapshot


def versions(
    table: Annotated[str, typer.Argument(help="Name of the table in the store.")],
    as_of: AsOf = None,
    store: StoreRoot = None,
    project: Project = Path(),
    *,
    json_output: Json = False,
) -> None:
    """Show the kept versions of a snapshot, newest first, and what the newest changed."""
    with asking(chosen_store(store, project)) as queries:
        current = queries.resolve(table, as_of)
        kept = queries.catalogue.store.kept(table, current.as_of)
        change = _change(queries, kept)
        rows = [_told(one, current=one.version == kept[0].version) for one in kept]
        if json_output:
            told = {"table": table, "as_of": current.as_of, "versions": rows, "change": change}
            print_json(told)
            return
        title = f"{table} as of {current.as_of or 'all dates'}"
        show_rows(title, list(rows), ["version", "created_at", "run_id", "config_hash", "rows"])
        if change is None:
            out.print("It was computed once, or what it replaced is not known any more.")
            return
        out.print(f"What the newest says differently from {kept[0].manifest.supersedes}:")
        for name, value in change.items():
            out.print(f"  {name.replace('_', ' ')}: {value:,}")


def _change(queries: Queries, kept: list[Snapshot]) -> Change | None:
    """Computed where both versions are there, otherwise as the newest noted it."""
    from rfm_assets.publishing import change_since

    newest = kept[0]
    before = next((one for one in kept if one.version == newest.manifest.supersedes), None)
    noted = newest.manifest.change
    if noted is not None or before is None:
        return noted
    return change_since(queries.engine, before, newest)


def _told(snapshot: Snapshot, *, current: bool) -> dict[str, Any]:
    manifest = snapshot.manifest
    return {
        "version": snapshot.version,
        "current": current,
        "created_at": f"{manifest.created_at:%Y-%m-%d %H:%M:%S} UTC" if manifest.created_at else "",
        "run_id": manifest.run_id,
        "config_hash": manifest.config_hash,
        "rows": manifest.row_counts.get("rows", 0),
        "erased": manifest.erased,
        "supersedes": manifest.supersedes,
    }
