"""What a reader of one snapshot should know first, in sentences with where to look on.

Only stored figures are compared. The first question of a week is whether the customers moved or the
data did, so that comes first.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from rfm_assets.serving.charts.base import count, percent
from rfm_assets.serving.queries import Queries, Row
from rfm_assets.store import Snapshot

Tone: TypeAlias = Literal["good", "bad", "neutral"]

NOTABLE_PCT = 5.0
"""A change of a total, in per cent, that is worth a word of its own."""


@dataclass(frozen=True)
class Insight:
    """One sentence, and the page that shows more of it."""

    text: str
    page: str
    tone: Tone = "neutral"


@dataclass(frozen=True)
class Totals:
    """A snapshot's totals beside those of the snapshot before."""

    customers: int
    monetary: float
    frequency_mean: float | None
    before: "Totals | None" = None

    @property
    def monetary_mean(self) -> float | None:
        return self.monetary / self.customers if self.customers else None


def totals(summary: Sequence[Row], before: Sequence[Row] | None = None) -> Totals:
    """Totals over a stored summary's segments."""
    customers = sum(row["customers"] for row in summary)
    purchases = math.fsum((row["frequency_mean"] or 0) * row["customers"] for row in summary)
    return Totals(
        customers=customers,
        monetary=round(math.fsum(row["monetary_total"] for row in summary), 4),
        frequency_mean=purchases / customers if customers else None,
        before=totals(before) if before else None,
    )


def data_or_customers(queries: Queries, snapshot: Snapshot) -> list[Insight]:
    """Whether this snapshot was made like the one before: the same rules, the same data."""
    before = queries.catalogue.before(snapshot)
    if before is None:
        return [
            Insight("This is the first snapshot: there is nothing to compare it with.", "quality")
        ]
    found: list[Insight] = []
    if before.manifest.config_hash != snapshot.manifest.config_hash:
        found.append(
            Insight(
                f"The configuration has changed since {before.as_of}: part of what moved is the "
                "rules, not the customers.",
                "quality",
                "bad",
            )
        )
    changed = sorted(
        name
        for name, version in snapshot.manifest.made_from().items()
        if before.manifest.inputs.get(name) != version
    )
    if changed:
        found.append(
            Insight(
                f"{', '.join(changed)} was read anew since {before.as_of}: late or corrected rows "
                "may be part of what moved.",
                "quality",
            )
        )
    if not found:
        found.append(
            Insight(
                f"Same rules and same data as for {before.as_of}: what moved are the customers.",
                "movement",
                "good",
            )
        )
    drift = next((c for c in snapshot.manifest.checks if c.name == "drift"), None)
    if drift is not None:
        tone: Tone = "neutral" if drift.passed else "bad"
        found.append(Insight(f"Shift of the segments: {drift.observed}.", "movement", tone))
    return found


def failed_checks(snapshots: Sequence[Snapshot]) -> list[Insight]:
    """Checks of the shown snapshots that failed."""
    return [
        Insight(f"{one.table}: {check.name.replace('_', ' ')}: {check.observed}.", "quality", "bad")
        for one in snapshots
        for check in one.manifest.checks
        if not check.passed
    ]


def of_segments(
    summary: Sequence[Row], figures: Totals, name: Callable[[str], str] = str
) -> list[Insight]:
    """What stands out in sizes and value; `name` says how a segment is shown."""
    found: list[Insight] = []
    before = figures.before
    if before is not None and before.monetary > 0:
        change = 100 * (figures.monetary - before.monetary) / before.monetary
        if abs(change) >= NOTABLE_PCT:
            found.append(
                Insight(
                    f"Net spend in the window changed by {change:+.1f} %.",
                    "segments",
                    "good" if change > 0 else "bad",
                )
            )
    valued = [row for row in summary if row["monetary_pct"] is not None]
    top = max(valued, key=lambda r: (r["monetary_pct"], r["segment"]), default=None)
    if top is not None:
        found.append(
            Insight(
                f"{name(top['segment'])} bring {percent(top['monetary_pct'])} of the spend with "
                f"{percent(top['customers_pct'])} of the customers.",
                "segments",
            )
        )
    grown = [row for row in summary if row["customers_change"]]
    if grown:
        most = max(grown, key=lambda r: (abs(r["customers_change"]), r["segment"]))
        found.append(
            Insight(
                f"{name(most['segment'])} changed most: {most['customers_change']:+,} customers.",
                "movement",
            )
        )
    empty = [name(row["segment"]) for row in summary if not row["customers"]]
    if empty:
        found.append(Insight(f"Nobody is in {', '.join(empty)}.", "segments"))
    return found


def of_movement(
    moves: Sequence[Row], priorities: dict[str, int], name: Callable[[str], str] = str
) -> list[Insight]:
    """The largest move to a segment that waits least well."""
    urgent = [
        row
        for row in moves
        if row["from_segment"] != row["to_segment"]
        and row["from_segment"] != "(new)"
        and priorities.get(row["to_segment"], 0) > priorities.get(row["from_segment"], 0)
        and row["to_segment"] != "(left)"
    ]
    found: list[Insight] = []
    lost = sum(row["customers"] for row in moves if row["to_segment"] == "(left)")
    new = sum(row["customers"] for row in moves if row["from_segment"] == "(new)")
    if new or lost:
        found.append(Insight(f"{count(new)} customers came in, {count(lost)} left.", "movement"))
    if urgent:
        top = max(urgent, key=lambda r: (r["monetary_before"], r["to_segment"]))
        found.append(
            Insight(
                f"{count(top['customers'])} customers went from {name(top['from_segment'])} to "
                f"{name(top['to_segment'])}, who spent {top['monetary_before']:,.2f} before.",
                "movement",
            )
        )
    return found


def of_behavior(queries: Queries, snapshot: Snapshot) -> list[Insight]:
    """The signal to look at first."""
    fired = [r for r in queries.whole(snapshot, "insights") if r["affected_customers"]]
    if not fired:
        return []
    first = min(fired, key=lambda r: r["rank"])
    return [
        Insight(
            f"{first['signal'].replace('_', ' ').capitalize()} affects "
            f"{count(first['affected_customers'])} customers ({first['urgency']} urgency).",
            "behavior",
            "bad" if first["urgency"] in {"high", "critical"} else "neutral",
        )
    ]


MOST_LISTS = 3
"""Lists that have a sentence of their own; of more, the longest do."""


def of_campaigns(snapshots: Sequence[Snapshot]) -> list[Insight]:
    """How many customers can be sent each list, the longest first, and all others together."""
    ordered = sorted(snapshots, key=lambda one: (-one.manifest.row_counts["rows"], one.table))
    room = len(ordered) if len(ordered) <= MOST_LISTS + 1 else MOST_LISTS
    found = [
        Insight(
            f"{one.table}: {count(one.manifest.row_counts['rows'])} customers can be contacted, "
            f"{_in_control(one)}{count(one.manifest.row_counts.get('excluded', 0))} are left out.",
            f"campaigns?list={one.table}",
        )
        for one in ordered[:room]
    ]
    rest = ordered[room:]
    if rest:
        more = sum(one.manifest.row_counts["rows"] for one in rest)
        empty = [one.table for one in rest if not one.manifest.row_counts["rows"]]
        nobody = f"; nobody is on {', '.join(empty)}" if empty else ""
        found.append(
            Insight(f"{len(rest)} other lists have {count(more)} customers{nobody}.", "campaigns")
        )
    return found


def _in_control(snapshot: Snapshot) -> str:
    held = snapshot.manifest.row_counts.get("control", 0)
    return f"{count(held)} are in control, " if held else ""
