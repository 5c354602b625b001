"""What is wrong in a YAML file, in words: pydantic's errors with line, allowed values, nearest match.

Judging values does not belong here: the component's fields do that.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

from dagster_shared.yaml_utils.source_position import SourcePositionTree
from pydantic import BaseModel, ValidationError

from rfm_assets.components.yaml_schema import (
    Schema,
    choices_of,
    field_schema,
    in_words,
    keys_of,
    nodes_at,
)
from rfm_assets.errors import RfmError, YamlProblem, did_you_mean, nearest

Path: TypeAlias = tuple[str | int, ...]

_SHOWN_CHARACTERS = 60
_WRONG_BRANCH = frozenset(
    f"{kind}_type"
    for kind in (
        "string",
        "int",
        "float",
        "bool",
        "list",
        "dict",
        "model",
        "date",
        "tuple",
    )
) | {"model_attributes_type", "none_required", "is_instance_of"}
"""Errors that only say that a value is meant for another branch of a union."""


def problems_of(
    error: ValidationError,
    *,
    model: type[BaseModel],
    attributes: Mapping[str, Any],
    positions: SourcePositionTree | None,
    notes: Mapping[Path, str],
) -> list[YamlProblem]:
    """Every error of a validation, in the order of the file, one problem for each place.

    `attributes` are the values that were validated, `notes` what else to say of a place.
    """
    schema = field_schema(model)
    by_place: dict[Path, list[Mapping[str, Any]]] = {}
    for detail in error.errors(include_url=False):
        path = existing_path(detail["loc"], attributes, is_key_error=_names_a_key(detail["type"]))
        by_place.setdefault(path, []).append(detail)
    found: list[YamlProblem] = []
    for path, details in by_place.items():
        if _explained_below(path, details, by_place):
            continue
        apt = [detail for detail in details if detail["type"] not in _WRONG_BRANCH] or details[:1]
        for detail in apt[:1] if len(details) > len(apt) else apt:
            problem = _problem(detail, path, schema, attributes, positions)
            note = f" {notes[path]}" if path in notes else ""
            found.append(problem._replace(message=problem.message + note))
    return sorted(dict.fromkeys(found), key=lambda problem: problem.line or 0)


def problem_of(
    error: RfmError,
    *,
    attributes: Mapping[str, Any],
    positions: SourcePositionTree | None,
) -> YamlProblem:
    """An error of the domain, placed at the key it names, or at the first key it mentions."""
    key = getattr(error, "key", "") or _first_key_in(str(error), attributes)
    parts = [
        int(part) if part.isdigit() else part for part in re.split(r"[.\[\]]+", key.strip("]"))
    ]
    path = existing_path(parts, attributes) if key else ()
    return YamlProblem(line_at(positions, path), "", str(error))


def line_at(positions: SourcePositionTree | None, path: Sequence[str | int]) -> int | None:
    """The line of a key, or of its nearest ancestor that stands in the file."""
    if positions is None:
        return None
    for part in path:
        if part not in positions.children:
            break
        positions = positions.children[part]
    return positions.position.start.line


def existing_path(
    location: Sequence[str | int], attributes: Any, *, is_key_error: bool = False
) -> Path:
    """A pydantic location without the parts that are no key or index in the file.

    pydantic names union branches and validators in its locations. The last part of a missing or
    superfluous key stays although the file may not have it.
    """
    path: list[str | int] = []
    value = attributes
    for index, part in enumerate(location):
        last = index == len(location) - 1
        in_list = isinstance(value, list) and isinstance(part, int) and part < len(value)
        if in_list or (isinstance(value, Mapping) and part in value):
            value = value[part]
        elif not (last and is_key_error):
            continue
        path.append(part)
    return tuple(path)


def written(path: Sequence[str | int]) -> str:
    """A path as it is written in prose: `asset.owners[0]`."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text


def _names_a_key(kind: str) -> bool:
    return kind in {"missing", "extra_forbidden"}


