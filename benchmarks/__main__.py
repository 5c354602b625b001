"""`make bench`: the small set, as tables to read and as JSON to keep.

What is measured is in `tasks.py`, how in `measured.py`.
"""

import argparse
import json
import os
import shutil
import sys
import tempfile
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from statistics import median
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.measured import CORES, ROOT, Measured, measure, typical_of

RESULTS = Path(__file__).parent / "results"
LINES = 541_909
TARGET_SECONDS, TARGET_MB = 8.0, 600
WEEK, AS_OF = "2011-12-05", "2011-12-12"
HALF_YEAR = [str(date(2011, 1, 3) + timedelta(weeks=n)) for n in range(26)]
LARGE_ROWS, LARGE_AS_OF = 2_000_000, "2025-01-01"
SCORERS = {
    "this project": "score_with_product",
    "typical pandas": "score_with_typical_pandas",
    "tuned pandas": "score_with_tuned_pandas",
}

out = Console(highlight=False)


def main() -> None:
    """Measure, show and write; ends with 1 where a fact about the data does not hold."""
    options = _options()
    with tempfile.TemporaryDirectory(prefix="rfm_assets-bench-") as name:
        results = _measured(Path(name), options)
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")
    out.print(f"Written to {os.path.relpath(options.output)}.")
    facts = results.get("facts", {}).values()
    sys.exit(any(fact["expected"] != fact["found"] for fact in facts))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3, help="runs of each measurement")
    parser.add_argument("--lines", type=int, default=LINES, help="lines, where they are generated")
    parser.add_argument(
        "--large", type=int, default=LARGE_ROWS, help="rows of the large comparison; 0 for none"
    )
    parser.add_argument("--output", type=Path, default=RESULTS / "small.json")
    return parser.parse_args()


