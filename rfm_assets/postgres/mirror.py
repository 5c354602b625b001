"""A Postgres schema as a store: what was published there, read where the store itself is not at hand.

Which snapshots there are, the control table says. A snapshot is fetched whole when its rows are
first asked for, and then lies as files in a folder of this process, so that whoever reads a store
reads this one alike. A version that is replaced meanwhile stays for those who are in the middle of
it, as long as there is room. Nothing can be stored here.
"""

import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any, ClassVar, Literal

import sqlalchemy as sa
from sqlalchemy.pool import QueuePool
from upath import UPath

from rfm_assets.database_url import Server
from rfm_assets.engines.base import FILE_NAME
from rfm_assets.engines.duckdb_engine import DuckDBEngine
from rfm_assets.errors import (
    ColumnMissing,
    DatabaseBusy,
    DatabaseUnreachable,
    PartMissing,
    SnapshotGone,
    SnapshotMissing,
    StorageUnusable,
)
from rfm_assets.postgres.cache import MOST_BYTES, MOST_SNAPSHOTS, USED_SECONDS, SnapshotCache
from rfm_assets.postgres.connection import DRIVER, REASONS, Target
from rfm_assets.postgres.fetching import fetch_rows, write_parts
from rfm_assets.postgres.layout import AS_OF, PLACES, Place, column_name
from rfm_assets.postgres.listing import (
    Listing,
    Published,
    dates_of,
    documents,
    published_snapshots,
    require_published,
)
from rfm_assets.postgres.manifests import arrived, guessed
from rfm_assets.store import ROWS, AsOf, Snapshot, Staging, Store

LISTED_FOR_SECONDS = 1.0
"""How long what is published is taken for current."""

RETRY_SECONDS = 5.0
"""How long a server that cannot be reached is left alone. Every request would wait for it."""

AT_ONCE = 2
"""Snapshots that are fetched at the same time."""

ENGINE_MEMORY = "128MB"
"""What sorting may use; beyond that it goes to the disk."""

_CONNECTIONS = 8
_WAIT_SECONDS = 60
_MANIFESTS = 53
"""Manifests that are asked for at once: those of a year of weeks, because pages show weeks."""
_REMEMBERED = 8_192

_log = logging.getLogger(__name__)


class Source(Target):
    """A schema that is only read, with what to do where that fails."""

    reasons: ClassVar[Mapping[str, tuple[str, str]]] = {
        **REASONS,
        "42501": (
            "rights are missing",
            "Let its owner grant this user USAGE on the schema and SELECT on all of its tables, also "
            "on those that are made later (ALTER DEFAULT PRIVILEGES)",
        ),
        "42P01": (
            "a table is missing, although the schema's revision says that it was made",
            "Publish again to a new schema, and serve that one",
        ),
        "42703": (
            "a column is missing, although the schema's revision says that it was made",
            "Publish again to a new schema, and serve that one",
        ),
    }
    when_lost: ClassVar[str] = (
        "What was fetched before is still served, and the rest again when the server is back."
    )


@dataclass(frozen=True)
class PublishedSnapshot(Snapshot):
    """A snapshot that is fetched when its rows are first read, whole and once."""

    store: "PublishedStore" = field(repr=False, compare=False)
    published: Published = field(repr=False, compare=False)
    document: Mapping[str, Any] | None = field(repr=False, compare=False)

    def files(self, part: str = ROWS) -> list[UPath]:
        """The fetched files of one part.

        Raises:
            PartMissing: It has no such part, or it was not published.
            SnapshotGone: It was replaced before it was fetched.
            DatabaseUnreachable, DatabaseRefused: It cannot be fetched now.
        """
        if part not in self.manifest.files:
            raise PartMissing(table=self.table, part=part, available=list(self.manifest.files))
        with self.held():
            return [self.folder / part / name for name in self.manifest.files[part]]

    def held(self) -> AbstractContextManager[None]:
        """While its rows are read: they are fetched where they are not there, and stay."""
        return self.store.holding(self)


