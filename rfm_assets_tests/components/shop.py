"""A small shop whose weekly tables can be worked out by hand, run by Dagster for real.

Thresholds are fixed, so that every score can be read off: recency 10/20/40/80 days, frequency
1/2/3/4 purchases, money 10/50/100/500.
"""

from collections.abc import Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any

import dagster as dg
import pyarrow as pa
import pyarrow.parquet as pq

from rfm_assets import load_table
from rfm_assets.engines.duckdb_engine import DuckDBEngine
from rfm_assets.publishing import publish
from rfm_assets.schemas import SUPPRESSION_LIST
from rfm_assets.store import Store
from rfm_assets_tests.components.conftest import Project
from rfm_assets_tests.domain import purchases

HEADER = "order,customer,ordered_at,amount"

ROWS = (
    # a: four purchases, 480 in all, the last on 10 February; a fifth of 120 on 28 February
    "1,a,2025-09-01,100",
    "2,a,2025-11-01,150",
    "3,a,2026-01-05,130",
    "4,a,2026-02-10,100",
    "5,a,2026-02-28,120",
    # b: once, long ago, for 5
    "6,b,2025-06-01,5",
    # c: four purchases, 300 in all, the last on 1 October
    "7,c,2025-04-01,75",
    "8,c,2025-05-01,75",
    "9,c,2025-07-01,75",
    "10,c,2025-10-01,75",
    # d: new on 26 February, 20
    "11,d,2026-02-26,20",
    # nobody
    "12,,2026-02-01,7",
)

FIRST, SECOND = "2026-02-16", "2026-02-23"
"""Partition keys; their weeks end on 23 February and on 2 March."""
AS_OF = {FIRST: date(2026, 2, 23), SECOND: date(2026, 3, 2)}

FILES = {
    "deployment": """
        type: rfm_assets.components.DeploymentComponent
        attributes:
          threads: 2
        """,
    "weekly": """
        type: rfm_assets.components.WeeklyRefreshComponent
        attributes:
          start_date: 2026-01-05
        """,
    "transaction_data": """
        type: rfm_assets.components.TransactionDataComponent
        attributes:
          asset_name: transaction_data
          source: {type: csv, path: orders.csv}
          columns: {customer_id: customer, order_id: order, date: ordered_at, amount: amount}
          checks: {max_age_days: null, warn_reject_rate: 0.2}
        """,
    "customer_segments": """
        type: rfm_assets.components.CustomerSegmentationComponent
        attributes:
          asset_name: customer_segments
          scoring_method: custom
          thresholds:
            recency: [10, 20, 40, 80]
            frequency: [1, 2, 3, 4]
            monetary: [10, 50, 100, 500]
          checks: {warn_drift: 100, block_drift: 100}
        """,
    "segment_movement": """
        type: rfm_assets.components.SegmentMovementComponent
        attributes: {asset_name: segment_movement}
        """,
    "segment_summary": """
        type: rfm_assets.components.SegmentSummaryComponent
        attributes:
          asset_name: segment_summary
          success_hours: 10
        """,
    "suppression_list": """
        type: rfm_assets.components.SuppressionListComponent
        attributes:
          asset_name: suppression_list
          segments: [Lost]
        """,
    "champions": """
        type: rfm_assets.components.CampaignListComponent
        attributes:
          asset_name: champions
          segments: [Champions]
        """,
    "win_back": """
        type: rfm_assets.components.CampaignListComponent
        attributes:
          asset_name: win_back
          segments: [At Risk, Lost]
          priority: monetary / (recency / 30 + 1)
        """,
}


