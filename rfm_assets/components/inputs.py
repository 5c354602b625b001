"""How a component reads what other assets have stored."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date, timedelta

import dagster as dg

from rfm_assets.domain.frames import Table
from rfm_assets.engines.base import Engine
from rfm_assets.in_place import rows_of
from rfm_assets.manifest import Input
from rfm_assets.store import ROWS, Snapshot, Store, table_name


@dataclass
class Inputs:
    """Stored tables as one week's work sees them; remembers which versions it read."""

    store: Store
    engine: Engine
    versions: dict[str, str] = field(default_factory=dict)

    def snapshot(self, key: dg.AssetKey, as_of: date | None) -> Snapshot:
        """The snapshot of `as_of`, or the only one of a table without dates.

        Raises:
            SnapshotMissing: It was never stored; nothing is taken for empty.
        """
        name = table_name(key.path)
        dated = self.store.dates(name) if name in self.store.tables() else []
        snapshot = self.store.snapshot(name, as_of if dated else None)
        self.versions[name] = snapshot.version
        return snapshot

    def before(self, key: dg.AssetKey, as_of: date) -> Snapshot | None:
        """The last snapshot before `as_of`, the date that is computed, if there is one."""
        snapshot = self.store.before(table_name(key.path), as_of)
        if snapshot is not None:
            self.versions[str(Input(snapshot.table, before=True))] = snapshot.version
        return snapshot

    def until(self, key: dg.AssetKey, day: date) -> Snapshot | None:
        """The last snapshot of a day or before it, if there is one, noted under its own date."""
        snapshot = self.store.before(table_name(key.path), day + timedelta(days=1))
        if snapshot is not None:
            self.versions[str(Input(snapshot.table, snapshot.as_of))] = snapshot.version
        return snapshot

    def between(self, key: dg.AssetKey, first: date, before: date) -> list[Snapshot]:
        """The snapshots from a date on to the one before another; none of a table without any."""
        name = table_name(key.path)
        dates = self.store.dates(name) if name in self.store.tables() else []
        found = [self.store.snapshot(name, day) for day in dates if first <= day < before]
        self.versions |= {str(Input(name, one.as_of)): one.version for one in found}
        return found

    def rows(self, snapshot: Snapshot, part: str = ROWS) -> Table:
        """The stored rows, lazily."""
        return rows_of(self.engine, snapshot, part)

    @contextmanager
    def reading(self) -> Iterator["Inputs"]:
        """The same on the engine that sources are read with."""
        with self.engine.reading() as engine:
            yield Inputs(self.store, engine, self.versions)

    def provenance(self) -> Mapping[str, str]:
        """Versions read, by table."""
        return dict(self.versions)
