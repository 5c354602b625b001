"""Proposals for files as shops and offices write them; each is then read as it is proposed."""

import csv
import gzip
import io
import json
import os
import time
import tracemalloc
from datetime import date, datetime, timedelta
from pathlib import Path

import narwhals as nw
import polars as pl
import pytest
import yaml

from rfm_assets.components import TransactionDataComponent
from rfm_assets.domain.expressions import parse
from rfm_assets.engines.base import collect_rows
from rfm_assets.errors import (
    ColumnsNotRecognised,
    SourceEmpty,
    SourceMissing,
    SourceTruncated,
    SourceUnreadable,
)
from rfm_assets.sources.column_evidence import patterns_of
from rfm_assets.sources.config import ColumnMapping
from rfm_assets.sources.header_words import strength
from rfm_assets.sources.reading import read
from rfm_assets.sources.suggesting import suggest
from rfm_assets.sources.suggestion import ColumnSuggestion, Suggestion
from rfm_assets_tests.components.conftest import Project


class Proposed:
    """A proposal for a file, and what is read by it."""

    def __init__(self, suggestion: Suggestion, rows: list[dict]) -> None:
        self.suggestion, self.rows = suggestion, rows

    def column(self, name: str) -> list:
        return [row[name] for row in self.rows]

    def role(self, role: str) -> ColumnSuggestion:
        (found,) = [one for one in self.suggestion.columns if one.role == role]
        return found

    @property
    def roles(self) -> dict[str, str]:
        return {one.role: one.column for one in self.suggestion.columns if one.role != "attribute"}

    @property
    def notes(self) -> str:
        return "\n".join(self.suggestion.notes)


def component_of(text: str) -> TransactionDataComponent:
    """The YAML as the component judges it."""
    loaded = yaml.safe_load(text)
    assert loaded["type"] == "rfm_assets.components.TransactionDataComponent"
    assert loaded["attributes"]["asset_name"] == "transaction_data"
    return TransactionDataComponent.model_validate_json(
        json.dumps(loaded["attributes"]), strict=True
    )


@pytest.fixture
def propose(engine, tmp_path):
    """Proposes for a file below `tmp_path`, checks the YAML, and reads the file by it."""

    def _propose(name: str, content: str | bytes | None = None, **options) -> Proposed:
        if content is not None:
            write(tmp_path, name, content)
        found = suggest(Path(name), root=tmp_path, **options)
        assert suggest(Path(name), root=tmp_path, **options) == found
        component = component_of(found.yaml())
        assert component.source == found.source
        assert component.columns == found.mapping()
        table = read(found.source, found.mapping(), engine=engine, root=tmp_path).table
        return Proposed(found, collect_rows(table.sort("source_line")))

    return _propose


@pytest.fixture
def rejected(tmp_path):
    """The proposal for a file that misses something, unread."""

    def _rejected(content: str | bytes, name: str = "orders.csv") -> Suggestion:
        write(tmp_path, name, content)
        return suggest(Path(name), root=tmp_path)

    return _rejected


def write(folder: Path, name: str, content: str | bytes) -> None:
    path = folder / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)


def text_of(header: list[str], rows: list[list], *, delimiter: str = ",") -> str:
    stream = io.StringIO()
    csv.writer(stream, delimiter=delimiter).writerows([header, *rows])
    return stream.getvalue()


def days(count: int, pattern: str, *, start: date = date(2024, 1, 1), step: int = 1) -> list[str]:
    return [(start + timedelta(days=step * n)).strftime(pattern) for n in range(count)]


# Whole files.


@pytest.mark.online_retail
def test_online_retail(online_retail, engine):
    began = time.perf_counter()
    found = suggest(online_retail, root=online_retail.parent)
    assert time.perf_counter() - began < 5  # half a second on an idle machine
    roles = {one.role: one.column for one in found.columns if one.role != "attribute"}
    assert roles == {
        "customer_id": "CustomerID",
        "order_id": "InvoiceNo",
        "date": "InvoiceDate",
        "amount": "Quantity * UnitPrice",
    }
    assert all(found.best(role).confidence > 0.8 for role in roles)
    assert {one.name: (one.column, one.kind) for one in found.attributes} == {
        "product_id": ("StockCode", "text"),
        "quantity": ("Quantity", "number"),
        "unit_price": ("UnitPrice", "number"),
        "country": ("Country", "text"),
    }
    assert (found.rows_sampled, found.missing) == (20_000, ())
    reading = read(found.source, found.mapping(), engine=engine, root=online_retail.parent)
    assert reading.rows == 541_909
    (sums,) = collect_rows(reading.table.select(nw.col("amount").sum()))
    assert sums["amount"] == pytest.approx(9_747_747.93, abs=0.005)