class Shop:
    """A project with the components of `FILES`, over one CSV file."""

    def __init__(self, project: Project) -> None:
        self.project = project
        for folder, text in FILES.items():
            project.write(folder, text)
        self.write_orders(ROWS)

    @property
    def orders(self) -> Path:
        return self.project.root / "orders.csv"

    @property
    def root(self) -> Path:
        return self.project.root / "data" / "store"

    @property
    def store(self) -> Store:
        return Store(self.root)

    def write_orders(self, rows: Sequence[str]) -> None:
        self.orders.write_text("\n".join([HEADER, *rows, ""]), encoding="utf-8")

    def run(
        self, *keys: str, instance: dg.DagsterInstance | None = None
    ) -> dg.ExecuteInProcessResult:
        """One run of the weekly job over the partitions from the first to the last key."""
        job = self.project.load().resolve_job_def("weekly_refresh")
        return job.execute_in_process(
            instance=instance or dg.DagsterInstance.ephemeral(),
            raise_on_error=False,
            tags={
                "dagster/asset_partition_range_start": keys[0],
                "dagster/asset_partition_range_end": keys[-1],
            },
            run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
        )

    def run_alone(self, key: dg.AssetKey, **asked: Any) -> dg.ExecuteInProcessResult:
        """One run of an asset by itself, of a partition or by a configuration."""
        job = dg.define_asset_job("only", dg.AssetSelection.assets(key))
        both = dg.Definitions.merge(self.project.load(), dg.Definitions(jobs=[job]))
        return both.resolve_job_def("only").execute_in_process(**asked)


def busy_shop(project: Project) -> Shop:
    """The shop with the 600 customers of the random one, who buy until the second week's end."""
    made, later = Shop(project), AS_OF[SECOND] - purchases.AS_OF
    made.write_orders(
        [
            f"{order},{customer},{date.fromisoformat(day) + later},{amount}"
            for customer, order, day, amount in purchases.shop()
        ]
    )
    return made


TABLES = ("customer_segments", "segment_movement", "segment_summary", "champions", "win_back")


def tables(root: Path | str) -> dict[str, list[dict[str, Any]]]:
    """The rows of the newest snapshots, without the moment at which they were computed."""
    found = {name: load_table(name, root=root, kind="pyarrow").to_pylist() for name in TABLES}
    for row in found["customer_segments"]:
        del row["segmented_at"]
    return found


def failure(result: dg.ExecuteInProcessResult) -> str:
    """The message of the first failed step."""
    for event in result.all_events:
        if event.is_step_failure and event.step_failure_data.error is not None:
            error = event.step_failure_data.error
            return "\n".join(part.message for part in (error, error.cause) if part is not None)
    raise AssertionError("the run did not fail")


def recorded(result: dg.ExecuteInProcessResult, key: dg.AssetKey, week: str) -> dict[str, Any]:
    """What a run recorded of a week of an asset."""
    found: dict[str, Any] = {}
    for event in result.all_events:
        if event.is_step_materialization and event.asset_key == key and event.partition == week:
            found |= {k: v.value for k, v in event.materialization.metadata.items()}
    return found


def declared(component: str, attributes: Mapping[str, Any]) -> str:
    """The YAML of a component, with an attribute a line."""
    lines = "".join(f"  {key}: {value}\n" for key, value in attributes.items())
    return f"type: rfm_assets.components.{component}\nattributes:\n{lines}"


def suppress(store: Store, as_of: date, *, table: str = "suppression_list", **reasons: str) -> None:
    """A suppression list that is computed after the campaign list."""
    with DuckDBEngine(threads=1) as engine:
        frame = engine.from_arrow(
            pa.table(
                {
                    "customer_id": pa.array(list(reasons), pa.string()),
                    "reason": pa.array(list(reasons.values()), pa.string()),
                    "source": pa.array(["by hand"] * len(reasons), pa.string()),
                    "since": pa.array([None] * len(reasons), pa.date32()),
                    "as_of": pa.array([as_of] * len(reasons), pa.date32()),
                }
            )
        )
        names = store.snapshot(table, "latest").files()[0]
        wanted = pq.read_schema(str(names)).names
        publish(
            store,
            engine,
            SUPPRESSION_LIST,
            table=table,
            as_of=as_of,
            frame=frame.select(*wanted),
            run_id="test",
            extra=store.snapshot(table, "latest").manifest.extra,
        )
