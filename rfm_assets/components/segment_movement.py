"""`SegmentMovementComponent`: who moved between segments since the snapshot before."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import dagster as dg
from pydantic import Field

from rfm_assets import quality
from rfm_assets.components.base import AssetName, RfmComponent
from rfm_assets.components.columns import column_lineage, table_schema
from rfm_assets.components.execution import Published, Week, check_specs, publishing_assets
from rfm_assets.components.inputs import Inputs
from rfm_assets.components.rendering import markdown_table, movement_matrix
from rfm_assets.components.scheme_lookup import stored_scheme
from rfm_assets.domain.distribution import customers_by_segment
from rfm_assets.domain.history import LEFT, NEW, movement
from rfm_assets.engines.base import collect_rows
from rfm_assets.publishing import Staged, publish
from rfm_assets.schemas import SEGMENT_MOVEMENT
from rfm_assets.store import table_name
from rfm_assets.validation import CheckOutcome

SHOWN_MOVES = 8


class SegmentMovementComponent(RfmComponent):
    """Customers and value of each move between two segments since the snapshot before."""

    example: ClassVar[Mapping[str, Any]] = {
        "asset_name": "segment_movement",
        "customer_segments_asset_key": "customer_segments",
    }

    customer_segments_asset_key: AssetName = Field(
        default="customer_segments", description="Segments whose movement is followed."
    )

    def definitions(self, context: dg.ComponentLoadContext) -> dg.Definitions:
        upstream = dg.AssetKey.from_user_string(self.customer_segments_asset_key)
        spec = self.asset_spec(
            context,
            description="Who moved between segments since the snapshot before: one row for each "
            "pair that occurs, with `(new)` for customers who entered the window and `(left)` for "
            "those who fell out of it, so that both snapshots' totals reconcile.",
            group_name="segments",
            deps=[upstream],
            kinds=["table", "parquet"],
            metadata={
                "dagster/column_schema": table_schema(SEGMENT_MOVEMENT),
                "dagster/column_lineage": column_lineage(
                    {
                        "from_segment": [(upstream, "segment")],
                        "to_segment": [(upstream, "segment")],
                        "customers": [(upstream, "customer_id")],
                        "monetary_before": [(upstream, "monetary")],
                        "monetary_now": [(upstream, "monetary")],
                    }
                ),
            },
        )
        checks = check_specs(self.key, SEGMENT_MOVEMENT, quality.MOVEMENT_RULES)

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
        current, previous = inputs.rows(now), inputs.rows(before) if before else None
        moves = inputs.engine.checkpoint(
            movement(
                current,
                previous,
                as_of=week.day,
                previous_as_of=before.as_of if before else None,
            )
        )

        def rules(staged: Staged) -> list[CheckOutcome]:
            entered = customers_by_segment(current)
            rows = collect_rows(staged.rows)
            here = sum(row["customers"] for row in rows if row["to_segment"] != LEFT)
            there = sum(row["customers"] for row in rows if row["from_segment"] != NEW)
            gone = sum(row["customers"] for row in rows if row["to_segment"] == LEFT)
            came = sum(row["customers"] for row in rows if row["from_segment"] == NEW)
            known_before = before.manifest.row_counts["rows"] if before else 0
            return [
                quality.reconciles(
                    "customers_reconcile",
                    whole=("customers of both snapshots", sum(entered.values()) + known_before),
                    parts={
                        "stayed, twice": here + there - gone - came,
                        "(new)": came,
                        "(left)": gone,
                    },
                )
            ]

        publication = publish(
            inputs.store,
            inputs.engine,
            SEGMENT_MOVEMENT,
            table=table_name(self.key.path),
            as_of=week.day,
            frame=moves,
            rules=rules,
            run_id=run_id,
            config_hash=self.config_hash,
            inputs=inputs.provenance(),
        )
        scheme = stored_scheme(now)
        order = list(scheme.names) if scheme else sorted(customers_by_segment(current))
        rows = collect_rows(inputs.rows(publication.snapshot))
        metadata = {
            "largest movements": _largest(rows),
            "movement": movement_matrix(rows, order),
            "compared with": str(before.as_of) if before else "no snapshot before",
        }
        return {self.key: Published(publication, metadata)}


def _largest(rows: Sequence[Mapping[str, Any]]) -> dg.MarkdownMetadataValue:
    """The moves of most customers, without those who stayed."""
    moved = [row for row in rows if row["from_segment"] != row["to_segment"]]
    moved.sort(key=lambda row: (-row["customers"], row["from_segment"], row["to_segment"]))
    columns = ("from_segment", "to_segment", "customers", "monetary_before", "monetary_now")
    return markdown_table(
        ["from", "to", "customers", "spend before", "spend now"],
        [[row[column] for column in columns] for row in moved[:SHOWN_MOVES]],
        numeric_from=2,
    )