SHOPIFY = (
    "Name,Email,Financial Status,Paid at,Fulfillment Status,Fulfilled at,Accepts Marketing,"
    "Currency,Subtotal,Shipping,Taxes,Total,Discount Code,Discount Amount,Shipping Method,"
    "Created at,Lineitem quantity,Lineitem name,Lineitem price,Lineitem sku,Billing Name,"
    "Billing Zip,Billing Country,Phone,Id,Refunded Amount,Source"
)


def shopify() -> str:
    rows: list[list] = []
    for n in range(40):
        when = f"2024-03-{1 + n % 28:02d} 10:15:{n:02d} +0100"
        order = [f"#{1001 + n}", f"c{n % 15}@example.com"]
        first = ["paid", when, "fulfilled", when, "yes", "EUR", 20, 5, 4, f"{25 + n}.00", "", 0]
        line = [when, 2, "Mug", "10.00", "M-1"]
        rest = ["Ann Bee", "10115", "DE", "+49 30 1234567", 4_500_000_000 + n, 0, "web"]
        rows.append([*order, *first, "DHL", *line, *rest])
        rows.append([*order, *[""] * 12, "", when, 1, "Cup", "5.00", "C-1", *[""] * 7])
    return text_of(SHOPIFY.split(","), rows)


def test_shopify(propose):
    found = propose("shopify.csv", shopify())
    assert found.roles == {
        "customer_id": "Email",
        "order_id": "Name",
        "date": "Created at",
        "amount": "Total",
        "currency": "Currency",
    }
    assert "Shopify's export of orders" in found.role("order_id").reason
    assert "Total is empty in 50 % of the rows" in found.notes
    assert found.rows[0]["order_id"] == "#1001"
    assert found.rows[0]["date"] == datetime(2024, 3, 1, 9, 15)
    assert sum(row["amount"] for row in found.rows if row["amount"] is not None) == sum(
        range(25, 65)
    )
    kept = {one.column for one in found.suggestion.attributes}
    assert not kept & {"Email", "Phone", "Billing Name", "Billing Zip"}


GERMAN = (
    "Bestellnummer;Kundennr.;Bestelldatum;Straße;PLZ;Telefon;Artikelgruppe;Gesamtbetrag\n"
    + "".join(
        f"B{n};{4000 + n % 9};{1 + n % 28:02d}.03.2024;Grüner Weg {n};0{1200 + n};0301234{n:03d};"
        f"{'Möbel' if n % 3 else 'Küche'};{1000 + n:,}".replace(",", ".")
        + f",{n:02d}\n"
        for n in range(60)
    )
)


@pytest.mark.parametrize("encoding", ["latin-1", "cp1252", "utf-8", "utf-8-sig", "utf-16"])
def test_a_german_export(propose, encoding):
    found = propose("bestellungen.csv", GERMAN.encode(encoding))
    assert found.roles == {
        "customer_id": "Kundennr.",
        "order_id": "Bestellnummer",
        "date": "Bestelldatum",
        "amount": "Gesamtbetrag",
    }
    source = found.suggestion.source
    assert (source.delimiter, source.decimal_separator) == (";", ",")
    assert (source.thousands_separator, source.date_formats) == (".", ["%d.%m.%Y"])
    assert found.column("amount")[:3] == [1000.0, 1001.01, 1002.02]
    assert found.column("date")[27] == datetime(2024, 3, 28)
    (group,) = found.suggestion.attributes
    assert (group.name, group.column, group.kind) == ("artikelgruppe", "Artikelgruppe", "text")
    assert set(found.column("artikelgruppe")) == {"Möbel", "Küche"}
    if encoding in {"latin-1", "cp1252"}:
        assert source.encoding == "cp1252"
        assert "'Straße' is written right" in found.notes


STRIPE = "id,Description,Created (UTC),Amount,Amount Refunded,Currency,Fee,Customer ID,Status"


def test_stripe_in_cents(propose):
    lines = [
        f"ch_{n:05d},Invoice,2024-02-{1 + n % 28:02d} 08:0{n % 10},{1999 + n},0,usd,30,cus_{n % 7},Paid"
        for n in range(50)
    ]
    found = propose("charges.csv", "\n".join([STRIPE, *lines]))
    assert found.roles == {
        "customer_id": "Customer ID",
        "order_id": "id",
        "date": "Created (UTC)",
        "amount": "Amount / 100",
        "currency": "Currency",
    }
    assert "Stripe writes amounts in cents: Amount / 100 is proposed" in found.notes
    assert found.column("amount")[:2] == [19.99, 20.0]
    assert found.suggestion.source.source_time_zone == "UTC"


