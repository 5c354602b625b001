"""Rows as sheets: every kind of value, and more rows than a sheet has."""

from datetime import date, datetime
from pathlib import Path

import openpyxl
import pyarrow as pa
import pytest

from rfm_assets.serving import workbook
from rfm_assets.serving.workbook import Sheet, write_workbook


def written(target: Path, table: pa.Table, batch: int = 4) -> openpyxl.Workbook:
    sheet = Sheet("rows", table.schema, table.to_batches(max_chunksize=batch))
    write_workbook(target, [sheet])
    return openpyxl.load_workbook(target)


def test_every_value_arrives_as_what_it_is(tmp_path: Path) -> None:
    table = pa.table(
        {
            "text": ["=1+1", "http://a.example", "007", "a\x00b", "x" * 40_000],
            "whole": pa.array([1, None, -3, 2**60, 0], pa.int64()),
            "number": [1.5, float("nan"), float("inf"), -0.25, None],
            "flag": [True, False, None, True, False],
            "day": pa.array([date(2026, 6, 21), None, date(1850, 1, 1), date(1900, 1, 1), None]),
            "at": pa.array([datetime(2026, 6, 21, 13, 30), None, None, None, None]),
        }
    )
    sheet = written(tmp_path / "a.xlsx", table)["rows"]
    header, *rows = [[cell.value for cell in row] for row in sheet.iter_rows()]
    columns = dict(zip(header, zip(*rows, strict=True), strict=True))
    assert columns["text"][:3] == ("=1+1", "http://a.example", "007")
    assert len(columns["text"][4]) == 32_767
    assert {cell.data_type for cell in sheet["A"]} <= {"s", "inlineStr"}
    assert columns["whole"] == (1, None, -3, str(2**60), 0)
    assert columns["number"] == (1.5, None, None, -0.25, None)
    assert columns["flag"] == (True, False, None, True, False)
    assert columns["day"][:3] == (datetime(2026, 6, 21), None, "1850-01-01")
    assert columns["at"][0] == datetime(2026, 6, 21, 13, 30)


def test_more_rows_than_a_sheet_has_go_on_in_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workbook, "MOST_ROWS", 10)
    book = written(tmp_path / "a.xlsx", pa.table({"n": list(range(25))}))
    assert book.sheetnames == ["rows", "rows 2", "rows 3"]
    found = [cell.value for sheet in book for (cell,) in sheet.iter_rows(min_row=2)]
    assert found == list(range(25))
    assert all(sheet["A1"].value == "n" for sheet in book)


def test_the_same_rows_are_the_same_file(tmp_path: Path) -> None:
    table = pa.table({"n": [1, 2, 3]})
    written(tmp_path / "a.xlsx", table)
    written(tmp_path / "b.xlsx", table)
    assert (tmp_path / "a.xlsx").read_bytes() == (tmp_path / "b.xlsx").read_bytes()
