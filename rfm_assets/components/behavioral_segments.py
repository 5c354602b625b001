"""`BehavioralSegmentsComponent`: clusters of customers by what they do, named, week by week."""

from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any, ClassVar, Literal

import dagster as dg
import narwhals as nw
from pydantic import Field

from rfm_assets import quality
from rfm_assets.components.base import AssetName, RfmComponent
from rfm_assets.components.columns import column_lineage, stored_schema, table_schema
from rfm_assets.components.execution import Published, Week, check_specs, publishing_assets
from rfm_assets.components.inputs import Inputs
from rfm_assets.components.rendering import markdown_table
from rfm_assets.domain.cluster_names import NameRule, name_clusters
from rfm_assets.domain.cluster_profiles import cluster_profiles
from rfm_assets.domain.clustering import (
    STABLE_FROM,
    ClusteringConfig,
    ClusterModel,
    RefitFrozen,
    assigned,
    fit_clusters,
    reconciled,
)
from rfm_assets.domain.comparison import Comparison, compared
from rfm_assets.domain.features import (
    FEATURES,
    FeatureConfig,
    customer_features,
    customers_with_purchase,
)
from rfm_assets.domain.frames import Table
from rfm_assets.engines.base import collect_rows
from rfm_assets.errors import InvalidConfig, did_you_mean
from rfm_assets.library import cluster_names
from rfm_assets.publishing import publish
from rfm_assets.schemas import BEHAVIORAL_SEGMENTS
from rfm_assets.store import Snapshot, table_name


