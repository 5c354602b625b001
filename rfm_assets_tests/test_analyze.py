"""`rfm analyze`: what it finds in a file of orders, where it puts it, and what it says of bad files."""

import csv
import json
import subprocess
import sys
from datetime import date
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any

import openpyxl
import polars as pl
import pytest
import yaml
from typer.testing import CliRunner, Result

from rfm_assets import analysis
from rfm_assets.cli import app
from rfm_assets.loading import load_table
from rfm_assets.serving.customers import customer_card
from rfm_assets.serving.queries import Queries
from rfm_assets.store import Snapshot, Store
from rfm_assets_tests.broken_files import CONTENT, GOOD, order_lines, text, write
from rfm_assets_tests.components import conftest as components
from rfm_assets_tests.components.conftest import Project

project = components.project


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def analyze(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["analyze", *arguments], env={"COLUMNS": "200"})


def document(*arguments: str) -> dict[str, Any]:
    done = analyze(*arguments, "--json")
    assert done.exit_code == 0, done.stderr
    return json.loads(done.stdout)


WORKS = ("good.csv", "good.csv.gz", "good.parquet", "good.xlsx", "utf16.csv", "decimal_comma.csv")


@pytest.mark.parametrize("name", WORKS)
def test_the_same_orders_give_the_same_segments_whatever_the_file(here: Path, name: str) -> None:
    write(name, here)
    write("good.csv", here)
    expected = document("good.csv", "--format", "csv", "--out", "expected")
    found = document(name, "--format", "csv", "--out", "found")
    assert found["segments"] == expected["segments"]
    assert found["counts"] == expected["counts"]


def test_it_says_what_it_took_for_what_and_what_came_out(here: Path) -> None:
    write("good.csv", here)
    done = analyze("good.csv")

    assert done.exit_code == 0, done.stderr
    for column in ("customer_id", "order_id", "order_date", "amount"):
        assert column in done.stdout
    assert "Its name says customer" in done.stdout
    assert "described as of 2025-10-28, the day after the newest usable row" in done.stdout
    assert "Champions" in done.stdout
    assert "600 rows read, 600 used, 0 set aside." in done.stdout
    assert "there are 90 customers who have bought, and 200 are needed" in done.stdout
    assert "rfm serve --store good-analysis/store" in done.stdout
    assert {"customers.csv", "segments.csv", "analysis.xlsx", "store"} <= {
        path.name for path in (here / "good-analysis").iterdir()
    }


def test_one_document_holds_all_of_it_and_adds_up(here: Path) -> None:
    write("ragged.csv", here)
    found = document("ragged.csv", "--out", "out", "--as-of", "2025-10-01", "--days", "90")

    counts = found["counts"]
    assert counts["rows_in"] == counts["rows_kept"] + counts["rows_rejected"] == 600
    assert sum(one["customers"] for one in found["segments"]) == counts["customers_segmented"]
    assert counts["customers_seen"] == counts["customers_segmented"] + counts["customers_excluded"]
    assert (found["as_of"], found["as_of_given"]) == ("2025-10-01", True)
    first = found["rejects"]["malformed_line"]["first"]
    assert [one["source_line"] for one in first] == [8, 9]
    assert all(Path(path).exists() for path in found["files"].values())


def test_what_is_stored_is_what_a_component_stores(here: Path) -> None:
    write("good.csv", here)
    found = document("good.csv", "--out", "out")

    store = Store(here / "out" / "store")
    assert store.tables() == ["customer_segments", "segment_summary", "transaction_data_rejects"]
    snapshot = store.snapshot("customer_segments", date(2025, 10, 28))
    assert snapshot.manifest.extra["scheme"]["id"] == "rfm_10"
    assert snapshot.manifest.extra["config"]["analysis_period_days"] == 365
    assert snapshot.manifest.source_fingerprint.startswith("sha256:")
    assert all(check.passed for check in snapshot.manifest.checks)
    queries = Queries(store)
    try:
        card = customer_card(queries, snapshot, "C7")
    finally:
        queries.close()
    assert card is not None
    assert card.explanation is not None
    assert card.explanation.segment in {one["segment"] for one in found["segments"]}


