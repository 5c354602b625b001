"""Snapshots of tables: stage beside the place, promote in one step, read a whole one back.

    <root>/<table>/as_of=2026-06-21/CURRENT                the pointer, replaced atomically
    <root>/<table>/as_of=2026-06-21/<version>/manifest.json
    <root>/<table>/as_of=2026-06-21/<version>/rows/*.parquet
    <root>/<table>/as_of=2026-06-21/<version>/excluded/*.parquet      a named part beside the rows

A table without dates lies under `as_of=all`. A version is written under its final name and is
invisible until CURRENT names it, so that promotion is one small put: it needs no rename, which
buckets do not have. Readers take no lock and never wait. The store knows nothing of what the
rows mean: validation is `publishing.py`'s business, reading Parquet is the engine's, and which
versions are old enough to go is decided in `sweeping.py`.
"""

import os
import re
import secrets
import zlib
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self, TypeAlias

from upath import UPath

from rfm_assets.errors import (
    InvalidAsOf,
    InvalidTableName,
    PartMissing,
    RowsInPlace,
    SnapshotGone,
    SnapshotMissing,
    SnapshotUnreadable,
    StagingClosed,
    StorageUnusable,
)
from rfm_assets.failures import best_effort, storage
from rfm_assets.manifest import (
    MANIFEST,
    POINTER,
    PROMOTED,
    RETIRED,
    VERSION_NAME,
    Manifest,
    Pointer,
    Promotion,
    Superseded,
    read_document,
)
from rfm_assets.sweeping import VERSION_TIME, Sweeper, remove

AsOf: TypeAlias = date | None
"""The date of a snapshot; None for a table without dates."""

ROWS = "rows"
_WITHOUT_DATE = "as_of=all"
_TABLE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_]*", re.ASCII)

_VERSION = re.compile(VERSION_NAME)

_BLOCK_BYTES = 1 << 20

KEEP_SUPERSEDED = timedelta(hours=1)
"""How long a replaced version stays for those who are still reading it. The one directly before
the current version stays until it is replaced itself."""

ABANDON_AFTER = timedelta(days=1)
"""Age at which a version that was never promoted counts as left behind by a killed run."""


@dataclass(frozen=True)
class Snapshot:
    """One whole version of a table. Its files stay in place as long as the store promises."""

    table: str
    as_of: AsOf
    version: str
    manifest: Manifest
    folder: UPath

    def files(self, part: str = ROWS) -> list[UPath]:
        """The Parquet files of one part.

        Raises:
            PartMissing: The snapshot has no such part.
            SnapshotUnreadable: A file that the manifest names is gone, or is not what was written.
            RowsInPlace: They lie elsewhere: `in_place.rows_of` reads them.
        """
        if part == ROWS and self.manifest.in_place is not None:
            raise RowsInPlace(table=self.table)
        if part not in self.manifest.files:
            raise PartMissing(table=self.table, part=part, available=list(self.manifest.files))
        paths = [self.folder / part / name for name in self.manifest.files[part]]
        for path in paths:
            if not path.exists():
                raise SnapshotUnreadable(path=str(path), reason="is gone, but in the manifest")
            self._require_unharmed(path, self.manifest.checksums.get(part, {}).get(path.name))
        return paths

    def held(self) -> AbstractContextManager[None]:
        """While its rows are read: the files stay until this is left.

        Here the store keeps its promise anyway; a copy that makes room for others has to be told.
        """
        return nullcontext()

    def _require_unharmed(self, path: UPath, written: str | None) -> None:
        """Half of the flipped bytes give wrong rows, and Parquet's readers say nothing."""
        if written is None:
            return
        try:
            reason = "" if _checksum(path) == written else "is damaged: it is not what was written"
        except OSError as error:
            reason = f"cannot be read: {error.strerror or error}"
        if reason:
            week = f"the week that ends on {self.as_of}" if self.as_of else "it"
            raise SnapshotUnreadable(
                path=str(path),
                reason=f"of {self.table} as of {self.as_of or 'all'} {reason}",
                fix=f"Run {week} again for {self.table}, or restore the file from a backup.",
            )


