"""One file of orders, segmented and published into a store of its own, without an orchestrator.

The same policy, models, contracts and manifests as in the components, so that whatever opens a
deployment's store opens this one. How the columns are found is in `sources/suggesting.py`; what
is written beside the store, and what the terminal shows, is the command's business.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from pathlib import Path
from uuid import uuid4

import narwhals as nw

from rfm_assets import quality
from rfm_assets.analysis_faults import (
    Examples,
    nobody_bought,
    none_usable,
    too_many_set_aside,
)
from rfm_assets.domain.distribution import customers_by_segment, totals_of_transactions
from rfm_assets.domain.frames import Table
from rfm_assets.domain.rfm import EPOCH, day_number
from rfm_assets.domain.row_policy import TransactionPolicy
from rfm_assets.domain.schemes import Scheme
from rfm_assets.domain.segments import SegmentationConfig, segment
from rfm_assets.domain.summaries import SummaryConfig
from rfm_assets.domain.transactions import PolicyCounts, apply_policy
from rfm_assets.engines.base import Engine, collect_rows
from rfm_assets.engines.duckdb_engine import DuckDBEngine
from rfm_assets.errors import ModelDidNotConverge, NotEnoughCustomers, ValidationFailed
from rfm_assets.publishing import Publication, publish
from rfm_assets.recording import (
    Origin,
    publish_lifetime_value,
    publish_segments,
    publish_summary,
)
from rfm_assets.schemas import TRANSACTION_DATA_REJECTS
from rfm_assets.sources.config import ColumnMapping
from rfm_assets.sources.reading import Reading, naming_failures, read
from rfm_assets.sources.suggestion import ProposedSource
from rfm_assets.store import Snapshot, Store
from rfm_assets.validation import CheckOutcome

SEGMENTS, SUMMARY, VALUE, REJECTS = (
    "customer_segments",
    "segment_summary",
    "customer_lifetime_value",
    "transaction_data_rejects",
)
TABLES = frozenset({SEGMENTS, SUMMARY, VALUE, REJECTS})
"""What an analysis stores."""

EXAMPLES = 3
"""First rows that are shown of each reason for setting rows aside."""

MEMORY_LIMIT = "256MB"


@dataclass(frozen=True)
class Request:
    """What is to be computed.

    Attributes:
        source: The file.
        columns: Which column is what.
        config: How customers are scored and segmented.
        scheme: The scheme that names segments.
        as_of: The date to describe; the day after the newest usable row where None.
    """

    source: ProposedSource
    columns: ColumnMapping
    config: SegmentationConfig
    scheme: Scheme
    as_of: date | None = None


@dataclass(frozen=True)
class Analysis:
    """What was computed, and where it is stored.

    Attributes:
        as_of: The date that is described.
        first_day: Of the usable rows.
        last_day: Of the usable rows.
        counts: What became of the rows read.
        examples: First rows set aside, by reason.
        value: Stored lifetime values; None where `value_skipped` says why.
        outcomes: Of every check, by table.
        notes: What a careful reader would mention.
    """

    source: str
    as_of: date
    first_day: date
    last_day: date
    counts: PolicyCounts
    examples: Examples
    segments: Snapshot
    summary: Snapshot
    rejects: Snapshot
    value: Snapshot | None
    value_skipped: str
    outcomes: Mapping[str, tuple[CheckOutcome, ...]]
    notes: tuple[str, ...]

    @property
    def warnings(self) -> list[tuple[str, CheckOutcome]]:
        """Checks that failed without blocking, each after its table."""
        return [(t, one) for t, found in self.outcomes.items() for one in found if not one.passed]


def analyze(
    request: Request,
    *,
    root: Path,
    store: Store,
    now: datetime,
    say: Callable[[str], object] = lambda _: None,
) -> Analysis:
    """Read a file, segment its customers, estimate their value, and store all of it.

    Args:
        request: What is computed.
        root: Where the source's relative path starts.
        store: Where the tables go.
        now: Tells a future date from a late one, and stamps the rows.
        say: Hears what is done next.

    Raises:
        NothingToAnalyze: No row can be used, or nobody bought anything in the window.
        ValidationFailed: A blocking check failed.
        RfmError: The file cannot be read, and the message says why.
    """
    with DuckDBEngine(MEMORY_LIMIT) as engine:
        return _Run(request, root, store, now, engine, say).whole()


@dataclass
class _Run:
    """One analysis on its way."""

    request: Request
    root: Path
    store: Store
    now: datetime
    engine: Engine
    say: Callable[[str], object]
    run_id: str = field(default_factory=lambda: str(uuid4()))
    fingerprint: str = ""
    outcomes: dict[str, tuple[CheckOutcome, ...]] = field(default_factory=dict)

    def whole(self) -> Analysis:
        self.say("Reading")
        reading = read(
            self.request.source, self.request.columns, engine=self.engine, root=self.root
        )
        self.fingerprint = reading.source_fingerprint
        with naming_failures(reading.name):
            transactions, counts, rejects, examples = self.transactions(reading)
        span = _span(transactions)
        first, last = (EPOCH + timedelta(days=span[name]) for name in ("first", "last"))
        as_of = self.request.as_of or last + timedelta(days=1)
        self.say("Segmenting")
        segments, summary = self.segments(transactions, as_of, reading.name, span)
        self.say("Lifetime value")
        value, skipped = self.value(transactions, as_of)
        return Analysis(
            source=reading.name,
            as_of=as_of,
            first_day=first,
            last_day=last,
            counts=counts,
            examples=examples,
            segments=segments,
            summary=summary,
            rejects=rejects,
            value=value,
            value_skipped=skipped,
            outcomes=self.outcomes,
            notes=reading.notes,
        )

    def origin(self, **inputs: str) -> Origin:
        return {
            "run_id": self.run_id,
            "source_fingerprint": self.fingerprint,
            "inputs": inputs,
        }

    def stored(self, publication: Publication) -> Snapshot:
        self.outcomes[publication.snapshot.table] = publication.outcomes
        return publication.snapshot

    def transactions(self, reading: Reading) -> tuple[Table, PolicyCounts, Snapshot, Examples]:
        """The rows that can be used, and those that cannot, which are stored."""
        policy = TransactionPolicy()
        result = apply_policy(
            reading.table,
            policy,
            now_day=day_number(self.now.date()),
            checkpoint=self.engine.checkpoint,
        )
        counts = result.counts
        rejects = self.stored(
            publish(
                self.store,
                self.engine,
                TRANSACTION_DATA_REJECTS,
                table=REJECTS,
                as_of=None,
                frame=result.rejects,
                counts=dict(counts.rejected_by_reason),
                config_hash=policy.fingerprint(),
                **self.origin(),
            )
        )
        examples = self.examples(rejects, counts)
        if not counts.rows_kept:
            raise none_usable(reading.name, counts, examples)
        # Narrow, and apart from the text that it was read from: it is gone through several times.
        used = ("customer_id", "order_id", "day", "amount")
        kept = self.engine.checkpoint(result.kept.select(*used))
        outcomes = (
            quality.reconciles(
                "rows_reconcile",
                whole=("rows read", reading.rows),
                parts={
                    "kept": counts.rows_kept,
                    "set aside": rejects.manifest.row_counts["rows"],
                    "dropped by policy": counts.rows_dropped,
                },
            ),
            quality.reject_rate(
                rows_in=counts.rows_in,
                by_reason=counts.rejected_by_reason,
                checks=quality.TransactionChecks(),
            ),
        )
        self.outcomes[reading.name] = outcomes
        if any(one.blocking and not one.passed for one in outcomes):
            raise too_many_set_aside(reading.name, outcomes, counts, examples)
        return kept, counts, rejects, examples

    def examples(self, rejects: Snapshot, counts: PolicyCounts) -> Examples:
        """The first rows set aside, by reason."""
        if not counts.rows_rejected:
            return {}
        rows = self.engine.scan_parquet(rejects.files())
        return {
            reason: collect_rows(
                rows.filter(nw.col("reason") == reason)
                .sort("source", "source_line")
                .select("source", "source_line", "detail")
                .head(EXAMPLES)
            )
            for reason in counts.rejected_by_reason
        }

    def segments(
        self, transactions: Table, as_of: date, source: str, span: Mapping[str, int]
    ) -> tuple[Snapshot, Snapshot]:
        config, scheme = self.request.config, self.request.scheme
        result = segment(
            transactions,
            as_of=as_of,
            config=config,
            scheme=scheme,
            checkpoint=self.engine.checkpoint,
        )
        if not result.counts["customers_segmented"]:
            raise nobody_bought(source, as_of, config.analysis_period_days, span)
        segments = self.stored(
            publish_segments(
                self.store,
                self.engine,
                result,
                table=SEGMENTS,
                as_of=as_of,
                config=config,
                scheme=scheme,
                whole=totals_of_transactions(
                    transactions, as_of=as_of, days=config.analysis_period_days
                ),
                stamp=self.now.replace(tzinfo=None),
                origin=self.origin(),
                rules=lambda staged: [
                    quality.largest_segment(
                        customers=customers_by_segment(staged.rows),
                        checks=quality.SegmentChecks(),
                    )
                ],
            )
        )
        summary = self.stored(
            publish_summary(
                self.store,
                self.engine,
                segments,
                self.engine.scan_parquet(segments.files()),
                None,
                table=SUMMARY,
                as_of=as_of,
                config=SummaryConfig(),
                scheme=scheme,
                origin=self.origin(**{SEGMENTS: segments.version}),
            )
        )
        return segments, summary

    def value(self, transactions: Table, as_of: date) -> tuple[Snapshot | None, str]:
        """Stored lifetime values, or why there are none."""
        from rfm_assets.domain.lifetime_value import LifetimeValueConfig, lifetime_value

        config = LifetimeValueConfig()
        try:
            result = lifetime_value(
                transactions,
                as_of=as_of,
                config=config,
                checkpoint=self.engine.checkpoint,
                from_native=self.engine.from_native,
            )
            publication = publish_lifetime_value(
                self.store,
                self.engine,
                transactions,
                result,
                table=VALUE,
                as_of=as_of,
                config=config,
                checks=quality.LifetimeValueChecks(),
                origin=self.origin(),
            )
        except NotEnoughCustomers as error:
            return None, str(error).partition(" Wait for")[0]  # what follows is for a deployment
        except (ModelDidNotConverge, ValidationFailed) as error:
            return None, str(error).removesuffix(" Nothing was published.")
        return self.stored(publication), ""


def _span(transactions: Table) -> dict[str, int]:
    """First and last day, and how many rows are purchases."""
    day, amount = nw.col("day"), nw.col("amount")
    bought = (amount > 0).cast(nw.Int64).sum()
    found = transactions.select(
        day.min().alias("first"), day.max().alias("last"), bought.alias("purchases")
    )
    return {name: int(value) for name, value in collect_rows(found)[0].items()}
