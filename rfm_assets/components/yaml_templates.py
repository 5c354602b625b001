"""Templates in YAML, such as `{{ env.X }}`: what they stand for, before the values are judged.

Judging values and reporting errors do not belong here (`strict_yaml.py`, `yaml_problems.py`).
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import yaml
from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

from rfm_assets.components.yaml_schema import TEMPLATE_PATTERN

Path: TypeAlias = tuple[str | int, ...]

_TEMPLATE = re.compile(r"\{\{|\{%|\{#")
_WHOLE = re.compile(r"^\s*\{\{((?:(?!\}\}).)*)\}\}\s*$", re.DOTALL)
_ENVIRONMENT_VARIABLE = re.compile(r"^\s*env\.(\w+)\s*$")


class FromTemplate:
    """Marks a field whose value is a Dagster object, which only a template can produce."""

    def __get_pydantic_core_schema__(
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        del handler

        def checked(value: object, info: core_schema.ValidationInfo) -> object:
            objects = (info.context or {}).get("objects", {})
            found = objects.get(value, value) if isinstance(value, str) else value
            if isinstance(found, source):
                return found
            raise PydanticCustomError(
                "from_template",
                "{given} is no {wanted}. Write a template that gives one, such as {sample}.",
                {
                    "given": repr(found),
                    "wanted": source.__name__,
                    "sample": f"'{{{{ dg.{source.__name__}.… }}}}'",
                },
            )

        return core_schema.with_info_plain_validator_function(checked)

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        del schema, handler
        return {"type": "string", "pattern": TEMPLATE_PATTERN}


@dataclass
class Rendered:
    """Values with their templates resolved.

    `value` is JSON; an object that JSON cannot hold stands in `objects` under a token. `texts` are
    the places whose text came from a template, `failures` the templates that did not work, and
    `notes` say what else a reader should know about a place if its value is refused.
    """

    value: Any = None
    objects: dict[str, object] = field(default_factory=dict)
    texts: dict[Path, str] = field(default_factory=dict)
    failures: list[tuple[Path, str]] = field(default_factory=list)
    notes: dict[Path, str] = field(default_factory=dict)

    def with_scalars_at(self, locations: Sequence[Sequence[str | int]]) -> Any | None:
        """The values, with text from templates read as a YAML scalar where text was refused.

        None if no refused value is text from a template.
        """
        refused = [path for path in self.texts if any(_begins(loc, path) for loc in locations)]
        if not refused:
            return None
        value = json.loads(json.dumps(self.value))
        for path in refused:
            *parents, last = path
            holder = value
            for part in parents:
                holder = holder[part]
            scalar = yaml.safe_load(self.texts[path])
            holder[last] = scalar if isinstance(scalar, int | float) else self.texts[path]
        return value


def render(attributes: Mapping[str, Any], scope: Mapping[str, Any]) -> Rendered:
    """`attributes` with every template evaluated in `scope`."""
    rendered = Rendered()
    rendered.value = _rendered(attributes, (), scope, rendered)
    return rendered


def _rendered(value: Any, path: Path, scope: Mapping[str, Any], into: Rendered) -> Any:
    if isinstance(value, Mapping):
        return {str(k): _rendered(v, (*path, str(k)), scope, into) for k, v in value.items()}
    if isinstance(value, list):
        return [_rendered(v, (*path, i), scope, into) for i, v in enumerate(value)]
    if not isinstance(value, str) or not _TEMPLATE.search(value):
        return value
    try:
        found = _evaluated(value, scope)
    except Exception as error:  # noqa: BLE001  # a template may call anything
        into.failures.append((path, f"the template {value!r} cannot be resolved: {error}"))
        return value
    variable = (whole := _WHOLE.match(value)) and _ENVIRONMENT_VARIABLE.match(whole[1])
    if found is None and variable:
        into.notes[path] = (
            f"The environment variable {variable[1]} is not set. Set it, or give a default: "
            f"{{{{ env('{variable[1]}', '…') }}}}."
        )
    if isinstance(found, str):
        into.texts[path] = found
    elif not _is_json(found):
        token = f"{{{{ object {len(into.objects)} }}}}"
        into.objects[token] = found
        return token
    return found


def _evaluated(text: str, scope: Mapping[str, Any]) -> Any:
    import jinja2  # most files hold no template, and it takes a tenth of a second

    environment = jinja2.Environment(
        undefined=jinja2.StrictUndefined,
        autoescape=False,  # noqa: S701  # no HTML
        finalize=_something,
    )
    whole = _WHOLE.match(text)
    if whole is None:
        return environment.from_string(text).render(**scope)
    found = environment.compile_expression(whole[1], undefined_to_none=False)(**scope)
    if isinstance(found, jinja2.Undefined):
        str(found)  # raises the error that names what is undefined
    return found


def _something(value: Any) -> Any:
    """The value of one `{{ … }}` within text, which must not read `None` where nothing is set."""
    if value is None:
        raise ValueError("it holds a value that is not set")
    return value


def _is_json(value: object) -> bool:
    # By exact type: Dagster's records are tuples that refuse to be iterated.
    if type(value) is dict:
        return all(isinstance(key, str) and _is_json(item) for key, item in value.items())
    if type(value) in {list, tuple}:
        return all(_is_json(item) for item in value)
    return value is None or type(value) in {str, int, float, bool}


def _begins(location: Sequence[str | int], path: Path) -> bool:
    """Whether a pydantic location is at `path`, its union branches passed over."""
    remaining = list(path)
    for part in location:
        if remaining and part == remaining[0]:
            remaining.pop(0)
    return not remaining