def test_stripe_in_whole_units(propose):
    lines = [f"ch_{n},,2024-02-01 08:00,{n}.50,0,usd,1,cus_{n % 7},Paid" for n in range(50)]
    found = propose("charges.csv", "\n".join([STRIPE, *lines]))
    assert found.role("amount").column == "Amount"
    assert "cents" not in found.notes
    yen = [line.replace("usd", "jpy").replace(".50", "00") for line in lines]
    found = propose("charges.csv", "\n".join([STRIPE, *yen]))
    assert found.role("amount").column == "Amount"
    assert found.role("amount").confidence < 0.5
    assert "but not those in JPY" in found.notes


def test_cents_by_name(propose):
    found = propose("o.csv", "customer_id,date,amount_cents\na,2024-01-01,1250\nb,2024-01-02,5\n")
    assert found.role("amount").column == "amount_cents / 100"
    assert found.column("amount") == [12.5, 0.05]


AMAZON = "amazon-order-id\tpurchase-date\tbuyer-email\tsku\tquantity\tcurrency\titem-price\tship-postal-code"


def test_tab_separated_amazon_whose_item_price_is_of_the_line(propose):
    lines = [
        f"302-{n}\t2024-05-{1 + n % 28:02d}T10:00:00+00:00\tb{n % 9}@m.example\tS{n % 4}\t2\tEUR\t{n}.40\t10{n:03d}"
        for n in range(40)
    ]
    found = propose("amazon.txt", "\n".join([AMAZON, *lines]) + "\n")
    assert found.suggestion.source.delimiter == "\t"
    assert found.roles["amount"] == "item-price" or found.roles["amount"] == "`item-price`"
    assert found.roles["customer_id"] == "buyer-email"
    assert found.column("amount")[1] == 1.4
    assert found.column("date")[1] == datetime(2024, 5, 2, 10)


def test_magento_and_woocommerce(propose):
    magento = text_of(
        ["ID", "Purchase Point", "Purchase Date", "Bill-to Name", "Grand Total (Base)",
         "Grand Total (Purchased)", "Status", "Customer Email"],
        [[f"{n:09d}", "Main", f"2024-01-{1 + n % 28:02d} 11:00:00", "A B", f"{n}.5", f"{n}.5",
          "complete", f"m{n % 8}@x.example"] for n in range(40)],
    )  # fmt: skip
    found = propose("magento.csv", magento)
    assert found.roles == {
        "customer_id": "Customer Email",
        "order_id": "ID",
        "date": "Purchase Date",
        "amount": "`Grand Total (Base)`",
    }
    woocommerce = text_of(
        ["order_id", "order_number", "order_date", "status", "customer_id", "billing_email",
         "shipping_total", "tax_total", "order_total", "order_currency"],
        [[n, n, f"2024-01-{1 + n % 28:02d} 11:00:00", "completed", n % 8, f"w{n % 8}@x.example", 4,
          2, n + 0.5, "GBP"] for n in range(40)],
    )  # fmt: skip
    found = propose("woo.csv", woocommerce)
    assert found.roles == {
        "customer_id": "customer_id",
        "order_id": "order_id",
        "date": "order_date",
        "amount": "order_total",
        "currency": "order_currency",
    }


@pytest.mark.parametrize(
    ("header", "delimiter", "pattern", "number"),
    [
        ("numéro client;n° commande;date de commande;montant TTC", ";", "%d/%m/%Y", "12,50"),
        ("código cliente;pedido;fecha;importe", ";", "%d/%m/%Y %H:%M", "1.012,50"),
        ("klantnummer;factuurnummer;factuurdatum;bedrag", ";", "%d-%m-%Y", "12,50"),
        ("codice cliente,ordine,data ordine,importo totale", ",", "%Y-%m-%d", "12.50"),
        ("código do cliente|pedido|data do pedido|valor total", "|", "%d/%m/%y", "1 012,50"),
        ("Customer Number,Invoice,Posting Date,Sales", ",", "%b %d, %Y", "1,012.50"),
        ("MEMBER_NO\tRECEIPT_NO\tTRANS_DATE\tNET_AMT", "\t", "%Y%m%d", "12.50"),
        ("KundenNr;RechnungsNr;Rechnungsdatum;Betrag", ";", "%d.%m.%Y %H:%M:%S", "1'012.50"),
        ("user id,transaction id,timestamp,revenue", ",", "%m/%d/%Y %I:%M %p", "12.50"),
        ("client,facture,date,total", ",", "%d %B %Y", "-12.50"),
    ],
)
def test_languages_and_ways_of_writing(propose, header, delimiter, pattern, number):
    names = header.split(delimiter)
    moments = days(60, pattern)
    rows = [[f"K{n % 11}", f"R{n}", moments[n], number] for n in range(60)]
    found = propose("file.csv", text_of(names, rows, delimiter=delimiter))
    assert [found.roles[role] for role in ("customer_id", "order_id", "date")] == names[:3]
    assert found.roles["amount"].strip("`") == names[3]
    assert min(one.confidence for one in found.suggestion.columns) > 0.35
    expected = float(
        number.replace("'", "").replace(" ", "").replace(",", ".")
        if number.count(",") + number.count(".") < 2
        else "1012.50"
    )
    assert set(found.column("amount")) == {expected}
    assert [moment.date() for moment in found.column("date")] == [
        date(2024, 1, 1) + timedelta(days=n) for n in range(60)
    ]


