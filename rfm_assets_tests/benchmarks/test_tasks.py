"""Each task runs in a process of its own, on little data, and answers what the tables show."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from benchmarks.measured import ROOT, Measured, TaskFailed, measure, typical_of

LINES = 3_000
SCORERS = ("score_with_product", "score_with_typical_pandas", "score_with_tuned_pandas")


def test_a_process_is_measured_from_outside() -> None:
    run = measure("machine")

    assert run.answer["cores"] == os.cpu_count()
    assert run.wall_seconds > 0
    # An interpreter takes at least some megabytes; were the unit wrong, it would be thousands.
    assert 5 < run.peak_mb < 2_000


def test_a_task_that_fails_says_why() -> None:
    with pytest.raises(TaskFailed, match="FileNotFoundError: nowhere"):
        measure("score_with_tuned_pandas", path="nowhere.parquet", as_of="2025-01-01")


def test_figures_of_several_runs() -> None:
    runs = [Measured(wall, 2 * wall, 100 + wall, {}) for wall in (3.0, 1.0, 2.0)]

    assert typical_of(runs) == {
        "wall_seconds": 2.0,
        "wall_seconds_best": 1.0,
        "cpu_seconds": 4.0,
        "peak_mb": 103,
        "runs": 3,
    }


def test_generated_lines_run_through_the_example_and_all_scorers_see_the_same(
    tmp_path: Path,
) -> None:
    csv, store = tmp_path / "lines.csv", tmp_path / "store"
    assert measure("generated_lines", target=str(csv), lines=LINES).answer == {"lines": LINES}
    assert len(pd.read_csv(csv, dtype="string")) == LINES

    run = measure(
        "weekly_run", csv=str(csv), store=str(store), home=None, weeks=["2011-11-28", "2011-12-05"]
    )

    assert run.answer["checks"] > 0
    assert run.answer["checks_failed"] == []
    assert {"transaction_data", "customer_segments"} < set(run.answer["step_seconds"])
    (path,) = (store / "transaction_data").glob("*/*/rows/*.parquet")
    bought = pd.read_parquet(path).query("amount > 0")["customer_id"].nunique()
    for scorer in SCORERS:
        answer = measure(scorer, path=str(path), as_of="2011-12-12").answer
        assert answer == {"customers": bought}, scorer


def test_generated_transactions_are_canonical(tmp_path: Path) -> None:
    answer = measure("generated_transactions", target=str(tmp_path / "big"), rows=2_000).answer

    table = pd.read_parquet(answer["path"])
    assert len(table) == answer["rows"] == 2_000
    assert list(table.columns) == ["customer_id", "order_id", "date", "day", "amount"]
    assert table["customer_id"].notna().all()


@pytest.mark.slow
def test_the_small_set_without_the_online_retail_file(tmp_path: Path) -> None:
    output = tmp_path / "results.json"
    command = [sys.executable, "-m", "benchmarks", "--rounds", "1", "--large", "2000"]
    done = subprocess.run(
        [*command, "--lines", "20000", "--output", str(output)],
        cwd=ROOT,
        env=os.environ | {"RFM_ONLINE_RETAIL": str(tmp_path / "nowhere.csv"), "COLUMNS": "120"},
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stdout + done.stderr
    assert "20,000 generated lines, because RFM_ONLINE_RETAIL names no file" in done.stdout
    results = json.loads(output.read_text(encoding="utf-8"))
    assert set(results) == {
        "measured_on",
        "machine",
        "data",
        "weekly_run",
        "backfill",
        "scoring",
    }
    assert results["backfill"]["weeks"] == 26
    assert [one["data"] for one in results["scoring"]] == [
        results["data"],
        "2,000 generated transactions",
    ]
