"""Does a segmentation predict? Who bought again after a cut, and for how much, by segment and score.

How customers get segments and scores does not belong here (`validation_candidates.py`). All
candidates are judged on the same customers and the same resamples of them.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any, Literal

import narwhals as nw
import numpy as np
from narwhals.typing import IntoDType

from rfm_assets.domain.frames import UNITS_PER_MONEY, Table
from rfm_assets.domain.intervals import wilson
from rfm_assets.domain.judging import Flags, Floats, Interval, Resampled, lift
from rfm_assets.domain.money import to_units
from rfm_assets.domain.rfm import day_number
from rfm_assets.errors import NotEnoughCustomers

MOST_RESAMPLED = 200_000
"""Customers that intervals are measured on; of more, so many by the hash of their ids."""

FEWEST = 100
"""Customers, of whom a tenth must have bought again and a tenth not."""

Verdict = Literal["baseline", "better", "worse", "no difference"]
Of = Literal["score", "segment"]


@dataclass(frozen=True)
class Candidate:
    """One way of telling customers apart, as of the cut.

    Attributes:
        name: What the report calls it.
        table: customer_id, and `score` (high is good) or `segment`, or both.
    """

    name: str
    table: Table

    @property
    def columns(self) -> frozenset[str]:
        """Which of `score` and `segment` it has."""
        return frozenset(self.table.collect_schema().names()) & {"score", "segment"}


@dataclass(frozen=True)
class Predicted:
    """How well one score, or one division into segments, told who would buy again."""

    candidate: str
    of: Of
    auc: Interval
    gain: Interval | None
    lift: float
    revenue_pct: float
    verdict: Verdict


@dataclass(frozen=True)
class Validation:
    """What came of every candidate.

    Attributes:
        segments: `schemas.SegmentValidation` without as_of: one row per candidate and segment.
        scores: Best first; by a score, and by the segments' own rates.
        customers: Judged: those whom every candidate knows.
        left_out: Customers whom some candidates know and others do not.
        buyers: Of the judged, who bought again.
        revenue: What the judged spent, refunds taken off.
    """

    segments: Table
    scores: Sequence[Predicted]
    customers: int
    left_out: int
    buyers: int
    revenue: float

    @property
    def advice(self) -> str:
        """Which one to use, and how sure that is."""
        baseline = next(one for one in self.scores if one.verdict == "baseline")
        better = [one for one in self.scores if one.verdict == "better"]
        shown = f"{baseline.candidate} (AUC {baseline.auc.value:.3f})"
        if not better:
            return f"Keep {shown}: no candidate told more beyond chance."
        best = better[0]
        gain = best.gain or best.auc
        return (
            f"{best.candidate} by its {best.of} told most: AUC {best.auc.value:.3f}, "
            f"{gain.value:+.3f} above {shown}, and between {gain.low:+.3f} and {gain.high:+.3f} in "
            "95 of a hundred resamples."
        )


def validated(
    candidates: Sequence[Candidate],
    transactions: Table,
    *,
    cut: date,
    days: int,
    resamples: int,
) -> Validation:
    """Judge candidates on the days that follow the cut.

    Args:
        candidates: The first is the baseline, and has a score.
        transactions: Canonical transactions; those from the cut on are the outcome.
        cut: The date that the candidates describe.
        days: Length of the outcome.
        resamples: Of the customers, for intervals.

    Raises:
        NotEnoughCustomers: Too few customers, or too few who did or did not buy again.
    """
    frame, seen = _judged_customers(candidates, transactions, cut=cut, days=days)
    bought, spent = frame["bought"], frame["spent"]
    n, buyers = len(bought), int(bought.sum())
    for what, found, needed in (
        (f"customers known to every candidate as of {cut}", n, FEWEST),
        (f"of these who bought again in the {days} days after", buyers, FEWEST // 10),
        (f"of these who did not in the {days} days after", n - buyers, FEWEST // 10),
    ):
        if found < needed:
            raise NotEnoughCustomers(what=what, found=found, needed=needed, key="outcome_days")
    scores, of = _scores(candidates, frame)
    few = _resampled_customers(frame["customer_id"])
    resampled = Resampled(
        {name: values[few] for name, values in scores.items()}, bought[few], resamples=resamples
    )
    baseline = next(iter(scores))
    judged = [
        _predicted(
            of[name],
            auc=resampled.auc(name),
            gain=None if name == baseline else resampled.gain(name, over=baseline),
            values=values,
            frame=frame,
        )
        for name, values in scores.items()
    ]
    return Validation(
        segments=_segment_rows(candidates, frame, cut),
        scores=sorted(judged, key=lambda one: (-one.auc.value, one.candidate, one.of)),
        customers=n,
        left_out=seen - n,
        buyers=buyers,
        revenue=float(spent.sum() / UNITS_PER_MONEY),
    )


def _judged_customers(
    candidates: Sequence[Candidate], transactions: Table, *, cut: date, days: int
) -> tuple[dict[str, Any], int]:
    """Everybody whom all candidates know, by id, with what came after; and how many anybody knows."""
    at = day_number(cut)
    later = transactions.filter((nw.col("day") >= at) & (nw.col("day") < at + days))
    outcome = (
        later.select(
            "customer_id",
            purchase=(nw.col("amount") > 0).cast(nw.Int64),
            units=to_units(nw.col("amount")),
        )
        .group_by("customer_id")
        .agg(nw.col("purchase", "units").sum())
    )
    joined: Table | None = None
    ids: list[Table] = []
    for position, candidate in enumerate(candidates):
        own = candidate.table.select(
            "customer_id",
            **{f"{name}:{position}": nw.col(name) for name in sorted(candidate.columns)},
        )
        ids.append(candidate.table.select("customer_id"))
        joined = own if joined is None else joined.join(own, on="customer_id", how="inner")
    if joined is None:
        raise ValueError("there is no candidate")
    everybody = nw.concat(ids).group_by("customer_id").agg(nw.len().alias("times"))
    seen = int(everybody.select(nw.len()).collect().item())
    rows = joined.join(outcome, on="customer_id", how="left").sort("customer_id")
    collected = rows.collect("pyarrow")
    frame: dict[str, Any] = {
        name: collected.get_column(name).to_list()
        for name in collected.columns
        if name == "customer_id" or name.startswith("segment:")
    }
    for name in collected.columns:
        if name.startswith("score:"):
            frame[name] = collected.get_column(name).to_numpy().astype(np.float64)
    frame["bought"] = collected.get_column("purchase").fill_null(0).to_numpy() > 0
    units = collected.get_column("units").fill_null(0).to_list()
    frame["spent"] = np.array([int(one) for one in units], dtype=np.float64)
    return frame, seen


def _resampled_customers(ids: Sequence[str]) -> Any:
    if len(ids) <= MOST_RESAMPLED:
        return slice(None)
    hashes = np.array([zlib.crc32(one.encode()) for one in ids])
    return np.sort(np.argsort(hashes, kind="stable")[:MOST_RESAMPLED])


def _scores(
    candidates: Sequence[Candidate], frame: Mapping[str, Any]
) -> tuple[dict[str, Floats], dict[str, tuple[str, Of]]]:
    """Each candidate's score, and its segments as one: the rate of the others in the segment."""
    scores: dict[str, Floats] = {}
    of: dict[str, tuple[str, Of]] = {}
    half = np.array([zlib.crc32(one.encode()) % 2 == 0 for one in frame["customer_id"]])
    for position, candidate in enumerate(candidates):
        if "score" in candidate.columns:
            name = f"{position}:score"
            scores[name], of[name] = frame[f"score:{position}"], (candidate.name, "score")
        if "segment" in candidate.columns:
            name = f"{position}:segment"
            scores[name] = _rates_of_others(frame[f"segment:{position}"], frame["bought"], half)
            of[name] = (candidate.name, "segment")
    return scores, of


