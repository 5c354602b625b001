"""What components that clean a source share: two tables, one of what is kept, one of what is not.

Which columns a source has and what is done with its rows belongs to each component
(`transaction_data.py`, `event_data.py`).
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import TypeAlias
from zoneinfo import ZoneInfo

import dagster as dg

from rfm_assets import quality
from rfm_assets.components.base import RfmComponent
from rfm_assets.components.columns import table_schema
from rfm_assets.components.execution import Published, Week, check_specs, publishing_assets
from rfm_assets.components.inputs import Inputs
from rfm_assets.components.rendering import markdown_table
from rfm_assets.domain.frames import Table
from rfm_assets.domain.rfm import EPOCH
from rfm_assets.domain.transactions import PolicyResult
from rfm_assets.errors import SnapshotMissing
from rfm_assets.publishing import Publication, Staged, Unwritten, publish
from rfm_assets.schemas import TableContract
from rfm_assets.sources.config import Attribute
from rfm_assets.sources.reading import Reading, naming_failures
from rfm_assets.store import table_name
from rfm_assets.validation import CheckOutcome

Ingest: TypeAlias = Callable[
    [dg.AssetExecutionContext, Inputs, Path, datetime], Mapping[dg.AssetKey, Published]
]
"""Reads and publishes: the run, what may be read, the project's folder, and what time it is."""