def test_excel(propose, tmp_path):
    frame = pl.DataFrame(
        {
            "Customer No": [100 + n % 5 for n in range(30)],
            "Order": [f"A{n}" for n in range(30)],
            "Date": [date(2024, 1, 1) + timedelta(days=n) for n in range(30)],
            "Qty": [2] * 30,
            "Price": [1.25 + n for n in range(30)],
        }
    )
    frame.to_pandas().to_excel(tmp_path / "orders.xlsx", index=False)
    found = propose("orders.xlsx")
    assert found.suggestion.source.type == "excel"
    assert found.roles["amount"] == "Qty * Price"
    assert found.rows[0]["customer_id"] == "100"
    assert found.column("amount")[:2] == [2.5, 4.5]
    assert found.column("date")[1] == datetime(2024, 1, 2)


def test_a_cover_sheet_is_passed_over(propose, tmp_path):
    import pandas as pd

    frame = pd.DataFrame({"customer": ["a", "b"], "day": ["2024-01-01"] * 2, "total": [1.5, 2.5]})
    with pd.ExcelWriter(tmp_path / "book.xlsx") as book:
        pd.DataFrame({"Report": ["for 2024"]}).to_excel(book, sheet_name="Cover", index=False)
        frame.to_excel(book, sheet_name="Data", index=False)
    found = propose("book.xlsx")
    assert found.suggestion.source.sheet == "Data"
    assert "The sheet 'Data' is proposed" in found.notes
    assert found.column("amount") == [1.5, 2.5]


def test_parquet(propose, tmp_path):
    pl.DataFrame(
        {
            "client_id": [n % 50 for n in range(5_000)],
            "created_at": [datetime(2024, 1, 1) + timedelta(hours=n) for n in range(5_000)],
            "is_gift": [n % 3 == 0 for n in range(5_000)],
            "tags": [["a"]] * 5_000,
            "net_amount": [n / 4 for n in range(5_000)],
        }
    ).write_parquet(tmp_path / "orders.parquet", row_group_size=1_000)
    found = propose("orders.parquet", sample_rows=500)
    assert found.roles == {"customer_id": "client_id", "date": "created_at", "amount": "net_amount"}
    assert (found.suggestion.rows_sampled, len(found.rows)) == (500, 5_000)
    assert [(one.column, one.kind) for one in found.suggestion.attributes] == [
        ("is_gift", "boolean")
    ]


def test_types_of_parquet(propose, tmp_path):
    frame = pl.DataFrame(
        {
            "customer": [f"c{n % 9}" for n in range(60)],
            "ordered_at": [datetime(2024, 1, 1) + timedelta(days=n) for n in range(60)],
            "total": [f"{n}.25" for n in range(60)],
            "channel": ["web", "shop"] * 30,
            "nothing": [None] * 60,
        }
    ).with_columns(
        pl.col("ordered_at").dt.replace_time_zone("Europe/Berlin"),
        pl.col("total").cast(pl.Decimal(10, 2)),
        pl.col("channel").cast(pl.Categorical),
    )
    frame.write_parquet(tmp_path / "typed.parquet")
    found = propose("typed.parquet")
    assert found.roles == {"customer_id": "customer", "date": "ordered_at", "amount": "total"}
    assert found.column("amount")[:2] == [0.25, 1.25]
    assert found.column("channel")[:2] == ["web", "shop"]


def test_of_several_files_the_first_is_looked_at(propose):
    text = "customer,day,amount\na,2024-01-01,1.5\nb,2024-01-02,2\n"
    propose("in/1.csv", text)
    propose("in/2.csv", text)
    found = propose("in/*.csv")
    assert len(found.rows) == 4
    assert "Only in/1.csv was looked at, the first of 2 files." in found.notes


# Dates.


def dated(values: list[str], *, currency: str | None = None, delimiter: str = ",") -> str:
    header = ["customer", "date", "amount", *(["currency"] if currency else [])]
    rows = [[f"c{n % 5}", v, n, *([currency] if currency else [])] for n, v in enumerate(values)]
    return text_of(header, rows, delimiter=delimiter)


