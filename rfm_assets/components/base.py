"""What every component with assets shares: its `asset:` options, its weeks, its spec.

Strictness of the YAML is in `strict_yaml.py`. What a component computes belongs neither here nor
in the component, but in `domain/`.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, date, datetime
from typing import Annotated, Any, Self, TypeAlias

import dagster as dg
from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    JsonValue,
    WithJsonSchema,
    model_validator,
)
from pydantic.config import JsonDict

from rfm_assets.components.deployment import DeploymentComponent, default_resources
from rfm_assets.components.strict_yaml import StrictComponent
from rfm_assets.components.weekly_refresh import (
    WeeklyRefreshComponent,
    refresh_tag,
    strictest_freshness,
)
from rfm_assets.components.yaml_templates import FromTemplate
from rfm_assets.domain.config import ConfigModel
from rfm_assets.errors import InvalidConfig, InvalidTableName, did_you_mean
from rfm_assets.planning import CONFIGURATION
from rfm_assets.store import table_name


def _storable(name: str) -> str:
    try:
        table_name(name.split("/"))
    except InvalidTableName as error:
        raise ValueError(str(error)) from error
    return name


AssetName: TypeAlias = Annotated[
    str,
    AfterValidator(_storable),
    WithJsonSchema(
        {
            "type": "string",
            "pattern": "^[A-Za-z0-9]\\w*(/[A-Za-z0-9]\\w*)*$",
            "examples": ["customer_segments"],
        }
    ),
]
"""The key of a stored asset as text; slashes separate its parts."""

SHORT_FORMS: Mapping[str, str] = {
    "asset_name": "key",
    "group_name": "group_name",
    "description": "description",
}
"""Keys that say the same as one below `asset`."""


def _kept_apart(schema: JsonDict) -> None:
    """Let `dg check yaml` see a short and a full form together, at the line of the full one."""
    dependent: JsonDict = {}
    for short, full in SHORT_FORMS.items():
        clash: JsonDict = {"not": {"description": f"says the same as `{short}`: keep only one"}}
        dependent[short] = {"properties": {"asset": {"properties": {full: clash}}}}
    schema["dependentSchemas"] = dependent


class AssetOptions(ConfigModel):
    """How the asset stands in Dagster's catalogue. What is not said has the component's default."""

    key: AssetName | None = Field(
        default=None,
        description="Asset key; slashes separate its parts",
        examples=["crm/customer_segments"],
    )
    description: str | None = Field(default=None, description="What the table holds, as Markdown")
    group_name: str | None = Field(
        default=None,
        pattern=r"^\w+$",
        description="Group that the asset graph draws it in",
        examples=["crm"],
    )
    owners: list[str] = Field(
        default=[],
        description="Who answers for it: e-mail addresses, or teams as `team:crm`",
        examples=[["team:crm"]],
    )
    tags: dict[str, str] = Field(default={}, description="Tags to filter by")
    kinds: list[str] | None = Field(
        default=None, max_length=3, description="Up to three kinds, shown as badges"
    )
    metadata: dict[str, JsonValue] = Field(default={}, description="Further metadata")
    code_version: str | None = Field(
        default=None,
        description="Version of what computes it; a new one marks it as stale",
    )
    deps: list[str] = Field(
        default=[], description="Further assets that must be computed before it"
    )
    automation_condition: Annotated[dg.AutomationCondition, FromTemplate()] | None = Field(
        default=None,
        description="When Dagster computes it by itself, beside the weekly schedule",
        examples=["{{ dg.AutomationCondition.eager() }}"],
    )
    freshness_policy: Annotated[dg.FreshnessPolicy, FromTemplate()] | None = Field(
        default=None,
        description="When it counts as stale, in place of the weekly refresh's policy",
        examples=["{{ dg.FreshnessPolicy.cron('0 9 * * 1', datetime.timedelta(days=1)) }}"],
    )

    @model_validator(mode="after")
    def _dagster_accepts_it(self) -> Self:
        try:
            dg.AssetSpec(
                self.key or "asset",
                owners=self.owners,
                tags=self.tags,
                kinds=set(self.kinds or ()),
            )
        except dg.DagsterError as error:
            raise ValueError(str(error)) from error
        return self


class RfmComponent(StrictComponent):
    """Base of the components that compute tables, week by week."""

    model_config = ConfigDict(json_schema_extra=_kept_apart)

    asset: AssetOptions = Field(
        default=AssetOptions(),
        description="How the asset stands in Dagster: key, owners, tags, kinds, automation, …",
    )
    asset_name: AssetName | None = Field(
        default=None,
        description="Short for `asset: {key: …}`",
        examples=["customer_segments"],
    )
    group_name: str | None = Field(
        default=None,
        pattern=r"^\w+$",
        description="Short for `asset: {group_name: …}`",
        examples=["crm"],
    )
    description: str | None = Field(default=None, description="Short for `asset: {description: …}`")
    refresh: str | None = Field(
        default=None,
        description="Folder of the WeeklyRefreshComponent that gives the weeks; by default the only "
        "one, and for a table without weeks every one. Without any, the asset is not partitioned "
        "and a run asks for `as_of`",
        examples=["weekly_refresh"],
    )

    @model_validator(mode="after")
    def _one_name_for_one_thing(self) -> Self:
        for short, full in SHORT_FORMS.items():
            given = getattr(self, short)
            if given is not None and getattr(self.asset, full) is not None:
                raise InvalidConfig(
                    key=short,
                    value=given,
                    reason=f"says the same as `asset.{full}`, which is also given",
                    fix=f"Keep `asset.{full}` and remove `{short}`.",
                )
        if self.asset_name is None and self.asset.key is None:
            message = "the asset has no name. Add `asset_name: …`, or `asset: {key: …}`."
            raise ValueError(message)
        return self

    def build_defs(self, context: dg.ComponentLoadContext) -> dg.Definitions:
        built = super().build_defs(context)
        if context.component_tree.get_all_components(DeploymentComponent):
            return built
        defaults = dg.Definitions(resources=default_resources(context.project_root))
        return dg.Definitions.merge(built, defaults)

    @property
    def key(self) -> dg.AssetKey:
        """The key of the component's (main) asset."""
        return dg.AssetKey.from_user_string(self.asset.key or self.asset_name or "")

    @property
    def config_hash(self) -> str:
        """Fingerprint of the settings that decide what the tables hold, 16 hexadecimal digits.

        Names, owners and schedules are left out: changing them does not change a table.
        """
        return self.config_hash_with()

    def config_hash_with(self, **loaded: BaseModel) -> str:
        """The same, with the content of files in place of the settings that name them."""
        settings = self.model_dump(mode="json", exclude=set(RfmComponent.model_fields))
        settings |= {name: one.model_dump(mode="json") for name, one in loaded.items()}
        text = json.dumps(settings, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def sibling_key(self, suffix: str) -> dg.AssetKey:
        """The key of a further asset of the component, such as `transaction_data_rejects`."""
        *prefix, name = self.key.path
        return dg.AssetKey([*prefix, f"{name}_{suffix}"])

    def upstream_names(self) -> Iterator[tuple[tuple[str | int, ...], str]]:
        """Each upstream that the YAML or a default names, with the path of its key."""
        for field in type(self).model_fields:
            value = getattr(self, field)
            if field.endswith("_asset_key") and value is not None:
                yield (field,), value
            elif field.endswith("_asset_keys"):
                for position, name in enumerate(value):
                    yield (field, position), name
        for position, name in enumerate(self.asset.deps):
            yield ("asset", "deps", position), name

    def weekly(self, context: dg.ComponentLoadContext) -> WeeklyRefreshComponent | None:
        """The weekly refresh that this component's asset belongs to, if the project has one."""
        known = {
            refresh.folder: refresh
            for refresh in context.component_tree.get_all_components(WeeklyRefreshComponent)
        }
        if self.refresh is not None:
            if self.refresh not in known:
                raise self.invalid(_no_such_refresh(self.refresh, sorted(known)), "refresh")
            return known[self.refresh]
        if len(known) > 1:
            named = ", ".join(repr(folder) for folder in sorted(known))
            message = f"there are {len(known)} weekly refreshes. Say which one: {named}."
            raise self.invalid(message, "refresh")
        return next(iter(known.values()), None)

    def _refreshes(
        self, context: dg.ComponentLoadContext, *, partitioned: bool
    ) -> Sequence[WeeklyRefreshComponent]:
        """The weekly refreshes whose jobs compute the asset.

        One that is not partitioned has no week of its own: without a name it belongs to all.
        """
        if not partitioned and self.refresh is None:
            return context.component_tree.get_all_components(WeeklyRefreshComponent)
        weekly = self.weekly(context)
        return [weekly] if weekly else []

    def asset_spec(
        self,
        context: dg.ComponentLoadContext,
        *,
        key: dg.AssetKey | None = None,
        description: str,
        group_name: str,
        deps: Iterable[dg.AssetKey] = (),
        kinds: Sequence[str] = (),
        metadata: Mapping[str, Any] | None = None,
        tags: Mapping[str, str] | None = None,
        partitioned: bool = True,
        configuration: str | None = None,
    ) -> dg.AssetSpec:
        """The spec of one of the component's assets: the YAML's options over these defaults.

        `key` names a sibling of the main asset, which keeps its own description. An asset that is
        not `partitioned` still belongs to the weekly refresh's job. `configuration` is what its
        next manifest says as `config_hash`, where that is not the component's own.
        """
        options, refreshes = self.asset, self._refreshes(context, partitioned=partitioned)
        main = key is None
        return dg.AssetSpec(
            key=self.key if key is None else key,
            deps=[*deps, *(dg.AssetKey.from_user_string(dep) for dep in options.deps)],
            description=(options.description or self.description if main else None) or description,
            group_name=options.group_name or self.group_name or group_name,
            metadata={
                **(metadata or {}),
                **options.metadata,
                CONFIGURATION: configuration or self.config_hash,
            },
            owners=options.owners,
            tags={**(tags or {}), **refresh_tag(refreshes), **options.tags},
            kinds=set(kinds if options.kinds is None else options.kinds),
            code_version=options.code_version,
            automation_condition=options.automation_condition if main else None,
            freshness_policy=options.freshness_policy or strictest_freshness(refreshes),
            partitions_def=refreshes[0].partitions_def if refreshes and partitioned else None,
        )

    def op_settings(
        self, context: dg.ComponentLoadContext, *, partitioned: bool = True
    ) -> dict[str, Any]:
        """Arguments for `dg.multi_asset` that follow from the weeks.

        The backfill policy, and without partitions the run configuration that asks for `as_of`.
        """
        if not partitioned:
            # Without one, Dagster refuses a range of weeks for a job that has this asset.
            return {"backfill_policy": dg.BackfillPolicy.single_run()}
        weekly = self.weekly(context)
        if weekly is not None:
            return {"backfill_policy": weekly.backfill_policy}
        as_of = dg.Field(str, description="Date the table describes, such as 2025-01-06")
        return {"config_schema": {"as_of": as_of}}

    @staticmethod
    def as_of_dates(context: dg.AssetExecutionContext) -> list[tuple[str | None, date]]:
        """The weeks of a run as (partition key, `as_of`), oldest first.

        `as_of` is the day after the week's last, in the partitions' time zone. Without partitions
        there is one, from the run configuration.
        """
        weeks = context.assets_def.partitions_def
        if not isinstance(weeks, dg.TimeWindowPartitionsDefinition):
            text = str(context.op_execution_context.op_config["as_of"])
            return [(None, _past_date(text))]
        for key in context.partition_keys:
            # The command line refuses such keys by itself; tags, sensors and the API do not.
            if not weeks.has_partition_key(key):
                raise InvalidConfig(
                    key="partition",
                    value=key,
                    reason="is no week that has ended",
                    fix=f"The last one is {weeks.get_last_partition_key()}.",
                )
        windows = [
            (key, weeks.time_window_for_partition_key(key)) for key in context.partition_keys
        ]
        return [
            (key, window.end.date()) for key, window in sorted(windows, key=lambda w: w[1].start)
        ]


def _past_date(text: str) -> date:
    """The date of a run without partitions; a snapshot of the future would be everybody's latest."""
    try:
        as_of = date.fromisoformat(text)
    except ValueError as error:
        raise InvalidConfig(
            key="as_of", value=text, reason="is no date", fix="Write one as 2025-01-06."
        ) from error
    today = datetime.now(UTC).date()
    if as_of > today:
        raise InvalidConfig(
            key="as_of",
            value=text,
            reason="lies in the future",
            fix=f"Give {today.isoformat()} or a day before.",
        )
    return as_of


def _no_such_refresh(given: str, known: Sequence[str]) -> str:
    if not known:
        return f"{given!r} is no folder with a WeeklyRefreshComponent; the project has none."
    return f"{given!r} is no folder with a WeeklyRefreshComponent. {did_you_mean(given, known)}"
