"""The first rows of a file whose declaration is not known yet, and how the file must be opened.

What the columns mean does not belong here (`suggesting.py`), nor how their values are written
(`column_evidence.py`).
"""

from __future__ import annotations

import codecs
import csv
import io
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq

from rfm_assets.errors import InvalidConfig, SourceEmpty, SourceUnreadable, did_you_mean
from rfm_assets.sources import csv_header, tables
from rfm_assets.sources.config import CsvSource, ExcelSource, ParquetSource
from rfm_assets.sources.files import SourceFile, find, refuse_foreign
from rfm_assets.sources.line_numbers import chunks

_MOST_BYTES: Final = 1 << 25
"""Of a CSV file at most so much is looked at, however long its lines are."""
_MOST_VALUES: Final = 400_000
"""Of a table with many columns fewer rows are looked at, so that it takes no longer."""
_HEAD: Final = 1 << 16
_HEAD_ROWS: Final = 200
_WORKBOOKS: Final = (b"PK\x03\x04", b"\xd0\xcf\x11\xe0")
_DATABASE: Final = b"DUCK"
_DATABASE_AT: Final = 8
_DELIMITERS: Final = {",": "comma", ";": "semicolon", "\t": "tab", "|": "pipe"}
_C1: Final = re.compile(rb"[\x80-\x9f]")
_NUMBER: Final = re.compile(r"[+-]?[\d.,]*\d[\d.,]*")
_NEVER_A_NAME: Final = re.compile(
    r"\d{4}[-/.]\d{1,2}[-/.]\d{1,2}.*|\d{1,2}[-/.]\d{1,2}[-/.]\d{2,4}.*|\S+@\S+\.\w+"
)
_MOST_CONTROLS: Final = 0.02
_DOCUMENTS: Final = (
    (
        re.compile(r"\s*<(?:!doctype|html|\?xml|table|head)\b", re.IGNORECASE),
        "it is a web page or XML, not a table of values",
        "Open it in a browser: it may be a page to log in. Export the table itself as CSV.",
    ),
    (
        re.compile(r"\s*(?:\[\s*)?\{\s*\"[^\"\n]*\"\s*:"),
        "it is JSON, not a table of values",
        "Export it as CSV, Excel or Parquet.",
    ),
)
_ENCRYPTED: Final = "EncryptedPackage".encode("utf-16-le")
"""Names what a workbook with a password consists of."""


@dataclass(frozen=True)
class Opening:
    """How a file is opened, as far as somebody who knows it says so; the rest is found out."""

    delimiter: str | None = None
    encoding: str | None = None
    sheet: str | None = None

    def require_fitting(self, name: str, *, text: bool, workbook: bool) -> None:
        """Raise if something is said that such a file does not have."""
        for key, value, fits in (
            ("delimiter", self.delimiter, text),
            ("encoding", self.encoding, text),
            ("sheet", self.sheet, workbook),
        ):
            if value is not None and not fits:
                kind = "an Excel workbook" if key == "sheet" else "a CSV file"
                raise InvalidConfig(
                    key=key,
                    value=value,
                    reason=f"has no meaning for {name}, which is not {kind}",
                    fix="Leave it out.",
                )


@dataclass(frozen=True)
class Sample:
    """The first rows of a file.

    Attributes:
        name: What messages call the file.
        source: How to open it; how it writes dates and numbers is not in it yet.
        rows: Those columns that a mapping can name: text from CSV, typed otherwise.
        notes: What was found out on the way, in sentences.
    """

    name: str
    source: CsvSource | ExcelSource | ParquetSource
    rows: pa.Table
    notes: tuple[str, ...]


def sample(path: str, root: Path, sample_rows: int, opening: Opening) -> Sample:
    """Open a file by what it is, and read its first rows.

    Raises:
        InvalidConfig: `opening` says what such a file does not have.
        SourceMissing, SourceEmpty, SourceTruncated, SourceUnreadable: It is not there, has no
            rows, is cut off, is no table, or has no header or a single column.
    """
    files = find(path, root)
    file = files[0]
    head = file.head()
    parquet, workbook = head.startswith(b"PAR1"), head.startswith(_WORKBOOKS)
    opening.require_fitting(file.name, text=not (parquet or workbook), workbook=workbook)
    if parquet:
        found = _parquet(file, path, sample_rows)
    elif workbook:
        found = _excel(file, path, sample_rows, opening)
    else:
        _refuse_database(file, head)
        found = _csv(file, path, sample_rows, opening)
    if found.rows.num_rows == 0:
        raise SourceEmpty(source=file.name, reason="it has a header and no row below it")
    if len(files) == 1:
        return found
    more = f"Only {file.name} was looked at, the first of {len(files)} files."
    return Sample(found.name, found.source, found.rows, (*found.notes, more))


