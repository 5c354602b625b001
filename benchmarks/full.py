"""`make bench-full`: Parquet to Parquet at three sizes, beside what one would write elsewhere.

Writes the figures as data, and docs/benchmarks.md with a table and a plot from them. What is measured
is in `tasks.py`, how in `measured.py`, the peers in `peers.py`.
"""

import argparse
import json
import shutil
import tempfile
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any

from rich.console import Console

from benchmarks.heavy_tailed import AS_OF
from benchmarks.measured import CORES, ROOT, Measured, TaskFailed, measure, typical_of
from benchmarks.report import DAGSTER, OURS, page, plot

RESULTS = Path(__file__).parent / "results" / "full.json"
SERVING = Path(__file__).parent / "results" / "serving.json"
PAGE = ROOT / "docs" / "benchmarks.md"
PLOT = ROOT / "docs" / "images" / "benchmarks.svg"
SIZES = {541_909: 53_000, 10_000_000: 1_080_000, 100_000_000: 10_800_000}
"""Rows, and about how many customers they are of."""
WEEK = "2024-12-23"
LARGE = 50_000_000
SQL = "hand-written SQL"

out = Console(highlight=False)


def contenders(rows: int) -> dict[str, tuple[str, dict[str, Any], int]]:
    """What is measured at a size: the task, its arguments, and the most rounds it is worth."""
    limited = {"memory_limit": "1500MB"}
    chosen: dict[str, tuple[str, dict[str, Any], int]] = {
        "reading the columns": ("scan", {}, 3),
        SQL: ("compute_with_sql", {}, 3),
        OURS: ("compute_with_product", {"settings": limited}, 3),
        f"{OURS}, memory limit 1 GB": (
            "compute_with_product",
            {"settings": {"memory_limit": "1GB"}},
            3,
        ),
        f"{OURS}, on polars": ("compute_with_product", {"engine": "polars"}, 1),
        "polars": ("compute_with_polars", {}, 3),
        DAGSTER: ("weekly_run_in_place", {"settings": limited}, 3),
    }
    if rows >= LARGE:
        spark = {"engine": "spark", "settings": {"spark_master": f"local[{CORES}]"}}
        chosen[f"{OURS}, on Spark"] = ("compute_with_product", spark, 1)
        local = {"master": f"local[{CORES}]"}
        chosen[f"{SQL}, on Spark"] = ("compute_with_spark_sql", local, 1)
    else:  # pandas takes more memory than most machines have, and typical pandas an hour
        chosen["tuned pandas"] = ("compute_with_tuned_pandas", {}, 1)
        chosen["typical pandas"] = ("compute_with_typical_pandas", {}, 1)
    return chosen


def main() -> None:
    """Measure, write the data, and make the page."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.full", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3, help="most runs of each measurement")
    parser.add_argument("--sizes", type=int, nargs="+", default=list(SIZES), help="rows")
    parser.add_argument("--output", type=Path, default=RESULTS)
    parser.add_argument("--page", type=Path, default=PAGE)
    parser.add_argument("--plot", type=Path, default=PLOT)
    options = parser.parse_args()
    results = {
        "measured_on": f"{datetime.now(tz=UTC):%Y-%m-%d}",
        "machine": {**measure("machine").answer, "cores_used": CORES},
        "sizes": [_size(rows, options.rounds) for rows in options.sizes],
    }
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")
    options.plot.parent.mkdir(parents=True, exist_ok=True)
    options.plot.write_text(plot(results), encoding="utf-8")
    serving = json.loads(SERVING.read_text(encoding="utf-8"))
    options.page.write_text(page(results, serving), encoding="utf-8")
    out.print(f"Written: {options.output.name}, {options.page.name}, {options.plot.name}.")


def _size(rows: int, rounds: int) -> dict[str, Any]:
    customers = SIZES.get(rows, max(100, rows // 10))
    with tempfile.TemporaryDirectory(prefix="rfm_assets-bench-") as name:
        folder = Path(name)
        data = folder / "transactions.parquet"
        with out.status(f"Generating {rows:,} rows …"):
            measure("heavy_tailed", target=str(data), rows=rows, customers=customers)
        runs: dict[str, list[Measured]] = {}
        failed: dict[str, str] = {}
        chosen = contenders(rows)
        # Side by side in each round, so that all meet the same moods of the machine.
        for number in range(rounds):
            for who, (task, arguments, most) in chosen.items():
                if number >= most or who in failed:
                    continue
                with out.status(f"{rows:,} rows, {number + 1} of {rounds}: {who} …"):
                    try:
                        run = _run(task, arguments, data, folder / "out")
                    except TaskFailed as error:
                        failed[who] = str(error).strip().splitlines()[-1][:300]
                        out.print(f"{rows:,} rows, {who}: [red]failed[/red]: {failed[who]}")
                        continue
                runs.setdefault(who, []).append(run)
                out.print(
                    f"{rows:,} rows, {who}: {run.wall_seconds:.1f} s, CPU {run.cpu_seconds:.1f} s, "
                    f"{run.peak_mb:,.0f} MB"
                )
    return {
        "rows": rows,
        "customers": runs[OURS][0].answer["customers"],
        "runs": {who: typical_of(each) for who, each in runs.items()},
        "times_sql": {who: _ratio(each, runs[SQL]) for who, each in runs.items()},
        "times_ours": {who: _ratio(each, runs[OURS]) for who, each in runs.items()},
        "checks_in_dagster": runs[DAGSTER][0].answer["checks"] if DAGSTER in runs else None,
        "failed": failed,
    }


def _run(task: str, arguments: dict[str, Any], data: Path, target: Path) -> Measured:
    # Of each run only the figures are kept: the tables would fill the disk.
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir()
    if task == "scan":
        return measure(task, path=str(data))
    if task == "weekly_run_in_place":
        return measure(task, path=str(data), project=str(target), week=WEEK, **arguments)
    name = target if task == "compute_with_product" else target / "segments.parquet"
    return measure(task, path=str(data), target=str(name), as_of=AS_OF, **arguments)


def _ratio(each: Sequence[Measured], other: Sequence[Measured]) -> float:
    """How many times as long, median over the rounds in which both ran."""
    pairs = zip(each, other, strict=False)
    return round(median(one.wall_seconds / two.wall_seconds for one, two in pairs), 2)


if __name__ == "__main__":
    main()
