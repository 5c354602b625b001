"""CSV files: whole, broken, cut, empty, in other encodings; and where their lines are."""

import gzip
import os

import pytest

from rfm_assets.errors import (
    ColumnMissing,
    SourceEmpty,
    SourceMissing,
    SourceTruncated,
    SourceUnreadable,
)

HEADER = "customer,order,day,amount\n"
ROWS = "a,o1,2024-01-01,1.5\nb,o2,2024-01-02,2\n"


def many(count: int) -> str:
    return HEADER + "".join(f"c{n},o{n},2024-01-01,{n}\n" for n in range(1, count + 1))


def test_rows_keep_their_lines_and_values(ingest_csv):
    found = ingest_csv(HEADER + ROWS + ",o3,2024-01-03,3\n")
    assert found.column("customer_id") == ["a", "b"]
    assert found.column("order_id") == ["o1", "o2"]
    assert found.column("amount") == [1.5, 2.0]
    assert found.column("day") == [19723, 19724]
    assert found.rejects == [
        {
            "source": "orders.csv",
            "source_line": 4,
            "reason": "missing_customer_id",
            "detail": None,
            "customer_id": None,
            "order_id": "o3",
            "date": "2024-01-03",
            "amount": "3",
        }
    ]
    assert found.counts.as_dict() == {
        "rows_in": 3,
        "rows_kept": 2,
        "rows_rejected": 1,
        "rows_dropped": 0,
        "rejected/missing_customer_id": 1,
    }


@pytest.mark.parametrize("name", ["orders.csv.gz", "orders.csv"])
def test_gzip_is_told_by_content(ingest_csv, name):
    assert ingest_csv(gzip.compress((HEADER + ROWS).encode()), name=name).counts.rows_kept == 2


def test_a_plain_file_may_be_called_gz(ingest_csv):
    assert ingest_csv(HEADER + ROWS, name="orders.csv.gz").counts.rows_kept == 2


def test_lines_with_too_few_or_too_many_values_are_set_aside(ingest_csv):
    found = ingest_csv(HEADER + "a,o1,2024-01-01\n" + ROWS + "b,o2,2024-01-02,2,9,9\n,,,\n")
    assert found.reasons == [
        (2, "malformed_line"),
        (5, "malformed_line"),
        (6, "missing_customer_id"),
    ]
    assert found.rejects[0]["detail"] == "missing columns: a,o1,2024-01-01"
    assert found.rejects[1]["detail"] == "too many columns: b,o2,2024-01-02,2,9,9"
    assert found.counts.rows_in == 5


def test_lines_are_those_of_the_file_though_values_hold_line_ends_and_lines_are_blank(ingest_csv):
    content = (
        HEADER  # 1
        + 'a,"o\n1",2024-01-01,1\n'  # 2, 3
        + "\n"  # 4
        + ",o2,2024-01-01,1\n"  # 5
        + "too,few\n"  # 6
        + 'b,"o\r\n\n3",2024-01-01,1\n'  # 7, 8, 9
        + "\r\n\n"  # 10, 11
        + "too,few,again\n"  # 12
        + ",o4,2024-01-01,1\n"  # 13
        + 'c,"say ""hi""",2024-01-01,1\n'  # 14
        + ",o5,2024-01-01,1"  # 15
    )
    found = ingest_csv(content)
    assert found.reasons == [
        (5, "missing_customer_id"),
        (6, "malformed_line"),
        (12, "malformed_line"),
        (13, "missing_customer_id"),
        (15, "missing_customer_id"),
    ]
    assert sorted(row["order_id"] for row in found.kept) == ["o\n\n3", "o\n1", 'say "hi"']


