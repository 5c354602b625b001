"""Taking customers out of everything that is stored, and looking afterwards that nothing is left.

Each snapshot that has them is written again without their rows, as a version of its own, and
the versions that have them are removed at once. Figures of many customers stay as they are. Who
was erased is kept as a keyed hash only (`erased.py`). Whatever is interrupted can be done again: it
only does what is still to be done.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path

from upath import UPath

from rfm_assets.erased import REGISTER, register_of, write_register
from rfm_assets.erasing.documents import TECHNICAL, cleaned, texts_in, texts_of
from rfm_assets.erasing.files import clean_files, searched
from rfm_assets.erasing.ids import Wanted
from rfm_assets.erasing.rows import Judge, counted, without_them
from rfm_assets.errors import SnapshotMissing
from rfm_assets.manifest import MANIFEST, PROMOTED, Manifest, read_document
from rfm_assets.store import AsOf, Snapshot, Store


@dataclass(frozen=True)
class Removed:
    """What was, or would be, removed from one part of one version."""

    table: str
    as_of: AsOf
    version: str
    part: str
    rows: int
    texts: int = 0
    """Cells, or places of a document, that named a customer beside her rows."""


@dataclass
class Erasure:
    """What became of it.

    Attributes:
        removed: By part of each version.
        files: Files of the project that named somebody, with the number of places.
        left: Where somebody is found afterwards; nothing, if all went well.
        elsewhere: What cannot be erased from here, and how it can.
        searched: Files that were read in the end to see that nobody is left.
    """

    customers: int
    removed: list[Removed] = field(default_factory=list[Removed])
    files: dict[str, int] = field(default_factory=dict[str, int])
    left: list[str] = field(default_factory=list[str])
    elsewhere: list[str] = field(default_factory=list[str])
    searched: int = 0


def erase(
    store: Store,
    customers: Sequence[str],
    *,
    today: date,
    key_variable: str,
    project: Path | None = None,
    dry_run: bool = False,
) -> Erasure:
    """Remove customers from everything below a store's root.

    Args:
        store: What is stored.
        customers: Their ids, in any spelling.
        today: The day that the register notes.
        key_variable: Environment variable with the key of the register.
        project: Its `.rfm` folder is cleaned, too.
        dry_run: Only look what would be removed.

    Raises:
        ErasureKeyMissing: There is no key, so that nobody could be recognised later.
        SnapshotUnreadable: A file is damaged; nobody can say what is in it.
    """
    wanted = Wanted(customers)
    done = Erasure(customers=len(wanted.ids))
    if not dry_run:
        # First, so that a run that begins now does not store them again.
        register = register_of(store)
        write_register(
            store, register.with_customers(wanted.ids, today=today, variable=key_variable)
        )
    for table, as_of in _snapshots(store):
        done.removed += _erase_snapshot(store, table, as_of, wanted, done, dry_run=dry_run)
    if project is not None:
        done.files = clean_files(project / ".rfm", wanted, dry_run=dry_run)
    if not dry_run:
        _prove(store, project, wanted, done)
    return done


def _snapshots(store: Store) -> Iterator[tuple[str, AsOf]]:
    for table in store.tables():
        folder = store.root / table
        for path in sorted(folder.iterdir(), key=str):
            prefix, _, text = path.name.partition("=")
            if prefix == "as_of":
                yield table, None if text == "all" else date.fromisoformat(text)


class _Published(Exception):
    """A run published a version while another was written again."""


_TRIES = 5


def _erase_snapshot(
    store: Store, table: str, as_of: AsOf, wanted: Wanted, done: Erasure, *, dry_run: bool
) -> list[Removed]:
    """Write the current version again if it has them, and remove every other one that has."""
    for _ in range(_TRIES):
        before = list(done.elsewhere)
        try:
            return _erase_once(store, table, as_of, wanted, done, dry_run=dry_run)
        except _Published:
            done.elsewhere[:] = before
    # What is left is found by the search afterwards, and told.
    return []


def _erase_once(
    store: Store, table: str, as_of: AsOf, wanted: Wanted, done: Erasure, *, dry_run: bool
) -> list[Removed]:
    """The same, as long as no run publishes meanwhile.

    Raises:
        _Published: A run has, so that what was written again is no longer the current version.
    """
    found: list[Removed] = []
    having: list[str] = []
    folders = store.version_folders(table, as_of)
    pointed = {one.version: one for one in _kept(store, table, as_of)}
    current = next(iter(pointed.values()), None)
    for folder in folders:
        manifest = _manifest(folder)
        here = _look_into(table, as_of, folder, manifest, wanted)
        if here:
            having.append(folder.name)
            found += here
        if manifest is not None and manifest.in_place is not None and folder.name in pointed:
            place = str(manifest.in_place.get("root", ""))
            done.elsewhere.append(
                f"{table} is read in place: take the rows out of its Parquet files below {place}, "
                "and run it again."
            )
    if dry_run:
        return found
    if current is not None and current.version in having:
        _rewrite(store, current, wanted)
    # Whoever is writing one of them loses it: it would bring her back.
    store.drop_versions(table, as_of, having)
    if current is None and having:
        # What retention has taken out of sight has no reader to wait for any more.
        store.drop_retired(table, at_once=True)
    return found


def _kept(store: Store, table: str, as_of: AsOf) -> list[Snapshot]:
    try:
        return store.kept(table, as_of)
    except SnapshotMissing:
        return []


def _manifest(folder: UPath) -> Manifest | None:
    path = folder / MANIFEST
    return read_document(path, Manifest) if path.exists() else None


def _parts(folder: UPath) -> Iterator[tuple[str, UPath]]:
    """Every Parquet file of a version, by part."""
    for part in sorted(folder.iterdir(), key=str):
        if part.is_dir():
            for file in sorted(part.glob("*.parquet"), key=str):
                yield part.name, file


def _look_into(
    table: str, as_of: AsOf, folder: UPath, manifest: Manifest | None, wanted: Wanted
) -> list[Removed]:
    rows: dict[str, int] = {}
    texts: dict[str, int] = {}
    kind = manifest.kind if manifest else table
    for part, file in _parts(folder):
        here, cells = counted(file, Judge(kind, part, wanted))
        rows[part] = rows.get(part, 0) + here
        texts[part] = texts.get(part, 0) + cells
    found = [
        Removed(table, as_of, folder.name, part, rows[part], texts[part])
        for part in rows
        if rows[part] or texts[part]
    ]
    told = sum(1 for text in texts_of(manifest) if wanted.named_in(text)) if manifest else 0
    if told:
        found.append(Removed(table, as_of, folder.name, MANIFEST, 0, told))
    return found


def _rewrite(store: Store, snapshot: Snapshot, wanted: Wanted) -> None:
    """A new version of a snapshot without them, promoted in its place."""
    old = snapshot.manifest
    with store.stage(snapshot.table, snapshot.as_of) as staging:
        counts = dict(old.row_counts)
        erased = 0
        for part in old.files:
            judge = Judge(old.kind, part, wanted)
            target = staging.path_for(part)
            target.mkdir(parents=True, exist_ok=True)
            for file in snapshot.files(part):
                removed = without_them(file, target / file.name, judge)
                counts[part] -= removed
                erased += removed
        content = old.model_dump(mode="json")
        for key in content.keys() - TECHNICAL:
            content[key] = cleaned(content[key], wanted)
        manifest = Manifest.model_validate(
            content
            | {
                "row_counts": counts,
                "erased": old.erased + erased,
                "rewrites": [*old.rewrites, old.version],
                "files": {},
                "checksums": {},
            }
        )
        if store.current_version(snapshot.table, snapshot.as_of) != snapshot.version:
            raise _Published
        staging.promote(manifest)


def _prove(store: Store, project: Path | None, wanted: Wanted, done: Erasure) -> None:
    """Read everything that is there now, whether or not anything points to it."""
    for table, as_of in _snapshots(store):
        for folder in store.version_folders(table, as_of):
            done.searched += 1 + sum(1 for _ in _parts(folder))
            manifest = _manifest(folder)
            if manifest is None and (folder / PROMOTED).exists():
                done.left.append(f"{folder}: its manifest is gone, so that nobody can say")
            for one in _look_into(table, as_of, folder, manifest, wanted):
                done.left.append(f"{folder}/{one.part}: {one.rows} rows, {one.texts} mentions")
    for path in _documents(store):
        done.searched += 1
        if any(wanted.named_in(text) for text in texts_in(json.loads(path.read_text("utf-8")))):
            done.left.append(str(path))
    if project is not None:
        files, closed = searched(project / ".rfm")
        done.searched += files
        done.left += sorted(clean_files(project / ".rfm", wanted, dry_run=True))
        done.left += [f"{file}: no text, so that it cannot be searched" for file in closed]


def _documents(store: Store) -> Iterator[UPath]:
    """JSON directly below the root that is no version's: the register holds hashes only."""
    yield from (path for path in store.root.glob("*.json") if path.name != REGISTER)
