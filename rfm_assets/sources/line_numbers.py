"""Where each record of a CSV file stands: DuckDB counts records, people count lines.

Both agree until a value holds a line end, a line is blank, or a broken line was skipped. What
the records hold does not belong here.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO, Final, TypeAlias

import numpy as np
import numpy.typing as npt

from rfm_assets.errors import SourceTruncated, SourceUnreadable

CHUNK: Final = 1 << 22

Integers: TypeAlias = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Extent:
    """How long a text file is. `lines` counts a last line without line end too."""

    lines: int
    ends_with_newline: bool


def measure(stream: IO[bytes], name: str) -> Extent:
    """Read the stream to its end, which checks a gzip file's length and checksum on the way.

    Raises:
        SourceTruncated: The compressed data end too early.
        SourceUnreadable: The compressed data are damaged.
    """
    newlines = 0
    last = b""
    for chunk in chunks(stream, name):
        newlines += chunk.count(b"\n")
        last = chunk[-1:]
    complete = last in {b"\n", b""}
    return Extent(newlines + (not complete), complete)


def chunks(stream: IO[bytes], name: str) -> Iterator[bytes]:
    """The stream in pieces; failures of decompression named."""
    try:
        while chunk := stream.read(CHUNK):
            yield chunk
    except EOFError as error:
        raise SourceTruncated(source=name, where="inside its compressed data") from error
    except (OSError, zlib.error) as error:
        raise SourceUnreadable(
            source=name, reason=f"its compressed data are damaged ({error})", fix="Copy it again."
        ) from error


@dataclass(frozen=True)
class Numbering:
    """Line of the row `n` (from 1): `n` plus the offset of the last `first_rows` at or below it."""

    first_rows: Integers
    offsets: Integers
    broken_lines: Integers
    rows: int


def regular(broken_lines: Integers, rows: int) -> Numbering:
    """The numbering of a file whose records are one line each, header first.

    `broken_lines` are the lines that were skipped, sorted.
    """
    skipped = np.arange(1, len(broken_lines) + 1)
    first_rows = np.concatenate([[1], broken_lines - skipped])
    offsets = np.concatenate([[1], skipped + 1])
    # After several broken lines in a row, only the last counts.
    last = np.append(first_rows[1:] != first_rows[:-1], values=True)
    return Numbering(first_rows[last], offsets[last], broken_lines, rows)


def locate(stream: IO[bytes], name: str, *, quote: str, broken_at: Integers) -> Numbering:
    """The numbering of any file, by looking at each line end.

    Args:
        stream: The UTF-8 text.
        name: The file in messages.
        quote: Character around values that may hold line ends.
        broken_at: Bytes before or at which skipped records start, sorted; none lies between the
            start of the record before and that.
    """
    first_rows: list[Integers] = []
    offsets: list[Integers] = []
    broken_lines: list[Integers] = []
    rows, offset, headers = 0, 0, 1
    for all_starts, all_lines in _records(chunks(stream, name), ord(quote)):
        starts, lines = all_starts[headers:], all_lines[headers:]
        headers = max(0, headers - len(all_starts))
        if not len(starts):
            continue
        here = int(np.searchsorted(broken_at, starts[-1], side="right"))
        broken = np.unique(np.searchsorted(starts, broken_at[:here], side="left"))
        broken_at = broken_at[here:]
        broken_lines.append(lines[broken])
        kept = np.delete(lines, broken)
        numbers = np.arange(rows + 1, rows + len(kept) + 1)
        shift = kept - numbers
        changed = np.flatnonzero(np.diff(shift, prepend=offset))
        first_rows.append(numbers[changed])
        offsets.append(shift[changed])
        rows += len(kept)
        offset = int(shift[-1]) if len(shift) else offset
    return Numbering(_joined(first_rows), _joined(offsets), _joined(broken_lines), rows)


def _joined(parts: list[Integers]) -> Integers:
    return np.concatenate(parts) if parts else np.empty(0, np.int64)


def _records(pieces: Iterator[bytes], quote: int) -> Iterator[tuple[Integers, Integers]]:
    """Byte and line at which each record starts, blank ones left out, piece by piece."""
    base, line, quotes = 0, 1, 0
    start, start_line = 0, 1
    before = b""
    for piece in pieces:
        data = np.frombuffer(piece, np.uint8)
        newlines = np.flatnonzero(data == ord("\n"))
        quoted = np.searchsorted(np.flatnonzero(data == quote), newlines) + quotes
        closing = np.flatnonzero(quoted % 2 == 0)
        ends = newlines[closing] + base
        starts = np.concatenate([[start], ends + 1])
        lines = np.concatenate([[start_line], line + closing + 1])
        # A carriage return before the line end does not fill a line.
        last = np.where(newlines[closing] > 0, data[newlines[closing] - 1], _last(before))
        lengths = ends - starts[:-1] - (last == ord("\r"))
        filled = lengths > 0
        yield starts[:-1][filled], lines[:-1][filled]
        start, start_line = int(starts[-1]), int(lines[-1])
        base += len(piece)
        line += len(newlines)
        quotes += int(np.count_nonzero(data == quote))
        before = piece[-1:]
    if start < base:
        yield np.array([start]), np.array([start_line])


def _last(piece: bytes) -> int:
    return piece[-1] if piece else 0
