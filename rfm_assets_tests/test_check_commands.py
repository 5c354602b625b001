"""`rfm check`, `rfm doctor` and `rfm plan` on a copy of the shipped deployment."""

import json
from datetime import UTC, datetime, timedelta
from importlib.resources import files
from pathlib import Path

import pytest
from typer.testing import CliRunner

from rfm_assets.cli import app
from rfm_assets.commands import diagnosis
from rfm_assets.commands.diagnosis import Finding
from rfm_assets.library import load_scheme
from rfm_assets.serving.keys import KeyRing
from rfm_assets.store import Store
from rfm_assets_tests import test_cli
from rfm_assets_tests.serving.stored import stored_once
from rfm_assets_tests.test_cli import edit, rfm
from rfm_assets_tests.test_planning import put

project = test_cli.project


def test_check_says_as_json_what_there_is_or_is_wrong(project: Path) -> None:
    done = rfm(project, "check", "--json")
    told = json.loads(done.stdout)
    assert told["ok"] is True
    assert told["weekly_jobs"] == ["weekly_refresh"]
    assert "customer_segments" in told["assets"]

    edit(project, "champions", "attributes:", "attributes:\n  limt: 3")
    edit(project, "win_back", "attributes:", "attributes:\n  size_limit: many")
    done = rfm(project, "check", "--json")
    assert done.returncode == 2
    told = json.loads(done.stdout)
    assert [(one["file"], one["line"], one["key"]) for one in told["problems"]] == [
        ("component_defs/champions/defs.yaml", 4, "limt"),
        ("component_defs/win_back/defs.yaml", 4, "size_limit"),
    ]
    doctor = rfm(project, "doctor", "--json")
    assert doctor.returncode == 1
    found = json.loads(doctor.stdout)["findings"]
    wrong = [one["found"] for one in found if one["state"] == "problem"]
    assert len(wrong) == 2
    assert wrong[0].startswith("component_defs/champions/defs.yaml:4 `limt`")


def test_the_cells_of_a_scheme_are_those_it_decides() -> None:
    told = json.loads(CliRunner().invoke(app, ["check", "--cells", "rfm_11", "--json"]).stdout)
    scheme = load_scheme("rfm_11")
    assert len(told["cells"]) == scheme.scale**3
    assert told["cells"] == {
        "".join(map(str, cell)): segment and segment.name
        for cell, segment in scheme.cells(scale=scheme.scale)
    }
    shown = CliRunner().invoke(app, ["check", "--cells"]).stdout
    assert shown.count("M_score") == 5
    assert "Champions: 1 of 125 cells" in shown
    assert CliRunner().invoke(app, ["check", "rfm_11"]).exit_code == 2


def test_a_new_deployment_has_everything_due(project: Path) -> None:
    report = project / "component_defs" / "report" / "defs.yaml"
    report.parent.mkdir()
    report.write_text(
        "type: rfm_assets.components.ReportComponent\nattributes: {asset_name: report}\n"
    )
    told = json.loads(rfm(project, "plan", "--weeks", "2", "--json").stdout)
    assert told["job"] == "weekly_refresh"
    assert "report" not in told["computes"]  # a file, of which nothing is stored
    assert len(told["weeks"]) == 2
    assert told["next_as_of"] == told["weeks"][-1]
    assert {one["table"] for one in told["due"]} == set(told["computes"])
    assert {one["reason"] for one in told["due"]} == {"missing"}
    shown = rfm(project, "plan", "--weeks", "1")
    assert "rfm run " in shown.stdout
    assert not (project / "data" / "store").exists()


