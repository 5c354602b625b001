"""Publishing computed tables with all that explains them later: contract, totals, manifest.

Shared by the components and by `rfm analyze`, so that both store the same thing of the same rows.
What is computed is the domain's business, and how a table gets into the store `publishing.py`'s.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING, Any, TypedDict

import narwhals as nw
import pandera.pandas as pa

from rfm_assets import quality
from rfm_assets.domain.distribution import Totals, totals_of_customers
from rfm_assets.domain.frames import Table
from rfm_assets.domain.schemes import Scheme
from rfm_assets.domain.segments import Segmentation, SegmentationConfig
from rfm_assets.domain.summaries import Benchmark, SummaryConfig, segment_summary
from rfm_assets.engines.base import Engine, collect_rows
from rfm_assets.publishing import Publication, Staged, publish
from rfm_assets.schemas import (
    CUSTOMER_LIFETIME_VALUE,
    CUSTOMER_SEGMENTS,
    SEGMENT_SUMMARY,
    TableContract,
)
from rfm_assets.store import Snapshot, Store
from rfm_assets.validation import CheckOutcome

if TYPE_CHECKING:  # scipy is half a second
    from rfm_assets.domain.lifetime_value import (
        Holdout,
        LifetimeValue,
        LifetimeValueConfig,
        Models,
    )


class Origin(TypedDict):
    """Where a table comes from: the run, the input's mark, and versions of tables that were read."""

    run_id: str
    source_fingerprint: str
    inputs: dict[str, str]


def publish_segments(
    store: Store,
    engine: Engine,
    result: Segmentation,
    *,
    table: str,
    as_of: date,
    config: SegmentationConfig,
    scheme: Scheme | None,
    whole: Totals,
    stamp: datetime,
    origin: Origin,
    rules: Callable[[Staged], Sequence[CheckOutcome]] = lambda _: (),
) -> Publication:
    """Store segments with the scheme and the settings that explain a row, whatever they say later.

    Args:
        store: Where the snapshot goes.
        engine: What `result` runs on.
        result: The segments.
        table: Name in the store.
        as_of: Date of the snapshot.
        config: What the segments were made with.
        scheme: The scheme that named them.
        whole: What the customers must add up to (`totals_of_transactions`).
        stamp: When this is, in UTC without zone.
        origin: Where the rows come from.
        rules: Outcomes beside the contract's and the totals'.

    Raises:
        ValidationFailed: A blocking check failed.
    """
    return publish(
        store,
        engine,
        _scored(segments_contract(scheme), result.cut_points.scale),
        table=table,
        as_of=as_of,
        frame=result.table.with_columns(segmented_at=nw.lit(stamp)),
        parts={"excluded": result.excluded},
        rules=lambda staged: [*_totals_reconcile(staged, result, whole), *rules(staged)],
        config_hash=segments_fingerprint(config, scheme),
        cut_points=result.cut_points.model_dump(mode="json"),
        counts=result.counts,
        extra={
            "scheme": scheme.model_dump(mode="json") if scheme else None,
            "config": config.model_dump(mode="json", exclude={"segment_scheme"}),
        },
        **origin,
    )


def segments_contract(scheme: Scheme | None) -> TableContract:
    """The stored contract, narrowed to this scheme's names."""
    if scheme is None:
        return CUSTOMER_SEGMENTS
    return CUSTOMER_SEGMENTS.narrowed("segment", pa.Check.isin(scheme.names), nullable=False)


def _scored(contract: TableContract, scale: int) -> TableContract:
    """The contract, narrowed to this scale's scores; custom cut points set it at run time."""
    for column in ("R_score", "F_score", "M_score", "RFM_score"):
        contract = contract.narrowed(column, pa.Check.in_range(1, scale))
    return contract


def segments_fingerprint(config: SegmentationConfig, scheme: Scheme | None) -> str:
    """Of the configuration with the scheme's content in place of its name or file."""
    if scheme is None:
        return config.fingerprint()
    whole = config.model_copy(update={"segment_scheme": scheme.model_dump(mode="json")})
    return whole.fingerprint()


def _totals_reconcile(staged: Staged, result: Segmentation, whole: Totals) -> list[CheckOutcome]:
    stored = totals_of_customers(staged.rows)
    return [
        quality.reconciles(
            "customers_reconcile",
            whole=("customers in the transactions", whole.customers),
            parts={
                "segmented": stored.customers,
                "left out": staged.row_counts["excluded"],
            },
        ),
        quality.reconciles(
            "money_reconciles",
            whole=("amounts of the window", whole.units),
            parts={
                "segmented": stored.units,
                "left out": result.counts["monetary_units_excluded"],
            },
            decimals=4,
        ),
    ]