def test_an_analysis_replaces_the_one_before_and_nothing_else(here: Path) -> None:
    write("good.csv", here)
    (here / "out").mkdir()
    (here / "out" / "mine.txt").write_text("kept", encoding="utf-8")
    document("good.csv", "--out", "out", "--as-of", "2025-10-28")
    document("good.csv", "--out", "out", "--as-of", "2025-09-01", "--format", "csv")

    assert Store(here / "out" / "store").dates("customer_segments") == [date(2025, 9, 1)]
    names = {path.name for path in (here / "out").iterdir()}
    assert names == {"mine.txt", "customers.csv", "segments.csv", "store"}

    Store(here / "out" / "store").stage("campaign", None).path_for().mkdir(parents=True)
    refused = analyze("good.csv", "--out", "out")
    assert refused.exit_code == 2
    assert "holds tables that no analysis makes (campaign)" in refused.stderr


def test_no_cell_of_a_file_runs_as_a_formula(here: Path) -> None:
    evil = '=HYPERLINK("http://a.example")'
    lines = [
        line.replace("C1,", f'"{evil.replace(chr(34), chr(34) * 2)}",') for line in order_lines()
    ]
    (here / "evil.csv").write_text(text(lines), encoding="utf-8")
    document("evil.csv", "--out", "out")

    with (here / "out" / "customers.csv").open(encoding="utf-8", newline="") as file:
        ids = [row["customer_id"] for row in csv.DictReader(file)]
    assert f"'{evil}" in ids
    assert not [one for one in ids if one.startswith("=")]
    book = openpyxl.load_workbook(here / "out" / "analysis.xlsx")
    assert book.sheetnames == ["segments", "customers", "rejects", "about"]
    cells = {cell.value: cell.data_type for (cell, *_) in book["customers"].iter_rows()}
    assert cells[evil] in {"s", "inlineStr"}
    assert len(cells) == 91


def test_the_workbook_has_the_stored_numbers(here: Path) -> None:
    write("ragged.csv", here)
    document("ragged.csv", "--out", "out")
    stored = load_table("customer_segments", root=here / "out" / "store")
    sheet = openpyxl.load_workbook(here / "out" / "analysis.xlsx")["customers"]
    names, *rows = [[cell.value for cell in row] for row in sheet.iter_rows()]
    money = {row[0]: row[names.index("monetary")] for row in rows}
    assert money == dict(zip(stored["customer_id"], stored["monetary"], strict=True))
    rejects = pl.read_csv(here / "out" / "rejects.csv")
    assert rejects["reason"].to_list() == ["malformed_line", "malformed_line"]


def test_a_proposal_is_a_component_that_loads(here: Path, project: Project) -> None:
    write("good.csv", here)
    done = analyze("good.csv", "--suggest", "--decimal", ",", "--customer", "order_id")
    assert done.exit_code == 0, done.stderr
    content = yaml.safe_load(done.stdout)
    assert content["type"] == "rfm_assets.components.TransactionDataComponent"
    attributes = content["attributes"]
    assert attributes["columns"]["customer_id"] == "order_id"
    assert "order_id" not in attributes["columns"]
    assert attributes["source"]["decimal_separator"] == ","
    assert Path(attributes["source"]["path"]) == here / "good.csv"
    project.write("transactions", done.stdout)
    project.load().get_repository_def()

    assert analyze("good.csv", "--suggest", "--out", "defs").exit_code == 0
    assert yaml.safe_load((here / "defs" / "defs.yaml").read_text("utf-8"))["type"]


def test_a_guess_is_not_gone_on_with(here: Path) -> None:
    (here / "odd.csv").write_text(GOOD.replace("amount", "zzz", 1), encoding="utf-8")
    done = analyze("odd.csv")
    assert done.exit_code == 2
    assert "not sure enough what is what: amount is zzz, perhaps (0.30)" in done.stderr
    assert "say so: --amount 'zzz'" in done.stderr
    assert analyze("odd.csv", "--amount", "zzz").exit_code == 0


def test_a_folder_that_cannot_be_written_is_told(here: Path) -> None:
    write("good.csv", here)
    for options in (["--out", "good.csv"], ["--suggest", "--out", "good.csv/x"]):
        done = analyze("good.csv", *options)
        assert done.exit_code == 2
        assert "cannot be used: Not a directory" in done.stderr
        assert "partition" not in done.stderr


def test_several_files_are_one(here: Path) -> None:
    write("good.csv", here)
    lines = [line.replace("C", "D") for line in order_lines()]
    (here / "more.csv").write_text(text(lines), encoding="utf-8")
    found = document("*.csv", "--format", "csv", "--out", "out")
    assert found["counts"]["rows_in"] == 1_200
    assert found["counts"]["customers_seen"] == 180


