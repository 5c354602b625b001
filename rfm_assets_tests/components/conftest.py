"""A Dagster project in a temporary folder, loaded as the real ones are."""

import importlib
import os
import sys
import textwrap
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import TypeVar

import dagster as dg
import pytest
from dagster.components.core.component_tree import ComponentTree

from rfm_assets.components.checking import invalid_files
from rfm_assets.definitions import load_project
from rfm_assets.errors import YamlProblem

T = TypeVar("T", bound=dg.Component)

_NUMBERS = count()

TOYS = '''
"""Two small components: one with a field of every kind, one with two assets."""

from datetime import date
from typing import Annotated, ClassVar, Literal

import dagster as dg
from pydantic import Field, model_validator

from rfm_assets.components.base import AssetName, RfmComponent
from rfm_assets.components.strict_yaml import StrictComponent
from rfm_assets.domain.config import ConfigModel
from rfm_assets.errors import InvalidConfig


class Thresholds(ConfigModel):
    recency: list[float] = Field(description="Cut points")


class CsvSource(ConfigModel):
    kind: Literal["csv"] = Field(description="A file")
    path: str = Field(description="Where it is", examples=["data.csv"])


class SqlSource(ConfigModel):
    kind: Literal["sql"] = Field(description="A query")
    query: str = Field(description="What to ask")


class Settings(ConfigModel):
    """What a domain module would declare."""

    method: Literal["quintiles", "quartiles", "custom"] = Field("quintiles", description="How")
    period_days: int = Field(365, ge=1, le=4000, description="Length of the window, days")
    weight: float = Field(1.0, ge=0, description="Weight")
    include: bool = Field(True, description="Whether")
    first: date | None = Field(None, description="First day")
    thresholds: Thresholds | None = Field(None, description="For method custom")
    scheme: str | Thresholds = Field("rfm_10", description="Name, or the thing itself")
    source: Annotated[CsvSource | SqlSource, Field(discriminator="kind")] | None = Field(
        None, description="Where rows come from"
    )
    labels: dict[str, str] = Field({}, description="Labels")

    @model_validator(mode="after")
    def _custom_needs_thresholds(self):
        if self.method == "custom" and self.thresholds is None:
            raise ValueError("method 'custom' needs `thresholds`. Add them.")
        if self.weight == 0 and not self.include:
            raise InvalidConfig(key="weight", value=0, reason="weighs nothing", fix="Raise it.")
        return self


class SettingsComponent(Settings, StrictComponent):
    """Holds settings."""

    example: ClassVar = {"needed": "yes"}

    needed: str = Field(description="A text that must be there")

    def definitions(self, context):
        if self.needed == "unknown":
            raise InvalidConfig(key="needed", value="unknown", reason="is unknown", fix="Ask.")
        return dg.Definitions()


class TableConfig(ConfigModel):
    period_days: int = Field(365, ge=1, description="Length of the window, days")


class TableComponent(TableConfig, RfmComponent):
    """A weekly table and a sibling."""

    example: ClassVar = {"asset_name": "table"}

    upstream_asset_key: AssetName = Field("source_rows", description="Where rows come from")

    def definitions(self, context):
        upstream = dg.AssetKey.from_user_string(self.upstream_asset_key)
        specs = [
            self.asset_spec(
                context, description="A table", group_name="tables", deps=[upstream], kinds=["duckdb"]
            ),
            self.asset_spec(
                context,
                key=self.sibling_key("rejects"),
                description="What was left out",
                group_name="tables",
            ),
        ]

        @dg.multi_asset(name=self.key.path[-1], specs=specs, **self.op_settings(context))
        def compute(context: dg.AssetExecutionContext):
            for partition, as_of in self.as_of_dates(context):
                context.log.info(f"as of {as_of}")
                if partition:
                    context.add_asset_metadata(
                        {"as_of": str(as_of)}, asset_key=specs[0].key, partition_key=partition
                    )
            for spec in specs:
                yield dg.MaterializeResult(asset_key=spec.key, metadata={"dates": str(as_of)})

        return dg.Definitions(assets=[compute])


class SourceComponent(RfmComponent):
    """A table without weeks."""

    example: ClassVar = {"asset_name": "source_rows"}

    def definitions(self, context):
        spec = self.asset_spec(context, description="Rows", group_name="in", partitioned=False)

        @dg.multi_asset(
            name=self.key.path[-1], specs=[spec], **self.op_settings(context, partitioned=False)
        )
        def compute(context: dg.AssetExecutionContext):
            yield dg.MaterializeResult(asset_key=spec.key)

        return dg.Definitions(assets=[compute])
'''


class Project:
    """A project with its definitions folder and a module `toys` of components.

    Python keeps the modules it has imported, so each project's have names of their own, in whichever of
    the test processes it is made.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        number = f"{os.getpid()}_{next(_NUMBERS)}"
        self.defs_module, self.toys = f"project_{number}_defs", f"project_{number}_toys"
        self.defs = root / self.defs_module
        self.defs.mkdir(parents=True)
        (self.defs / "__init__.py").write_text("", encoding="utf-8")
        (root / f"{self.toys}.py").write_text(TOYS, encoding="utf-8")
        (root / "pyproject.toml").write_text(
            f'[tool.dg]\ndirectory_type = "project"\n[tool.dg.project]\n'
            f'root_module = "{self.defs_module}"\ndefs_module = "{self.defs_module}"\n'
            'code_location_name = "temporary"\n'
            "registry_modules = []\n[tool.dg.cli.telemetry]\nenabled = false\n",
            encoding="utf-8",
        )

    def write(self, folder: str, text: str) -> Path:
        """`<folder>/defs.yaml`, with `toys.` standing for the module of the toy components."""
        path = self.defs / folder / "defs.yaml"
        path.parent.mkdir(parents=True, exist_ok=True)
        text = textwrap.dedent(text).lstrip("\n").replace("toys.", f"{self.toys}.")
        path.write_text(text, encoding="utf-8")
        return path

    def weekly(self, **attributes: object) -> None:
        """A WeeklyRefreshComponent in the folder `weekly`."""
        values = {"start_date": "2025-01-06", "time_zone": "Europe/Berlin"} | attributes
        lines = "".join(f"  {key}: {value}\n" for key, value in values.items())
        self.write(
            "weekly", f"type: rfm_assets.components.WeeklyRefreshComponent\nattributes:\n{lines}"
        )

    @property
    def python_path(self) -> str:
        """PYTHONPATH for commands that run in the project."""
        return os.pathsep.join([str(self.root), *sys.path])

    def load(self) -> dg.Definitions:
        return load_project(self.root)

    def component(self, kind: type[T]) -> T:
        """The one component of a type, as Dagster loads it."""
        (found,) = ComponentTree.for_project(self.root).get_all_components(of_type=kind)
        return found

    def toy(self, name: str) -> type[dg.Component]:
        return getattr(importlib.import_module(self.toys), name)

    def problems(self) -> list[YamlProblem]:
        return [problem for error in invalid_files(self.root) for problem in error.problems]


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Project]:
    """An empty project."""
    made = Project(tmp_path / "project")
    monkeypatch.syspath_prepend(made.root)
    yield made
    for name in [name for name in sys.modules if name.startswith((made.defs_module, made.toys))]:
        del sys.modules[name]
