"""Sources that come with types: Parquet, Excel, DuckDB databases, the generator.

Each function gives a relation with the source's own columns and SOURCE and ROW beside them. What
the columns mean does not belong here (`mapping.py`).
"""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
from duckdb import ColumnExpression as Column
from duckdb import ConstantExpression as Constant
from duckdb import Expression
from duckdb import FunctionExpression as Function
from duckdb import StarExpression as Star
from duckdb.sqltypes import BIGINT

from rfm_assets.engines.duckdb_engine import hide_progress_bar
from rfm_assets.errors import (
    ColumnMissing,
    SourceEmpty,
    SourceTruncated,
    SourceUnreadable,
    did_you_mean,
)
from rfm_assets.sources.config import DuckDBSource, ExcelSource, GeneratorSource
from rfm_assets.sources.files import SourceFile, refuse_foreign, refuse_twins
from rfm_assets.sources.generated import customer_attributes, transactions
from rfm_assets.sources.mapping import ROW, SOURCE

if TYPE_CHECKING:
    import fastexcel

_PARQUET_MAGIC = b"PAR1"
_ADDED = ("filename", "file_row_number")
"""Columns in which DuckDB says where a row of a Parquet file stands."""


def parquet(
    connection: duckdb.DuckDBPyConnection,
    files: Sequence[SourceFile],
    root: Path,
    used: Sequence[tuple[str, str]],
) -> tuple[duckdb.DuckDBPyRelation, int]:
    """The rows of Parquet files, read when they are asked for, and their number by the footers.

    ROW is the row in its file, from 1. `used` are the columns that every file must have, each
    after the key that names it.

    Raises:
        SourceEmpty, SourceTruncated, SourceUnreadable: A file is no whole Parquet file, or the
            files do not fit together.
        ColumnMissing: A file lacks a used column, which the others' rows would hide.
    """
    rows = sum(checked_parquet(file, used) for file in files)
    hive = any("=" in folder for file in files for folder in file.folders)
    try:
        relation = connection.read_parquet(
            [file.literal for file in files],
            file_row_number=True,
            filename=True,
            hive_partitioning=hive,
            union_by_name=len(files) > 1,
        )
        own = [name for name in relation.columns if name not in _ADDED]
    except duckdb.Error as error:
        raise SourceUnreadable(
            source=", ".join(file.name for file in files[:3]),
            reason=f"the Parquet files cannot be read together ({_first_line(error)})",
            fix="Give files of one schema.",
        ) from error
    numbered = relation.select(
        *(Column(column) for column in own),
        _name_of(Column("filename"), files, root).alias(SOURCE),
        (Column("file_row_number") + Constant(1)).cast(BIGINT).alias(ROW),
    )
    return numbered, rows


def _name_of(path: Expression, files: Sequence[SourceFile], root: Path) -> Expression:
    """`SourceFile.name` of a path, by the same rule: they tell rows apart, and must be unique."""
    if any(file.name == str(file.path) for file in files):
        # Of a bucket's name, the file system of one library has three slashes and another two.
        return Function("regexp_replace", path, Constant(r"^(\w+):/+"), Constant(r"\1://"))
    below = Constant(f"{root}/")
    return duckdb.CaseExpression(
        Function("prefix", path, below),
        Function("substr", path, Function("length", below) + Constant(1)),
    ).otherwise(Function("parse_filename", path))


def checked_parquet(file: SourceFile, used: Sequence[tuple[str, str]]) -> int:
    """The number of rows of a file that is whole and has the columns."""
    _refuse_broken_parquet(file)
    try:
        with file.path.open("rb") as stream, pq.ParquetFile(stream) as opened:
            names, rows = opened.schema_arrow.names, opened.metadata.num_rows
    except (pa.ArrowException, OSError) as error:
        raise SourceUnreadable(
            source=file.name,
            reason=f"its footer cannot be read ({_first_line(error)})",
            fix="Copy or export it again.",
        ) from error
    folders = [folder.partition("=")[0] for folder in file.folders if "=" in folder]
    available = {name.casefold() for name in (*names, *folders)}
    for key, column in used:
        if column.casefold() not in available:
            raise ColumnMissing(
                column=column, table=file.name, available=[*names, *folders], key=key
            )
    for name in _ADDED:
        if name in available:
            raise SourceUnreadable(
                source=file.name,
                reason=f"it has a column called {name!r}, the name under which the reader notes "
                "where a row stands",
                fix="Rename or leave out that column in the export.",
            )
    return rows


def _refuse_broken_parquet(file: SourceFile) -> None:
    if file.size == 0:
        raise SourceEmpty(source=file.name, reason="the file has 0 bytes")
    if file.head(4) != _PARQUET_MAGIC:
        raise SourceUnreadable(
            source=file.name,
            reason="it is not a Parquet file",
            fix="Set `source.type` to what it is, or export it again.",
        )
    with file.path.open("rb") as stream:
        stream.seek(-min(4, file.size), 2)
        if stream.read() != _PARQUET_MAGIC:
            raise SourceTruncated(source=file.name, where="before its footer")


