"""On Spark, no stage brings all rows into one partition: told from the physical plans.

A global aggregate ends in one partition, too, but with one row from each of the others: its exchange
stands directly over a partial aggregate without keys. Ranks of campaign lists are numbered in one
partition; they are of the customers left on a list and not of all.
"""

from collections.abc import Iterator
from datetime import date, datetime, timedelta
from typing import Any

import narwhals as nw
import pytest

from rfm_assets.domain.frames import Table
from rfm_assets.domain.history import movement
from rfm_assets.domain.rfm import customer_rfm, day_number
from rfm_assets.domain.row_policy import TransactionPolicy
from rfm_assets.domain.segments import SegmentationConfig, segment
from rfm_assets.domain.summaries import SummaryConfig, segment_summary
from rfm_assets.domain.transactions import kept_rows
from rfm_assets.library import load_scheme
from rfm_assets_tests.tables import MakeTable, tables_on

pytestmark = [pytest.mark.spark, pytest.mark.xdist_group("spark")]
AS_OF = date(2025, 1, 1)


@pytest.fixture
def make() -> Iterator[MakeTable]:
    with tables_on("spark") as made:
        yield made


def orders(make: MakeTable) -> Table:
    days = [AS_OF - timedelta(days=n % 300 + 1) for n in range(500)]
    return make(
        {
            "customer_id": [f"c{n % 37}" for n in range(500)],
            "order_id": [f"o{n // 2}" for n in range(500)],
            "date": [datetime(d.year, d.month, d.day) for d in days],
            "day": [day_number(d) for d in days],
            "amount": [float(n % 90) - 5 for n in range(500)],
        }
    )


def plan_of(table: Table) -> list[str]:
    """The physical plan, a line for each node, children after their parents."""
    frame = table.to_native()
    # Held frames are planned when they are made: what is under a cache is not this frame's work.
    return frame._jdf.queryExecution().sparkPlan().toString().splitlines() + (
        frame._jdf.queryExecution().executedPlan().toString().splitlines()
    )


def gathered(plan: list[str]) -> list[str]:
    """The exchanges into one partition whose child is no partial aggregate without keys."""
    found: list[str] = []
    for line, child in zip(plan, [*plan[1:], ""], strict=True):
        if "SinglePartition" in line and "HashAggregate(keys=[], functions=[partial" not in child:
            found.append(f"{line.strip()} over {child.strip()}")
    return found


def test_a_numbering_of_all_rows_would_be_seen(make: MakeTable) -> None:
    rows = orders(make)
    assert gathered(plan_of(rows.with_row_index("n", order_by="customer_id"))) != []
    assert gathered(plan_of(rows.select(nw.col("amount").sum()))) == []
    assert any("SinglePartition" in one for one in plan_of(rows.select(nw.col("amount").sum())))


def tables(make: MakeTable) -> Iterator[tuple[str, Table]]:
    rows = orders(make)
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
        "summary",
        segment_summary(now, before, as_of=AS_OF, scheme=load_scheme(), config=SummaryConfig()),
    )


def test_no_table_gathers_its_rows(make: MakeTable) -> None:
    checked: list[str] = []
    for name, table in tables(make):
        plan = plan_of(table)
        assert len(plan) > 1, name
        if name == "summary":
            # A row for each segment, joined to totals of one row.
            continue
        assert gathered(plan) == [], name
        checked.append(name)
    assert len(checked) == 5
