"""`ChurnAwareSegmentationComponent`: segments that know the churn risk, week by week."""

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, ClassVar

import dagster as dg
import narwhals as nw
import pandera.pandas as pa
from pydantic import Field

from rfm_assets import quality
from rfm_assets.components.base import AssetName, RfmComponent
from rfm_assets.components.columns import column_lineage, table_schema
from rfm_assets.components.execution import Published, Week, check_specs, publishing_assets
from rfm_assets.components.inputs import Inputs
from rfm_assets.components.rendering import markdown_table
from rfm_assets.domain.churn import (
    CategoryCuts,
    ChurnSegmentConfig,
    churn_segments,
    risk_by_segment,
)
from rfm_assets.domain.churn_tables import RISK_LEVELS, DecisionTable
from rfm_assets.domain.distribution import customers_by_segment
from rfm_assets.domain.frames import Table
from rfm_assets.errors import InvalidConfig
from rfm_assets.library import load_decisions
from rfm_assets.publishing import publish
from rfm_assets.schemas import CHURN_AWARE_SEGMENTS, TableContract
from rfm_assets.store import Snapshot, table_name


class ChurnAwareSegmentationComponent(ChurnSegmentConfig, RfmComponent):
    """Eleven segments by recency, frequency, monetary, engagement and churn risk."""

    example: ClassVar[Mapping[str, Any]] = {
        "asset_name": "churn_aware_segments",
        "churn_scores_asset_key": "churn_scores",
    }

    customer_segments_asset_key: AssetName = Field(
        default="customer_segments", description="Customers with their recency and the rest."
    )
    churn_scores_asset_key: AssetName = Field(
        default="churn_scores",
        description="Churn probabilities by customer_id: of a ChurnScoresComponent, or any stored "
        "table with a column churn_probability.",
    )
    transaction_data_asset_key: AssetName = Field(
        default="transaction_data",
        description="Transactions that engagement is measured by, where no `engagement_column` "
        "is named.",
    )
    checks: quality.SegmentChecks = Field(
        default=quality.SegmentChecks(), description="When a distribution of segments warns."
    )

    @property
    def config(self) -> ChurnSegmentConfig:
        """The domain's part of the fields."""
        return ChurnSegmentConfig.model_construct(
            **{name: getattr(self, name) for name in ChurnSegmentConfig.model_fields}
        )

    def upstream_names(self) -> Iterator[tuple[tuple[str | int, ...], str]]:
        unused = ("transaction_data_asset_key",) if self.engagement_column else ()
        return (pair for pair in super().upstream_names() if pair[0] != unused)

    @property
    def _upstreams(self) -> list[dg.AssetKey]:
        names = [name for path, name in self.upstream_names() if path[0] != "asset"]
        return [dg.AssetKey.from_user_string(name) for name in names]

    def definitions(self, context: dg.ComponentLoadContext) -> dg.Definitions:
        table = load_decisions(self.decision_table, folder=context.path)
        spec = self.asset_spec(
            context,
            description="One row per customer with a churn score: categories of recency, "
            "frequency, monetary and engagement, the level of the churn risk, a score of 0 to "
            f"100, and the segment by the decision table `{table.reference}`. Customers without a "
            "churn score stand in the part `excluded`.",
            group_name="segments",
            deps=self._upstreams,
            kinds=["table", "parquet"],
            metadata={
                "dagster/column_schema": table_schema(CHURN_AWARE_SEGMENTS),
                "dagster/column_lineage": self._lineage(),
                "decision table": table.reference,
            },
            configuration=self.config_hash_with(decision_table=table),
        )
        checks = check_specs(self.key, _contract(table), quality.CHURN_SEGMENT_RULES)

        def work(
            run: dg.AssetExecutionContext, week: Week, inputs: Inputs
        ) -> Mapping[dg.AssetKey, Published]:
            return self._publish(week, inputs, table, run.run.run_id)

        return publishing_assets(self, context, specs=[spec], checks=checks, work=work)

    def _publish(
        self, week: Week, inputs: Inputs, table: DecisionTable, run_id: str
    ) -> Mapping[dg.AssetKey, Published]:
        segments = inputs.snapshot(
            dg.AssetKey.from_user_string(self.customer_segments_asset_key), week.day
        )
        scores = inputs.snapshot(
            dg.AssetKey.from_user_string(self.churn_scores_asset_key), week.day
        )
        customers, before = inputs.rows(segments), inputs.before(self.key, week.day)
        transactions = None
        if self.engagement_column is None:
            key = dg.AssetKey.from_user_string(self.transaction_data_asset_key)
            transactions = inputs.rows(inputs.snapshot(key, week.day))
        result = churn_segments(
            customers,
            inputs.rows(scores),
            as_of=week.day,
            scale=_scale(segments),
            table=table,
            config=self.config,
            checkpoint=inputs.engine.checkpoint,
            transactions=transactions,
            previous=inputs.rows(before) if before else None,
        )
        stamp = datetime.now(UTC).replace(tzinfo=None)
        publication = publish(
            inputs.store,
            inputs.engine,
            _contract(table),
            table=table_name(self.key.path),
            as_of=week.day,
            frame=result.table.with_columns(segmented_at=nw.lit(stamp)),
            parts={"excluded": result.excluded},
            rules=lambda staged: [
                quality.reconciles(
                    "customers_reconcile",
                    whole=("customers in the segments", segments.manifest.row_counts["rows"]),
                    parts={
                        "segmented": staged.row_counts["rows"],
                        "without churn score": staged.row_counts["excluded"],
                    },
                ),
                quality.largest_segment(
                    customers=customers_by_segment(staged.rows), checks=self.checks
                ),
                quality.scores_current(scores_of=scores.as_of, as_of=week.day),
            ],
            run_id=run_id,
            config_hash=self.config_hash_with(decision_table=table),
            source_fingerprint=segments.manifest.source_fingerprint,
            inputs=inputs.provenance(),
            extra={
                "decision_table": table.model_dump(mode="json"),
                "organization_id": self.organization_id,
                "cuts": None if result.cuts is None else result.cuts.model_dump(mode="json"),
            },
        )
        rows = inputs.rows(publication.snapshot)
        return {self.key: Published(publication, _shown(rows, table, result.cuts))}

    def _lineage(self) -> dg.TableColumnLineage:
        segments, scores = (
            dg.AssetKey.from_user_string(name)
            for name in (self.customer_segments_asset_key, self.churn_scores_asset_key)
        )
        categories = [(self.key, f"{name}_category") for name in "RFME"]
        risk = [(scores, "churn_probability")]
        return column_lineage(
            {
                "customer_id": [(segments, "customer_id")],
                "R_category": [(segments, "recency")],
                "F_category": [(segments, "frequency")],
                "M_category": [(segments, "monetary")],
                "E_category": [(self.key, "engagement")],
                "churn_probability": risk,
                "churn_risk_level": risk,
                "segment_score": [(segments, "RFM_score"), *risk],
                "segment": [*categories, (self.key, "churn_risk_level")],
                "recommendation": [(self.key, "segment")],
            }
        )


