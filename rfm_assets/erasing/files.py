"""Their lines and names in files that the project keeps beside its store."""

import codecs
import re
from collections.abc import Iterator
from pathlib import Path

from rfm_assets.erasing.ids import Wanted

_BEGINNING = 1 << 16
_GZIP = b"\x1f\x8b"
_ROWS = {".csv", ".tsv", ".txt"}
"""Suffixes of files of which a line is somebody's."""


def clean_files(folder: Path, wanted: Wanted, *, dry_run: bool) -> dict[str, int]:
    """Uploads, and what runs wrote down: lines of tables go, other mentions are replaced.

    Returns:
        By file, in how many places they were named. Files that are no text are left as they are.
    """
    found: dict[str, int] = {}
    for file in _files_below(folder):
        read = _text_of(file)
        if read is None:
            continue
        text, encoding = read
        lines = text.splitlines(keepends=True)
        rows = file.suffix in _ROWS
        named = [_line_names(line, wanted, rows=rows) for line in lines]
        if not any(named):
            continue
        found[str(file)] = sum(named)
        if dry_run:
            continue
        kept = [
            wanted.replaced(line) if hit else line
            for line, hit in zip(lines, named, strict=True)
            if not (hit and rows)
        ]
        beside = file.with_name(f"{file.name}.new")
        beside.write_bytes("".join(kept).encode(encoding, "surrogateescape"))
        beside.chmod(file.stat().st_mode)
        beside.replace(file)
    return found


def searched(folder: Path) -> tuple[int, list[Path]]:
    """How many files there are, and those that are no text, so that nobody can say."""
    files = list(_files_below(folder))
    return len(files), [file for file in files if _text_of(file) is None]


def _text_of(file: Path) -> tuple[str, str] | None:
    """What stands in a file and how it is written.

    None for what is no text: it must not be changed as if it were.
    """
    content = file.read_bytes()
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        try:
            return content.decode("utf-16"), "utf-16"
        except UnicodeDecodeError:
            return None
    # What begins as a text is one: a crash may leave zeros in the middle of a log.
    if b"\0" in content[:_BEGINNING] or content.startswith(_GZIP):
        return None
    # Bytes that are no UTF-8 come through as they are.
    return content.decode("utf-8", "surrogateescape"), "utf-8"


def _line_names(line: str, wanted: Wanted, *, rows: bool) -> bool:
    """Whether a line names somebody: as a word, or in a file of rows as a whole cell."""
    if wanted.named_in(line):
        return True
    return rows and any(
        wanted.named_in(cell.strip("\"' \r\n")) for cell in re.split(r"[,;\t|]", line)
    )


def _files_below(folder: Path) -> Iterator[Path]:
    if not folder.is_dir():
        return
    for file in sorted(folder.rglob("*")):
        if file.is_file() and file.name != "keys.json":
            yield file