def _rates_of_others(segments: Sequence[str | None], bought: Flags, half: Flags) -> Floats:
    """The rate of each customer's segment, measured on the half of the customers without them.

    A rate measured on a customer's own outcome would know it already.
    """
    names, place = np.unique(np.array([one or "(none)" for one in segments]), return_inverse=True)
    found = np.zeros(len(bought))
    for own in (half, ~half):
        others = ~own
        sizes = np.bincount(place[others], minlength=len(names))
        did = np.bincount(place[others], weights=bought[others], minlength=len(names))
        overall = bought[others].mean() if others.any() else 0.0
        rates = np.where(sizes > 0, did / np.maximum(sizes, 1), overall)
        found[own] = rates[place[own]]
    return found


def _predicted(
    of: tuple[str, Of],
    *,
    auc: Interval,
    gain: Interval | None,
    values: Floats,
    frame: Mapping[str, Any],
) -> Predicted:
    verdict: Verdict = "baseline"
    if gain is not None:
        verdict = "no difference"
        if gain.excludes_zero:
            verdict = "better" if gain.value > 0 else "worse"
    return Predicted(
        candidate=of[0],
        of=of[1],
        auc=auc,
        gain=gain,
        lift=lift(values, frame["bought"]),
        revenue_pct=_revenue_of_best(values, frame["spent"]),
        verdict=verdict,
    )


