"""Fetched snapshots in a folder of this process: each fetched once, a bounded number of them.

What was used longest ago makes room first, and nothing that is being read or was used a moment
ago: a query that has been put together may not have begun. How snapshots get here is `fetching.py`'s
business.
"""

import shutil
import tempfile
import threading
import time
import weakref
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from filelock import BaseFileLock, FileLock, Timeout

from rfm_assets.failures import storage

PREFIX = "rfm_assets-published-"
_OWNER = "owner"

MOST_BYTES = 4 << 30
MOST_SNAPSHOTS = 1_000
USED_SECONDS = 60.0
"""How long after its last use a snapshot counts as being read."""


@dataclass
class _Entry:
    """One snapshot. `lock` is held while it is fetched; `readers` keep it here."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    bytes: int | None = None
    readers: int = 0
    used: float = 0.0


class SnapshotCache:
    """Folders by key, made when they are first asked for, for several threads.

    Args:
        below: Where its own folder is made; the system's temporary folder where None.
        most_bytes: How much it keeps. What is being read stays even beyond that.
        most_snapshots: How many it keeps.
        used_seconds: How long after its last use a snapshot counts as being read.
    """

    def __init__(
        self,
        below: Path | None = None,
        *,
        most_bytes: int = MOST_BYTES,
        most_snapshots: int = MOST_SNAPSHOTS,
        used_seconds: float = USED_SECONDS,
    ) -> None:
        parent = (below or Path(tempfile.gettempdir())).expanduser().absolute()
        with storage(parent):
            parent.mkdir(parents=True, exist_ok=True)
            _remove_left_behind(parent)
            # Readable by this user alone: customers are in it.
            self.folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir=parent))
            # Released by whatever thread closes the cache.
            owner = FileLock(self.folder / _OWNER, thread_local=False)
            owner.acquire()
        self._most_bytes, self._most_snapshots = most_bytes, most_snapshots
        self._used_seconds = used_seconds
        self._entries: dict[Hashable, _Entry] = {}
        self._places: dict[Hashable, Path] = {}
        self._lock = threading.Lock()
        self._numbers = 0
        self.close = weakref.finalize(self, _remove, self.folder, owner)

    @contextmanager
    def holding(self, key: Hashable, place: Path, make: Callable[[Path], None]) -> Iterator[Path]:
        """The folder of `key`, which stays until this is left.

        `make` fills it where it is not there; others who ask meanwhile wait for that. It is given
        a folder beside, so that nobody ever sees half of it.
        """
        with self._lock:
            entry = self._entries.setdefault(key, _Entry())
            self._places[key] = place
            entry.readers += 1
        try:
            with entry.lock:
                if entry.bytes is None:
                    entry.bytes = self._made(place, make)
            yield place
        finally:
            with self._lock:
                entry.readers -= 1
                entry.used = time.monotonic()
                if entry.bytes is None and entry.readers == 0:
                    self._drop(key)
            self._make_room()

    def has(self, key: Hashable) -> bool:
        """Whether it is here."""
        with self._lock:
            entry = self._entries.get(key)
            return entry is not None and entry.bytes is not None

    @property
    def bytes(self) -> int:
        """What is here, in bytes."""
        with self._lock:
            return sum(entry.bytes or 0 for entry in self._entries.values())

    def _made(self, place: Path, make: Callable[[Path], None]) -> int:
        with self._lock:
            self._numbers += 1
            staged = self.folder / f"fetching-{self._numbers}"
        try:
            with storage(staged):
                staged.mkdir()
            make(staged)
            with storage(place):
                place.parent.mkdir(parents=True, exist_ok=True)
                staged.replace(place)
                return sum(one.stat().st_size for one in place.rglob("*") if one.is_file())
        finally:
            shutil.rmtree(staged, ignore_errors=True)

    def _make_room(self) -> None:
        """Remove what was used longest ago, until the rest is within the bounds."""
        gone: list[Path] = []
        with self._lock:
            kept = {key: one for key, one in self._entries.items() if one.bytes is not None}
            size, number = sum(one.bytes or 0 for one in kept.values()), len(kept)
            before = time.monotonic() - self._used_seconds
            for key, entry in sorted(kept.items(), key=lambda pair: pair[1].used):
                if size <= self._most_bytes and number <= self._most_snapshots:
                    break
                if entry.readers or entry.used > before:
                    continue
                size, number = size - (entry.bytes or 0), number - 1
                self._numbers += 1
                aside = self.folder / f"gone-{self._numbers}"
                # Out of the way at once, so that it may be fetched again while this is removed.
                with suppress(OSError):
                    self._places[key].replace(aside)
                gone.append(aside)
                self._drop(key)
        for one in gone:
            shutil.rmtree(one, ignore_errors=True)

    def _drop(self, key: Hashable) -> None:
        del self._entries[key], self._places[key]


def _remove(folder: Path, owner: BaseFileLock) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    owner.release()


def _remove_left_behind(parent: Path) -> None:
    """Folders of processes that were killed: nobody holds their lock any more."""
    for folder in parent.glob(f"{PREFIX}*"):
        with suppress(OSError, Timeout), FileLock(folder / _OWNER).acquire(timeout=0):
            shutil.rmtree(folder, ignore_errors=True)
