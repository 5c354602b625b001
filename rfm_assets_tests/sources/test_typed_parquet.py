"""Typed Parquet gives the same parsed rows whichever engine reads it; Spark reads it by itself."""

from collections.abc import Mapping
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from rfm_assets.domain.row_policy import TransactionPolicy
from rfm_assets.domain.transactions import apply_policy
from rfm_assets.engines.base import collect_rows
from rfm_assets.engines.duckdb_engine import DuckDBEngine
from rfm_assets.engines.opening import open_engine
from rfm_assets.engines.spark_engine import SparkEngine
from rfm_assets.errors import ColumnMissing, InvalidConfig, SourceUnreadable
from rfm_assets.sources.config import ColumnMapping, ParquetSource
from rfm_assets.sources.customers import read_customers
from rfm_assets.sources.reading import read
from rfm_assets_tests.sources.conftest import TODAY
from rfm_assets_tests.tables import LOCAL_SPARK, SPARK

NAN, INF = float("nan"), float("inf")
DAY = datetime(2024, 3, 31, 0, 30)

TABLE = pa.table(
    {
        "customer": [" 0042 ", "17850.0", "e\u0301", "", "NaN", None, "\u00a0x\u200b", "A1.0", "b"],
        "order": pa.array([1, 2, None, 4, 5, 6, 7, 8, 2**62], pa.int64()),
        "float id": [17850.0, 1.5, NAN, -3.0, None, 2.0**53, 0.0, 1e6, 12.25],
        "exact": pa.array([Decimal(n) for n in range(8)] + [Decimal("1.50")], pa.decimal128(10, 2)),
        "at": [DAY, DAY.replace(hour=2), None, datetime(1899, 1, 1), *[datetime(2024, 6, 1)] * 5],
        "zoned": pa.array(
            [DAY.replace(tzinfo=UTC)] * 8 + [None], pa.timestamp("us", tz="America/New_York")
        ),
        "day": pa.array([date(2024, 1, n) for n in range(1, 9)] + [None], pa.date32()),
        "seconds": pa.array([datetime(2024, 1, 1, 0, 0, n) for n in range(9)], pa.timestamp("ms")),
        "amount": [1.5, 2.25, 3.0, 4.0, NAN, INF, -5.5, None, 1e10],
        "Qty": pa.array([1, 2, 0, -1, None, 3, 4, 5, 6], pa.int32()),
        "unit price": pa.array([1.1, 2.2, None, 82.6, 5.0, NAN, 0.1, 9.99, 1.0], pa.float32()),
        "flag": [True, False, None, True, True, False, None, True, True],
        "word": ["Ja", " nein", "maybe", None, "n/a", "JA", "ja", "x", ""],
        "bit": pa.array([1, 0, 2, None, 1, 1, 0, 1, 0], pa.int8()),
        "cur": ["eur", "USD", None, "EUR", "eur ", "x", "EUR", "EUR", "EUR"],
    }
)
ATTRIBUTES: Mapping[str, Any] = {
    "consent": {"column": "flag", "kind": "boolean"},
    "german": {"column": "word", "kind": "boolean", "true_words": ["ja"], "false_words": ["nein"]},
    "bit": {"column": "bit", "kind": "boolean"},
    "size": {"column": "unit price", "kind": "number"},
    "truth": {"column": "flag", "kind": "number"},
    "price": {"column": "exact", "kind": "number"},
    "price_as_text": {"column": "exact"},
    "float_as_text": {"column": "float id"},
    "time_as_text": {"column": "seconds"},
    "flag_as_text": {"column": "flag"},
    "first": {"column": "day", "kind": "date"},
    "word": "word",
}
MAPPINGS: Mapping[str, Mapping[str, Any]] = {
    "text ids": {"customer_id": "customer", "date": "at", "amount": "amount"},
    "float ids": {
        "customer_id": "float id",
        "order_id": "order",
        "date": "zoned",
        "amount": "Qty * `unit price`",
        "attributes": ATTRIBUTES,
    },
    "exact ids": {
        "customer_id": "exact",
        "order_id": "float id",
        "date": "day",
        "amount": "coalesce(amount, 0) / Qty",
        "currency": "cur",
    },
    "whole ids": {
        "customer_id": "order",
        "order_id": "customer",
        "date": "seconds",
        "amount": "if(flag, exact, 0 - exact)",
    },
}


