"""CSV files in DuckDB: encoding, broken lines, cut files, line numbers.

What the columns mean does not belong here (`mapping.py`); all values are text at this point.
"""

from __future__ import annotations

import codecs
import glob
import io
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from duckdb import ColumnExpression as Column
from duckdb import ConstantExpression as Constant
from duckdb import FunctionExpression as Function
from duckdb.sqltypes import BIGINT

from rfm_assets.errors import SourceTruncated, SourceUnreadable
from rfm_assets.failures import duckdb_running
from rfm_assets.sources.config import CsvSource
from rfm_assets.sources.csv_header import Header, open_plain
from rfm_assets.sources.files import SourceFile
from rfm_assets.sources.line_numbers import (
    Extent,
    Numbering,
    locate,
    measure,
    regular,
)
from rfm_assets.sources.mapping import ROW, ROW_KEY, SOURCE, row_key

_PIECE: Final = 1 << 20
_SHOWN: Final = 200
"""Characters of a broken line that its reject shows."""
_UNCLOSED: Final = "UNQUOTED VALUE"
BROKEN: Final = pa.schema(
    [("source", pa.string()), ("source_line", pa.int64()), ("malformed", pa.string())]
)
"""What is said of lines that cannot be split into columns."""
FORGET_LINES: Final = "DROP TABLE IF EXISTS source_lines"
"""To be run once the lines have been parsed: the table is as large as the file."""


@dataclass(frozen=True)
class Lines:
    """The files of a source as one relation of text columns, before any value is looked at.

    `relation` has the columns asked for, SOURCE, ROW (the line in the file) and, where asked for,
    ROW_KEY. `broken` has source, source_line and malformed: what is wrong, and the line itself.
    `rows` counts what was read, broken lines included.
    """

    relation: duckdb.DuckDBPyRelation
    broken: pa.Table
    notes: tuple[str, ...]
    rows: int


def read_lines(
    connection: duckdb.DuckDBPyConnection,
    files: Sequence[tuple[SourceFile, Header]],
    source: CsvSource,
    columns: Sequence[str],
    *,
    row_keys: bool,
    scratch: Path,
) -> Lines:
    """Read `columns` of all files into the table `source_lines`, and set broken lines aside.

    Raises:
        SourceTruncated: A gzip file ends early, or the last line of a file is broken off.
        SourceUnreadable: Damaged data, bytes outside the encoding, or a quote that never closes.
    """
    numberings: list[tuple[str, Numbering]] = []
    broken: list[pa.Table] = []
    notes: list[str] = []
    for file, head in files:
        reader = _File(connection, file, head, source, scratch, first=not numberings)
        reader.load(columns, row_keys=row_keys)
        table = reader.broken_lines()
        numbering = reader.numbering(table)
        if numbering is None:
            notes.append(f"{file.name}: line numbers count records, because its quotes are uneven.")
            numbering = regular(table["line"].to_numpy(), 0)
        numberings.append((file.name, numbering))
        broken.append(
            pa.table(
                {
                    "source": pa.repeat(file.name, len(table)),
                    "source_line": numbering.broken_lines,
                    "malformed": table["malformed"],
                }
            )
        )
        connection.execute("DROP TABLE broken_lines")
        connection.execute("DROP TABLE broken_lines_scan")
    relation = _numbered(connection, numberings)
    skipped = pa.concat_tables(broken)
    rows = connection.table("source_lines").count("*").fetchall()[0][0] + len(skipped)
    return Lines(relation, skipped, tuple(notes), rows)