class BehavioralSegmentsComponent(ClusteringConfig, FeatureConfig, RfmComponent):
    """Customers in clusters by up to fourteen features, with names that stay from week to week."""

    example: ClassVar[Mapping[str, Any]] = {
        "asset_name": "behavioral_segments",
        "transaction_data_asset_key": "transaction_data",
    }

    transaction_data_asset_key: AssetName = Field(
        default="transaction_data", description="Canonical transactions to learn from."
    )
    customer_segments_asset_key: AssetName | None = Field(
        default=None,
        description="Segments by rules to compare the clusters with: who is in which of both.",
    )
    cluster_names: Literal["behavioral_8", "rfm_4"] | list[NameRule] = Field(
        default="behavioral_8",
        description="Rules that name clusters by their centroids, read from the top: "
        "`behavioral_8`, `rfm_4` for four clusters of plain RFM, or your own.",
    )

    @property
    def config(self) -> ClusteringConfig:
        """How clusters are learned."""
        return ClusteringConfig.model_construct(
            **{name: getattr(self, name) for name in ClusteringConfig.model_fields}
        )

    @property
    def measured(self) -> FeatureConfig:
        """What features are made from."""
        return FeatureConfig.model_construct(
            **{name: getattr(self, name) for name in FeatureConfig.model_fields}
        )

    @property
    def rules(self) -> Sequence[NameRule]:
        """The rules that name clusters."""
        if isinstance(self.cluster_names, str):
            return cluster_names(self.cluster_names)
        return self.cluster_names

    def definitions(self, context: dg.ComponentLoadContext) -> dg.Definitions:
        self._require_features()
        upstream = dg.AssetKey.from_user_string(self.transaction_data_asset_key)
        spec = self.asset_spec(
            context,
            description="One row per customer who has bought: a cluster by K-means over "
            f"{len(self._clustered)} features of {self.history_days} days, and its name. Part "
            "`profiles` says what each cluster is like.",
            group_name="segments",
            deps=[upstream, *([self._by_rules] if self._by_rules else [])],
            kinds=["table", "parquet"],
            metadata={
                "dagster/column_schema": table_schema(BEHAVIORAL_SEGMENTS),
                "dagster/column_lineage": self._lineage(upstream),
                "features": markdown_table(
                    ["feature", "unit", "formula", "clustered by"],
                    [
                        [one.name, one.unit, one.formula, one.name in self._clustered]
                        for one in FEATURES
                    ],
                    numeric_from=4,
                ),
            },
        )
        checks = check_specs(self.key, BEHAVIORAL_SEGMENTS, quality.CLUSTER_RULES)

        def work(
            run: dg.AssetExecutionContext, week: Week, inputs: Inputs
        ) -> Mapping[dg.AssetKey, Published]:
            return self._publish(week, inputs, upstream, run.run.run_id)

        return publishing_assets(self, context, specs=[spec], checks=checks, work=work)

    @property
    def _by_rules(self) -> dg.AssetKey | None:
        name = self.customer_segments_asset_key
        return None if name is None else dg.AssetKey.from_user_string(name)

    @property
    def _clustered(self) -> list[str]:
        names = [feature.name for feature in self.measured.available]
        return [name for name in names if self.features is None or name in self.features]

    def _require_features(self) -> None:
        for name in self.features or ():
            known = [feature.name for feature in FEATURES]
            if name not in known:
                raise InvalidConfig(
                    key="features",
                    value=name,
                    reason="is no feature",
                    fix=did_you_mean(name, known),
                )
            if name in self.measured.left_out:
                raise InvalidConfig(
                    key="features",
                    value=name,
                    reason=f"cannot be computed: {self.measured.left_out[name]}",
                    fix="Name the column, or leave the feature out.",
                )

    def _publish(
        self, week: Week, inputs: Inputs, upstream: dg.AssetKey, run_id: str
    ) -> Mapping[dg.AssetKey, Published]:
        source = inputs.snapshot(upstream, week.day)
        transactions = inputs.rows(source)
        features = inputs.engine.checkpoint(
            customer_features(transactions, as_of=week.day, config=self.measured)
        )
        model = self._model(features, inputs, week.day)
        clusters = inputs.engine.checkpoint(assigned(features, model))
        profiles = cluster_profiles(clusters, model)
        comparison = self._compared(clusters, inputs, week.day)
        buyers = customers_with_purchase(transactions, as_of=week.day, config=self.measured)
        names = [feature.name for feature in self.measured.available]
        publication = publish(
            inputs.store,
            inputs.engine,
            BEHAVIORAL_SEGMENTS,
            table=table_name(self.key.path),
            as_of=week.day,
            frame=clusters.select(
                "customer_id",
                "cluster",
                "segment",
                *names,
                nw.lit(week.day, dtype=nw.Date).alias("as_of"),
            ),
            parts={"profiles": inputs.engine.from_native(profiles)},
            rules=lambda staged: [
                quality.reconciles(
                    "customers_reconcile",
                    whole=("customers with a purchase", buyers),
                    parts={"in clusters": staged.row_counts["rows"]},
                ),
                quality.clusters_stable(
                    k=model.k, stability=model.chosen.stability, stable_from=STABLE_FROM
                ),
            ],
            run_id=run_id,
            config_hash=self.config_hash,
            source_fingerprint=source.manifest.source_fingerprint,
            inputs=inputs.provenance(),
            extra={
                "model": model.model_dump(mode="json"),
                "names": [rule.model_dump(mode="json") for rule in self.rules],
                "comparison": comparison
                and {
                    "with": self.customer_segments_asset_key,
                    "adjusted_rand_index": comparison.adjusted_rand_index,
                    "customers": [list(row) for row in comparison.counts],
                },
            },
        )
        shown = _shown(model, profiles, self.rules) | _beside_rules(comparison)
        about = {one.name: f"{one.formula}, in {one.unit}" for one in FEATURES}
        columns = stored_schema(publication.contract, publication.schema, about=about)
        shown["dagster/column_schema"] = dg.MetadataValue.table_schema(columns)
        return {self.key: Published(publication, shown)}

    def _compared(self, clusters: Table, inputs: Inputs, as_of: date) -> Comparison | None:
        if self._by_rules is None:
            return None
        by_rules = inputs.rows(inputs.snapshot(self._by_rules, as_of))
        named = by_rules.with_columns(nw.col("segment").fill_null("(none)"))
        return compared(clusters, named)

    def _model(self, features: Table, inputs: Inputs, as_of: date) -> ClusterModel:
        """The model of this snapshot: learned now, or that of an earlier one."""
        if isinstance(self.refit, RefitFrozen):
            return self._frozen(inputs, self.refit.frozen_from)
        before = inputs.before(self.key, as_of)
        known = _kept(before) if before is not None else None
        same = before is not None and before.manifest.config_hash == self.config_hash
        if self.refit == "monthly" and known and same and _same_month(known.fitted_on, as_of):
            return known
        model = fit_clusters(
            features,
            as_of=as_of,
            config=self.config,
            available=[feature.name for feature in self.measured.available],
            left_out=self.measured.left_out,
        )
        names = name_clusters(model.centroids_in_units(), model.centre_in_units(), self.rules)
        if known is None:
            return model.model_copy(update={"names": tuple(names)})
        return reconciled(model, known, names)

    def _frozen(self, inputs: Inputs, day: date) -> ClusterModel:
        model = _kept(inputs.snapshot(self.key, day))
        names = [feature.name for feature in self.measured.available]
        lost = [name for name in model.features if name not in names]
        if lost:
            raise InvalidConfig(
                key="refit",
                value=f"frozen_from: {day}",
                reason=f"names a model over {lost[0]}, and {self.measured.left_out[lost[0]]}",
                fix="Name the column again, or learn a new model with `refit: weekly`.",
            )
        return model

    def _lineage(self, upstream: dg.AssetKey) -> dg.TableColumnLineage:
        days, money = [(upstream, "day"), (upstream, "amount")], [(upstream, "amount")]
        clustered = [(self.key, name) for name in self._clustered]
        return column_lineage(
            {
                "customer_id": [(upstream, "customer_id")],
                "cluster": clustered,
                "segment": [(self.key, "cluster")],
                "recency_days": days,
                "customer_age_days": days,
                "transaction_count": [(upstream, "order_id"), *money],
                "frequency_per_day": [(upstream, "order_id"), *days],
                "spend_total": money,
                "spend_mean": [(upstream, "order_id"), *money],
                "spend_std": [(upstream, "order_id"), *money],
            }
        )


