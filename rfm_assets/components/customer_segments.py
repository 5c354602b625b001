"""`CustomerSegmentationComponent`: recency, frequency, monetary, scores and segments per week."""

from collections.abc import Container, Mapping
from datetime import UTC, date, datetime
from typing import Any, ClassVar
from zoneinfo import ZoneInfo

import dagster as dg
from pydantic import Field

from rfm_assets import quality
from rfm_assets.components.base import AssetName, RfmComponent
from rfm_assets.components.columns import column_lineage, table_schema
from rfm_assets.components.execution import Published, Week, check_specs, publishing_assets
from rfm_assets.components.inputs import Inputs
from rfm_assets.components.rendering import markdown_table, score_heat_map, score_table
from rfm_assets.domain.distribution import (
    customers_by_segment,
    score_grid,
    totals_of_transactions,
)
from rfm_assets.domain.frames import Table
from rfm_assets.domain.history import largest_shifts, population_stability_index
from rfm_assets.domain.schemes import Scheme
from rfm_assets.domain.scoring import CutPoints
from rfm_assets.domain.segments import Segmentation, SegmentationConfig, segment
from rfm_assets.domain.summaries import SummaryConfig, segment_summary
from rfm_assets.engines.base import collect_rows
from rfm_assets.errors import SnapshotMissing
from rfm_assets.library import load_scheme
from rfm_assets.publishing import Staged
from rfm_assets.recording import publish_segments, segments_contract, segments_fingerprint
from rfm_assets.schemas import CUSTOMER_SEGMENTS
from rfm_assets.store import Snapshot, table_name
from rfm_assets.validation import CheckOutcome


