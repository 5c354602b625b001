"""How fast the API and the dashboard answer over a large store, and what an export costs.

    python -m benchmarks.large_store --target data/large
    python -m benchmarks.serving --store data/large/store

The server runs in a process of its own on two cores; who asks runs on others where there are any.
Requests are sent at a fixed pace whether or not earlier ones were answered, so that a slow answer
does not hide the ones behind it.
"""

import argparse
import asyncio
import json
import os
import random
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx

from benchmarks import pages
from benchmarks.full import PAGE, RESULTS, SERVING
from benchmarks.large_store import EVERYBODY
from benchmarks.measured import CORES
from benchmarks.report import page
from rfm_assets.store import Store

AGGREGATES = ("segments", "movement", "campaigns")

PAGES = ("", "segments", "explore", "movement", "customers", "campaigns", "quality")


def main() -> None:
    """Measure and print, and write results/serving.json and docs/benchmarks.md."""
    options = _options()
    snapshot = Store(options.store).snapshot("customer_segments")
    customers = snapshot.manifest.row_counts["rows"]
    ids = _ids(options.store, 2_000)
    with _served(options.store) as (url, process):
        idle = _memory(process.pid)
        results: dict[str, Any] = {
            "measured_on": f"{datetime.now(tz=UTC):%Y-%m-%d}",
            "customers": customers,
            "snapshots": len(Store(options.store).dates("customer_segments")),
            "requests_per_second": options.rate,
        }
        lookups = [f"/api/v1/customers/{one}" for one in ids]
        results["lookup"] = asyncio.run(_paced(url, lookups, options.rate, options.seconds))
        aggregates = [f"/api/v1/{one}" for one in AGGREGATES]
        results["aggregates"] = asyncio.run(_paced(url, aggregates, options.rate, options.seconds))
        results["export"] = _export(url, process.pid, idle)
        results["pages"] = pages.measure(url, PAGES, rounds=5)
    results["peer"] = _peer(Path(str(snapshot.files()[0])), ids[:20])
    print(json.dumps(results, indent=1))
    SERVING.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    whole = json.loads(RESULTS.read_text(encoding="utf-8"))
    options.page.write_text(page(whole, results), encoding="utf-8")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--store", required=True, help="Root of the store.")
    parser.add_argument("--rate", type=int, default=50, help="Requests a second.")
    parser.add_argument(
        "--page", type=Path, default=PAGE, help="Page to write; docs/benchmarks.md by default."
    )
    parser.add_argument("--seconds", type=int, default=20, help="Of each kind of request.")
    return parser.parse_args()


def _ids(store: str, count: int) -> list[str]:
    from rfm_assets.loading import load_table

    rows = load_table("customer_segments", root=store, columns=["customer_id"], kind="pyarrow")
    every = rows.column("customer_id")
    chosen = random.Random(1).sample(range(len(every)), min(count, len(every)))  # noqa: S311
    return [str(every[place]) for place in chosen]


@contextmanager
def _served(store: str) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    cores = sorted(os.sched_getaffinity(0))
    command = [sys.executable, "-m", "rfm_assets.cli", "serve", "--store", store]
    process = subprocess.Popen(
        [*command, "--port", str(port), "--threads", str(CORES)],
        stdout=subprocess.DEVNULL,
        preexec_fn=lambda: os.sched_setaffinity(0, cores[:CORES]),  # noqa: PLW1509 (one thread)
    )
    if len(cores) > CORES:
        os.sched_setaffinity(0, cores[CORES:])
    url = f"http://127.0.0.1:{port}"
    try:
        _wait_for(f"{url}/api/v1/health")
        yield url, process
    finally:
        process.terminate()
        process.wait()
        os.sched_setaffinity(0, cores)


def _wait_for(url: str) -> None:
    end = time.monotonic() + 60
    while time.monotonic() < end:
        try:
            httpx.get(url, timeout=5).raise_for_status()
        except httpx.HTTPError:
            time.sleep(0.2)
        else:
            return
    raise TimeoutError(url)


async def _paced(url: str, paths: Sequence[str], rate: int, seconds: int) -> dict[str, float]:
    """Milliseconds of requests that are sent at a fixed pace, from when each was due."""
    waits: list[float] = []
    failed = 0

    async def ask(client: httpx.AsyncClient, path: str, due: float) -> None:
        nonlocal failed
        answer = await client.get(path)
        failed += answer.status_code != httpx.codes.OK
        waits.append(1_000 * (time.perf_counter() - due))

    async with httpx.AsyncClient(base_url=url, timeout=30) as client:
        for path in paths[: 2 * rate]:  # warm: connections, and each thread's first look
            await client.get(path)
        tasks = []
        start = time.perf_counter()
        for number in range(rate * seconds):
            due = start + number / rate
            await asyncio.sleep(max(0.0, due - time.perf_counter()))
            tasks.append(asyncio.create_task(ask(client, paths[number % len(paths)], due)))
        await asyncio.gather(*tasks)
    if failed:
        raise AssertionError(f"{failed} of {len(waits)} requests failed: {paths[0]} and others")
    ordered = sorted(waits)
    return {
        "requests": len(ordered),
        "p50_ms": round(ordered[len(ordered) // 2], 1),
        "p99_ms": round(ordered[int(len(ordered) * 0.99)], 1),
        "max_ms": round(ordered[-1], 1),
    }


def _export(url: str, pid: int, idle: float) -> dict[str, float]:
    """All customers as CSV: seconds, megabytes, and how much the server's memory grew."""
    everybody = f"{url}/api/v1/campaigns/{EVERYBODY}"
    customers = httpx.get(everybody).raise_for_status().json()["deliverable"]
    peak, size, started = idle, 0, time.perf_counter()
    told = {"Accept": "text/csv"}
    with httpx.stream("GET", f"{everybody}/members", headers=told, timeout=600) as answer:
        for piece in answer.raise_for_status().iter_raw():
            size += len(piece)
            peak = max(peak, _memory(pid))
    return {
        "customers": customers,
        "seconds": round(time.perf_counter() - started, 2),
        "megabytes": round(size / 1e6, 1),
        "memory_idle_mb": round(idle),
        "memory_peak_mb": round(peak),
    }


def _memory(pid: int) -> float:
    """Resident megabytes of a process."""
    pages = int(Path(f"/proc/{pid}/statm").read_text(encoding="utf-8").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def _peer(file: Path, ids: Sequence[str]) -> dict[str, float]:
    """The same lookup as it is often written: the snapshot read with pandas, and filtered."""
    import pandas as pd

    waits = []
    for one in ids:
        started = time.perf_counter()
        rows = pd.read_parquet(file)
        assert len(rows[rows["customer_id"] == one]) == 1  # noqa: S101 (the peer must find it)
        waits.append(1_000 * (time.perf_counter() - started))
    return {"pandas_lookup_p50_ms": round(sorted(waits)[len(waits) // 2], 1)}


if __name__ == "__main__":
    main()
