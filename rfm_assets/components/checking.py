"""Everything that is wrong in a project's YAML files, not only in the first one.

Dagster stops at the first component that does not load, `dg check yaml` sees one file per
component type. What makes a value wrong does not belong here (`strict_yaml.py`).
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from inspect import isabstract
from pathlib import Path
from typing import Any

import dagster as dg
import yaml
from dagster.components.core.component_tree import ComponentTree
from dagster_shared.yaml_utils import parse_yamls_with_source_position
from dagster_shared.yaml_utils.source_position import ValueAndSourcePositionTree

from rfm_assets.components.base import RfmComponent
from rfm_assets.components.strict_yaml import StrictComponent
from rfm_assets.components.yaml_problems import line_at
from rfm_assets.errors import InvalidProject, InvalidYaml, YamlProblem, did_you_mean, nearest

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
            except Exception as error:
                invalid = _cause(error)
                if invalid is None:
                    raise
                if str(invalid) not in map(str, found):
                    found.append(invalid)
    return found


def require_upstreams(project: Path, definitions: dg.Definitions) -> None:
    """Raise if a component reads a misspelt table: no asset of the project, but close to one.

    Anything else may be another project's, or made here later. An asset of another project with
    such a name is known once it is declared here as a `dg.AssetSpec`.

    Raises:
        InvalidProject: With the file and line of each such key.
    """
    tree = ComponentTree.for_project(project)
    components = tree.get_all_components(of_type=RfmComponent)
    if missing := _without_upstream(components, definitions):
        raise InvalidProject(invalid=missing)


def _without_upstream(
    components: Sequence[RfmComponent], definitions: dg.Definitions
) -> list[InvalidYaml]:
    # Dagster makes a stub of every upstream that nobody defines.
    known = {
        spec.key
        for spec in definitions.resolve_all_asset_specs()
        if "dagster/auto_created_stub_asset" not in spec.metadata
    }
    names = sorted(key.to_user_string() for key in known)
    read = {
        spec.key: {dep.asset_key for dep in spec.deps}
        for spec in definitions.resolve_all_asset_specs()
    }
    found: list[InvalidYaml] = []
    for component in components:
        absent = read.get(component.key, set()) - known
        for path, name in component.upstream_names():
            others = [other for other in names if other != component.key.to_user_string()]
            meant = nearest(name, others)
            if dg.AssetKey.from_user_string(name) in absent and meant is not None:
                message = (
                    f"{name!r} is no asset of this project. Did you mean {meant!r}? If another "
                    "project makes it, declare it here as a dg.AssetSpec."
                )
                found.append(component.invalid(message, *path))
    return found


@contextmanager
def every_problem(project: Path) -> Iterator[None]:
    """Around loading a project: if that fails, raise what is wrong in all its YAML files."""
    try:
        yield
    except Exception:
        invalid = invalid_files(project)
        if invalid:
            raise InvalidProject(invalid=invalid) from None
        raise


def _cause(error: BaseException | None) -> InvalidYaml | None:
    while error is not None and not isinstance(error, InvalidYaml):
        error = error.__cause__
    return error


def _unreadable(path: Path, root: Path) -> InvalidYaml | None:
    shown = path.relative_to(root).as_posix() if path.is_relative_to(root) else path.as_posix()
    text = path.read_text(encoding="utf-8")
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


def _file_problems(document: ValueAndSourcePositionTree) -> Iterator[YamlProblem]:
    values, positions = document
    if not isinstance(values, dict):
        yield YamlProblem(line_at(positions, ()), "", "is no mapping. Name a component: `type: …`.")
        return
    for key in values:
        if key not in FILE_KEYS:
            message = f"is not a key here. {did_you_mean(str(key), FILE_KEYS)}"
            yield YamlProblem(line_at(positions, [key]), str(key), message)
    if "type" not in values:
        yield YamlProblem(line_at(positions, ()), "type", "is required and missing.")
    elif (message := _type_problem(values["type"])) is not None:
        yield YamlProblem(line_at(positions, ["type"]), "type", message)
    if not isinstance(values.get("attributes") or {}, dict):
        message = f"{values['attributes']!r} is not allowed. Allowed: a mapping."
        yield YamlProblem(line_at(positions, ["attributes"]), "attributes", message)


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
