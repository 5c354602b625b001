"""`rfm erase`: customers taken out of everything that is stored, and looked for afterwards."""

from __future__ import annotations

import sys
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rfm_assets.commands.asking import Json
from rfm_assets.commands.project import Project, StoreRoot, chosen_store, declared, is_project
from rfm_assets.commands.terminal import err, out, print_json, show_rows

if TYPE_CHECKING:
    from rfm_assets.erasing import Erasure

_PUBLISHES = "PublishToPostgresComponent"


def erase(
    customers: Annotated[
        list[str] | None, typer.Argument(help="Ids of customers, in any spelling.")
    ] = None,
    from_file: Annotated[
        Path | None, typer.Option(help="Further ids, one on each line.", dir_okay=False)
    ] = None,
    store: StoreRoot = None,
    project: Project = Path(),
    *,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would go.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask at a terminal.")] = False,
    json_output: Json = False,
) -> None:
    """Erase customers from every stored table, keep them out, and prove that nothing is left."""
    from rfm_assets.erased import KEY_VARIABLE
    from rfm_assets.erasing import erase as erase_from

    ids = [*(customers or ()), *_listed(from_file)]
    if not any(one.strip() for one in ids):
        raise typer.BadParameter("Name customers, or a file of ids with --from-file.")
    opened = chosen_store(store, project)
    if not dry_run and not yes and sys.stdin.isatty():
        # Scripts have said what they want; a person may have meant --dry-run.
        names = f"{len(ids):,} customers" if len(ids) > 1 else "one customer"
        question = f"Erase {names} from every snapshot below {opened.root}? It cannot be undone."
        typer.confirm(question, abort=True)
    whole = store is None and is_project(project)
    done = erase_from(
        opened,
        ids,
        today=datetime.now(UTC).date(),
        key_variable=str((whole and declared(project, "erasure_key_variable")) or KEY_VARIABLE),
        project=project.resolve() if whole else None,
        dry_run=dry_run,
    )
    if whole:
        done.elsewhere += _beyond(project)
    if json_output:
        print_json(asdict(done) | {"dry_run": dry_run})
    else:
        _show(done, dry_run=dry_run)
    if done.left:
        raise typer.Exit(1)


def _listed(file: Path | None) -> list[str]:
    if file is None:
        return []
    try:
        text = file.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise typer.BadParameter(f"{file}: {error.strerror}", param_hint="--from-file") from error
    except UnicodeError as error:
        raise typer.BadParameter(
            f"{file}: not in UTF-8. Save it as UTF-8.", param_hint="--from-file"
        ) from error
    return [line.strip() for line in text.splitlines() if line.strip()]


def _beyond(project: Path) -> list[str]:
    """Copies that a project hands out, which nothing here can reach."""
    told = [
        "The sources may still have them: a weekly run drops their rows as `erased`, and stores none."
    ]
    if (project / "data" / "exports").is_dir():
        told.append(
            "Files below data/exports were handed out, and the ledger there knows what a destination "
            "has: export and `rfm send` the lists again, which takes them away there."
        )
    if any(_PUBLISHES in file.read_text("utf-8") for file in project.glob("*/**/defs.yaml")):
        told.append(
            "Postgres still has them: materialise the assets of the PublishToPostgresComponent "
            "again for every week that it holds; publishing replaces the rows."
        )
    return told


def _show(done: Erasure, *, dry_run: bool) -> None:
    verb = "Would be removed" if dry_run else "Removed"
    rows = [
        {
            "table": one.table,
            "as_of": str(one.as_of or "all"),
            "version": one.version,
            "part": one.part,
            "rows": one.rows,
            "mentions": one.texts,
        }
        for one in done.removed
    ]
    if rows:
        show_rows(verb, list(rows), list(rows[0]))
    for file, places in done.files.items():
        out.print(f"{verb}: {places} places in {file}", soft_wrap=True)
    if not rows and not done.files:
        out.print("Nothing stored names them.")
    for sentence in done.elsewhere:
        out.print(sentence, soft_wrap=True)
    if dry_run:
        return
    if done.left:
        for place in done.left:
            err.print(f"Left: {place}")
        err.print("Run it again once no run is writing, or remove these by hand.")
        return
    out.print(
        f"{done.customers} customers erased. {done.searched} files were searched afterwards: "
        "nothing is left. They are kept out by keyed hashes from now on."
    )
