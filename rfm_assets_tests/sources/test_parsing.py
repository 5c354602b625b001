"""Ids, dates and numbers as sources write them."""

from datetime import datetime

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pydantic import ValidationError

from rfm_assets.errors import InvalidConfig, InvalidExpression
from rfm_assets.sources.config import ColumnMapping, CsvSource

HEADER = "customer,order,day,amount\n"


def ids(ingest_csv, *values, **options):
    lines = [f'"{value}",o{n},2024-01-01,{n}\n' for n, value in enumerate(values)]
    found = ingest_csv(HEADER + "".join(lines), **options)
    by_amount = {row["amount"]: row["customer_id"] for row in found.kept}
    return [by_amount.get(float(n)) for n in range(len(values))]


def test_one_spelling_per_customer(ingest_csv):
    assert ids(ingest_csv, "17850", "17850.0", " 17850 ", "17850.00", "\t17850\u00a0") == (
        ["17850"] * 5
    )
    kept = ["0042", "A1.0", "1.5", "10", "100", "é", "10.01", "-5"]
    assert ids(ingest_csv, *kept) == kept
    assert ids(ingest_csv, "e\u0301", "-5.0", "0042.0", "A  B") == ["é", "-5", "0042", "A  B"]


def test_words_for_missing(ingest_csv):
    words = ["", " ", "nan", "NaN", "None", "NULL", "n/a", "<NA>", "\u00a0", "#N/A"]
    assert ids(ingest_csv, *words, "none.", "Nan Goldin") == (
        [None] * len(words) + ["none.", "Nan Goldin"]
    )
    assert ids(ingest_csv, "nan", "-", null_words=["-"]) == ["nan", None]


def dates(ingest_csv, *values, **options):
    lines = [f'a,o{n},"{value}",{n}\n' for n, value in enumerate(values)]
    found = ingest_csv(HEADER + "".join(lines), **options)
    assert len(found.kept) + len(found.rejects) == len(values)
    by_amount = {row["amount"]: row["date"] for row in found.kept}
    return [by_amount.get(float(n)) for n in range(len(values))]


def test_iso_dates_with_and_without_time(ingest_csv):
    found = dates(
        ingest_csv,
        "2024-03-31",
        "2024-03-31 23:59:59",
        "2024-03-31T08:05",
        "2024-3-1",
        "2024/03/31 8:05:01.25",
        " 2024-03-31 ",
    )
    assert found == [
        datetime(2024, 3, 31),
        datetime(2024, 3, 31, 23, 59, 59),
        datetime(2024, 3, 31, 8, 5),
        datetime(2024, 3, 1),
        datetime(2024, 3, 31, 8, 5, 1, 250_000),
        datetime(2024, 3, 31),
    ]


@pytest.mark.parametrize(
    "text",
    [
        "", "2024-02-30", "2024-13-01", "31.12.2023", "12/31/2023", "yesterday", "epoch",
        "infinity", "2024-01-01 25:00", "20240101", "1704067200", "45292", "2024-01",
        "2024-01-01 08:00 Europe/Paris", "2024-01-01 08:00 PM", "1899-12-31", "0001-01-01",
        "2024-01-01 08:00:00 (BC)", "____-__-__ __:__:__",
    ],
)  # fmt: skip
def test_what_is_no_iso_date_is_set_aside(ingest_csv, text):
    found = ingest_csv(HEADER + f'a,o,"{text}",1\n')
    assert found.rejects[0]["reason"] == "invalid_date"
    assert (found.rejects[0]["date"] or "") == text


def test_dates_in_the_future_are_set_aside_beyond_the_skew(ingest_csv):
    content = HEADER + "a,o,2024-06-30,1\na,o,2024-07-01 23:59:59,2\na,o,2024-07-02,3\n"
    assert ingest_csv(content).reasons == [(4, "future_date")]
    assert ingest_csv(content, policy={"future_skew_days": 0}).reasons == [
        (3, "future_date"),
        (4, "future_date"),
    ]
    assert ingest_csv(content, policy={"future_skew_days": 2}).reasons == []


def test_offsets_are_converted_to_the_business_time_zone(ingest_csv):
    texts = [
        "2024-01-01T23:30:00Z",
        "2024-01-01 23:30 UTC",
        "2024-01-01T23:30:00-05:00",
        "2024-01-01T23:30:00 +0200",
        "2024-01-01T23:30+02",
        "2024-07-01T23:30:00.5Z",
        "2024-01-01T23:30:00",
    ]
    found = dates(ingest_csv, *texts, time_zone="Europe/Berlin", policy={"future_skew_days": 9})
    assert found == [
        datetime(2024, 1, 2, 0, 30),
        datetime(2024, 1, 2, 0, 30),
        datetime(2024, 1, 2, 5, 30),
        datetime(2024, 1, 1, 22, 30),
        datetime(2024, 1, 1, 22, 30),
        datetime(2024, 7, 2, 1, 30, 0, 500_000),
        datetime(2024, 1, 1, 23, 30),
    ]


