"""`LifetimeValueComponent`: expected purchases and value of every customer, week by week."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any, ClassVar, Self

import dagster as dg
import narwhals as nw
from pydantic import Field, model_validator

from rfm_assets import quality
from rfm_assets.components.base import AssetName, RfmComponent
from rfm_assets.components.columns import column_lineage, table_schema
from rfm_assets.components.execution import Published, Week, check_specs, publishing_assets
from rfm_assets.components.inputs import Inputs
from rfm_assets.components.rendering import markdown_table
from rfm_assets.domain.credible import installed
from rfm_assets.domain.lifetime_value import (
    MOST_REPEATS,
    LifetimeValue,
    LifetimeValueConfig,
    lifetime_value,
)
from rfm_assets.engines.base import collect_rows
from rfm_assets.errors import InvalidConfig
from rfm_assets.recording import publish_lifetime_value
from rfm_assets.schemas import CUSTOMER_LIFETIME_VALUE
from rfm_assets.store import table_name


class LifetimeValueComponent(LifetimeValueConfig, RfmComponent):
    """Expected purchases, probability of being alive and value of every customer who has bought."""

    example: ClassVar[Mapping[str, Any]] = {
        "asset_name": "customer_lifetime_value",
        "transaction_data_asset_key": "transaction_data",
    }

    transaction_data_asset_key: AssetName = Field(
        default="transaction_data", description="Canonical transactions to learn from."
    )
    checks: quality.LifetimeValueChecks = Field(
        default=quality.LifetimeValueChecks(),
        description="When the estimates were so wrong before that a run warns.",
    )

    @property
    def config(self) -> LifetimeValueConfig:
        """The domain's part of the fields."""
        return LifetimeValueConfig.model_construct(
            **{name: getattr(self, name) for name in LifetimeValueConfig.model_fields}
        )

    @model_validator(mode="after")
    def _can_sample(self) -> Self:
        if self.credible_intervals and not installed():
            raise InvalidConfig(
                key="credible_intervals",
                value=True,
                reason="needs pymc-marketing, which is not installed",
                fix='Run `pip install "rfm_assets[bayesian]"` on Python 3.12 or later, or remove '
                "the key.",
            )
        return self

    def definitions(self, context: dg.ComponentLoadContext) -> dg.Definitions:
        upstream = dg.AssetKey.from_user_string(self.transaction_data_asset_key)
        spec = self.asset_spec(
            context,
            description="One row per customer who has bought: probability of being alive, and the "
            f"purchases and value that are expected over {self.horizon_days} days. BG/NBD and "
            "Gamma-Gamma by maximum likelihood, judged on the last "
            f"{self.holdout_days} days.",
            group_name="segments",
            deps=[upstream],
            kinds=["table", "parquet"],
            metadata={
                "dagster/column_schema": table_schema(CUSTOMER_LIFETIME_VALUE),
                "dagster/column_lineage": _lineage(upstream, self.key),
            },
            configuration=self.config.fingerprint(),
        )
        checks = check_specs(self.key, CUSTOMER_LIFETIME_VALUE, quality.LIFETIME_VALUE_RULES)

        def work(
            run: dg.AssetExecutionContext, week: Week, inputs: Inputs
        ) -> Mapping[dg.AssetKey, Published]:
            return self._publish(week, inputs, upstream, run.run.run_id)

        return publishing_assets(self, context, specs=[spec], checks=checks, work=work)

    def _publish(
        self, week: Week, inputs: Inputs, upstream: dg.AssetKey, run_id: str
    ) -> Mapping[dg.AssetKey, Published]:
        source = inputs.snapshot(upstream, week.day)
        transactions = inputs.rows(source)
        result = lifetime_value(
            transactions,
            as_of=week.day,
            config=self.config,
            checkpoint=inputs.engine.checkpoint,
            from_native=inputs.engine.from_native,
        )
        publication = publish_lifetime_value(
            inputs.store,
            inputs.engine,
            transactions,
            result,
            table=table_name(self.key.path),
            as_of=week.day,
            config=self.config,
            checks=self.checks,
            origin={
                "run_id": run_id,
                "source_fingerprint": source.manifest.source_fingerprint,
                "inputs": dict(inputs.provenance()),
            },
        )
        return {self.key: Published(publication, _shown(result))}


def _shown(result: LifetimeValue) -> dict[str, dg.MetadataValue | str]:
    totals = collect_rows(
        result.table.select(
            nw.col("expected_purchases").sum().alias("purchases"),
            nw.col("lifetime_value").sum().alias("value"),
            nw.col("probability_alive").sum().alias("alive"),
        )
    )[0]
    models = result.models
    shown: dict[str, dg.MetadataValue | str] = {
        "expected": f"{totals['purchases']:,.0f} purchases and {totals['value']:,.2f} in value; "
        f"{totals['alive']:,.0f} of {models.customers:,} customers are alive",
        "parameters": markdown_table(
            ["model", "parameter", "value"],
            [
                *(["BG/NBD", *pair] for pair in models.purchases.model_dump().items()),
                *(["Gamma-Gamma", *pair] for pair in models.spend.model_dump().items()),
            ],
            numeric_from=2,
        ),
    }
    if result.credible is not None:
        shown["in all"] = markdown_table(
            ["", "mean", "95 % from", "to"],
            [
                [name.replace("_", " "), f"{one.value:,.0f}", f"{one.low:,.0f}", f"{one.high:,.0f}"]
                for name, one in result.credible.items()
            ],
        )
    if (held := result.holdout) is not None:
        shown["holdout"] = markdown_table(
            ["repeat purchases before", "customers", "expected", "came"],
            [
                [
                    f"{one.repeat_purchases}{' or more' if one.repeat_purchases == MOST_REPEATS else ''}",
                    one.customers,
                    one.expected,
                    one.observed,
                ]
                for one in held.classes
            ],
        )
        days = f"{held.cut} to {held.cut + timedelta(days=held.days)}"
        shown["spend in the holdout"] = (
            f"{held.expected_spend:,.2f} expected from {days}, {held.observed_spend:,.2f} came"
        )
    return shown


def _lineage(upstream: dg.AssetKey, own: dg.AssetKey) -> dg.TableColumnLineage:
    days = [(upstream, "day"), (upstream, "amount")]
    kinds = [(own, "repeat_purchases"), (own, "first_to_last_days"), (own, "age_days")]
    return column_lineage(
        {
            "customer_id": [(upstream, "customer_id")],
            "repeat_purchases": days,
            "first_to_last_days": days,
            "age_days": days,
            "repeat_spend_mean": days,
            "probability_alive": kinds,
            "expected_purchases": kinds,
            "expected_spend_per_purchase": [
                (own, "repeat_purchases"),
                (own, "repeat_spend_mean"),
            ],
            "lifetime_value": [
                *kinds,
                (own, "expected_spend_per_purchase"),
            ],
        }
    )
