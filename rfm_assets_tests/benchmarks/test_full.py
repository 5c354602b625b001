"""The full set on little data: everybody finds the same customers, and the page shows the figures."""

import json
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree as ET

import duckdb
import pytest

from benchmarks.heavy_tailed import write
from benchmarks.measured import ROOT, measure
from benchmarks.report import exponent


def test_generated_rows_are_heavy_tailed_and_the_same_each_time(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write(tmp_path / f"{name}.parquet", rows=30_000, customers=3_000)
    first, second = (duckdb.read_parquet(str(tmp_path / f"{n}.parquet")) for n in "ab")
    assert first.except_(second).fetchall() == []
    top = duckdb.sql(
        "with n as (select customer_id, count(*) n from first group by 1) "
        "select sum(n) filter (n >= (select quantile_disc(n, 0.9) from n)) / sum(n) from n"
    ).fetchall()[0][0]
    assert top > 0.25
    refunded = first.aggregate("avg((amount < 0)::int)").fetchall()[0][0]
    assert 0.02 < refunded < 0.04
    # When an order is placed and whether it is returned has nothing to do with who places it.
    orders = duckdb.sql(
        "select min(substr(customer_id, 2)::int) who, min(epoch(date)) moment, "
        "min((amount < 0)::int) returned from first group by order_id"
    )
    ties = orders.aggregate("corr(who, moment), corr(who, returned), corr(moment, returned)")
    assert all(abs(tie) < 0.05 for tie in ties.fetchall()[0])


@pytest.mark.parametrize(
    ("task", "name"),
    [
        ("compute_with_product", ""),
        ("compute_with_sql", "s.parquet"),
        ("compute_with_polars", "s.parquet"),
        ("compute_with_tuned_pandas", "s.parquet"),
        ("compute_with_typical_pandas", "s.parquet"),
    ],
)
def test_everybody_measures_the_same_customers(tmp_path: Path, task: str, name: str) -> None:
    data = tmp_path / "t.parquet"
    write(data, rows=3_000, customers=300)
    # Worked out by another query than any of those that are compared.
    expected = (
        duckdb.read_parquet(str(data))
        .filter("amount > 0")
        .aggregate("customer_id, count(DISTINCT order_id) AS frequency", "customer_id")
    )
    target = tmp_path / "out"
    target.mkdir()
    answer = measure(task, path=str(data), target=str(target / name), as_of="2025-01-01").answer
    found = duckdb.read_parquet(str(target / (name or "*.parquet")))
    assert answer["customers"] == len(expected) == len(found)
    columns = "customer_id, frequency"
    if "pandas" in task:
        columns = "customer_id, frequency::BIGINT AS frequency"
    assert set(found.project(columns).fetchall()) == set(expected.fetchall())


def test_the_time_grows_by_a_power_of_the_rows() -> None:
    def size(rows: int, seconds: float) -> dict:
        return {"rows": rows, "runs": {"this project": {"wall_seconds": seconds}}}

    assert exponent(size(10, 2.0), size(100, 20.0)) == pytest.approx(1)
    assert exponent(size(10, 1.0), size(1_000, 1_000.0)) == pytest.approx(1.5)


@pytest.mark.slow
def test_the_page_and_the_plot_show_what_was_measured(tmp_path: Path) -> None:
    done = subprocess.run(
        [
            *(sys.executable, "-m", "benchmarks.full", "--rounds", "2", "--sizes", "3000"),
            *("--output", str(tmp_path / "r.json"), "--page", str(tmp_path / "p.md")),
            *("--plot", str(tmp_path / "p.svg")),
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    (size,) = json.loads((tmp_path / "r.json").read_text(encoding="utf-8"))["sizes"]
    assert size["failed"] == {}
    assert size["checks_in_dagster"] > 20
    shown = (tmp_path / "p.md").read_text(encoding="utf-8")
    for who, run in size["runs"].items():
        assert f"| {who} | {run['wall_seconds']:,.1f} s |" in shown
    drawn = ET.parse(tmp_path / "p.svg").getroot()  # noqa: S314  written by this test
    assert len([one for one in drawn if one.tag.endswith("rect")]) == 1 + len(size["runs"])