def test_the_day_is_that_of_the_business_time_zone(ingest_csv):
    content = HEADER + "a,o,2024-01-01T23:30:00Z,1\n"
    assert ingest_csv(content).column("day") == [19723]
    assert ingest_csv(content, time_zone="Europe/Berlin").column("day") == [19724]


def test_naive_times_may_belong_to_another_zone_but_days_stay(ingest_csv):
    texts = ["2024-01-01 20:00:00", "2024-01-01T20:00", "2024-01-01", "2024-01-01T20:00Z"]
    options = {"time_zone": "Europe/Berlin", "source_time_zone": "America/New_York"}
    assert dates(ingest_csv, *texts, **options) == [
        datetime(2024, 1, 2, 2, 0),
        datetime(2024, 1, 2, 2, 0),
        datetime(2024, 1, 1),
        datetime(2024, 1, 1, 21, 0),
    ]


def test_several_formats_are_tried_in_the_order_given(ingest_csv):
    texts = ["31/12/2023", "2023-12-31 10:00", "12/31/2023", "01/02/2024", " 31/12/2023 "]
    day_first = dates(ingest_csv, *texts, date_formats=["%d/%m/%Y", "iso"])
    assert day_first == [
        datetime(2023, 12, 31),
        datetime(2023, 12, 31, 10),
        None,
        datetime(2024, 2, 1),
        datetime(2023, 12, 31),
    ]
    both = dates(ingest_csv, *texts, date_formats=["%m/%d/%Y", "%d/%m/%Y", "iso"])
    assert both[2:4] == [datetime(2023, 12, 31), datetime(2024, 1, 2)]


def test_a_format_may_have_an_offset(ingest_csv):
    texts = ["31.12.2023 23:30 +0000", "31.12.2023 23:30 -0500", "31.12.2023 23:30"]
    found = dates(ingest_csv, *texts, date_formats=["%d.%m.%Y %H:%M %z"], time_zone="Europe/Berlin")
    assert found == [datetime(2024, 1, 1, 0, 30), datetime(2024, 1, 1, 5, 30), None]


def amounts(ingest_csv, *values, **options):
    lines = [f'c{n},o{n},2024-01-01,"{value}"\n' for n, value in enumerate(values)]
    found = ingest_csv(HEADER + "".join(lines), **options)
    by_id = {row["customer_id"]: row["amount"] for row in found.kept}
    assert {row["reason"] for row in found.rejects} <= {"invalid_amount"}
    return [by_id.get(f"c{n}") for n in range(len(values))]


def test_numbers_with_a_point(ingest_csv):
    assert amounts(ingest_csv, "1", "-1.50", "+2", ".5", "5.", " 7 ", "1e2", "\u00a08") == [
        1.0, -1.5, 2.0, 0.5, 5.0, 7.0, 100.0, 8.0,
    ]  # fmt: skip


@pytest.mark.parametrize(
    "text",
    ["", "abc", "NaN", "nan", "inf", "-Infinity", "1e999", "1,5", "1_000", "12 EUR", "0x10",
     "1.2.3", "--1", "true", "£5"],
)  # fmt: skip
def test_what_is_no_number_is_set_aside_as_it_stood(ingest_csv, text):
    found = ingest_csv(HEADER + f'a,o,2024-01-01,"{text}"\n')
    assert found.reasons == [(2, "invalid_amount")]
    assert (found.rejects[0]["detail"] or "") == text


def test_a_decimal_comma_never_makes_a_number_larger(ingest_csv):
    texts = ["1,5", "-1234,5", "1.5", "1.234,5", "12", "1,234.5", ""]
    assert amounts(ingest_csv, *texts, decimal_separator=",") == [
        1.5, -1234.5, None, None, 12.0, None, None,
    ]  # fmt: skip
    assert amounts(ingest_csv, *texts, decimal_separator=",", thousands_separator=".") == [
        1.5, -1234.5, None, 1234.5, 12.0, None, None,
    ]  # fmt: skip
    english = ["1,234.5", "1,5", "1,234,567", "1234.5", "-12,345", ",5", "1,2345"]
    assert amounts(ingest_csv, *english, thousands_separator=",") == [
        1234.5, None, 1234567.0, 1234.5, -12345.0, None, None,
    ]  # fmt: skip


def test_an_amount_is_computed_and_its_parts_are_shown_when_it_fails(ingest_csv):
    content = (
        "customer,day,n,unit price,kind\n"
        "a,2024-01-01,3,1.5,sale\na,2024-01-01,1,2,refund\na,2024-01-01,x,2,sale\n"
        "a,2024-01-01,1,,sale\n"
    )
    columns = {
        "customer_id": "customer",
        "date": "day",
        "amount": "if(lower(kind) = 'refund', -1, 1) * n * `unit price`",
    }
    found = ingest_csv(content, columns)
    assert sorted(row["amount"] for row in found.kept) == [-2.0, 4.5]
    assert [row["amount"] for row in found.rejects] == [
        "kind=sale, n=x, unit price=2",
        "kind=sale, n=1, unit price=",
    ]