def test_quiet_says_nothing(here: Path) -> None:
    write("good.csv", here)
    done = analyze("good.csv", "--quiet", "--format", "csv,excel", "--format", "csv")
    assert (done.exit_code, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.parametrize("error", [KeyboardInterrupt(), RuntimeError("Query interrupted")])
def test_an_interruption_leaves_nothing_behind(
    here: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    write("good.csv", here)

    def stop(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(analysis, "publish_summary", stop)
    done = analyze("good.csv")
    assert done.exit_code == 130
    assert "Interrupted. Nothing was written." in done.stderr
    assert [path.name for path in here.iterdir()] == ["good.csv"]


def test_the_report_is_written_of_the_stored_segments(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write("good.csv", here)
    name = "rfm_assets.serving.report"
    report = ModuleType(name)
    report.__spec__ = ModuleSpec(name, None)

    def write_report(queries: Queries, snapshot: Snapshot, target: Path) -> None:
        target.write_text(f"{snapshot.as_of} {queries.page(snapshot).total}", encoding="utf-8")

    report.write_report = write_report  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, name, report)
    found = document("good.csv", "--format", "html", "--out", "out")
    assert set(found["files"]) == {"report.html", "store"}
    assert (here / "out" / "report.html").read_text("utf-8") == "2025-10-28 90"


def test_a_check_refuses_with_another_exit_code(here: Path) -> None:
    write("half_bad.csv", here)
    done = analyze("half_bad.csv", "--amount", "amount")
    assert done.exit_code == 1
    assert "refused by the check reject_rate: 400 of 600 rows set aside" in done.stderr
    assert "400 invalid_amount, first in line 202, 203, 204 ('oops'" in done.stderr
    assert [path.name for path in here.iterdir()] == ["half_bad.csv"]


BROKEN = {
    "empty.csv": ["the file has 0 bytes", "check the export"],
    "header_only.csv": ["it has a header and no row below it", "check the export"],
    "binary.csv": ["it holds binary data, not text", "export it as CSV"],
    "a_folder": ["it is a folder", "Name a file in it", "'a_folder/*.csv'"],
    "missing.csv": ["no such file", "That folder holds a_folder, good.csv"],
    "nowhere/missing.csv": ["no such file", "Check the path"],
    "unclosed_quote.csv": ["starts with a quote in line 6 does not end", "Close the quote"],
    "twins.csv": ["cannot be told apart: the columns 'amount'; rename them", "--amount COLUMN"],
    "no_customer.csv": ["no column was recognised as customer_id", "--customer COLUMN", "'color'"],
    "bad_dates.csv": ["order_date has the name of a date", "'soon'", "--date COLUMN"],
    "bad_amounts.csv": ["amount has the name of an amount", "'lots'", "--amount COLUMN"],
    "half_bad.csv": ["values such as 'oops' are not read as numbers (67 % of them)"],
    "one_column.csv": ["it has one column", "export them side by side"],
    "cut.csv.gz": ["the file is cut off inside its compressed data", "copy or export it again"],
    "cut.parquet": ["the file is cut off before its footer", "copy or export it again"],
    "corrupt.xlsx": ["the file is cut off inside the workbook", "copy or export it again"],
    "locked.xlsx": ["it is protected by a password", "remove the password"],
    "future.csv": ["none of its 600 rows can be used", "future_date, first in line 2, 3, 4"],
    "refunds.csv": ["no row is a purchase", "--amount '-COLUMN'"],
    "page.csv": ["it is a web page or XML", "Export the table itself as CSV"],
    "json.csv": ["it is JSON, not a table", "Export it as CSV"],
    "zero.csv.gz": ["the file has 0 bytes", "check the export"],
    "packed_nothing.csv.gz": ["the file has no line", "check the export"],
    "two_currencies.csv": ["EUR (300 rows), USD (300 rows)", "one currency"],
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_file_is_told_with_the_place_and_what_to_do(here: Path, name: str) -> None:
    write("good.csv", here)
    (here / "a_folder").mkdir()
    if name in CONTENT:
        write(name, here)
    done = analyze(name)

    assert done.exit_code == 2, done.output
    assert isinstance(done.exception, SystemExit)
    message = " ".join(done.stderr.split())
    assert name in message
    for words in BROKEN[name]:
        assert words in message
    assert "`" not in message, "keys of YAML mean nothing here"
    assert not list(here.glob("*-analysis"))


def test_what_can_be_read_is_read_and_the_rest_told(here: Path) -> None:
    write("ragged.csv", here)
    ragged = analyze("ragged.csv")
    assert "2 malformed_line, first in line 8, 9" in ragged.stdout
    write("latin.csv", here)
    latin = analyze("latin.csv")
    assert latin.exit_code == 0, latin.stderr
    assert "is not UTF-8; the encoding cp1252 is proposed. See whether 'Käufer'" in latin.stdout


MISTAKES = [
    (["--encoding", "bogus"], "'bogus' is not an encoding"),
    (["--delimiter", ";;"], "is not one character"),
    (["--delimiter", ";"], "it has one column, whether split by ';'"),
    (["--customer", "custmer_id"], "Did you mean 'customer_id'?"),
    (["--amount", "amount *"], "expression is wrong at character 9"),
    (["--amount", "amnt * 2"], "column 'amnt' (named by"),
    (["--scoring", "foo"], "Allowed: 'quintiles', 'quartiles', 'deciles'"),
    (["--scheme", "foo"], "neither a packaged scheme nor a file"),
    (["--as-of", "heute"], "is not a date"),
    (["--as-of", "2020-01-01"], "its rows are from 2025-01-01 to 2025-10-27"),
    (["--format", "pdf"], "Allowed: 'csv', 'excel', 'html'"),
    (["--decimal", "x"], "Input should be '.' or ','"),
    (["--sheet", "x"], "is not an Excel workbook"),
    (["--date-format", "%Q"], "unknown directive %Q"),
    (["--days", "0"], "--days"),
]


@pytest.mark.parametrize(("options", "words"), MISTAKES)
def test_a_mistake_in_an_option_is_told(here: Path, options: list[str], words: str) -> None:
    write("good.csv", here)
    done = analyze("good.csv", *options)
    assert done.exit_code == 2
    assert words in " ".join(done.stderr.split())


def test_dagster_is_not_imported(here: Path) -> None:
    write("good.csv", here)
    script = (
        "import sys\nfrom rfm_assets.cli import app\n"
        "app(['analyze', 'good.csv', '--quiet', '--format', 'csv,excel'], standalone_mode=False)\n"
        "assert not [m for m in sys.modules if m.partition('.')[0] in "
        "{'dagster', 'sklearn'}]\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True, cwd=here)


@pytest.mark.online_retail
def test_a_year_of_a_wholesaler(online_retail: Path, tmp_path: Path) -> None:
    # Linux counts what a process held before it became another program, and this one holds half a
    # gigabyte: a small one in between starts the command, on two cores as it is promised.
    script = (
        "import os, resource, subprocess, sys\n"
        "os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:2])\n"
        "command = [sys.executable, '-m', 'rfm_assets.cli', 'analyze', sys.argv[1], '--json']\n"
        "with open('said.json', 'w', encoding='utf-8') as said:\n"
        "    subprocess.run(command, check=True, stdout=said, stderr=subprocess.DEVNULL)\n"
        "used = resource.getrusage(resource.RUSAGE_CHILDREN)\n"
        "print(used.ru_maxrss, used.ru_utime + used.ru_stime)\n"
    )
    command = [sys.executable, "-c", script, str(online_retail)]
    done = subprocess.run(command, check=True, cwd=tmp_path, capture_output=True, text=True)
    kilobytes, seconds = map(float, done.stdout.split())
    assert kilobytes <= 500 * 1024
    # Of computing; how long that takes on a busy machine says nothing.
    assert seconds < 20

    found = json.loads((tmp_path / "said.json").read_text("utf-8"))
    counts = found["counts"]
    assert counts["rows_in"] == 541_909
    assert counts["rejected/missing_customer_id"] == counts["rows_rejected"] == 135_080
    assert counts["customers_seen"] == 4_372
    assert (found["first_day"], found["last_day"]) == ("2010-12-01", "2011-12-09")
    assert found["as_of"] == "2011-12-10"
    assert {one["role"]: one["column"] for one in found["columns"]} == {
        "customer_id": "CustomerID",
        "order_id": "InvoiceNo",
        "date": "InvoiceDate",
        "amount": "Quantity * UnitPrice",
    }
    champions = next(one for one in found["segments"] if one["segment"] == "Champions")
    assert 5 <= champions["customers_pct"] <= 10
    # Everybody who ever bought, also those who did so before the window.
    assert found["lifetime_value"]["customers"] == 4_338
    rejects = openpyxl.load_workbook(found_path(tmp_path, found), read_only=True)["rejects"]
    assert rejects.max_row == 10_001


def found_path(folder: Path, found: dict[str, Any]) -> Path:
    return folder / found["files"]["analysis.xlsx"]
