"""What several snapshots say of single customers and of segments: moves, durations, probabilities.

Movement between neighbours is stored (`history.py`); this is what can be asked of any two, or of a
range. What a whole range looks like from afar, such as shares and cohorts, is in `trends.py`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from statistics import fmean
from typing import Any, TypeAlias

import narwhals as nw

from rfm_assets.domain.distribution import NO_SEGMENT
from rfm_assets.domain.frames import Table
from rfm_assets.domain.history import LEFT, NEW, movement
from rfm_assets.domain.intervals import wilson
from rfm_assets.domain.rfm import WEEK_DAYS
from rfm_assets.errors import InvalidConfig


def movement_between(
    first: Table, second: Table, *, first_as_of: date, second_as_of: date
) -> Table:
    """Customers and money by pair of segments, between any two snapshots.

    Args:
        first: customer_id, segment and monetary of the earlier one.
        second: The same of the later one.
        first_as_of: Date of the earlier one.
        second_as_of: Date of the later one.

    Returns:
        The rows of `schemas.SegmentMovement`, as `history.movement` gives them of neighbours.

    Raises:
        InvalidConfig: The second date is not after the first.
    """
    _require_order(first_as_of, second_as_of)
    return movement(second, first, as_of=second_as_of, previous_as_of=first_as_of)


def moves_of_customers(first: Table, second: Table) -> Table:
    """Each customer of either snapshot: from_segment, to_segment, monetary_before, monetary_now.

    `(new)` and `(left)` stand for the side that does not have her, whose money is empty.
    """
    there, here = _side(first, "from_segment", "before"), _side(second, "to_segment", "now")
    only_there = there.join(here.select("customer_id"), on="customer_id", how="anti")
    columns = ["customer_id", "from_segment", "to_segment", "monetary_before", "monetary_now"]
    now = here.join(there, on="customer_id", how="left").with_columns(
        from_segment=nw.col("from_segment").fill_null(NEW)
    )
    gone = only_there.with_columns(
        to_segment=nw.lit(LEFT), monetary_now=nw.lit(None, dtype=nw.Float64)
    )
    return nw.concat([now.select(*columns), gone.select(*columns)])


def entered(first: Table, second: Table, segment: str) -> Table:
    """Who is in `segment` in the second snapshot and was not in the first, from wherever."""
    moves = moves_of_customers(first, second)
    return moves.filter(nw.col("to_segment") == segment, nw.col("from_segment") != segment)


def left(first: Table, second: Table, segment: str) -> Table:
    """Who was in `segment` in the first snapshot and is not in the second, wherever she went."""
    moves = moves_of_customers(first, second)
    return moves.filter(nw.col("from_segment") == segment, nw.col("to_segment") != segment)


@dataclass(frozen=True)
class Stay:
    """How long the customers of a segment have been in it.

    Attributes:
        at_least: Customers who were in it in the oldest snapshot already: their stay, and so mean
            and median, may be longer than is known.
    """

    segment: str
    customers: int
    mean_weeks: float
    median_weeks: float
    at_least: int


def time_in_segment(weeks: Sequence[tuple[date, Table]]) -> Table:
    """Since when each customer of the last snapshot has been in her segment, without a break.

    Args:
        weeks: Snapshots with their dates: customer_id and segment.

    Returns:
        customer_id, segment, since (the first snapshot of the stay), weeks (whole weeks from then
        to the last snapshot, 0 for who has just entered), at_least (whether the stay reaches back
        to the oldest snapshot). A snapshot that lacks her ends the stay.

    Raises:
        InvalidConfig: There is no snapshot.
    """
    ordered = _newest_first(weeks)
    newest, now = ordered[0]
    current = _named(now)
    there = nw.concat(
        [
            _named(table).with_columns(position=nw.lit(position, dtype=nw.Int64))
            for position, (_, table) in enumerate(ordered)
        ]
    ).join(current, on=["customer_id", "segment"], how="inner")
    # A row ends the stay, looking back, if the snapshot before has no such row.
    before = there.select("customer_id", position=nw.col("position") - 1)
    ends = there.join(before, on=["customer_id", "position"], how="anti")
    last = ends.group_by("customer_id").agg(nw.col("position").min())
    since, length = nw.lit(newest, dtype=nw.Date), nw.lit(0, dtype=nw.Int64)
    for position, (day, _) in enumerate(ordered[1:], start=1):
        here = nw.col("position") == position
        since = nw.when(here).then(nw.lit(day, dtype=nw.Date)).otherwise(since)
        whole = nw.lit(_whole_weeks(day, newest), dtype=nw.Int64)
        length = nw.when(here).then(whole).otherwise(length)
    return current.join(last, on="customer_id", how="inner").select(
        "customer_id",
        "segment",
        since=since,
        weeks=length,
        at_least=nw.col("position") == len(ordered) - 1,
    )


def stays_by_segment(stays: Table) -> list[Stay]:
    """Mean and median of `time_in_segment` by segment, in the order of their names."""
    counted = (
        stays.group_by("segment", "weeks", "at_least").agg(customers=nw.len()).collect("pyarrow")
    )
    by_segment: defaultdict[str, list[_Length]] = defaultdict(list)
    columns = [counted.get_column(n).to_list() for n in ("segment", "weeks", "customers")]
    for segment, weeks, customers, censored in zip(
        *columns, counted.get_column("at_least").to_list(), strict=True
    ):
        by_segment[str(segment)].append((int(weeks), int(customers), bool(censored)))
    return _summed_up(by_segment)


def stays_over(weeks: Sequence[tuple[date, Table]], hold: Callable[[Table], Table]) -> list[Stay]:
    """What `stays_by_segment` says of `time_in_segment`, with one snapshot at a time in memory.

    Half a year of a million customers is beyond what an engine of half a gigabyte joins at once. Who is
    still where she is now becomes fewer with each snapshot further back.

    Args:
        weeks: Snapshots with their dates: customer_id and segment.
        hold: Computes a table once, such as an engine's `checkpoint`.

    Raises:
        InvalidConfig: There is no snapshot.
    """
    ordered = _newest_first(weeks)
    newest, now = ordered[0]
    still = hold(_named(now))
    left = _sizes(still)
    by_segment: defaultdict[str, list[_Length]] = defaultdict(list)
    reached = 0
    for day, table in ordered[1:]:
        still = hold(still.join(_named(table), on=["customer_id", "segment"], how="semi"))
        there = _sizes(still)
        for segment, customers in left.items():
            if ended := customers - there.get(segment, 0):
                by_segment[segment].append((reached, ended, False))
        left, reached = there, _whole_weeks(day, newest)
    for segment, customers in left.items():
        by_segment[segment].append((reached, customers, True))
    return _summed_up(by_segment)


_Length: TypeAlias = tuple[int, int, bool]
"""Weeks of a stay, how many customers have it, whether it may be longer."""


def _summed_up(by_segment: Mapping[str, Sequence[_Length]]) -> list[Stay]:
    return [
        Stay(
            segment=segment,
            customers=sum(n for _, n, _ in rows),
            mean_weeks=sum(weeks * n for weeks, n, _ in rows) / sum(n for _, n, _ in rows),
            median_weeks=_weighted_median([(weeks, n) for weeks, n, _ in rows]),
            at_least=sum(n for _, n, censored in rows if censored),
        )
        for segment, rows in sorted(by_segment.items())
    ]


def _newest_first(weeks: Sequence[tuple[date, Table]]) -> list[tuple[date, Table]]:
    if not weeks:
        raise InvalidConfig(
            key="weeks", value=[], reason="has no snapshot", fix="Give at least one."
        )
    return sorted(weeks, key=lambda week: week[0], reverse=True)


def _sizes(table: Table) -> dict[str, int]:
    counted = table.group_by("segment").agg(customers=nw.len()).collect("pyarrow")
    segments, customers = (counted.get_column(name).to_list() for name in ("segment", "customers"))
    return {str(segment): int(n) for segment, n in zip(segments, customers, strict=True)}


def _whole_weeks(day: date, newest: date) -> int:
    return (newest - day).days // WEEK_DAYS


@dataclass(frozen=True)
class Transition:
    """How often customers of a segment were in another one in the next snapshot.

    Attributes:
        probability: Of those who were in `from_segment`, the share (0..1) that went here.
        low: Lower end of its 95 % interval (Wilson).
        high: Upper end.
    """

    from_segment: str
    to_segment: str
    customers: int
    probability: float
    low: float
    high: float


def transition_matrix(moves: Iterable[Mapping[str, Any]]) -> list[Transition]:
    """The probabilities of each step, estimated over a range of snapshots.

    Args:
        moves: from_segment, to_segment and customers of each pair of neighbours: the stored rows
            of `segment_movement`, or of `movement_between`.

    Returns:
        One transition for each pair that occurs, by name; those of one `from_segment` add up to
        1. `(new)` says where customers enter, `(left)` who falls out of the window. Steps of one
        customer are counted as if they were of several, so that the intervals are rather narrow.
    """
    counts: defaultdict[tuple[str, str], int] = defaultdict(int)
    for row in moves:
        counts[str(row["from_segment"]), str(row["to_segment"])] += int(row["customers"])
    totals: defaultdict[str, int] = defaultdict(int)
    for (start, _), customers in counts.items():
        totals[start] += customers
    return [
        _transition(start, end, customers, totals[start])
        for (start, end), customers in sorted(counts.items())
        if customers
    ]


def _transition(start: str, end: str, customers: int, of: int) -> Transition:
    probability = customers / of
    low, high = wilson(customers, of)
    # Where all or nobody went there, rounding would leave the rate outside its interval.
    return Transition(
        start, end, customers, probability, min(low, probability), max(high, probability)
    )


@dataclass(frozen=True)
class AtRisk:
    """Customers who came down to a segment, and what they spent before and spend now."""

    to_segment: str
    customers: int
    monetary_before: float
    monetary_now: float


def value_at_risk(moves: Iterable[Mapping[str, Any]], order: Sequence[str]) -> list[AtRisk]:
    """The spend of customers who are in a worse segment than before.

    Args:
        moves: Rows of a movement.
        order: The segments, best first, as the scheme orders them.

    Returns:
        One entry for each segment that somebody came down to, in that order, and `(left)` last.
        A segment that is not in `order` is neither better nor worse.
    """
    rank = {name: position for position, name in enumerate((*order, LEFT))}
    found: defaultdict[str, list[Mapping[str, Any]]] = defaultdict(list)
    for row in moves:
        start, end = rank.get(row["from_segment"]), rank.get(row["to_segment"])
        if start is not None and end is not None and end > start:
            found[str(row["to_segment"])].append(row)
    return [
        AtRisk(
            to_segment=name,
            customers=sum(int(row["customers"]) for row in found[name]),
            monetary_before=_money(row["monetary_before"] for row in found[name]),
            monetary_now=_money(row["monetary_now"] for row in found[name]),
        )
        for name in rank
        if name in found
    ]


def _require_order(first: date, second: date) -> None:
    if second <= first:
        raise InvalidConfig(
            key="to",
            value=str(second),
            reason=f"is not after {first}",
            fix="Name the earlier snapshot first.",
        )


def _side(snapshot: Table, segment: str, suffix: str) -> Table:
    return snapshot.select(
        "customer_id",
        nw.col("segment").fill_null(NO_SEGMENT).alias(segment),
        nw.col("monetary").cast(nw.Float64).alias(f"monetary_{suffix}"),
    )


def _named(snapshot: Table) -> Table:
    return snapshot.select("customer_id", segment=nw.col("segment").fill_null(NO_SEGMENT))


def _weighted_median(values: Sequence[tuple[int, int]]) -> float:
    """The median of values that occur several times each."""
    middle: list[int] = []
    total, seen = sum(n for _, n in values), 0
    wanted = {(total - 1) // 2, total // 2}
    for value, n in sorted(values):
        middle += [value for place in wanted if seen <= place < seen + n]
        seen += n
    return fmean(middle)


def _money(values: Iterable[float]) -> float:
    """A sum in whole ten-thousandths, so that the order of the rows does not matter."""
    return sum(round(value * 10_000) for value in values) / 10_000
