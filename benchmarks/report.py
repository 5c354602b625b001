"""docs/benchmarks.md and its plot, from the figures of `full.py` and `serving.py`.

Nothing is measured here.
"""

import math
from typing import Any
from xml.sax.saxutils import escape

BAR, GAP, LEFT, RIGHT, TOP = 18, 7, 250, 760, 56
OURS, DAGSTER = "this project", "the weekly run in Dagster"
COLOURS = {OURS: "#225ea8", DAGSTER: "#41b6c4"}
OTHER = "#a8a8a8"


def page(results: dict[str, Any], serving: dict[str, Any]) -> str:
    """The page: what was asked, the plot, a table for each size, and what looking at it costs."""
    machine = results["machine"]
    packages = machine["packages"]
    lines = [
        "# Benchmarks",
        "",
        "Recency, frequency and monetary of every customer, scores by quintiles and named segments, from a",
        "Parquet file of order lines to a Parquet file of customers. Each figure is a process of its own,",
        "imports included, on two cores; where there were several rounds, the median. The runs of a round follow",
        "each other, so that ratios mean something on a machine whose mood changes. The data are generated:",
        "heavy-tailed customers, three lines an order, three orders in a hundred refunded.",
        "",
        f"Measured on {results['measured_on']}: {machine['cores_used']} of {machine['cores']} cores, "
        f"{machine['memory_gb']} GB, Python {machine['python']}, DuckDB {packages['duckdb']}, "
        f"polars {packages['polars']}, pandas {packages['pandas']}.",
        "",
        "![Wall time by who computes](images/benchmarks.svg)",
    ]
    for size in results["sizes"]:
        lines += ["", f"## {size['rows']:,} rows, {size['customers']:,} customers", ""]
        lines += ["| | wall time | CPU time | peak memory | times SQL | rounds |"]
        lines += ["|---|---:|---:|---:|---:|---:|"]
        for who, run in _fastest_first(size):
            # Spark computes in a process of Java's, which is not measured from outside.
            seen = "Spark" not in who
            cpu, peak = f"{run['cpu_seconds']:,.1f} s", f"{run['peak_mb']:,} MB"
            lines.append(
                f"| {who} | {run['wall_seconds']:,.1f} s | {cpu if seen else ''} | "
                f"{peak if seen else ''} | {size['times_sql'][who]:.2f} | {run['runs']} |"
            )
        lines += [f"| {who} | failed: {why} | | | | |" for who, why in size["failed"].items()]
        if DAGSTER in size["runs"]:
            times = size["times_ours"][DAGSTER]
            lines += [
                "",
                f"The weekly run with its {size['checks_in_dagster']} checks takes "
                f"{times:.1f} times as long as the computation alone.",
            ]
    grown = [
        f"From {small['rows']:,} to {large['rows']:,} rows the time of this project grows with the power "
        f"{exponent(small, large):.2f} of the rows."
        for small, large in zip(results["sizes"][1:], results["sizes"][2:], strict=False)
    ]
    lines += ["", *grown] if grown else []
    lines += [
        "",
        "## What the rows are",
        "",
        "- **reading the columns**: DuckDB reads the four columns and keeps nothing; nobody can be faster.",
        "- **hand-written SQL**: one query for DuckDB as it comes, with `count(DISTINCT …)` and `ntile`. It sums",
        "  floats, splits equal values, and takes what memory it wants.",
        "- **this project**: the domain's functions on DuckDB with `memory_limit: 1500MB`. It sums whole",
        "  ten-thousandths and keeps equal values together, and gives the same rows whatever the order or threads.",
        "- **the weekly run in Dagster**: transactions read in place, segments, movement, summary, every check,",
        "  published to the store; starting Python and Dagster included.",
        "- **on Spark**: `local[2]`, starting Java included; its CPU time and memory are not measured. The SQL",
        "  is the same with Spark's names of functions.",
        "- **polars**, **tuned pandas**, **typical pandas**: as their users write it. pandas is left out where it",
        "  needs more memory than a laptop has.",
        "",
        "`make bench-full` measures all of this again and writes this page; `make bench` is the small set.",
        "",
        *_serving(serving),
    ]
    return "\n".join(lines)


