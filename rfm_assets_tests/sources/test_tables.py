"""Sources with types: Parquet, Excel, DuckDB databases, the generator; and the polars engine."""

import shutil
from datetime import date, datetime

import duckdb
import openpyxl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyarrow import csv
from pydantic import TypeAdapter, ValidationError

from rfm_assets.engines.base import collect_rows
from rfm_assets.engines.duckdb_engine import DuckDBEngine
from rfm_assets.engines.polars_engine import PolarsEngine
from rfm_assets.errors import (
    ColumnMissing,
    InvalidConfig,
    OutOfMemory,
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


def test_brackets_in_a_name_are_no_pattern(ingest, tmp_path):
    pq.write_table(TABLE.slice(0, 1), tmp_path / "orders[1].parquet")
    pq.write_table(TABLE, tmp_path / "orders1.parquet")
    found = ingest({"type": "parquet", "path": "orders[1].parquet"})
    assert (found.counts.rows_in, found.reading.rows) == (1, 1)


def test_every_parquet_file_has_the_mapped_columns(ingest, tmp_path):
    pq.write_table(TABLE, tmp_path / "1.parquet")
    pq.write_table(
        TABLE.rename_columns(["customer", "nr", "day", "amount"]), tmp_path / "2.parquet"
    )
    with pytest.raises(ColumnMissing, match=r"2.parquet: column 'order' .*columns.order_id"):
        ingest({"type": "parquet", "path": "*.parquet"})


def test_files_of_one_name_beyond_the_root_are_not_one(ingest, tmp_path):
    outside = tmp_path.parent / f"{tmp_path.name}-lake"
    for folder, customers in (("a", ["x", "x"]), ("b", ["y", "z"])):
        (outside / folder).mkdir(parents=True)
        rows = {
            "customer": customers,
            "order": ["1", "1"] if folder == "a" else ["2", "3"],
            "day": [datetime(2024, 1, 1)] * 2,
            "amount": [1.0, 1.0],
        }
        pq.write_table(pa.table(rows), outside / folder / "part.parquet")
    source = {"type": "parquet", "path": str(outside)}
    found = ingest(source, policy={"exact_duplicates": "drop"})
    assert sorted(found.column("customer_id")) == ["x", "y", "z"]
    assert (found.counts.rows_in, found.reading.rows) == (4, 4)


def test_partition_folders_are_those_below_the_folder_given(ingest, tmp_path):
    outside = tmp_path.parent / f"{tmp_path.name}-env=prod"
    for country in ("FR", "DE"):
        folder = outside / f"country={country}"
        folder.mkdir(parents=True)
        pq.write_table(TABLE.slice(0, 1), folder / f"{country}.parquet")
    columns = {**SIMPLE, "attributes": {"country": "country"}}
    for path in (outside, outside / "country=*" / "*.parquet"):
        found = ingest({"type": "parquet", "path": str(path)}, columns)
        assert sorted(found.column("country")) == ["DE", "FR"]
    with pytest.raises(ColumnMissing, match="'country'"):
        ingest({"type": "parquet", "path": str(outside / "country=FR" / "FR.parquet")}, columns)


@pytest.mark.parametrize("name", ["filename", "File_Row_Number"])
def test_a_parquet_column_named_like_the_readers_own(ingest, tmp_path, name):
    pq.write_table(TABLE.append_column(name, [[1, 2, 3]]), tmp_path / "orders.parquet")
    with pytest.raises(SourceUnreadable, match=f"a column called '{name.lower()}'"):
        ingest(PARQUET)


def test_a_damaged_page_is_said_of_the_file(ingest, tmp_path):
    rows = 50_000
    wide = {
        "customer": [f"c{n}" for n in range(rows)],
        "order": [f"o{n}" for n in range(rows)],
        "day": [datetime(2024, 1, 1)] * rows,
        "amount": [1.0] * rows,
    }
    pq.write_table(pa.table(wide), tmp_path / "orders.parquet")
    content = bytearray((tmp_path / "orders.parquet").read_bytes())
    content[5_000:9_000] = b"Z" * 4_000
    (tmp_path / "orders.parquet").write_bytes(content)
    with pytest.raises(SourceUnreadable, match=r"orders.parquet: reading fails"):
        ingest(PARQUET, policy={"exact_duplicates": "drop"})
    (tmp_path / "cut.parquet").write_bytes(b"PAR1" + b"x" * 100 + b"PAR1")
    with pytest.raises(SourceUnreadable, match=r"cut.parquet: its footer cannot be read"):
        ingest({"type": "parquet", "path": "cut.parquet"})


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_too_little_memory_is_called_so(tmp_path, kind):
    rows = 200_000
    wide = pa.table(
        {
            "customer": [f"customer {n} " + "x" * 100 for n in range(rows)],
            "order": [f"o{n}" for n in range(rows)],
            "day": ["2024-01-01"] * rows,
            "amount": ["1"] * rows,
        }
    )
    if kind == "csv":
        csv.write_csv(wide, tmp_path / "orders.csv")
    else:
        pq.write_table(wide, tmp_path / "orders.parquet")
    source = TypeAdapter[Source](Source).validate_python({"type": kind, "path": f"orders.{kind}"})
    with DuckDBEngine("20MB", 1, spill_dir=tmp_path / "spill") as engine:
        engine.connection.execute("SET max_temp_directory_size = '1KB'")
        with pytest.raises(OutOfMemory, match=r"too little memory: .*`memory_limit`"):
            read(source, ColumnMapping(**SIMPLE), engine=engine, root=tmp_path, row_keys=True)


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
        "DROP TABLE sales": "the query is not one SELECT",
        "SELECT *, error('x') FROM sales": "fails",
        "SELEC": "the query fails",
    }.items():
        with pytest.raises(SourceUnreadable, match=message):
            ingest({**shop, "query": wrong})
    assert ingest({**shop, "table": "sales"}).counts.rows_in == 3


