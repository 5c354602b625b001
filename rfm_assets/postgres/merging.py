"""The rows of one snapshot in one table: made equal to the staged ones, touching only what differs.

Everything is built from SQLAlchemy's expressions. When that happens, and whether it stays, is
decided in `publishing.py`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import pyarrow as pa
import sqlalchemy as sa

from rfm_assets.postgres.copying import Contents, contents_of_files, contents_of_table, copy_rows
from rfm_assets.postgres.layout import AS_OF, STAMPS, Place
from rfm_assets.store import Snapshot


@dataclass(frozen=True)
class Merged:
    """Rows by what became of them."""

    inserted: int
    updated: int
    deleted: int


@dataclass(frozen=True)
class Rows:
    """One part of a snapshot, and the table that it goes to.

    `stored` are the columns to publish by their names there, `table` has every column there is.
    """

    snapshot: Snapshot
    part: str
    place: Place
    table: sa.Table
    stored: Mapping[str, pa.Field]

    @property
    def of_source(self) -> sa.ColumnElement[bool]:
        """True for the rows of this stored table, whatever their date."""
        if self.place.named_by is None:
            return sa.true()
        return self.table.c[self.place.named_by] == self.snapshot.table

    @property
    def of_snapshot(self) -> sa.ColumnElement[bool]:
        """True for the rows of this snapshot."""
        if not self.place.dated:
            return self.of_source
        return sa.and_(self.of_source, self.table.c[AS_OF] == self.snapshot.as_of)

    @property
    def columns(self) -> list[str]:
        """What a published snapshot fills, in Postgres' spelling."""
        return sorted(self.stored)

    @cached_property
    def in_store(self) -> Contents:
        return contents_of_files(self.snapshot.files(self.part), self._money)

    def in_table(self, connection: sa.Connection) -> Contents:
        """What the table holds of this snapshot now."""
        return contents_of_table(connection, self.table, list(self._money), self.of_snapshot)

    def merge(self, connection: sa.Connection) -> Merged:
        """Stage the stored rows, then delete, update and insert what differs.

        A column that the snapshot does not have becomes empty. Rows without a key are replaced.
        """
        staged = self._stage(connection)
        here, key = self.table, self.place.key
        same = sa.and_(sa.true(), *(here.c[name] == staged.c[name] for name in key))
        if key:
            gone = sa.and_(self.of_snapshot, ~sa.exists().where(same))
            deleted = connection.execute(sa.delete(here).where(gone)).rowcount
            updated = self._update(connection, staged, same)
            new = ~sa.exists().where(self.of_snapshot, same)
        else:
            deleted = connection.execute(sa.delete(here).where(self.of_snapshot)).rowcount
            updated, new = 0, sa.true()
        names = [column.name for column in here.columns]
        rows = sa.select(*(staged.c[name] for name in names)).where(new)
        inserted = connection.execute(sa.insert(here).from_select(names, rows)).rowcount
        return Merged(inserted, updated, deleted)

    def delete_other_dates(self, connection: sa.Connection) -> int:
        """Remove this stored table's rows of every other date."""
        others = sa.and_(self.of_source, self.table.c[AS_OF] != self.snapshot.as_of)
        return connection.execute(sa.delete(self.table).where(others)).rowcount

    @property
    def _money(self) -> dict[str, pa.Field]:
        return {
            name: self.stored[name]
            for name in self.place.money
            if name in self.stored and pa.types.is_floating(self.stored[name].type)
        }

    def _stage(self, connection: sa.Connection) -> sa.Table:
        staged = sa.Table(
            f"staged_{self.place.name}",
            sa.MetaData(),
            *(sa.Column(column.name, column.type) for column in self.table.columns),
            prefixes=["TEMPORARY"],
            postgresql_on_commit="DROP",
        )
        staged.create(connection)
        known = {self.place.named_by: self.snapshot.table, AS_OF: self.snapshot.as_of}
        constants = {name: known[name] for name in self.place.added if name not in self.stored}
        files = self.snapshot.files(self.part)
        copy_rows(connection, staged, files, self.stored, constants)
        return staged

    def _update(
        self, connection: sa.Connection, staged: sa.Table, same: sa.ColumnElement[bool]
    ) -> int:
        """Update what differs; rows that were only computed anew get their time, and do not count."""
        here, changed = self.table, 0
        values = {c.name: staged.c[c.name] for c in here.columns if c.name not in self.place.key}
        stamps = {name: value for name, value in values.items() if name in STAMPS}
        for compared in (values.keys() - stamps.keys(), stamps.keys()):
            differs = [here.c[name].is_distinct_from(values[name]) for name in sorted(compared)]
            if differs:
                update = sa.update(here).where(self.of_snapshot, same, sa.or_(*differs))
                rows = connection.execute(update.values(values)).rowcount
                changed += rows if compared != stamps.keys() else 0
        return changed
