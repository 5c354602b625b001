"""`TransactionDataComponent`: a source of orders, cleaned; what cannot be used is set aside."""

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, ClassVar, Self

import dagster as dg
from pydantic import Field, model_validator

from rfm_assets import quality
from rfm_assets.components.base import RfmComponent
from rfm_assets.components.execution import Published
from rfm_assets.components.ingestion import Ingestion, telling
from rfm_assets.components.inputs import Inputs
from rfm_assets.components.rendering import markdown_table
from rfm_assets.domain.rfm import day_number
from rfm_assets.domain.row_policy import TransactionPolicy
from rfm_assets.domain.transactions import PolicyCounts, apply_policy
from rfm_assets.erased import erased_among
from rfm_assets.errors import ErasedInPlace, InvalidConfig
from rfm_assets.in_place import InPlace
from rfm_assets.publishing import Unwritten
from rfm_assets.schemas import TRANSACTION_DATA, TRANSACTION_DATA_REJECTS
from rfm_assets.sources.config import ColumnMapping, ParquetSource, Source, TimeZoneName
from rfm_assets.sources.reading import read


class TransactionDataComponent(RfmComponent):
    """Transactions from a source, in canonical form, with the unusable rows set aside."""

    example: ClassVar[Mapping[str, Any]] = {
        "asset_name": "transaction_data",
        "source": {"type": "csv", "path": "data/orders.csv"},
        "columns": {
            "customer_id": "customer",
            "order_id": "order_number",
            "date": "ordered_at",
            "amount": "quantity * unit_price",
        },
    }

    source: Source = Field(description="Where the rows come from.")
    columns: ColumnMapping = Field(description="Which column of the source is what.")
    time_zone: TimeZoneName = Field(
        default="UTC",
        description="Business time zone (IANA name) that dates are brought into.",
        examples=["Europe/Berlin"],
    )
    policy: TransactionPolicy = Field(
        default=TransactionPolicy(),
        description="What to do with rows that are incomplete, implausible or unwanted.",
    )
    in_place: bool = Field(
        default=False,
        description="Leave the rows of Parquet files where they lie rather than store a copy: for "
        "data too large to keep twice. The files must stay as they are for as long as weeks are "
        "computed from them; new ones may be added.",
    )
    checks: quality.TransactionChecks = Field(
        default=quality.TransactionChecks(),
        description="When transactions warn, and when they are not published.",
    )

    @model_validator(mode="after")
    def _currency_is_known(self) -> Self:
        for key in ("exchange_rates", "currency"):
            given = getattr(self.policy, key)
            if given and self.columns.currency is None:
                raise InvalidConfig(
                    key=f"policy.{key}",
                    value=given,
                    reason="has no effect, because no column says the currency of a row",
                    fix="Map one under `columns.currency`, or remove the key.",
                )
        return self

    @model_validator(mode="after")
    def _can_stay_in_place(self) -> Self:
        if not self.in_place:
            return self
        if not isinstance(self.source, ParquetSource):
            raise InvalidConfig(
                key="in_place",
                value=True,
                reason=f"needs Parquet files, and the source is of type {self.source.type}",
                fix="Remove `in_place`, or export the source as Parquet.",
            )
        if not self.policy.judges_single_rows:
            raise InvalidConfig(
                key="in_place",
                value=True,
                reason="does not go with seeking duplicates, which would be sought again whenever "
                "the rows are read",
                fix="Remove `in_place`, or `policy.exact_duplicates` and `policy.deduplicate_by`.",
            )
        return self

    @property
    def _settings(self) -> str:
        """Fingerprint of what decides on the rows; the checks only decide on publishing them."""
        return self.model_copy(update={"checks": quality.TransactionChecks()}).config_hash

    @property
    def _ingestion(self) -> Ingestion:
        return Ingestion(
            component=self,
            kept=TRANSACTION_DATA,
            rejects=TRANSACTION_DATA_REJECTS,
            rules=quality.TRANSACTION_RULES,
            checks=self.checks,
            settings=self._settings,
            time_zone=self.time_zone,
        )

    def definitions(self, context: dg.ComponentLoadContext) -> dg.Definitions:
        ingestion = self._ingestion
        return ingestion.assets(
            context,
            kept="Canonical transactions: one row per order line, order, payment or charge, with "
            "one spelling per customer and amounts in one currency. Each run reads the whole "
            "source again. Rows that cannot be used stand in "
            f"`{ingestion.rejects_key.to_user_string()}`.",
            rejects="Source rows that could not be used, as they stood, each with its line "
            "and one reason. Rows read = rows kept + rows here + rows dropped by policy.",
            source_type=self.source.type,
            attributes=self.columns.attributes,
            ingest=self._publish,
        )

    def _publish(
        self, context: dg.AssetExecutionContext, inputs: Inputs, root: Path, now: datetime
    ) -> Mapping[dg.AssetKey, Published]:
        # Before the rows are read: a file that changes meanwhile is noticed by the next reader.
        in_place = self._in_place(root, now)
        reading = read(
            self.source,
            self.columns,
            engine=inputs.engine,
            root=root,
            time_zone=self.time_zone,
            row_keys=self.policy.needs_row_keys,
            generate_until=now.date(),
        )
        with telling(context, reading):
            erased = erased_among(inputs.store, reading.table)
            if in_place is not None and erased:
                raise ErasedInPlace(source=reading.name, customers=len(erased))
            result = apply_policy(
                reading.table,
                self.policy,
                now_day=day_number(now.date()),
                checkpoint=inputs.engine.checkpoint,
                erased=erased,
            )
            counts = result.counts
            return self._ingestion.publish(
                context,
                inputs,
                reading,
                result,
                frame=result.kept,
                metadata={"rows": _fates(counts)},
                now=now,
                elsewhere={"dropped by policy": counts.rows_dropped},
                unwritten=Unwritten(in_place, counts.rows_kept) if in_place else None,
            )

    def _in_place(self, root: Path, now: datetime) -> InPlace | None:
        if not self.in_place or not isinstance(self.source, ParquetSource):
            return None
        return InPlace.now(
            root=root,
            source=self.source,
            columns=self.columns,
            time_zone=self.time_zone,
            policy=self.policy,
            now_day=day_number(now.date()),
        )


def _fates(counts: PolicyCounts) -> dg.MarkdownMetadataValue:
    """Every row read, by what became of it."""
    rejected = [(f"set aside: {reason}", n) for reason, n in counts.rejected_by_reason.items()]
    dropped = [(f"dropped: {reason}", n) for reason, n in counts.dropped_by_reason.items()]
    rows = [("kept", counts.rows_kept), *rejected, *dropped, ("**read**", counts.rows_in)]
    return markdown_table(["", "rows"], rows)