def parsed(
    engine_name: str, folder: Path, columns: Mapping[str, Any], **more: Any
) -> list[dict[str, Any]]:
    settings = LOCAL_SPARK if engine_name == "spark" else {"threads": 2}
    source = ParquetSource(type="parquet", **({"path": "*.parquet"} | more.pop("source", {})))
    with open_engine(engine_name, **settings) as engine:  # type: ignore[arg-type]
        reading = read(source, ColumnMapping(**columns), engine=engine, root=folder, **more)
        rows = collect_rows(reading.table)
        assert reading.rows == len(rows)
    order = sorted(rows, key=lambda row: (row["source"], row["source_line"]))
    return [dict(sorted(row.items())) for row in order]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    # Two files, names that are encoded in addresses, and small row groups.
    pq.write_table(TABLE.slice(0, 5), tmp_path / "a b+%20.parquet", row_group_size=2)
    pq.write_table(TABLE.slice(5), tmp_path / "c.parquet")
    return tmp_path


@pytest.mark.parametrize("engine", ["polars", SPARK])
@pytest.mark.parametrize("mapping", MAPPINGS)
@pytest.mark.parametrize("zone", ["UTC", "Europe/Berlin"])
def test_every_engine_gives_the_same_rows(
    folder: Path, mapping: str, engine: str, zone: str
) -> None:
    columns = MAPPINGS[mapping]
    expected = parsed("duckdb", folder, columns, time_zone=zone)
    assert len(expected) == 9
    # As text, because NaN does not equal itself.
    assert repr(parsed(engine, folder, columns, time_zone=zone)) == repr(expected)


@pytest.mark.parametrize("engine", [SPARK])
def test_times_of_another_zone_are_converted_alike(folder: Path, engine: str) -> None:
    more = {"source": {"source_time_zone": "America/New_York"}, "time_zone": "Europe/Berlin"}
    columns = {"customer_id": "customer", "date": "at", "amount": "amount"}
    expected = parsed("duckdb", folder, columns, **more)
    assert expected[0]["date"] == datetime(2024, 3, 31, 6, 30)
    assert repr(parsed(engine, folder, columns, **more)) == repr(expected)


@pytest.mark.parametrize("engine", ["polars", SPARK])
def test_the_policy_gives_the_same_tables(folder: Path, engine: str) -> None:
    found: list[str] = []
    for name in ("duckdb", engine):
        settings = LOCAL_SPARK if name == "spark" else {"threads": 2}
        with open_engine(name, **settings) as opened:  # type: ignore[arg-type]
            policy = TransactionPolicy(exact_duplicates="drop", refunds="separate")
            reading = read(
                ParquetSource(type="parquet", path=["c.parquet", "twice"]),
                ColumnMapping(**MAPPINGS["float ids"]),
                engine=opened,
                root=twice(folder),
                row_keys=True,
            )
            result = apply_policy(
                reading.table, policy, now_day=TODAY, checkpoint=opened.checkpoint
            )
            assert reading.rows == result.counts.rows_in == 8
            # Of each four rows, one has no amount and one no date.
            assert result.counts.dropped_by_reason == {"duplicate": 2}
            rejects = collect_rows(result.rejects.sort("source", "source_line"))
            kept = collect_rows(result.kept.sort("customer_id", "order_id", nulls_last=True))
            found.append(repr((result.counts, rejects, kept, reading.source_fingerprint)))
    assert found[0] == found[1]


def twice(folder: Path) -> Path:
    """The second file again, in a folder of its own."""
    (folder / "twice").mkdir(exist_ok=True)
    (folder / "twice" / "d.parquet").write_bytes((folder / "c.parquet").read_bytes())
    return folder


@pytest.mark.parametrize("engine", [SPARK])
def test_times_as_spark_and_hive_write_them_are_naive(tmp_path: Path, engine: str) -> None:
    pq.write_table(
        TABLE.select(["customer", "at", "amount"]),
        tmp_path / "old.parquet",
        use_deprecated_int96_timestamps=True,
    )
    columns = MAPPINGS["text ids"]
    expected = parsed("duckdb", tmp_path, columns, time_zone="Europe/Berlin")
    assert expected[0]["date"] == DAY
    assert repr(parsed(engine, tmp_path, columns, time_zone="Europe/Berlin")) == repr(expected)


AWKWARD: Mapping[str, pa.Table] = {
    "text that is parsed": pa.table({"c": ["a"], "d": ["2024-01-01 10:00"], "a": ["1.5"]}),
    "nanoseconds": pa.table(
        {"c": ["a"], "d": pa.array([datetime(2024, 1, 1)], pa.timestamp("ns")), "a": [1.5]}
    ),
}


