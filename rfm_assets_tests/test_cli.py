"""The `rfm` command: what it chooses, and what it says when it cannot go on."""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import pytest

from rfm_assets.store import Store

ROOT = Path(__file__).parents[1]


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A copy of the shipped deployment, with a smaller shop."""
    folder = tmp_path / "project"
    folder.mkdir()
    shutil.copytree(ROOT / "component_defs", folder / "component_defs")
    for name in ("pyproject.toml", "dagster.yaml"):
        shutil.copy(ROOT / name, folder / name)
    return folder


def environment(folder: Path) -> Mapping[str, str]:
    kept = {name: value for name, value in os.environ.items() if name != "DAGSTER_HOME"}
    # Its own component_defs go before the installed ones: the command runs in its folder.
    return kept | {"COLUMNS": "80", "PYTHONPATH": os.pathsep.join([str(folder), str(ROOT)])}


def rfm(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "rfm_assets.cli", *arguments],
        cwd=folder,
        env=environment(folder),
        capture_output=True,
        text=True,
        check=False,
    )


def _number(text: str) -> int:
    return int(text.replace(",", ""))


def edit(folder: Path, component: str, old: str, new: str) -> None:
    path = folder / "component_defs" / component / "defs.yaml"
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), encoding="utf-8")


def test_the_demo_runs_the_projects_own_job_and_shows_its_tables(project: Path) -> None:
    edit(project, "weekly_refresh", "attributes:", "attributes:\n  job_name: every_monday")
    done = rfm(project, "demo", "--weeks", "2")

    assert done.returncode == 0, done.stderr
    assert "2 weekly snapshots, weeks starting" in done.stdout
    assert "Champions" in done.stdout
    assert "Where to look next" in done.stdout
    # Nothing wraps on a terminal of 80 columns: each line begins as it was written.
    shown = done.stdout.split("Where to look next\n")[1].splitlines()
    assert all(line.startswith("  ") for line in shown if line)
    assert len(Store(project / "data" / "store").dates("customer_segments")) == 2

    again = rfm(project, "show")
    assert "Segments as of" in again.stdout
    said = re.search(
        r"suppression_list: ([\d,]+) customers \((.*)\)", " ".join(again.stdout.split())
    )
    assert said is not None, again.stdout
    each = [one.rpartition(" ")[2] for one in said[2].split(", ")]
    assert sum(map(_number, each)) == _number(said[1])


def test_checking_says_what_there_is(project: Path) -> None:
    done = rfm(project, "check")
    assert done.stdout == "No problem: 17 assets; weekly jobs: weekly_refresh.\n"


def test_checking_says_everything_that_is_wrong_at_once(project: Path) -> None:
    edit(project, "champions", "attributes:", "attributes:\n  limt: 3")
    edit(project, "win_back", "attributes:", "attributes:\n  size_limit: many")
    done = rfm(project, "check")

    assert done.returncode == 2
    assert "component_defs/champions/defs.yaml:4 `limt`: is not a key here." in done.stderr
    assert "component_defs/win_back/defs.yaml:4 `size_limit`: 'many' is not allowed." in done.stderr
    assert "Traceback" not in done.stderr


def test_brackets_in_a_message_are_shown(project: Path) -> None:
    edit(project, "champions", "attributes:", "attributes:\n  size_limit: '[bold]many[/bold]'")
    done = rfm(project, "check")
    assert done.returncode == 2
    assert "'[bold]many[/bold]' is not allowed." in done.stderr


def test_several_or_no_weekly_jobs_are_named(project: Path) -> None:
    source = project / "component_defs" / "weekly_refresh"
    shutil.copytree(source, source.with_name("second_refresh"))
    edit(project, "second_refresh", "attributes:", "attributes:\n  job_name: second")
    for path in (project / "component_defs").rglob("defs.yaml"):
        text = path.read_text(encoding="utf-8")
        if "Segment" in text or "List" in text:
            path.write_text(
                text.replace("attributes:", "attributes:\n  refresh: weekly_refresh", 1),
                encoding="utf-8",
            )
    done = rfm(project, "demo", "--job", "weekly")
    assert done.returncode == 2
    assert "weekly_refresh" in done.stderr

    shutil.rmtree(source)
    shutil.rmtree(source.with_name("second_refresh"))
    for path in (project / "component_defs").rglob("defs.yaml"):
        text = path.read_text(encoding="utf-8")
        path.write_text(text.replace("\n  refresh: weekly_refresh", "", 1), encoding="utf-8")
    none = rfm(project, "demo")
    assert none.returncode == 2
    assert "WeeklyRefreshComponent" in none.stderr
    assert "Traceback" not in none.stderr


def test_a_folder_that_is_no_project_is_told(tmp_path: Path) -> None:
    done = rfm(ROOT, "demo", "--project", str(tmp_path))
    assert done.returncode == 2
    # How long the folder's name is decides where the lines of the box end.
    said = " ".join(done.stderr.replace("│", " ").split())
    assert "neither a dg.toml nor a" in said


def test_what_dagster_refuses_is_a_line(tmp_path: Path) -> None:
    shutil.copy(ROOT / "examples" / "online_retail" / "dg.toml", tmp_path / "dg.toml")
    done = rfm(ROOT, "check", "--project", str(tmp_path))
    assert done.returncode == 1
    assert done.stderr.startswith("Dagster: Could not import module `online_retail`")
    assert "Traceback" not in done.stderr


def test_an_interruption_keeps_what_is_published(project: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "rfm_assets.cli", "demo", "--weeks", "60"],
        cwd=project,
        env=environment(project),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    store = Store(project / "data" / "store")
    deadline = time.monotonic() + 120
    while not store.dates("customer_segments") and time.monotonic() < deadline:
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)

    assert process.returncode == 130
    assert "The weeks that were published stay" in said
    published = store.dates("customer_segments")
    assert 0 < len(published) < 60
    assert all(store.snapshot("customer_segments", day).files() for day in published)
