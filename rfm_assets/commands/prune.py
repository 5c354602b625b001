"""`rfm prune`: snapshots past their time, removed as the deployment's retention says."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rfm_assets.commands.asking import Json
from rfm_assets.commands.project import Project, StoreRoot, chosen_store, declared
from rfm_assets.commands.terminal import out, print_json


def prune(
    store: StoreRoot = None,
    project: Project = Path(),
    *,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would go.")] = False,
    json_output: Json = False,
) -> None:
    """Remove snapshots that the `retention` of the DeploymentComponent does not keep."""
    from pydantic import ValidationError

    from rfm_assets.retention import RetentionPolicy
    from rfm_assets.retention import prune as prune_store

    said = declared(project, "retention")
    if said is None:
        raise typer.BadParameter(
            "The project says nothing of retention, so that every snapshot is kept. Add it to the "
            "DeploymentComponent: `retention: {weeks: 104, then: monthly, for_months: 36}`.",
            param_hint="--project",
        )
    try:
        policy = RetentionPolicy.model_validate(said)
    except ValidationError as error:
        raise typer.BadParameter(f"retention: {error.errors()[0]['msg']}") from error
    opened = chosen_store(store, project)
    done = prune_store(opened, policy, dry_run=dry_run)
    if json_output:
        print_json({"dry_run": dry_run, "pruned": [vars(one) for one in done]})
        return
    for one in done:
        told = f"Would go: {one.table} as of {one.as_of}" if dry_run else one.sentence()
        out.print(told, soft_wrap=True)
    if not done:
        out.print("Every snapshot is within its time, or explains one that is.")
