"""Reading a definition from a packaged YAML file, the user's file or a mapping.

Each kind of definition has a pydantic model and a linter; whatever is wrong is told with file and
line. What a definition means does not belong here.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any, Generic, TypeVar, cast

import yaml
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from rfm_assets.domain.scheme_linter import Finding
from rfm_assets.errors import InvalidDefinition, UnknownDefinition, YamlProblem, did_you_mean

Model = TypeVar("Model", bound=BaseModel)

Lines = Mapping[tuple[str | int, ...], int]
"""The line of each key and list entry of a YAML file, by path."""

_LIBRARY = resources.files("rfm_assets.library")


@dataclass(frozen=True)
class Definitions(Generic[Model]):
    """One kind of definition.

    Attributes:
        noun: What messages call it.
        folder: Below the library, where the packaged ones lie.
        model: What a definition is made of.
        below: The models of the entries of its lists, by key, for nearest matches.
        findings: What is wrong with one that the model accepts.
        keys: What it needs, for who writes something else.
        invalid, unknown: The errors of this kind.
    """

    noun: str
    folder: str
    model: type[Model]
    below: Mapping[str, type[BaseModel]]
    findings: Callable[[Model], Sequence[Finding]]
    keys: str
    invalid: type[InvalidDefinition]
    unknown: type[UnknownDefinition]

    @cached_property
    def packaged(self) -> tuple[str, ...]:
        """The names of those that come with the package."""
        folder = _LIBRARY / self.folder
        return tuple(sorted(item.name.removesuffix(".yaml") for item in folder.iterdir()))

    @cached_property
    def _loaded(self) -> dict[str, Model]:
        return {}

    def load(
        self, given: str | Path | Mapping[str, object], *, folder: str | Path | None, key: str
    ) -> Model:
        """The definition by its packaged name, its file or its content.

        Raises:
            UnknownDefinition: Neither a packaged one nor a file.
            InvalidDefinition: Something is wrong with it; the message has file and line.
        """
        if isinstance(given, Mapping):
            return self._checked(given, {}, file=None, key=key)
        name = str(given)
        if name in self.packaged:
            if name not in self._loaded:
                file = _LIBRARY / self.folder / f"{name}.yaml"
                shown = f"rfm_assets/library/{self.folder}/{name}.yaml"
                self._loaded[name] = self._read(file, shown=shown, key="")
            return self._loaded[name]
        path = Path(folder or ".") / name
        if not path.is_file():
            raise self.unknown(name, packaged=self.packaged, key=key)
        return self._read(path, shown=name, key=key)

    def _read(self, file: Path | Traversable, *, shown: str, key: str) -> Model:
        def refused(line: int | None, message: str) -> InvalidDefinition:
            problem = YamlProblem(line, "", message)
            return self.invalid(shown, problems=[problem], file=shown, key=key)

        try:
            loader: Any = yaml.SafeLoader(file.read_text(encoding="utf-8"))
            root: yaml.Node | None = loader.get_single_node()
            data: object = loader.construct_document(root) if root else None
        except UnicodeDecodeError as error:
            raise refused(None, f"is not UTF-8 text ({error.reason}). Save it as UTF-8.") from error
        except yaml.MarkedYAMLError as error:
            line = error.problem_mark.line + 1 if error.problem_mark else None
            raise refused(line, f"is not YAML: {error.problem}.") from error
        if not isinstance(data, dict):
            raise refused(1, f"is no {self.noun}. Write a mapping with {self.keys}.")
        lines: dict[tuple[str | int, ...], int] = {}
        for path, line in _lines(root):
            if path in lines:
                message = f"`{_written(path)}` stands twice, first in line {lines[path]}. Keep one."
                raise refused(line, message)
            lines[path] = line
        return self._checked(cast("dict[str, object]", data), lines, file=shown, key=key)

    def _checked(
        self, data: Mapping[str, object], lines: Lines, *, file: str | None, key: str
    ) -> Model:
        name = str(data.get("id", "unnamed"))
        try:
            made = self.model.model_validate(dict(data))
        except ValidationError as error:
            problems = [self._problem_of(detail, lines) for detail in error.errors()]
        else:
            problems = [
                YamlProblem(_line_at(lines, found.path), _written(found.path), found.message)
                for found in self.findings(made)
            ]
            if not problems:
                return made
        raise self.invalid(name, problems=problems, file=file, key=key)

    def _problem_of(self, detail: ErrorDetails, lines: Lines) -> YamlProblem:
        location = detail["loc"]
        message = detail["msg"].removeprefix("Value error, ")
        if detail["type"] == "extra_forbidden":
            *above, word = location
            model = self.below[str(above[0])] if above else self.model
            message = f"is not a key here. {did_you_mean(str(word), tuple(model.model_fields))}"
        elif detail["type"] == "missing":
            *above, missing = location
            message = f"{missing!r} is missing. Add it."
            location = tuple(above)
        elif detail["type"] == "literal_error":
            words = re.findall("'([^']+)'", str(detail.get("ctx", {}).get("expected")))
            message = (
                f"{detail['input']!r} is not allowed. {did_you_mean(str(detail['input']), words)}"
            )
        elif detail["type"] != "value_error":
            message = f"{detail['input']!r} is not allowed: {message}."
        return YamlProblem(_line_at(lines, location), _written(location), message)


def line_of(text: str, path: Sequence[str | int]) -> int | None:
    """The line of a place in a YAML text that can be read, or of what holds it."""
    return _line_at(dict(_lines(yaml.compose(text, Loader=yaml.SafeLoader))), path)


def _lines(
    node: yaml.Node | None, path: tuple[str | int, ...] = ()
) -> Iterator[tuple[tuple[str | int, ...], int]]:
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            below = (*path, str(key.value))
            yield below, key.start_mark.line + 1
            yield from _lines(value, below)
    elif isinstance(node, yaml.SequenceNode):
        for index, item in enumerate(node.value):
            yield (*path, index), item.start_mark.line + 1
            yield from _lines(item, (*path, index))


def _line_at(lines: Lines, path: Sequence[str | int]) -> int | None:
    """The line of a place, or of what holds it."""
    for length in range(len(path), 0, -1):
        if tuple(path[:length]) in lines:
            return lines[tuple(path[:length])]
    return 1 if lines else None


def _written(path: Sequence[str | int]) -> str:
    """A path as it is written in prose: rules[3].r."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text
