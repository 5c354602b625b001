"""The files of a source: finding them, telling what they are, and their fingerprint.

What is inside them does not belong here (`csv_files.py`, `reading.py`).
"""

from __future__ import annotations

import glob
import hashlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import takewhile
from pathlib import Path
from typing import Final

from upath import UPath

from rfm_assets.engines.base import AnyPath
from rfm_assets.errors import (
    RfmError,
    SourceEmpty,
    SourceMissing,
    SourceStale,
    SourceUnreadable,
)
from rfm_assets.sources.places import placed, protocol_of

_CHUNK: Final = 1 << 20
_SAMPLED_ABOVE: Final = 1 << 30
"""Larger files are fingerprinted by size, both ends and samples: reading them twice costs minutes."""
_SAMPLES: Final = 64

GZIP_MAGIC: Final = b"\x1f\x8b"
_OTHER_MAGIC: Final = {
    b"PK\x03\x04": "a zip archive or an Excel workbook",
    b"\xd0\xcf\x11\xe0": "an old Excel workbook",
    b"PAR1": "a Parquet file",
    b"\x28\xb5\x2f\xfd": "compressed with zstd",
    b"BZh": "compressed with bzip2",
    b"\xfd7zXZ": "compressed with xz",
    b"%PDF": "a PDF",
}


@dataclass(frozen=True)
class SourceFile:
    """One file.

    Attributes:
        path: Where it lies.
        name: How messages, rejects and the fingerprint call it; no two files of a source share it.
        folders: The folders between the one that was given and the file, for `key=value` folders.
    """

    path: AnyPath
    name: str
    folders: tuple[str, ...] = ()

    @property
    def literal(self) -> str:
        """The path as a pattern that matches only itself: DuckDB takes every path for a glob."""
        return glob.escape(str(self.path))

    @property
    def size(self) -> int:
        """Bytes on disk."""
        return self.path.stat().st_size

    @property
    def written_at(self) -> datetime:
        """When it was last written, in UTC."""
        if isinstance(self.path, UPath) and is_remote(self.path):
            return self.path.fs.modified(self.path.path).astimezone(UTC)
        return datetime.fromtimestamp(self.path.stat().st_mtime, UTC)

    def head(self, count: int = 4096) -> bytes:
        """The first bytes."""
        with self.path.open("rb") as file:
            return file.read(count)

    @property
    def is_gzip(self) -> bool:
        """Told by the content, because names are wrong often enough."""
        return self.head(2) == GZIP_MAGIC


def find(paths: str | Sequence[str], root: Path, suffix: str = "") -> list[SourceFile]:
    """The files that `paths` name, sorted by path; relative ones start at `root`.

    A folder stands for all files below it that end in `suffix`, or that and `.gz`.

    Raises:
        SourceMissing: A path or pattern has no file; the message lists what lies there.
        SourceUnreadable: A folder or pattern has a file twice, plain and compressed.
    """
    found: dict[AnyPath, tuple[str, ...]] = {}
    for path in [paths] if isinstance(paths, str) else paths:
        with _reaching(path):
            given = _given_folder(path, root)
            for match in _matches(path, root, suffix):
                found[match] = match.relative_to(given).parts[:-1]
    ordered = sorted(found, key=str)
    names = {path: _name(path, root) for path in ordered}
    # Files of one name in two folders beyond the root must not be taken for one.
    alike = len(set(names.values())) < len(names)
    return [
        SourceFile(path, str(path) if alike else name, found[path]) for path, name in names.items()
    ]


def find_one(path: str, root: Path) -> SourceFile:
    """The one file that `path` names.

    Raises:
        SourceMissing: There is none.
        SourceUnreadable: The pattern has several.
    """
    files = find(path, root)
    if len(files) > 1:
        raise SourceUnreadable(
            source=path,
            reason=f"{len(files)} files match ({', '.join(file.name for file in files[:3])}, …), "
            "and a source of this type reads one",
            fix="Name one file.",
        )
    return files[0]


@contextmanager
def _reaching(path: str) -> Iterator[None]:
    """Looking for files; on a bucket that means asking a server.

    Raises:
        SourceUnreadable: It cannot be reached, or refuses.
    """
    try:
        yield
    except RfmError:
        raise
    except Exception as error:  # buckets raise whatever their library does
        if protocol_of(path) is None and not isinstance(error, OSError):
            raise
        said = " ".join(str(error).split()).rstrip(". ")
        raise SourceUnreadable(
            source=path,
            reason=f"it cannot be reached ({said})",
            fix="Check `source.path`, and the rights and credentials of whoever runs this.",
        ) from error


