"""Notebooks get stored tables by name, date and kind, and a clear answer where there is none."""

from datetime import date, datetime
from pathlib import Path
from typing import Any, get_args

import duckdb
import narwhals as nw
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from upath import UPath

from rfm_assets.errors import (
    ColumnMissing,
    InvalidAsOf,
    InvalidConfig,
    PartMissing,
    SnapshotMissing,
    SnapshotUnreadable,
    TableMissing,
    TypesDiffer,
)
from rfm_assets.loading import FrameKind, load_table
from rfm_assets.publishing import publish_frame
from rfm_assets.store import Store

JAN_5, JAN_12 = date(2026, 1, 5), date(2026, 1, 12)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Two weeks of `weekly`, the later with a further column and a wider type, and `plain`."""
    store = Store(tmp_path / "store")
    older = pl.DataFrame({"id": ["b", "a"], "n": pl.Series([2, 1], dtype=pl.Int32)})
    newer = pl.DataFrame({"id": ["c"], "n": [3], "region": ["north"]})
    publish_frame(store, table="weekly", as_of=JAN_5, frame=older)
    publish_frame(store, table="weekly", as_of=JAN_12, frame=newer)
    publish_frame(store, table="plain", as_of=None, frame=pl.DataFrame({"n": [9]}))
    return tmp_path / "store"


@pytest.mark.parametrize("as_of", [JAN_5, "2026-01-05"])
def test_one_date_by_itself_or_its_text(root: Path, as_of: Any) -> None:
    frame = load_table("weekly", as_of, root=root)
    assert frame["id"].tolist() == ["b", "a"]


def test_the_latest_is_the_default_also_of_a_table_without_dates(root: Path) -> None:
    assert load_table("weekly", root=root)["id"].tolist() == ["c"]
    assert load_table("plain", root=root)["n"].tolist() == [9]


def test_a_range_holds_both_ends_and_leaves_empty_what_a_week_lacks(root: Path) -> None:
    frame = load_table("weekly", ("2026-01-05", JAN_12), root=root, kind="polars")
    assert frame.rows() == [("b", 2, None), ("a", 1, None), ("c", 3, "north")]
    assert load_table("weekly", (JAN_5, JAN_5), root=root)["id"].tolist() == ["b", "a"]


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("pandas", pd.DataFrame),
        ("polars", pl.DataFrame),
        ("polars_lazy", pl.LazyFrame),
        ("pyarrow", pa.Table),
        ("duckdb", duckdb.DuckDBPyRelation),
        ("narwhals", nw.LazyFrame),
    ],
)
def test_each_kind_has_the_rows_in_their_order(root: Path, kind: Any, expected: type) -> None:
    frame = load_table("weekly", JAN_5, root=root, kind=kind)
    assert isinstance(frame, expected)
    rows = nw.from_native(frame).lazy().collect("pyarrow").to_native().to_pylist()
    assert rows == [{"id": "b", "n": 2}, {"id": "a", "n": 1}]


def test_pandas_gets_timestamps_and_text_of_its_own(tmp_path: Path) -> None:
    frame = pl.DataFrame(
        {"as_of": [JAN_5], "at": [datetime(2026, 1, 5, 9, 30)], "id": ["a"], "n": [1]}
    )
    publish_frame(Store(tmp_path), table="typed", as_of=None, frame=frame)
    loaded = load_table("typed", root=tmp_path)
    assert [str(dtype) for dtype in loaded.dtypes] == [
        "datetime64[us]",
        "datetime64[us]",
        "str",
        "int64",
    ]
    assert loaded["as_of"][0] == pd.Timestamp("2026-01-05")


def test_only_the_columns_asked_for_in_that_order(root: Path) -> None:
    frame = load_table("weekly", root=root, columns=["region", "id"], kind="polars")
    assert frame.rows() == [("north", "c")]
    assert frame.columns == ["region", "id"]


def test_a_bucket_is_read_like_a_folder(tmp_path: Path) -> None:
    root = UPath(f"memory://{tmp_path.name}/store")
    publish_frame(Store(root), table="weekly", as_of=JAN_5, frame=pl.DataFrame({"n": [1]}))
    for kind in ("pandas", "duckdb"):
        assert len(load_table("weekly", root=root, kind=kind)) == 1


@pytest.mark.parametrize("kind", get_args(FrameKind))
def test_a_damaged_page_is_told_and_never_read(root: Path, kind: Any) -> None:
    (stored,) = Store(root).snapshot("weekly", JAN_5).files()
    content = bytearray(stored.read_bytes())
    content[len(content) // 2] ^= 0xFF
    stored.write_bytes(content)
    with pytest.raises(SnapshotUnreadable, match="of weekly as of 2026-01-05 is damaged"):
        load_table("weekly", JAN_5, root=root, kind=kind)
    assert len(load_table("weekly", JAN_12, root=root)) == 1


def test_the_root_is_the_environments_else_data_store(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RFM_STORE_ROOT", str(root))
    assert len(load_table("weekly")) == 1
    monkeypatch.delenv("RFM_STORE_ROOT")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(TableMissing, match=r"no table 'weekly' below .*data/store\. There is no"):
        load_table("weekly")
    Path("data").mkdir()
    root.rename(Path("data", "store"))
    assert len(load_table("weekly")) == 1


def test_an_unknown_table_names_the_nearest(root: Path) -> None:
    with pytest.raises(TableMissing, match=r"no table 'wekly' .* Did you mean 'weekly'"):
        load_table("wekly", root=root)


@pytest.mark.parametrize("as_of", ["2026-02-02", ("2026-02-02", "2026-02-09")])
def test_an_unknown_date_names_those_that_exist(root: Path, as_of: Any) -> None:
    with pytest.raises(SnapshotMissing, match="The last ones are 2026-01-05, 2026-01-12"):
        load_table("weekly", as_of, root=root)


def test_a_table_without_dates_is_not_handed_out_for_one(root: Path) -> None:
    with pytest.raises(SnapshotMissing, match="all dates together, called latest"):
        load_table("plain", JAN_5, root=root)


@pytest.mark.parametrize("as_of", ["last week", datetime(2026, 1, 5), 5, None])
def test_what_is_no_date_is_refused(root: Path, as_of: Any) -> None:
    with pytest.raises(InvalidAsOf, match="is not a date"):
        load_table("weekly", as_of, root=root)


def test_a_range_that_ends_before_it_begins_is_refused(root: Path) -> None:
    with pytest.raises(InvalidConfig, match="ends before it begins"):
        load_table("weekly", (JAN_12, JAN_5), root=root)


def test_an_unknown_column_part_or_kind_names_the_nearest(root: Path) -> None:
    with pytest.raises(ColumnMissing, match=r"weekly: column 'regon' .* Did you mean 'region'"):
        load_table("weekly", root=root, columns=["regon"])
    with pytest.raises(PartMissing, match="no part 'exclude'"):
        load_table("weekly", root=root, part="exclude")
    with pytest.raises(
        InvalidConfig, match=r"'panda' is not a kind of frame. Did you mean 'pandas'"
    ):
        load_table("weekly", root=root, kind="panda")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("older", "newer", "expected"),
    [
        # A cast to the later type would make 1.5 to 1.
        (pl.Series([1.5]), pl.Series([2]), [1.5, 2.0]),
        (pl.Series([2**40]), pl.Series([1], dtype=pl.Int32), [2**40, 1]),
        (pl.Series([None], dtype=pl.Null), pl.Series(["x"]), [None, "x"]),
        (pl.Series(["x"]), pl.Series([None], dtype=pl.Null), ["x", None]),
        (
            pl.Series([date(2026, 1, 1)]),
            pl.Series([datetime(2026, 1, 8, 12)]),
            [datetime(2026, 1, 1), datetime(2026, 1, 8, 12)],
        ),
    ],
)
def test_a_range_takes_the_type_that_holds_every_week(
    tmp_path: Path, older: pl.Series, newer: pl.Series, expected: list[object]
) -> None:
    store = Store(tmp_path)
    for as_of, values in ((JAN_5, older), (JAN_12, newer)):
        publish_frame(store, table="weekly", as_of=as_of, frame=pl.DataFrame({"n": values}))
    for kind in ("polars", "narwhals"):
        frame = load_table("weekly", (JAN_5, JAN_12), root=tmp_path, kind=kind)
        found = nw.from_native(frame, pass_through=True).lazy().collect("pyarrow")
        assert found.to_native()["n"].to_pylist() == expected


@pytest.mark.parametrize("kind", ["pandas", "duckdb"])
def test_a_range_over_a_change_of_type_says_where(tmp_path: Path, kind: Any) -> None:
    store = Store(tmp_path)
    for as_of, values in ((JAN_5, ["north"]), (JAN_12, [7])):
        publish_frame(store, table="weekly", as_of=as_of, frame=pl.DataFrame({"region": values}))
    with pytest.raises(
        TypesDiffer,
        match=r"weekly: column 'region' is String as of 2026-01-05, Int64 as of 2026-01-12",
    ):
        load_table("weekly", (JAN_5, JAN_12), root=tmp_path, kind=kind)
    assert len(load_table("weekly", JAN_12, root=tmp_path)) == 1
