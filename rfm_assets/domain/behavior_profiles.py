"""Industry profiles: which numbers say how customers behave, and which of them are signals.

Reading YAML does not belong here (`rfm_assets.library`), nor the proof that a profile makes sense
(`behavior_linter.py`), nor computing it (`behavior.py`).
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self, TypeAlias

from pydantic import BeforeValidator, Field, model_validator

from rfm_assets.domain.config import ConfigModel
from rfm_assets.domain.expressions import parse
from rfm_assets.domain.kinds import Kind

BEFORE = "_before"
"""Behind a metric's name: its value in the window before."""

HISTORY = "history_days"
"""Days since the customer was first seen; a metric that every profile has."""

STORED_COLUMNS = (
    "customer_id", "organization_id", "org_type", "behavior_score", "activity_trend",
    "value_trend", "engagement_trend", "risk_signals", "signals_fired", "signals_unknown", "as_of",
)  # fmt: skip
"""Columns that the table has with every profile, before those of its own signals and metrics."""

SourceName: TypeAlias = Literal["events", "transactions"]
Measure: TypeAlias = Literal[
    "count", "days", "sum", "mean", "min", "max", "distinct", "share", "repeated"
]
Urgency: TypeAlias = Literal["low", "medium", "high", "critical"]
TrendName: TypeAlias = Literal["activity", "value", "engagement"]
Name: TypeAlias = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$", max_length=60)]

URGENCIES: dict[Urgency, int] = {"low": 1, "medium": 2, "high": 3, "critical": 4}
TREND_NAMES: tuple[TrendName, ...] = ("activity", "value", "engagement")
NEEDS_OF: frozenset[Measure] = frozenset(
    {"sum", "mean", "min", "max", "distinct", "share", "repeated"}
)
FIXED_UNITS: dict[Measure, str] = {
    "count": "count", "days": "days", "distinct": "count", "share": "share", "repeated": "share",
}  # fmt: skip
COUNTED: frozenset[Measure] = frozenset({"count", "days", "sum", "distinct"})
"""Measures that are 0 where a customer has no row; the others are unknown then."""

BUILT_IN: dict[SourceName, dict[str, Kind]] = {
    "events": {"event": "text"},
    "transactions": {"amount": "number", "order_id": "text"},
}
"""Columns that the sources have without being declared."""
BUILT_IN_UNITS = {"amount": "money"}


def _listed(value: object) -> object:
    return [value] if isinstance(value, str) else value


class Input(ConfigModel):
    """An attribute of a source that a profile reads; a deployment may not have it."""

    kind: Literal["text", "number", "boolean"] = Field(
        default="text", description="What its values are."
    )
    unit: str | None = Field(default=None, description="Unit of a number, such as megabytes.")
    description: str = Field(default="", description="What it says, in words.")


class Metric(ConfigModel):
    """A number per customer over a window, and over the window before as `<name>_before`."""

    source: SourceName = Field(alias="from", description="Where the rows come from.")
    event: Annotated[tuple[str, ...], BeforeValidator(_listed)] | None = Field(
        default=None,
        description="Events that count; where none of them ever occurs, the metric is unknown.",
    )
    where: str | None = Field(default=None, description="Condition on a row; null takes all.")
    measure: Measure = Field(
        description="count of rows; days with a row; sum, mean, min or max of a number; distinct "
        "values; share of the rows where `of` is true; or repeated, the share of the rows whose "
        "value occurred in the window before, too."
    )
    of: str | None = Field(default=None, description="What is measured, where not rows or days.")
    unit: str = Field(description="Unit of the number.")
    days: int | None = Field(
        default=None, ge=1, le=3_650, description="Length of the window, if not the profile's."
    )
    description: str = Field(default="", description="What it says, in words.")

    @model_validator(mode="after")
    def _measures_something(self) -> Self:
        if self.measure in NEEDS_OF and self.of is None:
            raise ValueError(f"measure: {self.measure} needs `of`, what is measured.")
        if self.measure not in NEEDS_OF and self.of is not None:
            raise ValueError(f"measure: {self.measure} measures rows; take `of` away.")
        if self.event is not None and self.source != "events":
            raise ValueError("`event` names events, and the rows come from transactions.")
        return self

    @property
    def columns(self) -> frozenset[str]:
        """The columns of its source that it reads."""
        texts = [text for text in (self.where, self.of) if text is not None]
        found = {name for text in texts for name in parse(text).columns}
        return frozenset(found | ({"event"} if self.event else set()))