class Staging:
    """A version in the making. Leaving the context without `promote` removes it.

    Raises:
        StagingClosed: Used after it was promoted or left.
    """

    def __init__(self, store: "Store", table: str, as_of: AsOf) -> None:
        self._store = store
        self.table = table
        self.as_of = as_of
        self.version = f"{_now():{VERSION_TIME}}Z-{secrets.token_hex(4)}"
        self.folder = store.folder(table, as_of) / self.version
        self._open = True

    def path_for(self, part: str = ROWS) -> UPath:
        """The folder into which the engine writes one part."""
        self._require_open()
        return self.folder / _checked_name(part)

    def files(self, part: str = ROWS) -> list[UPath]:
        """The Parquet files staged so far for one part, in order."""
        return sorted(self.path_for(part).glob("*.parquet"), key=str)

    def promote(self, manifest: Manifest) -> Snapshot:
        """Make this version the one that everybody reads, in one atomic step.

        Everything is on the disk before the pointer moves. Where two writers promote the same
        snapshot, the last one wins, and each of the two is whole. What fails after the pointer
        has moved is only logged, because the snapshot is published.

        Raises:
            StorageUnusable: The disk is full, or the store cannot be written.
            SnapshotUnreadable: A part has no file.
        """
        self._require_open()
        elsewhere = {ROWS} if manifest.in_place is not None else set[str]()
        files = {part: self.files(part) for part in manifest.row_counts.keys() - elsewhere}
        complete = manifest.model_copy(
            update={
                "table": self.table,
                "as_of": self.as_of,
                "version": self.version,
                "created_at": _now(),
                "files": {part: [path.name for path in paths] for part, paths in files.items()},
                "checksums": self._store.checksums(files),
            }
        )
        snapshot = self._store.promote(self, complete)
        self._open = False
        self._store.settle(snapshot)
        return snapshot

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._open:
            self._open = False
            # An interruption may come between the pointer's move and the end of `promote`.
            with best_effort("the version given up is left behind", self.folder):
                if not self._store.names(self.table, self.as_of, self.version):
                    remove(self.folder)

    def _require_open(self) -> None:
        if not self._open:
            raise StagingClosed(table=self.table, version=self.version)


