"""Strict components: templates, the JSON schema, and use from Python."""

from datetime import date

import dagster as dg
import jsonschema
import pytest
from dagster.components.core.component_tree import ComponentTree

from rfm_assets.errors import InvalidYaml


@pytest.fixture
def settings(project):
    """Loads a SettingsComponent with the given lines below `attributes`."""

    def load(*lines: str):
        body = "".join(f"  {line}\n" for line in ("needed: x", *lines))
        project.write("settings", f"type: toys.SettingsComponent\nattributes:\n{body}")
        return project.component(project.toy("SettingsComponent"))

    return load


@pytest.fixture
def schema(project):
    return project.toy("SettingsComponent").get_model_cls().model_json_schema()


def cause(raised) -> BaseException:
    error = raised.value
    while not isinstance(error, InvalidYaml):
        error = error.__cause__
    return error


def test_values_arrive_as_their_types(settings):
    loaded = settings(
        "period_days: 30",
        "weight: 2",
        "first: 2025-01-06",
        "source: {kind: csv, path: a.csv}",
        "labels: {a: b}",
    )

    assert loaded.period_days == 30
    assert (loaded.weight, type(loaded.weight)) == (2.0, float)
    assert loaded.first == date(2025, 1, 6)
    assert loaded.source.path == "a.csv"
    assert loaded.labels == {"a": "b"}


def test_text_that_looks_like_a_number_stays_text(settings):
    # Dagster renders every string as a template and reads its result as a Python literal.
    loaded = settings('labels: {a: "0017850", b: "17850", c: "1e5", d: "None", e: ""}')

    assert loaded.labels == {"a": "0017850", "b": "17850", "c": "1e5", "d": "None", "e": ""}


def test_text_from_the_environment_stays_text_in_a_text_field(settings, monkeypatch):
    monkeypatch.setenv("CUSTOMER", "17850")

    assert settings('labels: {a: "{{ env.CUSTOMER }}"}').labels == {"a": "17850"}


def test_text_from_the_environment_is_a_number_where_one_belongs(settings, monkeypatch):
    monkeypatch.setenv("DAYS", "30")
    monkeypatch.setenv("WANTED", "false")

    loaded = settings('period_days: "{{ env.DAYS }}"', "include: \"{{ env('WANTED') }}\"")

    assert (loaded.period_days, loaded.include) == (30, False)


def test_a_template_within_a_text_is_filled_in(settings, monkeypatch):
    monkeypatch.setenv("BUCKET", "crm")

    assert settings('scheme: "s3://{{ env.BUCKET }}/a.yaml"').scheme == "s3://crm/a.yaml"


def test_the_value_of_a_template_is_judged_like_any_other(settings, monkeypatch):
    monkeypatch.setenv("DAYS", "-30")

    with pytest.raises(Exception, match="Error while loading") as raised:
        settings('period_days: "{{ env.DAYS }}"')

    assert str(cause(raised)).endswith(
        "defs.yaml:4 `period_days`: -30 is not allowed. Allowed: a whole number, at least 1, "
        "at most 4000."
    )


def test_an_environment_variable_that_is_not_set_is_named(settings, monkeypatch):
    monkeypatch.delenv("DAYS", raising=False)

    with pytest.raises(Exception, match="Error while loading") as raised:
        settings('period_days: "{{ env.DAYS }}"')

    assert "The environment variable DAYS is not set. Set it, or give a default" in str(
        cause(raised)
    )


def test_a_template_that_cannot_be_resolved_has_its_line(settings):
    with pytest.raises(Exception, match="Error while loading") as raised:
        settings('scheme: "{{ nothing.such }}"')

    assert "defs.yaml:4 `scheme`: the template '{{ nothing.such }}' cannot be resolved" in str(
        cause(raised)
    )


def test_a_component_made_in_python_needs_no_file(project):
    component = project.toy("SettingsComponent")(needed="x", period_days=30)

    assert component.period_days == 30
    assert component.folder == ""


