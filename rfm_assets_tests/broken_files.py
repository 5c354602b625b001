"""Files of orders with something wrong in each, as people have them."""

import gzip
import io
import json
import random
from collections.abc import Callable, Mapping
from datetime import date, timedelta
from pathlib import Path

import openpyxl
import polars as pl

HEADER = "customer_id,order_id,order_date,amount"


def order_lines(
    count: int = 600,
    *,
    amount: Callable[[random.Random], str] = lambda dice: f"{dice.uniform(5, 90):.2f}",
    day: Callable[[random.Random], str] = lambda dice: str(
        date(2025, 1, 1) + timedelta(days=dice.randrange(300))
    ),
) -> list[str]:
    """Orders of ninety customers, the same each time."""
    dice = random.Random(1)
    return [
        f"C{dice.randrange(90)},O{number},{day(dice)},{amount(dice)}" for number in range(count)
    ]


def text(lines: list[str], header: str = HEADER) -> str:
    return "\n".join([header, *lines]) + "\n"


GOOD = text(order_lines())


def _with_line(number: int, *lines: str) -> str:
    kept = GOOD.splitlines()
    for index, line in enumerate(lines):
        kept[number - 1 + index] = line
    return "\n".join(kept) + "\n"


def _parquet() -> bytes:
    target = io.BytesIO()
    pl.read_csv(GOOD.encode()).write_parquet(target)
    return target.getvalue()


def _workbook() -> bytes:
    target = io.BytesIO()
    book = openpyxl.Workbook()
    for line in GOOD.splitlines():
        book.active.append(line.split(","))
    book.save(target)
    return target.getvalue()


def _records() -> str:
    names = HEADER.split(",")
    lines = GOOD.splitlines()[1:50]
    return json.dumps([dict(zip(names, line.split(","), strict=True)) for line in lines], indent=1)


PACKED = gzip.compress(GOOD.encode())
NOISE = random.Random(2).randbytes(20_000)

CONTENT: Mapping[str, bytes | str] = {
    "good.csv": GOOD,
    "good.csv.gz": PACKED,
    "good.parquet": _parquet(),
    "good.xlsx": _workbook(),
    "empty.csv": "",
    "header_only.csv": HEADER + "\n",
    "binary.csv": NOISE,
    "latin.csv": GOOD.replace("customer_id", "Käufer").replace("C1", "Jürgen").encode("latin-1"),
    "utf16.csv": GOOD.encode("utf-16"),
    "unclosed_quote.csv": _with_line(6, 'C1,"O5,2025-02-02,12.00'),
    "ragged.csv": _with_line(8, "C1,O6,2025-02-02,1.00,more,and more", "C1,O7"),
    "twins.csv": GOOD.replace("order_id", "amount", 1),
    "no_customer.csv": GOOD.replace("customer_id", "color", 1).replace("order_id", "thing", 1),
    "bad_dates.csv": text(order_lines(day=lambda _: "soon")),
    "bad_amounts.csv": text(order_lines(amount=lambda _: "lots")),
    "half_bad.csv": text([*order_lines(200), *order_lines(400, amount=lambda _: "oops")]),
    "decimal_comma.csv": GOOD.replace(",", ";").replace(".", ","),
    "one_column.csv": "\n".join(line.split(",")[0] for line in GOOD.splitlines()) + "\n",
    "cut.csv.gz": PACKED[: len(PACKED) // 2],
    "cut.parquet": _parquet()[: len(_parquet()) // 2],
    "corrupt.xlsx": b"PK\x03\x04" + NOISE[:3000],
    "locked.xlsx": b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
    + bytes(1000)
    + "EncryptedPackage".encode("utf-16-le")
    + bytes(1000),
    "future.csv": text(order_lines(day=lambda _: "2190-03-01")),
    "refunds.csv": text(order_lines(amount=lambda dice: f"-{dice.uniform(5, 90):.2f}")),
    "page.csv": "<!DOCTYPE html>\n<html><body><table><tr><td>a, b</td></tr></table></body></html>\n",
    "json.csv": _records(),
    "zero.csv.gz": b"",
    "packed_nothing.csv.gz": gzip.compress(b""),
    "two_currencies.csv": text(
        [f"{line},{('EUR', 'USD')[i % 2]}" for i, line in enumerate(order_lines())],
        HEADER + ",currency",
    ),
}


def write(name: str, folder: Path) -> Path:
    """One of the files."""
    content = CONTENT[name]
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path
