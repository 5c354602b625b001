"""`TransactionDataComponent`: a source of orders, cleaned; what cannot be used is set aside."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, ClassVar, Self
from zoneinfo import ZoneInfo

import dagster as dg
from pydantic import Field, model_validator

from rfm_assets import quality
from rfm_assets.components.base import RfmComponent
from rfm_assets.components.columns import table_schema
from rfm_assets.components.execution import Published, Week, check_specs, publishing_assets
from rfm_assets.components.inputs import Inputs
from rfm_assets.components.rendering import markdown_table
from rfm_assets.domain.rfm import EPOCH, day_number
from rfm_assets.domain.row_policy import TransactionPolicy
from rfm_assets.domain.transactions import PolicyCounts, PolicyResult, apply_policy
from rfm_assets.errors import InvalidConfig, SnapshotMissing
from rfm_assets.in_place import InPlace
from rfm_assets.publishing import Publication, Staged, Unwritten, publish
from rfm_assets.schemas import TRANSACTION_DATA, TRANSACTION_DATA_REJECTS
from rfm_assets.sources.config import ColumnMapping, ParquetSource, Source, TimeZoneName
from rfm_assets.sources.reading import Reading, naming_failures, read
from rfm_assets.store import table_name
from rfm_assets.validation import CheckOutcome

REJECTS = "rejects"


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

    def definitions(self, context: dg.ComponentLoadContext) -> dg.Definitions:
        rejects_key = self.sibling_key(REJECTS)
        main = self.asset_spec(
            context,
            description=(
                "Canonical transactions: one row per order line, order, payment or charge, with "
                "one spelling per customer and amounts in one currency. Each run reads the whole "
                f"source again. Rows that cannot be used stand in `{rejects_key.to_user_string()}`."
            ),
            group_name="transactions",
            kinds=["table", "parquet", self.source.type],
            metadata={
                "dagster/column_schema": table_schema(
                    TRANSACTION_DATA,
                    more={name: a.kind for name, a in self.columns.attributes.items()},
                )
            },
            partitioned=False,
        )
        rejects = self.asset_spec(
            context,
            key=rejects_key,
            description="Source rows that could not be used, as they stood, each with its line "
            "and one reason. Rows read = rows kept + rows here + rows dropped by policy.",
            group_name="transactions",
            kinds=["table", "parquet"],
            metadata={"dagster/column_schema": table_schema(TRANSACTION_DATA_REJECTS)},
            partitioned=False,
        )
        checks = [
            *check_specs(self.key, TRANSACTION_DATA, quality.TRANSACTION_RULES),
            *check_specs(rejects_key, TRANSACTION_DATA_REJECTS, ()),
        ]
        root = context.project_root

        def work(
            run: dg.AssetExecutionContext, _: Week, inputs: Inputs
        ) -> Mapping[dg.AssetKey, Published]:
            # The only place where a row depends on the clock: what lies in the future now.
            now = datetime.now(ZoneInfo(self.time_zone))
            with inputs.reading() as reading:
                return self._publish(reading, root, now, rejects_key, run)

        return publishing_assets(
            self, context, specs=[rejects, main], checks=checks, work=work, partitioned=False
        )

    def _publish(
        self,
        inputs: Inputs,
        root: Path,
        now: datetime,
        rejects_key: dg.AssetKey,
        context: dg.AssetExecutionContext,
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
        for note in reading.notes:
            context.log.info(note)
        # Parquet is not read before this: what is wrong inside a file turns up here.
        with naming_failures(reading.name):
            return self._publish_read(
                inputs,
                reading,
                now=now,
                in_place=in_place,
                rejects_key=rejects_key,
                context=context,
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

    def _publish_read(
        self,
        inputs: Inputs,
        reading: Reading,
        *,
        now: datetime,
        in_place: InPlace | None,
        rejects_key: dg.AssetKey,
        context: dg.AssetExecutionContext,
    ) -> Mapping[dg.AssetKey, Published]:
        result = apply_policy(
            reading.table,
            self.policy,
            now_day=day_number(now.date()),
            checkpoint=inputs.engine.checkpoint,
        )
        # First what was set aside: it is what one looks at when the rest is refused.
        rejects = publish(
            inputs.store,
            inputs.engine,
            TRANSACTION_DATA_REJECTS,
            table=table_name(rejects_key.path),
            as_of=None,
            frame=result.rejects,
            run_id=context.run.run_id,
            config_hash=self._settings,
            source_fingerprint=reading.source_fingerprint,
            counts=dict(result.counts.rejected_by_reason),
        )
        set_aside = Published(rejects, {"reasons": _reasons(result.counts.rejected_by_reason)})
        try:
            kept = self._publish_kept(
                inputs,
                reading=reading,
                result=result,
                rejects=rejects,
                now=now,
                in_place=in_place,
                run_id=context.run.run_id,
            )
        except BaseException:  # Whatever stops the rest, these are published.
            context.log_event(_materialised(rejects_key, set_aside))
            raise
        published = {
            rejects_key: set_aside,
            self.key: Published(kept, {"rows": _fates(result.counts)}),
        }
        for key in published.keys() - context.selected_asset_keys:
            # A run that asks for one of both tables replaces the other one, too.
            context.log_event(_materialised(key, published[key]))
        return published

    def _publish_kept(
        self,
        inputs: Inputs,
        *,
        reading: Reading,
        result: PolicyResult,
        rejects: Publication,
        now: datetime,
        in_place: InPlace | None,
        run_id: str,
    ) -> Publication:
        counts = result.counts
        newest = None if counts.newest_day is None else EPOCH + timedelta(days=counts.newest_day)

        def rules(staged: Staged) -> list[CheckOutcome]:
            return [
                quality.reconciles(
                    "rows_reconcile",
                    whole=("rows read", reading.rows),
                    parts={
                        "kept": staged.row_counts["rows"],
                        "set aside": rejects.snapshot.manifest.row_counts["rows"],
                        "dropped by policy": counts.rows_dropped,
                    },
                ),
                quality.reject_rate(
                    rows_in=counts.rows_in,
                    by_reason=counts.rejected_by_reason,
                    checks=self.checks,
                ),
                quality.volume(
                    rows=staged.row_counts["rows"],
                    rows_before=self._rows_before(inputs),
                    checks=self.checks,
                ),
                quality.freshness(newest=newest, today=now.date(), checks=self.checks),
            ]

        return publish(
            inputs.store,
            inputs.engine,
            TRANSACTION_DATA,
            table=table_name(self.key.path),
            as_of=None,
            frame=result.kept,
            rules=rules,
            unwritten=Unwritten(in_place, counts.rows_kept) if in_place else None,
            run_id=run_id,
            config_hash=self._settings,
            source_fingerprint=reading.source_fingerprint,
            counts=counts.as_dict(),
        )

    def _rows_before(self, inputs: Inputs) -> int | None:
        """Rows of the snapshot that this run would replace."""
        try:
            return inputs.store.snapshot(table_name(self.key.path), None).manifest.row_counts[
                "rows"
            ]
        except SnapshotMissing:
            return None


def _materialised(key: dg.AssetKey, one: Published) -> dg.AssetMaterialization:
    """For `log_event`, which writes it to Dagster's log at once, so that it outlives the step."""
    manifest = one.publication.snapshot.manifest
    return dg.AssetMaterialization(
        key,
        metadata={
            "dagster/row_count": manifest.row_counts["rows"],
            **one.metadata,
            "snapshot version": manifest.version,
            "configuration": manifest.config_hash,
        },
    )


def _reasons(by_reason: Mapping[str, int]) -> dg.MarkdownMetadataValue:
    return markdown_table(["reason", "rows"], by_reason.items())


def _fates(counts: PolicyCounts) -> dg.MarkdownMetadataValue:
    """Every row read, by what became of it."""
    rejected = [(f"set aside: {reason}", n) for reason, n in counts.rejected_by_reason.items()]
    dropped = [(f"dropped: {reason}", n) for reason, n in counts.dropped_by_reason.items()]
    rows = [("kept", counts.rows_kept), *rejected, *dropped, ("**read**", counts.rows_in)]
    return markdown_table(["", "rows"], rows)
