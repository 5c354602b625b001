"""`rfm show`, `rfm explain`, `rfm export`: they say and write what is stored."""

import json
from pathlib import Path

import openpyxl
import polars as pl
import pyarrow as pa
import pytest
from typer.testing import CliRunner, Result

from rfm_assets.cli import app
from rfm_assets.loading import load_table
from rfm_assets.store import Store
from rfm_assets_tests.broken_files import write


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The store of an analysis."""
    folder = tmp_path_factory.mktemp("analysis")
    file = write("ragged.csv", folder)
    done = CliRunner().invoke(
        app, ["analyze", str(file), "--out", str(folder / "out"), "--format", "csv", "--days", "60"]
    )
    assert done.exit_code == 0, done.stderr
    return folder / "out" / "store"


def rfm(root: Path, *arguments: str) -> Result:
    return CliRunner().invoke(app, [*arguments, "--store", str(root)], env={"COLUMNS": "200"})


def test_a_customer_is_explained_by_the_stored_rules(root: Path) -> None:
    rows = load_table("customer_segments", root=root)
    for row in rows.head(5).itertuples():
        done = rfm(root, "explain", row.customer_id)
        assert done.exit_code == 0, done.stderr
        assert f"{row.customer_id} as of 2025-10-28: {row.segment}" in done.stdout
        assert f"R_score {row.R_score} of 5: {row.recency} days" in done.stdout
        assert f"-> {row.segment}" in done.stdout
        assert "cut points:" in done.stdout
        assert "History" in done.stdout

        told = json.loads(rfm(root, "explain", row.customer_id, "--json").stdout)
        assert told["row"]["segment"] == row.segment == told["explanation"]["segment"]
        fired = told["explanation"]["fired"]
        assert told["explanation"]["rules"][fired - 1]["segment"] == row.segment
        assert all(len(one["failed"]) == 1 for one in told["explanation"]["near_misses"])


def test_who_is_left_out_or_unknown_is_told(root: Path) -> None:
    excluded = load_table("customer_segments", root=root, part="excluded")["customer_id"][0]
    left_out = rfm(root, "explain", excluded)
    assert left_out.exit_code == 0
    assert "left out, inactive" in left_out.stdout
    assert "Nothing in the observation window" in left_out.stdout

    unknown = rfm(root, "explain", "nobody")
    assert unknown.exit_code == 2
    assert "knows no customer 'nobody'" in unknown.stderr
    assert rfm(root, "explain", excluded, "--as-of", "2020-01-01").exit_code != 0


def test_what_is_stored_is_shown(root: Path) -> None:
    assert "Segments as of 2025-10-28" in rfm(root, "show").stdout
    told = json.loads(rfm(root, "show", "--json").stdout)
    assert set(told) == {"customer_segments", "segment_summary", "transaction_data_rejects"}
    summary = told["segment_summary"]["rows"]
    rows = told["customer_segments"]["row_counts"]["rows"]
    assert sum(one["customers"] for one in summary) == rows
    dated = json.loads(rfm(root, "show", "--json", "--as-of", "2025-10-28").stdout)
    assert dated == told

    table = rfm(root, "show", "--table", "transaction_data_rejects")
    assert "2 of 2 rows" in table.stdout
    whole = rfm(root, "show", "--json", "--table", "transaction_data_rejects")
    assert "malformed_line" in whole.stdout


def test_nothing_is_shown_of_an_empty_store(tmp_path: Path) -> None:
    done = rfm(tmp_path / "none", "show")
    assert done.exit_code == 1
    assert "Nothing is stored" in done.stdout


@pytest.mark.parametrize("ending", ["csv", "xlsx", "parquet", "ndjson", "arrow"])
def test_an_export_holds_the_rows_asked_for(root: Path, tmp_path: Path, ending: str) -> None:
    target = tmp_path / f"found.{ending}"
    done = rfm(
        root,
        "export",
        "customer_segments",
        *("--to", str(target), "--columns", "customer_id,monetary,last_purchase_date"),
        *("--where", "frequency>=2", "--where", "monetary<=300"),
    )
    assert done.exit_code == 0, done.stderr
    rows = load_table("customer_segments", root=root, kind="polars").filter(
        (pl.col("frequency") >= 2) & (pl.col("monetary") <= 300)
    )
    assert f"{len(rows):,} rows of customer_segments as of 2025-10-28" in done.stdout
    assert len(rows) > 5
    if ending == "xlsx":
        sheet = openpyxl.load_workbook(target).active
        header, *cells = sheet.iter_rows(values_only=True)
        found = pl.DataFrame(cells, schema=list(header), orient="row")
    elif ending == "arrow":
        with pa.ipc.open_stream(target.read_bytes()) as stream:
            found = pl.DataFrame(stream.read_all())
    else:
        readers = {"csv": pl.read_csv, "parquet": pl.read_parquet, "ndjson": pl.read_ndjson}
        found = readers[ending](target)
    assert found.columns == ["customer_id", "monetary", "last_purchase_date"]
    assert found["customer_id"].to_list() == rows["customer_id"].to_list()
    assert found["monetary"].to_list() == rows["monetary"].to_list()
    assert str(found["last_purchase_date"][0])[:10] == str(rows["last_purchase_date"][0])
    assert [path.name for path in tmp_path.iterdir()] == [target.name]


def test_a_part_is_exported_and_told_as_json(root: Path, tmp_path: Path) -> None:
    target = tmp_path / "excluded.csv"
    done = rfm(
        root, "export", "customer_segments", "--part", "excluded", "--to", str(target), "--json"
    )
    told = json.loads(done.stdout)
    assert told["rows"] == len(pl.read_csv(target)) > 0
    assert (told["as_of"], told["part"]) == ("2025-10-28", "excluded")


def test_a_file_is_replaced_only_if_that_is_said(root: Path, tmp_path: Path) -> None:
    target = tmp_path / "found.csv"
    target.write_text("mine", encoding="utf-8")
    refused = rfm(root, "export", "segment_summary", "--to", str(target))
    assert "is there already" in str(refused.exception)
    assert target.read_text(encoding="utf-8") == "mine"
    assert rfm(root, "export", "segment_summary", "--to", str(target), "--force").exit_code == 0
    assert len(pl.read_csv(target)) == 10


def test_a_value_that_nobody_has_is_told(root: Path, tmp_path: Path) -> None:
    target = tmp_path / "found.csv"
    asked = ["--where", "segment=Loyal Customer", "--where", "customer_id=nobody"]
    done = rfm(root, "export", "customer_segments", "--to", str(target), *asked)
    assert done.exit_code == 0
    assert "0 rows of customer_segments" in done.stdout
    words = " ".join(done.stderr.split())
    assert "No segment is 'Loyal Customer'. Did you mean 'Loyal Customers'?" in words
    # Ids are many, and nothing to guess at.
    assert "nobody" not in words
    assert pl.read_csv(target).is_empty()
    # Nor where there are few.
    few = ["export", "transaction_data_rejects", "--to", str(tmp_path / "few.csv")]
    assert "No " not in rfm(root, *few, "--where", "customer_id=nobody").stderr


MISTAKES = [
    (["--to", "x.txt"], "InvalidConfig"),
    (["--to", "x.csv", "--where", "monetary>=much"], "InvalidConfig"),
    (["--to", "x.csv", "--where", "monetary"], "InvalidConfig"),
    (["--to", "x.csv", "--where", "money>=1"], "ColumnMissing"),
    (["--to", "x.csv", "--columns", "customer_id,money"], "ColumnMissing"),
    (["--to", "x.csv", "--part", "other"], "PartMissing"),
    (["--to", "x.csv", "--as-of", "2020-01-01"], "SnapshotMissing"),
    (["--to", "x.csv", "--as-of", "soon"], "InvalidAsOf"),
]


@pytest.mark.parametrize(("options", "error"), MISTAKES)
def test_a_mistake_is_an_error_of_the_package(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: list[str], error: str
) -> None:
    monkeypatch.chdir(tmp_path)
    done = rfm(root, "export", "customer_segments", *options)
    assert type(done.exception).__name__ == error
    assert not list(tmp_path.iterdir())


def test_without_project_or_store_both_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(app, ["show"], env={"COLUMNS": "200"})
    assert done.exit_code == 2
    assert "Name one, or a --store" in done.stderr
    assert not Store(tmp_path / "data").tables()