class Signal(ConfigModel):
    """A sign that a customer may leave: fired, not fired, or unknown."""

    when: str = Field(description="Condition over metrics at which it fires.")
    known_when: str | None = Field(
        default=None,
        description="Condition over metrics without which it is unknown, such as enough rows in "
        "the window before.",
    )
    urgency: Urgency = Field(default="medium", description="How much a week's delay costs.")
    description: str = Field(default="", description="What it says of a customer.")
    recommendation: str = Field(
        min_length=1,
        max_length=500,
        description="What to do; `{metric}` stands for its figure.",
    )


class Trend(ConfigModel):
    """A direction: a metric against its window before."""

    metric: str = Field(description="The metric that is compared.")
    least: float = Field(
        default=1.0,
        ge=0,
        description="Both windows together below which the trend is unknown.",
    )
    weight: float = Field(default=1.0, ge=0, le=100, description="Weight in behavior_score.")


class Example(ConfigModel):
    """A made-up customer with what must come out, run as a test."""

    name: str = Field(min_length=1, description="What it shows.")
    events: tuple[dict[str, Any], ...] = Field(
        default=(),
        description="Rows with `day` (days before as_of, from 1), `event`, attributes, and `times`.",
    )
    transactions: tuple[dict[str, Any], ...] = Field(
        default=(),
        description="Rows with `day`, `amount`, `order_id` if any, attributes, and `times`.",
    )
    fired: tuple[str, ...] = Field(default=(), description="Signals that must fire.")
    unknown: tuple[str, ...] = Field(default=(), description="Signals that must be unknown.")
    not_fired: tuple[str, ...] = Field(default=(), description="Signals that must not fire.")


class Profile(ConfigModel):
    """What is measured of the customers of an industry, and what it means."""

    id: str = Field(pattern=r"^[A-Za-z][A-Za-z0-9_-]*$", max_length=60, description="Its name.")
    version: int = Field(default=1, ge=1, description="Raise it when a rule changes.")
    title: str = Field(default="", description="One line for readers.")
    description: str = Field(default="", description="What the profile is good for.")
    window_days: int = Field(
        default=30, ge=1, le=365, description="The last days, and as many before them."
    )
    stable_within: float = Field(
        default=0.15,
        ge=0,
        lt=1,
        description="Share (0..1) by which a metric may change and still be stable.",
    )
    events: dict[Name, Input] = Field(default={}, description="Attributes of events it reads.")
    transactions: dict[Name, Input] = Field(
        default={}, description="Attributes of transactions it reads."
    )
    metrics: dict[Name, Metric] = Field(min_length=1, description="The numbers, by name.")
    signals: dict[Name, Signal] = Field(min_length=1, description="The signals, by name.")
    trends: dict[TrendName, Trend] = Field(min_length=1, description="The three directions.")
    examples: tuple[Example, ...] = Field(default=(), description="Customers to test it with.")

    @property
    def reference(self) -> str:
        """Id and version, as recorded with a snapshot: `banking@1`."""
        return f"{self.id}@{self.version}"

    def inputs(self, source: SourceName) -> dict[str, Input]:
        """The declared attributes of a source."""
        return self.events if source == "events" else self.transactions

    def kinds(self, source: SourceName) -> dict[str, Kind]:
        """What an expression over rows of a source may speak of."""
        declared: dict[str, Kind] = {n: one.kind for n, one in self.inputs(source).items()}
        return {**BUILT_IN[source], **declared}

    @property
    def numbers(self) -> dict[str, Kind]:
        """What an expression over metrics may speak of."""
        names = [name for metric in self.metrics for name in (metric, f"{metric}{BEFORE}")]
        return dict.fromkeys([*names, HISTORY], "number")

    def days(self, metric: str) -> int:
        """The length of a metric's window."""
        return self.metrics[metric].days or self.window_days

    def used(self, *texts: str | None) -> list[str]:
        """The numbers that expressions speak of, sorted."""
        return sorted({name for text in texts if text for name in parse(text).columns})

    def history_needed(self, numbers: list[str]) -> int:
        """Days that a customer must have been seen for, so that these numbers mean something."""
        needed = 0
        for number in numbers:
            if number == HISTORY:
                continue
            metric = number.removesuffix(BEFORE)
            both = number.endswith(BEFORE) or self.metrics[metric].measure == "repeated"
            needed = max(needed, self.days(metric) * (2 if both else 1))
        return needed
