"""The small JSON documents of the store: a version's manifest and the pointer to a version.

How they are read, and what is said when one is missing, damaged or from a later release. Where
they lie and in which order they are written is `store.py`'s business.
"""

import json
from dataclasses import dataclass
from datetime import date, datetime
from typing import Annotated, TypeVar

from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError
from upath import UPath

from rfm_assets.errors import SnapshotUnreadable
from rfm_assets.validation import CheckOutcome

FORMAT = 1
"""Raised when an older release could no longer read what is written."""

POINTER, MANIFEST, PROMOTED, RETIRED = "CURRENT", "manifest.json", "PROMOTED", "RETIRED"
"""Names of the documents: the first and the last of a snapshot's folder, the others of a version's."""

_BEFORE, _AS_OF = " before", " as of "
"""What follows a table's name in `inputs` where a snapshot of another date was read."""

VERSION_NAME = r"^\d{8}T\d{12}Z-[0-9a-f]{8}$"

VersionName = Annotated[str, Field(pattern=VERSION_NAME)]
"""A version's folder: the UTC time at which it was begun, and eight random digits."""

FileName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*\.parquet$")]

PartName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]

Document = TypeVar("Document", bound=BaseModel)


class Manifest(BaseModel):
    """What a version says about itself.

    The writer gives kind, row counts and where the rows come from; the store fills in table,
    date, version, time, files and their checksums on promotion. Unknown keys are ignored, so
    that a later release may add some.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    format: int = FORMAT
    table: str = ""
    kind: str
    as_of: date | None = None
    version: str = ""
    created_at: datetime | None = None
    run_id: str = ""
    config_hash: str = ""
    source_fingerprint: str = ""
    row_counts: dict[PartName, int]
    cut_points: dict[str, JsonValue] | None = None
    counts: dict[str, int] = {}
    inputs: dict[str, str] = {}
    checks: list[CheckOutcome] = []
    files: dict[PartName, list[FileName]] = {}
    checksums: dict[PartName, dict[FileName, str]] = {}
    in_place: dict[str, JsonValue] | None = None
    """Where the main rows lie, if that is not here; what it says is `in_place.py`'s business."""
    extra: dict[str, JsonValue] = {}
    supersedes: str = ""
    """The version that was current when this one was made; it stays known after it is swept."""
    change: dict[str, int | float] | None = None
    """What this version says differently from that one."""
    erased: int = 0
    """Rows that were taken out because their customer was erased; the counts above that were made
    before that still have them, `row_counts` has not."""
    rewrites: list[str] = []
    """Versions that this one is a copy of, without the rows that were erased."""

    def made_from(self) -> dict[str, str]:
        """The tables of whose snapshots of the same date this one was made, with the versions."""
        read = ((Input.named(name), version) for name, version in self.inputs.items())
        return {one.table: version for one, version in read if not one.of_another_date}


@dataclass(frozen=True)
class Input:
    """Which snapshot of a table was read, as manifests name it in `inputs`.

    Attributes:
        day: The date of the snapshot, where just that one was asked for.
        before: The last one before the date that was computed.
    """

    table: str
    day: date | None = None
    before: bool = False

    @classmethod
    def named(cls, name: str) -> "Input":
        """The input of that name."""
        table, _, day = name.partition(_AS_OF)
        if day:
            return cls(table, date.fromisoformat(day))
        return cls(table.removesuffix(_BEFORE), before=table.endswith(_BEFORE))

    @property
    def of_another_date(self) -> bool:
        return self.before or self.day is not None

    def __str__(self) -> str:
        return f"{self.table}{_AS_OF}{self.day}" if self.day else self.table + _BEFORE * self.before


class Superseded(BaseModel):
    """A version that was read until `since`."""

    version: VersionName
    since: datetime


class Pointer(BaseModel):
    """The version to read, and those it has replaced that may still be read, newest first."""

    format: int = FORMAT
    version: VersionName
    superseded: list[Superseded] = []

    @property
    def versions(self) -> set[str]:
        """Every version that must stay."""
        return {self.version, *(past.version for past in self.superseded)}


class Promotion(BaseModel):
    """Says that a version was promoted, which tells a lost pointer from an unfinished run."""

    format: int = FORMAT
    at: datetime


def read_document(path: UPath, kind: type[Document]) -> Document:
    """One document of the store.

    Raises:
        SnapshotUnreadable: It is gone, damaged, or written by a later release.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise SnapshotUnreadable(path=str(path), reason="is gone") from error
    except UnicodeDecodeError as error:
        raise SnapshotUnreadable(path=str(path), reason="is damaged: it is not text") from error
    except OSError as error:
        raise SnapshotUnreadable(
            path=str(path),
            reason=f"cannot be read: {error.strerror or error}",
            fix="Let this user read it, and check that the disk or bucket answers.",
        ) from error
    try:
        content = json.loads(text)
        written = content.get("format", 0) if isinstance(content, dict) else 0
        if isinstance(written, int) and written > FORMAT:
            raise SnapshotUnreadable(
                path=str(path),
                reason=f"has format {written}, and this release reads up to {FORMAT}",
                fix="Upgrade rfm_assets here to the release that wrote it.",
            )
        return kind.model_validate(content)
    except json.JSONDecodeError as error:
        raise SnapshotUnreadable(path=str(path), reason=f"is damaged: {error}") from error
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(step) for step in first["loc"])
        raise SnapshotUnreadable(
            path=str(path), reason=f"is damaged: {place or 'document'}: {first['msg']}"
        ) from error
