"""`dg scaffold defs`: a YAML file that works, with every field explained, from the fields.

Also the text of the examples in the reference. Field descriptions do not belong here: they stand
on the fields.
"""

import inspect
import json
import re
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from dagster.components import Scaffolder, ScaffoldRequest
from dagster_shared.yaml_utils import dump_run_config_yaml
from pydantic import BaseModel, ConfigDict, create_model

from rfm_assets.components.yaml_schema import (
    Schema,
    choices_of,
    field_schema,
    in_words,
    variants,
)

if TYPE_CHECKING:
    from rfm_assets.components.strict_yaml import StrictComponent

_WIDTH = 100
_PYTHON_TYPES: Mapping[str, Any] = {
    "integer": int,
    "number": float,
    "boolean": bool,
    "object": dict[str, Any],
    "array": list[str],
}


class ComponentScaffolder(Scaffolder[BaseModel]):
    """Writes a component's example, with all other fields in comments. Options go on top of it."""

    component: ClassVar[type["StrictComponent"]]

    @classmethod
    def get_scaffold_params(cls) -> type[BaseModel]:
        fields: dict[str, Any] = {
            name: (_python_type(node) | None, None)
            for name, node in field_schema(cls.component)["properties"].items()
        }
        return create_model(
            f"{cls.component.__name__}Params",
            __config__=ConfigDict(extra="forbid"),
            **fields,
        )

    def scaffold(self, request: ScaffoldRequest[BaseModel]) -> None:
        given = request.params.model_dump(exclude_none=True)
        attributes = scaffolded_attributes(self.component, request.target_path.name, given)
        try:
            self.component.from_attributes_dict(attributes=attributes)
        except Exception:
            _remove_if_empty(request)
            raise
        if request.scaffold_format == "python":
            text = _python_text(self.component, request.type_name, attributes)
            (request.target_path / "component.py").write_text(text, encoding="utf-8")
            return
        text = commented_yaml(self.component, request.type_name, attributes)
        if request.append:
            with request.target_path.open("a", encoding="utf-8") as file:
                file.write("---\n" + text)
        else:
            (request.target_path / "defs.yaml").write_text(text, encoding="utf-8")


def scaffolder_for(component: type["StrictComponent"]) -> type[ComponentScaffolder]:
    """The scaffolder of one component type; Dagster asks the class, so each type needs its own."""
    return type(
        f"{component.__name__}Scaffolder",
        (ComponentScaffolder,),
        {"component": component},
    )


def scaffolded_attributes(
    component: type["StrictComponent"], folder: str, given: Mapping[str, Any]
) -> dict[str, Any]:
    """The component's example under the folder's name, with the options that were given."""
    attributes = dict(component.example)
    if "asset_name" in attributes and "asset" not in given:
        name = re.sub(r"\W+|_+", "_", folder.lower()).strip("_")
        attributes["asset_name"] = name if name[:1].isalpha() else f"table_{name}"
    elif "key" in given.get("asset", {}):
        attributes.pop("asset_name", None)
    return {**attributes, **given}


def commented_yaml(
    component: type["StrictComponent"], type_name: str, attributes: Mapping[str, Any]
) -> str:
    """A component file: `attributes` as they are, every other field in a comment."""
    lines = [*_comment(_summary(component), _WIDTH), f"type: {type_name}", "attributes:"]
    properties: Mapping[str, Schema] = field_schema(component)["properties"]
    first = [name for name in properties if name in attributes]
    for name in [*first, *(name for name in properties if name not in attributes)]:
        node = properties[name]
        lines += [f"  {line}" for line in _comment(_about(node), _WIDTH - 2)]
        lines += [f"  {line}" for line in _example_lines(node)]
        if name in attributes:
            lines += [f"  {line}" for line in _value_lines(name, attributes[name])]
        else:
            lines += [f"  # {line}" for line in _field_lines(name, node, _WIDTH - 4)]
    return "\n".join(lines) + "\n"


def example_yaml(component: type["StrictComponent"]) -> str:
    """The component's example as a file, without comments."""
    name = f"rfm_assets.components.{component.__name__}"
    lines = [f"type: {name}", "attributes:"]
    for key, value in component.example.items():
        lines += [f"  {line}" for line in _value_lines(key, value)]
    return "\n".join(lines) + "\n"


