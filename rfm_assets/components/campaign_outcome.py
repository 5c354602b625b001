"""`CampaignOutcomeComponent`: what became of campaign lists, against their control groups."""

from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from typing import Any, ClassVar

import dagster as dg
from pydantic import Field

from rfm_assets import quality
from rfm_assets.components.base import AssetName, RfmComponent
from rfm_assets.components.campaign_inputs import of_kind
from rfm_assets.components.columns import column_lineage, table_schema
from rfm_assets.components.execution import Published, Week, check_specs, publishing_assets
from rfm_assets.components.inputs import Inputs
from rfm_assets.components.rendering import markdown_table
from rfm_assets.domain.controls import ControlGroup
from rfm_assets.domain.outcome_rows import outcome_rows
from rfm_assets.domain.outcomes import (
    Assignment,
    Outcome,
    OutcomeConfig,
    campaign_outcomes,
    not_measurable,
)
from rfm_assets.engines.base import collect_rows
from rfm_assets.publishing import Staged, publish
from rfm_assets.schemas import CAMPAIGN_LIST, CAMPAIGN_OUTCOME
from rfm_assets.store import Snapshot, table_name
from rfm_assets.validation import CheckOutcome

SHOWN = {
    "campaign": "list",
    "verdict": "verdict",
    "deliverable": "on the list",
    "control": "in control",
    "buyer_rate_deliverable": "bought, of the list",
    "buyer_rate_control": "of control",
    "buyer_rate_difference": "difference",
    "buyer_rate_low": "low",
    "buyer_rate_high": "high",
    "smallest_uplift": "smallest uplift",
}
"""Columns of the table on the asset's page; rates are shown in per cent."""
RATES = frozenset(name for name in SHOWN if name.startswith(("buyer_rate", "smallest")))


class CampaignOutcomeComponent(OutcomeConfig, RfmComponent):
    """Whether campaign lists worked: buyers and spend in the weeks after, against control."""

    example: ClassVar[Mapping[str, Any]] = {
        "asset_name": "campaign_outcome",
        "campaign_asset_keys": ["win_back"],
    }

    campaign_asset_keys: list[AssetName] = Field(
        min_length=1,
        description="Campaign lists that are judged, each against its own control group; one "
        "without is compared with the global one.",
        examples=[["win_back"]],
    )
    transaction_data_asset_key: AssetName = Field(
        default="transaction_data", description="Canonical transactions."
    )

    @property
    def config(self) -> OutcomeConfig:
        """The domain's part of the fields."""
        return OutcomeConfig(horizon_weeks=self.horizon_weeks, confidence=self.confidence)

    def definitions(self, context: dg.ComponentLoadContext) -> dg.Definitions:
        lists = [dg.AssetKey.from_user_string(name) for name in self.campaign_asset_keys]
        transactions = dg.AssetKey.from_user_string(self.transaction_data_asset_key)
        weeks = f"{self.horizon_weeks} weeks" if self.horizon_weeks > 1 else "week"
        spec = self.asset_spec(
            context,
            description=f"One row per campaign list of {weeks} ago: who of it has bought since, and "
            "for how much, against its control group, by intention to treat. A claim is made on the "
            "share of buyers alone; where the groups cannot be compared, the verdict is `not "
            "measurable`.",
            group_name="campaigns",
            deps=[*lists, transactions],
            kinds=["table", "parquet"],
            metadata={
                "dagster/column_schema": table_schema(CAMPAIGN_OUTCOME),
                "dagster/column_lineage": column_lineage(
                    {
                        "deliverable": [(key, "customer_id") for key in lists],
                        "buyer_rate_difference": [(transactions, "day"), (transactions, "amount")],
                        "spend_difference": [(transactions, "day"), (transactions, "amount")],
                    }
                ),
            },
        )
        checks = check_specs(self.key, CAMPAIGN_OUTCOME, quality.OUTCOME_RULES)

        def work(
            run: dg.AssetExecutionContext, week: Week, inputs: Inputs
        ) -> Mapping[dg.AssetKey, Published]:
            return self._publish(week, inputs, lists, transactions, run.run.run_id)

        return publishing_assets(self, context, specs=[spec], checks=checks, work=work)

    def _publish(
        self,
        week: Week,
        inputs: Inputs,
        lists: Sequence[dg.AssetKey],
        transactions: dg.AssetKey,
        run_id: str,
    ) -> Mapping[dg.AssetKey, Published]:
        source, then = inputs.snapshot(transactions, week.day), self.config.list_as_of(week.day)
        stored = {key: _list_of(key, then, inputs) for key in lists}
        found = campaign_outcomes(
            [_assignment(key, one, inputs) for key, one in stored.items() if one],
            inputs.rows(source),
            as_of=then,
            observed=week.day,
            config=self.config,
        )
        found += [
            not_measurable(table_name(key.path), f"there is no list as of {then}")
            for key, one in stored.items()
            if one is None
        ]
        customers = sum(_customers(one) for one in stored.values() if one)

        def rules(staged: Staged) -> list[CheckOutcome]:
            rows = collect_rows(staged.rows)
            return [
                quality.reconciles(
                    "customers_reconcile",
                    whole=("customers on the lists and in their control groups", customers),
                    parts=_parts(found),
                ),
                quality.claims_follow_intervals(rows),
                quality.groups_as_drawn(rows),
            ]

        publication = publish(
            inputs.store,
            inputs.engine,
            CAMPAIGN_OUTCOME,
            table=table_name(self.key.path),
            as_of=week.day,
            frame=inputs.engine.from_native(
                outcome_rows(found, list_as_of=then, as_of=week.day, config=self.config)
            ),
            rules=rules,
            run_id=run_id,
            config_hash=self.config_hash,
            source_fingerprint=source.manifest.source_fingerprint,
            inputs=inputs.provenance(),
        )
        rows = collect_rows(inputs.rows(publication.snapshot).sort("campaign"))
        return {self.key: Published(publication, _shown(rows, then))}