def _contract(table: DecisionTable) -> TableContract:
    """The stored contract, narrowed to this table's names."""
    return CHURN_AWARE_SEGMENTS.narrowed("segment", pa.Check.isin(table.names))


def _scale(segments: Snapshot) -> int:
    """The highest score of the segments that were read."""
    points = segments.manifest.cut_points
    if points is None:
        raise InvalidConfig(
            key="customer_segments_asset_key",
            value=segments.table,
            reason="has no scores",
            fix="Name the table of a CustomerSegmentationComponent.",
        )
    return int(str(points["scale"]))


def _shown(
    rows: Table, table: DecisionTable, cuts: CategoryCuts | None
) -> dict[str, dg.MetadataValue | str]:
    shown: dict[str, dg.MetadataValue | str] = {
        "segments": markdown_table(
            [
                "segment",
                "customers",
                "share, %",
                *(f"{level.lower()} risk" for level in RISK_LEVELS),
            ],
            [
                [
                    one.segment,
                    one.customers,
                    one.customers_pct,
                    *(one.by_level.get(level) for level in RISK_LEVELS),
                ]
                for one in risk_by_segment(rows, table)
            ],
        )
    }
    if cuts is not None:
        low = {name: ends[0] for name, ends in cuts.as_read().items()}
        high = {name: ends[1] for name, ends in cuts.as_read().items()}
        shown["categories"] = markdown_table(
            ["", "Low", "High"],
            [
                ["recency, days", f"{low['R']:,.0f} or more", f"fewer than {high['R']:,.0f}"],
                ["frequency", f"up to {low['F']:,.0f}", f"more than {high['F']:,.0f}"],
                ["monetary", f"up to {low['M']:,.2f}", f"more than {high['M']:,.2f}"],
                ["engagement", f"up to {low['E']:,g}", f"more than {high['E']:,g}"],
            ],
        )
    return shown
