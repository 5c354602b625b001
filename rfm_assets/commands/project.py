"""A deployment's folder, as the commands use it: where it is, what it defines, where its store is."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
import yaml

from rfm_assets.commands.terminal import err, red
from rfm_assets.loading import DEFAULT_ROOT, ROOT_VARIABLE
from rfm_assets.store import Store

if TYPE_CHECKING:
    import dagster as dg

Project = Annotated[
    Path, typer.Option(help="Folder of the deployment: the one with its dg.toml or pyproject.")
]

StoreRoot = Annotated[
    str | None, typer.Option("--store", help="Root of the store; by default the project's.")
]

_DEPLOYMENT = "DeploymentComponent"


def enter(project: Path) -> None:
    """Run from the project's folder, as Dagster's own commands do.

    Its modules need no installation there, and Dagster keeps its runs there unless the user has
    a home of their own.
    """
    if not project.is_dir():
        raise typer.BadParameter(f"There is no folder {project}.", param_hint="--project")
    if not is_project(project):
        raise typer.BadParameter(
            f"{project.resolve()} has neither a dg.toml nor a pyproject.toml. Name the folder of "
            "a project, or go there.",
            param_hint="--project",
        )
    os.chdir(project)
    sys.path.insert(0, str(Path.cwd()))
    if "DAGSTER_HOME" not in os.environ and Path("dagster.yaml").is_file():
        os.environ["DAGSTER_HOME"] = str(Path.cwd())


def is_project(folder: Path) -> bool:
    """Whether a folder holds a deployment."""
    return any((folder / name).is_file() for name in ("dg.toml", "pyproject.toml"))


def load() -> "dg.Definitions":
    """What the project in the working directory defines."""
    from rfm_assets.definitions import load_project

    return load_project(Path.cwd())


def weekly_jobs(definitions: "dg.Definitions") -> list[str]:
    """The jobs whose assets have weeks, by name."""
    from dagster import JobDefinition, TimeWindowPartitionsDefinition

    resolved = (definitions.resolve_job_def(one.name) for one in definitions.jobs or ())
    return sorted(
        one.name
        for one in resolved
        if isinstance(one, JobDefinition)
        and isinstance(one.partitions_def, TimeWindowPartitionsDefinition)
    )


def weekly_job(definitions: "dg.Definitions", name: str | None) -> "dg.JobDefinition":
    """The job over weeks of that name, or the only one."""
    names = weekly_jobs(definitions)
    if name is None and len(names) == 1:
        (name,) = names
    if name not in names:
        listed = ", ".join(names)
        reason = (
            "This project has no job over weeks. Add a WeeklyRefreshComponent: `dg scaffold defs "
            "rfm_assets.components.WeeklyRefreshComponent weekly_refresh`."
            if not names
            else f"The weekly jobs are {listed}. Choose one of them."
        )
        raise typer.BadParameter(reason, param_hint="--job")
    return definitions.resolve_job_def(name)


@contextmanager
def told_in_a_line() -> Iterator[None]:
    """End with what Dagster says rather than with where it was when it said so."""
    from dagster import DagsterError

    try:
        yield
    except DagsterError as error:
        causes = [str(error)]
        while (cause := error.__cause__) is not None:
            causes.append(str(cause))
            error = cause
        err.print(red("Dagster:"), " ".join(dict.fromkeys(causes)))
        raise typer.Exit(1) from None


def store_of(project: Path) -> Store:
    """The store of a project, without loading all that the project defines.

    RFM_STORE_ROOT goes first, then the project's DeploymentComponent, then `data/store`.
    """
    root = (
        os.environ.get(ROOT_VARIABLE)
        or _as_text(declared(project, "store_root"))
        or DEFAULT_ROOT.as_posix()
    )
    return Store(root if "://" in root else project / root)


def chosen_store(store: str | None, project: Path) -> Store:
    """The store that a command names, or that of its project."""
    if store is not None:
        return Store(store)
    if not is_project(project):
        raise typer.BadParameter(
            f"{project.resolve()} is no project. Name one, or a --store.", param_hint="--project"
        )
    return store_of(project.resolve())


def _as_text(value: object) -> str | None:
    return None if value is None else str(value)


def declared(project: Path, key: str) -> object:
    """One key as the YAML of the DeploymentComponent has it."""
    for file in sorted(project.glob("*/**/defs.yaml")):
        text = file.read_text(encoding="utf-8")
        if _DEPLOYMENT not in text:
            continue
        for document in yaml.safe_load_all(text):
            if not isinstance(document, dict):
                continue
            if str(document.get("type", "")).endswith(f".{_DEPLOYMENT}"):
                return (document.get("attributes") or {}).get(key)
    return None
