"""The control table: which version of which snapshot is published in which table.

What follows from that is decided in `publishing.py`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

from rfm_assets.postgres.layout import control_table


@dataclass(frozen=True)
class Control:
    """What is recorded of one stored table, `source`, in one published one."""

    connection: sa.Connection
    schema: str
    table: str
    source: str

    def published(self, as_of: date | None) -> tuple[str, list[str]] | None:
        """The version of a snapshot that is published, and the columns that it filled."""
        found = self.connection.execute(
            sa.select(self._rows.c.version, self._rows.c.columns).where(
                self._mine, self._rows.c.snapshot == label(as_of)
            )
        ).first()
        return None if found is None else (found.version, found.columns)

    def owner(self) -> str | None:
        """Another stored table that is published in the same one."""
        others = sa.select(self._rows.c.source).where(
            self._rows.c.table_name == self.table, self._rows.c.source != self.source
        )
        return self.connection.execute(others.limit(1)).scalar()

    def later_dates(self, as_of: date) -> set[date]:
        """Published dates after `as_of`."""
        later = sa.select(self._rows.c.as_of).where(self._mine, self._rows.c.as_of > as_of)
        return set(self.connection.execute(later).scalars())

    def forget(self, as_of: date | None) -> bool:
        """Remove the record of a snapshot; whether there was one."""
        one = sa.delete(self._rows).where(self._mine, self._rows.c.snapshot == label(as_of))
        return self.connection.execute(one).rowcount > 0

    def forget_others(self, as_of: date | None) -> None:
        """Remove the records of every other date."""
        others = sa.delete(self._rows).where(self._mine, self._rows.c.snapshot != label(as_of))
        self.connection.execute(others)

    def record(
        self,
        as_of: date | None,
        *,
        version: str,
        columns: Sequence[str],
        row_count: int,
        run_id: str,
    ) -> None:
        """Say that this version is the one that is published."""
        keys = {"table_name": self.table, "source": self.source, "snapshot": label(as_of)}
        values = {
            "as_of": as_of,
            "version": version,
            "columns": list(columns),
            "row_count": row_count,
            "run_id": run_id,
            "published_at": sa.func.clock_timestamp(),
        }
        row = insert(self._rows).values(**keys, **values)
        self.connection.execute(row.on_conflict_do_update(index_elements=list(keys), set_=values))

    def described(self, as_of: date | None) -> dict[str, Any] | None:
        """What is recorded of a snapshot beside its version; None in what older releases wrote."""
        found = sa.select(self._rows.c.manifest).where(
            self._mine, self._rows.c.snapshot == label(as_of)
        )
        return self.connection.execute(found).scalar()

    def describe(self, as_of: date | None, manifest: Mapping[str, Any]) -> None:
        """Record what the store says of the snapshot that is published."""
        one = sa.update(self._rows).where(self._mine, self._rows.c.snapshot == label(as_of))
        self.connection.execute(one.values(manifest=dict(manifest)))

    @property
    def _rows(self) -> sa.Table:
        return control_table(self.schema)

    @property
    def _mine(self) -> sa.ColumnElement[bool]:
        return sa.and_(self._rows.c.table_name == self.table, self._rows.c.source == self.source)


def label(as_of: date | None) -> str:
    """A snapshot's date as it is recorded; `all` for a table without dates."""
    return str(as_of or "all")