class Store:
    """The snapshots below one root: a folder, or a bucket by any URL that fsspec knows."""

    def __init__(
        self,
        root: str | Path | UPath,
        *,
        keep_superseded: timedelta = KEEP_SUPERSEDED,
        abandon_after: timedelta = ABANDON_AFTER,
    ) -> None:
        path = UPath(root)
        self._local = path.protocol in {"", "file", "local"}
        # Local paths are made absolute, so that a later change of directory changes nothing.
        self.root = UPath(Path(path.path).expanduser().resolve()) if self._local else path
        self._keep_superseded = keep_superseded
        self._sweeper = Sweeper(keep_superseded=keep_superseded, abandon_after=abandon_after)

    @property
    def place(self) -> str:
        """Where it is, in words."""
        return str(self.root)

    def history(
        self, snapshots: Sequence[Snapshot], customer_id: str, columns: Sequence[str]
    ) -> list[dict[str, Any]] | None:
        """The customer's row of each snapshot, ascending; None where the files have to be read."""
        del self, snapshots, customer_id, columns

    def tables(self) -> list[str]:
        """The tables that have a folder here, by name.

        Raises:
            StorageUnusable: The root is no folder, or cannot be read.
        """
        names = (path.name for path in self._listing(self.root))
        return sorted(name for name in names if _TABLE_NAME.fullmatch(name))

    def dates(self, table: str) -> list[date]:
        """The dates of which `table` has a snapshot, ascending; none where it has no dates.

        Raises:
            SnapshotUnreadable: A snapshot was promoted, but its pointer is gone.
        """
        found: list[date] = []
        for path in self._listing(self.root / _checked_name(table)):
            as_of = _date_of(path.name)
            # On a disk the plain question first: it is asked of every date of every table.
            pointed = self._local and _there(path, POINTER) and not _there(path, RETIRED)
            if as_of is not None and (pointed or self._has_snapshot(path)):
                found.append(as_of)
        return sorted(found)

    def stage(self, table: str, as_of: AsOf) -> Staging:
        """Begin a new version of one snapshot; nothing is visible before `promote`."""
        return Staging(self, table, as_of)

    def snapshot(self, table: str, as_of: AsOf | Literal["latest"] = "latest") -> Snapshot:
        """The promoted version of one snapshot; the latest date, or the table without dates.

        Raises:
            SnapshotMissing: There is none.
            SnapshotUnreadable: There is one, but its pointer or manifest cannot be read, or was
                written for another table or date.
        """
        wanted = "all" if as_of is None else str(as_of)
        if as_of == "latest":
            dates = self.dates(table)
            as_of = dates[-1] if dates else None
        return self._read(table, as_of, self.current_version(table, as_of, wanted=wanted))

    def current_version(self, table: str, as_of: AsOf, *, wanted: str = "") -> str:
        """The version that the pointer of one snapshot names; `wanted` is what was asked for.

        Raises:
            SnapshotMissing: There is no such snapshot.
            SnapshotUnreadable: Its pointer cannot be read.
        """
        folder = self.folder(table, as_of)
        if not self._has_snapshot(folder):
            available = [found.isoformat() for found in self.dates(table)]
            if not available and self._has_snapshot(self.folder(table, None)):
                available = ["the one of all dates together, called latest"]
            raise SnapshotMissing(
                table=table,
                as_of=wanted or str(as_of or "all"),
                root=str(self.root),
                available=available,
            )
        return read_document(folder / POINTER, Pointer).version

    def version(self, table: str, as_of: AsOf, version: str) -> Snapshot:
        """One promoted version, also one that was replaced and still stays.

        Raises:
            SnapshotGone: It is not there (any more).
            SnapshotUnreadable: Its manifest cannot be read, or was written for another table or
                date.
        """
        folder = self.folder(table, as_of)
        # Also of a snapshot that was taken out of sight: whoever began to read it may finish.
        there = (folder / RETIRED).exists() or self._has_snapshot(folder)
        if not (_VERSION.fullmatch(version) and there and self.names(table, as_of, version)):
            raise SnapshotGone(table=table, as_of=str(as_of or "all"), version=version)
        return self._read(table, as_of, version)

    def _read(self, table: str, as_of: AsOf, version: str) -> Snapshot:
        place = self.folder(table, as_of) / version
        manifest = read_document(place / MANIFEST, Manifest)
        if (manifest.table, manifest.as_of, manifest.version) != (table, as_of, place.name):
            raise SnapshotUnreadable(
                path=str(place / MANIFEST),
                reason=f"is of {manifest.table or 'no table'} as of {manifest.as_of or 'all'}, "
                f"version {manifest.version or 'unknown'}, and does not belong where it lies",
                fix="A folder was copied or renamed: move it back, or remove it and run the "
                "partition again.",
            )
        return Snapshot(table, as_of, place.name, manifest, place)

    def kept(self, table: str, as_of: AsOf) -> list[Snapshot]:
        """The versions of one snapshot that its pointer names: the current one, then older ones.

        Raises:
            SnapshotMissing: There is no such snapshot.
            SnapshotUnreadable: The pointer or a manifest cannot be read.
        """
        current = self.current_version(table, as_of)
        past = read_document(self.folder(table, as_of) / POINTER, Pointer).superseded
        named = [current, *(one.version for one in past if one.version != current)]
        there = [one for one in named if (self.folder(table, as_of) / one / MANIFEST).exists()]
        return [self._read(table, as_of, version) for version in there]

    def version_folders(self, table: str, as_of: AsOf) -> list[UPath]:
        """Every version of one snapshot, also those that were never promoted or nobody names."""
        found = self._listing(self.folder(table, as_of))
        return sorted((path for path in found if _VERSION.fullmatch(path.name)), key=str)

    def drop_versions(self, table: str, as_of: AsOf, versions: Sequence[str]) -> None:
        """Remove versions at once, whoever may be reading them; the current one always stays."""
        folder = self.folder(table, as_of)
        gone = set(versions)
        if (folder / POINTER).exists():
            pointer = read_document(folder / POINTER, Pointer)
            gone -= {pointer.version}
            rest = [past for past in pointer.superseded if past.version not in gone]
            if len(rest) < len(pointer.superseded):
                self._move_pointer(
                    folder,
                    folder / pointer.version,
                    pointer.model_copy(update={"superseded": rest}),
                )
        for version in sorted(gone):
            remove(folder / version)

    def retire(self, table: str, as_of: date) -> None:
        """Take one snapshot out of sight. Its files stay for those who are reading them.

        Publishing the same date again brings it back into sight.
        """
        folder = self.folder(table, as_of)
        with storage(folder):
            _write(folder / RETIRED, Promotion(at=_now()).model_dump_json())

    def retired(self, table: str) -> list[tuple[date, datetime]]:
        """The snapshots that were taken out of sight and are still there, and since when."""
        found: list[tuple[date, datetime]] = []
        for path in self._listing(self.root / _checked_name(table)):
            as_of = _date_of(path.name)
            if as_of is not None and (path / RETIRED).exists():
                found.append((as_of, read_document(path / RETIRED, Promotion).at))
        return sorted(found)

    def drop_retired(self, table: str, *, at_once: bool = False) -> list[date]:
        """Remove what was taken out of sight as long ago as a replaced version stays; which dates."""
        gone: list[date] = []
        for as_of, since in self.retired(table):
            if at_once or _now() - since >= self._keep_superseded:
                folder = self.folder(table, as_of)
                for path in self.version_folders(table, as_of):
                    remove(path)
                # Last, because a version without both would be taken for a damaged snapshot.
                (folder / POINTER).unlink(missing_ok=True)
                (folder / RETIRED).unlink(missing_ok=True)
                remove(folder)
                gone.append(as_of)
        return gone

    def before(self, table: str, as_of: date) -> Snapshot | None:
        """The last snapshot of a date before `as_of`, or None where there is none."""
        earlier = [found for found in self.dates(table) if found < as_of]
        return self.snapshot(table, earlier[-1]) if earlier else None

    def between(self, table: str, first: date, last: date) -> list[Snapshot]:
        """The snapshots of the dates from `first` to `last`, both included, ascending."""
        dates = [found for found in self.dates(table) if first <= found <= last]
        return [self.snapshot(table, found) for found in dates]

    def folder(self, table: str, as_of: AsOf) -> UPath:
        """Where the versions of one snapshot lie.

        Raises:
            InvalidTableName: The name could leave the root, or not be a folder everywhere.
            InvalidAsOf: `as_of` is neither a date nor None.
        """
        # A datetime is a date to Python, but its clock time would end up in the folder's name.
        if as_of is not None and (isinstance(as_of, datetime) or not isinstance(as_of, date)):
            raise InvalidAsOf(given=as_of)
        name = _WITHOUT_DATE if as_of is None else f"as_of={as_of.isoformat()}"
        return self.root / _checked_name(table) / name

    def promote(self, staging: Staging, manifest: Manifest) -> Snapshot:
        """Move the pointer to a staged version; `Staging.promote` is the way to call it."""
        for part, files in manifest.files.items():
            if not files:
                raise SnapshotUnreadable(
                    path=str(staging.folder / part), reason="has no Parquet file to promote"
                )
        folder = self.folder(staging.table, staging.as_of)
        with storage(staging.folder):
            staging.folder.mkdir(parents=True, exist_ok=True)  # not there without files of its own
            _write(staging.folder / MANIFEST, manifest.model_dump_json(indent=1))
            if self._local:
                _flush(staging.folder)
            pointer = Pointer(version=staging.version, superseded=self._superseded(folder))
            # Before the pointer moves: the other order could lose what is being published.
            (folder / RETIRED).unlink(missing_ok=True)
            self._move_pointer(folder, staging.folder, pointer)
        return Snapshot(staging.table, staging.as_of, staging.version, manifest, staging.folder)

    def checksums(self, files: Mapping[str, Sequence[UPath]]) -> dict[str, dict[str, str]]:
        """What to know staged files by, by part and name.

        None in buckets: they watch over their objects themselves, and would send each one twice.
        """
        if not self._local:
            return {}
        return {
            part: {path.name: _checksum(path) for path in paths} for part, paths in files.items()
        }

    def settle(self, snapshot: Snapshot) -> None:
        """What follows a promotion, none of which may fail it; `Staging.promote` calls it."""
        folder = snapshot.folder.parent
        with best_effort("its folders could not be synced to the disk", snapshot.folder):
            if self._local:
                for level in (folder, folder.parent, self.root):
                    _sync(Path(level))
        with best_effort("the note of its promotion could not be written", snapshot.folder):
            _write(snapshot.folder / PROMOTED, Promotion(at=_now()).model_dump_json())
        with best_effort("old versions could not be removed", snapshot.folder):
            self._forget_listings()
            self._sweeper.sweep(folder, now=_now())
            self._sweeper.sweep_abandoned(folder.parent, now=_now())

    def names(self, table: str, as_of: AsOf, version: str) -> bool:
        """Whether the pointer names `version`, as the current one or one that may still be read."""
        pointer = self.folder(table, as_of) / POINTER
        self._forget_listings()
        return pointer.exists() and version in read_document(pointer, Pointer).versions

    def _superseded(self, folder: UPath) -> list[Superseded]:
        """What the next pointer replaces: the current version, and those replaced just before."""
        if not (folder / POINTER).exists():
            return []
        now = _now()
        old = read_document(folder / POINTER, Pointer)
        recent = [past for past in old.superseded if now - past.since < self._keep_superseded]
        return [Superseded(version=old.version, since=now), *recent]

    def _move_pointer(self, folder: UPath, staged: UPath, pointer: Pointer) -> None:
        text = pointer.model_dump_json()
        if not self._local:
            # One put of one small object: a bucket shows the old one or the new one.
            _write(folder / POINTER, text)
            return
        _write(staged / POINTER, text)
        _sync(Path(staged / POINTER))
        Path(staged / POINTER).replace(folder / POINTER)

    def _has_snapshot(self, folder: UPath) -> bool:
        self._forget_listings()
        with storage(folder):
            if (folder / RETIRED).exists():
                return False
            if (folder / POINTER).exists():
                return True
        for version in self._listing(folder):
            if (version / PROMOTED).exists():
                raise SnapshotUnreadable(
                    path=str(folder / POINTER), reason="is gone, but a version was promoted"
                )
        return False

    def _listing(self, folder: UPath) -> list[UPath]:
        self._forget_listings()
        with storage(folder):
            if folder.is_dir():
                return list(folder.iterdir())
            if self.root.is_file():
                raise StorageUnusable(path=str(self.root), reason="is a file and no folder")
        return []

    def _forget_listings(self) -> None:
        """Bucket file systems remember what they listed, also after another process changed it."""
        if not self._local:
            self.root.fs.invalidate_cache()


