"""What tests of several modules share: tables on every engine."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeAlias

import narwhals as nw
import polars as pl
import pyarrow as pa
import pytest

from rfm_assets.domain.frames import Table
from rfm_assets.engine import DuckDBEngine

Rows: TypeAlias = Mapping[str, Sequence[Any]]
MakeTable: TypeAlias = Callable[[Rows | pa.Table], Table]

ENGINES = ("duckdb", "polars", "pandas", "pyarrow")


@pytest.fixture(params=ENGINES)
def engine_table(request: pytest.FixtureRequest) -> Iterator[MakeTable]:
    """Makes a table of the given columns, on each engine in turn."""
    with table_maker(request.param) as make:
        yield make


class table_maker:  # noqa: N801 - a context manager, used like a function
    """`MakeTable` for one engine, as a context manager, for tests that compare engines."""

    def __init__(self, engine: str) -> None:
        self.engine = engine

    def __enter__(self) -> MakeTable:
        if self.engine == "duckdb":
            self.duckdb = DuckDBEngine(threads=2)
        return self.make

    def __exit__(self, *_: object) -> None:
        if self.engine == "duckdb":
            self.duckdb.close()

    def make(self, data: Rows | pa.Table) -> Table:
        table = data if isinstance(data, pa.Table) else pa.table(dict(data))
        if self.engine == "duckdb":
            return self.duckdb.from_arrow(table)
        if self.engine == "polars":
            return nw.from_native(pl.from_arrow(table)).lazy()
        return nw.from_native(table.to_pandas() if self.engine == "pandas" else table).lazy()


def rows_of(table: Table, *sort_by: str) -> list[dict[str, Any]]:
    """The rows as Python values; a pandas index is no column. Without keys in engine order."""
    columns = table.collect_schema().names()
    arrow = table.collect("pyarrow").to_native().select(columns)
    if sort_by:
        arrow = arrow.sort_by([(name, "ascending") for name in sort_by])
    return arrow.to_pylist()


def held(table: Table) -> Table:
    """A checkpoint for tests: compute once and stay on the engine, where that is simple."""
    return table if table.implementation.is_duckdb() else table.collect().lazy()
