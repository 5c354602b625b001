"""Segment schemes: what each combination of scores is called, as data.

Reading YAML does not belong here (`rfm_assets.library`), nor the proof that a scheme gives every
cell exactly one segment (`scheme_linter.py`), nor anything computed on customers (`segments.py`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from typing import Annotated, Literal, Self, TypeAlias

from pydantic import BeforeValidator, Field, FiniteFloat, field_validator, model_validator

from rfm_assets.domain.config import ConfigModel
from rfm_assets.domain.distribution import NO_SEGMENT
from rfm_assets.domain.history import LEFT, NEW
from rfm_assets.errors import UnknownSegment

Cell: TypeAlias = tuple[int, int, int]
"""The scores of recency, frequency and monetary, in this order."""

SegmentBy: TypeAlias = Literal["cell", "score_bands"]


def _pair(value: object) -> object:
    """A single number is the range of just that number."""
    return [value, value] if isinstance(value, int | float) else value


Scores: TypeAlias = Annotated[tuple[int, int], BeforeValidator(_pair)]
Band: TypeAlias = Annotated[tuple[FiniteFloat, FiniteFloat], BeforeValidator(_pair)]
Line: TypeAlias = Annotated[str, Field(min_length=1, max_length=500)]


class Segment(ConfigModel):
    """One segment: how it is called and shown, and what to do with its customers."""

    id: str = Field(
        pattern=r"^[a-z][a-z0-9_]*$",
        max_length=60,
        description="Name in files and rules: lower case letters, digits and underscores.",
    )
    name: str = Field(
        min_length=1,
        max_length=60,
        description="Name as stored and shown; (new), (left) and (none) are taken.",
    )
    aliases: tuple[Line, ...] = Field(default=(), description="Other names that are understood.")
    color: str = Field(
        default="#8C8C8C", pattern=r"^#[0-9A-Fa-f]{6}$", description="Colour in charts, #RRGGBB."
    )
    description: str = Field(default="", description="Who these customers are, in one sentence.")
    characteristics: tuple[Line, ...] = Field(
        default=(), description="What is typical of them, one statement each."
    )
    recommendation: str | None = Field(
        default=None, description="What to do, in one sentence; stored with every customer."
    )
    actions: tuple[Line, ...] = Field(default=(), description="Example actions.")
    priority: int = Field(
        default=3, ge=1, le=5, description="How much a week's delay costs, 1 little to 5 most."
    )

    @field_validator("name")
    @classmethod
    def _not_taken(cls, name: str) -> str:
        if name.strip().casefold() in {NEW, LEFT, NO_SEGMENT}:
            raise ValueError(
                f"{name!r} stands for customers who come, leave or have no segment in "
                "segment_movement and segment_summary. Choose another name."
            )
        return name


class NamedSegments(ConfigModel):
    """What a segment scheme and a decision table share: segments, and which is left for the rest.

    Each adds its own `rules`, of which the first that matches wins.
    """

    id: str = Field(pattern=r"^[A-Za-z][A-Za-z0-9_-]*$", max_length=60, description="Its name.")
    version: int = Field(default=1, ge=1, description="Raise it when a rule changes.")
    title: str = Field(default="", description="One line for readers.")
    description: str = Field(default="", description="What it is good for.")
    overlaps: Literal["allow", "forbid"] = Field(
        default="allow",
        description="Whether rules of different segments may match the same scores or categories "
        "(the first wins), or that is an error.",
    )
    fallback: str | None = Field(
        default=None, description="Id of the segment of customers whom no rule matches."
    )
    segments: tuple[Segment, ...] = Field(min_length=1, description="In the order shown.")

    @property
    def reference(self) -> str:
        """Id and version, as recorded with a snapshot: `rfm_10@1`."""
        return f"{self.id}@{self.version}"

    @property
    def names(self) -> tuple[str, ...]:
        """The segments' names in the order shown."""
        return tuple(segment.name for segment in self.segments)

    @property
    def fallback_segment(self) -> Segment | None:
        """The segment of what no rule matches."""
        return self._by_id[self.fallback] if self.fallback else None

    @cached_property
    def _by_id(self) -> dict[str, Segment]:
        return {segment.id: segment for segment in self.segments}


class Rule(ConfigModel):
    """A segment and the scores that lead to it. A score that is not named may be any."""

    segment: str = Field(description="Id of the segment.")
    r: Scores | None = Field(default=None, description="R_score, a number or [from, to].")
    f: Scores | None = Field(default=None, description="F_score, a number or [from, to].")
    m: Scores | None = Field(default=None, description="M_score, a number or [from, to].")
    score: Band | None = Field(
        default=None,
        description="RFM_score as [from, to], both ends included; for segment_by: score_bands.",
    )

    @model_validator(mode="after")
    def _one_reading(self) -> Self:
        if self.score is not None and (self.r or self.f or self.m):
            raise ValueError(
                "names `score` beside r, f or m. Write two rules: one of them is read with "
                "segment_by: score_bands, the other with segment_by: cell."
            )
        for name in ("r", "f", "m", "score"):
            ends = getattr(self, name)
            if ends is not None and ends[0] > ends[1]:
                low, high = sorted(ends)
                raise ValueError(f"{name}: [{ends[0]}, {ends[1]}] is empty: [{low}, {high}]?")
        return self

    @property
    def reads(self) -> SegmentBy:
        """Which way of segmenting this rule belongs to."""
        return "cell" if self.score is None else "score_bands"

    def matches(self, cell: Cell) -> bool:
        """Whether a rule that reads cells matches this one, on the scheme's own scale."""
        ranges = (self.r, self.f, self.m)
        return all(
            ends is None or ends[0] <= score <= ends[1]
            for ends, score in zip(ranges, cell, strict=True)
        )

    def matches_score(self, value: float) -> bool:
        """Whether a rule that reads the score matches this one, on the scheme's own scale."""
        return self.score is not None and self.score[0] <= value <= self.score[1]