def _revenue_of_best(values: Floats, spent: Floats, share: float = 0.1) -> float:
    """Per cent of what was spent that the tenth with the highest values spent."""
    total = spent.sum()
    if total <= 0:
        return float("nan")
    levels, place = np.unique(-values, return_inverse=True)
    sizes = np.bincount(place, minlength=len(levels)).astype(np.float64)
    sums = np.bincount(place, weights=spent, minlength=len(levels))
    taken = np.clip(share * len(values) - (np.cumsum(sizes) - sizes), 0, sizes)
    return float(100 * (sums * taken / sizes).sum() / total)


def _segment_rows(candidates: Sequence[Candidate], frame: Mapping[str, Any], cut: date) -> Table:
    bought: Flags = frame["bought"]
    spent: Floats = frame["spent"]
    n, rate, revenue = len(bought), float(bought.mean()), float(spent.sum())
    rows: list[dict[str, Any]] = []
    for position, candidate in enumerate(candidates):
        if "segment" not in candidate.columns:
            continue
        segments = np.array([one or "(none)" for one in frame[f"segment:{position}"]])
        for segment in sorted(set(segments.tolist())):
            own = segments == segment
            customers, buyers = int(own.sum()), int(bought[own].sum())
            low, high = wilson(buyers, customers)
            units = float(spent[own].sum())
            rows.append(
                {
                    "candidate": candidate.name,
                    "segment": segment,
                    "cut": cut,
                    "customers": customers,
                    "customers_pct": 100 * customers / n,
                    "buyers": buyers,
                    "repurchase_rate": buyers / customers,
                    "rate_low": low,
                    "rate_high": high,
                    "lift": buyers / customers / rate if rate else None,
                    "revenue": units / UNITS_PER_MONEY,
                    "revenue_mean": units / UNITS_PER_MONEY / customers,
                    "revenue_pct": 100 * units / revenue if revenue > 0 else None,
                }
            )
    columns = {name: [row[name] for row in rows] for name in SEGMENT_TYPES}
    return nw.from_dict(columns, schema=SEGMENT_TYPES, backend="pyarrow").lazy()


def rates_in_per_cent(segments: Table) -> Table:
    """The rows of `Validation.segments` with their rates as shares are shown, 0..100."""
    return segments.with_columns(
        repurchase_pct=nw.col("repurchase_rate") * 100,
        low_pct=nw.col("rate_low") * 100,
        high_pct=nw.col("rate_high") * 100,
    )


SEGMENT_TYPES: Mapping[str, IntoDType] = {
    "candidate": nw.String,
    "segment": nw.String,
    "cut": nw.Date,
    "customers": nw.Int64,
    "customers_pct": nw.Float64,
    "buyers": nw.Int64,
    "repurchase_rate": nw.Float64,
    "rate_low": nw.Float64,
    "rate_high": nw.Float64,
    "lift": nw.Float64,
    "revenue": nw.Float64,
    "revenue_mean": nw.Float64,
    "revenue_pct": nw.Float64,
}
