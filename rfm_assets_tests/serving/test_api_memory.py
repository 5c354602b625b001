"""A million rows leave a real server in constant memory."""

import threading
from datetime import date
from pathlib import Path

import httpx
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from rfm_assets.engines.duckdb_engine import DuckDBEngine
from rfm_assets.publishing import publish
from rfm_assets.schemas import CAMPAIGN_LIST
from rfm_assets.store import Store
from rfm_assets_tests.published import NO_CONTROL
from rfm_assets_tests.serving.server import serving

ROWS = 1_000_000
MB = 1_000_000
WEEK = date(2026, 3, 2)


def store_a_list(root: Path) -> None:
    numbers = pa.array(range(ROWS))
    texts = pc.cast(numbers, pa.string())
    rows = pa.table(
        {
            "customer_id": pc.binary_join_element_wise("customer", texts, "-"),
            "rank": pc.add(numbers, 1),
            "priority": pc.divide(pc.cast(numbers, pa.float64()), 7.0),
            "segment": pa.array(["Potential Loyalists"] * ROWS),
            "as_of": pa.array([WEEK] * ROWS, pa.date32()),
        }
    )
    nobody = pa.table(
        {name: pa.array([], pa.string()) for name in ("customer_id", "stage", "reason")}
    )
    with DuckDBEngine(threads=1) as engine:
        publish(
            Store(root),
            engine,
            CAMPAIGN_LIST,
            table="everybody",
            as_of=WEEK,
            frame=engine.from_arrow(rows),
            parts={
                "excluded": engine.from_arrow(nobody),
                "control": engine.from_arrow(NO_CONTROL),
            },
        )


def resident(pid: int) -> int:
    """Bytes of memory that a process holds."""
    pages = Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1]
    return int(pages) * 4_096


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="reads /proc")
@pytest.mark.parametrize("accept", ["text/csv", "application/x-ndjson"])
def test_a_million_rows_stream_in_constant_memory(tmp_path: Path, accept: str) -> None:
    store_a_list(tmp_path / "store")
    with serving(tmp_path / "store", tmp_path) as (address, pid):
        httpx.get(f"{address}/campaigns/everybody/members").raise_for_status()
        idle, most, over = resident(pid), 0, threading.Event()

        def watch() -> None:
            nonlocal most
            while not over.wait(0.02):
                most = max(most, resident(pid))

        watcher = threading.Thread(target=watch)
        watcher.start()
        size = lines = 0
        headers = {"Accept": accept}
        with httpx.stream(
            "GET", f"{address}/campaigns/everybody/members", headers=headers, timeout=60
        ) as response:
            assert response.status_code == 200
            for piece in response.iter_bytes():
                size += len(piece)
                lines += piece.count(b"\n")
        over.set()
        watcher.join()
    assert lines == ROWS + (accept == "text/csv")
    assert size > 50 * MB
    # A batch in each of the steps, and what the engine keeps of the file; not the answer.
    assert most - idle < 200 * MB, f"{(most - idle) / MB:.0f} MB more than idle"