def test_line_numbers_hold_in_a_large_file_read_by_several_threads(ingest_csv):
    lines = many(400_000).splitlines()
    for at in (10, 11, 12, 200_000, 399_999):
        lines[at] = "broken"
    lines[300_000] = ",o,2024-01-01,1"
    found = ingest_csv("\n".join(lines) + "\n")
    assert found.reasons == [
        (11, "malformed_line"),
        (12, "malformed_line"),
        (13, "malformed_line"),
        (200_001, "malformed_line"),
        (300_001, "missing_customer_id"),
        (400_000, "malformed_line"),
    ]
    assert found.counts.rows_in == 400_000


def test_an_empty_file_is_an_error_and_a_header_alone_is_no_row(ingest_csv):
    with pytest.raises(SourceEmpty, match=r"orders.csv: the file has 0 bytes"):
        ingest_csv("")
    with pytest.raises(SourceEmpty, match=r"orders.csv: the file has no line"):
        ingest_csv("\n\n")
    with pytest.raises(SourceEmpty, match=r"orders.csv.gz: the file has no line"):
        ingest_csv(gzip.compress(b""), name="orders.csv.gz")
    assert ingest_csv(HEADER).counts.as_dict() == {
        "rows_in": 0,
        "rows_kept": 0,
        "rows_rejected": 0,
        "rows_dropped": 0,
    }


@pytest.mark.parametrize("share", [0.1, 0.5, 0.99, 0.9999])
def test_a_gzip_file_cut_anywhere_is_refused(ingest_csv, share):
    whole = gzip.compress(many(50_000).encode())
    with pytest.raises(SourceTruncated, match=r"orders.csv.gz: the file is cut off"):
        ingest_csv(whole[: int(len(whole) * share)], name="orders.csv.gz")