def test_a_day_above_twelve_decides(propose):
    found = propose("o.csv", dated(["03/04/2024", "05/06/2024", "13/04/2024"] * 9))
    assert found.suggestion.source.date_formats == ["%d/%m/%Y"]
    assert found.role("date").confidence > 0.9
    assert (
        "2 formats of dates fit: 03/04/2024 may be day or month first; day first is proposed "
        "because 13/04/2024 occurs" in found.notes
    )
    found = propose("o.csv", dated(["03/04/2024", "05/06/2024", "04/13/2024"] * 9))
    assert found.suggestion.source.date_formats == ["%m/%d/%Y"]
    assert found.column("date")[2] == datetime(2024, 4, 13)


def test_the_deciding_day_may_stand_at_the_end_of_the_sample(propose):
    found = propose("o.csv", dated([*["03/04/2024 10:00"] * 15_000, "13/04/2024 10:00"]))
    assert found.suggestion.source.date_formats == ["%d/%m/%Y %H:%M"]


def test_ambiguous_dates_have_low_confidence_and_a_note(propose):
    values = ["03/04/2024", "02/01/2024", "05/09/2024", "11/02/2024"] * 5
    found = propose("o.csv", dated(values))
    assert found.suggestion.source.date_formats == ["%d/%m/%Y"]
    assert found.role("date").confidence < 0.4
    assert "may be day or month first" in found.notes
    assert "Check it with a row you know" in found.notes
    found = propose("o.csv", dated(values, currency="USD"))
    assert found.suggestion.source.date_formats == ["%m/%d/%Y"]
    assert found.role("date").confidence < 0.4
    assert "the amounts are in US dollars" in found.notes


def test_sorted_rows_tell_the_order_of_ambiguous_dates(propose):
    values = [f"{month:02d}/{day:02d}/2024" for month in range(1, 13) for day in range(1, 13, 2)]
    found = propose("o.csv", dated(values))
    assert found.suggestion.source.date_formats == ["%m/%d/%Y"]
    assert 0.5 < found.role("date").confidence < 0.8
    assert "because the rows are sorted by date then" in found.notes


def test_dates_that_contradict_each_other(propose):
    found = propose("o.csv", dated([*["14/02/2024"] * 16, *["02/15/2024"] * 3]))
    assert found.suggestion.source.date_formats == ["%d/%m/%Y"]
    assert found.role("date").confidence < 0.4
    assert "3 such as 02/15/2024 month first alone" in found.notes
    assert found.column("date")[-1] is None


def test_dates_of_which_too_few_are_read(rejected):
    found = rejected(dated([*["14/02/2024"] * 12, *["02/15/2024"] * 8]))
    assert found.missing == ("date",)
    assert "date: only 60 % of its values are read as dates" in "\n".join(found.notes)


def test_two_ways_of_writing_dates_are_both_declared(propose):
    found = propose("o.csv", dated([*["2024-01-31"] * 12, *["31.01.2024"] * 8]))
    assert found.suggestion.source.date_formats == ["iso", "%d.%m.%Y"]
    assert set(found.column("date")) == {datetime(2024, 1, 31)}


def test_the_date_of_the_order_is_preferred(propose):
    header = ["customer_id", "birth date", "shipped_at", "order_date", "updated_at", "total"]
    rows = [[n, "1980-01-01", "2024-01-03", "2024-01-01", "2024-02-01", n + 0.5] for n in range(9)]
    found = propose("o.csv", text_of(header, rows))
    assert found.roles["date"] == "order_date"


@pytest.mark.parametrize(
    ("value", "patterns"),
    [
        ("2024-12-31", ("iso",)),
        ("2024-12-31T10:00:00.123Z", ("iso",)),
        ("2024/12/31 10:00", ("iso",)),
        ("2024.12.31", ("%Y.%m.%d",)),
        ("31.12.2024, 10:00", ("%d.%m.%Y, %H:%M", "%m.%d.%Y, %H:%M")),
        ("1/2/24", ("%d/%m/%y", "%m/%d/%y")),
        ("20241231", ("%Y%m%d",)),
        ("20241231101500", ("%Y%m%d%H%M%S",)),
        ("Tue, 31 Dec 2024 10:00:00 +0100", ("%a, %d %b %Y %H:%M:%S %z",)),
        ("31-Dec-24", ("%d-%b-%y",)),
        ("December 31, 2024 at 10:00 PM", ("%B %d, %Y at %I:%M %p",)),
        ("31.12.2024 10:00 UTC", ("%d.%m.%Y %H:%M UTC", "%m.%d.%Y %H:%M UTC")),
        ("1.2.3", ()),
        ("03/04/2024 later", ()),
        ("31 Foo 2024", ()),
        ("1234.56", ()),
        ("", ()),
    ],
)
def test_patterns(value, patterns):
    assert patterns_of(value) == patterns


# Amounts.


def test_a_total_goes_before_quantity_times_price(propose):
    header = ["customer_id", "date", "quantity", "unit_price", "line_total"]
    rows = [["a", "2024-01-01", 2, 1.5, 3], ["b", "2024-01-02", 3, 2, 6]] * 5
    found = propose("o.csv", text_of(header, rows))
    assert found.roles["amount"] == "line_total"