def table_name(parts: Sequence[str]) -> str:
    """The table under which an asset key is stored: its parts joined by two underscores.

    Raises:
        InvalidTableName: A part is not a plain name, or has two underscores itself,
            so that two assets could share one table.
    """
    for part in parts:
        if "__" in part:
            raise InvalidTableName(name=part)
        _checked_name(part)
    return "__".join(parts)


def _now() -> datetime:
    return datetime.now(UTC)


def _there(folder: UPath, name: str) -> bool:
    """Whether a folder on the disk holds a file; a path object would take longer than the answer."""
    return os.path.exists(os.path.join(str(folder), name))  # noqa: PTH110, PTH118


def _checked_name(name: str) -> str:
    if not _TABLE_NAME.fullmatch(name):
        raise InvalidTableName(name=name)
    return name


def _date_of(folder_name: str) -> date | None:
    prefix, _, text = folder_name.partition("=")
    if prefix != "as_of" or text == "all":
        return None
    try:
        return date.fromisoformat(text)
    except ValueError:
        return None


def _checksum(path: UPath) -> str:
    """CRC-32 of a file, as eight hexadecimal digits."""
    value = 0
    with path.open("rb") as file:
        while block := file.read(_BLOCK_BYTES):
            value = zlib.crc32(block, value)
    return f"{value:08x}"


def _write(path: UPath, text: str) -> None:
    path.write_text(text, encoding="utf-8")


def _flush(folder: UPath) -> None:
    """Bring every file and folder below a local `folder` to the disk."""
    for parent, _, names in os.walk(folder):
        for name in names:
            _sync(Path(parent, name))
        _sync(Path(parent))


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
