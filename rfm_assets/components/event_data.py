"""`EventDataComponent`: what customers do besides buying, cleaned; the unusable is set aside."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, ClassVar
from zoneinfo import ZoneInfo

import dagster as dg
import narwhals as nw
from pydantic import Field, field_validator

from rfm_assets import quality
from rfm_assets.components.base import RfmComponent
from rfm_assets.components.columns import table_schema
from rfm_assets.components.execution import Published, Week, check_specs, publishing_assets
from rfm_assets.components.inputs import Inputs
from rfm_assets.components.rendering import markdown_table
from rfm_assets.domain.config import ConfigModel
from rfm_assets.domain.frames import Table
from rfm_assets.domain.rfm import EPOCH, day_number
from rfm_assets.domain.row_policy import TransactionPolicy
from rfm_assets.domain.transactions import PolicyResult, apply_policy
from rfm_assets.errors import SnapshotMissing
from rfm_assets.publishing import Staged, publish
from rfm_assets.schemas import EVENT_DATA, EVENT_DATA_REJECTS
from rfm_assets.sources.config import (
    Attribute,
    ColumnMapping,
    Source,
    TimeZoneName,
    freely_named,
    short_attributes,
)
from rfm_assets.sources.reading import Reading, naming_failures, read
from rfm_assets.store import table_name
from rfm_assets.validation import CheckOutcome

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

    def definitions(self, context: dg.ComponentLoadContext) -> dg.Definitions:
        rejects_key = self.sibling_key("rejects")
        kinds = {name: a.kind for name, a in self.columns.attributes.items()}
        main = self.asset_spec(
            context,
            description="Canonical events: one row per thing that a customer did. Each run reads "
            "the whole source again. Rows that cannot be used stand in "
            f"`{rejects_key.to_user_string()}`.",
            group_name="transactions",
            kinds=["table", "parquet", self.source.type],
            metadata={"dagster/column_schema": table_schema(EVENT_DATA, more=kinds)},
            partitioned=False,
        )
        rejects = self.asset_spec(
            context,
            key=rejects_key,
            description="Source rows that could not be used, as they stood, each with its line "
            "and one reason; the event stands in `order_id`.",
            group_name="transactions",
            kinds=["table", "parquet"],
            metadata={"dagster/column_schema": table_schema(EVENT_DATA_REJECTS)},
            partitioned=False,
        )
        checks = [
            *check_specs(self.key, EVENT_DATA, quality.EVENT_RULES),
            *check_specs(rejects_key, EVENT_DATA_REJECTS, ()),
        ]
        root = context.project_root

        def work(
            run: dg.AssetExecutionContext, _: Week, inputs: Inputs
        ) -> Mapping[dg.AssetKey, Published]:
            # What lies in the future now cannot be used.
            now = datetime.now(ZoneInfo(self.time_zone))
            with inputs.reading() as reading:
                return self._publish(reading, root, now, rejects_key, run.run.run_id)

        return publishing_assets(
            self, context, specs=[rejects, main], checks=checks, work=work, partitioned=False
        )

    def _publish(
        self, inputs: Inputs, root: Path, now: datetime, rejects_key: dg.AssetKey, run_id: str
    ) -> Mapping[dg.AssetKey, Published]:
        reading = read(
            self.source,
            self.columns.mapping,
            engine=inputs.engine,
            root=root,
            time_zone=self.time_zone,
            generate_until=now.date(),
        )
        with naming_failures(reading.name):
            result = apply_policy(
                _without_event_is_broken(reading.table),
                TransactionPolicy(future_skew_days=self.future_skew_days),
                now_day=day_number(now.date()),
                checkpoint=inputs.engine.checkpoint,
            )
            rejects = publish(
                inputs.store,
                inputs.engine,
                EVENT_DATA_REJECTS,
                table=table_name(rejects_key.path),
                as_of=None,
                frame=result.rejects,
                run_id=run_id,
                config_hash=self.config_hash,
                source_fingerprint=reading.source_fingerprint,
                counts=dict(result.counts.rejected_by_reason),
            )
            set_aside = rejects.snapshot.manifest.row_counts["rows"]
            kept = publish(
                inputs.store,
                inputs.engine,
                EVENT_DATA,
                table=table_name(self.key.path),
                as_of=None,
                frame=_as_events(result.kept, list(self.columns.attributes)),
                rules=lambda staged: self._rules(
                    staged, reading, result, set_aside=set_aside, now=now, inputs=inputs
                ),
                run_id=run_id,
                config_hash=self.config_hash,
                source_fingerprint=reading.source_fingerprint,
                counts=result.counts.as_dict(),
            )
        reasons = markdown_table(["reason", "rows"], result.counts.rejected_by_reason.items())
        return {
            rejects_key: Published(rejects, {"reasons": reasons}),
            self.key: Published(kept, {"set aside": reasons}),
        }

    def _rules(
        self,
        staged: Staged,
        reading: Reading,
        result: PolicyResult,
        *,
        set_aside: int,
        now: datetime,
        inputs: Inputs,
    ) -> list[CheckOutcome]:
        counts = result.counts
        newest = None if counts.newest_day is None else EPOCH + timedelta(days=counts.newest_day)
        try:
            before = inputs.store.snapshot(table_name(self.key.path), None)
            rows_before = before.manifest.row_counts["rows"]
        except SnapshotMissing:
            rows_before = None
        return [
            quality.reconciles(
                "rows_reconcile",
                whole=("rows read", reading.rows),
                parts={"kept": staged.row_counts["rows"], "set aside": set_aside},
            ),
            quality.reject_rate(
                rows_in=counts.rows_in, by_reason=counts.rejected_by_reason, checks=self.checks
            ),
            quality.volume(
                rows=staged.row_counts["rows"], rows_before=rows_before, checks=self.checks
            ),
            quality.freshness(newest=newest, today=now.date(), checks=self.checks),
        ]


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
