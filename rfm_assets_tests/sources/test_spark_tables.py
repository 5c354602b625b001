"""Transactions and customers from Spark's catalogue."""

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from rfm_assets.domain.row_policy import TransactionPolicy
from rfm_assets.domain.transactions import apply_policy
from rfm_assets.engines.base import collect_rows
from rfm_assets.engines.duckdb_engine import DuckDBEngine
from rfm_assets.engines.opening import open_engine
from rfm_assets.engines.spark_engine import SparkEngine
from rfm_assets.errors import ColumnMissing, InvalidConfig, SourceUnreadable
from rfm_assets.sources.config import Attribute, ColumnMapping, SparkSource
from rfm_assets.sources.customers import read_customers
from rfm_assets.sources.reading import Reading, read
from rfm_assets_tests.sources.conftest import TODAY
from rfm_assets_tests.tables import LOCAL_SPARK

pytestmark = [pytest.mark.spark, pytest.mark.xdist_group("spark")]

ROWS = pa.table(
    {
        "customer": ["b", " a ", None, "17850.0", "a"],
        "id": pa.array([2, 1, 3, 4, 5], pa.int64()),
        "at": [datetime(2024, 5, day) for day in (2, 1, 3, 4, 5)],
        "amount": [2.5, 1.0, 9.0, float("nan"), -1.0],
        "written": ["1", "2", "3", "4", "5"],
        "tags": [["x"], [], None, ["y"], ["z"]],
        "consent": [True, False, None, True, None],
    }
)
COLUMNS = {"customer_id": "customer", "order_id": "id", "date": "at", "amount": "amount"}


@pytest.fixture
def engine() -> Iterator[SparkEngine]:
    with open_engine("spark", **LOCAL_SPARK) as opened:
        assert isinstance(opened, SparkEngine)
        opened.session.createDataFrame(ROWS).createOrReplaceTempView("order_lines")
        yield opened
        opened.session.catalog.dropTempView("order_lines")


def reading(
    engine: Any, columns: dict[str, Any] | None = None, table: str = "order_lines"
) -> Reading:
    return read(
        SparkSource(type="spark", table=table),
        ColumnMapping(**(columns or COLUMNS)),
        engine=engine,
        root=Path(),
    )


def test_rows_are_judged_where_they_are(engine: SparkEngine) -> None:
    found = reading(engine)
    assert found.rows == 5
    result = apply_policy(
        found.table, TransactionPolicy(), now_day=TODAY, checkpoint=engine.checkpoint
    )
    kept = collect_rows(result.kept.sort("order_id"))
    assert [(row["customer_id"], row["order_id"], row["amount"]) for row in kept] == [
        ("a", "1", 1.0),
        ("b", "2", 2.5),
        ("a", "5", -1.0),
    ]
    rejects = collect_rows(result.rejects.sort("order_id"))
    assert [(row["order_id"], row["reason"], row["source"]) for row in rejects] == [
        ("3", "missing_customer_id", "spark:order_lines"),
        ("4", "invalid_amount", "spark:order_lines"),
    ]
    assert result.counts.rows_in == 5


def test_the_fingerprint_follows_the_rows_and_not_their_order(engine: SparkEngine) -> None:
    first = reading(engine).source_fingerprint
    shuffled = ROWS.take([4, 2, 0, 1, 3])
    engine.session.createDataFrame(shuffled).createOrReplaceTempView("order_lines")
    assert reading(engine).source_fingerprint == first
    engine.session.createDataFrame(ROWS.slice(1)).createOrReplaceTempView("order_lines")
    assert reading(engine).source_fingerprint != first


def test_customers_come_from_there_too(engine: SparkEngine) -> None:
    found = read_customers(
        SparkSource(type="spark", table="order_lines"),
        customer_id="customer",
        attributes={"consent": Attribute(column="consent", kind="boolean")},
        engine=engine,
        root=Path(),
        time_zone="UTC",
    )
    assert found.rows_without_customer == 1


@pytest.mark.parametrize(
    ("columns", "table", "error", "said"),
    [
        (COLUMNS, "order_line", SourceUnreadable, "no such table or view"),
        ({**COLUMNS, "amount": "amuont"}, "order_lines", ColumnMissing, "amuont"),
        ({**COLUMNS, "amount": "written"}, "order_lines", InvalidConfig, "holds text in spark:"),
        ({**COLUMNS, "customer_id": "tags"}, "order_lines", InvalidConfig, "holds lists"),
    ],
)
def test_what_does_not_fit(
    engine: SparkEngine, columns: dict[str, Any], table: str, error: type[Exception], said: str
) -> None:
    with pytest.raises(error, match=said):
        reading(engine, columns, table)


def test_another_engine_says_which_one_it_needs() -> None:
    with DuckDBEngine(threads=1) as duckdb, pytest.raises(InvalidConfig, match="engine: spark"):
        reading(duckdb)
