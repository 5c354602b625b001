"""`CampaignListComponent`: one campaign's list, from segments and suppression lists."""

from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from functools import partial
from typing import Any, ClassVar, Self

import dagster as dg
import narwhals as nw
from pydantic import Field, JsonValue, model_validator

from rfm_assets import quality
from rfm_assets.components.base import AssetName, RfmComponent
from rfm_assets.components.campaign_inputs import (
    Upstream,
    another_experiment,
    baseline_rate,
    claims_of,
    control_groups,
    sends_before,
    sends_current,
    sends_snapshot,
    suppression_lists,
)
from rfm_assets.components.campaign_order import consent_lists, deployment_of, lists_above
from rfm_assets.components.columns import column_lineage, same_columns, table_schema
from rfm_assets.components.execution import Published, Week, check_specs, publishing_assets
from rfm_assets.components.inputs import Inputs
from rfm_assets.components.known_columns import columns_at_load
from rfm_assets.components.rendering import markdown_table, waterfall_table
from rfm_assets.components.scheme_lookup import segment_names, segments_at_load, stored_scheme
from rfm_assets.domain.audiences import CampaignConfig, requirements
from rfm_assets.domain.campaigns import CampaignResult, campaign_list
from rfm_assets.domain.controls import ControlGroup
from rfm_assets.domain.frames import Table
from rfm_assets.domain.suppression import suppressed_members
from rfm_assets.engines.base import collect_rows
from rfm_assets.errors import InvalidConfig
from rfm_assets.publishing import Staged, publish
from rfm_assets.recording import suppression_current
from rfm_assets.schemas import CAMPAIGN_LIST
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
        "the reason. Lists of those who said no hold for every campaign, named here or not.",
    )

    max_suppression_age_days: int = Field(
        default=7,
        ge=1,
        description="Days since a suppression list was computed past which no list is published.",
    )
    campaign_sends_asset_key: AssetName | None = Field(
        default=None,
        description="Log of sends, for `cool_off` and `frequency_cap`.",
        examples=["campaign_sends"],
    )
    max_sends_age_days: int = Field(
        default=7,
        ge=1,
        description="Days since the log of sends was read, and since its file was written, past "
        "which no list is published.",
    )
    count_planned: bool = Field(
        default=False,
        description="Whether earlier weeks of this list, and of those above it in its group, count "
        "as sent on their as_of.",
    )
    transaction_data_asset_key: AssetName | None = Field(
        default=None,
        description="Transactions that tell the baseline rate, in place of `baseline_rate`: how "
        "many of the audience of `outcome_days` ago have bought since.",
        examples=["transaction_data"],
    )
    outcome_days: int = Field(
        default=28, ge=1, le=3650, description="Days within which a purchase counts as an outcome."
    )

    @model_validator(mode="after")
    def _knows_what_was_sent(self) -> Self:
        asked = "cool_off" if self.cool_off else "frequency_cap" if self.frequency_cap else None
        if asked and self.campaign_sends_asset_key is None and not self.count_planned:
            raise InvalidConfig(
                key=asked,
                value="given",
                reason="cannot be kept: nothing says what was sent",
                fix="Name a log as `campaign_sends_asset_key`, or set `count_planned: true`.",
            )
        if self.baseline_rate is not None and self.transaction_data_asset_key is not None:
            raise InvalidConfig(
                key="baseline_rate",
                value=self.baseline_rate,
                reason="is given, and `transaction_data_asset_key` would tell it, too",
                fix="Keep one of the two.",
            )
        return self

    @property
    def config(self) -> CampaignConfig:
        """The domain's part of the fields."""
        return CampaignConfig.model_validate(
            self.model_dump(include=set(CampaignConfig.model_fields))
        )

    def definitions(self, context: dg.ComponentLoadContext) -> dg.Definitions:
        # First, so that what is wrong here is told beside what is wrong in other lists.
        self.require_all(self._requirements(context))
        upstream = self._upstream(context)
        spec = self.asset_spec(
            context,
            description=self._described(),
            group_name="campaigns",
            deps=upstream.keys,
            kinds=["table", "parquet"],
            metadata={
                "dagster/column_schema": table_schema(CAMPAIGN_LIST),
                "dagster/column_lineage": column_lineage(
                    {
                        **same_columns(["customer_id", "segment", "as_of"], upstream.segments),
                        **same_columns(self.columns, upstream.segments),
                    }
                ),
            },
            configuration=self.config.fingerprint(),
        )
        checks = check_specs(self.key, CAMPAIGN_LIST, self._rule_names(upstream))
        deployment = deployment_of(context)

        def work(
            run: dg.AssetExecutionContext, week: Week, inputs: Inputs
        ) -> Mapping[dg.AssetKey, Published]:
            groups = control_groups(self.control, deployment)
            return self._publish(week, inputs, upstream, groups, run.run.run_id)

        return publishing_assets(self, context, specs=[spec], checks=checks, work=work)

    def _requirements(self, context: dg.ComponentLoadContext) -> Iterator[Callable[[], object]]:
        """What can be told wrong before anything is computed."""
        segments = dg.AssetKey.from_user_string(self.customer_segments_asset_key)
        yield from segments_at_load(context, segments, self.segments)
        if (kinds := columns_at_load(context, segments)) is not None:
            yield from requirements(self.config, kinds)
        if self.control is not None:
            yield partial(another_experiment, self.control, deployment_of(context))

    def _upstream(self, context: dg.ComponentLoadContext) -> Upstream:
        def key(name: str | None) -> dg.AssetKey | None:
            return None if name is None else dg.AssetKey.from_user_string(name)

        own = [dg.AssetKey.from_user_string(name) for name in self.suppression_asset_keys]
        asks = self.cool_off is not None or self.frequency_cap is not None
        return Upstream(
            segments=dg.AssetKey.from_user_string(self.customer_segments_asset_key),
            suppression=tuple(dict.fromkeys([*consent_lists(self, context), *own])),
            above=tuple(lists_above(self, context)),
            sends=key(self.campaign_sends_asset_key) if asks else None,
            transactions=key(self.transaction_data_asset_key),
        )

    def _rule_names(self, upstream: Upstream) -> list[str]:
        """The rules that say something of this list."""
        silent = {
            *(["sends_current"] if upstream.sends is None else []),
            *(["list_large_enough"] if self.minimum_size is None else []),
        }
        return [name for name in quality.LIST_RULES if name not in silent]

    def _publish(
        self,
        week: Week,
        inputs: Inputs,
        upstream: Upstream,
        groups: list[ControlGroup],
        run_id: str,
    ) -> Mapping[dg.AssetKey, Published]:
        source = inputs.snapshot(upstream.segments, week.day)
        lists = suppression_lists(upstream, inputs, week.day)
        suppression = [inputs.rows(snapshot) for snapshot in lists]
        result = campaign_list(
            inputs.rows(source),
            as_of=week.day,
            config=self.config,
            segments=segment_names(self.segments, stored_scheme(source), key="segments"),
            suppression=suppression,
            sends=sends_before(self, upstream, inputs, week.day),
            claims=claims_of(upstream, inputs, week.day),
            control_groups=groups,
            baseline_rate=baseline_rate(self, upstream, inputs, week.day),
            checkpoint=inputs.engine.checkpoint,
            number=inputs.engine.number_rows,
            choose=inputs.engine.choose_rows,
        )
        log = sends_snapshot(upstream, inputs)

        def rules(staged: Staged) -> list[CheckOutcome]:
            now = datetime.now(UTC)
            outcomes = [suppression_current(lists, self.max_suppression_age_days, now=now)]
            if log is not None:
                outcomes.append(sends_current(log, self.max_sends_age_days))
            n_suppressed = sum(snapshot.manifest.row_counts["rows"] for snapshot in lists)
            return [*outcomes, *self._rules(staged, result, suppression, n_suppressed)]

        publication = publish(
            inputs.store,
            inputs.engine,
            CAMPAIGN_LIST,
            table=table_name(self.key.path),
            as_of=week.day,
            frame=result.members,
            parts={"excluded": result.excluded, "control": result.control},
            rules=rules,
            run_id=run_id,
            config_hash=self.config.fingerprint(),
            inputs=inputs.provenance(),
            counts={
                **{f"excluded: {reason}": n for reason, n in result.reasons.items()},
                **{f"control: {kind}": n for kind, n in result.controls.items()},
            },
            extra=_told(result, groups, lists),
        )
        first = inputs.rows(publication.snapshot).sort("rank").head(PREVIEW_ROWS)
        return {self.key: Published(publication, _shown(result, first))}

    def _rules(
        self,
        staged: Staged,
        result: CampaignResult,
        suppression: list[Table],
        n_suppressed: int,
    ) -> list[CheckOutcome]:
        """What must hold of the staged list beyond its columns."""
        everyone = [
            staged.rows.select("customer_id"),
            staged.tables["control"].select("customer_id"),
        ]
        outcomes = [
            quality.no_suppressed_customer(
                on_list=suppressed_members(nw.concat(everyone, how="vertical"), suppression),
                n_suppressed=n_suppressed,
            ),
            quality.reconciles(
                "stages_reconcile",
                whole=("audience", result.audience),
                parts={
                    "deliverable": staged.row_counts["rows"],
                    "control": staged.row_counts["control"],
                    "excluded": staged.row_counts["excluded"],
                },
            ),
        ]
        if self.minimum_size is not None:
            outcomes.append(
                quality.list_large_enough(
                    deliverable=staged.row_counts["rows"], minimum_size=self.minimum_size
                )
            )
        return outcomes

    def _described(self) -> str:
        """The description an engineer sees where the YAML gives none."""
        audience = ", ".join(self.segments) if self.segments else "every segment"
        where = f" where `{self.where}`" if self.where else ""
        return (
            f"Campaign list of {audience}{where}, best first by `{self.priority}`. "
            "Customers on a suppression list are never on it; whoever is left out stands in the "
            "part `excluded` with a reason, the control group in the part `control`."
        )