def _measured(folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    machine = measure("machine").answer
    out.print(
        f"{CORES} of {machine['cores']} cores, {machine['memory_gb']} GB, "
        f"Python {machine['python']}, DuckDB {machine['packages']['duckdb']}, "
        f"pandas {machine['packages']['pandas']}. Each run is a fresh process, imports included.\n"
    )
    csv, data = _lines(folder, options.lines)
    results: dict[str, Any] = {
        "measured_on": f"{datetime.now(tz=UTC):%Y-%m-%d}",
        "machine": {**machine, "cores_used": CORES},
        "data": data,
    }
    out.print(f"Data: {data}.\n")
    store = folder / "store-0"
    results["weekly_run"] = _weekly_run(folder, csv, options.rounds)
    results["backfill"] = _backfill(folder, csv)
    scored = _snapshot(store)
    results["scoring"] = [_scoring(data, scored, AS_OF, options.rounds)]
    if options.large:
        with out.status("Generating a larger shop …"):
            made = measure("generated_transactions", target=str(folder / "big"), rows=options.large)
        path, rows = made.answer["path"], made.answer["rows"]
        what = f"{rows:,} generated transactions"
        # Typical pandas takes the better part of a minute here: once is enough.
        results["scoring"].append(_scoring(what, path, LARGE_AS_OF, 1))
    _show_scoring(results["scoring"])
    if "generated" not in data:
        results["facts"] = measure("facts", store=str(store)).answer
        _show_facts(results["facts"])
    return results


def _lines(folder: Path, lines: int) -> tuple[str, str]:
    """The CSV to measure with, and what it is."""
    beside = ROOT.parent / "shared" / "data" / "online_retail.csv.gz"
    path = Path(os.environ.get("RFM_ONLINE_RETAIL", str(beside)))
    if path.is_file():
        return str(path.resolve()), f"UCI Online Retail, {LINES:,} lines"
    target = folder / "generated.csv"
    with out.status("RFM_ONLINE_RETAIL names no file: generating one …"):
        made = measure("generated_lines", target=str(target), lines=lines).answer["lines"]
    return str(target), f"{made:,} generated lines, because RFM_ONLINE_RETAIL names no file"


def _weekly_run(folder: Path, csv: str, rounds: int) -> dict[str, Any]:
    """Ingestion, segments, movement, summary, three lists and all checks of one week."""
    runs: list[Measured] = []
    for number in range(rounds):
        with out.status(f"Weekly run, {number + 1} of {rounds} …"):
            home = _home(folder, f"home-{number}")
            runs.append(_run(csv, folder / f"store-{number}", home, [WEEK]))
    with out.status("Weekly run, its history in memory …"):
        unrecorded = [_run(csv, folder / "store-m", None, [WEEK])]
    results = {
        "target": {"wall_seconds": TARGET_SECONDS, "peak_mb": TARGET_MB},
        **typical_of(runs),
        "load_seconds": round(median(one.answer["load_seconds"] for one in runs), 2),
        "run_seconds": round(median(one.answer["run_seconds"] for one in runs), 2),
        "step_seconds": {
            step: round(median(one.answer["step_seconds"][step] for one in runs), 2)
            for step in runs[0].answer["step_seconds"]
        },
        "checks": runs[0].answer["checks"],
        "checks_failed": runs[0].answer["checks_failed"],
        "history_in_memory": typical_of(unrecorded),
    }
    grid = _grid("The weekly run through Dagster, one process", "", "measured", "target", "")
    grid.add_row(
        "wall time, run history in SQLite, median",
        f"{results['wall_seconds']:.1f} s",
        f"{TARGET_SECONDS:.0f} s",
        _met(results["wall_seconds"] < TARGET_SECONDS),
    )
    grid.add_row("  the best", f"{results['wall_seconds_best']:.1f} s")
    grid.add_row("  of it loading the definitions", f"{results['load_seconds']:.1f} s")
    grid.add_row("  of it the run", f"{results['run_seconds']:.1f} s")
    unwritten = results["history_in_memory"]["wall_seconds"]
    grid.add_row(
        "wall time, run history in memory",
        f"{unwritten:.1f} s",
        f"{TARGET_SECONDS:.0f} s",
        _met(unwritten < TARGET_SECONDS),
    )
    grid.add_row("CPU time", f"{results['cpu_seconds']:.1f} s")
    grid.add_row(
        "peak memory, largest",
        f"{results['peak_mb']:.0f} MB",
        f"{TARGET_MB} MB",
        _met(results["peak_mb"] < TARGET_MB),
    )
    failed = len(results["checks_failed"])
    grid.add_row("checks", f"{results['checks']}, {failed} failed")
    out.print(grid)
    return results


def _backfill(folder: Path, csv: str) -> dict[str, Any]:
    with out.status("Backfill of 26 weeks …"):
        run = _run(csv, folder / "store-b", _home(folder, "home-b"), HALF_YEAR)
    weeks = len(HALF_YEAR)
    results = {
        "weeks": weeks,
        **typical_of([run]),
        "seconds_per_week": round(run.answer["run_seconds"] / weeks, 2),
        "checks_failed": run.answer["checks_failed"],
    }
    grid = _grid("Backfill of 26 weeks, one run", "", "measured")
    grid.add_row("wall time", f"{results['wall_seconds']:.1f} s")
    grid.add_row("  for each week, ingestion included", f"{results['seconds_per_week']:.2f} s")
    grid.add_row("CPU time", f"{results['cpu_seconds']:.1f} s")
    grid.add_row("peak memory", f"{results['peak_mb']:.0f} MB")
    out.print(grid)
    return results


def _scoring(data: str, path: str, as_of: str, rounds: int) -> dict[str, Any]:
    """Each scorer in turn, several times; ratios are those of runs beside each other."""
    paired: list[dict[str, Measured]] = []
    for number in range(rounds):
        with out.status(f"Scoring {data}, {number + 1} of {rounds} …"):
            paired.append(
                {name: measure(task, path=path, as_of=as_of) for name, task in SCORERS.items()}
            )
    ours = next(iter(SCORERS))
    return {
        "data": data,
        "customers": paired[0][ours].answer["customers"],
        **{name: typical_of(each[name] for each in paired) for name in SCORERS},
        "times_as_long": {
            name: round(median(e[name].wall_seconds / e[ours].wall_seconds for e in paired), 2)
            for name in SCORERS
            if name != ours
        },
    }


def _show_scoring(results: list[dict[str, Any]]) -> None:
    title = "Recency, frequency, money, scores, segments from canonical transactions"
    grid = _grid(title, "", "wall time", "CPU time", "peak memory", "times as long")
    for result in results:
        grid.add_section()
        grid.add_row(f"[bold]{result['data']}[/bold], {result['customers']:,} customers")
        for name in SCORERS:
            one, longer = result[name], result["times_as_long"].get(name)
            grid.add_row(
                name,
                f"{one['wall_seconds']:.2f} s",
                f"{one['cpu_seconds']:.2f} s",
                f"{one['peak_mb']:.0f} MB",
                "" if longer is None else f"{longer:.1f}",
            )
    out.print(grid)


def _show_facts(facts: dict[str, dict[str, Any]]) -> None:
    grid = _grid("What is known of the data", "", "known", "found", "")
    for name, fact in facts.items():
        agrees = fact["expected"] == fact["found"]
        grid.add_row(name, _number(fact["expected"]), _number(fact["found"]), _met(agrees))
    out.print(grid)


def _number(value: Any) -> str:
    if isinstance(value, str):
        return value
    return f"{value:,.0f}" if float(value).is_integer() else f"{value:,.2f}"


def _met(met: bool) -> str:  # noqa: FBT001 (it is the only thing said)
    return "[green]yes[/green]" if met else "[red]no[/red]"


def _grid(title: str, *headers: str) -> Table:
    grid = Table(title=title, title_justify="left")
    for position, header in enumerate(headers):
        grid.add_column(header, justify="right" if position else "left")
    return grid


def _home(folder: Path, name: str) -> str:
    """A Dagster home without runs."""
    empty = folder / "home"
    if not empty.exists():
        measure("dagster_home", folder=str(empty))
    return str(shutil.copytree(empty, folder / name))


def _run(csv: str, store: Path, home: str | None, weeks: list[str]) -> Measured:
    return measure("weekly_run", csv=csv, store=str(store), home=home, weeks=weeks)


def _snapshot(store: Path) -> str:
    """The file of the canonical transactions that the weekly run stored."""
    (path,) = (store / "transaction_data").glob("*/*/rows/*.parquet")
    return str(path)


if __name__ == "__main__":
    main()