def publish_summary(
    store: Store,
    engine: Engine,
    segments: Snapshot,
    rows: Table,
    before: Table | None,
    *,
    table: str,
    as_of: date,
    config: SummaryConfig,
    scheme: Scheme | None,
    benchmark: Benchmark | None = None,
    origin: Origin,
) -> Publication:
    """Store the figures of each segment of a snapshot.

    Args:
        store: Where the snapshot goes.
        engine: Writes it.
        segments: The snapshot that is summed up.
        rows: Its rows.
        before: The rows of the snapshot before, if there is one.
        table: Name in the store.
        as_of: Date of the snapshot.
        config: What is shown beside the sizes.
        scheme: The scheme that named the segments.
        benchmark: Typical shares.
        origin: Where the rows come from.

    Raises:
        ValidationFailed: A blocking check failed.
    """
    return publish(
        store,
        engine,
        SEGMENT_SUMMARY,
        table=table,
        as_of=as_of,
        frame=segment_summary(
            rows, before, scheme=scheme, config=config, as_of=as_of, benchmark=benchmark
        ),
        rules=lambda staged: [
            quality.reconciles(
                "customers_reconcile",
                whole=("customers of the snapshot", segments.manifest.row_counts["rows"]),
                parts={"in segments": sum(row["customers"] for row in collect_rows(staged.rows))},
            )
        ],
        config_hash=config.fingerprint(),
        **origin,
    )


def publish_lifetime_value(
    store: Store,
    engine: Engine,
    transactions: Table,
    result: LifetimeValue,
    *,
    table: str,
    as_of: date,
    config: LifetimeValueConfig,
    checks: quality.LifetimeValueChecks,
    origin: Origin,
) -> Publication:
    """Store estimates with the models that made them.

    Args:
        store: Where the snapshot goes.
        engine: What `transactions` and `result` run on.
        transactions: What the models were learned from.
        result: The estimates.
        table: Name in the store.
        as_of: Date of the snapshot.
        config: What the estimates were made with.
        checks: When the holdout's error warns.
        origin: Where the rows come from.

    Raises:
        ValidationFailed: A blocking check failed.
    """
    from rfm_assets.domain.lifetime_value import purchase_days

    held = result.holdout
    return publish(
        store,
        engine,
        CUSTOMER_LIFETIME_VALUE,
        table=table,
        as_of=as_of,
        frame=result.table,
        rules=lambda staged: [
            quality.reconciles(
                "customers_reconcile",
                whole=(
                    "customers with a purchase",
                    _customers(purchase_days(transactions, as_of=as_of, config=config)),
                ),
                parts={"estimated": staged.row_counts["rows"]},
            ),
            quality.holdout_error(
                held.expected if held else None,
                held.observed if held else 0,
                days=config.holdout_days,
                checks=checks,
            ),
        ],
        config_hash=config.fingerprint(),
        extra={
            "models": _kept(result.models),
            "holdout": _judged(held),
            "credible": {
                name: [one.value, one.low, one.high]
                for name, one in (result.credible or {}).items()
            },
        },
        **origin,
    )


def _customers(days: Table) -> int:
    return days.select(nw.col("customer_id").n_unique()).collect().item()


def _kept(models: Models) -> Mapping[str, Any]:
    """The models as data: with these numbers anybody can compute the same again."""
    return {
        "bg_nbd": models.purchases.model_dump(),
        "gamma_gamma": models.spend.model_dump(),
        "unit_of_time": "week",
        "customers": models.customers,
        "repeat_customers": models.repeat_customers,
    }


def _judged(held: Holdout | None) -> Mapping[str, Any] | None:
    if held is None:
        return None
    classes = [asdict(one) for one in held.classes]
    return asdict(held) | {"cut": held.cut.isoformat(), "classes": classes}


def suppression_current(
    lists: Sequence[Snapshot], max_age_days: int, *, now: datetime
) -> CheckOutcome:
    """Whether suppression lists, and the files that they were read from, are recent enough.

    One that does not say when it was computed is as old as can be.
    """
    day = timedelta(days=1)
    written: dict[str, tuple[float, int]] = {}
    for snapshot in lists:
        at, limit = (snapshot.manifest.extra.get(k) for k in ("written_at", "max_age_days"))
        if isinstance(at, str) and isinstance(limit, int):
            written[snapshot.table] = ((now - datetime.fromisoformat(at)) / day, limit)
    ages = {
        snapshot.table: float("inf")
        if snapshot.manifest.created_at is None
        else (now - snapshot.manifest.created_at) / day
        for snapshot in lists
    }
    return quality.suppression_current(ages_days=ages, max_age_days=max_age_days, written=written)
