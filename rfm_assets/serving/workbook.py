"""Rows as sheets of an Excel workbook, one row in memory at a time.

Text is written as text: nothing that a cell holds becomes a formula, a link or a number there.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import pyarrow as pa

if TYPE_CHECKING:
    from xlsxwriter.format import Format
    from xlsxwriter.workbook import Workbook
    from xlsxwriter.worksheet import Worksheet

MOST_ROWS = 1_048_575
"""Rows below the header that a sheet can have."""

_MOST_SIGNS = 32_767
"""Of one cell."""

_EXACT = 2**53
"""Whole numbers beyond are not kept by a spreadsheet, and so are written as text."""

_FIRST_YEAR = 1900

Write: TypeAlias = Callable[[int, int, Any], object]


@dataclass(frozen=True)
class Sheet:
    """The rows of a sheet; those beyond what it can hold go on in `name 2`, and so on."""

    name: str
    schema: pa.Schema
    batches: Iterable[pa.RecordBatch]


def write_workbook(target: Path, sheets: Iterable[Sheet]) -> dict[str, int]:
    """Write a workbook, and return the rows of each sheet in it."""
    from xlsxwriter import Workbook

    written: dict[str, int] = {}
    with Workbook(
        target,
        {
            "constant_memory": True,
            "strings_to_formulas": False,
            "strings_to_numbers": False,
            "strings_to_urls": False,
            # A workbook of the same rows is the same file.
            "remove_timezone": True,
        },
    ) as book:
        book.set_properties({"created": datetime(2000, 1, 1)})  # noqa: DTZ001  Excel has no zones
        book.use_zip64()
        for sheet in sheets:
            written |= _write_sheet(book, sheet)
    return written


def _write_sheet(book: Workbook, sheet: Sheet) -> dict[str, int]:
    bold = book.add_format({"bold": True})
    page = _page(book, sheet, sheet.name, bold)
    name, row, pages = sheet.name, 0, 1
    written = {name: 0}
    for values in _rows(sheet.batches):
        if row == MOST_ROWS:
            pages, row = pages + 1, 0
            name = f"{sheet.name} {pages}"
            page = _page(book, sheet, name, bold)
        row += 1
        for column, (write, value) in enumerate(zip(page, values, strict=True)):
            if value is not None:
                write(row, column, value)
        written[name] = row
    return written


def _rows(batches: Iterable[pa.RecordBatch]) -> Iterator[tuple[Any, ...]]:
    for batch in batches:
        yield from zip(*(column.to_pylist() for column in batch.columns), strict=True)


def _page(book: Workbook, sheet: Sheet, name: str, bold: Format) -> list[Write]:
    """A new sheet with its header; how each of its columns is written."""
    page = book.add_worksheet(name)
    page.freeze_panes(1, 0)
    for column, field in enumerate(sheet.schema):
        wide = 40 if name == "about" else 12
        page.set_column(column, column, max(wide, len(field.name) + 2))
        page.write_string(0, column, field.name, bold)
    return [_writer(book, page, field.type) for field in sheet.schema]


def _writer(book: Workbook, page: Worksheet, kind: pa.DataType) -> Write:
    if pa.types.is_boolean(kind):
        return page.write_boolean
    if pa.types.is_floating(kind):
        return lambda row, column, value: (
            page.write_number(row, column, value) if math.isfinite(value) else None
        )
    if pa.types.is_integer(kind):
        return lambda row, column, value: (
            page.write_number(row, column, value)
            if abs(value) < _EXACT
            else page.write_string(row, column, str(value))
        )
    if pa.types.is_date(kind) or pa.types.is_timestamp(kind):
        pattern = "yyyy-mm-dd" if pa.types.is_date(kind) else "yyyy-mm-dd hh:mm:ss"
        return _dates(page, book.add_format({"num_format": pattern}))
    return lambda row, column, value: page.write_string(row, column, str(value)[:_MOST_SIGNS])


def _dates(page: Worksheet, shown: Format) -> Write:
    def write(row: int, column: int, value: date) -> None:
        if value.year < _FIRST_YEAR:  # before the first day that Excel knows
            page.write_string(row, column, value.isoformat())
        else:
            page.write_datetime(row, column, value, shown)

    return write
