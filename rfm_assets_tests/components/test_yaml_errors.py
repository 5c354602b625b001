"""A wrong value in YAML: file, line, what is allowed, the nearest match; everything at once."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from rfm_assets.errors import InvalidProject, YamlProblem

HEAD = "type: toys.SettingsComponent\nattributes:\n  needed: x\n"


def one_problem(project, line: str) -> YamlProblem:
    """What is wrong if `line` is line 4 of an otherwise valid file."""
    project.write("settings", HEAD + f"  {line}\n")
    (problem,) = project.problems()
    return problem


@pytest.mark.parametrize(
    ("line", "key", "message"),
    [
        (
            "perod_days: 30",
            "perod_days",
            "is not a key here. Did you mean 'period_days'? Allowed: 'method', 'period_days', "
            "'weight', 'include', 'first', 'thresholds', 'scheme', 'source', 'labels', 'needed'.",
        ),
        (
            "method: quintile",
            "method",
            "'quintile' is not allowed. Did you mean 'quintiles'? "
            "Allowed: 'quintiles', 'quartiles', 'custom'.",
        ),
        (
            "method: 5",
            "method",
            "5 is not allowed. Allowed: 'quintiles', 'quartiles', 'custom'.",
        ),
        (
            "period_days: many",
            "period_days",
            "'many' is not allowed. Allowed: a whole number, at least 1, at most 4000.",
        ),
        (
            "period_days: -30",
            "period_days",
            "-30 is not allowed. Allowed: a whole number, at least 1, at most 4000.",
        ),
        (
            "period_days: 1.5",
            "period_days",
            "1.5 is not allowed. Allowed: a whole number, at least 1, at most 4000.",
        ),
        (
            "period_days: true",
            "period_days",
            "True is not allowed. Allowed: a whole number, at least 1, at most 4000.",
        ),
        (
            'period_days: "365"',
            "period_days",
            "'365' is not allowed. Allowed: a whole number, at least 1, at most 4000. "
            "Without quotes it is a number.",
        ),
        ("include: 1", "include", "1 is not allowed. Allowed: true or false."),
        ("include: yess", "include", "'yess' is not allowed. Allowed: true or false."),
        (
            "first: 2025-13-01",
            "first",
            "'2025-13-01' is not allowed. Allowed: a date such as 2025-01-06.",
        ),
        (
            "first: 20250106",
            "first",
            "20250106 is not allowed. Allowed: a date such as 2025-01-06.",
        ),
        (
            "thresholds: {recncy: [1], recency: [2]}",
            "thresholds.recncy",
            "is not a key here. Did you mean 'recency'? Allowed: 'recency'.",
        ),
        (
            "thresholds: {recency: [1, two]}",
            "thresholds.recency[1]",
            "'two' is not allowed. Allowed: a number.",
        ),
        (
            "thresholds: {}",
            "thresholds.recency",
            "is required and missing: a list, each entry a number. Cut points",
        ),
        (
            "scheme: 5",
            "scheme",
            "5 is not allowed. Allowed: text or a mapping with the keys recency. In quotes it is text.",
        ),
        ("scheme: {recency: [a]}", "scheme.recency[0]", "'a' is not allowed. Allowed: a number."),
        (
            "source: {kind: cvs, path: x}",
            "source",
            "`kind` 'cvs' is not allowed. Did you mean 'csv'? Allowed: 'csv', 'sql'.",
        ),
        ("source: {path: x}", "source", "`kind` is required and missing: 'csv', 'sql'."),
        (
            "source: {kind: csv, path: x, query: y}",
            "source.query",
            "is not a key here. Allowed: 'kind', 'path'.",
        ),
        ("labels: {a: 3}", "labels.a", "3 is not allowed. Allowed: text. In quotes it is text."),
        (
            "labels: [a]",
            "labels",
            "['a'] is not allowed. Allowed: a mapping, each value text.",
        ),
        ("needed: y", "needed", "stands twice, first in line 3. Keep one of them."),
        ("method: custom", "", "method 'custom' needs `thresholds`. Add them."),
    ],
)
def test_a_wrong_value_has_its_line_and_says_what_is_allowed(project, line, key, message):
    assert one_problem(project, line) == YamlProblem(4, key, message)


def test_the_project_does_not_load_and_the_error_has_file_and_line(project):
    project.write("settings", HEAD + "  method: quintile\n")

    with pytest.raises(InvalidProject) as raised:
        project.load()

    assert str(raised.value) == (
        f"\n{project.defs_module}/settings/defs.yaml:4 `method`: 'quintile' is not allowed. "
        "Did you mean 'quintiles'? Allowed: 'quintiles', 'quartiles', 'custom'."
    )


def test_a_key_that_is_required_is_missed_at_the_line_of_the_attributes(project):
    project.write("settings", "type: toys.SettingsComponent\nattributes:\n  weight: 2\n")

    assert project.problems() == [
        YamlProblem(2, "needed", "is required and missing: text. A text that must be there")
    ]


def test_a_file_without_attributes_is_told_what_is_missing(project):
    project.write("settings", "type: toys.SettingsComponent\n")

    (problem,) = project.problems()

    assert (problem.line, problem.key) == (1, "needed")


def test_all_problems_of_a_file_are_reported_in_the_order_of_its_lines(project):
    project.write(
        "settings",
        """
        type: toys.SettingsComponent
        attributes:
          needed: x
          method: quintile
          period_days: -1
          weihgt: 2
        """,
    )

    assert [(problem.line, problem.key) for problem in project.problems()] == [
        (4, "method"),
        (5, "period_days"),
        (6, "weihgt"),
    ]


def test_all_files_and_all_documents_of_a_file_are_reported(project):
    # `dg check yaml` looks at the last document of each component type only.
    project.write("first", HEAD + "  method: quintile\n")
    project.write("second", HEAD + "---\n" + HEAD + "  period_days: 0\n---\n" + HEAD)

    assert [(problem.line, problem.key) for problem in project.problems()] == [
        (4, "method"),
        (8, "period_days"),
    ]


def test_an_error_of_the_domain_is_placed_at_the_key_it_names(project):
    project.write("settings", HEAD + "  include: false\n  weight: 0\n")

    assert project.problems() == [YamlProblem(5, "", "weight: 0 weighs nothing. Raise it.")]


def test_an_error_while_definitions_are_built_is_placed_at_the_key_it_names(project):
    project.write("settings", "type: toys.SettingsComponent\nattributes:\n  needed: unknown\n")

    with pytest.raises(InvalidProject, match=r"defs\.yaml:3 needed: 'unknown' is unknown\. Ask\."):
        project.load()


@pytest.mark.parametrize(
    ("text", "line", "key", "message"),
    [
        (
            "type: toys.SettingsComponet\n",
            1,
            "type",
            r"'\S+\.SettingsComponet' does not exist\. Did you mean 'SettingsComponent'\?",
        ),
        ("type: no_such_module.X\n", 1, "type", "cannot be imported: No module named"),
        ("type: SettingsComponent\n", 1, "type", "is not `<module>.<Component>`"),
        ("attributes: {}\n", 1, "type", "is required and missing"),
        ("type: toys.X\natributes: {}\n", 2, "atributes", "Did you mean 'attributes'"),
        ("type: toys.SettingsComponent\nattributes: [1]\n", 2, "attributes", "a mapping"),
        ("type: toys.SettingsComponent\nattributes: {a: [}\n", 2, "", "is not YAML"),
        ("- 1\n", 1, "", "is no mapping"),
        ("", None, "", "is empty"),
    ],
)
def test_a_file_that_is_no_component_is_reported(project, text, line, key, message):
    project.write("broken", text)

    found = [problem for problem in project.problems() if problem.key == key]

    assert [problem.line for problem in found] == [line]
    with pytest.raises(InvalidProject, match=message):
        project.load()


def test_a_valid_project_has_no_problem(project):
    project.write("settings", HEAD)

    assert project.problems() == []
    assert project.component(project.toy("SettingsComponent")).needed == "x"


def dg_check_yaml(project) -> subprocess.CompletedProcess[str]:
    """`dg check yaml` in the project, as a user runs it."""
    environment = os.environ | {"PYTHONPATH": project.python_path, "NO_COLOR": "1"}
    return subprocess.run(
        [Path(sys.executable).with_name("dg"), "check", "yaml"],
        cwd=project.root,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


def test_dg_check_yaml_gives_file_line_and_what_is_allowed(project):
    path = project.write(
        "settings",
        """
        type: toys.SettingsComponent
        attributes:
          needed: x
          method: quintile
          period_days: -30
          weight: much
          perod_days: 3
          thresholds: {recncy: [1]}
          source: {kind: cvs}
        """,
    )

    result = dg_check_yaml(project)

    assert result.returncode == 1
    for line, message in [
        (4, "'quintile' is not one of ['quintiles', 'quartiles', 'custom']"),
        (5, "-30 is less than the minimum of 1"),
        (6, "'much' is not of type 'number'"),
        (7, "Additional properties are not allowed ('perod_days' was unexpected)"),
        (8, "Additional properties are not allowed ('recncy' was unexpected)"),
        (9, "'cvs' is not one of ['csv', 'sql']"),
    ]:
        assert any(
            text.startswith(f"{path}:{line} ") and message in text
            for text in result.stdout.splitlines()
        ), (line, message, result.stdout)
    assert "'perod_days' is not one of ['method', 'period_days'" in result.stdout


def test_dg_check_yaml_passes_what_loads_templates_included(project):
    project.write(
        "settings",
        """
        type: toys.SettingsComponent
        attributes:
          needed: "{{ env('NEEDED', 'x') }}/y"
          method: "{{ env('METHOD', 'quartiles') }}"
          period_days: "{{ env('DAYS', '30') }}"
          first: "{{ env('FIRST', '2025-01-06') }}"
          thresholds: "{{ {'recency': [1, 2]} }}"
        """,
    )

    assert dg_check_yaml(project).returncode == 0
    loaded = project.component(project.toy("SettingsComponent"))
    assert (loaded.needed, loaded.method, loaded.period_days) == ("x/y", "quartiles", 30)
    assert loaded.thresholds.recency == [1.0, 2.0]