def _summary(component: type) -> str:
    return (inspect.getdoc(component) or component.__name__).split("\n\n")[0].replace("\n", " ")


def _about(node: Schema) -> str:
    """What a field is for and what it may be; of several kinds of mapping only their names."""
    kinds = choices_of([kind["properties"].get("type", {}) for kind in _mappings(node)])
    words = in_words(node) if not _properties(node) else ""
    if kinds:
        words = f"a mapping of type {', '.join(map(repr, kinds))}"
    description = str(node.get("description", "")).rstrip(".")
    text = ". ".join(part[:1].upper() + part[1:] for part in (description, words) if part)
    return text if text.endswith("…") else f"{text}."


def _comment(text: str, width: int) -> Iterator[str]:
    line = "#"
    for word in text.split():
        if line != "#" and len(line) + 1 + len(word) > width:
            yield line
            line = "#"
        line += f" {word}"
    yield line


def _example_lines(node: Schema) -> Iterator[str]:
    """A value that the default and the words do not show, ready to be copied."""
    examples = [] if _properties(node) else node.get("examples", [])
    for example in examples[:1]:
        if example != node.get("default") and str(example) not in _about(node):
            # As JSON, which is YAML: its quotes do not clash with those within a template.
            yield f"# For example {json.dumps(example, ensure_ascii=False)}"


def _field_lines(name: str, node: Schema, width: int) -> Iterator[str]:
    properties = _properties(node)
    if not properties:
        yield from _value_lines(name, sample(node))
        return
    yield f"{name}:"
    for child_name, child in properties.items():
        yield from (f"  {line}" for line in _comment(_about(child), width - 2))
        yield from (f"  {line}" for line in _example_lines(child))
        yield from (f"  {line}" for line in _field_lines(child_name, child, width - 2))


def _properties(node: Schema) -> Mapping[str, Schema]:
    alternatives = list(variants(node))
    return alternatives[0].get("properties", {}) if len(alternatives) == 1 else {}


def _mappings(node: Schema) -> list[Schema]:
    """The alternatives, if there are several and all of them are mappings with known keys."""
    alternatives = list(variants(node))
    known = len(alternatives) > 1 and all(one.get("properties") for one in alternatives)
    return alternatives if known else []


def sample(node: Schema) -> Any:
    """A value for a field: its default, which changes nothing, or one that stands for it."""
    if "default" in node:
        return node["default"]
    if node.get("examples"):
        return node["examples"][0]
    alternatives = list(variants(node))
    if not alternatives:
        return None
    first = alternatives[0]
    if first is not node:
        return sample(first)
    if choices := choices_of([first]):
        return choices[0]
    properties = first.get("properties", {})
    plain = {"integer": first.get("minimum", 1), "number": first.get("minimum", 1.0)}
    plain |= {"boolean": False, "array": [], "string": "text"}
    plain["object"] = {name: sample(properties[name]) for name in first.get("required", [])}
    return plain.get(str(first.get("type")))


def _value_lines(name: str, value: Any) -> list[str]:
    return dump_run_config_yaml({name: value}, sort_keys=False).rstrip("\n").splitlines()


def _python_type(node: Schema) -> Any:
    types = {str(variant.get("type")) for variant in variants(node)}
    return _PYTHON_TYPES.get(types.pop(), str) if len(types) == 1 else str


def _python_text(
    component: type["StrictComponent"], type_name: str, attributes: Mapping[str, Any]
) -> str:
    module, name = type_name.rsplit(".", 1)
    values = "".join(f"        {key}={value!r},\n" for key, value in attributes.items())
    return f'''"""{_summary(component)}"""

import dagster as dg
from {module} import {name}


@dg.component_instance
def load(context: dg.ComponentLoadContext) -> {name}:
    return {name}(
{values}    )
'''


def _remove_if_empty(request: ScaffoldRequest[BaseModel]) -> None:
    if request.target_path.is_dir() and not any(request.target_path.iterdir()):
        request.target_path.rmdir()