def _explained_below(
    path: Path,
    details: Sequence[Mapping[str, Any]],
    by_place: Mapping[Path, object],
) -> bool:
    """A union whose right branch already reports what is wrong deeper in the value."""
    only_branches = all(
        detail["type"] in _WRONG_BRANCH
        or (detail["type"] == "literal_error" and isinstance(detail["input"], list | dict))
        for detail in details
    )
    deeper = any(len(other) > len(path) and other[: len(path)] == path for other in by_place)
    return only_branches and deeper


def _problem(
    detail: Mapping[str, Any],
    path: Path,
    schema: Schema,
    attributes: Mapping[str, Any],
    positions: SourcePositionTree | None,
) -> YamlProblem:
    message = _MESSAGES.get(detail["type"], _refused)(detail, nodes_at(schema, detail["loc"]))
    if detail["type"] == "extra_forbidden":
        parent = nodes_at(schema, detail["loc"][:-1])
        message = f"is not a key here. {did_you_mean(str(path[-1]), keys_of(parent))}"
    if detail["type"] in {"value_error", "assertion_error"}:
        path = path or existing_path([_first_key_in(message, attributes)], attributes)
    key = written(path)
    return YamlProblem(line_at(positions, path), "" if message.startswith(key) else key, message)


def _missing(detail: Mapping[str, Any], nodes: Sequence[Schema]) -> str:
    del detail
    about = next((node["description"] for node in nodes if "description" in node), "")
    return f"is required and missing: {_wanted(nodes)}. {about}".strip()


def _refused(detail: Mapping[str, Any], nodes: Sequence[Schema]) -> str:
    given, choices = detail["input"], choices_of(nodes)
    only_choices = all(choices_of([node]) for node in nodes)
    words = [str(choice) for choice in choices]
    if choices and (only_choices or nearest(str(given), words)):
        return f"{_shown(given)} is not allowed. {did_you_mean(str(given), words)}"
    wanted = _wanted(nodes) or detail["msg"]
    return f"{_shown(given)} is not allowed. Allowed: {wanted}.{_hint(given, wanted)}"


def _wrong_tag(detail: Mapping[str, Any], nodes: Sequence[Schema]) -> str:
    del nodes
    tag, given = detail["ctx"]["discriminator"].strip("'"), detail["ctx"]["tag"]
    words = [word.strip().strip("'") for word in detail["ctx"]["expected_tags"].split(",")]
    return f"`{tag}` {given!r} is not allowed. {did_you_mean(given, words)}"


def _missing_tag(detail: Mapping[str, Any], nodes: Sequence[Schema]) -> str:
    tag = detail["ctx"]["discriminator"].strip("'")
    choices = choices_of([node["properties"][tag] for node in nodes])
    return f"`{tag}` is required and missing: {', '.join(repr(choice) for choice in choices)}."


_MESSAGES: Mapping[str, Callable[[Mapping[str, Any], Sequence[Schema]], str]] = {
    "missing": _missing,
    "union_tag_invalid": _wrong_tag,
    "union_tag_not_found": _missing_tag,
    "from_template": lambda detail, _: str(detail["msg"]),
    "value_error": lambda detail, _: str(detail["ctx"]["error"]),
    "assertion_error": lambda detail, _: str(detail["ctx"]["error"]),
}


def _wanted(nodes: Sequence[Schema]) -> str:
    return " or ".join(dict.fromkeys(in_words(node) for node in nodes))


def _hint(given: object, wanted: str) -> str:
    if isinstance(given, str) and re.fullmatch(r"[-+]?\d+(\.\d+)?", given) and "number" in wanted:
        return " Without quotes it is a number."
    if isinstance(given, int | float) and not isinstance(given, bool) and wanted.startswith("text"):
        return " In quotes it is text."
    return ""


def _first_key_in(message: str, attributes: Mapping[str, Any]) -> str:
    """The key of the file that a message about several keys mentions first."""
    words = re.findall(r"\w+", message)
    return next((word for word in words if word in attributes), "")


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= _SHOWN_CHARACTERS else f"{text[: _SHOWN_CHARACTERS - 1]}…"