def test_a_total_of_the_order_on_each_line_would_count_twice(propose):
    header = ["customer_id", "order_id", "date", "quantity", "price", "order_total"]
    rows = [
        [f"c{n % 4}", n, "2024-01-01", line, 2.5, 2.5 * 6] for n in range(10) for line in (1, 2, 3)
    ]
    found = propose("o.csv", text_of(header, rows))
    assert found.roles["amount"] == "quantity * price"
    assert "order_total is the same in all lines of an order" in found.notes
    assert sum(found.column("amount")) == 150
    without = [[*row[:3], row[5]] for row in rows]
    found = propose("o.csv", text_of([*header[:3], header[5]], without))
    assert found.roles["amount"] == "order_total"
    assert found.role("amount").confidence < 0.5
    assert "counts it several times" in found.notes


def test_names_that_an_expression_must_quote(propose):
    header = ["Customer ID", "Order Date", "Item Qty", "Price each"]
    found = propose("o.csv", text_of(header, [["a", "2024-01-01", 2, 1.5]] * 3))
    assert found.roles["amount"] == "`Item Qty` * `Price each`"
    assert found.column("amount") == [3.0] * 3


NO_AMOUNT = ["row", "customer_id", "date", "phone", "zip", "email"]


def test_row_numbers_phones_postcodes_and_addresses_are_no_amount(rejected):
    rows = [
        [n, f"c{n % 9}", "2024-01-01", 4930123456 + n, 10115 + n, f"a{n}@b.example"]
        for n in range(60)
    ]
    found = rejected(text_of(NO_AMOUNT, rows))
    assert found.missing == ("amount",)
    plain = text_of(["a1", "customer_id", "date", "a2", "a3", "a4"], rows)
    assert rejected(plain).missing == ("amount",)


def test_numbers_with_cents_are_a_guess_and_say_so(propose):
    rows = [[f"c{n % 5}", "2024-01-01", f"{n}.{n + 10}"] for n in range(30)]
    found = propose("o.csv", text_of(["customer_id", "date", "xyz"], rows))
    assert found.role("amount").column == "xyz"
    assert found.role("amount").confidence <= 0.3
    assert "Only its values speak for it" in found.role("amount").reason


def test_amounts_with_a_sign_of_currency_cannot_be_read(rejected):
    found = rejected(text_of(["customer_id", "date", "amount"], [["a", "2024-01-01", "$5.00"]] * 9))
    assert found.missing == ("amount",)
    assert "'$5.00', which are not read as numbers" in "\n".join(found.notes)


def test_values_that_cannot_be_read_are_mentioned(propose):
    rows = [[f"c{n % 5}", "2024-01-01", f"{n}.5" if n % 10 else f"({n}.5)"] for n in range(50)]
    found = propose("o.csv", text_of(["customer_id", "date", "amount"], rows))
    assert (
        "10 % of the values of amount cannot be read, such as '(0.5)'; such rows are set aside."
    ) in found.notes
    assert found.role("amount").confidence == 0.81


def test_an_amount_that_is_not_read_at_all(rejected):
    rows = [[f"c{n % 5}", "2024-01-01", f"1\u00a0{200 + n},5"] for n in range(50)]
    found = rejected(text_of(["client", "date", "montant"], rows, delimiter=";"))
    assert found.missing == ("amount",)
    assert "montant has the name of an amount, but values such as" in "\n".join(found.notes)


def test_a_quoted_name_is_not_kept_a_second_time(propose):
    rows = [[f"c{n % 5}", "2024-01-01", n + 0.5, n] for n in range(50)]
    found = propose("o.csv", text_of(["client", "date", "Total TTC", "Brutto"], rows))
    assert found.roles["amount"] == "`Total TTC`"
    assert "Total TTC" not in {one.column for one in found.suggestion.attributes}
    found = propose("o.csv", text_of(["client", "date", "comment", "Brutto"], rows))
    assert found.roles["amount"] == "Brutto"


def test_three_digits_after_the_only_sign_are_doubtful(propose):
    rows = [["a", "2024-01-01", value] for value in ("1,250", "2,300", "12,100")]
    found = propose("o.csv", text_of(["customer_id", "date", "amount"], rows))
    assert found.column("amount") == [1250.0, 2300.0, 12100.0]
    assert "three digits after their only ','" in found.notes


# Customers and orders.


