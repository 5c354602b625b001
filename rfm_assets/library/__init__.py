"""The packaged YAML files, and how a segment scheme is loaded from one, a file or a mapping.

What a scheme means does not belong here (`domain/schemes.py`), nor the proof that it decides
every cell (`domain/scheme_linter.py`); only reading, with the line of everything that is wrong.
"""

from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any, cast

import yaml
from pydantic import ValidationError
from pydantic_core import ErrorDetails

from rfm_assets.domain.cluster_names import NameRule
from rfm_assets.domain.scheme_linter import lint
from rfm_assets.domain.schemes import Rule, Scheme, Segment
from rfm_assets.errors import InvalidScheme, UnknownScheme, YamlProblem, did_you_mean

DEFAULT_SCHEME = "rfm_10"

Lines = Mapping[tuple[str | int, ...], int]
"""The line of each key and list entry of a YAML file, by path."""

_LIBRARY = resources.files("rfm_assets.library")


@cache
def packaged_schemes() -> tuple[str, ...]:
    """The names of the schemes that come with the package."""
    folder = _LIBRARY / "segment_schemes"
    return tuple(sorted(item.name.removesuffix(".yaml") for item in folder.iterdir()))


def load_scheme(
    scheme: str | Path | Mapping[str, object] = DEFAULT_SCHEME,
    *,
    folder: str | Path | None = None,
    key: str = "segment_scheme",
) -> Scheme:
    """A segment scheme that is proven to give every cell exactly one segment.

    Args:
        scheme: Name of a packaged scheme, path of a YAML file, or the scheme itself.
        folder: Folder that a relative path starts from; the working directory where None.
        key: Configuration key that named the scheme, for messages.

    Raises:
        UnknownScheme: Neither a packaged scheme nor a file.
        InvalidScheme: Not a scheme, or one with gaps, dead rules, unknown or duplicate names;
            the message has file and line.
    """
    if isinstance(scheme, Mapping):
        return _checked(scheme, {}, file=None, key=key)
    name = str(scheme)
    if name in packaged_schemes():
        return _packaged(name)
    path = Path(folder or ".") / name
    if not path.is_file():
        raise UnknownScheme(scheme=name, packaged=packaged_schemes(), key=key)
    return _read(path, shown=name, key=key)


@cache
def benchmarks() -> Mapping[str, Mapping[str, tuple[float, float]]]:
    """Typical shares of customers by industry and segment name: low and high, in per cent."""
    data = yaml.safe_load((_LIBRARY / "benchmarks.yaml").read_text(encoding="utf-8"))
    return {
        industry: {segment: (float(low), float(high)) for segment, (low, high) in shares.items()}
        for industry, shares in data.items()
    }


@cache
def cluster_names(name: str) -> tuple[NameRule, ...]:
    """The packaged rules that name clusters: `behavioral_8` or `rfm_4`."""
    text = (_LIBRARY / "cluster_names" / f"{name}.yaml").read_text(encoding="utf-8")
    return tuple(NameRule.model_validate(rule) for rule in yaml.safe_load(text))


@cache
def _packaged(name: str) -> Scheme:
    file = _LIBRARY / "segment_schemes" / f"{name}.yaml"
    return _read(file, shown=f"rfm_assets/library/segment_schemes/{name}.yaml", key="")


def _read(file: Path | Traversable, *, shown: str, key: str) -> Scheme:
    def refused(line: int | None, message: str) -> InvalidScheme:
        problem = YamlProblem(line, "", message)
        return InvalidScheme(scheme=shown, problems=[problem], file=shown, key=key)

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
        raise refused(1, "is no scheme. Write a mapping with `id`, `segments` and `rules`.")
    lines: dict[tuple[str | int, ...], int] = {}
    for path, line in _lines(root):
        if path in lines:
            message = f"`{_written(path)}` stands twice, first in line {lines[path]}. Keep one."
            raise refused(line, message)
        lines[path] = line
    return _checked(cast("dict[str, object]", data), lines, file=shown, key=key)


def _checked(data: Mapping[str, object], lines: Lines, *, file: str | None, key: str) -> Scheme:
    name = str(data.get("id", "unnamed"))
    try:
        scheme = Scheme.model_validate(dict(data))
    except ValidationError as error:
        problems = [_problem_of(detail, lines) for detail in error.errors()]
    else:
        problems = [
            YamlProblem(_line_at(lines, found.path), _written(found.path), found.message)
            for found in lint(scheme).errors
        ]
        if not problems:
            return scheme
    raise InvalidScheme(scheme=name, problems=problems, file=file, key=key)


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


def _problem_of(detail: ErrorDetails, lines: Lines) -> YamlProblem:
    location = detail["loc"]
    message = detail["msg"].removeprefix("Value error, ")
    if detail["type"] == "extra_forbidden":
        *above, word = location
        model = _MODEL_OF[str(above[0])] if above else Scheme
        message = f"is not a key here. {did_you_mean(str(word), tuple(model.model_fields))}"
    elif detail["type"] == "missing":
        *above, missing = location
        message = f"{missing!r} is missing. Add it."
        location = tuple(above)
    elif detail["type"] != "value_error":
        message = f"{detail['input']!r} is not allowed: {message}."
    return YamlProblem(_line_at(lines, location), _written(location), message)


_MODEL_OF = {"segments": Segment, "rules": Rule}


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
