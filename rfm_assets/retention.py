"""Which snapshots are kept for how long, and the removal of the others.

A table's own newest snapshot is what its age is counted from, so that no clock decides what is lost,
and a table that is not computed any more keeps its last weeks. What goes is taken out of sight
first; its files follow once nobody can be reading them any more (`store.py`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Literal, TypeAlias

from pydantic import Field, model_validator

from rfm_assets.domain.config import ConfigModel
from rfm_assets.store import Snapshot, Store

_MONTHS = 12

Fate: TypeAlias = Literal["retired", "removed"]


class RetentionPolicy(ConfigModel):
    """How long snapshots are kept: all of the last weeks, then one of each month."""

    weeks: int = Field(
        ge=1, le=5_200, description="Weeks of which every snapshot stays", examples=[104]
    )
    then: Literal["monthly", "nothing"] = Field(
        default="nothing",
        description="What stays of older ones: the last of each month, or nothing",
    )
    for_months: int | None = Field(
        default=None,
        ge=1,
        description="How many months the monthly ones go back; by default for ever",
        examples=[36],
    )
    cron_schedule: str = Field(
        default="0 3 * * 3",
        description="When the job `prune_store` runs, as a cron expression in UTC",
    )

    @model_validator(mode="after")
    def _months_mean_something(self) -> RetentionPolicy:
        if self.for_months is not None and self.then != "monthly":
            message = "for_months has no effect without `then: monthly`. Add it, or remove the key."
            raise ValueError(message)
        return self

    def keeps(self, dates: Sequence[date]) -> set[date]:
        """Those of a table's dates that stay; the newest always does."""
        if not dates:
            return set()
        newest = max(dates)
        recent = newest - timedelta(weeks=self.weeks)
        kept = {day for day in dates if day > recent} | {newest}
        if self.then == "nothing":
            return kept
        last_of_month: dict[int, date] = {}
        for day in sorted(dates):
            last_of_month[_month(day)] = day
        oldest = None if self.for_months is None else _month(recent) - self.for_months
        return kept | {
            day for month, day in last_of_month.items() if oldest is None or month > oldest
        }


@dataclass(frozen=True)
class Pruned:
    """One snapshot that is past its time.

    Attributes:
        fate: `retired`: nobody finds it any more, its files follow after the readers' time;
            `removed`: the files are gone.
    """

    table: str
    as_of: date
    fate: Fate

    def sentence(self) -> str:
        """What became of it, for a log."""
        told = {
            "retired": "is out of sight; its files go by the next pruning, an hour from now",
            "removed": "is removed with its files",
        }
        return f"{self.table} as of {self.as_of} {told[self.fate]}."


def prune(store: Store, policy: RetentionPolicy, *, dry_run: bool = False) -> list[Pruned]:
    """Take snapshots past their time out of sight, and remove those that were before.

    What a kept snapshot was made from stays as well, also if its own time is over, because it
    explains the other one. Those of other dates, which it was compared with or looked back at, need
    not: each week would keep the one before it.

    Args:
        store: What is stored.
        policy: What stays.
        dry_run: Only say what would go.

    Returns:
        What became of each, by table and date.
    """
    found: list[Pruned] = []
    if not dry_run:
        for table in store.tables():
            found += [Pruned(table, day, "removed") for day in store.drop_retired(table)]
    for table, day in past_their_time(store, policy):
        if not dry_run:
            store.retire(table, day)
        found.append(Pruned(table, day, "retired"))
    return sorted(found, key=lambda one: (one.table, one.as_of))


def past_their_time(store: Store, policy: RetentionPolicy) -> list[tuple[str, date]]:
    """The snapshots that nothing keeps, by table and date."""
    dates = {table: store.dates(table) for table in store.tables()}
    kept = {(table, day) for table, days in dates.items() for day in policy.keeps(days)}
    going = {(table, day) for table, days in dates.items() for day in days} - kept
    if not going:
        return []
    snapshots = {place: store.snapshot(*place) for place in going}
    by_version = {
        (one.table, version): place
        for place, one in snapshots.items()
        for version in (one.version, *one.manifest.rewrites)
    }
    rest = [store.snapshot(*place) for place in sorted(kept)]
    # Who has no dates is kept, too, and may name some.
    rest += [
        store.snapshot(table, None) for table, days in dates.items() if _undated(store, table, days)
    ]
    while rest:
        needed = {by_version[name] for name in _made_from(rest) if name in by_version} & going
        going -= needed
        rest = [snapshots[place] for place in needed]
    return sorted(going)


def _undated(store: Store, table: str, days: Sequence[date]) -> bool:
    return not days and not store.retired(table) and bool(store.version_folders(table, None))


def _made_from(snapshots: Iterable[Snapshot]) -> Iterator[tuple[str, str]]:
    for one in snapshots:
        yield from one.manifest.made_from().items()


def _month(day: date) -> int:
    return day.year * _MONTHS + day.month