class _File:
    """One file on its way into the table."""

    def __init__(
        self,
        connection: duckdb.DuckDBPyConnection,
        file: SourceFile,
        head: Header,
        source: CsvSource,
        scratch: Path,
        *,
        first: bool,
    ) -> None:
        self.connection, self.file, self.head = connection, file, head
        self.source, self.scratch, self.first = source, scratch, first
        self.copy: Path | None = None
        self.extent = Extent(0, ends_with_newline=True)

    def load(self, columns: Sequence[str], *, row_keys: bool) -> None:
        foreign = codecs.lookup(self.source.encoding).name not in {"utf-8", "utf-8-sig"}
        if foreign or self.head.lone_returns:
            self.copy = self.normalised()
        try:
            self.insert(columns, row_keys=row_keys)
        except duckdb.InvalidInputException:
            # Mixed line ends stop DuckDB's parser. Anything else stops it a second time.
            if self.copy is not None:
                raise
            self.copy = self.normalised()
            self.forget_broken_lines()
            self.insert(columns, row_keys=row_keys)

    def insert(self, columns: Sequence[str], *, row_keys: bool) -> None:
        """Read the file in DuckDB, and at the same time count its lines and check its checksum."""
        relation = self.scan(columns, row_keys=row_keys)
        with ThreadPoolExecutor(1) as pool:
            extent: Future[Extent] = pool.submit(self.measured)
            try:
                with duckdb_running():
                    if self.first:
                        relation.create("source_lines")
                    else:
                        relation.insert_into("source_lines")
            except duckdb.Error as error:
                extent.result()  # says it better, if the file is cut or damaged
                if isinstance(error, duckdb.InvalidInputException) and self.copy is None:
                    raise
                raise SourceUnreadable(
                    source=self.file.name,
                    reason=f"it cannot be read as CSV ({str(error).splitlines()[0]})",
                    fix="Check `delimiter`, `quote` and `encoding`, or export it again.",
                ) from error
            self.extent = extent.result()

    def open(self) -> IO[bytes]:
        return open_plain(self.file) if self.copy is None else self.copy.open("rb")

    def measured(self) -> Extent:
        with self.open() as stream:
            return measure(stream, self.file.name)

    def scan(self, columns: Sequence[str], *, row_keys: bool) -> duckdb.DuckDBPyRelation:
        # Positions as names: headers may be empty, or alike but for their case.
        places = [f"c{index}" for index in range(len(self.head.names))]
        lines = self.connection.read_csv(
            self.file.literal if self.copy is None else glob.escape(str(self.copy)),
            header=True,
            auto_detect=False,
            columns=dict.fromkeys(places, "VARCHAR"),
            sep=self.source.delimiter,
            quotechar=self.source.quote,
            escapechar=self.source.quote,
            compression="gzip" if self.copy is None and self.file.is_gzip else "none",
            store_rejects=True,
            rejects_table="broken_lines",
            rejects_scan="broken_lines_scan",
            rejects_limit=0,
        )
        return lines.select(
            *(Column(f"c{self.head.names.index(name)}").alias(name) for name in columns),
            *((row_key(places).alias(ROW_KEY),) if row_keys else ()),
            Constant(self.file.name).alias(SOURCE),
            Function("row_number").over().cast(BIGINT).alias(ROW),
        )

    def normalised(self) -> Path:
        """A copy in UTF-8 with one kind of line end."""
        target = self.scratch / f"{len(list(self.scratch.iterdir()))}.csv"
        lines = 1
        with self.open() as stream, target.open("w", encoding="utf-8", newline="\n") as copy:
            text = io.TextIOWrapper(stream, encoding=self.source.encoding, newline=None)
            try:
                while piece := text.read(_PIECE):
                    copy.write(piece.removeprefix("\ufeff") if lines == 1 else piece)
                    lines += piece.count("\n")
            except UnicodeDecodeError as error:
                raise SourceUnreadable(
                    source=self.file.name,
                    reason=f"from line {lines} on it holds bytes that are no {self.source.encoding}",
                    fix="Declare the right `encoding`, or export it as UTF-8.",
                ) from error
        return target

    def broken_lines(self) -> pa.Table:
        """Line, byte and what is wrong for each line that DuckDB skipped, sorted."""
        errors = self.connection.table("broken_lines")
        table = (
            errors.aggregate(
                [
                    Column("line").cast(BIGINT).alias("line"),
                    # DuckDB counts bytes from 1.
                    (Function("min", Column("line_byte_position")) - Constant(1))
                    .cast(BIGINT)
                    .alias("at"),
                    Function("arg_min", Column("error_type"), Column("byte_position")).alias(
                        "type"
                    ),
                    Function("min", Column("csv_line")).alias("text"),
                ],
                "line",
            )
            .order("line")
            .to_arrow_table()
        )
        self.refuse_cut(table)
        shown = [
            f"{kind.lower()}: {text.strip()[:_SHOWN]}"
            for kind, text in zip(table["type"].to_pylist(), table["text"].to_pylist(), strict=True)
        ]
        return table.select(["line", "at"]).append_column("malformed", pa.array(shown, pa.string()))

    def refuse_cut(self, broken: pa.Table) -> None:
        """Raise if the breakage concerns more than a line: what follows cannot be trusted."""
        for row in broken.slice(max(0, len(broken) - 1)).to_pylist():
            if not self.extent.ends_with_newline and "\n" not in row["text"].strip():
                last = self.extent.lines
                if row["line"] == last or self.is_last(row["at"]):
                    raise SourceTruncated(source=self.file.name, where=f"inside line {last}")
        for row in broken.filter(pc.equal(broken["type"], _UNCLOSED)).to_pylist():
            if "\n" in row["text"].strip():
                raise SourceUnreadable(
                    source=self.file.name,
                    reason=f"the value that starts with a quote in line {row['line']} does not end "
                    "in that line, so that the lines after it cannot be told apart",
                    fix="Close the quote, double quotes inside values, or declare another `quote`.",
                )

    def is_last(self, at: int) -> bool:
        """Whether no line end follows the byte `at`, the start of a line."""
        with self.open() as stream:
            stream.seek(at)
            return b"\n" not in stream.read().strip(b"\n")

    def numbering(self, broken: pa.Table) -> Numbering | None:
        """Where each row stands; None if the quotes do not tell."""
        rows = self.rows()
        if self.extent.lines == 1 + rows + len(broken):
            return regular(broken["line"].to_numpy(), rows)
        with self.open() as stream:
            found = locate(
                stream,
                self.file.name,
                quote=self.source.quote,
                broken_at=np.sort(broken["at"].to_numpy()),
            )
        agrees = found.rows == rows and len(found.broken_lines) == len(broken)
        return found if agrees else None

    def rows(self) -> int:
        here = self.connection.table("source_lines").filter(
            Column(SOURCE) == Constant(self.file.name)
        )
        return here.count("*").fetchall()[0][0]

    def forget_broken_lines(self) -> None:
        self.connection.execute("DROP TABLE IF EXISTS broken_lines")
        self.connection.execute("DROP TABLE IF EXISTS broken_lines_scan")


def _numbered(
    connection: duckdb.DuckDBPyConnection, numberings: Sequence[tuple[str, Numbering]]
) -> duckdb.DuckDBPyRelation:
    """The table with lines instead of row numbers."""
    lines = connection.table("source_lines")
    others = [Column(name) for name in lines.columns if name != ROW]
    if all(len(numbering.first_rows) == 1 for _, numbering in numberings):
        return lines.select(*others, (Column(ROW) + Constant(1)).cast(BIGINT).alias(ROW))
    steps = pa.table(
        {
            "file": [name for name, found in numberings for _ in found.first_rows],
            "first_row": np.concatenate([found.first_rows for _, found in numberings]),
            "offset": np.concatenate([found.offsets for _, found in numberings]),
        }
    )
    same_file = Column(SOURCE) == Column("file")
    joined = lines.join(
        connection.from_arrow(steps),
        same_file & (Column(ROW) >= Column("first_row")),
        how="asof",
    )
    return joined.select(*others, (Column(ROW) + Column("offset")).cast(BIGINT).alias(ROW))
