"""The UCI Online Retail file, and the facts that are known about it."""

import gzip
from datetime import date, datetime
from pathlib import Path

import narwhals as nw
import pytest

from rfm_assets.domain.frames import Table
from rfm_assets.domain.row_policy import TransactionPolicy
from rfm_assets.domain.transactions import PolicyResult, apply_policy
from rfm_assets.engines.base import collect_rows
from rfm_assets.engines.duckdb_engine import DuckDBEngine
from rfm_assets.sources.config import ColumnMapping, CsvSource
from rfm_assets.sources.reading import read
from rfm_assets_tests.sources.conftest import TODAY

pytestmark = pytest.mark.online_retail

MAPPING = ColumnMapping(
    customer_id="CustomerID",
    order_id="InvoiceNo",
    date="InvoiceDate",
    amount="Quantity * UnitPrice",
    attributes={
        "quantity": {"column": "Quantity", "kind": "number"},
        "unit_price": {"column": "UnitPrice", "kind": "number"},
        "product_id": "StockCode",
        "country": "Country",
    },
)


@pytest.fixture(scope="module")
def file(online_retail: Path) -> Path:
    return online_retail


@pytest.fixture(scope="module")
def engine():
    with DuckDBEngine(threads=2) as opened:
        yield opened


@pytest.fixture(scope="module")
def parsed(file: Path, engine: DuckDBEngine) -> Table:
    source = CsvSource(type="csv", path=str(file))
    return read(source, MAPPING, engine=engine, root=file.parent, row_keys=True).table


def judged(parsed: Table, engine: DuckDBEngine, **policy) -> PolicyResult:
    return apply_policy(
        parsed, TransactionPolicy(**policy), now_day=TODAY, checkpoint=engine.checkpoint
    )


def distinct(table: Table, column: str) -> int:
    return len(collect_rows(table.select(column).unique()))


def figures(table: Table) -> dict[str, object]:
    return collect_rows(
        table.select(
            rows=nw.len(),
            first=nw.col("date").min(),
            last=nw.col("date").max(),
            revenue=nw.col("amount").sum(),
        )
    )[0]


def test_rows_ids_and_dates(parsed, engine):
    result = judged(parsed, engine)
    assert result.counts.as_dict() == {
        "rows_in": 541_909,
        "rows_kept": 406_829,
        "rows_rejected": 135_080,
        "rows_dropped": 0,
        "rejected/missing_customer_id": 135_080,
    }
    assert distinct(result.kept, "customer_id") == 4_372
    assert distinct(parsed, "order_id") == 25_900
    found = figures(parsed)
    assert found["first"] == datetime(2010, 12, 1, 8, 26)
    assert found["last"] == datetime(2011, 12, 9, 12, 50)


def test_cancelled_invoices_and_signs(parsed):
    def rows(*conditions: nw.Expr) -> int:
        return figures(parsed.filter(*conditions))["rows"]

    assert rows(nw.col("order_id").str.starts_with("C")) == 9_288
    assert rows(nw.col("quantity") < 0) == 10_624
    assert rows(nw.col("unit_price") <= 0) == 2_517


def test_purchases_with_an_id(parsed, engine):
    kept = judged(parsed, engine).kept.filter(nw.col("quantity") > 0, nw.col("unit_price") > 0)
    found = figures(kept)
    assert found["rows"] == 397_884
    assert found["revenue"] == pytest.approx(8_911_407.90, abs=0.005)
    assert distinct(kept, "customer_id") == 4_338
    assert distinct(kept, "order_id") == 18_532


def test_exact_duplicates(parsed, engine):
    keys = parsed.group_by("row_key").agg(rows=nw.len()).filter(nw.col("rows") > 1)
    more = collect_rows(keys.select(more=(nw.col("rows") - 1).sum()))[0]["more"]
    assert more == 5_268
    counts = judged(parsed, engine, exact_duplicates="drop").counts
    assert counts.dropped_by_reason == {"duplicate": 5_225}  # the others have no customer id
    assert counts.rows_kept == 401_604


def test_a_day_before_the_last_sets_the_later_rows_aside(parsed):
    today = (date(2011, 12, 8) - date(1970, 1, 1)).days
    policy = TransactionPolicy(future_skew_days=0, missing_customer_id="drop")
    result = apply_policy(parsed, policy, now_day=today)
    late = parsed.filter(nw.col("date") >= datetime(2011, 12, 9), ~nw.col("customer_id").is_null())
    expected = figures(late)["rows"]
    assert expected > 0
    assert result.counts.rejected_by_reason == {"future_date": expected}
    assert result.counts.dropped_by_reason == {"missing_customer_id": 135_080}


def test_a_reject_is_found_in_the_file_at_its_line(parsed, engine, file):
    rejects = judged(parsed, engine).rejects
    shown = collect_rows(rejects.sort("source_line").head(1))[0]
    last = collect_rows(rejects.sort("source_line", descending=True).head(1))[0]
    with gzip.open(file, "rt", encoding="utf-8") as stream:
        lines = {n: text for n, text in enumerate(stream, 1) if n in {624, last["source_line"]}}
    assert shown["source_line"] == 624
    for reject in (shown, last):
        fields = lines[reject["source_line"]]
        assert fields.startswith(f"{reject['order_id']},")
        assert f",{reject['date']}," in fields