def _rows_wanted(sample_rows: int, columns: int) -> int:
    return max(1, min(sample_rows, _MOST_VALUES // max(1, columns)))


def _refuse_database(file: SourceFile, head: bytes) -> None:
    if head[_DATABASE_AT:].startswith(_DATABASE):
        raise SourceUnreadable(
            source=file.name,
            reason="it is a DuckDB database, of which nobody can tell the table that is meant",
            fix="Declare it as `source: {type: duckdb, path: …, table: …}`.",
        )


def _parquet(file: SourceFile, path: str, sample_rows: int) -> Sample:
    tables.checked_parquet(file, ())
    with file.path.open("rb") as stream, pq.ParquetFile(stream) as opened:
        rows_wanted = _rows_wanted(sample_rows, len(opened.schema_arrow))
        batches = opened.iter_batches(batch_size=rows_wanted, use_threads=False)
        batch = next(batches, None)
        rows = opened.schema_arrow.empty_table() if batch is None else pa.table(batch)
    kept, notes = _usable(rows.rename_columns(_numbered(rows.column_names)), rows.column_names)
    _refuse_one_column(file.name, rows.column_names, "it has one column")
    return Sample(file.name, ParquetSource(type="parquet", path=path), kept, notes)


def _excel(file: SourceFile, path: str, sample_rows: int, opening: Opening) -> Sample:
    import polars as pl

    _refuse_locked(file)
    every = tables.workbook(file).sheet_names
    if opening.sheet is not None and opening.sheet not in every:
        raise InvalidConfig(
            key="sheet",
            value=opening.sheet,
            reason=f"is no sheet of {file.name}",
            fix=did_you_mean(opening.sheet, every),
        )
    sheets = every if opening.sheet is None else [opening.sheet]
    first: Sample | None = None
    for sheet in sheets:
        header = tables.sheet_header(tables.workbook(file), sheet)
        frame = pl.read_excel(
            file.path,
            sheet_name=sheet,
            drop_empty_rows=False,
            drop_empty_cols=False,
            infer_schema_length=None,
            raise_if_empty=False,
            read_options={"n_rows": _rows_wanted(sample_rows, len(header))},
        )
        filled = frame.filter(~pl.all_horizontal(pl.col(frame.columns).is_null()))
        arrow = filled.to_arrow(compat_level=pl.CompatLevel.oldest())
        width = len(arrow.column_names)
        names = [*header, *[""] * (width - len(header))][:width]
        kept, notes = _usable(arrow.rename_columns(_numbered(names)), names)
        if sheet != sheets[0]:
            notes = (*notes, f"The sheet {sheet!r} is proposed: the ones before it are no table.")
        declared = ExcelSource(type="excel", path=path, sheet=None if sheet == every[0] else sheet)
        found = Sample(file.name, declared, kept, notes)
        first = first or found
        if kept.num_columns > 1 and kept.num_rows > 0 and 2 * kept.num_columns > len(names):
            return found
    if first is None or first.rows.num_rows == 0:
        raise SourceEmpty(source=file.name, reason="it has no sheet with rows")
    raise SourceUnreadable(
        source=file.name,
        reason="the first row of its first sheet does not name the columns",
        fix="Remove what stands above the header, or save the table as a sheet of its own.",
    )


def _refuse_locked(file: SourceFile) -> None:
    """Raise if the workbook cannot be opened without a password."""
    with file.path.open("rb") as stream:
        locked = _ENCRYPTED in stream.read(_MOST_BYTES)
    if locked:
        raise SourceUnreadable(
            source=file.name,
            reason="it is protected by a password",
            fix="Open it in Excel, remove the password under File, Info, Protect, and save it.",
        )


def _numbered(names: Sequence[str]) -> list[str]:
    return [str(index) for index in range(len(names))]


def _usable(rows: pa.Table, names: Sequence[str]) -> tuple[pa.Table, tuple[str, ...]]:
    """The columns whose name a mapping can hold: not empty, not another's, no template."""
    alike = Counter(name.casefold() for name in names)
    twins = sorted({name for name in names if name and alike[name.casefold()] > 1})
    odd = [name for name in names if "{{" in name or "{%" in name or "{#" in name]
    used = [
        index
        for index, name in enumerate(names)
        if name and alike[name.casefold()] == 1 and name not in odd
    ]
    notes: list[str] = []
    if twins:
        listed = ", ".join(map(repr, twins))
        notes.append(
            f"Left out, because they cannot be told apart: the columns {listed}; rename them."
        )
    if odd:
        listed = ", ".join(map(repr, odd))
        notes.append(f"Left out, because their names read like templates: {listed}.")
    kept = rows.select(used).rename_columns([names[index] for index in used])
    return kept, tuple(notes)


def _refuse_one_column(file: str, names: Sequence[str], reason: str) -> None:
    if len(names) > 1:
        return
    raise SourceUnreadable(
        source=file,
        reason=f"{reason} ({', '.join(repr(name[:60]) for name in names) or 'without a name'})",
        fix="Transactions need at least a customer, a date and an amount: export them side by side.",
    )


def _csv(file: SourceFile, path: str, sample_rows: int, opening: Opening) -> Sample:
    refuse_foreign(file, expected="a CSV file")
    raw, whole = _first_bytes(file, sample_rows)
    encoding, notes = _encoding(raw) if opening.encoding is None else (opening.encoding, [])
    # What the reader would refuse, this refuses in the same words.
    csv_header.header(file, CsvSource(type="csv", path=path, encoding=encoding))
    text = codecs.getincrementaldecoder(encoding)(errors="replace").decode(raw)
    text = text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")
    _refuse_binary(file.name, text[:_HEAD])
    _refuse_documents(file.name, text[:_HEAD])
    delimiter, quote = _dialect(file.name, text[:_HEAD], opening.delimiter)
    lines = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, quotechar=quote)
    try:
        filled = (line for line in lines if line)
        header = next(filled)
        below = list(islice(filled, _rows_wanted(sample_rows, len(header))))
        if not whole and next(filled, None) is None:
            below = below[:-1]  # the end of the sample may have cut it off
    except csv.Error as error:
        raise SourceUnreadable(
            source=file.name,
            reason=f"it cannot be read as CSV ({error} in line {lines.line_num})",
            fix="Close the quotes, and double quotes inside values; or export it again.",
        ) from error
    _refuse_data_as_header(file.name, header, below[:_HEAD_ROWS])
    fitting = [line for line in below if len(line) == len(header)]
    if len(fitting) < len(below):
        notes.append(
            f"{len(below) - len(fitting)} of {len(below)} lines have more or fewer values than the "
            "header; such lines are set aside when the file is read."
        )
    columns = list(zip(*fitting, strict=True)) if fitting else [()] * len(header)
    arrays = [pa.array(column, pa.string()) for column in columns]
    rows = pa.table(arrays, names=_numbered(header))
    kept, more = _usable(rows, header)
    source = CsvSource(type="csv", path=path, delimiter=delimiter, quote=quote, encoding=encoding)
    return Sample(file.name, source, kept, (*notes, *more))


def _first_bytes(file: SourceFile, lines: int) -> tuple[bytes, bool]:
    """The bytes of the first lines, and whether these are all."""
    pieces: list[bytes] = []
    newlines, size = -1, 0
    with csv_header.open_plain(file) as stream:
        for piece in chunks(stream, file.name):
            pieces.append(piece)
            newlines += max(piece.count(b"\n"), piece.count(b"\r"))
            size += len(piece)
            if newlines > lines or size >= _MOST_BYTES:
                return b"".join(pieces), False
    return b"".join(pieces), True


def _encoding(raw: bytes) -> tuple[str, list[str]]:
    """The encoding by the bytes; UTF-8 wherever they allow it."""
    for mark, encoding in ((codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16")):
        if raw.startswith(mark):
            return encoding, []
    head = raw[:_HEAD]
    for start, encoding in ((1, "utf-16-le"), (0, "utf-16-be")):
        half = head[start::2]
        if half and half.count(0) > len(half) // 2 and head.count(0) < 0.6 * len(head):
            return encoding, [f"The encoding {encoding} is proposed by the zero bytes."]
    decoder = codecs.getincrementaldecoder("utf-8")
    try:
        decoder().decode(raw)
    except UnicodeDecodeError:
        pass
    else:
        return "utf-8", []
    text = decoder(errors="replace").decode(raw)
    broken = text.count("\ufffd")
    foreign = len(text) - len(text.encode("ascii", "ignore")) - broken
    if foreign > broken:
        note = f"{broken} characters are not UTF-8; lines that hold such are set aside."
        return "utf-8", [note]
    encoding = "cp1252"
    try:
        shown = raw.decode(encoding)
    except UnicodeDecodeError:
        encoding, shown = "latin-1", raw.decode("latin-1")
    word = re.search(r"\w*[^\W\x00-\x7f]\w*", shown)
    example = f" See whether {word[0]!r} is written right." if word else ""
    return encoding, [f"The file is not UTF-8; the encoding {encoding} is proposed.{example}"]


def _refuse_binary(name: str, text: str) -> None:
    controls = sum(1 for sign in text if sign < " " and sign not in "\t\n")
    if controls > _MOST_CONTROLS * len(text):
        raise SourceUnreadable(
            source=name,
            reason="it holds binary data, not text",
            fix="Export it as CSV, Excel or Parquet.",
        )


def _refuse_documents(name: str, text: str) -> None:
    """Raise if it is text, but plainly no table."""
    for pattern, what, fix in _DOCUMENTS:
        if pattern.match(text):
            raise SourceUnreadable(source=name, reason=what, fix=fix)


@dataclass(frozen=True)
class _Dialect:
    delimiter: str
    quote: str
    width: int
    fitting: float
    """Share of the lines below that are as wide as the header."""
    usual: int
    """Width of most lines below."""

    @property
    def rank(self) -> tuple[bool, float]:
        return self.fitting >= 0.5, self.width * self.fitting  # noqa: PLR2004 most lines


def _dialect(name: str, head: str, given: str | None) -> tuple[str, str]:
    """Delimiter and quote under which the lines are as wide as the header."""
    first = head.partition("\n")[0]
    if found := re.fullmatch(r"sep=(.)\s*", first, re.IGNORECASE):
        raise SourceUnreadable(
            source=name,
            reason=f"its first line is {first.strip()!r}, which only Excel understands",
            fix=f"Remove that line; the delimiter is {found[1]!r}.",
        )
    tried = [_tried(head, delimiter) for delimiter in ([given] if given else _DELIMITERS)]
    wide = [one for one in tried if one.width > 1]
    best = max(wide, key=lambda one: one.rank, default=None)
    if best is not None and best.fitting >= 0.5:  # noqa: PLR2004 most lines
        return best.delimiter, best.quote
    usual = max(tried, key=lambda one: one.usual)
    if usual.usual > 1:
        width = usual.width
        raise SourceUnreadable(
            source=name,
            reason=f"its first line has {width} value{'s' * (width != 1)}, and most lines below "
            f"have {usual.usual}",
            fix="Remove what stands above the header, so that the first line names the columns.",
        )
    names = repr(given) if given else ", ".join(_DELIMITERS.values())
    _refuse_one_column(name, [first], f"it has one column, whether split by {names}")
    raise AssertionError(name)  # pragma: no cover  # the line above raises


def _tried(head: str, delimiter: str) -> _Dialect:
    quote = '"' if _framed(head, delimiter, '"') >= _framed(head, delimiter, "'") else "'"
    lines = csv.reader(io.StringIO(head, newline=""), delimiter=delimiter, quotechar=quote)
    widths: list[int] = []
    try:
        widths += islice((len(line) for line in lines if line), _HEAD_ROWS + 1)
    except csv.Error:
        return _Dialect(delimiter, quote, 1, 0.0, 1)
    header, *below = widths
    if len(head) >= _HEAD and len(widths) <= _HEAD_ROWS:
        below = below[:-1]  # the last line of the piece is cut off
    usual = Counter(below).most_common(1)[0][0] if below else header
    fitting = below.count(header) / len(below) if below else 1.0
    return _Dialect(delimiter, quote, header, fitting, usual)


def _framed(head: str, delimiter: str, quote: str) -> int:
    """How many values stand between a pair of quotes."""
    side = re.escape(delimiter)
    framed = rf"(?:^|{side}){quote}[^{quote}\n]*{quote}(?={side}|$)"
    return len(re.findall(framed, head, re.MULTILINE))


def _refuse_data_as_header(name: str, header: Sequence[str], below: Sequence[Any]) -> None:
    """Raise if the first line is a row like the others."""
    odd: list[str] = []
    numbers = 0
    for index, title in enumerate(header):
        values = [line[index] for line in below if len(line) > index]
        for shape in (_NEVER_A_NAME, _NUMBER):
            if shape.fullmatch(title.strip()):
                alike = sum(1 for value in values if shape.fullmatch(value.strip()))
                if 2 * alike > len(values) or not values:
                    odd.append(title)
                    numbers += shape is _NUMBER
                break
    if len(odd) - numbers > 0 or numbers > 1:
        raise SourceUnreadable(
            source=name,
            reason="its first line is a row like the others and names no columns "
            f"({', '.join(repr(title) for title in odd[:3])})",
            fix="Add a first line with the names of the columns.",
        )