def test_an_address_stands_for_a_customer_only_where_no_id_does(propose):
    header = ["Email", "customer_id", "date", "amount"]
    rows = [[f"a{n % 7}@b.example", n % 7, "2024-01-01", n + 0.5] for n in range(40)]
    assert propose("o.csv", text_of(header, rows)).roles["customer_id"] == "customer_id"
    found = propose("o.csv", text_of([header[0], *header[2:]], [[r[0], *r[2:]] for r in rows]))
    assert found.roles["customer_id"] == "Email"
    assert found.role("customer_id").confidence <= 0.6
    assert "which tell customers apart where no id does" in found.role("customer_id").reason


def test_without_a_customer_there_is_no_mapping(rejected):
    rows = [[n, "2024-01-01", n + 0.5, "DE"] for n in range(40)]
    found = rejected(text_of(["order_id", "date", "amount", "country"], rows))
    assert found.missing == ("customer_id",)
    for ask in (found.mapping, found.yaml):
        with pytest.raises(ColumnsNotRecognised) as caught:
            ask()
    assert str(caught.value) == (
        "orders.csv: no column was recognised as customer_id. Name it yourself under `columns`. "
        "There are 'order_id', 'date', 'amount', 'country'."
    )


def test_an_order_with_several_customers_is_doubted(propose):
    rows = [[f"c{n}", n % 5, "2024-01-01", n + 0.5] for n in range(40)]
    found = propose("o.csv", text_of(["customer_id", "order_id", "date", "amount"], rows))
    assert found.role("order_id").confidence < 0.5
    assert "5 have more than one customer" in found.role("order_id").reason


def test_times_in_seconds_are_named(rejected):
    rows = [[f"c{n}", 1_704_067_200 + n, n + 0.5] for n in range(40)]
    found = rejected(text_of(["customer_id", "created", "amount"], rows))
    assert found.missing == ("date",)
    assert "created holds times as seconds since 1970" in "\n".join(found.notes)


@pytest.mark.parametrize(
    ("name", "role"),
    [
        ("Kundennummer", "customer_id"),
        ("custid", "customer_id"),
        ("bestelnummer", "order_id"),
        ("Rechnungsdatum", "date"),
        ("preço unitário", "unit_price"),
        ("Stück", "quantity"),
        ("orderTotal", "amount"),
        ("Währung", "currency"),
    ],
)
def test_names(name, role):
    roles = ("customer_id", "order_id", "date", "amount", "unit_price", "quantity", "currency")
    found = {one: strength(one, name) for one in roles}
    if name == "Stück":
        assert found[role] == 0
        return
    assert max(found, key=found.get) == role
    assert found[role] > 0.8


@pytest.mark.parametrize(
    "name",
    ["tax_total", "shipping", "Discount Amount", "Refunded Amount", "customer_since", "total_items",
     "order_status", "unit cost", "Order Line ID", "customer_country", "balance", "lorem", ""],
)  # fmt: skip
def test_names_that_are_no_role(name):
    roles = ("customer_id", "order_id", "date", "amount", "unit_price", "currency")
    assert {strength(role, name) for role in roles} == {0.0}


# What can be wrong with a file.


@pytest.mark.parametrize(
    ("content", "error", "message"),
    [
        (b"", SourceEmpty, "orders.csv: the file has 0 bytes"),
        (b"\n\n", SourceEmpty, "orders.csv: the file has no line"),
        ("customer_id,date,amount\n", SourceEmpty, "it has a header and no row below it"),
        ("\ncustomer_id,date,amount\n", SourceUnreadable, "its first line is blank"),
        ("customer\na\nb\n", SourceUnreadable, "it has one column, whether split by comma"),
        ("a 2024-01-01 5\nb 2024-01-02 6\n", SourceUnreadable, "it has one column"),
        ("sep=;\na;b\n1;2\n", SourceUnreadable, "Remove that line; the delimiter is ';'"),
        (
            "Report of 2024\ncustomer,date,amount\na,2024-01-01,5\nb,2024-01-01,5\n",
            SourceUnreadable,
            "its first line has 1 value, and most lines below have 3",
        ),
        (
            "c1,2024-01-01,5.5\nc2,2024-01-02,6\nc3,2024-01-03,1\n",
            SourceUnreadable,
            r"names no columns \('2024-01-01'",
        ),
        (
            "4711,17,5.5\n4712,18,6\n4712,19,6\n",
            SourceUnreadable,
            "its first line is a row like the others",
        ),
        (b"\x00\x01\x02" * 700, SourceUnreadable, "it holds binary data, not text"),
        (bytes(range(1, 9)) * 300 + b",\n", SourceUnreadable, "it holds binary data, not text"),
        (b"%PDF-1.7 ....", SourceUnreadable, "it is a PDF, not a CSV file"),
        (b"PK\x03\x04" + bytes(200), SourceTruncated, "cut off inside the workbook"),
        (b"PAR1" + bytes(100), SourceTruncated, "cut off before its footer"),
        (b"\0" * 8 + b"DUCK" + bytes(100), SourceUnreadable, "it is a DuckDB database"),
    ],
)
def test_files_that_nothing_can_be_proposed_for(rejected, content, error, message):
    with pytest.raises(error, match=message):
        rejected(content)


