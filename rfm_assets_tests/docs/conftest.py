"""Copies of the project in which the commands of the documentation run."""

import fcntl
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from rfm_assets_tests.components import conftest as components
from rfm_assets_tests.docs.pages import ROOT, copy_of_project
from rfm_assets_tests.postgres import EmbeddedPostgres

project = components.project

OWN = ("DAGSTER_HOME", "RFM_STORE_ROOT", "VIRTUAL_ENV")


def shell(folder: Path, script: str, env: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """Run `script` with bash in `folder`; what it exports is in `env` afterwards."""
    kept = folder / ".environment"
    result = subprocess.run(
        ["bash", "-e", "-c", f"{script}\nenv -0 > {kept}"],
        cwd=folder,
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if kept.exists():
        pairs = kept.read_text(encoding="utf-8").rstrip("\0").split("\0")
        env.clear()
        env.update(dict(pair.split("=", 1) for pair in pairs))
    return result


def environment(folder: Path) -> dict[str, str]:
    """A user's environment, in which the copy's own modules come first."""
    plain = {name: value for name, value in os.environ.items() if name not in OWN}
    path = os.pathsep.join([str(folder), str(ROOT)])
    return plain | {"PYTHONPATH": path, "COLUMNS": "100", "NO_COLOR": "1"}


@pytest.fixture(scope="session")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the project after `rfm demo --weeks 2`, its output in `demo.txt`.

    Made once, also where the tests are spread over several processes.
    """
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    folder = shared / "docs-demo"
    with (shared / "docs-demo.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "demo.txt").exists():
            shutil.rmtree(folder, ignore_errors=True)
            copy_of_project(folder)
            script = "source .venv/bin/activate\nrfm demo --weeks 2"
            result = shell(folder, script, environment(folder))
            assert result.returncode == 0, result.stdout
            (folder / "demo.txt").write_text(result.stdout, encoding="utf-8")
    return folder


@pytest.fixture
def after_demo(demo: Path, tmp_path: Path) -> Callable[[], Path]:
    """Makes a copy of the project with the tables of the demo."""

    def make() -> Path:
        folder = copy_of_project(tmp_path / "clone")
        shutil.copytree(demo / "data", folder / "data")
        return folder

    return make


@pytest.fixture
def crm(postgres: EmbeddedPostgres, monkeypatch: pytest.MonkeyPatch) -> EmbeddedPostgres:
    """The database that the pages publish to."""
    monkeypatch.setenv("CRM_DATABASE_URL", postgres.url)
    return postgres
