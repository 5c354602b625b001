"""The fields of a component as JSON schema, and in words.

Messages, the scaffolder and the reference read it. What `dg check yaml` and editors get is made
from it in `editor_schema.py`; judging values does not belong here (`strict_yaml.py`).
"""

import functools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeAlias

from pydantic import BaseModel

Schema: TypeAlias = Mapping[str, Any]

TEMPLATE_PATTERN = r"^\s*\{\{.*\}\}\s*$"
"""A value that is wholly a template. It passes the schema and is judged once it is resolved."""

_BOUNDS = {
    "minimum": "at least {}",
    "exclusiveMinimum": "above {}",
    "maximum": "at most {}",
    "exclusiveMaximum": "below {}",
    "minLength": "{} or more characters",
    "maxLength": "up to {} characters",
    "minItems": "{} or more entries",
    "maxItems": "up to {} entries",
    "minProperties": "{} or more entries",
    "pattern": "matching {}",
}
_NOUNS = {
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
    "string": "text",
    "array": "a list",
    "object": "a mapping",
    "null": "null",
}


@functools.cache
def field_schema(model: type[BaseModel]) -> Schema:
    """The JSON schema of a model's fields, with every reference written out in its place."""
    schema = model.model_json_schema()
    return _inlined(schema, schema.get("$defs", {}))


def _inlined(node: Any, definitions: Mapping[str, Any]) -> Any:
    if isinstance(node, Mapping):
        if "$ref" in node:
            target = definitions[str(node["$ref"]).rsplit("/", 1)[-1]]
            rest = {key: value for key, value in node.items() if key != "$ref"}
            return _inlined({**target, **rest}, definitions)
        return {key: _inlined(value, definitions) for key, value in node.items() if key != "$defs"}
    if isinstance(node, list):
        return [_inlined(item, definitions) for item in node]
    return node


def variants(node: Schema) -> Iterator[Schema]:
    """The alternatives of a schema node, `null` left out."""
    alternatives = node.get("anyOf") or node.get("oneOf")
    if alternatives:
        for alternative in alternatives:
            yield from variants(alternative)
    elif node.get("type") != "null":
        yield node


def nodes_at(schema: Schema, path: Sequence[str | int]) -> list[Schema]:
    """The schema nodes that a value at `path` may satisfy.

    Parts of the path that name no key or index (a union's branch) are passed over.
    """
    current = list(variants(schema))
    for part in path:
        below = [child for node in current if (child := _child(node, part)) is not None]
        branch = [node for node in current if part in _branch_names(node)]
        if below:
            current = [variant for node in below for variant in variants(node)]
        elif branch:
            current = branch
    return current


def _branch_names(node: Schema) -> list[Any]:
    """How pydantic may call this alternative in a location: by its class or by its tag."""
    tags = [
        choice for child in node.get("properties", {}).values() for choice in choices_of([child])
    ]
    return [node.get("title"), *tags]


def _child(node: Schema, part: str | int) -> Schema | None:
    if isinstance(part, int):
        prefix = node.get("prefixItems", [])
        found = prefix[part] if part < len(prefix) else node.get("items")
    else:
        found = node.get("properties", {}).get(part, node.get("additionalProperties"))
    return found if isinstance(found, Mapping) else None


def keys_of(nodes: Sequence[Schema]) -> list[str]:
    """The keys that a mapping at these nodes may have, in the order of their declaration."""
    return list(dict.fromkeys(key for node in nodes for key in node.get("properties", {})))


def choices_of(nodes: Sequence[Schema]) -> list[Any]:
    """The values of an enumeration, if the nodes are one."""
    return [
        choice
        for node in nodes
        for choice in (
            node["enum"] if "enum" in node else [node["const"]] if "const" in node else []
        )
    ]


def in_words(node: Schema) -> str:
    """What a value may be, in words: `a whole number, at least 1`."""
    return (
        " or ".join(dict.fromkeys(_in_words(variant) for variant in variants(node))) or "anything"
    )


def _in_words(node: Schema) -> str:
    choices = choices_of([node])
    if choices:
        return ", ".join(repr(choice) for choice in choices)
    if node.get("format") == "date":
        return "a date such as 2025-01-06"
    if node.get("pattern") == TEMPLATE_PATTERN:
        return "a template"
    noun = _NOUNS.get(str(node.get("type")), "anything")
    if node.get("type") == "array" and isinstance(node.get("items"), Mapping):
        noun = f"a list, each entry {in_words(node['items'])}"
    if node.get("properties"):
        noun = f"a mapping with the keys {', '.join(node['properties'])}"
    elif isinstance(node.get("additionalProperties"), Mapping):
        noun = f"a mapping, each value {in_words(node['additionalProperties'])}"
    if "pattern" in node and node.get("examples"):
        noun = f"text such as {node['examples'][0]!r}"
        node = {key: value for key, value in node.items() if key != "pattern"}
    if node.get("minLength") and node["minLength"] == node.get("maxLength"):
        length = node["minLength"]
        noun = "one character" if length == 1 else f"{length} characters"
        node = {key: value for key, value in node.items() if not key.endswith("Length")}
    bounds = [text.format(_short(node[key])) for key, text in _BOUNDS.items() if key in node]
    return ", ".join([noun, *bounds])


def _short(bound: Any) -> Any:
    """1000 for 1000.0, which pydantic makes of the bounds of every number."""
    return int(bound) if isinstance(bound, float) and bound.is_integer() else bound
