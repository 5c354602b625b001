"""What a segment means in the data at hand: its rules in days, purchases and money, as sentences.

The rules of a scheme speak of scores, and a snapshot's cut points say which values have which
score. Nothing here looks at customers. Why one of them has her segment is `explaining.py`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from rfm_assets.domain.schemes import Scheme, SegmentBy
from rfm_assets.domain.scoring import CutPoints

Span: TypeAlias = tuple[float, float]
"""Values above the first and up to the second."""

EVERYTHING: Span = (-math.inf, math.inf)

IMPOSSIBLE = "Nobody: the scheme has no rule for it that somebody can meet with these cut points"


@dataclass(frozen=True)
class Way:
    """One way into a segment.

    Attributes:
        conditions: What must hold together; empty where nothing is asked.
        unless: Segments whose rules come first and take some of these customers.
    """

    conditions: tuple[str, ...]
    unless: tuple[str, ...] = ()

    @property
    def sentence(self) -> str:
        """Both in words."""
        asked = ", ".join(self.conditions) or "everybody"
        others = _listed(self.unless)
        return _capital(f"{asked}, unless already {others}" if others else asked)


@dataclass(frozen=True)
class Criteria:
    """All ways into one segment.

    Attributes:
        ways: One for each rule that somebody can meet, in match order.
        leftover: Whether the segment also has everybody whom no rule of any segment matches.
    """

    segment: str
    ways: tuple[Way, ...]
    leftover: bool = False

    @property
    def sentences(self) -> tuple[str, ...]:
        """Each way in words; who meets any of them is in the segment."""
        found = [way.sentence for way in self.ways]
        if self.leftover:
            found.append("Everybody else" if found else "Everybody whom no rule matches")
        return tuple(found) or (IMPOSSIBLE,)


def criteria(
    scheme: Scheme, points: CutPoints, *, segment_by: SegmentBy = "cell"
) -> tuple[Criteria, ...]:
    """What each segment of a scheme asks for, in the order of the scheme.

    Args:
        scheme: The scheme of a snapshot.
        points: Its cut points; without any (nobody was active) the scores themselves are named.
        segment_by: Whether the scheme reads the cell, or bands of the score.
    """
    ways: dict[str, list[Way]] = {segment.name: [] for segment in scheme.segments}
    earlier: list[tuple[str, Mapping[str, Span]]] = []
    for rule in scheme.rules_on(points.scale, segment_by):
        name = rule.segment.name
        box = {column: _values(points, column, ends) for column, ends in rule.ranges.items()}
        if not all(low < high for low, high in box.values()):
            continue
        if any(_inside(box, before) for _, before in earlier):
            continue  # all that it asks for is taken
        taken = [other for other, before in earlier if other != name and _meet(box, before)]
        conditions = tuple(
            _sentence(points, column, rule.ranges[column], span, [b for _, b in earlier])
            for column, span in box.items()
            if span != EVERYTHING
        )
        ways[name].append(Way(conditions, tuple(dict.fromkeys(taken))))
        earlier.append((name, box))
    fallback = scheme.fallback_segment
    return tuple(
        Criteria(name, tuple(found), leftover=fallback is not None and fallback.name == name)
        for name, found in ways.items()
    )


def _values(points: CutPoints, column: str, ends: Span) -> Span:
    """The values that have these scores. A band of RFM_score is one of values itself."""
    if column == "RFM_score":
        return math.nextafter(ends[0], -math.inf), ends[1]
    cuts = _cuts(points, column)
    low, high = int(ends[0]), int(ends[1])
    if not cuts:
        return EVERYTHING if (low, high) == (1, points.scale) else (low - 1, high)
    if column == "R_score":
        low, high = points.scale + 1 - high, points.scale + 1 - low
    # From here on score 1 has the least values, also of recency.
    return (
        -math.inf if low == 1 else cuts[low - 2],
        math.inf if high == points.scale else cuts[high - 1],
    )


def _cuts(points: CutPoints, column: str) -> Sequence[float]:
    dimension = {"R_score": "recency", "F_score": "frequency", "M_score": "monetary"}[column]
    cuts: Sequence[float] = getattr(points, dimension)
    return cuts


def _inside(box: Mapping[str, Span], other: Mapping[str, Span]) -> bool:
    """Whether all that `box` holds is in `other`."""
    for column, (low, high) in other.items():
        own = box.get(column, EVERYTHING)
        if own[0] < low or own[1] > high:
            return False
    return True


def _meet(box: Mapping[str, Span], other: Mapping[str, Span]) -> bool:
    """Whether they share more than the end of a band, which `_sentence` tells."""
    for column, (low, high) in other.items():
        own = box.get(column, EVERYTHING)
        least, most = max(own[0], low), min(own[1], high)
        if least >= most:
            return False
        if column == "RFM_score" and most == own[1] == math.nextafter(least, math.inf):
            return False
    return True


def _sentence(
    points: CutPoints,
    column: str,
    ends: Span,
    span: Span,
    earlier: Sequence[Mapping[str, Span]],
) -> str:
    if column == "RFM_score":
        low, high = (_money(end) for end in ends)
        if low == high:
            return f"RFM score {low}"
        bands = [before[column] for before in earlier if column in before]
        taken = any(first < ends[1] <= last for first, last in bands)
        return f"RFM score {low} to {'below ' if taken else ''}{high}"
    if not _cuts(points, column):
        low, high = (f"{end:.0f}" for end in ends)
        return f"{column} {low}" if low == high else f"{column} {low} to {high}"
    if column == "R_score":
        return _days(*span)
    return _purchases(*span) if column == "F_score" else _spend(*span)


def _days(low: float, high: float) -> str:
    if low == -math.inf:
        return f"bought within {_many(high, 'day')}"
    if high == math.inf:
        return f"last bought more than {_many(low, 'day')} ago"
    if high == low + 1:
        return f"last bought {_many(high, 'day')} ago"
    return f"last bought {low + 1:,.0f} to {_many(high, 'day')} ago"


def _purchases(low: float, high: float) -> str:
    if high == math.inf:
        return f"at least {_many(low + 1, 'purchase')}"
    if low == -math.inf:
        return _many(high, "purchase") if high == 1 else f"at most {_many(high, 'purchase')}"
    if high == low + 1:
        return _many(high, "purchase")
    return f"{low + 1:,.0f} to {_many(high, 'purchase')}"


def _spend(low: float, high: float) -> str:
    if high == math.inf:
        return f"more than {_money(low)} spent"
    if low == -math.inf:
        return f"at most {_money(high)} spent"
    return f"more than {_money(low)} and at most {_money(high)} spent"


def _many(number: float, what: str) -> str:
    return f"{number:,.0f} {what}" + ("" if number == 1 else "s")


def _money(value: float) -> str:
    return f"{value:,.2f}"


def _listed(names: Sequence[str]) -> str:
    *first, last = names or ("",)
    return f"{', '.join(first)} or {last}" if first else last


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
