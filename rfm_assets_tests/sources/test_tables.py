"""Sources with types: Parquet, Excel, DuckDB databases, the generator; and the polars engine."""

from datetime import date, datetime

import duckdb
import openpyxl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pydantic import TypeAdapter, ValidationError

from rfm_assets.engine import PolarsEngine, collect_rows
from rfm_assets.errors import (
    ColumnMissing,
    InvalidConfig,
    SourceEmpty,
    SourceMissing,
    SourceTruncated,
    SourceUnreadable,
)
from rfm_assets.sources.config import (
    ColumnMapping,
    CsvSource,
    DuckDBSource,
    GeneratorSource,
    Source,
)
from rfm_assets.sources.reading import read
from rfm_assets_tests.sources.conftest import SIMPLE

TABLE = pa.table(
    {
        "customer": ["a", None, "c"],
        "order": [1, 2, 3],
        "day": [datetime(2024, 1, 1), datetime(2024, 1, 2), None],
        "amount": [1.5, 2.0, float("nan")],
    }
)
REASONS = [(2, "missing_customer_id"), (3, "invalid_date")]
PARQUET = {"type": "parquet", "path": "orders.parquet"}


def test_a_parquet_file(ingest, tmp_path):
    pq.write_table(TABLE, tmp_path / "orders.parquet")
    found = ingest(PARQUET)
    assert (found.column("customer_id"), found.reasons) == (["a"], REASONS)
    assert found.rejects[1]["amount"] == "nan"


def test_a_folder_with_partitions(ingest, tmp_path):
    for country, name in (("FR", "x"), ("DE", "y")):
        folder = tmp_path / "orders" / f"country={country}"
        folder.mkdir(parents=True)
        pq.write_table(TABLE, folder / f"{name}.parquet")
    columns = {**SIMPLE, "attributes": {"country": "country"}}
    for path in ("orders", "orders/**/*.parquet"):
        found = ingest({"type": "parquet", "path": path}, columns)
        assert sorted(found.column("country")) == ["DE", "FR"]
        assert [(row["source"], row["source_line"]) for row in found.rejects] == [
            ("orders/country=DE/y.parquet", 2),
            ("orders/country=DE/y.parquet", 3),
            ("orders/country=FR/x.parquet", 2),
            ("orders/country=FR/x.parquet", 3),
        ]


def test_parquet_files_may_have_their_columns_in_any_order(ingest, tmp_path):
    pq.write_table(TABLE, tmp_path / "a.parquet")
    pq.write_table(TABLE.select(["amount", "order", "day", "customer"]), tmp_path / "b.parquet")
    assert ingest({"type": "parquet", "path": "*.parquet"}).column("customer_id") == ["a", "a"]


def test_a_parquet_file_that_is_none_or_cut_or_empty(ingest, tmp_path):
    target = tmp_path / "orders.parquet"
    target.write_bytes(b"")
    with pytest.raises(SourceEmpty, match=r"orders.parquet: the file has 0 bytes"):
        ingest(PARQUET)
    target.write_bytes(b"customer,day\n")
    with pytest.raises(SourceUnreadable, match="it is not a Parquet file"):
        ingest(PARQUET)
    pq.write_table(TABLE, target)
    target.write_bytes(target.read_bytes()[:-20])
    with pytest.raises(SourceTruncated, match="cut off before its footer"):
        ingest(PARQUET)
    with pytest.raises(SourceMissing, match=r"nothing.parquet: no such file"):
        ingest({"type": "parquet", "path": "nothing.parquet"})


def test_parquet_without_rows_gives_no_rows(ingest, tmp_path):
    pq.write_table(TABLE.slice(0, 0), tmp_path / "orders.parquet")
    assert ingest(PARQUET).counts.rows_in == 0


def test_a_missing_column_of_parquet_is_named(ingest, tmp_path):
    pq.write_table(TABLE, tmp_path / "orders.parquet")
    with pytest.raises(ColumnMissing, match=r"orders.parquet: column 'ammount' .*'amount'"):
        ingest(PARQUET, {**SIMPLE, "amount": "ammount * 2"})


def workbook(path, sheets):
    book = openpyxl.Workbook()
    book.remove(book.active)
    for name, rows in sheets.items():
        sheet = book.create_sheet(name)
        for row in rows:
            sheet.append(row)
    book.save(path)


HEADER = ["customer", "order", "day", "amount"]


def test_an_excel_sheet(ingest, tmp_path):
    rows = [
        HEADER,
        [17850, "o1", datetime(2024, 1, 1, 8, 30), 1.5],
        [None, None, None, None],
        ["C-1", "o2", datetime(2024, 1, 2), 2],
        [None, "o3", datetime(2024, 1, 3), 2],
    ]
    workbook(tmp_path / "book.xlsx", {"Notes": [["x"]], "Sales": rows})
    source = {"type": "excel", "path": "book.xlsx", "sheet": "Sales"}
    found = ingest(source)
    assert found.column("customer_id") == ["17850", "C-1"]
    assert found.column("date") == [datetime(2024, 1, 1, 8, 30), datetime(2024, 1, 2)]
    assert found.reasons == [(5, "missing_customer_id")]
    assert found.rejects[0]["source"] == "book.xlsx[Sales]"
    with pytest.raises(SourceUnreadable, match=r"no sheet 'Sale'. Did you mean 'Sales'"):
        ingest({**source, "sheet": "Sale"})
    with pytest.raises(ColumnMissing, match=r"column 'customer' .* Allowed: 'x'"):
        ingest({"type": "excel", "path": "book.xlsx"})


