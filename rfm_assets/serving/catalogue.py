"""What is stored: tables by kind and organisation, their dates, one snapshot of each.

Listings are remembered for a moment and manifests for good (a version never changes), so that a
page of many tables costs no more than a page of one. Rows are read in `queries.py`.
"""

import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date
from functools import cached_property
from typing import Any, Generic, Literal, TypeAlias, TypeVar

from rfm_assets.errors import KindMissing, RfmError, SnapshotMissing, TableMissing
from rfm_assets.store import AsOf, Snapshot, Store

log = logging.getLogger(__name__)

LISTED_FOR_SECONDS = 1.0
"""How long a listing of the store is taken for current."""

TAKEN_MEANWHILE_SECONDS = 5.0
"""How much older a listing may be that is handed out while it is made anew."""

DEFAULT_ORGANIZATION = "default"
"""Whose the tables are that name no organisation."""

Value = TypeVar("Value")


class Remembered(Generic[Value]):
    """The last `size` values by key, for several threads; what was used longest ago goes first."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._values: OrderedDict[Hashable, Value] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: Hashable, make: Callable[[], Value]) -> Value:
        """The value of `key`, made at its first use; two threads may make it at once."""
        with self._lock:
            if key in self._values:
                self._values.move_to_end(key)
                return self._values[key]
        value = make()
        with self._lock:
            self._values[key] = value
            while len(self._values) > self._size:
                self._values.popitem(last=False)
        return value

    def known(self, key: Hashable) -> Value | None:
        """The value of `key`, if it is remembered."""
        with self._lock:
            if key in self._values:
                self._values.move_to_end(key)
            return self._values.get(key)

    def replace(self, key: Hashable, value: Value) -> None:
        """Remember `value` instead of what there was."""
        with self._lock:
            self._values.pop(key, None)
        self.get(key, lambda: value)


@dataclass(frozen=True)
class StoredTable:
    """A table of the store: its kind, whose it is, and the dates it has snapshots of."""

    name: str
    kind: str
    organization: str
    dates: tuple[date, ...]
    latest: Snapshot


Stamp: TypeAlias = frozenset[tuple[str, tuple[date, ...], str]]
"""Which tables were listed, with their dates and the version of the latest."""


@dataclass(frozen=True)
class _Listing:
    """The tables of a store, and until when they are taken for current."""

    until: float
    tables: dict[str, StoredTable]

    @cached_property
    def stamp(self) -> Stamp:
        return frozenset((one.name, one.dates, one.latest.version) for one in self.tables.values())


@dataclass
class Reading:
    """What an answer was made from: it stands for as long as the store says the same.

    Attributes:
        listings: The listings that were looked at.
        versions: The version of each snapshot that was asked for; None where there was none.
    """

    listings: set[Stamp] = field(default_factory=set)
    versions: set[tuple[str, AsOf, str | None]] = field(default_factory=set)


class Catalogue:
    """Which tables and snapshots a store has.

    Args:
        store: The store.
        organization: Whose the tables are that nothing else is said of.
        owners: Whose single tables are that do not say it themselves.
    """

    def __init__(
        self,
        store: Store,
        *,
        organization: str = DEFAULT_ORGANIZATION,
        owners: Mapping[str, str] | None = None,
    ) -> None:
        self.store = store
        self._organization = organization
        self._owners = dict(owners or {})
        self._snapshots: Remembered[Snapshot] = Remembered(4_096)
        self._tables: _Listing | None = None
        self._lock = threading.Lock()
        self._own = threading.local()

    @contextmanager
    def noting(self) -> Iterator[Reading]:
        """What this thread reads of the store in here."""
        self._own.reading = reading = Reading()
        try:
            yield reading
        finally:
            self._own.reading = None

    @property
    def _reading(self) -> Reading | None:
        return getattr(self._own, "reading", None)

    def unchanged(self, reading: Reading) -> bool:
        """Whether the store still says all of it, and said one thing while it was read."""
        try:
            return reading.listings <= {self._listing().stamp} and all(
                self._version_now(table, as_of) == version
                for table, as_of, version in reading.versions
            )
        except RfmError:
            return False  # whoever makes it anew is told

    def _version_now(self, table: str, as_of: AsOf) -> str | None:
        try:
            return self.store.current_version(table, as_of)
        except SnapshotMissing:
            return None

    def tables(self) -> dict[str, StoredTable]:
        """Every table that has a snapshot, by name.

        A listing that is a little old is handed out once more while it is made anew beside: nobody
        who asks for one customer waits for it.
        """
        listing = self._listing()
        if self._reading is not None:
            self._reading.listings.add(listing.stamp)
        return listing.tables

    def _listing(self) -> _Listing:
        known, now = self._tables, time.monotonic()
        if known is not None and now < known.until:
            return known
        if known is not None and now < known.until + TAKEN_MEANWHILE_SECONDS:
            if self._lock.acquire(blocking=False):
                threading.Thread(target=self._list_beside, daemon=True).start()
            return known
        with self._lock:
            return self._listed()

    def forget(self) -> None:
        """Look again at once, after something was computed."""
        with self._lock:
            self._tables = None

    def _list_beside(self) -> None:
        """List anew, in a thread of its own that was handed the lock."""
        try:
            self._listed()
        except RfmError as error:
            # Whoever asks next lists by herself, and is told.
            log.warning("%s", error)
        finally:
            self._lock.release()

    def _listed(self) -> _Listing:
        if self._tables is not None and time.monotonic() < self._tables.until:
            return self._tables  # made while this thread waited
        found = {
            table.name: table
            for name in self.store.tables()
            if (table := self._described(name)) is not None
        }
        self._tables = _Listing(time.monotonic() + LISTED_FOR_SECONDS, found)
        return self._tables

    def _described(self, name: str) -> StoredTable | None:
        dates = tuple(self.store.dates(name))
        try:
            latest = self.store.snapshot(name, dates[-1] if dates else None)
        except SnapshotMissing:
            return None  # its first version is being written
        self._snapshots.get((name, latest.as_of, latest.version), lambda: latest)
        return StoredTable(name, latest.manifest.kind, self.organization_of(latest), dates, latest)

    def organization_of(self, snapshot: Snapshot) -> str:
        """Whose customers a snapshot describes."""
        said = snapshot.manifest.extra.get("organization_id")
        return str(said or self._owners.get(snapshot.table, self._organization))

    def table(self, name: str) -> StoredTable:
        """The table of that name.

        Raises:
            TableMissing: There is none.
        """
        tables = self.tables()
        if name not in tables:
            raise TableMissing(table=name, root=self.store.place, available=sorted(tables))
        return tables[name]

    def of_kind(self, kind: str, organization: str | None = None) -> list[StoredTable]:
        """The tables of a kind, of one organisation or of all, by name."""
        return [
            table
            for table in self.tables().values()
            if table.kind == kind and organization in {None, table.organization}
        ]

    def one_of_kind(self, kind: str, organization: str | None = None) -> StoredTable:
        """The table of a kind; the one that is called like it, or the first, where there are several.

        Raises:
            KindMissing: There is none.
        """
        found = self.of_kind(kind, organization)
        if not found:
            raise KindMissing(kind=kind, root=self.store.place, organization=organization)
        return next((table for table in found if table.name == kind), found[0])

    def snapshot(
        self, table: str, as_of: AsOf | Literal["latest"] = "latest", version: str | None = None
    ) -> Snapshot:
        """One snapshot; with `version` just that one, for whoever is reading page after page.

        Raises:
            TableMissing: There is no such table.
            SnapshotMissing: It has none of that date.
            SnapshotGone: That version was replaced, and its time is over.
        """
        stored = self.table(table)
        if as_of == "latest":
            as_of = stored.latest.as_of
        if version is not None:
            # Asked of the store each time: what was replaced is swept once its time is over.
            return self.store.version(table, as_of, version)
        return self._noted(table, as_of)

    def _noted(self, table: str, as_of: AsOf) -> Snapshot:
        reading = self._reading
        try:
            current = self._current(table, as_of)
        except SnapshotMissing:
            if reading is not None:
                reading.versions.add((table, as_of, None))
            raise
        if reading is not None:
            reading.versions.add((table, as_of, current.version))
        return current

    def newest(self, table: str) -> Snapshot:
        """The snapshot of the newest date that the store has now, whatever was listed before.

        Raises:
            SnapshotMissing: There is none.
        """
        dates = self.store.dates(table)
        return self._noted(table, dates[-1] if dates else None)

    def _current(self, table: str, as_of: AsOf) -> Snapshot:
        current = self._snapshots.known((table, as_of, self.store.current_version(table, as_of)))
        if current is not None:
            return current
        # The pointer may have moved since, so that the snapshot says itself which one it is.
        found = self.store.snapshot(table, as_of)
        return self._snapshots.get((table, as_of, found.version), lambda: found)

    def at(self, table: StoredTable, as_of: date | None) -> Snapshot | None:
        """The table's snapshot of a date, if it has one; a table without dates has the one it has."""
        try:
            return self.snapshot(table.name, as_of if table.dates else None)
        except SnapshotMissing:
            return None

    def before(self, snapshot: Snapshot) -> Snapshot | None:
        """The snapshot of the date before, if there is one."""
        dates = [day for day in self.table(snapshot.table).dates if self._earlier(day, snapshot)]
        return self.snapshot(snapshot.table, dates[-1]) if dates else None

    @staticmethod
    def _earlier(day: date, snapshot: Snapshot) -> bool:
        return snapshot.as_of is not None and day < snapshot.as_of

    def series(
        self, table: str, last: int | None = None, *, until: date | None = None
    ) -> list[Snapshot]:
        """The snapshots of every date, ascending; only those `until` one, and the `last` of them."""
        dates = [day for day in self.table(table).dates if until is None or day <= until]
        return [self.snapshot(table, day) for day in dates[-last if last else 0 :]]

    def noted(self, snapshot: Snapshot, name: str) -> Any:
        """What a component wrote into a snapshot's manifest under `name`; None where nothing."""
        return snapshot.manifest.extra.get(name)
