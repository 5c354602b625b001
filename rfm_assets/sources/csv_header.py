"""The first line of a CSV file, and whether the file is CSV at all.

The lines below it do not belong here (`csv_files.py`).
"""

from __future__ import annotations

import codecs
import csv
import gzip
import io
from dataclasses import dataclass
from typing import IO, Final

from rfm_assets.errors import SourceEmpty, SourceUnreadable
from rfm_assets.sources.config import CsvSource
from rfm_assets.sources.files import SourceFile, refuse_foreign
from rfm_assets.sources.line_numbers import chunks

HEAD_BYTES: Final = 1 << 20
"""Bytes in which the header must end."""


@dataclass(frozen=True)
class Header:
    """The names in the first line, as they stand; `lone_returns` if lines end in a bare CR."""

    names: tuple[str, ...]
    lone_returns: bool


def open_plain(file: SourceFile) -> IO[bytes]:
    """The bytes of the file, decompressed."""
    stream = file.path.open("rb")
    return _Unpacked(stream) if file.is_gzip else stream


class _Unpacked(gzip.GzipFile):
    """The content of a gzip file that closes with it."""

    def __init__(self, packed: IO[bytes]) -> None:
        super().__init__(fileobj=packed, mode="rb")
        self.packed = packed

    def close(self) -> None:
        super().close()
        self.packed.close()


def header(file: SourceFile, source: CsvSource) -> Header:
    """The first line of a file.

    Raises:
        SourceEmpty: The file has no byte.
        SourceTruncated: A gzip file ends before its header does.
        SourceUnreadable: It is no text in the declared encoding, or begins with a blank line.
    """
    refuse_foreign(file, expected="a CSV file")
    with open_plain(file) as stream:
        head = next(chunks(stream, file.name), b"")[:HEAD_BYTES]
    if not head.strip(b"\r\n\xef\xbb\xbf"):
        raise SourceEmpty(source=file.name, reason="the file has no line")
    try:
        text = codecs.getincrementaldecoder(source.encoding)().decode(head)
    except UnicodeDecodeError as error:
        # Broken bytes further down are for the reader, line by line.
        if b"\n" not in head[: error.start]:
            raise SourceUnreadable(
                source=file.name,
                reason=f"its first line is not {source.encoding} text",
                fix="Declare `encoding` (latin-1, cp1252, utf-16), or export it as UTF-8.",
            ) from error
        text = head[: error.start].decode(source.encoding)
    if "\0" in text:
        raise SourceUnreadable(
            source=file.name,
            reason="it holds binary data, not text",
            fix="Declare `encoding: utf-16` if it is that, or export it as CSV.",
        )
    text = text.removeprefix("\ufeff")
    if text.startswith(("\r", "\n")):
        raise SourceUnreadable(
            source=file.name,
            reason="its first line is blank, where the header should be",
            fix="Remove the blank lines above the header, or export it without them.",
        )
    stream = io.StringIO(text, newline="")
    lines = csv.reader(stream, delimiter=source.delimiter, quotechar=source.quote)
    names = next((tuple(line) for line in lines if line), ())
    return Header(names, lone_returns="\r" in text and "\n" not in text)