def _given_folder(path: str, root: Path) -> AnyPath:
    """Below what `key=value` folders count: the root, or the fixed part of another path."""
    if protocol_of(path) is None and not Path(path).is_absolute():
        return root
    target = placed(path, root)
    fixed = [*takewhile(lambda part: not glob.has_magic(part), target.parts)]
    if target.exists() or len(fixed) == len(target.parts):
        return target if target.is_dir() else target.parent
    return target.parents[len(target.parts) - len(fixed) - 1]


def _matches(path: str, root: Path, suffix: str) -> list[AnyPath]:
    target = placed(path, root)
    if target.is_file():
        return [target]
    matches: list[AnyPath] = []
    if target.is_dir() and suffix:
        ends = (suffix, f"{suffix}.gz")
        matches = [p for p in target.rglob("*") if p.name.endswith(ends) and p.is_file()]
    elif glob.has_magic(path):
        matches = [inner for inner in _globbed(target) if inner.is_file()]
    _refuse_copies(matches, root)
    if not matches:
        parent = target if target.is_dir() else target.parent
        nearby = sorted(inner.name for inner in parent.iterdir())[:10] if parent.is_dir() else []
        raise SourceMissing(path=path, root=str(root), nearby=nearby)
    return matches


def _globbed(pattern: AnyPath) -> list[AnyPath]:
    if isinstance(pattern, UPath) and is_remote(pattern):
        found = pattern.fs.glob(pattern.path)
        return [UPath(pattern.fs.unstrip_protocol(str(inner))) for inner in found]
    return [Path(inner) for inner in glob.glob(str(pattern), recursive=True)]  # noqa: PTH207 absolute patterns


def _refuse_copies(matches: Sequence[AnyPath], root: Path) -> None:
    """Raise if a file lies beside its own compressed copy: its rows would count twice."""
    known = set(matches)
    for path in sorted(known, key=str):
        if path.with_name(f"{path.name}.gz") in known:
            raise SourceUnreadable(
                source=_name(path, root),
                reason=f"{path.name}.gz lies beside it, so that its rows would count twice",
                fix="Remove one of the two, or list the files under `path`.",
            )


def is_remote(path: AnyPath) -> bool:
    """Whether the path is on a bucket, or wherever else than on a disk."""
    return isinstance(path, UPath) and path.protocol not in {"", "file", "local"}


def _name(path: AnyPath, root: Path) -> str:
    if isinstance(path, UPath) and is_remote(path):
        return str(path)
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else path.name


def refuse_foreign(file: SourceFile, *, expected: str) -> None:
    """Raise if the file is empty, or by its first bytes something else than `expected`."""
    head = file.head()
    if not head:
        raise SourceEmpty(source=file.name, reason="the file has 0 bytes")
    for magic, what in _OTHER_MAGIC.items():
        if head.startswith(magic):
            raise SourceUnreadable(
                source=file.name,
                reason=f"it is {what}, not {expected}",
                fix="Set `source.type` to what it is, or export it again.",
            )


def refuse_twins(header: Sequence[str], columns: Iterable[str], source: str) -> None:
    """Raise if the header names one of `columns` twice."""
    for name in columns:
        if header.count(name) > 1:
            raise SourceUnreadable(
                source=source,
                reason=f"its header names {name!r} twice",
                fix="Rename one of the two columns.",
            )


def fingerprint(files: Sequence[SourceFile], *, settings: str = "") -> str:
    """A hash of names, sizes and content, `sha256:` first; `settings` enters it too.

    The same files give the same fingerprint on every machine. Files above 1 GiB are sampled.
    """
    digest = hashlib.sha256(settings.encode())
    for file in files:
        digest.update(f"\0{file.name}\0{file.size}\0".encode())
        digest.update(_content(file))
    return f"sha256:{digest.hexdigest()}"


def _content(file: SourceFile) -> bytes:
    with file.path.open("rb") as stream:
        if file.size <= _SAMPLED_ABOVE:
            return hashlib.file_digest(stream, "sha256").digest()
        digest = hashlib.sha256()
        step = (file.size - _CHUNK) // _SAMPLES
        for index in range(_SAMPLES + 1):
            stream.seek(index * step)
            digest.update(stream.read(_CHUNK))
        return digest.digest()


def require_younger(
    name: str, written_at: datetime | None, days: int | None, *, now: datetime
) -> None:
    """Raise SourceStale if a source was written longer ago; None allows any age."""
    if days is None or written_at is None:
        return
    age = (now - written_at).total_seconds() / 86_400
    if age > days:
        raise SourceStale(source=name, age_days=age, max_age_days=days)