def _told(
    result: CampaignResult, groups: list[ControlGroup], lists: list[Snapshot]
) -> dict[str, JsonValue]:
    """What the manifest says beyond the counts; secrets are no part of it."""
    found = result.detectable
    return {
        # Whoever gives members out asks these again.
        "suppression_lists": [one.table for one in lists],
        "waterfall": [dict(vars(step)) for step in result.steps],
        "control": [
            {
                "kind": group.kind,
                "experiment": group.experiment,
                "share": group.share,
                "keyed": group.secret is not None,
            }
            for group in groups
        ],
        "measurement": {
            "treated": found.treated,
            "control": found.control,
            "baseline_rate": found.baseline_rate,
            "smallest_uplift": found.uplift,
            "told": found.told,
        },
    }


def _shown(result: CampaignResult, first: Table) -> dict[str, dg.MarkdownMetadataValue | str]:
    columns = [
        name
        for name in result.members.collect_schema().names()
        if name not in {"as_of", *LONG_TEXT}
    ]
    rows = collect_rows(first.select(*columns))
    return {
        "waterfall": waterfall_table([vars(step) for step in result.steps]),
        "reasons": markdown_table(["reason", "customers"], result.reasons.items()),
        "control groups": markdown_table(["group", "customers"], result.controls.items()),
        "smallest uplift": result.detectable.told,
        "first rows": markdown_table(columns, [list(row.values()) for row in rows]),
    }
