"""Tables for tests, on every engine, and their rows as plain Python values."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, TypeAlias

import narwhals as nw
import pandas as pd
import polars as pl
import pyarrow as pa

from rfm_assets.domain.frames import Table
from rfm_assets.engines.duckdb_engine import DuckDBEngine

Columns: TypeAlias = Mapping[str, Sequence[Any]]
MakeTable: TypeAlias = Callable[[Columns | pa.Table], Table]

ENGINES = ("duckdb", "polars", "pandas", "pyarrow")


@contextmanager
def tables_on(engine: str) -> Iterator[MakeTable]:
    """What makes a table of columns on one engine; its tables live as long as the context."""
    if engine == "duckdb":
        with DuckDBEngine(threads=2) as duckdb:
            yield lambda data: duckdb.from_arrow(_arrow(data))
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
    return table if table.implementation.is_duckdb() else table.collect().lazy()


def rows_of(table: Table, *sort_by: str) -> list[dict[str, Any]]:
    """The rows, sorted if keys are given; a pandas index is no column."""
    columns = table.collect_schema().names()
    arrow = table.collect("pyarrow").to_native().select(columns)
    if sort_by:
        arrow = arrow.sort_by([(name, "ascending") for name in sort_by])
    return arrow.to_pylist()


def _arrow(data: Columns | pa.Table) -> pa.Table:
    return data if isinstance(data, pa.Table) else pa.table(dict(data))
