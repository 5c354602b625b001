"""`BehaviorAnalysisComponent`: signals, trends and recommendations by an industry profile."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, ClassVar, Self

import dagster as dg
import narwhals as nw
from pydantic import Field, model_validator

from rfm_assets import quality
from rfm_assets.components.base import AssetName, RfmComponent
from rfm_assets.components.columns import column_lineage, stored_schema, table_schema
from rfm_assets.components.execution import Published, Week, check_specs, publishing_assets
from rfm_assets.components.inputs import Inputs
from rfm_assets.components.rendering import markdown_table
from rfm_assets.domain.behavior import (
    SIGNAL,
    TRENDS,
    Behavior,
    BehaviorConfig,
    analyze_behavior,
)
from rfm_assets.domain.behavior_examples import failed_examples
from rfm_assets.domain.behavior_profiles import (
    BEFORE,
    HISTORY,
    TREND_NAMES,
    Profile,
    SourceName,
)
from rfm_assets.engines.base import collect_rows
from rfm_assets.errors import InvalidConfig, did_you_mean
from rfm_assets.library import load_profile, packaged_profiles
from rfm_assets.publishing import publish
from rfm_assets.schemas import CUSTOMER_BEHAVIOR
from rfm_assets.store import table_name


class BehaviorAnalysisComponent(BehaviorConfig, RfmComponent):
    """Risk signals, trends and a score of every customer, by an industry profile."""

    example: ClassVar[Mapping[str, Any]] = {
        "asset_name": "customer_behavior",
        "profile": "ecommerce",
        "events_asset_key": "event_data",
    }

    profile: str | dict[str, object] = Field(
        default="telecom",
        description="Industry profile: banking, telecom, ecommerce, fuel_retail, the path of a "
        "YAML file, or the profile itself as a mapping.",
    )
    events_asset_key: AssetName | None = Field(
        default=None,
        description="Events of an EventDataComponent, or any stored table with customer_id, day "
        "and event; with null there are none, and what needs them is unknown.",
    )
    transaction_data_asset_key: AssetName | None = Field(
        default="transaction_data",
        description="Canonical transactions; with null there are none, and what needs them is "
        "unknown.",
    )

    @model_validator(mode="after")
    def _has_a_source(self) -> Self:
        if self.events_asset_key is None and self.transaction_data_asset_key is None:
            raise InvalidConfig(
                key="transaction_data_asset_key",
                value=None,
                reason="and events_asset_key name nothing",
                fix="Name one of them.",
            )
        return self

    @property
    def config(self) -> BehaviorConfig:
        """The domain's part of the fields."""
        return BehaviorConfig.model_construct(
            **{name: getattr(self, name) for name in BehaviorConfig.model_fields}
        )

    @property
    def _sources(self) -> dict[SourceName, dg.AssetKey]:
        named: dict[SourceName, str | None] = {
            "events": self.events_asset_key,
            "transactions": self.transaction_data_asset_key,
        }
        return {
            source: dg.AssetKey.from_user_string(name) for source, name in named.items() if name
        }

    def definitions(self, context: dg.ComponentLoadContext) -> dg.Definitions:
        profile = load_profile(self.profile, folder=context.path)
        self._require_names(profile)
        self._require_examples(profile)
        spec = self.asset_spec(
            context,
            description="One row per customer who was seen lately: a score of 0 to 100, three "
            f"trends and the signals of the profile `{profile.reference}`, each fired, not fired or "
            "unknown. Part `signals` has a row per signal that fired with what to do, part "
            "`insights` a row per signal with how many customers it affects.",
            group_name="segments",
            deps=list(self._sources.values()),
            kinds=["table", "parquet"],
            metadata={
                "dagster/column_schema": table_schema(CUSTOMER_BEHAVIOR),
                "dagster/column_lineage": column_lineage(
                    {"customer_id": [(key, "customer_id") for key in self._sources.values()]}
                ),
                "profile": profile.reference,
                "signals": markdown_table(
                    ["signal", "fires when", "known when", "urgency"],
                    [
                        [name, f"`{one.when}`", f"`{one.known_when or 'always'}`", one.urgency]
                        for name, one in profile.signals.items()
                    ],
                    numeric_from=4,
                ),
            },
            configuration=self.config_hash_with(profile=profile),
        )
        checks = check_specs(self.key, CUSTOMER_BEHAVIOR, quality.BEHAVIOR_RULES)

        def work(
            run: dg.AssetExecutionContext, week: Week, inputs: Inputs
        ) -> Mapping[dg.AssetKey, Published]:
            return self._publish(week, inputs, profile, run.run.run_id)

        return publishing_assets(self, context, specs=[spec], checks=checks, work=work)

    def _require_names(self, profile: Profile) -> None:
        """Refuse a mapping of what the profile does not ask for: it would do nothing."""
        events = sorted({one for m in profile.metrics.values() for one in m.event or ()})
        for key, given, known in (
            ("event_names", self.event_names, events),
            ("event_columns", self.event_columns, list(profile.events)),
            ("transaction_columns", self.transaction_columns, list(profile.transactions)),
        ):
            for name in given:
                if name not in known:
                    raise InvalidConfig(
                        key=key,
                        value=name,
                        reason=f"is nothing that the profile {profile.id!r} asks for",
                        fix=did_you_mean(name, known) if known else "It asks for none.",
                    )

    def _require_examples(self, profile: Profile) -> None:
        """Refuse a profile whose own examples come out otherwise; packaged ones are tested."""
        if self.profile in packaged_profiles():
            return
        for told in failed_examples(profile):
            raise InvalidConfig(
                key="profile",
                value=profile.id,
                reason=f"does not do what it says: {told}",
                fix="Correct the example, or the signal.",
            )

    def _publish(
        self, week: Week, inputs: Inputs, profile: Profile, run_id: str
    ) -> Mapping[dg.AssetKey, Published]:
        snapshots = {n: inputs.snapshot(key, week.day) for n, key in self._sources.items()}
        rows = {name: inputs.rows(snapshot) for name, snapshot in snapshots.items()}
        behavior = analyze_behavior(
            profile,
            events=rows.get("events"),
            transactions=rows.get("transactions"),
            as_of=week.day,
            config=self.config,
            checkpoint=inputs.engine.checkpoint,
        )
        stamp = datetime.now(UTC).replace(tzinfo=None)
        known = behavior.counts["customers_with_score"]
        publication = publish(
            inputs.store,
            inputs.engine,
            CUSTOMER_BEHAVIOR,
            table=table_name(self.key.path),
            as_of=week.day,
            frame=behavior.table.with_columns(analyzed_at=nw.lit(stamp)),
            parts={
                "signals": behavior.signals,
                "insights": inputs.engine.from_native(behavior.insights),
                "excluded": behavior.excluded,
            },
            rules=lambda staged: [
                quality.reconciles(
                    "customers_reconcile",
                    whole=("customers seen lately", behavior.counts["customers_seen"]),
                    parts={
                        "described": staged.row_counts["rows"],
                        "left out": staged.row_counts["excluded"],
                    },
                ),
                quality.inputs_mapped(unavailable=behavior.unavailable),
                quality.behavior_known(customers=staged.row_counts["rows"], known=known),
            ],
            run_id=run_id,
            config_hash=self.config_hash_with(profile=profile),
            source_fingerprint="".join(
                one.manifest.source_fingerprint for one in snapshots.values()
            ),
            counts=dict(behavior.counts),
            inputs=inputs.provenance(),
            extra={
                "profile": profile.model_dump(mode="json", by_alias=True),
                "organization_id": self.organization_id,
                "mean_score": behavior.mean_score,
                "unavailable": dict(behavior.unavailable),
            },
        )
        columns = stored_schema(publication.contract, publication.schema, about=_about(profile))
        shown = _shown(profile, behavior)
        shown["dagster/column_schema"] = dg.MetadataValue.table_schema(columns)
        return {self.key: Published(publication, shown)}


