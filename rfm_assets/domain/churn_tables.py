"""Decision tables: the segment of each combination of categories and churn risk, as data.

Reading YAML does not belong here (`rfm_assets.library`), nor the proof that a table decides every
combination (`churn_linter.py`), nor how customers get their categories (`churn.py`).
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from typing import Annotated, Literal, TypeAlias, get_args

from pydantic import BeforeValidator, Field

from rfm_assets.domain.config import ConfigModel
from rfm_assets.domain.schemes import NamedSegments, Segment

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


class DecisionTable(NamedSegments):
    """Segments and the ordered rules that lead to them; the first rule that matches wins."""

    rules: tuple[Decision, ...] = Field(min_length=1, description="In match order.")

    def rule_of(self, combination: Combination) -> int | None:
        """The position of the rule that decides; None where the fallback does, or nothing."""
        matching = (i for i, rule in enumerate(self.rules) if rule.matches(combination))
        return next(matching, None)

    def segment_of(self, combination: Combination) -> Segment | None:
        """The segment of one combination; None where neither a rule nor the fallback decides."""
        rule = self.rule_of(combination)
        if rule is not None:
            return self._by_id[self.rules[rule].segment]
        return self.fallback_segment

    def decisions(self) -> Iterator[tuple[Segment, Decision | None]]:
        """The rules in match order with their segments, and last the fallback."""
        for rule in self.rules:
            yield self._by_id[rule.segment], rule
        if self.fallback_segment is not None:
            yield self.fallback_segment, None


def combinations() -> list[Combination]:
    """All 324 of them."""
    return list(product(CATEGORIES, CATEGORIES, CATEGORIES, CATEGORIES, RISK_LEVELS))


def combination_text(combination: Combination) -> str:
    """A combination as written in messages: R High, F Low, M Low, E Low, risk Critical."""
    *categories, risk = combination
    parts = [f"{name} {one}" for name, one in zip("RFME", categories, strict=True)]
    return ", ".join([*parts, f"risk {risk}"])
