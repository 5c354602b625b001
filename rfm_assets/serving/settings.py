"""What a deployment says about serving, in `serving.yaml` beside its project file.

Everything has a default, so that a project without that file can be served, too. Secrets do not
belong there: keys are in a file of hashes (`keys.py`), a database's URL in the environment.
"""

from pathlib import Path
from typing import Annotated, Literal, Self, TypeAlias

import yaml
from pydantic import Field, ValidationError, field_validator, model_validator

from rfm_assets.database_url import UrlVariable
from rfm_assets.domain.config import ConfigModel
from rfm_assets.errors import InvalidYaml, YamlProblem, did_you_mean
from rfm_assets.library.definitions import line_of
from rfm_assets.serving.catalogue import DEFAULT_ORGANIZATION

FILE = "serving.yaml"

OrganizationType: TypeAlias = Literal["banking", "telecom", "ecommerce", "fuel_retail"]

Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$", max_length=100)]


class Organization(ConfigModel):
    """One organisation: what it is, and what an upload or an analysis computes for it."""

    type: OrganizationType = Field(
        default="telecom", description="Industry of the organisation's customers."
    )
    tables: tuple[str, ...] = Field(
        default=(),
        description="Its tables that do not name it: those of other components than "
        "ChurnAwareSegmentationComponent and BehaviorAnalysisComponent, which say whose they are.",
    )
    churn_scores_file: str | None = Field(
        default=None,
        description="File below the project that uploaded churn scores replace: the `path` of its "
        "ChurnScoresComponent.",
    )
    segment_assets: tuple[str, ...] = Field(
        default=(), description="Assets to compute after an upload, such as churn_aware_segments."
    )
    behavior_assets: tuple[str, ...] = Field(
        default=(), description="Assets to compute when an analysis of behaviour is asked for."
    )

    @field_validator("churn_scores_file")
    @classmethod
    def _below_the_project(cls, path: str | None) -> str | None:
        if path is not None and (Path(path).is_absolute() or ".." in Path(path).parts):
            raise ValueError(f"{path!r} leaves the project. Write a path below it.")
        return path


class PublishedTables(ConfigModel):
    """A Postgres schema to serve from: what a PublishToPostgresComponent published there."""

    url_env: UrlVariable = Field(
        description="Name of the environment variable with the database's URL.",
        examples=["CRM_DATABASE_URL"],
    )
    schema_name: str = Field(
        default="rfm", pattern=r"^[a-z_][a-z0-9_]{0,62}$", description="Schema of the tables."
    )
    cache_folder: str | None = Field(
        default=None,
        description="Folder below which fetched snapshots lie while this server runs; the system's "
        "temporary folder where left out.",
    )
    cache_mb: int = Field(
        default=4_096, ge=1, description="How much of them is kept; the oldest use goes first."
    )


class ServingSettings(ConfigModel):
    """Everything that can be set about the API and the dashboard."""

    organization: Name = Field(
        default=DEFAULT_ORGANIZATION,
        description="Whose customers the tables describe that name no organisation.",
    )
    organizations: dict[Name, Organization] = Field(
        default={}, description="The organisations of this deployment, by id."
    )
    published: PublishedTables | None = Field(
        default=None,
        description="Serve from this Postgres schema instead of the project's store; `--postgres` "
        "and `--schema` go first.",
    )
    keys_file: str = Field(
        default=".rfm/keys.json",
        description="File of the hashed API keys, below the project; `rfm keys` keeps it.",
    )
    audit_file: str = Field(
        default=".rfm/exports.jsonl",
        description="Where every export of members is written down: who, what, when, how many.",
    )
    requests_per_minute: int = Field(
        default=6_000, ge=1, description="Requests of one key, or one address without key."
    )
    largest_upload_mb: int = Field(default=100, ge=1, le=10_000, description="Largest upload.")
    memory_limit: str = Field(
        default="512MB",
        pattern=r"^\d+(\.\d+)? ?[KMGT]i?B$",
        description="Memory of the engine that reads the snapshots, with its unit.",
    )
    segment_colors: dict[str, str] = Field(
        default={},
        description="Colours of segments in the dashboard by name, #RRGGBB, instead of the scheme's.",
    )
    segment_names: dict[str, str] = Field(
        default={},
        description="What segments are called in the dashboard, by their stored name or number.",
    )

    @model_validator(mode="after")
    def _colors_are_colors(self) -> Self:
        for name, color in self.segment_colors.items():
            digits = color.removeprefix("#")
            if len(digits) != len("RRGGBB") or not all(
                c in "0123456789abcdefABCDEF" for c in digits
            ):
                raise ValueError(f"segment_colors: {name}: {color!r} is no colour like #1B9E5A.")
        return self

    @model_validator(mode="after")
    def _tables_have_one_owner(self) -> Self:
        named = [table for one in self.organizations.values() for table in one.tables]
        twice = next((table for table in named if named.count(table) > 1), None)
        if twice is not None:
            raise ValueError(f"organizations: {twice!r} is a table of several. Name it once.")
        return self

    def owners(self) -> dict[str, str]:
        """The organisation of each table that is said to be one's."""
        return {table: name for name, one in self.organizations.items() for table in one.tables}

    def organization_type(self, organization: str) -> OrganizationType:
        """The industry of an organisation; telecom where nothing is said."""
        declared = self.organizations.get(organization)
        return declared.type if declared else "telecom"


def load_settings(project: Path) -> ServingSettings:
    """The settings of a project; the defaults where it has no `serving.yaml`.

    Raises:
        InvalidYaml: What is wrong in the file, with line, key and what is allowed.
    """
    file = project / FILE
    if not file.is_file():
        return ServingSettings()
    text = file.read_text(encoding="utf-8")
    try:
        content = yaml.safe_load(text) or {}
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = mark.line + 1 if mark is not None else None
        raise InvalidYaml(
            file=FILE, problems=[YamlProblem(line, "", f"is not YAML: {error}")]
        ) from error
    try:
        return ServingSettings.model_validate(content)
    except ValidationError as error:
        problems = [
            YamlProblem(
                line_of(text, one["loc"]),
                ".".join(str(step) for step in one["loc"]),
                _told(one["type"], one["msg"], one["loc"]),
            )
            for one in error.errors()
        ]
        raise InvalidYaml(file=FILE, problems=problems) from error


def _told(kind: str, message: str, place: tuple[int | str, ...]) -> str:
    if kind == "extra_forbidden":
        nested: dict[int | str, type[ConfigModel]] = {
            "organizations": Organization,
            "published": PublishedTables,
        }
        fields = nested.get(place[0], ServingSettings) if len(place) > 1 else ServingSettings
        return f"is no key. {did_you_mean(str(place[-1]), list(fields.model_fields))}"
    return message.removeprefix("Value error, ")
