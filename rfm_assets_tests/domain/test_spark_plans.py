"""On Spark, no stage brings all rows into one partition: told from the physical plans.

A global aggregate ends in one partition, too, but with one row from each of the others: its exchange
stands directly over a partial aggregate without keys.
"""

from collections.abc import Iterator
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import narwhals as nw
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from rfm_assets.domain.campaigns import CampaignConfig, campaign_list
from rfm_assets.domain.frames import Table
from rfm_assets.domain.history import movement
from rfm_assets.domain.rfm import customer_rfm, day_number
from rfm_assets.domain.row_policy import TransactionPolicy
from rfm_assets.domain.segments import SegmentationConfig, segment
from rfm_assets.domain.transactions import kept_rows
from rfm_assets.engines.base import Engine
from rfm_assets.engines.opening import open_engine
from rfm_assets.library import load_scheme
from rfm_assets_tests.tables import LOCAL_SPARK

pytestmark = [pytest.mark.spark, pytest.mark.xdist_group("spark")]
AS_OF = date(2025, 1, 1)


@pytest.fixture
def engine() -> Iterator[Engine]:
    with open_engine("spark", **LOCAL_SPARK) as opened:
        yield opened


@pytest.fixture
def rows(tmp_path: Path, engine: Engine) -> Table:
    """Transactions in a file: what is given to Spark in memory, it computes while it plans."""
    days = [AS_OF - timedelta(days=n % 300 + 1) for n in range(500)]
    data = {
        "customer_id": [f"c{n % 37}" for n in range(500)],
        "order_id": [f"o{n // 2}" for n in range(500)],
        "date": [datetime(d.year, d.month, d.day) for d in days],
        "day": pa.array([day_number(d) for d in days], pa.int32()),
        "amount": [float(n % 90) - 5 for n in range(500)],
    }
    pq.write_table(pa.table(data), tmp_path / "rows.parquet")
    return engine.scan_parquet([tmp_path / "rows.parquet"])


def plan_of(table: Table) -> list[str]:
    """The physical plan, a line for each node, children after their parents."""
    execution = table.to_native()._jdf.queryExecution()  # noqa: SLF001  no public way to the tree
    return execution.executedPlan().toString().splitlines()


def gathered(plan: list[str]) -> list[str]:
    """The exchanges into one partition whose child is no partial aggregate without keys."""
    found: list[str] = []
    for line, child in zip(plan, [*plan[1:], ""], strict=True):
        if "SinglePartition" in line and "HashAggregate(keys=[], functions=[partial" not in child:
            found.append(f"{line.strip()} over {child.strip()}")
    return found


def test_a_numbering_of_all_rows_would_be_seen(rows: Table) -> None:
    assert gathered(plan_of(rows.with_row_index("n", order_by="customer_id"))) != []
    assert gathered(plan_of(rows.select(nw.col("amount").sum()))) == []
    assert any("SinglePartition" in one for one in plan_of(rows.select(nw.col("amount").sum())))


def tables(rows: Table, engine: Engine) -> Iterator[tuple[str, Table]]:
    config = SegmentationConfig(analysis_period_days=200, include_inactive=True)
    parsed: dict[str, Any] = {
        "source": nw.lit("x"),
        "source_line": nw.lit(1),
        **{f"{name}_raw": nw.lit("") for name in ("customer_id", "order_id", "date", "amount")},
    }
    yield (
        "kept transactions",
        kept_rows(rows.with_columns(**parsed), TransactionPolicy(), now_day=day_number(AS_OF)),
    )
    yield "customers", customer_rfm(rows, as_of=AS_OF, config=config)

    def segments(as_of: date, previous: Table | None) -> Table:
        return segment(
            rows,
            as_of=as_of,
            config=config,
            scheme=load_scheme(),
            previous=previous,
            checkpoint=lambda table: table,
        ).table

    before = segments(AS_OF - timedelta(days=7), None)
    yield "segments", before
    now = segments(AS_OF, before)
    yield "segments with the ones before", now
    yield "movement", movement(now, before, as_of=AS_OF, previous_as_of=AS_OF - timedelta(days=7))
    yield (
        "campaign list",
        campaign_list(
            now,
            as_of=AS_OF,
            config=CampaignConfig(priority="monetary", size_limit=10),
            segments=[],
            suppression=[],
            checkpoint=lambda table: table,
            number=engine.number_rows,
        ).members,
    )


def test_no_table_gathers_its_rows(rows: Table, engine: Engine) -> None:
    checked: list[str] = []
    for name, table in tables(rows, engine):
        plan = plan_of(table)
        assert len(plan) > 1, name
        assert gathered(plan) == [], name
        checked.append(name)
    assert len(checked) == 6