def _kept(snapshot: Snapshot) -> ClusterModel:
    return ClusterModel.model_validate(snapshot.manifest.extra["model"])


def _same_month(one: date, other: date) -> bool:
    return (one.year, one.month) == (other.year, other.month)


def _shown(
    model: ClusterModel, profiles: Table, rules: Sequence[NameRule]
) -> dict[str, dg.MetadataValue | str]:
    rows = collect_rows(profiles)
    each = {row["cluster"]: row for row in rows}
    ends = {(row["cluster"], row["feature"]): row for row in rows}
    shown: dict[str, dg.MetadataValue | str] = {
        "clusters": markdown_table(
            ["cluster", "segment", "customers", "share, %", "of spend, %"],
            [
                [str(n), row["segment"], row["customers"], row["customers_pct"], row["spend_pct"]]
                for n, row in each.items()
            ],
            numeric_from=2,
        ),
        "campaigns": markdown_table(
            ["segment", "campaign", "priority"],
            [
                [rule.name, rule.campaign or "", rule.priority]
                for rule in sorted(rules, key=lambda rule: -rule.priority)
                if rule.name in model.names
            ],
            numeric_from=2,
        ),
        "criteria": markdown_table(
            ["feature", *(f"{cluster} {row['segment']}" for cluster, row in each.items())],
            [[name, *(_criterion(ends[c, name]) for c in each)] for name in model.features],
        ),
        "how clear": markdown_table(
            ["clusters", "silhouette", "stability", "stable"],
            [[one.k, one.silhouette, one.stability, one.stable] for one in model.tried],
            numeric_from=0,
        ),
        "learned": f"as of {model.fitted_on} from {model.sampled:,} customers",
    }
    if model.left_out:
        shown["features left out"] = markdown_table(
            ["feature", "why"], model.left_out.items(), numeric_from=2
        )
    return shown


def _beside_rules(comparison: Comparison | None) -> dict[str, dg.MetadataValue | str]:
    if comparison is None:
        return {}
    return {
        "beside segments by rules": _cross_tabulation(comparison),
        "agreement with them": f"adjusted Rand index {comparison.adjusted_rand_index:.2f} "
        "(1 is the same division, 0 chance)",
    }


def _cross_tabulation(comparison: Comparison) -> dg.MarkdownMetadataValue:
    """Segments by rules against clusters, customers in the cells."""
    clusters = sorted({cluster for cluster, _, _ in comparison.counts})
    segments = sorted({segment for _, segment, _ in comparison.counts})
    cells = {(cluster, segment): n for cluster, segment, n in comparison.counts}
    return markdown_table(
        ["by rules", *clusters],
        [[segment, *(cells.get((c, segment)) for c in clusters)] for segment in segments],
    )


def _criterion(row: Mapping[str, Any]) -> str:
    if row["mean"] is None:
        return ""
    return f"{row['centroid']:,.2f} ({row['minimum']:,.2f} to {row['maximum']:,.2f})"