def _about(profile: Profile) -> dict[str, str]:
    """What the columns of signals and metrics hold."""
    signals = {
        f"{SIGNAL}{name}": f"{one.description} fired, not_fired or unknown".strip()
        for name, one in profile.signals.items()
    }
    metrics: dict[str, str] = {HISTORY: "Days since the customer was first seen"}
    for name, metric in profile.metrics.items():
        what = metric.description or f"{metric.measure} of {metric.of or metric.source}"
        days = profile.days(name)
        metrics[name] = f"{what}, in {metric.unit}, in the last {days} days"
        metrics[f"{name}{BEFORE}"] = f"The same in the {days} days before"
    return signals | metrics


def _shown(profile: Profile, behavior: Behavior) -> dict[str, dg.MetadataValue | str]:
    shown: dict[str, dg.MetadataValue | str] = {
        "priority actions": markdown_table(
            ["signal", "urgency", "customers", "share, %", "unknown"],
            [
                [
                    row["signal"],
                    row["urgency"],
                    row["affected_customers"],
                    row["percentage"],
                    row["unknown_customers"],
                ]
                for row in collect_rows(behavior.insights)
            ],
            numeric_from=2,
        ),
        "trends": markdown_table(
            ["", *TRENDS],
            [
                [name, *(behavior.counts[f"{name}_trend/{trend}"] for trend in TRENDS)]
                for name in TREND_NAMES
            ],
        ),
        "mean score": "unknown" if behavior.mean_score is None else f"{behavior.mean_score:.1f}",
        "profile": f"{profile.reference}: {profile.title}",
    }
    if behavior.unavailable:
        shown["cannot be computed here"] = markdown_table(
            ["metric", "why"], behavior.unavailable.items(), numeric_from=2
        )
    return shown
