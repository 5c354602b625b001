"""Reading tables of customers: typed attributes, and values that cannot be read."""

import os
from datetime import UTC, datetime

import openpyxl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pydantic import TypeAdapter, ValidationError

from rfm_assets.engines.base import collect_rows
from rfm_assets.errors import ColumnMissing, SourceStale
from rfm_assets.sources.config import Attribute, ColumnMapping
from rfm_assets.sources.customers import FileSource, read_customers
from rfm_assets.sources.files import require_younger

CONSENT = {"column": "ok", "kind": "boolean"}
GERMAN = {**CONSENT, "true_words": ["ja"], "false_words": ["Nein"]}


@pytest.fixture
def customers(engine, tmp_path):
    """Reads a source whose customers stand in the column `id`."""

    def _read(path="k.csv", **attributes):
        kind = {"csv": "csv", "xlsx": "excel", "parquet": "parquet"}[path.rpartition(".")[2]]
        return read_customers(
            TypeAdapter(FileSource).validate_python({"type": kind, "path": path}),
            customer_id="id",
            attributes={name: Attribute(**given) for name, given in attributes.items()},
            engine=engine,
            root=tmp_path,
        )

    return _read


def values(reading, name):
    return {row["customer_id"]: row[name] for row in collect_rows(reading.table)}


def write(folder, *words):
    lines = [f"{number},{word}\n" for number, word in enumerate(words)]
    (folder / "k.csv").write_text("id,ok\n" + "".join(lines))


def test_words_of_a_boolean(customers, tmp_path):
    write(tmp_path, "yes", "No", " Y ", "n", "1", "0", "TRUE", "f", "1.0", "0.0", "", "n/a")
    found = customers(consent=CONSENT)
    assert [*values(found, "consent").values()] == [True, False] * 5 + [None, None]
    assert found.unreadable == {"consent": 0}


def test_words_that_are_not_understood_are_counted_and_others_can_be_declared(customers, tmp_path):
    write(tmp_path, "ja", "nein", "JA", "", "yes")
    found = customers(consent=CONSENT, german=GERMAN)
    assert [*values(found, "consent").values()] == [None, None, None, None, True]
    assert [*values(found, "german").values()] == [True, False, True, None, None]
    assert found.unreadable == {"consent": 3, "german": 1}


def test_unreadable_values_of_other_kinds_and_of_nobody(customers, tmp_path):
    (tmp_path / "k.csv").write_text("id,day,n\n1,2024-01-31,5\n2,soon,five\n3,,\n,never,x\n")
    attributes = {
        "since": {"column": "day", "kind": "date"},
        "orders": {"column": "n", "kind": "number"},
        "text": {"column": "day"},
    }
    found = customers(**attributes)
    assert found.unreadable == {"since": 1, "orders": 1, "text": 0}
    assert values(found, "since") == {"1": datetime(2024, 1, 31), "2": None, "3": None}
    assert (found.rows, found.rows_without_customer) == (3, 1)
    assert found.table.columns == ["customer_id", *attributes]


def test_typed_columns_are_read_by_the_same_words(customers, tmp_path):
    table = {"id": ["a", "b", "c", "d"], "flag": [True, False, None, True]}
    table |= {"bit": [1, 0, None, 2], "share": [1.0, 0.0, None, 0.5]}
    pq.write_table(pa.table(table), tmp_path / "k.parquet")
    given = {name: {**CONSENT, "column": name} for name in ("flag", "bit", "share")}
    found = customers("k.parquet", **given)
    assert [*values(found, "flag").values()] == [True, False, None, True]
    assert [*values(found, "bit").values()] == [True, False, None, None]
    assert [*values(found, "share").values()] == [True, False, None, None]
    assert found.unreadable == {"flag": 0, "bit": 1, "share": 1}


def test_days_as_numbers_of_a_spreadsheet_are_unreadable(customers, tmp_path):
    book = openpyxl.Workbook()
    for row in (["id", "day"], ["a", 45_000], ["b", None]):
        book.active.append(row)
    book.save(tmp_path / "k.xlsx")
    found = customers("k.xlsx", since={"column": "day", "kind": "date"})
    assert (found.unreadable, values(found, "since")) == ({"since": 1}, {"a": None, "b": None})


def test_every_parquet_file_has_the_attributes(customers, tmp_path):
    for name in ("1", "2"):
        pq.write_table(pa.table({"id": ["a"], f"ok{name}": [True]}), tmp_path / f"{name}.parquet")
    with pytest.raises(ColumnMissing, match=r"2.parquet: column 'ok1'"):
        customers("*.parquet", consent={**CONSENT, "column": "ok1"})


def test_a_source_is_as_old_as_its_oldest_file(customers, tmp_path):
    for name, day in (("1.csv", 1), ("2.csv", 20)):
        (tmp_path / name).write_text(f"id,ok\n{name},yes\n")
        written = datetime(2024, 1, day, tzinfo=UTC).timestamp()
        os.utime(tmp_path / name, (written, written))
    found = customers("*.csv", consent=CONSENT)
    assert found.written_at == datetime(2024, 1, 1, tzinfo=UTC)
    with pytest.raises(SourceStale, match=r"19.0 days ago.*Nothing is published"):
        require_younger(found.name, found.written_at, 10, now=datetime(2024, 1, 20, tzinfo=UTC))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"true_words": ["ja"]}, "true_words need `kind: boolean`"),
        ({**CONSENT, "true_words": ["JA", "nein "], "false_words": ["Nein"]}, "nein cannot mean"),
        ({**CONSENT, "false_words": [" "]}, "an empty word"),
        ({**CONSENT, "false_words": []}, "at least 1 item"),
    ],
)
def test_wrong_words_fail_at_load(given, message):
    with pytest.raises(ValidationError, match=message):
        Attribute(**{"column": "ok", **given})


def test_attributes_of_transactions_have_words_too(ingest_csv):
    columns = {"customer_id": "c", "date": "d", "amount": "a"}
    columns["attributes"] = {
        "consent": {**CONSENT, "column": "k"},
        "german": {**GERMAN, "column": "k"},
    }
    found = ingest_csv("c,d,a,k\nx,2024-01-01,1,ja\ny,2024-01-01,2,no\n", columns)
    assert found.column("consent") == [None, False]
    assert found.column("german") == [True, None]
    assert found.counts.unreadable_attributes == {"consent": 1, "german": 1}


def test_attribute_names_of_transactions_are_free():
    for name in ("customer_id", "Amount", "as of"):
        with pytest.raises(ValidationError, match="cannot name an attribute"):
            ColumnMapping(customer_id="c", date="d", amount="a", attributes={name: "x"})
