"""What is measured, one function for each task, each run in a process of its own.

`python -m benchmarks.tasks <task> <file for the answer> <arguments as JSON>`. Imports stand in the
functions, so that each process pays for its own and for no other's. How a process is measured is
in `measured.py`.
"""

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.measured import ROOT, pin_to_cores

if TYPE_CHECKING:
    import dagster as dg

Answer = dict[str, Any]

EXAMPLE = ROOT / "examples" / "online_retail"
HOME_YAML = "telemetry: {enabled: false}\nnux: {enabled: false}\n"
CANONICAL = ["customer_id", "order_id", "date", "amount"]


def machine() -> Answer:
    """What the figures depend on: cores, memory and versions."""
    import os
    import platform
    from importlib.metadata import version

    packages = ("dagster", "duckdb", "narwhals", "pandas", "numpy", "pyarrow", "polars")
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "cores": os.cpu_count(),
        "memory_gb": round(memory / 1e9),
        "system": platform.system(),
        "python": platform.python_version(),
        "packages": {name: version(name) for name in packages},
    }


def generated_lines(*, target: str, lines: int) -> Answer:
    """A CSV in the form of Online Retail, with so many lines of the generator's shop."""
    from datetime import date

    import pyarrow as pa
    import pyarrow.csv as pacsv

    from rfm_assets.domain.generator import GeneratorConfig
    from rfm_assets.sources.generated import transactions

    config = GeneratorConfig(
        start=date(2010, 12, 1),
        customers=max(100, lines * 10 // 77),
        new_customers_per_week=max(1, lines // 770),
        missing_id_rate=0.25,
    )
    rows = transactions(config, date(2011, 12, 10)).slice(0, lines)
    names = {
        "InvoiceNo": "order_number",
        "StockCode": "sku",
        "Description": "category",
        "Quantity": "quantity",
        "InvoiceDate": "ordered_at",
        "UnitPrice": "unit_price",
        "CustomerID": "customer",
        "Country": "country",
    }
    table = pa.table({name: rows[column] for name, column in names.items()})
    pacsv.write_csv(table, target)
    return {"lines": table.num_rows}


def generated_transactions(*, target: str, rows: int) -> Answer:
    """Canonical transactions of the generator's shop, as a Parquet file, newest rows cut off."""
    from datetime import date

    from rfm_assets.domain.row_policy import TransactionPolicy
    from rfm_assets.domain.transactions import apply_policy
    from rfm_assets.engines.duckdb_engine import DuckDBEngine
    from rfm_assets.sources.config import ColumnMapping, GeneratorSource
    from rfm_assets.sources.reading import read

    source = GeneratorSource(
        type="generator",
        start=date(2022, 1, 1),
        customers=max(100, rows // 22),
        new_customers_per_week=max(1, rows // 2_200),
    )
    columns = ColumnMapping(
        customer_id="customer",
        order_id="order_number",
        date="ordered_at",
        amount="quantity * unit_price",
    )
    end = date(2025, 1, 1)
    with DuckDBEngine("4GB") as engine:
        reading = read(source, columns, engine=engine, root=ROOT, generate_until=end)
        kept = apply_policy(
            reading.table, TransactionPolicy(), now_day=(end - date(1970, 1, 1)).days
        )
        table = kept.kept.sort("date", "order_id", "amount").head(rows)
        folder = Path(target)
        written = engine.write_parquet(table, folder, sort_by=[])
        (file,) = folder.glob("*.parquet")
    return {"rows": written, "path": str(file)}


def dagster_home(*, folder: str) -> Answer:
    """A Dagster home with its SQLite files, as a deployment has it before its first run."""
    import dagster as dg

    Path(folder).mkdir(parents=True, exist_ok=True)
    Path(folder, "dagster.yaml").write_text(HOME_YAML, encoding="utf-8")
    with dg.DagsterInstance.from_config(folder) as instance:
        instance.get_runs_count()
    return {}


def weekly_run(*, csv: str, store: str, home: str | None, weeks: list[str]) -> Answer:
    """The weekly job of the example over some weeks, as one run with every check.

    Its history goes to the SQLite files of `home`, or to memory where None.
    """
    import os

    start = time.perf_counter()
    os.environ |= {"RFM_ONLINE_RETAIL": csv, "RFM_STORE_ROOT": store}
    sys.path.insert(0, str(EXAMPLE))
    import dagster as dg

    from rfm_assets.definitions import load_project

    job = load_project(EXAMPLE).resolve_job_def("weekly_refresh")
    loaded = time.perf_counter()
    made = dg.DagsterInstance.from_config(home) if home else dg.DagsterInstance.ephemeral()
    with made as instance:
        result = job.execute_in_process(
            instance=instance,
            tags={
                "dagster/asset_partition_range_start": weeks[0],
                "dagster/asset_partition_range_end": weeks[-1],
            },
            run_config={"loggers": {"console": {"config": {"log_level": "ERROR"}}}},
        )
        told = _told(result)
    return {
        "load_seconds": loaded - start,
        "run_seconds": time.perf_counter() - loaded,
        **told,
    }


def facts(*, store: str) -> Answer:
    """What is known of the Online Retail file, beside what the stored tables say."""
    import pandas as pd

    from rfm_assets import load_table
    from rfm_assets.store import Store

    kept = load_table("transaction_data", root=store)
    rejects = load_table("transaction_data_rejects", root=store)
    counts = Store(store).snapshot("transaction_data", None).manifest.counts
    bought = kept[kept["amount"] > 0]
    orders = pd.concat([kept["order_id"], rejects["order_id"]])
    raw = rejects["amount"].str.extract(r"Quantity=(.*), UnitPrice=(.*)").astype(float)
    orders_each = bought.groupby("customer_id")["order_id"].nunique()
    found = {
        "rows": (541_909, counts["rows_in"]),
        "rows without a customer": (135_080, len(rejects)),
        "customers": (4_372, kept["customer_id"].nunique()),
        "invoices": (25_900, orders.nunique()),
        "rows on cancelled invoices": (9_288, orders.str.startswith("C").sum()),
        "rows of negative quantity": (10_624, (kept["quantity"] < 0).sum() + (raw[0] < 0).sum()),
        "rows without a price": (2_517, (kept["amount"] == 0).sum() + (raw[1] <= 0).sum()),
        "first": ("2010-12-01 08:26", f"{kept['date'].min():%Y-%m-%d %H:%M}"),
        "last": ("2011-12-09 12:50", f"{kept['date'].max():%Y-%m-%d %H:%M}"),
        "purchase rows": (397_884, len(bought)),
        "customers who bought": (4_338, bought["customer_id"].nunique()),
        "orders": (18_532, bought["order_id"].nunique()),
        "revenue": (8_911_407.90, round(bought["amount"].sum(), 2)),
        "ordered once, %": (34.4, round(100 * (orders_each == 1).mean(), 1)),
    }
    return {
        name: {"expected": expected, "found": seen if isinstance(seen, str) else float(seen)}
        for name, (expected, seen) in found.items()
    }


def score_with_product(*, path: str, as_of: str) -> Answer:
    """Recency, frequency, money, scores and segments of canonical transactions, as the asset does."""
    from datetime import date

    from rfm_assets.domain.segments import SegmentationConfig, segment
    from rfm_assets.engines.base import to_arrow
    from rfm_assets.engines.duckdb_engine import DuckDBEngine
    from rfm_assets.library import load_scheme

    with DuckDBEngine() as engine:
        rows = engine.scan_parquet([Path(path)]).select(*CANONICAL)
        result = segment(
            engine.day_number(rows, "date"),
            as_of=date.fromisoformat(as_of),
            config=SegmentationConfig(analysis_period_days=3_650),
            scheme=load_scheme(),
            checkpoint=engine.checkpoint,
        )
        return {"customers": to_arrow(result.table).num_rows}


def score_with_typical_pandas(*, path: str, as_of: str) -> Answer:
    """The same question, answered as tutorials do."""
    import pandas as pd

    from benchmarks.peers import typical

    rows = pd.read_parquet(path, columns=CANONICAL)
    return {"customers": len(typical(rows, pd.Timestamp(as_of)))}


def score_with_tuned_pandas(*, path: str, as_of: str) -> Answer:
    """The same question, answered as a careful user of pandas would."""
    import pandas as pd

    from benchmarks.peers import tuned

    rows = pd.read_parquet(path, columns=CANONICAL)
    return {"customers": len(tuned(rows, pd.Timestamp(as_of)))}


def heavy_tailed(*, target: str, rows: int, customers: int) -> Answer:
    """A large file to measure with."""
    from benchmarks.heavy_tailed import write

    write(Path(target), rows=rows, customers=customers)
    return {}


def heavy_tailed_attributes(*, target: str, rows: int, customers: int) -> Answer:
    """Order lines with the columns that the fourteen features read."""
    from benchmarks.heavy_tailed import write_with_attributes

    write_with_attributes(Path(target), rows=rows, customers=customers)
    return {"rows": rows}


def rfm_aggregate(*, path: str, as_of: str) -> Answer:
    """Recency, frequency and money of each customer, held: what features are compared with."""
    from datetime import date

    from rfm_assets.domain.rfm import RfmConfig, customer_rfm
    from rfm_assets.engines.opening import open_engine

    with open_engine("duckdb", memory_limit="4GB") as engine:
        rows = engine.scan_parquet([Path(path)])
        config = RfmConfig(analysis_period_days=3_650)
        start = time.perf_counter()
        engine.checkpoint(customer_rfm(rows, as_of=date.fromisoformat(as_of), config=config))
        return {"seconds": time.perf_counter() - start}


def fourteen_features(*, path: str, as_of: str) -> Answer:
    """All features of each customer, held."""
    from datetime import date

    from rfm_assets.domain.features import FeatureConfig, customer_features
    from rfm_assets.engines.opening import open_engine

    config = FeatureConfig(
        history_days=3_650,
        quantity_column="litres",
        channel_column="channel",
        location_column="station",
        status_column="status",
    )
    with open_engine("duckdb", memory_limit="4GB") as engine:
        rows = engine.scan_parquet([Path(path)])
        start = time.perf_counter()
        features = customer_features(rows, as_of=date.fromisoformat(as_of), config=config)
        engine.checkpoint(features)
        return {"seconds": time.perf_counter() - start, "features": len(config.available)}


def behavior_of_an_industry(*, industry: str, customers: int) -> Answer:
    """Metrics, signals, trends and recommendations of generated customers, held."""
    from datetime import date

    import pyarrow as pa

    from rfm_assets.domain.behavior import BehaviorConfig, analyze_behavior
    from rfm_assets.domain.behavior_generator import generate_behavior
    from rfm_assets.domain.rfm import day_number
    from rfm_assets.engines.opening import open_engine
    from rfm_assets.library import load_profile

    as_of, profile = date(2025, 1, 1), load_profile(industry)
    made = generate_behavior(industry, customers=customers)
    with open_engine("duckdb", memory_limit="2GB") as engine:
        tables = {}
        for source, rows in (("events", made.events), ("transactions", made.transactions)):
            names = ["customer_id", *profile.kinds(source)]
            columns = {name: pa.array([row.get(name) for row in rows]) for name in names}
            days = [day_number(as_of) - row["day"] for row in rows]
            columns["day"] = pa.array(days, pa.int32())
            tables[source] = engine.from_arrow(pa.table(columns))
        start = time.perf_counter()
        found = analyze_behavior(
            profile,
            events=tables["events"],
            transactions=tables["transactions"],
            as_of=as_of,
            config=BehaviorConfig(),
            checkpoint=engine.checkpoint,
        )
        for table in (found.table, found.signals):
            engine.checkpoint(table)
        seconds = time.perf_counter() - start
        rows_read = len(made.events) + len(made.transactions)
        return {"seconds": seconds, "rows": rows_read, **found.counts}


def compute_with_product(
    *,
    path: str,
    target: str,
    as_of: str,
    engine: str = "duckdb",
    settings: dict[str, Any] | None = None,
) -> Answer:
    """Parquet to Parquet: recency, frequency, money, scores and segments, by the domain's functions.

    `settings` are those of the deployment, such as `memory_limit`.
    """
    from datetime import date

    from rfm_assets.domain.segments import SegmentationConfig, segment
    from rfm_assets.engines.opening import open_engine
    from rfm_assets.library import load_scheme

    with open_engine(engine, **(settings or {})) as opened:
        rows = opened.scan_parquet([Path(path)]).select(*CANONICAL)
        result = segment(
            opened.day_number(rows, "date"),
            as_of=date.fromisoformat(as_of),
            config=SegmentationConfig(analysis_period_days=3_650),
            scheme=load_scheme(),
            checkpoint=opened.checkpoint,
        )
        return {"customers": opened.write_parquet(result.table, Path(target), sort_by=())}


def compute_with_sql(*, path: str, target: str, as_of: str) -> Answer:
    """The same by hand-written SQL, on DuckDB as it comes."""
    from datetime import datetime

    import duckdb

    from benchmarks.peers import SQL

    with duckdb.connect() as connection:
        connection.execute("SET preserve_insertion_order = false")
        given = {"path": path, "as_of": datetime.fromisoformat(as_of)}
        connection.sql(SQL, params=given).write_parquet(target, compression="zstd", overwrite=True)
        return {"customers": connection.read_parquet(target).aggregate("count(*)").fetchall()[0][0]}


def compute_with_spark_sql(*, path: str, target: str, as_of: str, master: str) -> Answer:
    """The same by SQL written by hand for Spark, in a session like the product's."""
    from datetime import datetime

    from benchmarks.peers import SPARK_SQL
    from rfm_assets.engines.spark_engine import spark_session

    session = spark_session(master)
    session.read.parquet(path).createOrReplaceTempView("transactions")
    found = session.sql(SPARK_SQL, args={"as_of": datetime.fromisoformat(as_of)})
    found.write.option("compression", "zstd").parquet(target)
    return {"customers": session.read.parquet(target).count()}


def compute_with_polars(*, path: str, target: str, as_of: str) -> Answer:
    """The same in lazy polars, streaming where it can."""
    from datetime import datetime

    import polars as pl

    from benchmarks.peers import in_polars

    in_polars(path, datetime.fromisoformat(as_of)).sink_parquet(target)
    return {"customers": pl.scan_parquet(target).select(pl.len()).collect().item()}


def compute_with_tuned_pandas(*, path: str, target: str, as_of: str) -> Answer:
    """The same by a careful user of pandas."""
    import pandas as pd

    from benchmarks.peers import tuned

    found = tuned(pd.read_parquet(path, columns=CANONICAL), pd.Timestamp(as_of))
    found.to_parquet(target)
    return {"customers": len(found)}


def compute_with_typical_pandas(*, path: str, target: str, as_of: str) -> Answer:
    """The same as tutorials do it."""
    import pandas as pd

    from benchmarks.peers import typical

    found = typical(pd.read_parquet(path, columns=CANONICAL), pd.Timestamp(as_of))
    found.to_parquet(target)
    return {"customers": len(found)}


def scan(*, path: str) -> Answer:
    """Reading the columns and nothing else."""
    import duckdb

    from benchmarks.peers import SCAN

    with duckdb.connect() as connection:
        (row,) = connection.sql(SCAN, params={"path": path}).fetchall()
    return {"rows": row[0]}


def weekly_run_in_place(
    *, path: str, project: str, week: str, settings: dict[str, Any] | None = None
) -> Answer:
    """One week through Dagster from a file of this form that is read in place, with every check.

    Transactions, segments, movement and summary; the run's history in memory.
    """
    start = time.perf_counter()
    import dagster as dg

    from benchmarks.large_store import declare, transactions
    from rfm_assets.definitions import load_project

    folder = declare(
        Path(project),
        {
            "deployment": ("DeploymentComponent", {"engine": "duckdb", **(settings or {})}),
            "weekly_refresh": ("WeeklyRefreshComponent", {"start_date": "2024-12-02"}),
            "transaction_data": transactions(path),
            "customer_segments": (
                "CustomerSegmentationComponent",
                {"asset_name": "customer_segments", "analysis_period_days": 3_650},
            ),
            "segment_movement": ("SegmentMovementComponent", {"asset_name": "segment_movement"}),
            "segment_summary": ("SegmentSummaryComponent", {"asset_name": "segment_summary"}),
        },
    )
    job = load_project(folder).resolve_job_def("weekly_refresh")
    with dg.DagsterInstance.ephemeral() as instance:
        result = job.execute_in_process(
            instance=instance,
            partition_key=week,
            run_config={"loggers": {"console": {"config": {"log_level": "ERROR"}}}},
        )
        told = _told(result)
    return {"all_seconds": time.perf_counter() - start, **told}


def _told(result: "dg.ExecuteInProcessResult") -> Answer:
    """What a run's events say of its steps and checks."""
    checks = result.get_asset_check_evaluations()
    return {
        "step_seconds": {
            event.step_key: event.event_specific_data.duration_ms / 1_000
            for event in result.all_events
            if event.event_type_value == "STEP_SUCCESS"
        },
        "checks": len(checks),
        "checks_failed": [
            f"{one.asset_key.to_user_string()}/{one.check_name}" for one in checks if not one.passed
        ],
    }


TASKS: dict[str, Callable[..., Answer]] = {
    task.__name__: task
    for task in (
        machine,
        heavy_tailed,
        heavy_tailed_attributes,
        rfm_aggregate,
        fourteen_features,
        behavior_of_an_industry,
        compute_with_product,
        compute_with_sql,
        compute_with_spark_sql,
        compute_with_polars,
        compute_with_tuned_pandas,
        compute_with_typical_pandas,
        scan,
        weekly_run_in_place,
        generated_lines,
        generated_transactions,
        dagster_home,
        weekly_run,
        facts,
        score_with_product,
        score_with_typical_pandas,
        score_with_tuned_pandas,
    )
}


if __name__ == "__main__":
    pin_to_cores()
    answer = TASKS[sys.argv[1]](**json.loads(sys.argv[3]))
    Path(sys.argv[2]).write_text(json.dumps(answer), encoding="utf-8")
