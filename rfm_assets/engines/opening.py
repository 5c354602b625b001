"""Which engine, by its name in the configuration or by the frame that is given."""

from collections.abc import Mapping
from pathlib import Path
from typing import Literal, TypeAlias

import narwhals as nw
from narwhals.dependencies import is_polars_dataframe, is_polars_lazyframe

from rfm_assets.engines.base import Engine
from rfm_assets.engines.duckdb_engine import DuckDBEngine
from rfm_assets.engines.polars_engine import PolarsEngine
from rfm_assets.engines.spark_engine import LOCAL, SparkEngine

EngineName: TypeAlias = Literal["duckdb", "polars", "spark"]
"""The engines that a deployment can choose."""


def open_engine(
    name: EngineName = "duckdb",
    *,
    memory_limit: str = "1GB",
    threads: int | None = None,
    spill_dir: str | Path | None = None,
    spark_master: str = LOCAL,
    spark_config: Mapping[str, str] | None = None,
) -> Engine:
    """The engine of that name.

    polars and spark follow the first three settings only where DuckDB reads sources for them.

    Raises:
        InvalidConfig: DuckDB does not accept a setting.
        EngineUnavailable: Spark is not installed, or cannot be reached.
    """
    if name == "spark":
        return SparkEngine(
            spark_master,
            spark_config,
            memory_limit=memory_limit,
            threads=threads,
            spill_dir=spill_dir,
        )
    engine = PolarsEngine if name == "polars" else DuckDBEngine
    return engine(memory_limit, threads, spill_dir)


def engine_for_native(frame: object) -> Engine:
    """The engine on which a notebook's frame is computed: its own where it is polars or Spark.

    pandas and pyarrow go through DuckDB rather than natively, so that a notebook computes with
    the engine of the stored tables, nulls and NaN included.
    """
    if isinstance(frame, nw.DataFrame | nw.LazyFrame):
        frame = frame.to_native()
    if is_polars_dataframe(frame) or is_polars_lazyframe(frame):
        return PolarsEngine()
    return DuckDBEngine(keep_order=True)
