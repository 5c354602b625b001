"""The YAML files that come with the project pass the schema that `dg check yaml` uses."""

from importlib import import_module
from pathlib import Path

import jsonschema
import pytest
from dagster_shared.yaml_utils import parse_yamls_with_source_position

ROOT = Path(__file__).parents[2]
FILES = sorted([*ROOT.glob("component_defs/*/defs.yaml"), *ROOT.glob("examples/*/*/*/defs.yaml")])


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_the_schema_accepts_the_file(path):
    text = path.read_text(encoding="utf-8")
    for document in (tree.value for tree in parse_yamls_with_source_position(text)):
        module, _, name = document["type"].rpartition(".")
        component = getattr(import_module(module), name)
        schema = component.get_model_cls().model_json_schema()
        errors = jsonschema.Draft202012Validator(schema).iter_errors(document["attributes"])
        assert [error.message for error in errors] == []