def test_attributes_have_kinds_and_what_cannot_be_read_is_counted(ingest_csv):
    content = (
        "customer,day,amount,n,ok,seen,note\n"
        "a,2024-01-01,1,5,true,2024-02-03,  hi \n"
        "b,2024-01-01,2,five,maybe,soon,null\n"
        "c,2024-01-01,3,,,,\n"
    )
    columns = {
        "customer_id": "customer",
        "date": "day",
        "amount": "amount",
        "attributes": {
            "note": "note",
            "number_of": {"column": "n", "kind": "number"},
            "ok": {"column": "ok", "kind": "boolean"},
            "seen": {"column": "seen", "kind": "date"},
        },
    }
    found = ingest_csv(content, columns)
    names = ["note", "number_of", "ok", "seen"]
    assert [[row[name] for name in names] for row in sorted(found.kept, key=str)] == [
        ["hi", 5.0, True, datetime(2024, 2, 3)],
        [None, None, None, None],
        [None, None, None, None],
    ]
    assert found.counts.unreadable_attributes == {"number_of": 1, "ok": 1, "seen": 1}
    assert found.counts.rows_kept == 3


def test_typed_columns_are_taken_as_they_are(ingest, tmp_path):
    table = pa.table(
        {
            "customer": pa.array([17850.0, 12.5, float("nan"), None, 2.0**60]),
            "order": pa.array([1, 2, 3, 4, 5], pa.int32()),
            "day": pa.array([datetime(2024, 1, 1, 23, 30)] * 5, pa.timestamp("ns", "UTC")),
            "amount": pa.array([1, 2, 3, 4, 5], pa.decimal128(10, 2)),
        }
    )
    pq.write_table(table, tmp_path / "orders.parquet")
    columns = {"customer_id": "customer", "order_id": "order", "date": "day", "amount": "amount"}
    source = {"type": "parquet", "path": "orders.parquet"}
    found = ingest(source, columns, time_zone="Europe/Berlin")
    by_order = {row["order_id"]: row for row in found.kept}
    assert {order: row["customer_id"] for order, row in by_order.items()} == {
        "1": "17850",
        "2": "12.5",
        "5": "1.152921504606847e+18",
    }
    assert by_order["1"]["date"] == datetime(2024, 1, 2, 0, 30)
    assert by_order["5"]["amount"] == 5.0
    assert [row["order_id"] for row in found.rejects] == ["3", "4"]


def test_a_number_is_no_date_and_a_list_is_nothing(ingest, tmp_path):
    table = pa.table({"customer": ["a"], "day": [45292], "amount": [1.0], "tags": [["x"]]})
    pq.write_table(table, tmp_path / "orders.parquet")
    source = {"type": "parquet", "path": "orders.parquet"}
    columns = {"customer_id": "customer", "date": "day", "amount": "amount"}
    with pytest.raises(InvalidConfig, match=r"columns.date: 'day' holds whole values, not dates"):
        ingest(source, columns)
    with pytest.raises(InvalidConfig, match=r"columns.customer_id: 'tags' holds lists"):
        ingest(source, {**columns, "customer_id": "tags"})
    dated = table.set_column(1, "day", [["2024-01-01"]])
    pq.write_table(dated.append_column("ok", [[True]]), tmp_path / "orders.parquet")
    with pytest.raises(InvalidExpression, match=r"columns.amount: .*'ok' is a boolean"):
        ingest(source, {**columns, "amount": "amount * ok"})


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"amount": "a *"}, "found the end"),
        ({"attributes": {"amount": "x"}}, "'amount' cannot name an attribute"),
        ({"attributes": {"source": "x"}}, "'source' cannot name an attribute"),
        ({"attributes": {"Row_Key": "x"}}, "'Row_Key' cannot name an attribute"),
        ({"attributes": {"n": "x", "N": "y"}}, "differ in capitals only"),
        ({"attributes": {"my column": "x"}}, "'my column' cannot name an attribute"),
        ({"attributes": {"x": {"column": "x", "kind": "int"}}}, "'number', 'text'"),
        ({"custmer_id": "x"}, "Extra inputs are not permitted"),
    ],
)
def test_a_wrong_mapping_fails_at_load(config, message):
    whole = {"customer_id": "c", "date": "d", "amount": "a", **config}
    with pytest.raises(ValidationError, match=message):
        ColumnMapping(**whole)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"encoding": "utf-88"}, "'utf-88' is not an encoding"),
        ({"source_time_zone": "Europe/Berln"}, "not a time zone"),
        ({"decimal_separator": ",", "thousands_separator": ","}, "are the same"),
        ({"date_formats": ["dd.mm.yyyy"]}, "neither `iso` nor a strptime pattern"),
        ({"date_formats": ["%Q"]}, "'%Q' has the unknown directive %Q"),
        ({"date_formats": []}, "at least 1 item"),
        ({"delimiter": ";;"}, "at most 1 character"),
    ],
)
def test_a_wrong_source_fails_at_load(config, message):
    with pytest.raises(ValidationError, match=message):
        CsvSource(type="csv", path="x.csv", **config)