@dataclass(frozen=True)
class ScaledRule:
    """A rule on the scale of the scores at hand; `ranges` maps a column to [low, high]."""

    segment: Segment
    ranges: dict[str, tuple[float, float]]


class Scheme(NamedSegments):
    """Segments and the ordered rules that lead to them; the first rule that matches wins."""

    scale: int = Field(
        default=5,
        ge=2,
        le=10,
        description="The highest score that the rules are written for; other scales are mapped.",
    )
    rules: tuple[Rule, ...] = Field(min_length=1, description="In match order.")

    @property
    def spellings(self) -> dict[str, Segment]:
        """Every id, name and alias, folded, with its segment."""
        return {
            _folded(spelling): segment
            for segment in self.segments
            for spelling in (segment.id, segment.name, *segment.aliases)
        }

    def segment_called(self, word: str, *, key: str) -> Segment:
        """The segment with this id, name or alias; case, spaces and apostrophes do not matter.

        Raises:
            UnknownSegment: The scheme has no such segment; `key` is where the word stands.
        """
        found = self.spellings.get(_folded(word))
        if found is None:
            aliases = [alias for segment in self.segments for alias in segment.aliases]
            raise UnknownSegment(segment=word, key=key, known=self.names, spellings=aliases)
        return found

    def reads(self, segment_by: SegmentBy) -> bool:
        """Whether the scheme has rules for this way of segmenting."""
        return any(rule.reads == segment_by for rule in self.rules)

    def segment_of(self, cell: Cell, *, scale: int) -> Segment | None:
        """The segment of one cell of scores 1..scale; None where no rule matches."""
        r, f, m = (mapped(score, scale=scale, onto=self.scale) for score in cell)
        for rule in self.rules:
            if rule.reads == "cell" and rule.matches((r, f, m)):
                return self._by_id[rule.segment]
        return self.fallback_segment

    def cells(self, *, scale: int) -> Iterator[tuple[Cell, Segment | None]]:
        """Every cell of scores 1..scale with its segment, ascending."""
        scores = range(1, scale + 1)
        for cell in product(scores, scores, scores):
            yield cell, self.segment_of(cell, scale=scale)

    def rules_on(self, scale: int, segment_by: SegmentBy) -> list[ScaledRule]:
        """The rules of one way of segmenting, for scores 1..scale, in match order.

        A rule whose scores do not occur on that scale (R 3 with quartiles) is left out.
        """
        scaled: list[ScaledRule] = []
        for rule in self.rules:
            if rule.reads != segment_by:
                continue
            ranges = self._ranges_on(scale, rule)
            if ranges is not None:
                scaled.append(ScaledRule(self._by_id[rule.segment], ranges))
        return scaled

    def _ranges_on(self, scale: int, rule: Rule) -> dict[str, tuple[float, float]] | None:
        if rule.score is not None:
            low, high = (_stretched(end, self.scale, scale) for end in rule.score)
            return {"RFM_score": (low, high)}
        ranges: dict[str, tuple[float, float]] = {}
        for column, ends in (("R_score", rule.r), ("F_score", rule.f), ("M_score", rule.m)):
            if ends is None:
                continue
            scores = [
                score
                for score in range(1, scale + 1)
                if ends[0] <= mapped(score, scale=scale, onto=self.scale) <= ends[1]
            ]
            if not scores:
                return None
            ranges[column] = (scores[0], scores[-1])
        return ranges


def mapped(score: int, *, scale: int, onto: int) -> int:
    """A score of 1..scale on 1..onto, by the linear map, halves rounded up.

    Quartiles onto 1..5: 1, 2, 4, 5. Deciles onto 1..5: 1, 1, 2, 2, 3, 3, 4, 4, 5, 5.
    """
    steps, wanted = scale - 1, onto - 1
    return 1 + (2 * (score - 1) * wanted + steps) // (2 * steps)


def _stretched(value: float, scale: int, onto: int) -> float:
    return value if scale == onto else 1 + (value - 1) * (onto - 1) / (scale - 1)


def _folded(word: str) -> str:
    return "".join(letter for letter in word.casefold() if letter.isalnum())


def cell_text(cell: Sequence[int]) -> str:
    """A cell as written in messages: 1-1-4."""
    return "-".join(str(score) for score in cell)
