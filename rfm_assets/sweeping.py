"""Which versions of a table go, and their removal.

A version that the pointer does not name was either promoted, and is then replaced, or it is being
written right now, or it was abandoned by a killed run. Only its age tells the last two apart.
What a version is and how one is promoted is `store.py`'s business.
"""

import logging
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path, PurePosixPath

from upath import UPath

from rfm_assets.errors import SnapshotUnreadable
from rfm_assets.manifest import POINTER, PROMOTED, Pointer, Promotion, read_document

VERSION_TIME = "%Y%m%dT%H%M%S%f"
_VERSION = re.compile(r"\d{8}T\d{12}Z-[0-9a-f]{8}", re.ASCII)

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Sweeper:
    """Removes what nobody reads any more.

    That is what was replaced `keep_superseded` ago, and what was begun `abandon_after` ago and
    never promoted.
    """

    keep_superseded: timedelta
    abandon_after: timedelta

    def sweep(self, folder: UPath, *, now: datetime) -> None:
        """Remove the old versions of one snapshot, which has a pointer.

        A version that lost a race between two writers keeps its readers' time too.
        """
        named = read_document(folder / POINTER, Pointer).versions
        for path in list(folder.iterdir()):
            started = _started(path.name)
            if started is None or path.name in named:
                continue
            if (path / PROMOTED).exists():
                gone = now - (_promoted(path) or started) >= self.keep_superseded
            else:
                gone = now - started >= self.abandon_after
            if gone:
                remove(path)

    def sweep_abandoned(self, table: UPath, *, now: datetime) -> None:
        """Remove what killed runs left in any snapshot of `table`."""
        for path in _versions(table):
            started = _started(path.name)
            if (
                started is not None
                and now - started >= self.abandon_after
                and not (path / PROMOTED).exists()
                and not _named(path)
            ):
                remove(path)


def remove(folder: UPath) -> None:
    """Remove a version as far as that is possible; another writer may be removing it as well."""
    if isinstance(folder, Path):
        shutil.rmtree(folder, ignore_errors=True)
    elif folder.exists():
        folder.fs.rm(folder.path, recursive=True)
    if folder.exists():
        _log.warning("%s cannot be removed; it takes space, and disturbs nobody", folder)


def _versions(table: UPath) -> Iterator[UPath]:
    """Every version of every snapshot, but on a bucket those known to be promoted.

    A bucket gives all of it in one listing, because it is slow to answer once for each folder.
    """
    if isinstance(table, Path):
        yield from table.glob("as_of=*/*")
        return
    base = PurePosixPath(table.path)
    found: dict[tuple[str, str], set[str]] = {}
    for key in table.fs.find(str(base), withdirs=True):
        match PurePosixPath(key).relative_to(base).parts:
            case (snapshot, version, *names):
                found.setdefault((snapshot, version), set()).update(names[:1])
    for (snapshot, version), names in found.items():
        if PROMOTED not in names:
            yield table / snapshot / version


def _named(version: UPath) -> bool:
    pointer = version.parent / POINTER
    try:
        return pointer.exists() and version.name in read_document(pointer, Pointer).versions
    except SnapshotUnreadable:
        # Unknown is not abandoned.
        return True


def _started(version: str) -> datetime | None:
    """When a version was begun; None for what is no version."""
    if not _VERSION.fullmatch(version):
        return None
    try:
        return datetime.strptime(version.partition("Z")[0], VERSION_TIME).replace(tzinfo=UTC)
    except ValueError:
        return None


def _promoted(version: UPath) -> datetime | None:
    try:
        return read_document(version / PROMOTED, Promotion).at
    except SnapshotUnreadable:
        # Its writer was killed just after the pointer had moved.
        return None
