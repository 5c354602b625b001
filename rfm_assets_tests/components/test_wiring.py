"""Components that do not fit together, and files that cannot be read: told at load, with a place."""

import shutil
from pathlib import Path

import dagster as dg
import pytest

from rfm_assets.errors import InvalidProject

TABLE = "type: toys.TableComponent\nattributes:\n  asset_name: {name}\n"


def told(project) -> str:
    """What loading the project says, without the name of its folder of definitions."""
    with pytest.raises(InvalidProject) as failure:
        project.load()
    return str(failure.value).strip().replace(f"{project.defs_module}/", "")


def test_two_components_with_one_asset(project):
    project.write("one", TABLE.format(name="table"))
    project.write("two", TABLE.format(name="table"))
    assert told(project) == (
        "two/defs.yaml:2 `asset.key`: 'table' is also the asset of 'one'. Give it a key of its own."
    )


def test_two_deployments(project):
    for folder in ("first", "second"):
        project.write(folder, "type: rfm_assets.components.DeploymentComponent\nattributes: {}\n")
    assert told(project).endswith(
        "is a second deployment, and a project has one. Keep one of the two files."
    )
    assert told(project).startswith("second/defs.yaml")


def test_a_table_made_from_itself(project):
    project.write("one", TABLE.format(name="table") + "  upstream_asset_key: table\n")
    assert told(project) == (
        "one/defs.yaml:4 `upstream_asset_key`: 'table' is this very asset. Name the table that it "
        "is made from."
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (TABLE.format(name="t") + "  1: x\n", "one/defs.yaml:4 `attributes`: the key 1 is no text"),
        (TABLE.format(name="t") + "on: x\n", "one/defs.yaml:4 the key True is no text."),
    ],
)
def test_a_key_that_yaml_takes_for_something_else(project, text, message):
    project.write("one", text)
    assert told(project).startswith(message)


def test_a_file_in_another_encoding(project):
    path = project.write("one", TABLE.format(name="table"))
    path.write_bytes(path.read_bytes() + "# café\n".encode("latin-1"))
    assert told(project) == (
        "one/defs.yaml:4 has the byte 0xe9, which is not UTF-8. Save the file as UTF-8."
    )


@pytest.mark.parametrize(
    ("python", "message"),
    [
        ("import dagster as dg\n\n1 / 0\n", "mine/assets.py:3 raises ZeroDivisionError: division"),
        ("def asset(\n", "mine/assets.py:1 raises SyntaxError: '(' was never closed"),
    ],
)
def test_a_python_file_of_the_user_that_raises(project, python, message):
    project.write("one", TABLE.format(name="table"))
    folder = Path(project.defs / "mine")
    folder.mkdir()
    (folder / "assets.py").write_text(python, encoding="utf-8")
    assert told(project).startswith(message)


def test_a_selection_that_is_none(project):
    project.weekly(selection='"key:(("')
    assert told(project).startswith(
        "weekly/defs.yaml:5 `selection`: 'key:((' is no asset selection"
    )


def test_what_fits_together_loads(project):
    project.write("one", TABLE.format(name="table"))
    project.write("two", TABLE.format(name="other") + "  upstream_asset_key: table\n")
    made = {spec.key.to_user_string() for spec in project.load().resolve_all_asset_specs()}
    assert {"table", "other"} <= made
    shutil.rmtree(project.defs / "two")
    assert isinstance(project.load(), dg.Definitions)
