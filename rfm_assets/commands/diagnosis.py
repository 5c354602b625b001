"""What stands between a project and its next run: one line for each thing that is looked at."""

from __future__ import annotations

import os
import platform
import shutil
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from importlib import metadata
from pathlib import Path
from typing import Literal, TypeAlias

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from rfm_assets.commands.project import enter, is_project, load, store_of
from rfm_assets.errors import InvalidProject, InvalidYaml, RfmError
from rfm_assets.serving.keys import KeyRing
from rfm_assets.serving.settings import load_settings
from rfm_assets.store import Store
from rfm_assets.validation import CheckOutcome

State: TypeAlias = Literal["ok", "warning", "problem"]

PACKAGE = "rfm_assets"

LITTLE_SPACE = 1 << 30
TOO_LITTLE_SPACE = 100 << 20

OLD = timedelta(days=14)
"""Age of the newest snapshot from which it is told as late."""


@dataclass(frozen=True)
class Finding:
    """One line: what was looked at, how it is, what was found and what to do."""

    name: str
    state: State
    found: str
    fix: str = ""


def examine(project: Path, *, now: datetime | None = None) -> Iterator[Finding]:
    """Look at everything, the cheap things first; what fails itself is a problem, too."""
    yield _python()
    yield _packages()
    if not is_project(project):
        yield Finding(
            "project",
            "problem",
            f"{project} has neither a dg.toml nor a pyproject.toml",
            "Name the folder of a project with --project, or go there.",
        )
        return
    yield Finding("project", "ok", str(project))
    yield from _home(project)
    yield from _yaml(project)
    for name, look in _IN_PROJECT.items():
        try:
            yield from look(project, now or datetime.now(UTC))
        except RfmError as error:
            yield Finding(name, "problem", str(error))


def _python() -> Finding:
    wanted = SpecifierSet(metadata.metadata(PACKAGE)["Requires-Python"] or "")
    version = platform.python_version()
    if wanted.contains(version, prereleases=True):
        return Finding("python", "ok", version)
    return Finding(
        "python",
        "problem",
        f"{version} is not in {wanted}",
        "Make an environment with one that is.",
    )


def _packages() -> Finding:
    wrong: list[str] = []
    wanted = [Requirement(text) for text in metadata.requires(PACKAGE) or ()]
    needed = [one for one in wanted if one.marker is None or one.marker.evaluate({"extra": ""})]
    for one in needed:
        try:
            version = metadata.version(one.name)
        except metadata.PackageNotFoundError:
            wrong.append(f"{one.name} is not installed")
            continue
        if not one.specifier.contains(version, prereleases=True):
            wrong.append(f"{one.name} {version} is not in {one.specifier}")
    if wrong:
        fix = f"Run `pip install --upgrade {PACKAGE}` in this environment."
        return Finding("packages", "warning", "; ".join(wrong), fix)
    return Finding("packages", "ok", f"{len(needed)} in their tested ranges")


def _home(project: Path) -> Iterator[Finding]:
    given = os.environ.get("DAGSTER_HOME")
    home = Path(given).expanduser() if given else project
    if given and not home.is_dir():
        yield Finding(
            "DAGSTER_HOME",
            "problem",
            f"{given} is no folder",
            "Make it, or name another in the environment variable.",
        )
    elif not (home / "dagster.yaml").is_file():
        yield Finding(
            "DAGSTER_HOME",
            "warning",
            f"{home} has no dagster.yaml, so that Dagster keeps runs by its defaults"
            if given
            else "it is not set, and the project has no dagster.yaml: runs are forgotten",
            "Copy the dagster.yaml of this package's repository to the project.",
        )
    else:
        yield Finding("DAGSTER_HOME", "ok", f"{home / 'dagster.yaml'}")


