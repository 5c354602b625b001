"""What several snapshots say together, for the API, the dashboard and the command line.

Stored movement and summaries are added up where they are enough; customers are read for two snapshots
that are no neighbours and for how long they stay, transactions for when they came. How is in `domain/transitions.py` and `domain/trends.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from typing import Literal, TypeAlias

from rfm_assets.domain.history import LEFT, NEW
from rfm_assets.domain.transitions import (
    AtRisk,
    Stay,
    Transition,
    entered,
    left,
    movement_between,
    stays_over,
    transition_matrix,
    value_at_risk,
)
from rfm_assets.domain.trends import Share, distribution_over_time
from rfm_assets.domain.trends import cohorts as first_purchases
from rfm_assets.engines.base import collect_rows
from rfm_assets.errors import InvalidConfig, SnapshotMissing
from rfm_assets.serving.queries import Queries, Row
from rfm_assets.store import Snapshot

Direction: TypeAlias = Literal["entered", "left"]
Band: TypeAlias = Literal["sd", "robust"]

LAST = 26
"""Snapshots that stays are counted over unless more are asked for: each costs a pass over the customers."""

_COLUMNS = ("customer_id", "segment", "monetary")


def pair(
    queries: Queries, table: str, first: str | date | None, second: str | date | None
) -> tuple[Snapshot, Snapshot]:
    """Two snapshots of segments: the latest and the one before it, where nothing is said.

    Raises:
        SnapshotMissing: There is none of a date, or none before.
        InvalidConfig: They are not in order.
    """
    later = queries.resolve(table, second)
    earlier = queries.resolve(table, first) if first else queries.catalogue.before(later)
    if earlier is None:
        raise SnapshotMissing(
            table=table,
            as_of=f"before {later.as_of}",
            root=str(queries.catalogue.store.root),
            available=[str(later.as_of)],
        )
    if earlier.as_of is None or later.as_of is None or earlier.as_of >= later.as_of:
        raise InvalidConfig(
            key="from",
            value=str(earlier.as_of),
            reason=f"is not before {later.as_of}",
            fix="Name the earlier snapshot as `from`, the later one as `to`.",
        )
    return earlier, later


def moves_between(queries: Queries, earlier: Snapshot, later: Snapshot) -> list[Row]:
    """Movement between two snapshots, from best to worst segment, new and left last."""

    def make() -> list[Row]:
        rows = collect_rows(
            movement_between(
                queries.rows(earlier).select(*_COLUMNS),
                queries.rows(later).select(*_COLUMNS),
                first_as_of=_day(earlier),
                second_as_of=_day(later),
            )
        )
        place = {name: n for n, name in enumerate((*segment_order(queries, later), NEW, LEFT))}
        ends = ("from_segment", "to_segment")
        return sorted(
            rows, key=lambda row: [(place.get(row[one], len(place)), row[one]) for one in ends]
        )

    key = (later.table, earlier.version, later.version, "moves between")
    return queries.remembered(key, make)


def stayed(moves: Sequence[Row]) -> tuple[int, int]:
    """The customers who are where they were, and all who could be: not the new ones."""
    still = sum(r["customers"] for r in moves if r["from_segment"] == r["to_segment"])
    return still, sum(r["customers"] for r in moves if r["from_segment"] != NEW)


def customers_who(
    queries: Queries,
    direction: Direction,
    segment: str,
    *,
    earlier: Snapshot,
    later: Snapshot,
) -> list[Row]:
    """Customers who entered or left a segment between two snapshots, the largest spend first.

    Raises:
        UnknownSegment: Neither snapshot's scheme has such a segment.
    """
    name = segment
    scheme = queries.scheme(later if direction == "entered" else earlier)
    if scheme is not None and segment != "(none)":
        name = scheme.segment_called(segment, key="segment").name
    chosen = entered if direction == "entered" else left
    first, second = (queries.rows(one).select(*_COLUMNS) for one in (earlier, later))
    spend = "monetary_now" if direction == "entered" else "monetary_before"
    return collect_rows(
        chosen(first, second, name).sort(spend, "customer_id", descending=[True, False])
    )


def at_risk(queries: Queries, moves: list[Row], later: Snapshot) -> list[AtRisk]:
    """Spend of those who came down in a movement, in the order of the later snapshot's scheme."""
    return value_at_risk(moves, segment_order(queries, later))


def transitions(queries: Queries, moves: list[Snapshot]) -> list[Transition]:
    """Probabilities of each step, over stored snapshots of `segment_movement`."""
    rows = [
        row
        for one in moves
        for row in queries.whole(one)
        # The first snapshot has none before it: that everybody is new there says nothing.
        if row["previous_as_of"] is not None
    ]
    return transition_matrix(rows)


def spans(queries: Queries, moves: list[Snapshot]) -> list[tuple[date, date]]:
    """From when to when stored snapshots of `segment_movement` go; one without a date before has none."""
    firsts = (row for one in moves for row in queries.whole(one)[:1])
    return [(row["previous_as_of"], row["as_of"]) for row in firsts if row["previous_as_of"]]


def distribution(queries: Queries, summaries: list[Snapshot], *, band: Band) -> list[Share]:
    """Shares over time with their band, over stored snapshots of `segment_summary`."""
    rows = [row for one in summaries for row in queries.whole(one)]
    return distribution_over_time(rows, band=band)


def stays(queries: Queries, snapshots: Sequence[Snapshot]) -> list[Stay]:
    """How long the customers of each segment have been in it, from best to worst segment.

    Args:
        queries: The door to the store.
        snapshots: Of one table of segments, ascending; the last says who is asked about.
    """

    def make() -> list[Stay]:
        dates = [_day(one) for one in snapshots]
        found = queries.one_by_one(
            snapshots,
            lambda rows, hold: stays_over(list(zip(dates, rows, strict=True)), hold),
        )
        place = {name: n for n, name in enumerate(segment_order(queries, snapshots[-1]))}
        return sorted(found, key=lambda one: (place.get(one.segment, len(place)), one.segment))

    versions = tuple(one.version for one in snapshots)
    return queries.remembered((snapshots[-1].table, versions, "stays"), make)


def cohorts(queries: Queries, transactions: Snapshot, segments: Snapshot) -> list[Row]:
    """Customers by month of their first purchase, and how many bought in each month after it.

    Args:
        queries: The door to the store.
        transactions: All that is known of orders.
        segments: What is on or after its date is invisible.
    """

    def make() -> list[Row]:
        found = first_purchases(queries.rows(transactions), as_of=_day(segments))
        return collect_rows(found.sort("cohort", "month"))

    key = (transactions.table, transactions.version, segments.as_of, "cohorts")
    return queries.remembered(key, make)


def in_range(
    queries: Queries, table: str, first: date | None, last: date | None, *, at_most: int = 260
) -> list[Snapshot]:
    """The snapshots of a table from a date to a date, both included, at most the last of them."""
    dates = [
        day
        for day in queries.catalogue.table(table).dates
        if (first is None or day >= first) and (last is None or day <= last)
    ]
    return [queries.catalogue.snapshot(table, day) for day in dates[-at_most:]]


def segment_order(queries: Queries, snapshot: Snapshot) -> list[str]:
    """The segments of a snapshot, best first."""
    scheme = queries.scheme(snapshot)
    return list(scheme.names) if scheme else sorted(queries.counts(snapshot, "segment"))


def _day(snapshot: Snapshot) -> date:
    if snapshot.as_of is None:
        raise TypeError(f"{snapshot.table} has no dates")
    return snapshot.as_of
