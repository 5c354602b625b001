"""`SuppressionListComponent`: who must not be contacted, from segments and from a file."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

import dagster as dg
import pandera.pandas as pa
from pydantic import Field, JsonValue, model_validator

from rfm_assets import quality
from rfm_assets.components.base import AssetName, RfmComponent
from rfm_assets.components.columns import column_lineage, table_schema
from rfm_assets.components.execution import Published, Week, check_specs, publishing_assets
from rfm_assets.components.inputs import Inputs
from rfm_assets.components.rendering import markdown_table
from rfm_assets.components.scheme_lookup import segment_names, segments_at_load, stored_scheme
from rfm_assets.domain.config import ConfigModel
from rfm_assets.domain.suppression import (
    SUPPRESSION_REASONS,
    SuppressionConfig,
    suppressed_by_reason,
    suppression_list,
    unknown_entries,
)
from rfm_assets.erased import erased_among, without
from rfm_assets.errors import InvalidConfig
from rfm_assets.publishing import publish
from rfm_assets.schemas import SUPPRESSION_LIST
from rfm_assets.sources.config import Attribute
from rfm_assets.sources.customers import CustomerReading, FileSource, read_customers
from rfm_assets.sources.files import require_younger
from rfm_assets.store import Snapshot, table_name
from rfm_assets.validation import CheckOutcome

ENTRIES = "entries read"
ERASED = "entries of erased customers"
CONTRACT = SUPPRESSION_LIST.narrowed("reason", pa.Check.isin(SUPPRESSION_REASONS))


class EntryColumns(ConfigModel):
    """Which column of the entries is what."""

    customer_id: str = Field(
        min_length=1, description="Column with the customer.", examples=["customer"]
    )
    reason: str | None = Field(
        default=None,
        min_length=1,
        description="Column with the reason; unknown words count as `other`.",
    )
    since: str | None = Field(
        default=None,
        min_length=1,
        description="Column with the day from which the entry holds; empty means always.",
    )


class Entries(ConfigModel):
    """A file or table of customers who must not be contacted."""

    source: FileSource = Field(description="Where the entries come from.")
    columns: EntryColumns = Field(description="Which column of the source is what.")
    max_age_days: int | None = Field(
        default=None,
        ge=1,
        description="Age of the file in days past which no list is published; null for any age.",
    )
    max_fall: float = Field(
        default=0.5,
        ge=0,
        le=1,
        description="Share (0..1) by which the number of entries may fall since the snapshot "
        "before; past it no list is published.",
    )
    point_in_time: bool = Field(
        default=False,
        description="Leave out entries whose `since` is not before as_of, so that old weeks "
        "come out as they were; false suppresses whoever is in the file now.",
    )


class SuppressionListComponent(SuppressionConfig, RfmComponent):
    """Customers who must not be contacted, from segments, from a file, or from both."""

    example: ClassVar[Mapping[str, Any]] = {
        "asset_name": "suppression_list",
        "segments": ["Lost"],
    }

    kind: Literal["mixed", "consent", "paid_media"] = Field(
        default="mixed",
        description="`consent` for people who said no or cannot be reached: every campaign list of "
        "the project heeds such a list first, whether it names it or not. `paid_media` for money "
        "that is saved; it holds, as `mixed` does, for the lists that name it.",
    )
    customer_segments_asset_key: AssetName = Field(
        default="customer_segments", description="Segments that `segments` refers to."
    )
    entries: Entries | None = Field(
        default=None,
        description="Unsubscribed, bounced, erased and other customers from a file or table.",
    )

    @model_validator(mode="after")
    def _says_who(self) -> Self:
        if not self.segments and self.entries is None:
            raise InvalidConfig(
                key="segments",
                value=[],
                reason="is empty, and there are no entries",
                fix="Name segments, or a file under `entries`.",
            )
        return self

    @property
    def _dates_entries(self) -> bool:
        """Whether there are days from which entries hold."""
        return self.entries is not None and self.entries.columns.since is not None

    def definitions(self, context: dg.ComponentLoadContext) -> dg.Definitions:
        upstream = dg.AssetKey.from_user_string(self.customer_segments_asset_key)
        self.require_all(segments_at_load(context, upstream, self.segments))
        spec = self.asset_spec(
            context,
            description="Customers who must not be contacted, each once with the strongest reason. "
            "It stands above every campaign list: nobody on it is on any of them.",
            group_name="campaigns",
            deps=[upstream] if self.segments else [],
            kinds=["table", "parquet"],
            metadata={
                "dagster/column_schema": table_schema(SUPPRESSION_LIST),
                "dagster/column_lineage": column_lineage(
                    {
                        "customer_id": [(upstream, "customer_id")],
                        "reason": [(upstream, "segment")],
                    }
                    if self.segments
                    else {}
                ),
            },
        )
        rules = [
            rule
            for rule in quality.SUPPRESSION_RULES
            if rule != "entries_dated" or self._dates_entries
        ]
        checks = check_specs(self.key, CONTRACT, rules)
        root = context.project_root

        def work(
            run: dg.AssetExecutionContext, week: Week, inputs: Inputs
        ) -> Mapping[dg.AssetKey, Published]:
            return self._publish(week, inputs, upstream, root, run.run.run_id)

        return publishing_assets(self, context, specs=[spec], checks=checks, work=work)

    def _publish(
        self, week: Week, inputs: Inputs, upstream: dg.AssetKey, root: Path, run_id: str
    ) -> Mapping[dg.AssetKey, Published]:
        snapshot = inputs.snapshot(upstream, week.day) if self.segments else None
        names = (
            segment_names(self.segments, stored_scheme(snapshot), key="segments")
            if snapshot
            else []
        )
        entries = self._read_entries(inputs, root)
        # Who is erased is in no table, so that no list can have her; her id must not stay here.
        erased = erased_among(inputs.store, entries.table) if entries else []
        table = inputs.engine.checkpoint(
            suppression_list(
                as_of=week.day,
                customers=inputs.rows(snapshot) if snapshot else None,
                segments=names,
                entries=without(entries.table, erased) if entries else None,
                source=entries.name if entries else "",
                point_in_time=self.entries is not None and self.entries.point_in_time,
            )
        )
        by_reason = suppressed_by_reason(table)
        publication = publish(
            inputs.store,
            inputs.engine,
            CONTRACT,
            table=table_name(self.key.path),
            as_of=week.day,
            frame=table,
            rules=self._rules(entries, snapshot, inputs, week) if entries else self._no_rules(),
            run_id=run_id,
            config_hash=self.config_hash,
            source_fingerprint=entries.source_fingerprint if entries else "",
            counts={**by_reason, **({ENTRIES: entries.rows} if entries else {}), **_noted(erased)},
            inputs=inputs.provenance(),
            extra=self._told(entries),
        )
        metadata = {"reasons": markdown_table(["reason", "customers"], by_reason.items())}
        return {self.key: Published(publication, metadata)}

    def _told(self, entries: CustomerReading | None) -> dict[str, JsonValue]:
        """What campaign lists need in order to judge how old this one is."""
        written = entries.written_at if entries else None
        return {
            "kind": self.kind,
            "written_at": written.isoformat() if written else None,
            "max_age_days": self.entries.max_age_days if self.entries else None,
        }

    def _rules(
        self, entries: CustomerReading, snapshot: Snapshot | None, inputs: Inputs, week: Week
    ) -> list[CheckOutcome]:
        before = inputs.before(self.key, week.day)
        known = [inputs.rows(snapshot), inputs.rows(snapshot, "excluded")] if snapshot else None
        return [
            quality.entries_readable(
                broken_lines=entries.broken_lines,
                rows_without_customer=entries.rows_without_customer,
                first_broken=entries.first_broken,
            ),
            *(
                [quality.entries_dated(unreadable=entries.unreadable["since"])]
                if self._dates_entries
                else []
            ),
            quality.entries_volume(
                entries=entries.rows,
                entries_before=before.manifest.counts.get(ENTRIES) if before else None,
                max_fall=self.entries.max_fall if self.entries else 1.0,
            ),
            quality.entries_known(
                entries=entries.rows,
                unknown=None if known is None else unknown_entries(entries.table, known),
            ),
        ]

    @staticmethod
    def _no_rules() -> list[CheckOutcome]:
        """Without entries there is nothing to read wrongly."""
        return [
            quality.entries_readable(broken_lines=0, rows_without_customer=0),
            quality.entries_volume(entries=0, entries_before=None, max_fall=1.0),
            quality.entries_known(entries=0, unknown=None),
        ]

    def _read_entries(self, inputs: Inputs, root: Path) -> CustomerReading | None:
        """The entries, or None where none are configured; unreadable ones raise."""
        if self.entries is None:
            return None
        columns = self.entries.columns
        attributes = {
            name: Attribute(column=column, kind=kind)
            for name, column, kind in (
                ("reason", columns.reason, "text"),
                ("since", columns.since, "date"),
            )
            if column is not None
        }
        with inputs.reading() as here:
            reading = read_customers(
                self.entries.source,
                customer_id=columns.customer_id,
                attributes=attributes,
                engine=here.engine,
                root=root,
            )
            if here.engine is not inputs.engine:
                table = inputs.engine.from_native(reading.table.to_native())
                reading = replace(reading, table=inputs.engine.checkpoint(table))
        require_younger(
            reading.name, reading.written_at, self.entries.max_age_days, now=datetime.now(UTC)
        )
        return reading


def _noted(erased: Sequence[str]) -> Mapping[str, int]:
    return {ERASED: len(erased)} if erased else {}