def test_a_component_from_a_dictionary_names_keys_instead_of_lines(project):
    with pytest.raises(InvalidYaml, match=r"^attributes `period_days`: 0 is not allowed"):
        project.toy("SettingsComponent").from_attributes_dict(
            attributes={"needed": "x", "period_days": 0}
        )


def test_a_loaded_component_cannot_change(settings):
    with pytest.raises(ValueError, match="frozen"):
        settings().period_days = 3


def test_the_schema_shows_descriptions_defaults_bounds_and_choices(schema):
    period, method = schema["properties"]["period_days"], schema["properties"]["method"]

    assert (period["description"], period["default"]) == ("Length of the window, days", 365)
    assert (period["minimum"], period["maximum"]) == (1, 4000)
    assert period["else"] == {"type": "integer"}
    assert method["else"]["enum"] == ["quintiles", "quartiles", "custom"]
    assert schema["required"] == ["needed"]
    assert schema["additionalProperties"] is False


@pytest.mark.parametrize(
    "attributes",
    [
        {"needed": "x"},
        {"needed": "x", "first": None, "thresholds": None, "source": None},
        {"needed": "x", "source": {"kind": "sql", "query": "select 1"}},
        {"needed": "x", "scheme": {"recency": [1, 2.5]}},
        {"needed": "{{ x }}", "source": "{{ x }}", "thresholds": {"recency": "{{ x }}"}},
    ],
)
def test_the_schema_accepts_what_loads(schema, attributes):
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.Draft202012Validator(schema).validate(attributes)


@pytest.mark.parametrize(
    "attributes",
    [
        {},
        {"needed": 5},
        {"needed": "x", "period_days": 0},
        {"needed": "x", "period_days": "30"},
        {"needed": "x", "period_days": "a {{ x }}"},
        {"needed": "x", "first": "yesterday"},
        {"needed": "x", "source": {"kind": "csv"}},
        {"needed": "x", "source": {"kind": "csv", "path": "x", "query": "y"}},
        {"needed": "x", "scheme": 5},
        {"needed": "x", "scheme": {"recency": ["a"]}},
        {"needed": "x", "unknown": 1},
    ],
)
def test_the_schema_refuses_what_does_not_load(project, schema, attributes):
    assert list(jsonschema.Draft202012Validator(schema).iter_errors(attributes))
    with pytest.raises(InvalidYaml):
        project.toy("SettingsComponent").from_attributes_dict(attributes=attributes)


def test_the_schema_of_all_components_together_can_be_made():
    # What `dg` writes for editors: every component of the environment in one schema.
    from dagster.components.list import list_all_components_schema

    schema = list_all_components_schema(entry_points=True, extra_modules=())

    assert "WeeklyRefreshComponent" in str(schema)
    jsonschema.Draft202012Validator.check_schema(schema)


def test_template_variables_of_a_module_can_be_used(project):
    project.write(
        "settings",
        """
        type: toys.SettingsComponent
        template_vars_module: .variables
        attributes:
          needed: "{{ greeting }}"
        """,
    )
    (project.defs / "settings" / "variables.py").write_text(
        "import dagster as dg\n\n@dg.template_var\ndef greeting():\n    return 'hello'\n",
        encoding="utf-8",
    )

    assert project.component(project.toy("SettingsComponent")).needed == "hello"


def test_a_component_of_another_kind_can_stand_in_the_same_tree(project):
    project.write("settings", "type: toys.SettingsComponent\nattributes: {needed: x}\n")
    (project.defs / "plain.py").write_text(
        "import dagster as dg\n\n@dg.asset\ndef plain():\n    return 1\n", encoding="utf-8"
    )

    assert dg.AssetKey("plain") in {spec.key for spec in project.load().resolve_all_asset_specs()}
    assert ComponentTree.for_project(project.root).get_all_components(
        of_type=project.toy("SettingsComponent")
    )