class CustomerSegmentationComponent(SegmentationConfig, RfmComponent):
    """Customers with their recency, frequency, monetary, scores and segment, week by week."""

    example: ClassVar[Mapping[str, Any]] = {
        "asset_name": "customer_segments",
        "transaction_data_asset_key": "transaction_data",
    }

    transaction_data_asset_key: AssetName = Field(
        default="transaction_data", description="Canonical transactions to segment."
    )
    customer_data_asset_key: AssetName | None = Field(
        default=None,
        description="Table with further columns per customer_id, which are kept beside the "
        "segment and can be used in a campaign's `where`.",
    )
    checks: quality.SegmentChecks = Field(
        default=quality.SegmentChecks(),
        description="When a distribution of segments warns, and when it is not published.",
    )

    @property
    def config(self) -> SegmentationConfig:
        """The domain's part of the fields."""
        return SegmentationConfig.model_construct(
            **{name: getattr(self, name) for name in SegmentationConfig.model_fields}
        )

    def scheme(self, context: dg.ComponentLoadContext) -> Scheme | None:
        """The segment scheme, proven total; a path starts at the component's folder."""
        if not self.use_predefined_segments:
            return None
        return load_scheme(self.segment_scheme, folder=context.path)

    def definitions(self, context: dg.ComponentLoadContext) -> dg.Definitions:
        scheme = self.scheme(context)
        upstream = dg.AssetKey.from_user_string(self.transaction_data_asset_key)
        customers = (
            dg.AssetKey.from_user_string(self.customer_data_asset_key)
            if self.customer_data_asset_key
            else None
        )
        spec = self.asset_spec(
            context,
            description=_described(self, scheme),
            group_name="segments",
            deps=[upstream, *([customers] if customers else [])],
            kinds=["table", "parquet"],
            metadata={
                "dagster/column_schema": table_schema(CUSTOMER_SEGMENTS),
                "dagster/column_lineage": _lineage(upstream, self.key),
                "segment scheme": scheme.reference if scheme else "none",
            },
            configuration=segments_fingerprint(self.config, scheme),
        )
        rules = [
            rule
            for rule in quality.SEGMENT_RULES
            if rule != "reference_drift" or self.checks.reference is not None
        ]
        checks = check_specs(self.key, segments_contract(scheme), rules)
        weekly = self.weekly(context)
        zone = ZoneInfo(weekly.time_zone if weekly else "UTC")

        def work(
            run: dg.AssetExecutionContext, week: Week, inputs: Inputs
        ) -> Mapping[dg.AssetKey, Published]:
            return self._publish(
                week,
                inputs,
                in_this_run={as_of for _, as_of in self.as_of_dates(run)},
                zone=zone,
                scheme=scheme,
                upstream=upstream,
                customers=customers,
                stamp=datetime.now(UTC).replace(tzinfo=None),
                run_id=run.run.run_id,
            )

        return publishing_assets(self, context, specs=[spec], checks=checks, work=work)

    def _publish(
        self,
        week: Week,
        inputs: Inputs,
        *,
        in_this_run: Container[date],
        zone: ZoneInfo,
        scheme: Scheme | None,
        upstream: dg.AssetKey,
        customers: dg.AssetKey | None,
        stamp: datetime,
        run_id: str,
    ) -> Mapping[dg.AssetKey, Published]:
        source = inputs.snapshot(upstream, week.day)
        transactions = inputs.rows(source)
        before = inputs.before(self.key, week.day)
        result = segment(
            transactions,
            as_of=week.day,
            config=self.config,
            scheme=scheme,
            previous=inputs.rows(before) if before else None,
            cut_points=self._frozen_cut_points(inputs),
            attributes=inputs.rows(inputs.snapshot(customers, week.day)) if customers else None,
            checkpoint=inputs.engine.checkpoint,
        )
        publication = publish_segments(
            inputs.store,
            inputs.engine,
            result,
            table=table_name(self.key.path),
            as_of=week.day,
            config=self.config,
            scheme=scheme,
            whole=totals_of_transactions(
                transactions, as_of=week.day, days=self.analysis_period_days
            ),
            stamp=stamp,
            rules=lambda staged: self._rules(
                staged,
                inputs,
                before=before,
                as_of=week.day,
                in_this_run=in_this_run,
                read_on=_day_of(source, zone),
            ),
            origin={
                "run_id": run_id,
                "source_fingerprint": source.manifest.source_fingerprint,
                "inputs": dict(inputs.provenance()),
            },
        )
        shown = self._shown(publication.snapshot, result, scheme, inputs)
        for outcome in publication.outcomes:
            if outcome.name == "later_weeks_current" and not outcome.passed:
                shown["later weeks to run again"] = outcome.observed
        return {self.key: Published(publication, shown)}

    def _frozen_cut_points(self, inputs: Inputs) -> CutPoints | None:
        if self.cut_points == "each_run":
            return None
        try:
            snapshot = inputs.snapshot(self.key, self.cut_points.frozen_from)
        except SnapshotMissing:
            return None  # `segment` says what is missing and how to get it
        return CutPoints.model_validate(snapshot.manifest.cut_points)

    def _rules(
        self,
        staged: Staged,
        inputs: Inputs,
        *,
        before: Snapshot | None,
        as_of: date,
        in_this_run: Container[date],
        read_on: date | None,
    ) -> list[CheckOutcome]:
        now = customers_by_segment(staged.rows)
        return [
            quality.transactions_cover_week(read_on=read_on, as_of=as_of),
            quality.largest_segment(customers=now, checks=self.checks),
            quality.drift(_shift_since(before, now, inputs), checks=self.checks),
            *self._reference_drift(now, inputs, as_of),
            quality.later_weeks_current(later=self._later(inputs, as_of), in_this_run=in_this_run),
        ]

    def _later(self, inputs: Inputs, as_of: date) -> list[date]:
        name = table_name(self.key.path)
        return [day for day in inputs.store.dates(name) if day > as_of]

    def _reference_drift(
        self, now: Mapping[str, int], inputs: Inputs, as_of: date
    ) -> list[CheckOutcome]:
        """The shift since the declared reference; nothing where none is declared."""
        reference = self.checks.reference
        if reference is None:
            return []
        try:
            shift = _shift_since(inputs.snapshot(self.key, reference), now, inputs)
        except SnapshotMissing:
            shift = None
        return [
            quality.reference_drift(shift, reference=reference, as_of=as_of, checks=self.checks)
        ]

    def _shown(
        self, snapshot: Snapshot, result: Segmentation, scheme: Scheme | None, inputs: Inputs
    ) -> dict[str, dg.MetadataValue | str]:
        rows = inputs.rows(snapshot)
        points = result.cut_points
        grid = collect_rows(score_grid(rows))
        reasons = [
            (name.removeprefix("excluded_"), n)
            for name, n in result.counts.items()
            if name.startswith("excluded_")
        ]
        shown: dict[str, dg.MetadataValue | str] = {
            "cut points": _cut_point_table(points),
            "recency by frequency": score_heat_map(grid, bins=points.scale),
            "customers by score": score_table(grid, bins=points.scale),
            "left out": markdown_table(["reason", "customers"], reasons),
        }
        if self.calculate_segment_value and scheme is not None and snapshot.as_of is not None:
            shown["segments"] = _segment_table(rows, scheme, snapshot.as_of)
        return shown


