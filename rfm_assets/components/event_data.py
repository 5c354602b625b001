"""`EventDataComponent`: what customers do besides buying, cleaned; the unusable is set aside."""

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, ClassVar

import dagster as dg
import narwhals as nw
from pydantic import Field, field_validator

from rfm_assets import quality
from rfm_assets.components.base import RfmComponent
from rfm_assets.components.execution import Published
from rfm_assets.components.ingestion import Ingestion, reasons_table, telling
from rfm_assets.components.inputs import Inputs
from rfm_assets.domain.config import ConfigModel
from rfm_assets.domain.frames import Table
from rfm_assets.domain.rfm import day_number
from rfm_assets.domain.row_policy import TransactionPolicy
from rfm_assets.domain.transactions import apply_policy
from rfm_assets.erased import erased_among
from rfm_assets.schemas import EVENT_DATA, EVENT_DATA_REJECTS
from rfm_assets.sources.config import (
    Attribute,
    ColumnMapping,
    Source,
    TimeZoneName,
    freely_named,
    short_attributes,
)
from rfm_assets.sources.reading import read

TAKEN = ("customer_id", "timestamp", "day", "event", "order_id", "amount", "date")


class EventColumns(ConfigModel):
    """Which column of the source is what."""

    customer_id: str = Field(min_length=1, description="Column that tells customers apart.")
    timestamp: str = Field(min_length=1, description="Column that says when it happened.")
    event: str = Field(min_length=1, description="Column that says what happened.")
    attributes: dict[str, Attribute] = Field(
        default={},
        description="Further columns to keep: `name: Column` for text, `name: {column: Column, "
        "kind: number}` for text, number, date or boolean.",
    )

    _short_form = field_validator(
        "attributes", mode="before", json_schema_input_type=dict[str, str | Attribute]
    )(short_attributes)

    @field_validator("attributes")
    @classmethod
    def _names_are_free(cls, attributes: dict[str, Attribute]) -> dict[str, Attribute]:
        return freely_named(attributes, TAKEN)

    @property
    def mapping(self) -> ColumnMapping:
        """The same for the reader of transactions: an event stands where an order does."""
        return ColumnMapping(
            customer_id=self.customer_id,
            order_id=self.event,
            date=self.timestamp,
            amount="0",
            attributes=self.attributes,
        )


class EventDataComponent(RfmComponent):
    """Events of customers, such as log-ins, in canonical form, with unusable rows set aside."""

    example: ClassVar[Mapping[str, Any]] = {
        "asset_name": "event_data",
        "source": {"type": "csv", "path": "data/events.csv"},
        "columns": {"customer_id": "customer", "timestamp": "happened_at", "event": "event"},
    }

    source: Source = Field(description="Where the rows come from.")
    columns: EventColumns = Field(description="Which column of the source is what.")
    time_zone: TimeZoneName = Field(
        default="UTC",
        description="Business time zone (IANA name) that times are brought into.",
        examples=["Europe/Berlin"],
    )
    future_skew_days: int = Field(
        default=1, ge=0, le=366, description="Days that an event may lie in the future."
    )
    checks: quality.TransactionChecks = Field(
        default=quality.TransactionChecks(),
        description="When events warn, and when they are not published.",
    )

    @property
    def _ingestion(self) -> Ingestion:
        return Ingestion(
            component=self,
            kept=EVENT_DATA,
            rejects=EVENT_DATA_REJECTS,
            rules=quality.EVENT_RULES,
            checks=self.checks,
            settings=self.config_hash,
            time_zone=self.time_zone,
        )

    def definitions(self, context: dg.ComponentLoadContext) -> dg.Definitions:
        ingestion = self._ingestion
        return ingestion.assets(
            context,
            kept="Canonical events: one row per thing that a customer did. Each run reads "
            "the whole source again. Rows that cannot be used stand in "
            f"`{ingestion.rejects_key.to_user_string()}`.",
            rejects="Source rows that could not be used, as they stood, each with its line "
            "and one reason; the event stands in `order_id`.",
            source_type=self.source.type,
            attributes=self.columns.attributes,
            ingest=self._publish,
        )

    def _publish(
        self, context: dg.AssetExecutionContext, inputs: Inputs, root: Path, now: datetime
    ) -> Mapping[dg.AssetKey, Published]:
        reading = read(
            self.source,
            self.columns.mapping,
            engine=inputs.engine,
            root=root,
            time_zone=self.time_zone,
            generate_until=now.date(),
        )
        with telling(context, reading):
            result = apply_policy(
                _without_event_is_broken(reading.table),
                TransactionPolicy(future_skew_days=self.future_skew_days),
                now_day=day_number(now.date()),
                checkpoint=inputs.engine.checkpoint,
                erased=erased_among(inputs.store, reading.table),
            )
            return self._ingestion.publish(
                context,
                inputs,
                reading,
                result,
                frame=_as_events(result.kept, list(self.columns.attributes)),
                metadata={"set aside": reasons_table(result.counts.rejected_by_reason)},
                elsewhere={"dropped": result.counts.rows_dropped},
                now=now,
            )


def _without_event_is_broken(parsed: Table) -> Table:
    """A row that does not say what happened is set aside like a line that cannot be read."""
    nothing = nw.col("order_id").is_null()
    if "malformed" in parsed.collect_schema().names():
        told = nw.when(nothing & nw.col("malformed").is_null()).then(nw.lit("no event"))
        return parsed.with_columns(malformed=told.otherwise(nw.col("malformed")))
    told = nw.when(nothing).then(nw.lit("no event"))
    return parsed.with_columns(malformed=told.otherwise(nw.lit(None, dtype=nw.String)))


def _as_events(kept: Table, attributes: list[str]) -> Table:
    return kept.select(
        "customer_id",
        nw.col("date").alias("timestamp"),
        "day",
        nw.col("order_id").alias("event"),
        *attributes,
    )
