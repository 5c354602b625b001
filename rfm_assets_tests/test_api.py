"""`segment_customers` in a notebook: any kind of frame, clear refusals, one result."""

import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from typing import Any

import duckdb
import narwhals as nw
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

import rfm_assets
from rfm_assets import segment_customers
from rfm_assets.domain.segments import STORED_COLUMNS
from rfm_assets.errors import (
    ColumnMissing,
    InvalidAsOf,
    InvalidConfig,
    InvalidSettings,
    UnknownScheme,
    UnsupportedFrame,
    UnusableTransactions,
)

DATA: dict[str, list[Any]] = {
    "customer_id": ["b", "a", "a", "c"],
    "order_id": ["o1", "o2", "o2", "o3"],
    "date": [datetime(2024, 6, 1, 9), datetime(2024, 6, 30, 23, 59), datetime(2024, 6, 30),
             datetime(2024, 7, 1)],
    "amount": [10.0, 20.0, -5.0, 99.0],
}  # fmt: skip

KINDS: dict[str, Callable[[pa.Table], Any]] = {
    "pandas": lambda table: table.to_pandas(),
    "polars": pl.DataFrame,
    "polars lazy": pl.LazyFrame,
    "pyarrow": lambda table: table,
    "duckdb": duckdb.from_arrow,
    "narwhals": nw.from_native,
}


def data(**changed: list[Any]) -> pd.DataFrame:
    return pd.DataFrame({**DATA, **changed})


@pytest.mark.parametrize("kind", KINDS)
def test_the_kind_of_frame_given_comes_back(kind: str) -> None:
    given = KINDS[kind](pa.table(DATA))
    result = segment_customers(given, as_of=date(2024, 7, 1))
    assert type(result) is type(given)
    rows = nw.from_native(result).lazy().collect("pyarrow").to_native().to_pylist()
    assert list(rows[0]) == list(STORED_COLUMNS)
    found = [
        (row["customer_id"], row["recency"], row["frequency"], row["monetary"]) for row in rows
    ]
    assert found == [("a", 1, 1, 15.0), ("b", 30, 1, 10.0)]


def test_the_same_names_as_in_yaml_and_a_date_as_text() -> None:
    result = segment_customers(
        data(), as_of="2024-07-01", analysis_period_days=10, segment_scheme="rfm_11"
    )
    assert list(result["customer_id"]) == ["a"]


def test_rows_without_orders_are_purchases_of_their_own() -> None:
    result = segment_customers(data().drop(columns="order_id"), as_of="2024-07-01")
    assert list(result["frequency"]) == [1, 1]
    twice = data(amount=[10.0, 20.0, 5.0, 99.0]).drop(columns="order_id")
    assert list(segment_customers(twice, as_of="2024-07-01")["frequency"]) == [2, 1]


def test_whole_numbers_are_ids_and_dates_need_no_time() -> None:
    days = [moment.date() for moment in DATA["date"]]
    result = segment_customers(data(customer_id=[2, 1, 1, 3], date=days), as_of="2024-07-01")
    assert list(result["customer_id"]) == ["1", "2"]


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        (
            {"customer_id": ["b", None, "", "c"]},
            "'customer_id' is missing or not a whole number in 2 rows",
        ),
        ({"customer_id": [1.0, 2.5, 2.0, None]}, "or not a whole number in 2 rows"),
        ({"date": [None, *DATA["date"][1:]]}, "'date' is missing in 1 rows"),
        ({"date": ["2024-06-01"] * 4}, "String rather than dates; parse it first"),
        (
            {"date": [datetime(2024, 6, 1, tzinfo=UTC)] * 4},
            "with a time zone; convert to the business",
        ),
        ({"amount": ["10"] * 4}, "'amount' is String rather than numbers"),
        (
            {"amount": [float("nan"), float("inf"), 1.0, 2.0]},
            "'amount' is missing, infinite or beyond 1,000,000,000,000 in 2 rows",
        ),
        ({"amount": [1e300, -1e13, 1e12, -1e12]}, "or beyond 1,000,000,000,000 in 2 rows"),
        (
            {"refund_amount": [-1.0, 1e13, 0.0, float("inf")]},
            "'refund_amount' is negative, infinite or beyond 1,000,000,000,000 in 3 rows",
        ),
    ],
)
@pytest.mark.parametrize("make", [pd.DataFrame, pl.DataFrame], ids=["pandas", "polars"])
def test_rows_that_are_not_clean_are_refused(
    make: Callable[..., Any], changed: dict[str, list[Any]], words: str
) -> None:
    with pytest.raises(UnusableTransactions) as caught:
        segment_customers(make({**DATA, **changed}), as_of="2024-07-01")
    assert words in str(caught.value)


def test_a_missing_column_names_the_nearest() -> None:
    with pytest.raises(
        ColumnMissing, match=r"column 'amount' does not exist. Did you mean 'amout'"
    ):
        segment_customers(data().rename(columns={"amount": "amout"}), as_of="2024-07-01")


@pytest.mark.parametrize("as_of", ["yesterday", datetime(2024, 7, 1), 20240701, None])
def test_as_of_is_a_date(as_of: Any) -> None:
    with pytest.raises(InvalidAsOf):
        segment_customers(data(), as_of=as_of)


def test_wrong_settings_name_the_nearest() -> None:
    with pytest.raises(
        InvalidSettings, match=r"analysis_days: is no key. Did you mean 'analysis_pe"
    ):
        segment_customers(data(), as_of="2024-07-01", analysis_days=30)
    with pytest.raises(InvalidSettings, match="Did you mean 'quartiles'"):
        segment_customers(data(), as_of="2024-07-01", scoring_method="quartile")


def test_what_a_notebook_cannot_have() -> None:
    with pytest.raises(InvalidConfig, match="needs a stored snapshot"):
        segment_customers(data(), as_of="2024-07-01", cut_points={"frozen_from": date(2024, 1, 1)})
    with pytest.raises(UnknownScheme, match="Did you mean 'rfm_10'"):
        segment_customers(data(), as_of="2024-07-01", segment_scheme="rfm10")
    with pytest.raises(UnsupportedFrame):
        segment_customers([1, 2], as_of="2024-07-01")


def test_no_rows_at_all() -> None:
    empty = segment_customers(pa.table(DATA).slice(0, 0), as_of="2024-07-01")
    assert empty.num_rows == 0
    assert empty.column_names == list(STORED_COLUMNS)


def test_later_rows_change_nothing() -> None:
    later = pd.concat([data(), data(date=[moment + timedelta(30) for moment in DATA["date"]])])
    pd.testing.assert_frame_equal(
        segment_customers(later, as_of="2024-07-01"), segment_customers(data(), as_of="2024-07-01")
    )


def test_importing_the_package_is_free() -> None:
    code = "import rfm_assets, sys; print([m for m in sys.modules if m in ('duckdb', 'pandas')])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_public_names() -> None:
    assert set(rfm_assets.__all__) <= set(dir(rfm_assets))
    for name in rfm_assets.__all__:
        assert callable(getattr(rfm_assets, name))
    with pytest.raises(AttributeError, match="has no attribute 'segment'"):
        _ = rfm_assets.segment


@pytest.mark.parametrize("kind", ["pandas", "polars", "pyarrow"])
def test_whole_floats_are_the_ids_that_pandas_made_of_them(kind: str) -> None:
    table = pa.table({**DATA, "customer_id": [17850.0, 42.0, 42.0, 7.0]})
    result = nw.from_native(segment_customers(KINDS[kind](table), as_of="2024-07-01"))
    assert sorted(result["customer_id"].to_list()) == ["17850", "42"]
