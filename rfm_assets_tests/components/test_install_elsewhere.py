"""Another Dagster project that has the package installed finds its components and uses them."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import rfm_assets.components

COMPONENTS = dir(rfm_assets.components)

# Each command imports everything again; test_scaffolding.py goes through all of them.
SCAFFOLDED = ["TransactionDataComponent", "CustomerSegmentationComponent", "WeeklyRefreshComponent"]


@pytest.fixture
def dg(tmp_path):
    """Runs `dg` in a project of another company, which knows nothing of this one's folder."""
    root = tmp_path / "acme"
    (root / "acme" / "defs").mkdir(parents=True)
    for module in ("acme/__init__.py", "acme/defs/__init__.py"):
        (root / module).write_text("", encoding="utf-8")
    (root / "dg.toml").write_text(
        'directory_type = "project"\n[project]\nroot_module = "acme"\n'
        "[cli.telemetry]\nenabled = false\n",
        encoding="utf-8",
    )
    (root / "acme" / "definitions.py").write_text(
        "from pathlib import Path\n\nimport dagster as dg\n\n"
        "@dg.definitions\ndef defs():\n"
        "    return dg.load_from_defs_folder(path_within_project=Path(__file__).parent)\n",
        encoding="utf-8",
    )
    environment = {k: v for k, v in os.environ.items() if k not in {"PYTHONPATH", "DAGSTER_HOME"}}
    environment |= {"PYTHONPATH": str(root), "NO_COLOR": "1", "COLUMNS": "200"}

    def run(*arguments: str) -> str:
        result = subprocess.run(
            [Path(sys.executable).with_name("dg"), *arguments],
            cwd=root,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert result.returncode == 0, result.stdout + result.stderr
        return result.stdout

    run.root = root
    return run


def test_another_project_lists_scaffolds_and_loads_the_components(dg):
    listed = {entry["key"] for entry in json.loads(dg("list", "components", "--json"))["items"]}
    assert {f"rfm_assets.components.{name}" for name in COMPONENTS} <= listed

    for name in SCAFFOLDED:
        folder = name.removesuffix("Component").lower()
        dg("scaffold", "defs", f"rfm_assets.components.{name}", folder)
        assert (dg.root / "acme" / "defs" / folder / "defs.yaml").is_file()

    checked = dg("check", "defs")
    assert "All component YAML validated successfully." in checked
    assert "All definitions loaded successfully." in checked
    jobs = json.loads(dg("list", "defs", "--json"))["jobs"]
    assert [job["name"] for job in jobs] == ["weekly_refresh"]
