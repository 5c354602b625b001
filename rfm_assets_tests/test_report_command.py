"""`rfm report`: which snapshot it takes, where the file goes, and what it says."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from rfm_assets.library import load_scheme
from rfm_assets_tests.serving.test_report import WEEKS, Reported

ROOT = Path(__file__).parents[1]
LATEST = f"customer_segments_{WEEKS[-1]}.html"


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Reported:
    made = Reported(tmp_path_factory.mktemp("project") / "data" / "store", load_scheme("rfm_10"))
    made.fill(weeks=WEEKS[-2:], others=False)
    return made


@pytest.fixture
def project(stored: Reported) -> Path:
    """A project whose store has two weeks."""
    folder = Path(str(stored.store.root)).parents[1]
    (folder / "dg.toml").write_text("", encoding="utf-8")
    return folder


def rfm(folder: Path, *words: object) -> subprocess.CompletedProcess[str]:
    kept = {name: value for name, value in os.environ.items() if name != "RFM_STORE_ROOT"}
    return subprocess.run(
        [sys.executable, "-m", "rfm_assets.cli", "report", *map(str, words)],
        cwd=folder,
        env=kept | {"COLUMNS": "80", "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_latest_snapshot_of_a_project_goes_to_its_reports(project: Path) -> None:
    done = rfm(project)

    assert done.returncode == 0, done.stderr
    file = Path("data", "reports", LATEST)
    size = (project / file).stat().st_size / 1e6
    assert done.stdout == f"{file} ({size:.1f} MB)\n"
    assert "as of 1 January 2025" in (project / file).read_text("utf-8")


def test_a_store_a_date_and_a_file_can_be_named(project: Path, tmp_path: Path) -> None:
    store, target = project / "data" / "store", tmp_path / "deep" / "mine.html"

    done = rfm(tmp_path, "--store", store, "--as-of", WEEKS[-2], "--to", target)

    assert done.returncode == 0, done.stderr
    assert "as of 25 December 2024" in target.read_text("utf-8")


def test_into_a_folder_and_beside_no_project_it_goes_by_its_own_name(
    project: Path, tmp_path: Path
) -> None:
    (tmp_path / "folder").mkdir()
    store = project / "data" / "store"

    rfm(tmp_path, "--store", store, "--table", "customer_segments", "--to", "folder")
    rfm(tmp_path, "--store", store)

    assert [path.name for path in (tmp_path / "folder").iterdir()] == [LATEST]
    assert (tmp_path / LATEST).is_file()


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--project", "."], "is no project"),
        (["--store", "nothing"], "KindMissing No table of the kind customer_segments"),
        (["--as-of", "2020-01-01"], "SnapshotMissing customer_segments"),
        (["--as-of", "yesterday"], "InvalidAsOf"),
        (["--table", "customer_segmnets"], "Did you mean 'customer_segments'?"),
    ],
)
def test_what_is_not_there_is_said(
    project: Path, tmp_path: Path, words: list[str], told: str
) -> None:
    named = words[0] in {"--project", "--store"}
    done = rfm(tmp_path, *words, *([] if named else ["--project", project]))

    assert done.returncode == 2
    assert told in " ".join(done.stderr.replace("│", " ").split())
    assert "Traceback" not in done.stderr
    assert not list(tmp_path.rglob("*.html"))