def _yaml(project: Path) -> Iterator[Finding]:
    """Every problem of every YAML file."""
    from dagster import DagsterError

    before, home = Path.cwd(), os.environ.get("DAGSTER_HOME")
    try:
        enter(project)
        definitions = load()
        definitions.get_repository_def()
        assets = len(definitions.resolve_all_asset_specs())
        yield Finding("YAML", "ok", f"{assets} assets")
    except InvalidProject as error:
        for one in error.invalid:
            yield from _invalid(one)
    except (RfmError, DagsterError) as error:
        yield Finding("YAML", "problem", str(error).strip())
    finally:
        os.chdir(before)
        if home is None:
            os.environ.pop("DAGSTER_HOME", None)


def _invalid(error: InvalidYaml) -> Iterator[Finding]:
    for line, key, message in error.problems:
        place = error.file if line is None else f"{error.file}:{line}"
        yield Finding("YAML", "problem", f"{place} {f'`{key}`: ' if key else ''}{message}".strip())


def _settings(project: Path, _: datetime) -> Iterator[Finding]:
    try:
        load_settings(project)
    except InvalidYaml as error:
        yield from _invalid(error)
        return
    yield Finding("serving.yaml", "ok", "as it should be, or not there")


def _store(project: Path, _: datetime) -> Iterator[Finding]:
    store = store_of(project)
    tables = store.tables()
    if "://" in str(store.root):
        yield Finding("store", "ok", f"{store.root}: {len(tables)} tables")
        return
    root = Path(str(store.root))
    place = next(one for one in (root, *root.parents) if one.exists())
    if not os.access(place, os.W_OK | os.X_OK):
        yield Finding(
            "store", "problem", f"{place} cannot be written", "Let this user write there."
        )
        return
    free = shutil.disk_usage(place).free
    told = f"{root}: {len(tables)} tables, {free / (1 << 30):,.1f} GiB free"
    if free < LITTLE_SPACE:
        state: State = "problem" if free < TOO_LITTLE_SPACE else "warning"
        yield Finding("store", state, told, "Free some space, or move the store.")
    else:
        yield Finding("store", "ok", told)


def _newest(project: Path, now: datetime) -> Iterator[Finding]:
    store = store_of(project)
    dated = [(days[-1], name) for name in store.tables() if (days := store.dates(name))]
    if not dated:
        yield Finding(
            "newest snapshot",
            "warning",
            "no table has one",
            "Run the weekly job, or `rfm demo`.",
        )
        return
    day, name = max(dated)
    made = store.snapshot(name, day).manifest.created_at
    age = None if made is None else now - made
    told = f"as of {day}, made {age.days if age else '?'} days ago"
    late = age is not None and age > OLD
    fix = "See whether the schedule runs: `dg dev`, under Automation; `rfm plan` says what is due."
    yield Finding("newest snapshot", "warning" if late else "ok", told, fix if late else "")


def _checks(project: Path, _: datetime) -> Iterator[Finding]:
    """Failed checks of the newest snapshot of each table."""
    store, failed = store_of(project), 0
    for name in store.tables():
        for one in _latest(store, name):
            failed += 1
            yield Finding("checks", "warning", f"{name}: {one.name}: {one.observed}", one.next_step)
    if not failed:
        yield Finding("checks", "ok", "none failed in the newest snapshots")


def _latest(store: Store, name: str) -> list[CheckOutcome]:
    days = store.dates(name)
    manifest = store.snapshot(name, days[-1] if days else None).manifest
    return [one for one in manifest.checks if not one.passed]


def _keys(project: Path, _: datetime) -> Iterator[Finding]:
    file = project / load_settings(project).keys_file
    if not file.exists():
        yield Finding("API keys", "ok", "none: `rfm serve` answers this machine alone")
        return
    number = len(KeyRing(file).keys())
    others = stat.S_IMODE(file.stat().st_mode) & 0o077
    if others:
        yield Finding(
            "API keys", "problem", f"{file} can be read by others", f"Run `chmod 600 {file}`."
        )
    else:
        yield Finding("API keys", "ok", f"{number} in {file}, which others cannot read")


_IN_PROJECT: dict[str, Callable[[Path, datetime], Iterator[Finding]]] = {
    "serving.yaml": _settings,
    "store": _store,
    "newest snapshot": _newest,
    "checks": _checks,
    "API keys": _keys,
}
