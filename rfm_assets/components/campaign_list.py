"""`CampaignListComponent`: one campaign's list, from segments and suppression lists."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, ClassVar

import dagster as dg
import narwhals as nw
from pydantic import Field

from rfm_assets import quality
from rfm_assets.components.base import AssetName, RfmComponent
from rfm_assets.components.columns import column_lineage, same_columns, table_schema
from rfm_assets.components.execution import Published, Week, check_specs, publishing_assets
from rfm_assets.components.inputs import Inputs
from rfm_assets.components.rendering import markdown_table, waterfall_table
from rfm_assets.components.scheme_lookup import scheme_at_load, segment_names, stored_scheme
from rfm_assets.domain.campaigns import CampaignConfig, CampaignResult, campaign_list
from rfm_assets.domain.frames import Table
from rfm_assets.domain.suppression import suppressed_members
from rfm_assets.engines.base import collect_rows
from rfm_assets.errors import InvalidConfig
from rfm_assets.publishing import Staged, publish
from rfm_assets.schemas import CAMPAIGN_LIST, SUPPRESSION_LIST
from rfm_assets.store import Snapshot, table_name
from rfm_assets.validation import CheckOutcome

PREVIEW_ROWS = 5
LONG_TEXT = frozenset({"recommendation"})
"""Left out of the preview, which Dagster shows at once only while it is short."""


class CampaignListComponent(CampaignConfig, RfmComponent):
    """A ranked list of customers for one campaign, with every stage of exclusion counted."""

    example: ClassVar[Mapping[str, Any]] = {
        "asset_name": "win_back",
        "segments": ["At Risk", "Cannot Lose Them", "About to Sleep", "Hibernating"],
        "priority": "monetary / (recency / 30 + 1)",
    }

    customer_segments_asset_key: AssetName = Field(
        default="customer_segments", description="Segments that the list is taken from."
    )
    suppression_asset_keys: list[AssetName] = Field(
        default=["suppression_list"],
        description="Suppression lists that always win; the first that names a customer gives "
        "the reason. An empty list means that nobody is suppressed.",
    )

    max_suppression_age_days: int = Field(
        default=7,
        ge=1,
        description="Days since a suppression list was computed past which no list is published.",
    )

    @property
    def config(self) -> CampaignConfig:
        """The domain's part of the fields."""
        return CampaignConfig.model_validate(
            self.model_dump(include=set(CampaignConfig.model_fields))
        )

    def definitions(self, context: dg.ComponentLoadContext) -> dg.Definitions:
        segments_key = dg.AssetKey.from_user_string(self.customer_segments_asset_key)
        suppression_keys = [dg.AssetKey.from_user_string(k) for k in self.suppression_asset_keys]
        if (scheme := scheme_at_load(context, segments_key)) is not None:
            segment_names(self.segments, scheme, key="segments")
        spec = self.asset_spec(
            context,
            description=self._described(),
            group_name="campaigns",
            deps=[segments_key, *suppression_keys],
            kinds=["table", "parquet"],
            metadata={
                "dagster/column_schema": table_schema(CAMPAIGN_LIST),
                "dagster/column_lineage": column_lineage(
                    {
                        **same_columns(["customer_id", "segment", "as_of"], segments_key),
                        **same_columns(self.columns, segments_key),
                    }
                ),
            },
        )
        checks = check_specs(self.key, CAMPAIGN_LIST, quality.LIST_RULES)

        def work(
            run: dg.AssetExecutionContext, week: Week, inputs: Inputs
        ) -> Mapping[dg.AssetKey, Published]:
            return self._publish(week, inputs, segments_key, suppression_keys, run.run.run_id)

        return publishing_assets(self, context, specs=[spec], checks=checks, work=work)

    def _publish(
        self,
        week: Week,
        inputs: Inputs,
        segments_key: dg.AssetKey,
        suppression_keys: list[dg.AssetKey],
        run_id: str,
    ) -> Mapping[dg.AssetKey, Published]:
        source = inputs.snapshot(segments_key, week.day)
        lists = [_suppression(inputs.snapshot(key, week.day)) for key in suppression_keys]
        suppression = [inputs.rows(snapshot) for snapshot in lists]
        names = segment_names(self.segments, stored_scheme(source), key="segments")
        result = campaign_list(
            inputs.rows(source),
            as_of=week.day,
            config=self.config,
            segments=names,
            suppression=suppression,
            checkpoint=inputs.engine.checkpoint,
            number=inputs.engine.number_rows,
        )
        steps = [vars(step) for step in result.steps]
        publication = publish(
            inputs.store,
            inputs.engine,
            CAMPAIGN_LIST,
            table=table_name(self.key.path),
            as_of=week.day,
            frame=result.members,
            parts={"excluded": result.excluded},
            rules=lambda staged: [self._current(lists), *_rules(staged, result, suppression)],
            run_id=run_id,
            config_hash=self.config.fingerprint(),
            inputs=inputs.provenance(),
            counts={f"excluded: {reason}": n for reason, n in result.reasons.items()},
            extra={"waterfall": steps},
        )
        shown = [
            name
            for name in result.members.collect_schema().names()
            if name not in {"as_of", *LONG_TEXT}
        ]
        first = collect_rows(
            inputs.rows(publication.snapshot).sort("rank").head(PREVIEW_ROWS).select(*shown)
        )
        metadata = {
            "waterfall": waterfall_table(steps),
            "reasons": markdown_table(["reason", "customers"], result.reasons.items()),
            "first rows": markdown_table(shown, [list(row.values()) for row in first]),
        }
        return {self.key: Published(publication, metadata)}

    def _current(self, lists: Sequence[Snapshot]) -> CheckOutcome:
        now = datetime.now(UTC)
        ages = {
            snapshot.table: (now - snapshot.manifest.created_at).total_seconds() / 86_400
            for snapshot in lists
            if snapshot.manifest.created_at is not None
        }
        return quality.suppression_current(
            ages_days=ages, max_age_days=self.max_suppression_age_days
        )

    def _described(self) -> str:
        """The description an engineer sees where the YAML gives none."""
        audience = ", ".join(self.segments) if self.segments else "every segment"
        where = f" where `{self.where}`" if self.where else ""
        return (
            f"Campaign list of {audience}{where}, best first by `{self.priority}`. "
            "Customers on a suppression list are never on it; whoever is left out stands in the "
            "part `excluded` with a reason."
        )


def _suppression(snapshot: Snapshot) -> Snapshot:
    """The snapshot, if it is a suppression list: ids of any other table are not proven to match."""
    if snapshot.manifest.kind != SUPPRESSION_LIST.kind:
        raise InvalidConfig(
            key="suppression_asset_keys",
            value=snapshot.table,
            reason=f"holds a {snapshot.manifest.kind} table, not a suppression list",
            fix="Make it one with a SuppressionListComponent that reads it as `entries`.",
        )
    return snapshot


def _rules(staged: Staged, result: CampaignResult, suppression: list[Table]) -> list[CheckOutcome]:
    """What must hold of the staged list beyond its columns."""
    audience = result.steps[-1].left + sum(result.reasons.values())
    return [
        quality.no_suppressed_customer(
            on_list=suppressed_members(staged.rows, suppression),
            n_suppressed=sum(table.select(nw.len()).collect().item() for table in suppression),
        ),
        quality.reconciles(
            "stages_reconcile",
            whole=("audience", audience),
            parts={
                "deliverable": staged.row_counts["rows"],
                "excluded": staged.row_counts["excluded"],
            },
        ),
    ]
