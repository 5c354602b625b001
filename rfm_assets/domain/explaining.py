"""Why a customer is in a segment: the scores by their cut points, and the rules one by one.

Nothing is computed a second time here: values, scores and segment come from a stored row, the cut
points and the scheme from the same snapshot, so that an explanation of an old week is about that
week's rules.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from rfm_assets.domain.schemes import ScaledRule, Scheme, SegmentBy
from rfm_assets.domain.scoring import CutPoints

Dimension: TypeAlias = Literal["recency", "frequency", "monetary"]

UNITS: Mapping[Dimension, str] = {
    "recency": "days",
    "frequency": "purchases",
    "monetary": "net spend",
}
SCORES: Mapping[Dimension, str] = {
    "recency": "R_score",
    "frequency": "F_score",
    "monetary": "M_score",
}


@dataclass(frozen=True)
class ScoreReason:
    """One score: the value, the cut points it was compared with, and what would change it.

    Attributes:
        low: The least value with this score, exclusive; None where there is no lower end.
        high: The largest value with this score, inclusive; None where there is no upper end.
        better: The cut point that has to be crossed for a higher score; None at the highest.
    """

    dimension: Dimension
    value: float
    score: int
    scale: int
    cut_points: tuple[float, ...]
    low: float | None
    high: float | None
    better: float | None

    @property
    def sentence(self) -> str:
        """The reason in words."""
        unit = UNITS[self.dimension]
        if self.low is None and self.high is None:
            where = "all values score alike"
        elif self.low is None:
            where = f"up to {_number(self.high)}"
        elif self.high is None:
            where = f"more than {_number(self.low)}"
        else:
            where = f"more than {_number(self.low)}, up to {_number(self.high)}"
        return (
            f"{SCORES[self.dimension]} {self.score} of {self.scale}: "
            f"{_number(self.value)} {unit} ({where})"
        )


@dataclass(frozen=True)
class RuleReason:
    """One rule of the scheme, tried on the customer's scores.

    Attributes:
        position: From 1, in match order.
        conditions: What the rule asks, such as `R_score 4 to 5`.
        failed: What of it does not hold, such as `F_score is 2, not 3 to 5`; empty where it matched.
        reached: Whether the rule was tried at all: the first that matches wins.
    """

    position: int
    segment: str
    conditions: tuple[str, ...]
    failed: tuple[str, ...]
    reached: bool

    @property
    def matched(self) -> bool:
        return not self.failed


@dataclass(frozen=True)
class Explanation:
    """The whole way from values to segment.

    Attributes:
        fired: Position of the rule that decided; None where the fallback did, or nothing.
        rules: Every rule in match order, also those after the one that fired.
    """

    scores: tuple[ScoreReason, ...]
    rules: tuple[RuleReason, ...]
    fired: int | None
    segment: str | None

    @property
    def near_misses(self) -> tuple[RuleReason, ...]:
        """Rules of other segments that one more score would have met, in match order."""
        return tuple(
            rule
            for rule in self.rules
            if len(rule.failed) == 1 and rule.segment != self.segment and rule.reached
        )


def explain(
    row: Mapping[str, object],
    *,
    points: CutPoints,
    scheme: Scheme | None,
    segment_by: SegmentBy = "cell",
) -> Explanation:
    """Why a stored row has its scores and its segment.

    Args:
        row: A row of `customer_segments`.
        points: The cut points of its snapshot.
        scheme: The scheme of its snapshot; None where segments have no names.
        segment_by: Whether the scheme read the cell, or bands of the score.
    """
    scores = tuple(_score_reason(row, points, dimension) for dimension in SCORES)
    segment = row.get("segment")
    named = None if segment is None else str(segment)
    if scheme is None:
        return Explanation(scores, (), None, named)
    rules: list[RuleReason] = []
    fired: int | None = None
    for position, rule in enumerate(scheme.rules_on(points.scale, segment_by), start=1):
        failed = _failed(rule, row)
        rules.append(
            RuleReason(
                position=position,
                segment=rule.segment.name,
                conditions=tuple(
                    f"{column} {_range(ends)}" for column, ends in rule.ranges.items()
                ),
                failed=failed,
                reached=fired is None,
            )
        )
        if fired is None and not failed:
            fired = position
    return Explanation(scores, tuple(rules), fired, named)


def _score_reason(
    row: Mapping[str, object], points: CutPoints, dimension: Dimension
) -> ScoreReason:
    value, score = float(str(row[dimension])), int(str(row[SCORES[dimension]]))
    cuts: Sequence[float] = getattr(points, dimension)
    below = [cut for cut in cuts if cut < value]
    above = [cut for cut in cuts if cut >= value]
    low, high = (below[-1] if below else None), (above[0] if above else None)
    # Fewer days are better: the cut point under the value is the one to reach.
    better = low if dimension == "recency" else high
    return ScoreReason(
        dimension=dimension,
        value=value,
        score=score,
        scale=points.scale,
        cut_points=tuple(float(cut) for cut in cuts),
        low=low,
        high=high,
        better=better,
    )


def _failed(rule: ScaledRule, row: Mapping[str, object]) -> tuple[str, ...]:
    return tuple(
        f"{column} is {_number(value)}, not {_range(ends)}"
        for column, ends in rule.ranges.items()
        if not ends[0] <= (value := float(str(row[column]))) <= ends[1]
    )


def _range(ends: tuple[float, float]) -> str:
    low, high = ends
    return _number(low) if low == high else f"{_number(low)} to {_number(high)}"


def _number(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:,.0f}" if float(value).is_integer() else f"{value:,.2f}"