def _day_of(snapshot: Snapshot, zone: ZoneInfo) -> date | None:
    """The business day on which a snapshot was made."""
    made = snapshot.manifest.created_at
    return None if made is None else made.astimezone(zone).date()


def _shift_since(
    then: Snapshot | None, now: Mapping[str, int], inputs: Inputs
) -> quality.Shift | None:
    if then is None or then.as_of is None:
        return None
    before = customers_by_segment(inputs.rows(then))
    return quality.Shift(
        index=population_stability_index(before, now),
        since=then.as_of,
        customers=min(sum(before.values()), sum(now.values())),
        largest=largest_shifts(before, now),
    )


def _cut_point_table(points: CutPoints) -> dg.MarkdownMetadataValue:
    header = ["", *(f"cut {i + 1}" for i in range(points.scale - 1))]
    return markdown_table(
        header,
        [
            ["recency, days", *points.recency],
            ["frequency, purchases", *points.frequency],
            ["monetary", *points.monetary],
        ],
    )


def _segment_table(rows: Table, scheme: Scheme, as_of: date) -> dg.MarkdownMetadataValue:
    summary = segment_summary(rows, None, as_of=as_of, scheme=scheme, config=SummaryConfig())
    columns = ("customers", "customers_pct", "monetary_total", "monetary_mean", "monetary_pct")
    return markdown_table(
        ["segment", "customers", "share, %", "total spend", "mean spend", "share of spend, %"],
        [
            [row["segment"], *(row[column] for column in columns)]
            for row in sorted(collect_rows(summary), key=lambda row: -row["customers"])
        ],
    )


def _lineage(upstream: dg.AssetKey, own: dg.AssetKey) -> dg.TableColumnLineage:
    """Which columns each one is computed from; scores also from the column they score."""
    purchase_days = [(upstream, "day"), (upstream, "amount")]
    recency, frequency = [(own, "recency")], [(own, "frequency")]
    scores = [(own, "R_score"), (own, "F_score"), (own, "M_score")]
    return column_lineage(
        {
            "customer_id": [(upstream, "customer_id")],
            "recency": purchase_days,
            "frequency": [(upstream, "order_id"), (upstream, "amount")],
            "monetary": [(upstream, "amount")],
            "R_score": [*recency, *purchase_days],
            "F_score": [*frequency, (upstream, "order_id")],
            "M_score": [(own, "monetary"), (upstream, "amount")],
            "RFM_score": scores,
            "rfm_cell": scores,
            "segment": scores,
            "recommendation": [(own, "segment")],
            "last_purchase_date": purchase_days,
        }
    )


def _described(component: SegmentationConfig, scheme: Scheme | None) -> str:
    named = f"segments by the scheme `{scheme.reference}`" if scheme else "scores without segments"
    return (
        "One row per customer as of the end of the week: recency, frequency and monetary over "
        f"the {component.analysis_period_days} days before, {component.scoring_method} scores, "
        f"{named}. Later transactions are invisible. Whoever is left out stands in the part "
        "`excluded` with a reason."
    )
