"""Decision tables: the segment of each combination of categories and churn risk, as data.

Reading YAML does not belong here (`rfm_assets.library`), nor the proof that a table decides every
combination (`churn_linter.py`), nor how customers get their categories (`churn.py`).
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from itertools import product
from typing import Annotated, Literal, TypeAlias, get_args

from pydantic import BeforeValidator, Field

from rfm_assets.domain.config import ConfigModel
from rfm_assets.domain.schemes import Segment

Category: TypeAlias = Literal["Low", "Medium", "High"]
RiskLevel: TypeAlias = Literal["Low", "Medium", "High", "Critical"]
Combination: TypeAlias = tuple[Category, Category, Category, Category, RiskLevel]
"""Categories of recency, frequency, monetary and engagement, and the level of churn risk."""

CATEGORIES: tuple[Category, ...] = get_args(Category)
RISK_LEVELS: tuple[RiskLevel, ...] = get_args(RiskLevel)


def _listed(value: object) -> object:
    return [value] if isinstance(value, str) else value


Categories: TypeAlias = Annotated[
    tuple[Category, ...], BeforeValidator(_listed), Field(min_length=1)
]
Levels: TypeAlias = Annotated[tuple[RiskLevel, ...], BeforeValidator(_listed), Field(min_length=1)]


class Decision(ConfigModel):
    """A segment and the combinations that lead to it. What is not named may be anything."""

    segment: str = Field(description="Id of the segment.")
    r: Categories | None = Field(default=None, description="Recency: High is recent.")
    f: Categories | None = Field(default=None, description="Frequency.")
    m: Categories | None = Field(default=None, description="Monetary.")
    e: Categories | None = Field(default=None, description="Engagement.")
    risk: Levels | None = Field(default=None, description="Level of the churn risk.")

    def matches(self, combination: Combination) -> bool:
        """Whether the rule matches."""
        asked = (self.r, self.f, self.m, self.e, self.risk)
        pairs = zip(asked, combination, strict=True)
        return all(allowed is None or one in allowed for allowed, one in pairs)


class DecisionTable(ConfigModel):
    """Segments and the ordered rules that lead to them; the first rule that matches wins."""

    id: str = Field(pattern=r"^[A-Za-z][A-Za-z0-9_-]*$", max_length=60, description="Its name.")
    version: int = Field(default=1, ge=1, description="Raise it when a rule changes.")
    title: str = Field(default="", description="One line for readers.")
    description: str = Field(default="", description="What the table is good for.")
    overlaps: Literal["allow", "forbid"] = Field(
        default="allow",
        description="Whether rules of different segments may match the same combination (the "
        "first wins), or that is an error.",
    )
    fallback: str | None = Field(
        default=None, description="Id of the segment of combinations that no rule matches."
    )
    segments: tuple[Segment, ...] = Field(min_length=1, description="In the order shown.")
    rules: tuple[Decision, ...] = Field(min_length=1, description="In match order.")

    @property
    def reference(self) -> str:
        """Id and version, as recorded with a snapshot: `churn_11@1`."""
        return f"{self.id}@{self.version}"

    @property
    def names(self) -> tuple[str, ...]:
        """The segments' names in the order shown."""
        return tuple(segment.name for segment in self.segments)

    @cached_property
    def _by_id(self) -> dict[str, Segment]:
        return {segment.id: segment for segment in self.segments}

    def rule_of(self, combination: Combination) -> int | None:
        """The position of the rule that decides; None where the fallback does, or nothing."""
        matching = (i for i, rule in enumerate(self.rules) if rule.matches(combination))
        return next(matching, None)

    def segment_of(self, combination: Combination) -> Segment | None:
        """The segment of one combination; None where neither a rule nor the fallback decides."""
        rule = self.rule_of(combination)
        if rule is not None:
            return self._by_id[self.rules[rule].segment]
        return self._by_id[self.fallback] if self.fallback else None

    def decisions(self) -> Iterator[tuple[Segment, Decision | None]]:
        """The rules in match order with their segments, and last the fallback."""
        for rule in self.rules:
            yield self._by_id[rule.segment], rule
        if self.fallback is not None:
            yield self._by_id[self.fallback], None


def combinations() -> list[Combination]:
    """All 324 of them."""
    return list(product(CATEGORIES, CATEGORIES, CATEGORIES, CATEGORIES, RISK_LEVELS))


def combination_text(combination: Combination) -> str:
    """A combination as written in messages: R High, F Low, M Low, E Low, risk Critical."""
    *categories, risk = combination
    parts = [f"{name} {one}" for name, one in zip("RFME", categories, strict=True)]
    return ", ".join([*parts, f"risk {risk}"])