def _serving(results: dict[str, Any]) -> list[str]:
    """What it takes to look at a large store."""
    lookup, aggregates, export = (results[name] for name in ("lookup", "aggregates", "export"))
    lines = [
        "## Looking at it",
        "",
        f"The API and the dashboard over {results['customers']:,} customers and {results['snapshots']} weekly",
        f"snapshots, measured on {results['measured_on']}. The server has two cores; requests come from others, "
        f"{results['requests_per_second']} a",
        "second whether or not earlier ones were answered.",
        "",
        "| | half | 99 of 100 |",
        "|---|---:|---:|",
        f"| a customer with scores and segment | {lookup['p50_ms']} ms | {lookup['p99_ms']} ms |",
        f"| segments, movement, campaigns, asked again and again | {aggregates['p50_ms']} ms | {aggregates['p99_ms']} ms |",
        "",
        "Reading the snapshot with pandas and filtering it takes "
        f"{results['peer']['pandas_lookup_p50_ms']:.0f} ms for each customer. A list of",
        f"{export['customers']:,} members is streamed as CSV in {export['seconds']} s; the server takes "
        f"{export['memory_peak_mb']} MB meanwhile and",
        f"{export['memory_idle_mb']} MB when it has just begun.",
        "",
        "Seconds until the first chart of a page, in Chromium without a debugger, median of five: in a browser that "
        "was",
        "never here, loaded a second time, and at a click that comes back to it.",
        "",
        "| | first | again | by click |",
        "|---|---:|---:|---:|",
    ]
    for name, ways in results["pages"].items():
        first, again, click = (f"{ways[way]['median']:.2f}" for way in ("cold", "again", "back"))
        lines.append(f"| {name} | {first} | {again} | {click} |")
    return [
        *lines,
        "",
        "`python -m benchmarks.large_store --target data/large` makes such a store,",
        "`python -m benchmarks.serving --store data/large/store` measures this.",
        "",
    ]


def exponent(small: dict[str, Any], large: dict[str, Any], who: str = OURS) -> float:
    """By which power of the rows the time grows between two sizes."""
    times = large["runs"][who]["wall_seconds"] / small["runs"][who]["wall_seconds"]
    return math.log(times) / math.log(large["rows"] / small["rows"])


def plot(results: dict[str, Any]) -> str:
    """Wall times as bars on a log scale, one block for each size, as SVG."""
    bars: list[str] = []
    longest = max(run["wall_seconds"] for size in results["sizes"] for run in size["runs"].values())
    scale = (RIGHT - LEFT - 90) / math.log10(longest * 10)
    y = TOP
    for size in results["sizes"]:
        bars.append(_text(10, y + 4, f"{size['rows']:,} rows", weight="bold"))
        y += 18
        for who, run in _fastest_first(size):
            seconds = run["wall_seconds"]
            width = max(1.0, math.log10(max(seconds, 0.1) * 10) * scale)
            colour = next((c for name, c in COLOURS.items() if who.startswith(name)), OTHER)
            bars.append(_text(LEFT - 8, y + 13, who, anchor="end"))
            bars.append(
                f'<rect x="{LEFT}" y="{y}" width="{width:.1f}" height="{BAR}" fill="{colour}"/>'
            )
            bars.append(_text(LEFT + width + 6, y + 13, f"{seconds:,.1f} s"))
            y += BAR + GAP
        y += 20
    head = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {RIGHT} {y}" width="{RIGHT}" '
        f'height="{y}" font-family="sans-serif" font-size="12">',
        "<title>Wall time by who computes</title>",
        f'<rect width="{RIGHT}" height="{y}" fill="#ffffff"/>',
        _text(10, 24, "Parquet to Parquet on two cores, wall time (log scale)", weight="bold"),
    ]
    return "\n".join([*head, *bars, "</svg>", ""])


def _fastest_first(size: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    return sorted(size["runs"].items(), key=lambda pair: pair[1]["wall_seconds"])


def _text(x: float, y: float, text: str, *, anchor: str = "start", weight: str = "normal") -> str:
    return (
        f'<text x="{x:.1f}" y="{y}" text-anchor="{anchor}" font-weight="{weight}" '
        f'fill="#1b2a3a">{escape(text)}</text>'
    )