def test_a_query_neither_writes_nor_reads_other_files(ingest, shop, tmp_path):
    (tmp_path / "other.csv").write_text("customer,order,day,amount\na,1,2024-01-01,1\n")
    written = tmp_path / "written.csv"
    copy = f"COPY sales TO '{written}'; "
    for wrong, message in {
        copy: "the query is not one SELECT",
        copy + "FROM sales": "the query is not one SELECT",
        "SELECT * FROM sales; SELECT * FROM sales": "the query is not one SELECT",
        ";": "the query is not one SELECT",
        f"FROM '{tmp_path}/other.csv'": "Permission",
    }.items():
        with pytest.raises(SourceUnreadable, match=message):
            ingest({**shop, "query": wrong})
    assert not written.exists()
    assert ingest({**shop, "query": "SELECT * FROM sales;"}).counts.rows_in == 3


def test_a_view_may_read_files_beside_the_database(ingest, shop, tmp_path):
    pq.write_table(TABLE, tmp_path / "orders.parquet")
    with duckdb.connect(str(tmp_path / "shop.duckdb")) as connection:
        connection.execute(f"CREATE VIEW beside AS FROM '{tmp_path}/orders.parquet'")
    assert ingest({**shop, "table": "beside"}).counts.rows_in == 3


def test_a_pattern_for_a_source_of_one_file_must_match_one(ingest, shop, tmp_path):
    rows = [HEADER, ["a", "o1", datetime(2024, 1, 1), 1.5]]
    workbook(tmp_path / "1.xlsx", {"Sales": rows})
    assert ingest({"type": "excel", "path": "*.xlsx"}).counts.rows_in == 1
    workbook(tmp_path / "2.xlsx", {"Sales": rows})
    with pytest.raises(SourceUnreadable, match=r"2 files match .*1.xlsx, 2.xlsx.* reads one"):
        ingest({"type": "excel", "path": "*.xlsx"})
    shutil.copy(tmp_path / "shop.duckdb", tmp_path / "shop2.duckdb")
    with pytest.raises(SourceUnreadable, match="2 files match"):
        ingest({**shop, "path": "shop*.duckdb", "table": "sales"})


def test_an_excel_header_that_names_a_used_column_twice(ingest, tmp_path):
    source = {"type": "excel", "path": "book.xlsx"}
    row = ["a", "o1", datetime(2024, 1, 1), 1.5, 99]
    workbook(tmp_path / "book.xlsx", {"Sales": [[*HEADER, "amount"], row]})
    with pytest.raises(SourceUnreadable, match="names 'amount' twice"):
        ingest(source)
    workbook(tmp_path / "book.xlsx", {"Sales": [[*HEADER, "order"], row]})
    columns = {name: column for name, column in SIMPLE.items() if name != "order_id"}
    assert ingest(source, columns).counts.rows_kept == 1


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
    with pytest.raises(ValidationError, match="'duckdb', 'postgres', 'spark', 'generator'"):
        TypeAdapter(Source).validate_python({"type": "cvs", "path": "x"})