@dataclass(frozen=True)
class Ingestion:
    """The two tables of a component that cleans a source.

    Attributes:
        component: Whose tables they are.
        kept: What rows that are kept must satisfy.
        rejects: What rows that are set aside must satisfy.
        rules: Names of the rules that decide on publishing what is kept.
        checks: Their limits.
        settings: Fingerprint of what decides on the rows.
        time_zone: In which today ends.
    """

    component: RfmComponent
    kept: TableContract
    rejects: TableContract
    rules: Sequence[str]
    checks: quality.TransactionChecks
    settings: str
    time_zone: str

    @property
    def rejects_key(self) -> dg.AssetKey:
        """The asset of what is set aside."""
        return self.component.sibling_key("rejects")

    def assets(
        self,
        context: dg.ComponentLoadContext,
        *,
        kept: str,
        rejects: str,
        source_type: str,
        attributes: Mapping[str, Attribute],
        ingest: Ingest,
    ) -> dg.Definitions:
        """Both assets, described by `kept` and `rejects`, which one op publishes by `ingest`."""
        main = self.component.asset_spec(
            context,
            description=kept,
            group_name="transactions",
            kinds=["table", "parquet", source_type],
            metadata={
                "dagster/column_schema": table_schema(
                    self.kept, more={name: a.kind for name, a in attributes.items()}
                )
            },
            partitioned=False,
            configuration=self.settings,
        )
        set_aside = self.component.asset_spec(
            context,
            key=self.rejects_key,
            description=rejects,
            group_name="transactions",
            kinds=["table", "parquet"],
            metadata={"dagster/column_schema": table_schema(self.rejects)},
            partitioned=False,
            configuration=self.settings,
        )
        root = context.project_root

        def work(
            run: dg.AssetExecutionContext, _: Week, inputs: Inputs
        ) -> Mapping[dg.AssetKey, Published]:
            # The only place where a row depends on the clock: what lies in the future now.
            now = datetime.now(ZoneInfo(self.time_zone))
            with inputs.reading() as reading:
                return ingest(run, reading, root, now)

        return publishing_assets(
            self.component,
            context,
            specs=[set_aside, main],
            checks=[
                *check_specs(self.component.key, self.kept, self.rules),
                *check_specs(self.rejects_key, self.rejects, ()),
            ],
            work=work,
            partitioned=False,
        )

    def publish(
        self,
        context: dg.AssetExecutionContext,
        inputs: Inputs,
        reading: Reading,
        result: PolicyResult,
        *,
        frame: Table,
        metadata: Mapping[str, dg.MetadataValue],
        now: datetime,
        elsewhere: Mapping[str, int] | None = None,
        unwritten: Unwritten | None = None,
    ) -> Mapping[dg.AssetKey, Published]:
        """Publish both tables: `frame`, made of the rows that are kept, if its rules let it.

        `metadata` is shown with it. `elsewhere` says where the rows of the source are that are
        in neither table; all together must add up.

        Raises:
            ValidationFailed: A blocking check failed; what was kept before stays.
        """
        run_id = context.run.run_id
        rejects = self._publish_rejects(inputs, reading, result, run_id=run_id)
        set_aside = Published(rejects, {"reasons": reasons_table(result.counts.rejected_by_reason)})
        parts = {"set aside": rejects.snapshot.manifest.row_counts["rows"], **(elsewhere or {})}
        try:
            kept = self._publish_kept(
                inputs,
                reading,
                result,
                frame=frame,
                elsewhere=parts,
                now=now,
                run_id=run_id,
                unwritten=unwritten,
            )
        except BaseException:  # Whatever stops the rest, these are published.
            context.log_event(_materialised(self.rejects_key, set_aside))
            raise
        published = {self.rejects_key: set_aside, self.component.key: Published(kept, metadata)}
        for key in published.keys() - context.selected_asset_keys:
            # A run that asks for one of both tables replaces the other one, too.
            context.log_event(_materialised(key, published[key]))
        return published

    def _publish_rejects(
        self, inputs: Inputs, reading: Reading, result: PolicyResult, *, run_id: str
    ) -> Publication:
        """Publish what was set aside; before the rest, for it is looked at when that is refused."""
        return publish(
            inputs.store,
            inputs.engine,
            self.rejects,
            table=table_name(self.rejects_key.path),
            as_of=None,
            frame=result.rejects,
            run_id=run_id,
            config_hash=self.settings,
            source_fingerprint=reading.source_fingerprint,
            counts=dict(result.counts.rejected_by_reason),
        )

    def _publish_kept(
        self,
        inputs: Inputs,
        reading: Reading,
        result: PolicyResult,
        *,
        frame: Table,
        elsewhere: Mapping[str, int],
        now: datetime,
        run_id: str,
        unwritten: Unwritten | None,
    ) -> Publication:
        counts = result.counts
        newest = None if counts.newest_day is None else EPOCH + timedelta(days=counts.newest_day)

        def outcomes(staged: Staged) -> list[CheckOutcome]:
            rows = staged.row_counts["rows"]
            return [
                quality.reconciles(
                    "rows_reconcile",
                    whole=("rows read", reading.rows),
                    parts={"kept": rows, **elsewhere},
                ),
                quality.reject_rate(
                    rows_in=counts.rows_in, by_reason=counts.rejected_by_reason, checks=self.checks
                ),
                quality.volume(
                    rows=rows, rows_before=self._rows_before(inputs), checks=self.checks
                ),
                quality.freshness(newest=newest, today=now.date(), checks=self.checks),
            ]

        return publish(
            inputs.store,
            inputs.engine,
            self.kept,
            table=table_name(self.component.key.path),
            as_of=None,
            frame=frame,
            rules=outcomes,
            unwritten=unwritten,
            run_id=run_id,
            config_hash=self.settings,
            source_fingerprint=reading.source_fingerprint,
            counts=counts.as_dict(),
        )

    def _rows_before(self, inputs: Inputs) -> int | None:
        """Rows of the snapshot that this run would replace."""
        try:
            before = inputs.store.snapshot(table_name(self.component.key.path), None)
        except SnapshotMissing:
            return None
        return before.manifest.row_counts["rows"]


@contextmanager
def telling(context: dg.AssetExecutionContext, reading: Reading) -> Iterator[None]:
    """Around what is done with a reading: its notes are logged, and failures name the source."""
    for note in reading.notes:
        context.log.info(note)
    # Parquet is not read before this: what is wrong inside a file turns up here.
    with naming_failures(reading.name):
        yield


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


def reasons_table(by_reason: Mapping[str, int]) -> dg.MarkdownMetadataValue:
    """Why rows were set aside, and how many, for an asset's page."""
    return markdown_table(["reason", "rows"], by_reason.items())
