"""The JSON schema of a component that `dg check yaml`, editors and Dagster's UI read.

It accepts a template wherever a value stands, and is built so that a wrong value gets one clear
message. What fields there are, and words about them, do not belong here (`yaml_schema.py`).
"""

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import BaseModel

from rfm_assets.components.yaml_schema import (
    TEMPLATE_PATTERN,
    Schema,
    choices_of,
    field_schema,
    variants,
)

_DATE_PATTERN = r"^\d{4}-\d{2}-\d{2}$"
_IN_SIGHT = (
    *("title", "description", "default", "examples"),
    # These hold for numbers alone, so that a template passes them.
    *("minimum", "exclusiveMinimum", "maximum", "exclusiveMaximum"),
)
_TYPE_NAMES = {str: "string", int: "integer", bool: "boolean"}


def editor_schema(model: type[BaseModel]) -> dict[str, Any]:
    """The schema of a model's fields, also accepting a template wherever a value stands.

    Plain text accepts templates anyway. Of every other field the constraints move below `else`,
    so that a wrong value gets the message of the field's own type: of `anyOf`, a validator only
    says that a value is valid under none.
    """
    schema = field_schema(model)
    return {**_strict(schema), "title": schema.get("title", model.__name__)}


def _or_template(node: Schema) -> dict[str, Any]:
    strict = _strict(node)
    if strict.get("type") == "string" and not {"enum", "const", "pattern"} & set(strict):
        return strict
    outer = {key: strict.pop(key) for key in _IN_SIGHT if key in strict}
    if "examples" not in outer and outer.get("default") is not None:
        outer["examples"] = [outer["default"]]
    if not strict:
        return outer
    kinds = strict.get("type", "string")
    if kinds != "string":
        kinds = [kinds] if isinstance(kinds, str) else kinds
        outer["type"] = [*dict.fromkeys([*kinds, "string"])]
        if "string" in kinds:
            strict.pop("type")  # said once is enough
    return {**outer, "if": {"type": "string", "pattern": TEMPLATE_PATTERN}, "else": strict}


def _strict(node: Schema) -> dict[str, Any]:
    """The node with its children accepting templates, and its alternatives told apart."""
    strict: dict[str, Any] = dict(node)
    if "properties" in node:
        strict["properties"] = {key: _or_template(one) for key, one in node["properties"].items()}
        if node.get("additionalProperties") is False:
            # Says which keys there are; `additionalProperties` says at which line the wrong one is.
            strict["propertyNames"] = {"enum": list(node["properties"])}
    for key in ("items", "additionalProperties"):
        if isinstance(node.get(key), Mapping):
            strict[key] = _or_template(node[key])
    if node.get("format") == "date":
        strict["pattern"] = _DATE_PATTERN
    return _told_apart(strict)


def _told_apart(node: dict[str, Any]) -> dict[str, Any]:
    """A union as conditions on the value's type, or on its tag."""
    key = next((key for key in ("oneOf", "anyOf") if key in node), None)
    if key is None:
        return node
    members = node[key]
    tagged = next((part for part in [node, *members] if "discriminator" in part), None)
    rest = {name: value for name, value in node.items() if name not in {key, "discriminator"}}
    null = ["null"] if {"type": "null"} in members else []
    others = [member for member in members if member != {"type": "null"}]
    if tagged is node or (tagged is not None and others == [tagged]):
        tag = str(tagged["discriminator"]["propertyName"])
        return {**rest, **_by_tag(tag, list(variants(tagged))), "type": ["object", *null]}
    alternatives = list(variants({key: members}))
    types = [_type_of(alternative) for alternative in alternatives]
    if None in types or len(set(types)) < len(types):
        return {**rest, key: [_strict(member) for member in members]}
    strict = [_strict(alternative) for alternative in alternatives]
    if len(strict) == 1 and "enum" not in strict[0]:
        return {**rest, **strict[0], "type": [*types, *null]}
    conditions = [
        {"if": {"type": kind}, "then": alternative}
        for kind, alternative in zip(types, strict, strict=True)
    ]
    return {**rest, "type": [*types, *null], "allOf": conditions}


def _by_tag(tag: str, alternatives: Sequence[Schema]) -> dict[str, Any]:
    values = [choices_of([alternative["properties"][tag]]) for alternative in alternatives]
    conditions = [
        {
            "if": {"type": "object", "properties": {tag: {"enum": value}}, "required": [tag]},
            "then": _strict(alternative),
        }
        for value, alternative in zip(values, alternatives, strict=True)
    ]
    known = {"enum": [choice for value in values for choice in value]}
    return {"required": [tag], "properties": {tag: known}, "allOf": conditions}


def _type_of(node: Schema) -> str | None:
    """The JSON type of every value that the node allows, if there is one."""
    if "enum" not in node and "const" not in node:
        return node.get("type")
    kinds = {type(choice) for choice in choices_of([node])}
    return _TYPE_NAMES.get(kinds.pop()) if len(kinds) == 1 else None