def test_an_excel_column_of_text_and_numbers_is_parsed_as_text(ingest, tmp_path):
    rows = [
        HEADER,
        ["a", 1, "2024-01-01", "1.5"],
        ["b", 2, "2024-01-02", 2],
        ["c", 3, datetime(2024, 1, 3), "two"],
        ["d", 4, "soon", 2.25],
    ]
    workbook(tmp_path / "book.xlsx", {"Sales": rows})
    found = ingest({"type": "excel", "path": "book.xlsx"})
    assert found.column("amount") == [1.5, 2.0]
    assert found.reasons == [(4, "invalid_amount"), (5, "invalid_date")]


def test_a_workbook_that_is_none_or_cut_or_empty(ingest, tmp_path):
    source = {"type": "excel", "path": "book.xlsx"}
    target = tmp_path / "book.xlsx"
    target.write_bytes(b"")
    with pytest.raises(SourceEmpty):
        ingest(source)
    target.write_text("a,b\n")
    with pytest.raises(SourceUnreadable, match="cannot be read as an Excel workbook"):
        ingest(source)
    workbook(target, {"Sales": [HEADER] * 50})
    target.write_bytes(target.read_bytes()[:-100])
    with pytest.raises(SourceTruncated, match="cut off inside the workbook"):
        ingest(source)
    workbook(target, {"Sales": []})
    with pytest.raises((SourceEmpty, ColumnMissing)):
        ingest(source)


@pytest.fixture
def shop(tmp_path):
    with duckdb.connect(str(tmp_path / "shop.duckdb")) as connection:
        connection.register("rows", TABLE)
        connection.execute("CREATE TABLE sales AS FROM rows")
    return {"type": "duckdb", "path": "shop.duckdb"}


def test_a_table_of_a_database(ingest, shop):
    found = ingest({**shop, "table": "sales"})
    assert (found.column("customer_id"), found.reasons) == (["a"], REASONS)
    assert found.rejects[0]["source"] == "shop.duckdb:sales"
    with pytest.raises(SourceUnreadable, match=r"no table 'sale'. Did you mean 'sales'"):
        ingest({**shop, "table": "sale"})


def test_a_query_runs_as_written_and_cannot_write(ingest, shop):
    query = 'SELECT customer, "order", day, 2 * amount AS amount FROM sales ORDER BY "order"'
    found = ingest({**shop, "query": query})
    assert (found.column("amount"), found.reasons) == ([3.0], REASONS)
    for wrong, message in {
        "SELECT nothing FROM sales": "the query fails",
        "DROP TABLE sales": "the query fails .*read-only",
        "SELECT *, error('x') FROM sales": "fails",
        "SELEC": "the query fails",
    }.items():
        with pytest.raises(SourceUnreadable, match=message):
            ingest({**shop, "query": wrong})
    assert ingest({**shop, "table": "sales"}).counts.rows_in == 3


def test_a_file_that_is_no_database(ingest, tmp_path):
    (tmp_path / "shop.duckdb").write_bytes(b"x" * 5000)
    with pytest.raises(SourceUnreadable, match="cannot be opened as a DuckDB database"):
        ingest({"type": "duckdb", "path": "shop.duckdb", "table": "sales"})
    with pytest.raises(SourceMissing):
        ingest({"type": "duckdb", "path": "none.duckdb", "table": "sales"})


def test_a_table_or_a_query_but_not_both():
    for given in ({}, {"table": "a", "query": "b"}):
        with pytest.raises(ValidationError, match="give either `table` or `query`"):
            DuckDBSource(type="duckdb", path="x", **given)


GENERATED = ColumnMapping(
    customer_id="customer",
    order_id="order_number",
    date="ordered_at",
    amount="quantity * unit_price",
)


def test_the_generator_needs_an_end(engine, tmp_path):
    source = GeneratorSource(type="generator", customers=30, new_customers_per_week=1)
    end = date(2024, 3, 1)
    found = read(source, GENERATED, engine=engine, root=tmp_path, generate_until=end)
    assert found.table.collect_schema().names()
    rows = collect_rows(found.table.select("source", "source_line", "date"))
    assert {row["source"] for row in rows} == {"generator"}
    assert [row["source_line"] for row in rows] == list(range(1, len(rows) + 1))
    with pytest.raises(InvalidConfig, match="generate_until"):
        read(source, GENERATED, engine=engine, root=tmp_path)


def test_another_engine_gets_the_parsed_rows(tmp_path):
    (tmp_path / "o.csv").write_text("customer,order,day,amount\na,o,2024-01-01,1\n")
    engine = PolarsEngine()
    source = CsvSource(type="csv", path="o.csv")
    found = read(source, ColumnMapping(**SIMPLE), engine=engine, root=tmp_path)
    rows = collect_rows(found.table.select("customer_id", "day", "amount"))
    assert rows == [{"customer_id": "a", "day": 19723, "amount": 1.0}]


def test_an_unknown_type_of_source_lists_the_known_ones():
    with pytest.raises(ValidationError, match="'csv', 'excel', 'parquet', 'duckdb', 'generator'"):
        TypeAdapter(Source).validate_python({"type": "cvs", "path": "x"})
