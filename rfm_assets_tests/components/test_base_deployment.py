"""The deployment's YAML becomes the resources that every component uses."""

from pathlib import Path

import dagster as dg
import pytest

from rfm_assets.components.io_manager import StoreIOManager
from rfm_assets.components.resources import EngineResource, StoreResource


@pytest.fixture
def resources(project):
    """The resources of a project whose DeploymentComponent has the given lines."""

    def load(*lines: str):
        body = "".join(f"  {line}\n" for line in lines)
        project.write(
            "deployment", f"type: rfm_assets.components.DeploymentComponent\nattributes:\n{body}"
        )
        return project.load().resources

    return load


@pytest.fixture(autouse=True)
def no_root_in_the_environment(monkeypatch):
    monkeypatch.delenv("RFM_STORE_ROOT", raising=False)


def test_folders_lie_below_the_project(project, resources):
    found = resources("store_root: kept/here", "spill_folder: spill", "memory_limit: 2GB")

    assert found["rfm_store"] == StoreResource(root=str(project.root / "kept" / "here"))
    assert found["rfm_engine"] == EngineResource(
        engine="duckdb", memory_limit="2GB", spill_dir=str(project.root / "spill")
    )
    assert isinstance(found["io_manager"], StoreIOManager)


def test_an_absolute_folder_and_a_bucket_stay_as_they_are(resources):
    assert resources("store_root: /srv/rfm")["rfm_store"].root == "/srv/rfm"
    assert resources("store_root: s3://bucket/rfm")["rfm_store"].root == "s3://bucket/rfm"


def test_the_environment_goes_before_the_yaml(resources, monkeypatch, tmp_path):
    monkeypatch.setenv("RFM_STORE_ROOT", str(tmp_path / "elsewhere"))

    assert resources("store_root: kept")["rfm_store"].root == str(tmp_path / "elsewhere")


def test_a_project_with_an_io_manager_keeps_it(project, resources):
    (project.defs / "own.py").write_text(
        "import dagster as dg\n\n"
        "defs = dg.Definitions(resources={'io_manager': dg.mem_io_manager})\n",
        encoding="utf-8",
    )

    found = resources("io_manager_key: rfm_tables")

    assert isinstance(found["rfm_tables"], StoreIOManager)
    assert found["io_manager"] is dg.mem_io_manager


def test_components_without_a_deployment_use_the_default_one(project):
    project.write("one", "type: toys.TableComponent\nattributes: {asset_name: one}\n")
    project.write("two", "type: toys.TableComponent\nattributes: {asset_name: two}\n")

    found = project.load().resources

    assert found["rfm_store"].root == str(project.root / "data" / "store")
    assert found["rfm_engine"] == EngineResource()
    assert "io_manager" not in found


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("engine: duckdbb", "Did you mean 'duckdb'? Allowed: 'duckdb', 'polars', 'spark'."),
        ("memory_limit: 1000", "Allowed: text such as '1GB'. In quotes it is text."),
        ("memory_limit: much", "Allowed: text such as '1GB'."),
        ("threads: 0", "Allowed: a whole number, at least 1."),
        ('store_root: ""', "Allowed: text, 1 or more characters."),
    ],
)
def test_a_wrong_setting_says_what_is_allowed(project, resources, line, message):
    with pytest.raises(Exception, match=r"defs\.yaml:3 "):
        resources(line)

    (problem,) = project.problems()
    assert (problem.line, problem.message.endswith(message)) == (3, True), problem.message


def test_paths_do_not_depend_on_the_working_directory(project, resources, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)

    assert Path(resources("store_root: kept")["rfm_store"].root) == project.root / "kept"
