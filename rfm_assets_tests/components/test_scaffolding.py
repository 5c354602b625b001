"""`dg scaffold defs` writes a file that loads, with every key explained."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from dagster.components.component_scaffolding import scaffold_object

import rfm_assets.components
from rfm_assets.components.strict_yaml import StrictComponent
from rfm_assets.components.yaml_schema import field_schema
from rfm_assets.errors import InvalidYaml

NAMES = dir(rfm_assets.components)


def dg_scaffold(project, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [Path(sys.executable).with_name("dg"), "scaffold", "defs", *arguments],
        cwd=project.root,
        env=os.environ | {"PYTHONPATH": project.python_path, "NO_COLOR": "1"},
        capture_output=True,
        text=True,
        check=False,
    )


def scaffold(
    project, name: str, folder: str, params: str | None = None, form: str = "yaml"
) -> Path:
    """What the command does once it has read its options."""
    path = project.defs / folder
    scaffold_object(path, f"rfm_assets.components.{name}", params, form, project.root)
    return path / "defs.yaml"


def uncommented(text: str) -> str:
    """The file with every key in use, as if a user had removed each `# ` before a key."""
    lines: list[str] = []
    for line in text.splitlines():
        body = line.removeprefix("  # ") if line.startswith("  # ") else ""
        key, colon, _ = body.lstrip(" ").partition(":")
        used = (colon and key.isidentifier()) or key.startswith("- ")
        lines.append(f"  {body}" if used else line)
    return "\n".join(lines)


@pytest.mark.parametrize("name", NAMES)
def test_what_is_scaffolded_loads(project, name):
    scaffold(project, name, "made")

    assert project.problems() == []
    project.load().get_repository_def()


def test_all_components_scaffolded_together_are_one_working_project(project):
    for name in NAMES:
        scaffold(project, name, field_schema(_type(name)) and _folder(name))

    repository = project.load().get_repository_def()

    assert repository.has_job("weekly_refresh")


@pytest.mark.parametrize("name", NAMES)
def test_every_key_stands_in_the_file_with_its_description(project, name):
    text = scaffold(project, name, "made").read_text(encoding="utf-8")

    for key, node in field_schema(_type(name))["properties"].items():
        assert f"\n  {key}:" in text or f"\n  # {key}:" in text, key
        first_words = " ".join(node["description"].split()[:3])
        assert first_words.lower() in text.replace("\n  # ", " ").lower(), key


@pytest.mark.parametrize("name", NAMES)
def test_a_key_that_is_taken_out_of_its_comment_is_yaml(project, name):
    text = scaffold(project, name, "made").read_text(encoding="utf-8")

    values = yaml.safe_load(uncommented(text))["attributes"]

    assert set(values) == set(field_schema(_type(name))["properties"])


@pytest.mark.parametrize("name", NAMES)
def test_what_is_scaffolded_fits_the_line(project, name):
    lines = scaffold(project, name, "made").read_text(encoding="utf-8").splitlines()

    assert max(map(len, lines)) <= 100


@pytest.mark.parametrize("name", NAMES)
def test_a_key_that_is_taken_out_of_its_comment_changes_nothing(project, name):
    path = scaffold(project, name, "made")
    values = yaml.safe_load(uncommented(path.read_text(encoding="utf-8")))["attributes"]
    component = _type(name)
    asked = component.from_attributes_dict(attributes=dict(component.example))

    # A block whose default is to be left out as a whole has no neutral keys.
    neutral = {
        key: value
        for key, value in values.items()
        if key not in component.example
        and not (isinstance(value, dict) and getattr(asked, key) is None)
    }
    taken = component.from_attributes_dict(attributes={**component.example, **neutral})

    assert {"asset", "refresh"} <= neutral.keys() or not hasattr(component, "asset_spec")
    assert taken.model_dump() == asked.model_dump()


def test_many_kinds_of_source_are_told_by_their_types(project):
    text = scaffold(project, "TransactionDataComponent", "made").read_text(encoding="utf-8")

    assert (
        "# Where the rows come from. A mapping of type 'csv', 'excel', 'parquet', 'duckdb', "
        "'postgres',\n  # 'spark', 'generator'.\n" in text
    )


def test_examples_stand_in_the_comments_as_they_are_to_be_written(project):
    text = scaffold(project, "SuppressionListComponent", "made").read_text(encoding="utf-8")
    shown = [
        line.partition("# For example ")[2] for line in text.splitlines() if "# For example" in line
    ]

    template = "{{ dg.FreshnessPolicy.cron('0 9 * * 1', datetime.timedelta(days=1)) }}"
    assert f'"{template}"' in shown
    assert template in [yaml.safe_load(example) for example in shown]


def test_the_folder_names_the_asset(project):
    path = scaffold(project, "CustomerSegmentationComponent", "my-segments")

    assert yaml.safe_load(path.read_text(encoding="utf-8"))["attributes"]["asset_name"] == (
        "my_segments"
    )


def test_parameters_go_into_the_file(project):
    path = scaffold(
        project,
        "CustomerSegmentationComponent",
        "segments",
        '{"analysis_period_days": 180, "asset": {"key": "crm/people", "owners": ["team:crm"]}}',
    )

    assert yaml.safe_load(path.read_text(encoding="utf-8"))["attributes"] == {
        "transaction_data_asset_key": "transaction_data",
        "analysis_period_days": 180,
        "asset": {"key": "crm/people", "owners": ["team:crm"]},
    }
    assert project.problems() == []


def test_wrong_parameters_leave_nothing_behind(project):
    with pytest.raises(InvalidYaml, match="`analysis_period_days`: -1 is not allowed"):
        scaffold(
            project, "CustomerSegmentationComponent", "segments", '{"analysis_period_days": -1}'
        )

    assert not (project.defs / "segments").exists()


def test_a_python_file_can_be_scaffolded_instead(project):
    scaffold(project, "CustomerSegmentationComponent", "segments", form="python")

    keys = {spec.key.to_user_string() for spec in project.load().resolve_all_asset_specs()}

    assert (project.defs / "segments" / "component.py").is_file()
    assert "segments" in keys


def test_the_command_takes_a_short_name_and_options(project):
    result = dg_scaffold(
        project,
        "CustomerSegmentationComponent",
        "my_segments",
        "--analysis-period-days",
        "180",
        "--scoring-method",
        "quartiles",
    )

    assert result.returncode == 0, result.stderr
    text = (project.defs / "my_segments" / "defs.yaml").read_text(encoding="utf-8")
    assert yaml.safe_load(text)["attributes"] == {
        "asset_name": "my_segments",
        "transaction_data_asset_key": "transaction_data",
        "scoring_method": "quartiles",
        "analysis_period_days": 180,
    }
    assert project.problems() == []


def _type(name: str) -> type[StrictComponent]:
    return getattr(rfm_assets.components, name)


def _folder(name: str) -> str:
    """The asset's own name, so that the components find each other."""
    return str(_type(name).example.get("asset_name", name.lower()))
