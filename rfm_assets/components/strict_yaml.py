"""Components whose YAML is judged strictly, with file and line.

Dagster lets every field also be a string, because it may be a template, and so lets a word for a
number or a misspelt choice pass until something breaks without a line. Here templates are resolved
first, and then the file's values meet the component's own pydantic fields in strict mode. What a
field means does not belong here: the classes that inherit from `StrictComponent` declare that.
"""

import functools
import json
from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Self, TypeVar

import dagster as dg
import yaml
from dagster.components.core.context import RESOLUTION_CONTEXT_STASH_KEY
from dagster.components.resolved.context import ResolutionContext
from dagster_shared.yaml_utils.source_position import SourcePositionTree
from pydantic import (
    BaseModel,
    ConfigDict,
    GetJsonSchemaHandler,
    PrivateAttr,
    ValidationError,
    create_model,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from rfm_assets.components.editor_schema import editor_schema
from rfm_assets.components.scaffolding import scaffolder_for
from rfm_assets.components.yaml_problems import (
    line_at,
    problem_of,
    problems_of,
    written,
)
from rfm_assets.components.yaml_templates import Rendered, render
from rfm_assets.domain.config import ConfigModel
from rfm_assets.errors import InvalidYaml, RfmError, YamlProblem

_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""The quick one, where the machine has it."""


class Attributes(BaseModel):
    """The `attributes` of a component as they stand in the file.

    It shows the component's schema to Dagster but judges nothing: that happens in
    `StrictComponent.resolve_from_model`, where templates can be resolved and lines are known.
    """

    model_config = ConfigDict(extra="allow")
    component: ClassVar[type["StrictComponent"]]

    @classmethod
    def __get_pydantic_json_schema__(
        cls, core_schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        del core_schema, handler
        return editor_schema(cls.component)


@dataclass(frozen=True)
class Source:
    """Where a component's attributes stand: the file, its lines, and the values as written.

    `folder` is the component's place below the definitions folder: its name in other YAML files.
    """

    file: str = "attributes"
    folder: str = ""
    positions: SourcePositionTree | None = None
    attributes: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, attributes: Mapping[str, Any], context: ResolutionContext) -> "Source":
        tree = context.source_position_tree
        if tree is None:
            return cls(attributes=attributes)
        loading = context.stash.get(RESOLUTION_CONTEXT_STASH_KEY)
        path, root = (
            Path(tree.position.filename),
            getattr(loading, "project_root", None),
        )
        shown = path.relative_to(root) if root and path.is_relative_to(root) else path
        for part in context.path:
            tree = tree.children.get(part, tree)
        folder = loading.path.relative_to(loading.defs_module_path).as_posix() if loading else ""
        return cls(shown.as_posix(), folder, tree, attributes)

    def problem(self, path: Sequence[str | int], message: str) -> YamlProblem:
        return YamlProblem(line_at(self.positions, path), written(path), message)

    def repeated_keys(self) -> list[YamlProblem]:
        """Keys that stand twice in one mapping, of which YAML silently keeps the last."""
        if self.positions is None or not Path(self.positions.position.filename).is_file():
            return []
        text = Path(self.positions.position.filename).read_text(encoding="utf-8")
        span = range(self.positions.position.start.line, _last_line(self.positions) + 1)
        return [
            YamlProblem(line, key, f"stands twice, first in line {first}. Keep one of them.")
            for document in yaml.compose_all(text, Loader=_LOADER)
            for line, key, first in _repeated(document)
            if line in span
        ]


class StrictComponent(ConfigModel, dg.Component, dg.Resolvable):
    """A Dagster component with strict YAML. Declare fields, write `definitions`.

    A wrong value is an `InvalidYaml` that lists everything wrong in the file. An error of this
    package that `definitions` raises is placed at the key it names.
    """

    example: ClassVar[Mapping[str, Any]] = {}
    """A small configuration that works: what the scaffolder writes, and the reference shows."""

    _source: Source = PrivateAttr(default_factory=Source)

    @classmethod
    def __pydantic_init_subclass__(cls, **kwargs: Any) -> None:
        super().__pydantic_init_subclass__(**kwargs)
        dg.scaffold_with(scaffolder_for(cls))(cls)

    @abstractmethod
    def definitions(self, context: dg.ComponentLoadContext) -> dg.Definitions:
        """The assets, checks, jobs or resources that this component stands for."""

    def build_defs(self, context: dg.ComponentLoadContext) -> dg.Definitions:
        with self.placing_errors():
            return self.definitions(context)

    @contextmanager
    def placing_errors(self) -> Iterator[None]:
        """Give an error of this package the file and line of the key that it names."""
        try:
            yield
        except InvalidYaml:
            raise
        except RfmError as error:
            raise _placed(error, self._source) from error

    def require_all(self, checks: Iterable[Callable[[], object]]) -> None:
        """Make every check, and raise what is wrong in all of them together.

        Raises:
            InvalidYaml: With a problem of each check that failed.
        """
        problems: list[YamlProblem] = []
        for check in checks:
            try:
                check()
            except InvalidYaml:  # of another file, on which the rest depends
                raise
            except RfmError as error:
                problems += _placed(error, self._source).problems
        if problems:
            problems.sort(key=lambda problem: problem.line or 0)
            raise InvalidYaml(file=self._source.file, problems=problems)

    def invalid(self, message: str, *path: str | int) -> InvalidYaml:
        """An error about the key at `path`, with its file and line."""
        return InvalidYaml(file=self._source.file, problems=[self._source.problem(path, message)])

    @property
    def folder(self) -> str:
        """The component's folder below the definitions folder; empty without a YAML file."""
        return self._source.folder

    @classmethod
    def model(cls) -> type[BaseModel]:
        return _attributes_of(cls)

    @classmethod
    def load(cls, attributes: BaseModel | None, context: dg.ComponentLoadContext) -> Self:
        # Dagster constructs a component without attributes directly, which would lose the place.
        return super().load(attributes or cls.model()(), context)

    @classmethod
    def resolve_from_model(cls, context: ResolutionContext, model: BaseModel) -> Self:
        source = Source.of(dict(model.model_extra or {}), context)
        loaded = _judged(cls, source, context.scope)
        loaded._source = source  # noqa: SLF001  # of its own class
        return loaded


C = TypeVar("C", bound=StrictComponent)


@functools.cache
def _attributes_of(component: type[StrictComponent]) -> type[Attributes]:
    attributes = create_model(f"{component.__name__}Attributes", __base__=Attributes)
    attributes.component = component
    return attributes


def _judged(component: type[C], source: Source, scope: Mapping[str, Any]) -> C:
    rendered = render(source.attributes, scope)
    problems = [
        *source.repeated_keys(),
        *(source.problem(path, message) for path, message in rendered.failures),
    ]
    try:
        loaded = _validated(component, rendered)
    except ValidationError as error:
        problems += problems_of(
            error,
            model=component,
            attributes=rendered.value,
            positions=source.positions,
            notes=rendered.notes,
        )
    except RfmError as error:
        problems.append(problem_of(error, attributes=source.attributes, positions=source.positions))
    else:
        if not problems:
            return loaded
    problems.sort(key=lambda problem: problem.line or 0)
    raise InvalidYaml(file=source.file, problems=problems)


def _validated(component: type[C], rendered: Rendered) -> C:
    """The component, its values judged as JSON: no text for a number, no number for a date."""

    def judge(value: object) -> C:
        return component.model_validate_json(
            json.dumps(value), strict=True, context={"objects": rendered.objects}
        )

    try:
        return judge(rendered.value)
    except ValidationError as error:
        # The environment holds only text: "365" from there stands for a number where one belongs.
        reread = rendered.with_scalars_at([detail["loc"] for detail in error.errors()])
        if reread is None:
            raise
    return judge(reread)


def _placed(error: RfmError, source: Source) -> InvalidYaml:
    problem = problem_of(error, attributes=source.attributes, positions=source.positions)
    return InvalidYaml(file=source.file, problems=[problem])


def _last_line(tree: SourcePositionTree) -> int:
    return max(
        [
            tree.position.end.line,
            *(_last_line(child) for child in tree.children.values()),
        ]
    )


def _repeated(node: yaml.Node | None) -> Iterator[tuple[int, str, int]]:
    if isinstance(node, yaml.SequenceNode):
        for item in node.value:
            yield from _repeated(item)
    if not isinstance(node, yaml.MappingNode):
        return
    first: dict[str, int] = {}
    for key, value in node.value:
        line = key.start_mark.line + 1
        if key.value in first:
            yield line, key.value, first[key.value]
        first.setdefault(key.value, line)
        yield from _repeated(value)
