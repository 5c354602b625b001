"""Where this deployment stores its tables and what computes them, as Dagster resources.

How tables are stored or computed does not belong here (`store.py`, `engines/`).
"""

import functools
import os
from pathlib import Path
from typing import Any, ClassVar, Self

import dagster as dg
from pydantic import Field, model_validator

from rfm_assets.components.io_manager import StoreIOManager
from rfm_assets.components.resources import STORE_KEY, EngineResource, StoreResource
from rfm_assets.components.strict_yaml import StrictComponent
from rfm_assets.domain.controls import ControlConfig
from rfm_assets.engines.opening import EngineName
from rfm_assets.engines.spark_engine import LOCAL, missing_for_spark
from rfm_assets.erased import KEY_VARIABLE
from rfm_assets.errors import InvalidConfig
from rfm_assets.loading import DEFAULT_ROOT, ROOT_VARIABLE
from rfm_assets.retention import RetentionPolicy, prune
from rfm_assets.sources.places import reachable

PRUNE = "prune_store"
"""Name of the job, its op and its schedule."""


class DeploymentComponent(StrictComponent):
    """The store and the engine of all components of the project."""

    example: ClassVar[dict[str, Any]] = {
        "store_root": "data/store",
        "memory_limit": "1GB",
    }

    store_root: str = Field(
        default=DEFAULT_ROOT.as_posix(),
        min_length=1,
        description="Folder, relative to the project, or bucket URL that holds the tables. "
        f"The environment variable {ROOT_VARIABLE} goes before it",
        examples=["s3://bucket/rfm"],
    )
    engine: EngineName = Field(
        default="duckdb",
        description="What computes the tables: duckdb goes beyond memory by spilling to disk, "
        "polars holds them in memory, spark goes beyond one machine",
    )
    memory_limit: str = Field(
        default="1GB",
        pattern=r"^\d+(\.\d+)? ?[KMGT]i?B$",
        description="Memory after which DuckDB spills to disk, with its unit; it also reads "
        "sources for the other engines",
        examples=["1GB"],
    )
    threads: int | None = Field(
        default=None,
        ge=1,
        description="Threads of DuckDB; by default one for each core",
    )
    spill_folder: str | None = Field(
        default=None,
        min_length=1,
        description="Folder for what DuckDB spills, relative to the project; "
        "by default below the system's temporary folder",
        examples=["data/spill"],
    )

    spark_master: str = Field(
        default=LOCAL,
        pattern=r"^(local(\[(\*|\d+)\])?|yarn|(spark|k8s|sc)://.+)$",
        description="Where Spark runs: local[*] on this machine, spark://host:7077, k8s://…, yarn, "
        "or sc://host:15002 for Spark Connect",
        examples=["local[4]"],
    )
    spark_config: dict[str, str] = Field(
        default={},
        description="Settings of the Spark session, each value in quotes",
        examples=[{"spark.driver.memory": "4g"}],
    )

    global_control: ControlConfig | None = Field(
        default=None,
        description="A share of all customers whom no campaign contacts",
        examples=[{"share": 0.05, "experiment": "never_contacted_2026"}],
    )

    erasure_key_variable: str = Field(
        default=KEY_VARIABLE,
        pattern=r"^[A-Za-z_][A-Za-z0-9_]*$",
        description="Environment variable with the secret that erased customers are recognised by; "
        "needed once `rfm erase` was used",
    )
    retention: RetentionPolicy | None = Field(
        default=None,
        description="How long snapshots are kept; by default all of them. A job and a schedule "
        "called `prune_store` then remove what is older, as `rfm prune` does",
        examples=[{"weeks": 104, "then": "monthly", "for_months": 36}],
    )
    io_manager_key: str = Field(
        default="io_manager",
        min_length=1,
        description="Resource key under which your own assets get stored tables; "
        "another one if the project has an IO manager already",
    )

    @model_validator(mode="after")
    def _can_be_opened(self) -> Self:
        if self.engine == "spark":
            missing = missing_for_spark(self.spark_master)
            if missing is not None:
                raise InvalidConfig(
                    key="engine", value="spark", reason=missing.reason, fix=missing.fix
                )
        else:
            for key in ("spark_config", "spark_master"):
                if getattr(self, key) == type(self).model_fields[key].default:
                    continue
                raise InvalidConfig(
                    key=key,
                    value=getattr(self, key),
                    reason=f"has no effect, because the engine is {self.engine}",
                    fix="Remove the key, or set `engine: spark`.",
                )
        try:
            reachable(self.store_root)
        except ValueError as error:
            raise InvalidConfig(
                key="store_root",
                value=self.store_root,
                reason="cannot be reached",
                fix=str(error),
            ) from error
        return self

    def definitions(self, context: dg.ComponentLoadContext) -> dg.Definitions:
        store, engine = self.resources(context.project_root)
        job = None if self.retention is None else _prune_job(self.retention)
        return dg.Definitions(
            jobs=[job] if job else [],
            schedules=[_prune_schedule(job, self.retention)] if job and self.retention else [],
            resources={
                "rfm_store": store,
                "rfm_engine": engine,
                self.io_manager_key: StoreIOManager(store=store, engine=engine),
            },
        )

    def resources(self, project: Path) -> tuple[StoreResource, EngineResource]:
        """The store and the engine, relative folders placed below `project`."""
        root = os.environ.get(ROOT_VARIABLE) or self.store_root
        return (
            StoreResource(root=_placed(root, project)),
            EngineResource(
                engine=self.engine,
                memory_limit=self.memory_limit,
                threads=self.threads,
                spill_dir=self.spill_folder and _placed(self.spill_folder, project),
                spark_master=self.spark_master,
                spark_config=self.spark_config,
            ),
        )


def _prune_job(policy: RetentionPolicy) -> dg.JobDefinition:
    @dg.op(
        name=PRUNE,
        required_resource_keys={STORE_KEY},
        description="Removes snapshots that the deployment's `retention` does not keep.",
    )
    def prune_store(context: dg.OpExecutionContext) -> None:
        store = getattr(context.resources, STORE_KEY).get_store()
        for one in prune(store, policy):
            context.log.info(one.sentence())

    @dg.job(name=PRUNE, description="Removes snapshots past their time, as `rfm prune` does.")
    def job() -> None:
        prune_store()

    return job


def _prune_schedule(job: dg.JobDefinition, policy: RetentionPolicy) -> dg.ScheduleDefinition:
    return dg.ScheduleDefinition(
        name=PRUNE,
        job=job,
        cron_schedule=policy.cron_schedule,
        default_status=dg.DefaultScheduleStatus.RUNNING,
    )


@functools.cache
def default_resources(project: Path) -> dict[str, StoreResource | EngineResource]:
    """What components use in a project without a DeploymentComponent.

    The same objects for each of them, because Dagster refuses to merge different ones.
    """
    store, engine = DeploymentComponent().resources(project)
    return {"rfm_store": store, "rfm_engine": engine}


def _placed(folder: str, project: Path) -> str:
    """A bucket URL as it is, a folder below the project."""
    return folder if "://" in folder else str(project / Path(folder).expanduser())