def test_a_missing_and_a_cut_file(rejected, tmp_path):
    with pytest.raises(SourceMissing, match=r"nowhere.csv: no such file"):
        suggest(Path("nowhere.csv"), root=tmp_path)
    whole = gzip.compress(os.urandom(60_000).hex().encode())
    with pytest.raises(SourceTruncated, match="the file is cut off"):
        rejected(whole[: len(whole) // 2], "orders.csv.gz")


def test_random_bytes(rejected):
    with pytest.raises((SourceUnreadable, SourceTruncated)):
        rejected(b"\xfe" + os.urandom(5_000))


def test_a_quote_that_never_closes(rejected):
    with pytest.raises(SourceUnreadable, match="field larger than field limit"):
        rejected('customer,date,amount\na,"2024-01-01,5\n' + "a,2024-01-01,5\n" * 20_000)


def test_lines_of_another_width_are_mentioned(propose):
    text = "customer,date,amount\n" + "a,2024-01-01,5\n" * 20 + "a,b\n"
    assert "1 of 21 lines have more or fewer values" in propose("o.csv", text).notes


def test_columns_that_cannot_be_told_apart_are_left_out(propose):
    text = "customer,date,amount,Extra,extra,\n" + "a,2024-01-01,5,x,y,z\n" * 20
    assert "the columns 'Extra', 'extra'" in propose("o.csv", text).notes


def test_single_quotes(propose):
    text = "'customer','date','amount'\n" + "'a,b','2024-01-01','5'\n" * 9
    found = propose("o.csv", text)
    assert found.suggestion.source.quote == "'"
    assert set(found.column("customer_id")) == {"a,b"}


# What is handed out.


def test_the_yaml_is_accepted_by_a_project(tmp_path, monkeypatch):
    project = Project(tmp_path / "project")
    monkeypatch.syspath_prepend(project.root)
    write(project.root, "bestellungen.csv", GERMAN.encode("latin-1"))
    found = suggest(Path("bestellungen.csv"), root=project.root)
    project.write("transaction_data", found.yaml())
    assert project.problems() == []
    assert project.component(TransactionDataComponent).columns == found.mapping()
    assert "# 0.98: Its name says order;" in found.yaml()


def test_odd_names_survive_the_yaml(propose):
    header = ["customer: id", "date", "# amount", "yes", 'say "it"', "{{ x }}", "amount"]
    rows = [
        [f"c{n % 3}", "2024-01-01", n + 0.5, "ab"[n % 2], "uv"[n % 2], "t", "hi"] for n in range(20)
    ]
    found = propose("o.csv", text_of(header, rows))
    assert found.roles["customer_id"] == "customer: id"
    assert found.roles["amount"] == "`# amount`"
    assert {one.name for one in found.suggestion.attributes} >= {"yes", "say_it"}
    assert "'{{ x }}'" in found.notes


def test_names_that_ingestion_makes_itself_are_not_taken(propose):
    header = ["customer_id", "order_date", "total", "Source", "source_line", "Day"]
    rows = [
        [n % 3, "2024-01-01", n + 0.5, "ab"[n % 2], "uv"[n % 2], "xy"[n % 2]] for n in range(20)
    ]
    found = propose("o.csv", text_of(header, rows))
    names = {one.column: one.name for one in found.suggestion.attributes}
    assert names["source_line"] == "source_line_value"
    assert isinstance(found.suggestion.mapping(), ColumnMapping)
    assert parse(found.roles["amount"])


def test_of_a_wide_table_fewer_rows_are_looked_at(propose):
    names = [f"x{n}" for n in range(197)]
    rows = [[f"c{n % 5}", "2024-01-01", n + 0.5, *[n % 7] * 197] for n in range(3_000)]
    found = propose("o.csv", text_of(["customer", "date", "amount", *names], rows))
    assert found.suggestion.rows_sampled == 2_000
    assert len(found.suggestion.attributes) == 12
    assert "185 more columns could be kept" in found.notes


def test_a_large_file_is_not_read(tmp_path):
    line = "c{0},o{0},2024-01-01 10:00:00,some text that fills the line,{0}.50\n"
    text = "customer,order,date,note,amount\n" + "".join(line.format(n) for n in range(500_000))
    write(tmp_path, "large.csv", text)
    write(tmp_path, "large.csv.gz", gzip.compress(text.encode(), compresslevel=1))
    for name in ("large.csv", "large.csv.gz"):
        tracemalloc.start()
        found = suggest(Path(name), root=tmp_path)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert found.rows_sampled == 20_000
        assert peak < 100e6  # the whole file would be ten times as much, as Python's texts