def excel(
    connection: duckdb.DuckDBPyConnection,
    file: SourceFile,
    source: ExcelSource,
    used: Sequence[tuple[str, str]],
) -> duckdb.DuckDBPyRelation:
    """The rows of a sheet. ROW is the row in the sheet, whose first row is the header.

    Raises:
        SourceEmpty, SourceTruncated, SourceUnreadable: The file is no whole workbook, has no such
            sheet, or has two columns of the name of a used one.
    """
    import polars as pl

    book = workbook(file)
    sheets = book.sheet_names
    sheet = sheets[0] if source.sheet is None else source.sheet
    if sheet not in sheets:
        raise SourceUnreadable(
            source=file.name, reason=f"it has no sheet {sheet!r}", fix=did_you_mean(sheet, sheets)
        )
    # The reader below gives the second of two columns a name of its own.
    header = sheet_header(book, sheet)
    refuse_twins(header, [column for _, column in used], file.name)
    frame = pl.read_excel(
        file.path,
        sheet_name=sheet,
        drop_empty_rows=False,
        drop_empty_cols=False,
        infer_schema_length=None,
        raise_if_empty=False,
    )
    numbered = frame.with_row_index(ROW, offset=2)
    filled = numbered.filter(~pl.all_horizontal(pl.col(frame.columns).is_null()))
    return connection.from_arrow(filled.to_arrow(compat_level=pl.CompatLevel.oldest())).select(
        *(Column(name) for name in frame.columns),
        Constant(f"{file.name}[{sheet}]").alias(SOURCE),
        Column(ROW).cast(BIGINT).alias(ROW),
    )


def workbook(file: SourceFile) -> fastexcel.ExcelReader:
    """An Excel file, opened.

    Raises:
        SourceEmpty, SourceTruncated, SourceUnreadable: It is no whole workbook.
    """
    import fastexcel

    if file.size == 0:
        raise SourceEmpty(source=file.name, reason="the file has 0 bytes")
    if file.head(2) == b"PK" and not zipfile.is_zipfile(file.path):
        raise SourceTruncated(source=file.name, where="inside the workbook")
    try:
        return fastexcel.read_excel(file.path)
    except fastexcel.FastExcelError as error:
        raise SourceUnreadable(
            source=file.name,
            reason=f"it cannot be read as an Excel workbook ({_first_line(error)})",
            fix="Set `source.type` to what it is, or save it again.",
        ) from error


def sheet_header(book: fastexcel.ExcelReader, sheet: str) -> list[str]:
    """The first row of a sheet, as it stands; an empty cell is an empty text."""
    # As text, because the library would warn of columns whose kind it does not know.
    head = book.load_sheet(sheet, header_row=None, n_rows=1, dtypes="string").to_polars()
    return ["" if name is None else str(name) for name in head.row(0)] if len(head) else []


def database(
    connection: duckdb.DuckDBPyConnection, file: SourceFile, source: DuckDBSource
) -> duckdb.DuckDBPyRelation:
    """The rows of a table or query, streamed once. ROW counts them as they come.

    Raises:
        SourceUnreadable: The file is no database, is being written by another process, has no
            such table, or refuses the query.
    """
    refuse_foreign(file, expected="a DuckDB database")
    threads = connection.execute("SELECT current_setting('threads')").fetchall()[0][0]
    settings: dict[str, str | bool | int | float | list[str]] = {
        "threads": threads,
        # A view of the database may read files beside it; a query sees the database alone.
        "enable_external_access": source.query is None,
    }
    try:
        other = duckdb.connect(str(file.path), read_only=True, config=settings)
        hide_progress_bar(other)
    except duckdb.Error as error:
        locked = "lock" in str(error).lower()
        raise SourceUnreadable(
            source=file.name,
            reason="another process is writing to it"
            if locked
            else f"it cannot be opened as a DuckDB database ({_first_line(error)})",
            fix="Close the writer, or read a copy." if locked else "Check `source.path`.",
        ) from error
    if source.table is not None:
        tables = [row[0] for row in other.execute("SHOW TABLES").fetchall()]
        if source.table not in tables:
            raise SourceUnreadable(
                source=file.name,
                reason=f"it has no table {source.table!r}",
                fix=did_you_mean(source.table, tables),
            )
        relation = other.table(source.table)
        name = f"{file.name}:{source.table}"
    else:
        relation = _queried(other, file, str(source.query))
        name = f"{file.name}:query"
    numbered = relation.select(Star(), Function("row_number").over().cast(BIGINT).alias(ROW))
    try:
        stream = numbered.to_arrow_reader()
    except duckdb.Error as error:
        raise _refused(file, error) from error
    return connection.from_arrow(stream).select(Star(), Constant(name).alias(SOURCE))


def _queried(
    other: duckdb.DuckDBPyConnection, file: SourceFile, query: str
) -> duckdb.DuckDBPyRelation:
    try:
        statements = other.extract_statements(query)
        if [statement.type for statement in statements] != [duckdb.StatementType.SELECT]:
            raise SourceUnreadable(
                source=file.name,
                reason="the query is not one SELECT",
                fix="Write exactly one SELECT statement as `source.query`.",
            )
        return other.sql(query)
    except duckdb.Error as error:
        raise _refused(file, error) from error


def _refused(file: SourceFile, error: duckdb.Error) -> SourceUnreadable:
    return SourceUnreadable(
        source=file.name,
        reason=f"the query fails ({_first_line(error)})",
        fix="Correct `source.query`; it reads this database only, and changes nothing.",
    )


def generated(
    connection: duckdb.DuckDBPyConnection, source: GeneratorSource, end: date
) -> duckdb.DuckDBPyRelation:
    """The generator's rows to the day before `end`. ROW counts them, and never changes."""
    rows = transactions(source, end)
    number = pa.array(range(1, rows.num_rows + 1), pa.int64())
    return connection.from_arrow(rows.append_column(ROW, number)).select(
        Star(), Constant("generator").alias(SOURCE)
    )


def generated_customers(
    connection: duckdb.DuckDBPyConnection, source: GeneratorSource, end: date
) -> duckdb.DuckDBPyRelation:
    """The generator's customers who joined before `end`, with their attributes."""
    return connection.from_arrow(customer_attributes(source, end))


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0]
