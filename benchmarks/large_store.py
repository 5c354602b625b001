"""A store like that of a large shop after a year: a million customers, 52 weekly snapshots.

    python -m benchmarks.large_store --target data/large

Ten million order lines are made and read in place; the weekly job runs once over all weeks.
"""

import argparse
import sys
import time
from collections.abc import Mapping
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import yaml

from benchmarks import heavy_tailed
from benchmarks.tasks import CANONICAL
from rfm_assets.definitions import load_project

EVERYBODY = "everybody"
"""The list that all customers are on."""


def declare(folder: Path, components: Mapping[str, tuple[str, Mapping[str, Any]]]) -> Path:
    """Write a project of these components, by name: class and attributes."""
    for name, (component, attributes) in components.items():
        file = folder / "defs" / name / "defs.yaml"
        file.parent.mkdir(parents=True, exist_ok=True)
        content = {"type": f"rfm_assets.components.{component}", "attributes": dict(attributes)}
        file.write_text(yaml.safe_dump(content), encoding="utf-8")
    (folder / "defs" / "__init__.py").touch()
    (folder / "dg.toml").write_text(
        'directory_type = "project"\n[project]\nroot_module = "defs"\ndefs_module = "defs"\n',
        encoding="utf-8",
    )
    sys.path.insert(0, str(folder))
    return folder


def transactions(path: str) -> tuple[str, Mapping[str, Any]]:
    """The component that reads generated order lines where they lie."""
    return (
        "TransactionDataComponent",
        {
            "asset_name": "transaction_data",
            "source": {"type": "parquet", "path": path},
            "columns": {name: name for name in CANONICAL},
            "in_place": True,
            "checks": {"max_age_days": None},
        },
    )


def main() -> None:
    """Make the store below the target and say where it is."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--target", type=Path, required=True, help="Folder for data and store.")
    parser.add_argument("--rows", type=int, default=10_000_000, help="Order lines.")
    parser.add_argument("--customers", type=int, default=1_500_000)
    parser.add_argument("--weeks", type=int, default=52)
    options = parser.parse_args()
    target = options.target.resolve()
    target.mkdir(parents=True, exist_ok=True)
    rows, started = target / "transactions.parquet", time.perf_counter()
    heavy_tailed.write(rows, rows=options.rows, customers=options.customers)
    last = date.fromisoformat(heavy_tailed.AS_OF)
    monday = last - timedelta(days=last.weekday() + 7)
    weeks = [(monday - timedelta(weeks=back)).isoformat() for back in range(options.weeks)]
    store = target / "store"
    project = declare(target / "project", _components(str(rows), str(store), weeks[-1]))
    job = load_project(project).resolve_job_def("weekly_refresh")
    with dg.DagsterInstance.ephemeral() as instance:
        result = job.execute_in_process(
            instance=instance,
            tags={
                "dagster/asset_partition_range_start": weeks[-1],
                "dagster/asset_partition_range_end": weeks[0],
            },
            run_config={"loggers": {"console": {"config": {"log_level": "ERROR"}}}},
            raise_on_error=True,
        )
    assert result.success  # noqa: S101 (nothing may be measured on half a store)
    print(f"{store}: {len(weeks)} weeks, {time.perf_counter() - started:.0f} s")


def _components(path: str, store: str, first: str) -> dict[str, tuple[str, Mapping[str, Any]]]:
    lists: dict[str, Mapping[str, Any]] = {
        "champions": {"segments": ["Champions"], "control": {"share": 0.1, "experiment": "vip"}},
        "win_back": {
            "segments": ["At Risk", "Cannot Lose Them", "About to Sleep", "Hibernating"],
            "priority": "monetary / (recency / 30 + 1)",
            "control": {"share": 0.1, "experiment": "back"},
        },
        EVERYBODY: {"where": "recency >= 0", "priority": "monetary", "suppression_asset_keys": []},
    }
    return {
        "deployment": ("DeploymentComponent", {"store_root": store, "memory_limit": "2GB"}),
        "weekly_refresh": ("WeeklyRefreshComponent", {"start_date": first}),
        "transaction_data": transactions(path),
        "customer_segments": (
            "CustomerSegmentationComponent",
            {"asset_name": "customer_segments", "analysis_period_days": 730},
        ),
        "segment_movement": ("SegmentMovementComponent", {"asset_name": "segment_movement"}),
        "segment_summary": ("SegmentSummaryComponent", {"asset_name": "segment_summary"}),
        "suppression_list": (
            "SuppressionListComponent",
            {"asset_name": "suppression_list", "kind": "paid_media", "segments": ["Lost"]},
        ),
        **{
            name: ("CampaignListComponent", {"asset_name": name, **attributes})
            for name, attributes in lists.items()
        },
    }


if __name__ == "__main__":
    main()
