"""A file of clustered customers as a store, and what is said of one that cannot be opened."""

from pathlib import Path

import polars as pl
import pytest

from rfm_assets import load_table
from rfm_assets.errors import ColumnMissing, RfmError, SourceMissing, SourceUnreadable
from rfm_assets.serving.plain_file import store_of_file

HEAD = "CustomerID,Recency,Frequency,Monetary,Cluster\n"
GOOD = "1,10,2,30.5,0\n"

BAD: dict[str, tuple[str | bytes, str, str]] = {
    "empty": ("", "is no CSV (empty CSV)", "Export it as CSV"),
    "header alone": (HEAD, "has no customers", "one row"),
    "text for a number": (HEAD + GOOD + "2,soon,2,3,0\n", "recency, first in line 3", "whole"),
    "no number": (HEAD + GOOD + GOOD.replace("1,", "2,", 1) + "3,,2,3,0\n", "line 4", "days"),
    "no id": (HEAD + GOOD + ",1,2,3,0\n", "customer_id, first in line 3", "take them out"),
    "blank id": (HEAD + "  ,1,2,3,0\n", "customer_id, first in line 2", "any text"),
    "no cluster": (HEAD + GOOD + "2,1,2,3,\n", "segment, first in line 3", "number or a name"),
    "not a number": (HEAD + GOOD + "2,1,2,NaN,0\n", "monetary, first in line 3", "number"),
    "infinite": (HEAD + GOOD + "2,1,2,inf,0\n", "monetary, first in line 3", "number"),
    "half a purchase": (HEAD + "2,1,2.5,3,0\n", "frequency, first in line 2", "whole number"),
    "days to come": (HEAD + "2,-1,2,3,0\n", "recency, first in line 2", "0 or more"),
    "beyond all days": (HEAD + "2,1e30,2,3,0\n", "recency, first in line 2", "days"),
    "decimal comma": (HEAD + '2,1,2,"3,5",0\n', "monetary, first in line 2", "with a point"),
    "a currency": (HEAD + "2,1,2,£3,0\n", "monetary, first in line 2", "without a currency"),
    "too few values": (HEAD + GOOD + "2,1\n", "frequency, first in line 3", "purchases"),
    "too many values": (HEAD + GOOD + "2,1,2,3,0,9\n", "is no CSV (found more fields", "Export"),
    "twice": (HEAD + GOOD + GOOD, "has customer '1' again in line 3", "one row"),
    "twice, once as 1.0": (HEAD + GOOD + "1.0,1,2,3,0\n", "'1' again in line 3", "one row"),
    "after an empty line": (HEAD + GOOD + "\n2,x,2,3,0\n", "first in line 4", "whole"),
    "open quote": (HEAD + GOOD + '"2,1,2,3,0\n', "is no CSV", "Export it"),
    "semicolons": ((HEAD + GOOD).replace(",", ";"), "has semicolons", "with commas"),
    "UTF-16": ((HEAD + GOOD).encode("utf-16"), "is not in UTF-8", "in UTF-8"),
    "Latin 1": ((HEAD + "Jörg,1,2,3,0\n").encode("latin-1"), "is no CSV", "in UTF-8"),
    "bytes": (bytes(range(256)) * 20, "is no CSV", "in UTF-8"),
}


@pytest.mark.parametrize("name", BAD)
def test_what_is_wrong_is_told_with_line_and_remedy(tmp_path: Path, name: str) -> None:
    content, reason, fix = BAD[name]
    file = tmp_path / "RFM_Clustered.csv"
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(SourceUnreadable) as told:
        store_of_file(file, folder=tmp_path / "store")
    text = str(told.value)
    assert str(file) in text
    assert reason in text
    assert fix in text.split(reason)[1]
    assert "\n" not in text
    assert not (tmp_path / "store" / "customer_segments").exists()


@pytest.mark.parametrize("column", HEAD.strip().split(","))
def test_a_column_that_is_missing_is_named(tmp_path: Path, column: str) -> None:
    file = tmp_path / "customers.csv"
    file.write_text((HEAD + GOOD).replace(column, column.lower()), encoding="utf-8")
    with pytest.raises(ColumnMissing, match=f"Did you mean '{column.lower()}'") as told:
        store_of_file(file)
    assert "customers.csv" in str(told.value)


def test_a_file_that_is_missing_is_told_with_its_neighbours(tmp_path: Path) -> None:
    (tmp_path / "RFM_Clustered.csv").touch()
    with pytest.raises(SourceMissing, match=r"RFM_Clustered\.csv"):
        store_of_file(tmp_path / "clustered.csv")
    with pytest.raises(RfmError):
        store_of_file(tmp_path)


def test_a_file_is_a_snapshot_of_its_day(tmp_path: Path) -> None:
    file = tmp_path / "RFM_Clustered.csv"
    file.write_text(
        "\ufeff Cluster ,Monetary,More,Frequency,Recency,CustomerID\n"
        "10,5,x,1,0,b\n\n2.0,-1.5,y,3,400, 17.0 \nbest,7.25,z,2,9,007\n\n",
        encoding="utf-8",
    )
    store = store_of_file(file, folder=tmp_path / "store")
    rows = load_table("customer_segments", root=tmp_path / "store", kind="polars")
    wanted = ("customer_id", "segment", "recency", "frequency", "monetary")
    assert rows.select(wanted).rows() == [
        ("007", "Cluster best", 9, 2, 7.25),
        ("17", "Cluster 2", 400, 3, -1.5),
        ("b", "Cluster 10", 0, 1, 5.0),
    ]
    assert rows.schema["recency"] == pl.Int64
    scheme = store.snapshot("customer_segments").manifest.extra["scheme"]
    # By number, names last, each with a colour of its own.
    assert [one["name"] for one in scheme["segments"]] == [
        "Cluster 2",
        "Cluster 10",
        "Cluster best",
    ]  # type: ignore[index,call-overload,union-attr]
    assert store.dates("customer_segments") == store.dates("segment_summary")
