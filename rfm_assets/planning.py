"""Which stored weeks are missing or out of date: manifests compared with what is stored and said now.

Nothing is computed here, and nothing known of Dagster: which tables and weeks there should be, which
table is made from which, and by which settings, is the caller's business.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Literal, TypeAlias

from rfm_assets.errors import SnapshotMissing
from rfm_assets.manifest import Input
from rfm_assets.store import AsOf, Snapshot, Store

Reason: TypeAlias = Literal[
    "missing", "input changed", "configuration changed", "made from what is due"
]

CONFIGURATION = "configuration"
"""Under this name an asset's metadata has what its next manifest will say as `config_hash`."""


@dataclass(frozen=True)
class Table:
    """A table that should have a snapshot of each of some dates.

    Attributes:
        name: In the store.
        upstream: Tables that it is made from.
        as_ofs: The dates; None alone for a table without dates.
        configuration: Fingerprint of the settings that a run would use; empty where there is none.
    """

    name: str
    upstream: frozenset[str]
    as_ofs: tuple[AsOf, ...]
    configuration: str = ""


@dataclass(frozen=True)
class Due:
    """A snapshot that would have to be computed, and why."""

    table: str
    as_of: AsOf
    reason: Reason
    because: str


def due(store: Store, tables: Sequence[Table]) -> list[Due]:
    """Every snapshot that is missing or out of date, in the order of the tables.

    Args:
        store: What is stored.
        tables: What should be, each after those that it is made from.
    """
    current = _Current(store)
    found: dict[tuple[str, AsOf], Due] = {}
    for table in tables:
        for as_of in table.as_ofs:
            one = _judged(current, table, as_of, found)
            if one is not None:
                found[table.name, as_of] = one
    return list(found.values())


def _judged(
    current: _Current, table: Table, as_of: AsOf, found: Mapping[tuple[str, AsOf], Due]
) -> Due | None:
    snapshot = current.snapshot(table.name, as_of)
    if snapshot is None:
        return Due(table.name, as_of, "missing", "it was never computed")
    changed = [
        name
        for name, version in snapshot.manifest.inputs.items()
        if not current.still(name, version, as_of)
    ]
    if changed:
        return Due(
            table.name, as_of, "input changed", f"{', '.join(sorted(changed))} changed since"
        )
    # A user's own asset has no settings that a manifest would know.
    if table.configuration and snapshot.manifest.config_hash not in {"", table.configuration}:
        return Due(table.name, as_of, "configuration changed", "its YAML changed since")
    again = sorted(
        name for name in table.upstream if (name, as_of) in found or (name, None) in found
    )
    if again:
        return Due(table.name, as_of, "made from what is due", f"made from {', '.join(again)}")
    return None


class _Current:
    """What the store has now, each thing looked at once."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._names = set(store.tables())
        self._versions: dict[str, dict[AsOf, str]] = {}

    def versions(self, table: str) -> dict[AsOf, str]:
        """The current version of each date of a table."""
        if table not in self._versions:
            dates: list[AsOf] = [*self._store.dates(table)] if table in self._names else []
            if table in self._names and not dates:
                dates = [None]
            self._versions[table] = {}
            for as_of in dates:
                try:
                    version = self._store.current_version(table, as_of)
                except SnapshotMissing:
                    continue
                self._versions[table][as_of] = version
        return self._versions[table]

    def snapshot(self, table: str, as_of: AsOf) -> Snapshot | None:
        return self._store.snapshot(table, as_of) if as_of in self.versions(table) else None

    def still(self, name: str, version: str, as_of: AsOf) -> bool:
        """Whether an input that a manifest names is what a run would read now.

        A snapshot of another date that was removed as past its time is no change.
        """
        read = Input.named(name)
        table, versions = read.table, self.versions(read.table)
        if read.day:
            now = versions.get(read.day)
            return now in {None, version} or self._rewrites(table, read.day, version)
        if not read.before:
            # A table may also have read another date of itself: frozen cut points, a reference.
            return version in versions.values() or any(
                self._rewrites(table, day, version) for day in versions
            )
        earlier = [day for day in versions if _earlier(day, as_of)]
        if not earlier:
            return True
        last = max(earlier, key=str)
        # Names of versions begin with their time. An older one that is the last now has moved up,
        # unless that which was read is still there: then another has come in between.
        rewrites = self._store.snapshot(table, last).manifest.rewrites
        return min([versions[last], *rewrites]) <= version and (
            version in {versions[last], *rewrites} or version not in versions.values()
        )

    def _rewrites(self, table: str, as_of: AsOf, version: str) -> bool:
        """Whether the current version is that one without customers who were erased."""
        return version in self._store.snapshot(table, as_of).manifest.rewrites


def _earlier(day: AsOf, as_of: AsOf) -> bool:
    return isinstance(day, date) and isinstance(as_of, date) and day < as_of
