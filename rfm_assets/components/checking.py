"""Everything that is wrong in a project's YAML files, not only in the first one.

Dagster stops at the first component that does not load, `dg check yaml` sees one file per
component type. What makes a value wrong does not belong here (`strict_yaml.py`).
"""

import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from inspect import isabstract
from pathlib import Path
from typing import Any

import dagster as dg
import yaml
from dagster.components.core.component_tree import ComponentTree
from dagster_shared.yaml_utils import parse_yamls_with_source_position
from dagster_shared.yaml_utils.source_position import (
    SourcePositionTree,
    ValueAndSourcePositionTree,
)

from rfm_assets.components.strict_yaml import StrictComponent
from rfm_assets.components.wiring import clashes
from rfm_assets.components.yaml_problems import line_at, written
from rfm_assets.errors import InvalidProject, InvalidYaml, RfmError, YamlProblem, did_you_mean

FILE_NAMES = ("defs.yaml", "defs.yml")
FILE_KEYS = (
    "type",
    "attributes",
    "template_vars_module",
    "requirements",
    "post_processing",
)


def invalid_files(project: Path) -> list[InvalidYaml]:
    """One error for each YAML file of the project that has something wrong in it.

    Args:
        project: Folder with the project's `pyproject.toml` or `dg.toml`.
    """
    tree = ComponentTree.for_project(project)
    files = sorted(path for name in FILE_NAMES for path in tree.defs_module_path.rglob(name))
    unreadable = [error for path in files if (error := _unreadable(path, tree.project_root))]
    if unreadable:  # Dagster cannot tell what the other files are as long as one is unreadable
        return unreadable
    found: list[InvalidYaml] = []
    for loc, decl in tree.find_root_decl().iterate_loc_component_decl_pairs():
        if issubclass(decl.component_type, StrictComponent):
            try:
                tree.build_defs(loc)
            except Exception as error:  # noqa: BLE001  whatever a component raises
                # Another error is not one of a value: whoever asks knows of it already.
                invalid = _cause(error)
                if invalid is not None and str(invalid) not in map(str, found):
                    found.append(invalid)
    return found


@contextmanager
def every_problem(project: Path) -> Iterator[None]:
    """Around loading a project: if that fails, raise what is wrong in all its files.

    Raises:
        InvalidProject: With file and line of each problem, also of a Python file that raises.
    """
    try:
        yield
    except Exception as error:
        invalid = _python_at_fault(error, project) or invalid_files(project) or clashes(project)
        if not invalid:
            raise
        raise InvalidProject(invalid=invalid) from None


def _python_at_fault(error: BaseException, project: Path) -> list[InvalidYaml]:
    """The line of the project's own Python that raised what Dagster then failed with."""
    folder = ComponentTree.for_project(project).defs_module_path
    root: BaseException = error
    while (cause := root.__cause__) is not None:
        root = cause
    if isinstance(root, RfmError):  # it names its own place
        return []
    frames = traceback.extract_tb(root.__traceback__)
    places = [(Path(frame.filename), frame.lineno) for frame in frames]
    if isinstance(root, SyntaxError) and root.filename:
        places.append((Path(root.filename), root.lineno))
    mine = [(path, line) for path, line in places if path.is_relative_to(folder)]
    if not mine:
        return []
    path, line = mine[-1]
    message = f"raises {type(root).__name__}: {root}"
    return [InvalidYaml(file=_shown(path, project), problems=[YamlProblem(line, "", message)])]


def _cause(error: BaseException | None) -> InvalidYaml | None:
    while error is not None and not isinstance(error, InvalidYaml):
        error = error.__cause__
    return error


def _unreadable(path: Path, root: Path) -> InvalidYaml | None:
    shown = _shown(path, root)
    try:
        text = path.read_bytes().decode("utf-8")
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        byte = f"0x{error.object[error.start]:02x}"
        message = f"has the byte {byte}, which is not UTF-8. Save the file as UTF-8."
        return InvalidYaml(file=shown, problems=[YamlProblem(line, "", message)])
    try:
        documents = parse_yamls_with_source_position(text, str(path))
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        reason = getattr(error, "problem", None) or str(error)
        problem = YamlProblem(mark.line + 1 if mark else None, "", f"is not YAML: {reason}.")
        return InvalidYaml(file=shown, problems=[problem])
    if not documents:
        problem = YamlProblem(None, "", "is empty. Name a component: `type: …`.")
        return InvalidYaml(file=shown, problems=[problem])
    problems = [problem for document in documents for problem in _file_problems(document)]
    return InvalidYaml(file=shown, problems=problems) if problems else None


def _shown(path: Path, root: Path) -> str:
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else path.as_posix()


def _file_problems(document: ValueAndSourcePositionTree) -> Iterator[YamlProblem]:
    values, positions = document
    if not isinstance(values, dict):
        yield YamlProblem(line_at(positions, ()), "", "is no mapping. Name a component: `type: …`.")
        return
    yield from _unquoted_keys(values, positions)
    for key in values:
        if isinstance(key, str) and key not in FILE_KEYS:
            message = f"is not a key here. {did_you_mean(key, FILE_KEYS)}"
            yield YamlProblem(line_at(positions, [key]), key, message)
    if "type" not in values:
        yield YamlProblem(line_at(positions, ()), "type", "is required and missing.")
    elif (message := _type_problem(values["type"])) is not None:
        yield YamlProblem(line_at(positions, ["type"]), "type", message)
    if not isinstance(values.get("attributes") or {}, dict):
        message = f"{values['attributes']!r} is not allowed. Allowed: a mapping."
        yield YamlProblem(line_at(positions, ["attributes"]), "attributes", message)


def _unquoted_keys(
    value: object, positions: SourcePositionTree, path: tuple[str | int, ...] = ()
) -> Iterator[YamlProblem]:
    """Keys that YAML takes for a number, a date or a truth value; Dagster wants text."""
    if isinstance(value, list):
        for position, one in enumerate(value):
            yield from _unquoted_keys(one, positions, (*path, position))
    if not isinstance(value, dict):
        return
    for key, one in value.items():
        below = (*path, key)
        if isinstance(key, str):
            yield from _unquoted_keys(one, positions, below)
        else:
            message = f"the key {key!r} is no text. Write it in quotes, or as a name."
            yield YamlProblem(line_at(positions, below), written(path), message)


def _type_problem(name: Any) -> str | None:
    module, _, component = str(name).rpartition(".")
    if not module or str(name).startswith("."):
        return None if str(name).startswith(".") else f"{name!r} is not `<module>.<Component>`."
    try:
        found = import_module(module)
    except ModuleNotFoundError as error:
        return f"{name!r} cannot be imported: {error}."
    if hasattr(found, component):
        return None
    known = [word for word in dir(found) if _is_component(getattr(found, word))]
    return f"{name!r} does not exist. {did_you_mean(component, known)}"


def _is_component(value: object) -> bool:
    return isinstance(value, type) and issubclass(value, dg.Component) and not isabstract(value)
