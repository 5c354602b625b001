"""What a report can show: the stored tables that belong to one snapshot of segments.

What is drawn of them is `report_sections.py`'s business, how the page looks `report.py`'s.
"""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import date

from rfm_assets.domain.schemes import Scheme
from rfm_assets.errors import SnapshotGone
from rfm_assets.serving.catalogue import StoredTable
from rfm_assets.serving.charts.base import Palette
from rfm_assets.serving.queries import DATES, Queries, Row
from rfm_assets.serving.settings import ServingSettings
from rfm_assets.store import Snapshot

SEGMENTS = "customer_segments"


@dataclass(frozen=True)
class Contents:
    """One snapshot of segments and all that is stored about the same customers at its date.

    Attributes:
        others: The other tables' snapshots of that date, by name.
        stale: Those among them that were made from another version of the segments.
    """

    queries: Queries
    snapshot: Snapshot
    settings: ServingSettings
    others: tuple[Snapshot, ...]
    stale: tuple[Snapshot, ...]

    @property
    def as_of(self) -> date:
        """The date of the report."""
        if self.snapshot.as_of is None:
            raise TypeError("a snapshot of segments has a date")
        return self.snapshot.as_of

    @property
    def scheme(self) -> Scheme | None:
        return self.queries.scheme(self.snapshot)

    @property
    def before(self) -> Snapshot | None:
        return self.queries.catalogue.before(self.snapshot)

    def palette(self, colors: dict[str, str] | None = None) -> Palette:
        """Colours and names of segments: the scheme's where none are given."""
        scheme = self.scheme
        if colors is None:
            colors = {one.name: one.color for one in scheme.segments} if scheme else {}
        return Palette(
            colors, instead=self.settings.segment_colors, names=self.settings.segment_names
        )

    def all(self, kind: str) -> list[Snapshot]:
        """The snapshots of a kind, by name."""
        return [one for one in self.others if one.manifest.kind == kind]

    def one(self, kind: str) -> Snapshot | None:
        """The snapshot of a kind; the one called like it, or the first, where there are several."""
        found = self.all(kind)
        return next((one for one in found if one.table == kind), found[0] if found else None)

    def earlier(self, table: str) -> list[Snapshot]:
        """The table's snapshots up to the date of the report, ascending.

        Later ones are left out, so that a report of an old week stays what it was.
        """
        return self.queries.catalogue.series(table, DATES, until=self.as_of)

    def over_time(self, table: str, columns: Sequence[str]) -> list[Row]:
        """Rows of a small table at each date up to that of the report."""
        return self.queries.over_time(table, columns=columns, until=self.as_of)


def contents(queries: Queries, snapshot: Snapshot, settings: ServingSettings) -> Contents:
    """What belongs to a snapshot of segments, found by what each table says it was made of."""
    tables = queries.catalogue.tables()
    others = [
        found
        for table in tables.values()
        if table.name != snapshot.table
        and table.kind != SEGMENTS
        and (found := _at(queries, table, snapshot)) is not None
        and _belongs(found, snapshot, tables)
    ]
    stale = [
        one
        for one in others
        if one.manifest.inputs.get(snapshot.table, snapshot.version) != snapshot.version
    ]
    return Contents(queries, snapshot, settings, tuple(others), tuple(stale))


def _at(queries: Queries, table: StoredTable, snapshot: Snapshot) -> Snapshot | None:
    """The table's snapshot of that date; of a table without dates the version that was read."""
    version = None if table.dates else snapshot.manifest.inputs.get(table.name)
    if version is not None:
        with suppress(SnapshotGone):
            return queries.catalogue.snapshot(table.name, None, version)
    return queries.catalogue.at(table, snapshot.as_of)


def _belongs(one: Snapshot, snapshot: Snapshot, tables: dict[str, StoredTable]) -> bool:
    made_of, sources = set(one.manifest.inputs), set(snapshot.manifest.inputs)
    if snapshot.table in made_of or one.table in sources or not made_of or not sources:
        return True
    if any(name in tables and tables[name].kind == SEGMENTS for name in made_of):
        return False  # it is about the segments of another table
    return bool(made_of & sources)
