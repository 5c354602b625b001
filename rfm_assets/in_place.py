"""Rows that stay in the Parquet files of their source, and how a snapshot gives them back.

Such a snapshot holds no rows of its own, but which files they are in, by what mapping they are
read and by what policy they are judged. Reading it does all that again, lazily; that the files
are still those of the snapshot is looked at first. What a mapping or a policy means is in
`sources/` and `domain/`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from rfm_assets.domain.frames import Table
from rfm_assets.domain.row_policy import TransactionPolicy
from rfm_assets.domain.transactions import kept_rows
from rfm_assets.engines.base import Engine
from rfm_assets.errors import RfmError, SnapshotUnreadable
from rfm_assets.failures import parquet_of
from rfm_assets.sources.config import ColumnMapping, ParquetSource
from rfm_assets.sources.files import SourceFile, find
from rfm_assets.sources.reading import read
from rfm_assets.store import ROWS, Snapshot

_FOOTER_END = 8
"""The last bytes of a Parquet file: the length of its footer, and PAR1."""


class InPlace(BaseModel):
    """Where the rows of a snapshot lie and how they are read; a part of its manifest.

    `files` has a fingerprint of each file by its name. A file that is added later belongs to the
    next snapshot.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    root: str
    source: ParquetSource
    columns: ColumnMapping
    time_zone: str
    policy: TransactionPolicy
    now_day: int
    files: dict[str, str]

    @classmethod
    def now(
        cls,
        *,
        root: Path,
        source: ParquetSource,
        columns: ColumnMapping,
        time_zone: str,
        policy: TransactionPolicy,
        now_day: int,
    ) -> InPlace:
        """The source as its files are now."""
        found = find(source.path, root, ".parquet")
        return cls(
            root=str(root),
            source=source,
            columns=columns,
            time_zone=time_zone,
            policy=policy,
            now_day=now_day,
            files={file.name: footer_fingerprint(file) for file in found},
        )

    def rows(self, engine: Engine, snapshot: Snapshot) -> Table:
        """The rows that the policy keeps, lazily.

        Raises:
            SnapshotUnreadable: A file is gone, or is not what it was.
        """
        self._require_unchanged(snapshot)
        reading = read(
            self.source,
            self.columns,
            engine=engine,
            root=Path(self.root),
            time_zone=self.time_zone,
            only=self.files,
        )
        counts = snapshot.manifest.counts
        return kept_rows(
            reading.table,
            self.policy,
            now_day=self.now_day,
            # The files are what they were, and so is what the policy makes of them.
            all_kept=counts.get("rows_in") == counts.get("rows_kept", -1),
        )

    def _require_unchanged(self, snapshot: Snapshot) -> None:
        try:
            found = {f.name: f for f in find(self.source.path, Path(self.root), ".parquet")}
        except RfmError as error:
            paths = [self.source.path] if isinstance(self.source.path, str) else self.source.path
            raise _changed(snapshot, ", ".join(paths), f"cannot be found ({error})") from error
        for name, fingerprint in self.files.items():
            if name not in found:
                raise _changed(snapshot, name, "is gone")
            if footer_fingerprint(found[name]) != fingerprint:
                raise _changed(snapshot, name, "is not what it was")


def rows_of(engine: Engine, snapshot: Snapshot, part: str = ROWS) -> Table:
    """The rows of one part of a snapshot, lazily, wherever they lie.

    Raises:
        PartMissing: The snapshot has no such part.
        SnapshotUnreadable: A file is gone or damaged, or one that was read in place has changed.
    """
    described = snapshot.manifest.in_place
    if part != ROWS or described is None:
        return engine.scan_parquet(snapshot.files(part))
    return _described(snapshot, described).rows(engine, snapshot)


def footer_fingerprint(file: SourceFile) -> str:
    """A hash of size and footer, which says where every column chunk lies and what is in it.

    Writing a Parquet file again changes it. The content is not read: that would be a pass over
    data of which one pass costs most.
    """
    size = file.size
    with parquet_of([file.path]), file.path.open("rb") as stream:
        stream.seek(max(0, size - _FOOTER_END))
        length = int.from_bytes(stream.read(4), "little")
        stream.seek(max(0, size - _FOOTER_END - length))
        return f"{size}:{hashlib.sha256(stream.read()).hexdigest()}"


def _described(snapshot: Snapshot, described: Mapping[str, object]) -> InPlace:
    try:
        return InPlace.model_validate(described)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(step) for step in first["loc"])
        raise SnapshotUnreadable(
            path=str(snapshot.folder),
            reason=f"of {snapshot.table} says how its rows are read in place, and this release "
            f"does not understand it ({place}: {first['msg']})",
            fix=f"Materialise {snapshot.table} again.",
        ) from error


def _changed(snapshot: Snapshot, file: str, what: str) -> SnapshotUnreadable:
    return SnapshotUnreadable(
        path=file,
        reason=f"{what}, and {snapshot.table} reads it in place",
        fix=f"Put it back, or materialise {snapshot.table} again to read what is there now. Set "
        "`in_place: false` for files that change.",
    )