def test_a_gzip_file_without_its_last_bytes_or_with_wrong_ones_is_refused(ingest_csv):
    whole = gzip.compress(many(5_000).encode())
    with pytest.raises(SourceTruncated):
        ingest_csv(whole[:-1], name="orders.csv.gz")
    damaged = bytearray(whole)
    damaged[-6] ^= 255
    with pytest.raises(SourceUnreadable, match="compressed data are damaged"):
        ingest_csv(bytes(damaged), name="orders.csv.gz")
    damaged = bytearray(whole)
    damaged[len(whole) // 2] ^= 255
    with pytest.raises((SourceUnreadable, SourceTruncated)):
        ingest_csv(bytes(damaged), name="orders.csv.gz")


@pytest.mark.parametrize("compress", [False, True])
def test_a_file_cut_inside_a_line_is_refused(ingest_csv, compress):
    content = many(1_000).encode()
    content = content[: content.rindex(b",")]
    with pytest.raises(SourceTruncated, match="cut off inside line 1001"):
        ingest_csv(gzip.compress(content) if compress else content)


def test_a_file_cut_inside_quotes_is_refused(ingest_csv):
    with pytest.raises(SourceTruncated, match="cut off inside line 4"):
        ingest_csv(HEADER + ROWS + 'c,"o')


def test_a_missing_line_end_at_the_end_is_no_cut(ingest_csv):
    assert ingest_csv((HEADER + ROWS).rstrip("\n")).counts.rows_kept == 2


def test_a_quote_that_never_closes_is_refused_because_it_swallows_lines(ingest_csv):
    with pytest.raises(SourceUnreadable, match="starts with a quote in line 3"):
        ingest_csv(HEADER + 'a,o1,2024-01-01,1\nb,"o2,2024-01-01,1\n' + "c,o,2024-01-01,1\n" * 9)


def test_binary_data_and_other_formats_are_named(ingest_csv):
    with pytest.raises(SourceUnreadable, match=r"binary data|not utf-8 text"):
        ingest_csv(b"\x00\x01" + os.urandom(2000))
    with pytest.raises(SourceUnreadable, match="zip archive or an Excel workbook, not a CSV"):
        ingest_csv(b"PK\x03\x04" + bytes(100))
    with pytest.raises(SourceUnreadable, match="it is a Parquet file"):
        ingest_csv(b"PAR1" + bytes(100))


def test_a_missing_file_lists_what_lies_there(ingest_csv, ingest):
    ingest_csv(HEADER + ROWS, name="order_lines.csv")
    with pytest.raises(SourceMissing, match=r"orders.csv: no such file .* holds order_lines.csv"):
        ingest({"type": "csv", "path": "orders.csv"})
    with pytest.raises(SourceMissing, match=r"\*.gz: no such file"):
        ingest({"type": "csv", "path": "*.gz"})


def test_a_renamed_column_names_the_nearest_and_all_there_are(ingest_csv):
    with pytest.raises(ColumnMissing) as caught:
        ingest_csv(HEADER.replace("customer", "Customer ID") + ROWS)
    assert "column 'customer' (named by `columns.customer_id`) does not exist" in str(caught.value)
    assert "Did you mean 'Customer ID'? Allowed: 'Customer ID', 'order', 'day', 'amount'" in str(
        caught.value
    )


@pytest.mark.parametrize("encoding", ["latin-1", "cp1252", "utf-16", "utf-8-sig"])
def test_other_encodings_are_read_as_declared(ingest_csv, encoding):
    content = (HEADER + ROWS + "é,o3,2024-01-03,3\n").encode(encoding)
    assert ingest_csv(content, encoding=encoding).column("customer_id") == ["a", "b", "é"]


def test_a_byte_order_mark_is_no_part_of_the_first_name(ingest_csv):
    content = ("\ufeff" + HEADER + ROWS).encode()
    assert ingest_csv(content).column("customer_id") == ["a", "b"]


def test_undecodable_bytes_are_set_aside_by_line_or_refused(ingest_csv):
    content = (HEADER + ROWS).encode() + "é,o3,2024-01-03,3\n".encode("latin-1")
    found = ingest_csv(content)
    assert found.reasons == [(4, "malformed_line")]
    assert found.rejects[0]["detail"].startswith("invalid encoding: ")
    with pytest.raises(SourceUnreadable, match="from line 1 on it holds bytes that are no ascii"):
        ingest_csv(content, encoding="ascii")
    with pytest.raises(SourceUnreadable, match=r"first line is not utf-8 text. Declare `encoding`"):
        ingest_csv((HEADER.replace("day", "Größe") + ROWS).encode("latin-1"))


@pytest.mark.parametrize("ends", ["\r\n", "\r"])
def test_other_line_ends(ingest_csv, ends):
    found = ingest_csv((HEADER + ROWS + ",o3,2024-01-03,3\n").replace("\n", ends))
    assert (found.counts.rows_kept, found.reasons) == (2, [(4, "missing_customer_id")])


def test_mixed_line_ends(ingest_csv):
    found = ingest_csv(HEADER + ROWS.replace("\n", "\r\n") + ",o3,2024-01-03,3\n")
    assert (found.counts.rows_kept, found.reasons) == (2, [(4, "missing_customer_id")])


def test_another_dialect(ingest_csv):
    content = "customer;order;day;amount\n'a;b';o1;31.12.2023;1.234,50\nc;o2;01.01.2024;-7\n"
    found = ingest_csv(
        content,
        delimiter=";",
        quote="'",
        decimal_separator=",",
        thousands_separator=".",
        date_formats=["%d.%m.%Y"],
    )
    assert found.column("customer_id") == ["a;b", "c"]
    assert found.column("amount") == [1234.5, -7.0]
    assert found.column("day") == [19722, 19723]


def test_columns_may_be_unnamed_or_called_like_ours(ingest_csv):
    content = "date,amount,price,,,day,source\n2024-01-01,2,3,x,y,c1,s\n,5,6,x,y,c2,s\n"
    columns = {
        "customer_id": "day",
        "date": "date",
        "amount": "amount * price",
        "attributes": {"origin": "source"},
    }
    found = ingest_csv(content, columns)
    assert found.kept[0]["customer_id"] == "c1"
    assert found.kept[0]["amount"] == 6.0
    assert found.kept[0]["origin"] == "s"
    assert found.rejects[0]["amount"] == "amount=5, price=6"


def test_columns_that_cannot_be_told_apart_are_refused_if_they_are_used(ingest_csv):
    content = HEADER.replace("\n", ",Amount,extra,extra\n") + "a,o,2024-01-01,1,2,3,4\n"
    assert ingest_csv(content).column("amount") == [1.0]
    simple = {"customer_id": "customer", "date": "day", "amount": "amount + Amount"}
    with pytest.raises(SourceUnreadable, match="Amount and amount differ in capitals only"):
        ingest_csv(content, simple)
    with pytest.raises(SourceUnreadable, match="its header names 'extra' twice"):
        ingest_csv(content, {**simple, "amount": "extra"})


def test_several_files_are_one_source_each_with_lines_of_its_own(ingest_csv, ingest):
    ingest_csv(HEADER + ROWS + "short\n,o,2024-01-01,1\n", name="b.csv")
    ingest_csv("amount,day,order,customer\n3,2024-01-03,o3,c\n1,2024-01-01,o,\n", name="a.csv")
    for path in ("*.csv", ["b.csv", "a.csv"], "."):
        found = ingest({"type": "csv", "path": path})
        assert found.column("customer_id") == ["a", "b", "c"]
        assert [(row["source"], row["source_line"]) for row in found.rejects] == [
            ("a.csv", 3),
            ("b.csv", 4),
            ("b.csv", 5),
        ]


def test_a_folder_stands_for_its_files_plain_and_compressed(ingest_csv, ingest, tmp_path):
    ingest_csv(HEADER + "a,o,2024-01-01,1\n", name="a.csv")
    ingest_csv(gzip.compress((HEADER + "b,o,2024-01-01,2\n").encode()), name="b.csv.gz")
    (tmp_path / "notes.txt").write_text("not a table")
    assert ingest({"type": "csv", "path": "."}).column("customer_id") == ["a", "b"]


def test_the_fingerprint_follows_the_content(ingest_csv, ingest, tmp_path):
    first = ingest_csv(HEADER + ROWS).reading.source_fingerprint
    assert ingest_csv(HEADER + ROWS).reading.source_fingerprint == first
    assert ingest_csv(HEADER + ROWS.replace("1.5", "1.6")).reading.source_fingerprint != first
    (tmp_path / "orders.csv").rename(tmp_path / "other.csv")
    renamed = ingest({"type": "csv", "path": "other.csv"}).reading.source_fingerprint
    assert renamed not in {first, ""}


def test_brackets_in_a_name_are_no_pattern(ingest_csv, tmp_path):
    (tmp_path / "orders1.csv").write_text(HEADER + "wrong,o1,2024-01-01,999\n")
    found = ingest_csv(HEADER + ROWS, name="orders[1].csv")
    assert found.column("customer_id") == ["a", "b"]


@pytest.mark.parametrize("blank", ["\n", "\r\n\r\n", "\ufeff\n"])
def test_blank_lines_above_the_header_are_refused(ingest_csv, blank):
    with pytest.raises(SourceUnreadable, match=r"orders.csv: its first line is blank"):
        ingest_csv(blank + HEADER + ROWS)


def test_a_file_beside_its_compressed_copy_is_refused(ingest, tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "o.csv").write_text(HEADER + ROWS)
    (folder / "o.csv.gz").write_bytes(gzip.compress((HEADER + ROWS).encode()))
    for path in ("in", "in/*.csv*"):
        with pytest.raises(SourceUnreadable, match=r"in/o.csv: o.csv.gz lies beside it"):
            ingest({"type": "csv", "path": path})
    assert ingest({"type": "csv", "path": "in/*.csv"}).counts.rows_in == 2


def test_the_rows_read_are_counted_apart_from_what_becomes_of_them(ingest_csv):
    found = ingest_csv(HEADER + "a,o1\n" + ROWS + "\n,,,\n" + ROWS, policy={"refunds": "exclude"})
    assert (found.reading.rows, found.counts.rows_in) == (6, 6)
