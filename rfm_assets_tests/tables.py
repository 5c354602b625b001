"""Tables for tests, on every engine, and their rows as plain Python values."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, TypeAlias

import narwhals as nw
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from rfm_assets.domain.frames import Table
from rfm_assets.engines.duckdb_engine import DuckDBEngine
from rfm_assets.engines.opening import open_engine

Columns: TypeAlias = Mapping[str, Sequence[Any]]
MakeTable: TypeAlias = Callable[[Columns | pa.Table], Table]

SPARK = pytest.param("spark", marks=[pytest.mark.spark, pytest.mark.xdist_group("spark")])
"""Spark as a parameter of tests; one worker runs all of them, in one session."""

ENGINES = ("duckdb", "polars", "pandas", "pyarrow", SPARK)


LOCAL_SPARK: Mapping[str, Any] = {
    "spark_master": "local[2]",
    # More than one, so that rows do get shuffled; no more, so that it takes no longer than it must.
    "spark_config": {"spark.sql.shuffle.partitions": "2"},
}
"""What `open_engine` takes beside the name."""


@contextmanager
def tables_on(engine: str) -> Iterator[MakeTable]:
    """What makes a table of columns on one engine; its tables live as long as the context."""
    if engine == "duckdb":
        with DuckDBEngine(threads=2) as duckdb:
            yield lambda data: duckdb.from_arrow(_arrow(data))
    elif engine == "spark":
        with open_engine("spark", **LOCAL_SPARK) as spark:
            yield lambda data: spark.from_arrow(_arrow(data))
    elif engine == "polars":
        yield lambda data: nw.from_native(pl.DataFrame(_arrow(data))).lazy()
    elif engine == "pandas":
        # Only pandas' nullable type keeps a column of truth values one when some are empty.
        types = {pa.bool_(): pd.BooleanDtype()}
        yield lambda data: nw.from_native(_arrow(data).to_pandas(types_mapper=types.get)).lazy()
    else:
        yield lambda data: nw.from_native(_arrow(data)).lazy()


def held(table: Table) -> Table:
    """A checkpoint for tests: compute once and stay on the engine, where that is simple."""
    implementation = table.implementation
    stays = implementation.is_duckdb() or implementation.is_spark_like()
    return table if stays else table.collect().lazy()


def rows_of(table: Table, *sort_by: str) -> list[dict[str, Any]]:
    """The rows, sorted if keys are given; a pandas index is no column."""
    columns = table.collect_schema().names()
    arrow = table.collect("pyarrow").to_native().select(columns)
    if sort_by:
        arrow = arrow.sort_by([(name, "ascending") for name in sort_by])
    return arrow.to_pylist()


def _arrow(data: Columns | pa.Table) -> pa.Table:
    return data if isinstance(data, pa.Table) else pa.table(dict(data))