def test_what_was_computed_is_due_once_its_yaml_is_another(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    made = stored_once(tmp_path_factory).copy(tmp_path / "computed").project

    def due() -> set[tuple[str, str]]:
        done = rfm(made, "plan", "--weeks", "520", "--json")
        found = [one for one in json.loads(done.stdout)["due"] if one["reason"] != "missing"]
        return {(one["table"], one["because"]) for one in found}

    # Every component says beforehand what its manifest then says.
    assert due() == set()

    def write(component: str, before: str, after: str) -> Path:
        (path,) = made.glob(f"*/{component}/defs.yaml")
        text = path.read_text(encoding="utf-8")
        path.write_text(text.replace(before, after), encoding="utf-8")
        return path.parent

    write("win_back", "attributes:", "attributes:\n  description: Another text changes no row")
    write("champions", "priority: monetary", "priority: frequency")
    folder = write("customer_behavior", "profile: ecommerce", "profile: mine.yaml")
    packaged = files("rfm_assets.library") / "industry_profiles" / "ecommerce.yaml"
    mine = packaged.read_text(encoding="utf-8")
    (folder / "mine.yaml").write_text(mine, encoding="utf-8")
    changed = "its YAML changed since"
    # A profile that says the same elsewhere is the same.
    lists = {("champions", changed), ("campaign_outcome", "made from champions")}
    assert due() == lists
    (folder / "mine.yaml").write_text(mine.replace("Online shops", "Mine"), encoding="utf-8")
    assert due() == lists | {("customer_behavior", changed)}


@pytest.fixture
def outside(project: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The project, without loading what it defines, which the tests above do."""
    monkeypatch.setattr(diagnosis, "_yaml", lambda _: iter(()))
    monkeypatch.delenv("DAGSTER_HOME", raising=False)
    return project


def named(project: Path, name: str, now: datetime | None = None) -> list[Finding]:
    return [one for one in diagnosis.examine(project, now=now) if one.name == name]


def test_versions_are_looked_at(outside: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert [one.state for one in named(outside, "python")] == ["ok"]
    monkeypatch.setattr(diagnosis.platform, "python_version", lambda: "3.9.1")
    assert [one.state for one in named(outside, "python")] == ["problem"]
    monkeypatch.setattr(diagnosis.metadata, "requires", lambda _: ["duckdb<0.1", "nothing-such"])
    (packages,) = named(outside, "packages")
    assert packages.state == "warning"
    assert "is not in <0.1; nothing-such is not installed" in packages.found


def test_a_folder_that_is_no_project_is_a_problem(tmp_path: Path) -> None:
    (found,) = named(tmp_path, "project")
    assert found.state == "problem"


def test_where_dagster_keeps_runs(outside: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert [one.state for one in named(outside, "DAGSTER_HOME")] == ["ok"]
    monkeypatch.setenv("DAGSTER_HOME", str(outside / "none"))
    assert [one.state for one in named(outside, "DAGSTER_HOME")] == ["problem"]
    monkeypatch.delenv("DAGSTER_HOME")
    (outside / "dagster.yaml").unlink()
    assert [one.state for one in named(outside, "DAGSTER_HOME")] == ["warning"]


def test_the_store_and_its_newest_snapshot(outside: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert [one.state for one in named(outside, "newest snapshot")] == ["warning"]
    put(Store(outside / "data" / "store"), "segments", datetime(2026, 3, 2, tzinfo=UTC).date())
    (newest,) = named(outside, "newest snapshot")
    assert newest.state == "ok"
    assert newest.found == "as of 2026-03-02, made 0 days ago"
    later = datetime.now(UTC) + timedelta(days=30)
    assert [one.state for one in named(outside, "newest snapshot", later)] == ["warning"]
    (store,) = named(outside, "store")
    assert (store.state, "1 tables" in store.found) == ("ok", True)
    monkeypatch.setattr(diagnosis, "TOO_LITTLE_SPACE", 1 << 62)
    monkeypatch.setattr(diagnosis, "LITTLE_SPACE", 1 << 62)
    assert [one.state for one in named(outside, "store")] == ["problem"]


def test_keys_that_others_can_read_are_a_problem(outside: Path) -> None:
    file = outside / ".rfm" / "keys.json"
    assert [one.state for one in named(outside, "API keys")] == ["ok"]
    KeyRing(file).create("me", scopes=["segments"])
    assert [one.state for one in named(outside, "API keys")] == ["ok"]
    file.chmod(0o644)
    (found,) = named(outside, "API keys")
    assert (found.state, found.fix) == ("problem", f"Run `chmod 600 {file}`.")
    file.write_text("{", encoding="utf-8")
    assert [one.state for one in named(outside, "API keys")] == ["problem"]


def test_wrong_settings_are_told_with_their_line(outside: Path) -> None:
    (outside / "serving.yaml").write_text("organization: a\nmemmory: 1\n", encoding="utf-8")
    found = [one for one in diagnosis.examine(outside) if one.state == "problem"]
    assert any(one.found.startswith("serving.yaml:2 `memmory`") for one in found)
