"""`CampaignSendsComponent`: who was sent what when, so that lists leave people alone."""

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, ClassVar

import dagster as dg
from pydantic import Field

from rfm_assets import quality
from rfm_assets.components.base import RfmComponent
from rfm_assets.components.columns import table_schema
from rfm_assets.components.execution import Published, Week, check_specs, publishing_assets
from rfm_assets.components.inputs import Inputs
from rfm_assets.components.rendering import markdown_table
from rfm_assets.domain.config import ConfigModel
from rfm_assets.domain.sends import JudgedSends, judged_sends
from rfm_assets.engines.base import collect_rows
from rfm_assets.erased import erased_among, rows_of_customers, without
from rfm_assets.errors import SnapshotMissing
from rfm_assets.publishing import Staged, publish
from rfm_assets.schemas import CAMPAIGN_SENDS
from rfm_assets.sources.config import TimeZoneName
from rfm_assets.sources.customers import FileSource
from rfm_assets.sources.files import require_younger
from rfm_assets.sources.sends import SendsReading, read_sends
from rfm_assets.store import table_name
from rfm_assets.validation import SAMPLE_ROWS, CheckOutcome

ERASED = "of erased customers"


class SendColumns(ConfigModel):
    """Which column of the log is what."""

    customer_id: str = Field(
        default="customer_id", min_length=1, description="Column with the customer."
    )
    campaign: str = Field(
        default="campaign",
        min_length=1,
        description="Column with the campaign, at best named as its list.",
    )
    sent_at: str = Field(
        default="sent_at", min_length=1, description="Column with the day or time of the send."
    )


class CampaignSendsComponent(RfmComponent):
    """A log of sends from a file or a table: who was sent which campaign when."""

    example: ClassVar[Mapping[str, Any]] = {
        "asset_name": "campaign_sends",
        "source": {"type": "csv", "path": "data/sends.csv"},
    }

    source: FileSource = Field(description="Where the rows come from.")
    columns: SendColumns = Field(
        default=SendColumns(), description="Which column of the source is what."
    )
    time_zone: TimeZoneName = Field(
        default="UTC",
        description="Business time zone (IANA name) that times are brought into.",
        examples=["Europe/Berlin"],
    )
    max_age_days: int | None = Field(
        default=None,
        ge=1,
        description="Age of the file in days past which nothing is published; null for any age.",
    )
    checks: quality.SendChecks = Field(
        default=quality.SendChecks(), description="When the log is too bad to go by."
    )

    def definitions(self, context: dg.ComponentLoadContext) -> dg.Definitions:
        spec = self.asset_spec(
            context,
            description="Who was sent which campaign when. Lists with a cool-off or a frequency "
            "cap leave these customers alone; rows that cannot be used stand in the part `rejects`.",
            group_name="campaigns",
            kinds=["table", "parquet", self.source.type],
            metadata={"dagster/column_schema": table_schema(CAMPAIGN_SENDS)},
            partitioned=False,
        )
        root = context.project_root

        def work(
            run: dg.AssetExecutionContext, _: Week, inputs: Inputs
        ) -> Mapping[dg.AssetKey, Published]:
            return self._publish(inputs, root, run.run.run_id)

        checks = check_specs(self.key, CAMPAIGN_SENDS, quality.SEND_RULES)
        return publishing_assets(
            self, context, specs=[spec], checks=checks, work=work, partitioned=False
        )

    def _publish(self, inputs: Inputs, root: Path, run_id: str) -> Mapping[dg.AssetKey, Published]:
        name = table_name(self.key.path)
        before = self._rows_before(inputs)
        reading = read_sends(
            self.source,
            columns=self.columns.model_dump(),
            engine=inputs.engine,
            root=root,
            time_zone=self.time_zone,
        )
        require_younger(reading.name, reading.written_at, self.max_age_days, now=datetime.now(UTC))
        erased = erased_among(inputs.store, reading.table)
        table = without(reading.table, erased)
        judged = judged_sends(table, checkpoint=inputs.engine.checkpoint)
        n_erased = rows_of_customers(reading.table, erased)
        written = reading.written_at
        publication = publish(
            inputs.store,
            inputs.engine,
            CAMPAIGN_SENDS,
            table=name,
            as_of=None,
            frame=judged.sends,
            parts={"rejects": judged.rejects},
            rules=lambda staged: self._rules(staged, reading, judged, before, n_erased),
            run_id=run_id,
            config_hash=self.config_hash,
            source_fingerprint=reading.source_fingerprint,
            counts={**judged.by_reason, **({ERASED: n_erased} if n_erased else {})},
            extra={"written_at": written.isoformat() if written else None},
        )
        shown = {"set aside": markdown_table(["reason", "rows"], judged.by_reason.items())}
        return {self.key: Published(publication, shown)}

    def _rows_before(self, inputs: Inputs) -> int | None:
        try:
            stored = inputs.store.snapshot(table_name(self.key.path), None)
        except SnapshotMissing:
            return None
        return stored.manifest.row_counts["rows"]

    def _rules(
        self,
        staged: Staged,
        reading: SendsReading,
        judged: JudgedSends,
        before: int | None,
        n_erased: int,
    ) -> list[CheckOutcome]:
        kept = staged.row_counts["rows"]
        first = judged.rejects.sort("source", "source_line").head(SAMPLE_ROWS)
        places = [
            f"{row['source']}:{row['source_line']} {row['reason']}" for row in collect_rows(first)
        ]
        return [
            quality.reconciles(
                "rows_reconcile",
                whole=("rows read", reading.rows),
                parts={
                    "kept": kept,
                    "set aside": staged.row_counts["rejects"],
                    **({ERASED: n_erased} if n_erased else {}),
                },
            ),
            quality.sends_set_aside(
                rows_in=reading.rows,
                by_reason=judged.by_reason,
                places=places,
                checks=self.checks,
            ),
            quality.sends_volume(rows=kept, rows_before=before, checks=self.checks),
        ]