@pytest.mark.parametrize("engine", [SPARK])
@pytest.mark.parametrize("kind", AWKWARD)
def test_what_spark_does_not_read_goes_through_duckdb(
    tmp_path: Path, kind: str, engine: str
) -> None:
    pq.write_table(AWKWARD[kind], tmp_path / "x.parquet")
    columns = {"customer_id": "c", "date": "d", "amount": "a"}
    expected = parsed("duckdb", tmp_path, columns)
    assert (expected[0]["date"].year, expected[0]["amount"]) == (2024, 1.5)
    assert parsed(engine, tmp_path, columns) == expected


@pytest.mark.parametrize("engine", [SPARK])
def test_folders_named_by_values_are_columns_on_spark_too(tmp_path: Path, engine: str) -> None:
    for country in ("FR", "DE"):
        target = tmp_path / f"country={country}" / "x.parquet"
        target.parent.mkdir()
        pq.write_table(TABLE.slice(0, 2), target)
    columns = {**MAPPINGS["text ids"], "attributes": {"country": "country"}}
    more = {"source": {"path": "."}}
    expected = parsed("duckdb", tmp_path, columns, **more)
    assert [row["country"] for row in expected] == ["DE", "DE", "FR", "FR"]
    assert parsed(engine, tmp_path, columns, source={"path": "."}) == expected


@pytest.mark.parametrize("engine", ["duckdb", SPARK])
def test_errors_are_the_same(tmp_path: Path, engine: str) -> None:
    nested = {"c": ["a"], "d": [DAY], "a": [1.5], "list": [[1]]}
    pq.write_table(pa.table(nested), tmp_path / "x.parquet")
    columns = {"customer_id": "c", "date": "d", "amount": "a"}
    with pytest.raises(ColumnMissing, match=r"x.parquet: column 'ammount' .*columns.amount"):
        parsed(engine, tmp_path, {**columns, "amount": "ammount"})
    with pytest.raises(InvalidConfig, match=r"columns.customer_id: 'list' holds lists"):
        parsed(engine, tmp_path, {**columns, "customer_id": "list"})
    with pytest.raises(InvalidConfig, match=r"columns.date: 'a' holds number values, not dates"):
        parsed(engine, tmp_path, {**columns, "date": "a"})
    (tmp_path / "x.parquet").write_bytes(b"PAR1" + b"x" * 100 + b"PAR1")
    with pytest.raises(SourceUnreadable, match=r"x.parquet: its footer cannot be read"):
        parsed(engine, tmp_path, columns)


@pytest.mark.parametrize("engine", ["polars", SPARK])
def test_customers_are_read_alike(folder: Path, engine: str) -> None:
    attributes = ColumnMapping(**MAPPINGS["float ids"]).attributes
    found: list[Any] = []
    for name in ("duckdb", engine):
        settings = LOCAL_SPARK if name == "spark" else {"threads": 2}
        with open_engine(name, **settings) as opened:  # type: ignore[arg-type]
            reading = read_customers(
                ParquetSource(type="parquet", path="*.parquet"),
                customer_id="customer",
                attributes=attributes,
                engine=opened,
                root=folder,
                time_zone="Europe/Berlin",
            )
            rows = collect_rows(reading.table)
            counts = reading.rows, reading.rows_without_customer, dict(reading.unreadable)
            found.append((counts, sorted(map(repr, rows)), reading.written_at))
    assert found[0] == found[1]
    assert found[0][0][:2] == (6, 3)
    assert found[0][0][2]["german"] == 2


@pytest.mark.spark
@pytest.mark.xdist_group("spark")
def test_spark_reads_typed_parquet_without_duckdb(folder: Path) -> None:
    with open_engine("spark", **LOCAL_SPARK) as engine:
        assert isinstance(engine, SparkEngine)
        reading = read(
            ParquetSource(type="parquet", path="*.parquet"),
            ColumnMapping(**MAPPINGS["float ids"]),
            engine=engine,
            root=folder,
        )
        files = reading.table.to_native().inputFiles()
    assert sorted(Path(file).name for file in files) == ["a%20b+%2520.parquet", "c.parquet"]


def test_the_duckdb_engine_is_the_yardstick(folder: Path) -> None:
    (first, *_) = parsed("duckdb", folder, MAPPINGS["float ids"], time_zone="Europe/Berlin")
    assert first["customer_id"] == "17850"
    assert first["date"] == datetime(2024, 3, 31, 2, 30) or first["date"] == datetime(
        2024, 3, 31, 1, 30
    )
    assert isinstance(DuckDBEngine().name, str)
