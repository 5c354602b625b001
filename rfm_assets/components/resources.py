"""Dagster resources that say where tables are stored and what computes them.

They only open what the package below them offers: no asset logic, no secrets.
"""

import dagster as dg
from pydantic import Field

from rfm_assets.engines.base import Engine
from rfm_assets.engines.opening import EngineName, open_engine
from rfm_assets.engines.spark_engine import LOCAL
from rfm_assets.store import Store

STORE_KEY = "rfm_store"
ENGINE_KEY = "rfm_engine"
"""Keys under which a project has these resources; the components ask for them by these."""


class StoreResource(dg.ConfigurableResource):
    """The place where every table's snapshots are kept."""

    root: str = Field(
        description="Folder or bucket URL of the store, such as data/store or s3://bucket/rfm."
    )

    def get_store(self) -> Store:
        """The store at `root`."""
        return Store(self.root)


class EngineResource(dg.ConfigurableResource):
    """What reads, computes and writes tables. Open one engine per partition."""

    engine: EngineName = Field(
        default="duckdb",
        description="Engine that computes tables: duckdb (out of core), polars (in memory) or "
        "spark (many machines).",
    )
    memory_limit: str = Field(
        default="1GB",
        description="Memory after which DuckDB spills to disk, with its unit, such as 1GB.",
    )
    threads: int | None = Field(
        default=None, ge=1, description="Threads of DuckDB; every core where it is not given."
    )
    spill_dir: str | None = Field(
        default=None,
        description="Folder for spilled data; the system's temporary folder where not given.",
    )

    spark_master: str = Field(default=LOCAL, description="Where Spark runs.")
    spark_config: dict[str, str] = Field(default={}, description="Settings of the Spark session.")

    def yield_engine(self) -> Engine:
        """A new engine. Use it as a context manager, so that what it holds is freed."""
        return open_engine(
            self.engine,
            memory_limit=self.memory_limit,
            threads=self.threads,
            spill_dir=self.spill_dir,
            spark_master=self.spark_master,
            spark_config=self.spark_config,
        )
