"""Transactions that are read where they lie give the weeks that a copy of them gives."""

from pathlib import Path
from typing import Any

import dagster as dg
import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as pq
import pytest

from rfm_assets import load_table
from rfm_assets.errors import InvalidProject, RowsInPlace, SnapshotUnreadable
from rfm_assets_tests.components.conftest import Project
from rfm_assets_tests.components.shop import FIRST, HEADER, ROWS, SECOND, Shop, failure
from rfm_assets_tests.tables import SPARK

YAML = """
type: rfm_assets.components.TransactionDataComponent
attributes:
  asset_name: transaction_data
  source: {type: %s, path: %s}
  columns: {customer_id: customer, order_id: order, date: ordered_at, amount: amount}
  checks: {max_age_days: null, warn_reject_rate: 0.2}
  in_place: %s%s
"""
SEGMENTS = dg.AssetKey("customer_segments")
SETTINGS = {"duckdb": "threads: 2", "polars": "", "spark": "spark_master: 'local[2]'"}
TABLES = ("customer_segments", "segment_movement", "segment_summary", "champions", "win_back")


@pytest.fixture
def shop(project: Project, monkeypatch: pytest.MonkeyPatch) -> Shop:
    monkeypatch.delenv("RFM_STORE_ROOT", raising=False)
    made = Shop(project)
    write(made, "orders/year=2025/a.parquet", [row for row in ROWS if ",2025-" in row])
    write(made, "orders/year=2026/b.parquet", [row for row in ROWS if ",2026-" in row])
    declare(made)
    return made


def declare(
    shop: Shop,
    *,
    in_place: str = "true",
    source: str = "parquet",
    path: str = "orders",
    more: str = "",
) -> None:
    shop.project.write("transaction_data", YAML % (source, path, in_place, more))


def write(shop: Shop, name: str, rows: list[str]) -> Path:
    path = shop.project.root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    text = "\n".join([HEADER, *rows, ""]).encode()
    numbers = pacsv.ConvertOptions(column_types={"order": pa.int64(), "amount": pa.float64()})
    pq.write_table(pacsv.read_csv(pa.BufferReader(text), convert_options=numbers), path)
    return path


def tables(shop: Shop) -> dict[str, Any]:
    names = (*TABLES, "transaction_data")
    found = {name: load_table(name, root=shop.root, kind="pyarrow").to_pylist() for name in names}
    for row in found["customer_segments"]:
        del row["segmented_at"]
    found["transaction_data"].sort(key=lambda row: row["order_id"])
    return found


@pytest.mark.parametrize("engine", ["duckdb", "polars", SPARK])
def test_the_weeks_are_those_of_a_copy(shop: Shop, engine: str) -> None:
    shop.project.write(
        "deployment",
        "type: rfm_assets.components.DeploymentComponent\n"
        f"attributes: {{engine: {engine}, {SETTINGS[engine]}}}\n",
    )
    result = shop.run(FIRST, SECOND)
    assert result.success, failure(result)
    found = tables(shop)
    snapshot = shop.store.snapshot("transaction_data", None)
    assert snapshot.manifest.row_counts["rows"] == len(ROWS) - 1
    assert list(snapshot.folder.glob("**/*.parquet")) == []
    with pytest.raises(RowsInPlace, match="transaction_data"):
        snapshot.files()

    declare(shop, in_place="false")
    assert shop.run(FIRST, SECOND).success
    assert shop.store.snapshot("transaction_data", None).files() != []
    assert tables(shop) == found
    assert [row["customer_id"] for row in found["champions"]] == ["a"]


def segments_again(shop: Shop) -> str:
    """What a run says that asks for segments alone, from the transactions as they were read."""
    job = shop.project.load().resolve_job_def("weekly_refresh")
    result = job.execute_in_process(
        raise_on_error=False,
        partition_key=FIRST,
        asset_selection=[SEGMENTS],
        run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
    )
    return "" if result.success else failure(result)


def test_files_that_changed_are_not_read_as_the_old_ones(shop: Shop) -> None:
    assert shop.run(FIRST).success
    before = tables(shop)
    # A new file waits for the next reading.
    later = write(shop, "orders/year=2026/c.parquet", ["20,z,2026-02-10,9999"])
    assert segments_again(shop) == ""
    assert tables(shop) == before
    later.unlink()

    write(shop, "orders/year=2026/b.parquet", ["20,z,2026-02-10,9999"])
    said = segments_again(shop)
    assert "b.parquet is not what it was, and transaction_data reads it in place" in said
    assert "materialise transaction_data again" in said
    with pytest.raises(SnapshotUnreadable, match=r"b\.parquet"):
        load_table("transaction_data", root=shop.root)
    assert load_table("champions", root=shop.root) is not None

    (shop.project.root / "orders/year=2026/b.parquet").unlink()
    assert "b.parquet is gone" in segments_again(shop)
    assert shop.run(FIRST).success
    assert {row["customer_id"] for row in tables(shop)["transaction_data"]} == {"a", "b", "c"}


@pytest.mark.parametrize(
    ("declared", "said"),
    [
        (
            {"source": "csv", "path": "orders.csv"},
            "needs Parquet files, and the source is of type csv",
        ),
        ({"more": "\n  policy: {exact_duplicates: drop}"}, "seeking duplicates"),
        ({"more": "\n  policy: {deduplicate_by: [order_id]}"}, "seeking duplicates"),
    ],
)
def test_what_cannot_stay_in_place_is_told_at_load(
    shop: Shop, declared: dict[str, str], said: str
) -> None:
    declare(shop, **declared)
    with pytest.raises(InvalidProject, match=said) as caught:
        shop.project.load()
    assert "transaction_data/defs.yaml:7" in str(caught.value)
