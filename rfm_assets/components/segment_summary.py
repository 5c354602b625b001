"""`SegmentSummaryComponent`: size, value and means of each segment, week by week."""

from collections.abc import Mapping
from typing import Any, ClassVar

import dagster as dg
from pydantic import Field

from rfm_assets import quality
from rfm_assets.components.base import AssetName, RfmComponent
from rfm_assets.components.columns import column_lineage, table_schema
from rfm_assets.components.execution import Published, Week, check_specs, publishing_assets
from rfm_assets.components.inputs import Inputs
from rfm_assets.components.rendering import markdown_table
from rfm_assets.components.scheme_lookup import scheme_at_load, stored_scheme
from rfm_assets.domain.summaries import SummaryConfig, tiers_by_name
from rfm_assets.engines.base import collect_rows
from rfm_assets.errors import InvalidConfig
from rfm_assets.library import benchmarks
from rfm_assets.recording import publish_summary
from rfm_assets.schemas import SEGMENT_SUMMARY
from rfm_assets.store import table_name

SHOWN = {
    "segment": "segment",
    "customers": "customers",
    "customers_change": "change",
    "customers_pct": "share, %",
    "monetary_pct": "share of spend, %",
    "monetary_mean": "mean spend",
    "recency_mean": "mean recency, days",
    "frequency_mean": "mean purchases",
}
"""Columns of the table on the asset's page; more would not fit beside its name."""


class SegmentSummaryComponent(SummaryConfig, RfmComponent):
    """Size, value, means, benchmarks, hours and tier of each segment of a snapshot."""

    example: ClassVar[Mapping[str, Any]] = {
        "asset_name": "segment_summary",
        "customer_segments_asset_key": "customer_segments",
    }

    customer_segments_asset_key: AssetName = Field(
        default="customer_segments", description="Segments that are summed up."
    )

    @property
    def config(self) -> SummaryConfig:
        """The domain's part of the fields."""
        return SummaryConfig.model_construct(
            **{name: getattr(self, name) for name in SummaryConfig.model_fields}
        )

    def definitions(self, context: dg.ComponentLoadContext) -> dg.Definitions:
        upstream = dg.AssetKey.from_user_string(self.customer_segments_asset_key)
        if (scheme := scheme_at_load(context, upstream)) is not None:
            tiers_by_name(self.config, scheme)  # a tier of an unknown segment is an error at load
        spec = self.asset_spec(
            context,
            description="One row per segment of the scheme, also the empty ones: customers, value, "
            "means, change since the snapshot before, typical shares, loyalty tier.",
            group_name="segments",
            deps=[upstream],
            kinds=["table", "parquet"],
            metadata={
                "dagster/column_schema": table_schema(SEGMENT_SUMMARY),
                "dagster/column_lineage": column_lineage(
                    {
                        "segment": [(upstream, "segment")],
                        "customers": [(upstream, "customer_id")],
                        "monetary_total": [(upstream, "monetary")],
                        "monetary_mean": [(upstream, "monetary")],
                        "monetary_pct": [(upstream, "monetary")],
                        "recency_mean": [(upstream, "recency")],
                        "frequency_mean": [(upstream, "frequency")],
                    }
                ),
            },
            configuration=self.config.fingerprint(),
        )
        checks = check_specs(self.key, SEGMENT_SUMMARY, quality.SUMMARY_RULES)

        def work(
            run: dg.AssetExecutionContext, week: Week, inputs: Inputs
        ) -> Mapping[dg.AssetKey, Published]:
            return self._publish(week, inputs, upstream, run.run.run_id)

        return publishing_assets(self, context, specs=[spec], checks=checks, work=work)

    def _publish(
        self, week: Week, inputs: Inputs, upstream: dg.AssetKey, run_id: str
    ) -> Mapping[dg.AssetKey, Published]:
        now = inputs.snapshot(upstream, week.day)
        before = inputs.before(upstream, week.day)
        scheme = stored_scheme(now)
        if scheme is None:
            raise InvalidConfig(
                key="customer_segments_asset_key",
                value=self.customer_segments_asset_key,
                reason="has scores, but no segments to sum up",
                fix="Set `use_predefined_segments: true` there, or remove this component.",
            )
        publication = publish_summary(
            inputs.store,
            inputs.engine,
            now,
            inputs.rows(now),
            inputs.rows(before) if before else None,
            table=table_name(self.key.path),
            as_of=week.day,
            config=self.config,
            scheme=scheme,
            benchmark=benchmarks()[self.industry] if self.industry else None,
            origin={
                "run_id": run_id,
                "source_fingerprint": "",
                "inputs": dict(inputs.provenance()),
            },
        )
        rows = collect_rows(inputs.rows(publication.snapshot).sort("customers", descending=True))
        metadata = {
            "summary": markdown_table(
                list(SHOWN.values()), [[row[name] for name in SHOWN] for row in rows]
            )
        }
        return {self.key: Published(publication, metadata)}
