"""The files of an export: a folder that is there as a whole or not at all, with a manifest.

    data/exports/<asset>/<as_of>/<list>_<destination>_<as_of>.csv
    data/exports/<asset>/<as_of>/rejects.csv         who is set aside, and why
    data/exports/<asset>/<as_of>/suppressed.csv      who was suppressed since the list was made
    data/exports/<asset>/<as_of>/manifest.json

The folder is made under another name and takes its place at the end. Only its owner can read it,
because addresses of people are in it.
"""

import csv
import hashlib
import io
import json
import secrets
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from rfm_assets.domain.destinations import Destination, FileLayout
from rfm_assets.domain.exporting import Prepared, Row, batches
from rfm_assets.errors import InvalidConfig
from rfm_assets.exports.reading import Ready
from rfm_assets.failures import storage
from rfm_assets.serving.formats import safe_cells

MANIFEST = "manifest.json"
REJECTS = "rejects.csv"
SUPPRESSED = "suppressed.csv"
BYTE_ORDER_MARK = "\ufeff".encode()
"""What makes a spreadsheet read the file as UTF-8; only files for people have it."""


@dataclass(frozen=True)
class Written:
    """One file of an export."""

    name: str
    rows: int
    bytes: int
    sha256: str


def write_export(
    folder: Path, ready: Ready, destination: Destination, *, now: datetime
) -> list[Written]:
    """Write the files of a list and their manifest to `folder`, in place of what is there.

    Raises:
        StorageUnusable: The folder cannot be written, or the disk is full.
        InvalidConfig: One row alone is larger than a file may be.
    """
    stem = f"{ready.snapshot.table}_{destination.id}_{ready.snapshot.as_of}"
    prepared = ready.prepared
    with storage(folder), _replacing(folder) as new:
        pieces = _named(stem, destination.file, list(_pieces(prepared, destination)))
        pieces[REJECTS] = (_table(("customer_id", "reason"), prepared.rejects), None)
        pieces[SUPPRESSED] = (_table(("customer_id", "reason"), prepared.suppressed), None)
        written: list[Written] = []
        for name, (content, rows) in pieces.items():
            (new / name).write_bytes(content)
            if rows is not None:
                digest = hashlib.sha256(content).hexdigest()
                written.append(Written(name, rows, len(content), digest))
        text = json.dumps(_manifest(ready, destination, written, now), indent=1, ensure_ascii=False)
        (new / MANIFEST).write_text(text + "\n", encoding="utf-8")
    return written


def _manifest(
    ready: Ready, destination: Destination, written: Sequence[Written], now: datetime
) -> Mapping[str, Any]:
    prepared = ready.prepared
    return {
        "list": ready.snapshot.table,
        "as_of": str(ready.snapshot.as_of),
        "destination": destination.reference,
        "exported_at": now.isoformat(timespec="seconds"),
        "counts": {
            "list": prepared.members,
            "sent": len(prepared.rows),
            "set aside": len(prepared.rejects),
            "suppressed since": len(prepared.suppressed),
        },
        "set aside": prepared.reasons,
        "left empty": dict(prepared.left_empty),
        "columns": [
            {"name": one.name, "of": one.of, "hash": one.hash} for one in destination.fields
        ],
        "suppression": [
            {
                "table": one.table,
                "as_of": str(one.as_of),
                "version": one.version,
                "computed_at": one.manifest.created_at.isoformat(timespec="seconds")
                if one.manifest.created_at
                else None,
            }
            for one in ready.suppression
        ],
        "versions": dict(ready.versions),
        "files": [vars(one) for one in written],
    }


def _named(
    stem: str, layout: FileLayout, pieces: Sequence[tuple[bytes, int]]
) -> dict[str, tuple[bytes, int | None]]:
    """Files by name, numbered only where there are several."""
    if len(pieces) == 1:
        return {f"{stem}.{layout.format}": pieces[0]}
    width = len(str(len(pieces)))
    return {
        f"{stem}_part{number:0{width}d}.{layout.format}": piece
        for number, piece in enumerate(pieces, start=1)
    }


def _pieces(prepared: Prepared, destination: Destination) -> Iterator[tuple[bytes, int]]:
    layout = destination.file
    for rows in batches(prepared.rows, layout.max_rows):
        if layout.format == "parquet":
            yield _parquet(prepared.columns, rows), len(rows)
        else:
            yield from _csv_files(prepared.columns, rows, layout)


def _csv_files(
    columns: Sequence[str], rows: Sequence[Row], layout: FileLayout
) -> Iterator[tuple[bytes, int]]:
    """The rows as one CSV file, or as several where one would be too large."""
    people = layout.reader == "people"
    head = (BYTE_ORDER_MARK if people else b"") + _line(safe_cells(columns) if people else columns)
    lines, size = [head], len(head)
    for row in _safe(rows) if people else rows:
        line = _line(row)
        if layout.max_bytes is not None and size + len(line) > layout.max_bytes:
            if len(lines) == 1:
                raise InvalidConfig(
                    key="file.max_bytes",
                    value=layout.max_bytes,
                    reason="is less than one row takes",
                    fix="Raise it, or give the destination fewer fields.",
                )
            yield b"".join(lines), len(lines) - 1
            lines, size = [head], len(head)
        lines.append(line)
        size += len(line)
    yield b"".join(lines), len(lines) - 1


def _table(columns: Sequence[str], rows: Iterable[Row]) -> bytes:
    """A small CSV file for people."""
    lines = [_line(row) for row in (safe_cells(columns), *_safe(rows))]
    return BYTE_ORDER_MARK + b"".join(lines)


def _safe(rows: Iterable[Row]) -> Iterator[Row]:
    """The rows as a spreadsheet may open them."""
    return zip(*(safe_cells(column) for column in zip(*rows, strict=True)), strict=True)


def _line(cells: Sequence[str | None]) -> bytes:
    text = io.StringIO()
    csv.writer(text).writerow(["" if cell is None else cell for cell in cells])
    return text.getvalue().encode("utf-8")


def _parquet(columns: Sequence[str], rows: Sequence[Row]) -> bytes:
    values = list(zip(*rows, strict=True)) if rows else [()] * len(columns)
    table = pa.table(
        {name: pa.array(one, pa.string()) for name, one in zip(columns, values, strict=True)}
    )
    sink = io.BytesIO()
    pq.write_table(table, sink, compression="zstd")
    return sink.getvalue()


@contextmanager
def _replacing(folder: Path) -> Iterator[Path]:
    """A folder beside `folder`, which takes its place once all of it is written."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    token = secrets.token_hex(4)
    new, old = (folder.with_name(f".{folder.name}-{token}{end}") for end in ("", "-old"))
    new.mkdir(mode=0o700)
    try:
        yield new
        if folder.exists():
            folder.rename(old)
        try:
            new.rename(folder)
        except OSError:
            if old.exists():
                old.rename(folder)
            raise
    finally:
        for left in (new, old):
            shutil.rmtree(left, ignore_errors=True)
