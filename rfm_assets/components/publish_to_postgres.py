"""`PublishToPostgresComponent`: stored tables in a Postgres schema, for applications."""

from collections import Counter
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Annotated, Any, ClassVar, Self

import dagster as dg
from pydantic import AfterValidator, Field, model_validator

from rfm_assets import quality
from rfm_assets.components.base import AssetName, RfmComponent
from rfm_assets.components.execution import Delivered, Week, publishing_assets
from rfm_assets.components.inputs import Inputs
from rfm_assets.components.rendering import markdown_table
from rfm_assets.database_url import Server, UrlVariable
from rfm_assets.errors import InvalidConfig, did_you_mean
from rfm_assets.postgres.connection import Target
from rfm_assets.postgres.layout import contract_columns
from rfm_assets.postgres.migrating import upgrade
from rfm_assets.postgres.publishing import (
    Change,
    History,
    Request,
    publish_snapshot,
    published_columns,
    reconcile,
)
from rfm_assets.store import table_name

COUNTED = ("inserted", "updated", "deleted", "unchanged")


def _not_reserved(name: str) -> str:
    if name.startswith("pg_") or name == "information_schema":
        message = (
            f"schema_name {name!r} belongs to Postgres itself. Name another one, such as 'rfm'."
        )
        raise ValueError(message)
    return name


class PublishToPostgresComponent(RfmComponent):
    """Stored tables in a Postgres schema, for applications: typed, keyed, whole or not at all."""

    example: ClassVar[Mapping[str, Any]] = {
        "asset_name": "crm_database",
        "url_env": "CRM_DATABASE_URL",
        "schema_name": "rfm",
        "published_asset_keys": ["customer_segments", "segment_summary"],
    }

    url_env: UrlVariable = Field(
        description="Name of the environment variable with the database's URL. It is read when a "
        "run needs it and never shown",
        examples=["CRM_DATABASE_URL"],
    )
    schema_name: Annotated[str, AfterValidator(_not_reserved)] = Field(
        default="rfm",
        pattern=r"^[a-z_][a-z0-9_]{0,62}$",
        description="Schema that holds the tables and nothing else; it is made where it is missing",
    )
    published_asset_keys: list[AssetName] = Field(
        min_length=1,
        description="Tables to publish: of each kind one, of campaign and suppression lists any "
        "number",
        examples=[["customer_segments", "win_back"]],
    )
    history: History = Field(
        default="all",
        description="Whether the database keeps every as_of that was published, or the latest alone",
    )
    with_excluded: bool = Field(
        default=False,
        description="Also publish who is not in the segments or on a list, each with the reason",
    )
    leave_out_columns: list[str] = Field(
        default=[],
        description="Carried columns that applications must not get, such as an e-mail address",
        examples=[["email"]],
    )
    wait_seconds: int = Field(
        default=600,
        ge=1,
        le=86_400,
        description="Seconds to wait for another run or application that holds a lock",
    )

    @model_validator(mode="after")
    def _names_once_what_can_be_named(self) -> Self:
        repeated = [name for name, n in Counter(self.published_asset_keys).items() if n > 1]
        if repeated:
            raise InvalidConfig(
                key="published_asset_keys",
                value=repeated[0],
                reason="stands twice",
                fix="Name each table once.",
            )
        always = [name for name in self.leave_out_columns if name in contract_columns()]
        if always:
            raise InvalidConfig(
                key="leave_out_columns",
                value=always[0],
                reason="is a column that the published tables always have",
                fix="Leave out carried columns only, or do not publish the table.",
            )
        return self

    def definitions(self, context: dg.ComponentLoadContext) -> dg.Definitions:
        spec = self.asset_spec(
            context,
            description="Tables for applications, in the Postgres schema "
            f"`{self.schema_name}`: {', '.join(self.published_asset_keys)}.",
            group_name="applications",
            deps=self._published,
            kinds=["postgres"],
            metadata={"schema": self.schema_name, "url from": f"${self.url_env}"},
        )
        checks = [
            dg.AssetCheckSpec(
                name, asset=self.key, description=quality.DESCRIPTIONS[name], blocking=True
            )
            for name in quality.DATABASE_RULES
        ]

        def work(
            run: dg.AssetExecutionContext, week: Week, inputs: Inputs
        ) -> Mapping[dg.AssetKey, Delivered]:
            last = week if run.has_partition_key else Week(self.as_of_dates(run)[-1][1])
            if self.history == "latest" and week.day < last.day:
                metadata = {"what changed": f"nothing: {last.label} follows in the same run"}
                return {self.key: Delivered((), metadata)}
            return {self.key: self._publish(week, inputs, run.run.run_id)}

        return publishing_assets(self, context, specs=[spec], checks=checks, work=work)

    @property
    def _published(self) -> list[dg.AssetKey]:
        return [dg.AssetKey.from_user_string(name) for name in self.published_asset_keys]

    def _publish(self, week: Week, inputs: Inputs, run_id: str) -> Delivered:
        server = Server.of(dg.EnvVar(self.url_env).get_value(), self.url_env)
        target = Target(server, self.schema_name, self.wait_seconds)
        request = Request(
            history=self.history,
            leave_out=frozenset(self.leave_out_columns),
            leave_out_parts=frozenset(() if self.with_excluded else {"excluded"}),
            run_id=run_id,
        )
        self._require_known(week, inputs, request)
        with target.connect() as connection:
            before, revision = upgrade(target, connection)
        changes: list[Change] = []
        for key in self._published:
            changes += publish_snapshot(
                target,
                partial(inputs.snapshot, key, week.as_of),
                request,
                stored_dates=inputs.store.dates(table_name(key.path)),
            )
        metadata = {
            "what changed": _table_of(changes),
            **{name: sum(getattr(change, name) for change in changes) for name in COUNTED},
            "target": f"{target.place}, schema {self.schema_name}",
            "migration revision": revision if before == revision else f"{revision}, was {before}",
        }
        return Delivered(reconcile(changes), metadata)

    def _require_known(self, week: Week, inputs: Inputs, request: Request) -> None:
        """Refuse a misspelt column before anything is published: it would not be left out."""
        known: set[str] = set()
        for key in self._published:
            known |= published_columns(inputs.snapshot(key, week.as_of), request)
        for name in sorted(request.leave_out - known):
            raise InvalidConfig(
                key="leave_out_columns",
                value=name,
                reason="is no carried column of the published tables",
                fix=did_you_mean(name, sorted(known)) if known else "They carry none.",
            )


def _table_of(changes: Sequence[Change]) -> dg.MarkdownMetadataValue:
    """The statement of what changed: one row for each table."""
    return markdown_table(
        ["table", "from", "as of", "", *COUNTED, "of other dates removed"],
        [
            [
                change.table,
                change.source,
                str(change.as_of or "all"),
                change.status,
                *(getattr(change, name) for name in COUNTED),
                change.older,
            ]
            for change in changes
        ],
        numeric_from=4,
    )