class PublishedStore(Store):
    """The snapshots that are published in one schema, to be read.

    Args:
        server: The database.
        schema: The schema that they were published to.
        cache_folder: Where fetched snapshots lie, in a folder of their own that is removed with
            this; below the system's temporary folder where None.
        most_bytes: How much of them is kept.
        most_snapshots: How many of them are kept.
        used_seconds: How long after its last use a snapshot is certain to stay.
        listed_for: How long a listing is taken for current, in seconds.
    """

    def __init__(
        self,
        server: Server,
        schema: str,
        *,
        cache_folder: Path | None = None,
        most_bytes: int = MOST_BYTES,
        most_snapshots: int = MOST_SNAPSHOTS,
        used_seconds: float = USED_SECONDS,
        listed_for: float = LISTED_FOR_SECONDS,
    ) -> None:
        self._target = Source(server, schema, _WAIT_SECONDS)
        self._cache = SnapshotCache(
            cache_folder,
            most_bytes=most_bytes,
            most_snapshots=most_snapshots,
            used_seconds=used_seconds,
        )
        super().__init__(self._cache.folder / "store")
        self._listed_for = listed_for
        self._listed: tuple[float, Listing] | None = None
        self._stale = False
        self._listing_lock = threading.Lock()
        self._snapshots: OrderedDict[tuple[str, AsOf, str], PublishedSnapshot] = OrderedDict()
        self._lock = threading.Lock()
        self._down: tuple[float, DatabaseUnreachable] | None = None
        self._fetching = threading.BoundedSemaphore(AT_ONCE)
        self._engine: DuckDBEngine | None = None
        self._connections = sa.create_engine(
            server.url_for(DRIVER),
            poolclass=QueuePool,
            pool_size=2,
            max_overflow=_CONNECTIONS - 2,
            pool_timeout=_WAIT_SECONDS,
            pool_pre_ping=True,
            pool_recycle=600,
            isolation_level="REPEATABLE READ",
        ).execution_options(postgresql_readonly=True)

    @property
    def place(self) -> str:
        """The schema in words, without user and password."""
        return f"{self._target.place}, schema {self._target.schema}"

    def close(self) -> None:
        """Close the connections and remove what was fetched."""
        self._connections.dispose()
        with self._lock:
            if self._engine is not None:
                self._engine.close()
                self._engine = None
        self._cache.close()

    def tables(self) -> list[str]:
        """The stored tables that are published here, by name.

        Raises:
            SchemaUnpublished: The schema holds no published tables.
            DatabaseRevisionUnknown: A later release made them.
            DatabaseUnreachable, DatabaseRefused: The server cannot be asked.
        """
        return sorted(self._listing())

    def dates(self, table: str) -> list[date]:
        """The dates of which `table` is published, ascending."""
        return dates_of(self._listing().get(table, {}))

    def stage(self, table: str, as_of: AsOf) -> Staging:
        """Refuse: what is published comes from another store.

        Raises:
            StorageUnusable: Always.
        """
        raise StorageUnusable(
            path=self.place,
            reason=f"is a copy, to which {table} as of {as_of or 'all'} has to be published",
        )

    def snapshot(self, table: str, as_of: AsOf | Literal["latest"] = "latest") -> Snapshot:
        """The published version of one snapshot; its rows are fetched when they are asked for."""
        if as_of == "latest":
            dates = self.dates(table)
            as_of = dates[-1] if dates else None
        return self._described(self._published(table, as_of))

    def current_version(self, table: str, as_of: AsOf, *, wanted: str = "") -> str:
        """The version that is published.

        Raises:
            SnapshotMissing: None is.
        """
        return self._published(table, as_of, wanted).version

    def version(self, table: str, as_of: AsOf, version: str) -> Snapshot:
        """The published version, or one that it has replaced and that was fetched before.

        Raises:
            SnapshotGone: It is neither.
        """
        now = self._listing().get(table, {}).get(as_of)
        if now is not None and now.version == version:
            return self._described(now)
        key = (table, as_of, version)
        with self._lock:
            before = self._snapshots.get(key)
        if before is None or not self._cache.has(key):
            raise SnapshotGone(table=table, as_of=str(as_of or "all"), version=version)
        return before

    def history(
        self, snapshots: Sequence[Snapshot], customer_id: str, columns: Sequence[str]
    ) -> list[dict[str, Any]] | None:
        """The customer's row of each of a table's snapshots, ascending, as the server has them.

        Asked of the server, by its index over customers and dates: fetching a year of weeks of all
        customers for the sake of one would take minutes, and room for all of them. Where it cannot
        be reached, None says that the files will do if all of them are here.

        Raises:
            ColumnMissing: None of the snapshots has a column of `columns`.
            DatabaseUnreachable, DatabaseRefused: The server cannot be asked.
        """
        ours = [one for one in snapshots if isinstance(one, PublishedSnapshot)]
        if not ours or len(ours) < len(snapshots):
            return None
        place = PLACES[ours[0].published.kind, ROWS]
        try:
            with self._connected() as connection, connection.begin():
                query = self._query(place, ours, customer_id, columns)
                return [dict(row._mapping) for row in connection.execute(query)]  # noqa: SLF001
        except DatabaseUnreachable:
            if all(self._cache.has(_key(one)) for one in ours):
                return None
            raise

    def holding(self, snapshot: PublishedSnapshot) -> AbstractContextManager[Any]:
        """Keep a snapshot's files until this is left; they are fetched where they are not there."""
        return self._cache.holding(
            _key(snapshot), Path(snapshot.folder), lambda folder: self._fetch(snapshot, folder)
        )

    def _fetch(self, snapshot: PublishedSnapshot, folder: Path) -> None:
        published = snapshot.published
        with self._fetching:
            begun = time.monotonic()
            with self._connected() as connection:
                fields = fetch_rows(self._target, connection, published, snapshot.document, folder)
            engine = self._own_engine()
            try:
                write_parts(engine, published, fields, folder)
            finally:
                engine.connection.close()
        _log.info(
            "fetched %s as of %s: %d rows in %.1f s",
            published.table,
            published.as_of or "all",
            sum(part.rows for part in published.parts.values()),
            time.monotonic() - begun,
        )

    def _own_engine(self) -> DuckDBEngine:
        with self._lock:
            if self._engine is None:
                spill = self._cache.folder / "spill"
                self._engine = DuckDBEngine(ENGINE_MEMORY, threads=1, spill_dir=spill)
            return self._engine.beside()

    def _published(self, table: str, as_of: AsOf, wanted: str = "") -> Published:
        found = self._listing().get(table, {})
        if as_of not in found:
            available = [one.isoformat() for one in dates_of(found)]
            if not available and None in found:
                available = ["the one of all dates together, called latest"]
            raise SnapshotMissing(
                table=table,
                as_of=wanted or str(as_of or "all"),
                root=self.place,
                available=available,
            )
        return found[as_of]

    def _described(self, published: Published) -> PublishedSnapshot:
        """The snapshot with its manifest, which is asked for once, with those of dates before."""
        key = (published.table, published.as_of, published.version)
        with self._lock:
            if key in self._snapshots:
                self._snapshots.move_to_end(key)
                return self._snapshots[key]
        for one, document in self._with_documents(published):
            manifest = arrived(document, one, self.place) if document else guessed(one)
            made = PublishedSnapshot(
                table=one.table,
                as_of=one.as_of,
                version=one.version,
                # The parts that were not published are counted, but they are not here.
                manifest=manifest.model_copy(
                    update={"files": {part: [FILE_NAME] for part in one.parts}}
                ),
                folder=self.folder(one.table, one.as_of) / one.version,
                store=self,
                published=one,
                document=document,
            )
            with self._lock:
                self._snapshots[_key(made)] = made
                while len(self._snapshots) > _REMEMBERED:
                    self._snapshots.popitem(last=False)
        with self._lock:
            if key in self._snapshots:
                return self._snapshots[key]
        raise SnapshotGone(
            table=published.table,
            as_of=str(published.as_of or "all"),
            version=published.version,
        )

    def _with_documents(
        self, published: Published
    ) -> list[tuple[Published, Mapping[str, Any] | None]]:
        """A snapshot and those of dates before it that are not known yet, with their manifests."""
        of_table = self._listing().get(published.table, {})
        dates = [one for one in dates_of(of_table) if published.as_of and one <= published.as_of]
        wanted = {one: of_table[one] for one in dates[-_MANIFESTS:]} | {published.as_of: published}
        with self._lock:
            unknown = {
                as_of: one
                for as_of, one in wanted.items()
                if (one.table, as_of, one.version) not in self._snapshots
            }
        with self._connected() as connection, connection.begin():
            found = documents(connection, self._target.schema, published.table, unknown)
        return [
            (one, found[as_of, one.version])
            for as_of, one in unknown.items()
            if (as_of, one.version) in found
        ]

    def _query(
        self,
        place: Place,
        snapshots: Sequence["PublishedSnapshot"],
        customer_id: str,
        columns: Sequence[str],
    ) -> sa.Select[Any]:
        known = {name for one in snapshots for name in one.published.parts[ROWS].columns}
        for name in columns:
            if column_name(name) not in known:
                raise ColumnMissing(
                    column=name,
                    table=snapshots[0].table,
                    available=sorted(known),
                    key="columns",
                )
        names = {*map(column_name, columns), *place.added, "customer_id"}
        rows = sa.table(
            place.name, *(sa.column(name) for name in sorted(names)), schema=self._target.schema
        )
        query = sa.select(*(rows.c[column_name(name)].label(name) for name in columns))
        query = query.where(rows.c["customer_id"] == customer_id)
        if place.named_by is not None:
            query = query.where(rows.c[place.named_by] == snapshots[0].table)
        if place.dated:
            dates = [one.as_of for one in snapshots]
            query = query.where(rows.c[AS_OF].in_(dates)).order_by(rows.c[AS_OF])
        return query

    def _listing(self) -> Listing:
        """What is published, as it was a moment ago; what was known where the server is gone."""
        known = self._listed
        if known is not None and time.monotonic() < known[0]:
            return known[1]
        # One asks, and who comes meanwhile is content with what is known.
        if not self._listing_lock.acquire(blocking=known is None):
            assert known is not None  # noqa: S101 (it would have waited)
            return known[1]
        try:
            if self._listed is not None and time.monotonic() < self._listed[0]:
                return self._listed[1]
            try:
                found = self._list(first=known is None)
            except (DatabaseUnreachable, DatabaseBusy) as error:
                if known is None:
                    raise
                if not self._stale:
                    _log.warning("what was listed before is served: %s", error)
                self._stale = True
                self._listed = (time.monotonic() + RETRY_SECONDS, known[1])
                return known[1]
            self._listed, self._stale = (time.monotonic() + self._listed_for, found), False
            return found
        finally:
            self._listing_lock.release()

    def _list(self, *, first: bool) -> Listing:
        with self._connected() as connection, connection.begin():
            if first:
                require_published(self._target, connection)
            return published_snapshots(connection, self._target.schema)

    @contextmanager
    def _connected(self) -> Iterator[sa.Connection]:
        """A connection of the pool, unless the server could not be reached a moment ago."""
        down = self._down
        if down is not None and time.monotonic() < down[0]:
            raise DatabaseUnreachable(
                place=self._target.place, reason=down[1].reason, fix=Source.when_lost
            )
        try:
            with self._target.translating(connecting=True):
                connection = self._connections.connect()
        except DatabaseUnreachable as error:
            self._down = (time.monotonic() + RETRY_SECONDS, error)
            raise
        except sa.exc.TimeoutError:
            raise DatabaseBusy(
                place=self._target.place,
                what=f"all {_CONNECTIONS} connections of this server to it are in use",
                seconds=_WAIT_SECONDS,
            ) from None
        self._down = None
        with connection, self._target.translating():
            yield connection


def _key(snapshot: Snapshot) -> tuple[str, AsOf, str]:
    return snapshot.table, snapshot.as_of, snapshot.version