def _list_of(key: dg.AssetKey, day: date, inputs: Inputs) -> Snapshot | None:
    """The list of a date; None where none was published."""
    found = inputs.between(key, day, day + timedelta(days=1))
    if not found:
        return None
    return of_kind(
        found[0], CAMPAIGN_LIST, key="campaign_asset_keys", maker="CampaignListComponent"
    )


def _assignment(key: dg.AssetKey, stored: Snapshot, inputs: Inputs) -> Assignment:
    """The list as it was assigned, by the groups that were declared then."""
    drawn: Any = stored.manifest.extra.get("control", [])
    return Assignment(
        campaign=table_name(key.path),
        deliverable=inputs.rows(stored),
        control=inputs.rows(stored, "control") if "control" in stored.manifest.row_counts else None,
        drawn=[ControlGroup(one["kind"], one["experiment"], one["share"]) for one in drawn],
    )


def _customers(stored: Snapshot) -> int:
    counts = stored.manifest.row_counts
    return counts["rows"] + counts.get("control", 0)


def _parts(found: Sequence[Outcome]) -> dict[str, int]:
    return {
        "on the lists": sum(one.deliverable.customers for one in found if one.deliverable),
        "compared with them": sum(one.control.customers for one in found if one.control),
        "in control and not compared": sum(one.aside for one in found),
    }


def _shown(rows: Sequence[Mapping[str, Any]], then: date) -> dict[str, dg.MetadataValue | str]:
    return {
        "outcome": markdown_table(
            list(SHOWN.values()),
            [
                [
                    f"{100 * row[name]:.2f} %" if name in RATES and row[name] is not None
                    else row[name]
                    for name in SHOWN
                ]
                for row in rows
            ],
            numeric_from=2,
        ),
        "in words": markdown_table(
            ["list", "outcome"], [[row["campaign"], row["told"]] for row in rows], numeric_from=2
        ),
        "lists as of": str(then),
    }  # fmt: skip
