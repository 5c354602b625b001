"""What a section of a report is made of, and the few numbers that several of them name."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date

from rfm_assets.serving.charts.base import Chart
from rfm_assets.store import Snapshot


@dataclass(frozen=True)
class Figure:
    """One number at the head of a section, with what it is compared with."""

    label: str
    value: str
    note: str = ""


@dataclass(frozen=True)
class SegmentCard:
    """One segment in words: what it asks for, and what to do."""

    name: str
    color: str
    customers: int | None
    description: str
    ways: tuple[str, ...] = ()
    priority: int = 0
    recommendation: str = ""
    actions: tuple[str, ...] = ()
    characteristics: tuple[str, ...] = ()


@dataclass(frozen=True)
class Section:
    """One part of the report."""

    key: str
    title: str
    intro: str = ""
    figures: Sequence[Figure] = ()
    statements: Sequence[str] = ()
    warnings: Sequence[str] = ()
    failures: Sequence[str] = ()
    criteria: Sequence[SegmentCard] = ()
    advice: Sequence[SegmentCard] = ()
    charts: Sequence[Chart] = field(default=())


def day(when: date | None) -> str:
    """A date as people write it."""
    return "all dates" if when is None else f"{when.day} {when:%B %Y}"


def customers_of(snapshot: Snapshot) -> int:
    """Rows of a table that has one for each customer."""
    return snapshot.manifest.row_counts["rows"]


def excluded_of(snapshot: Snapshot) -> int:
    """Customers who were left out of it."""
    return snapshot.manifest.row_counts.get("excluded", 0)
