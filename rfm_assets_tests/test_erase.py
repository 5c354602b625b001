"""`rfm erase`: a customer is in nothing that is stored afterwards, and does not come back."""

import gzip
import json
import os
import re
import subprocess
import sys
from datetime import date
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner, Result

from rfm_assets.cli import app
from rfm_assets.erased import REGISTER, erased_among, register_of
from rfm_assets.erasing import erase
from rfm_assets.errors import ErasureKeyMissing, SnapshotGone
from rfm_assets.loading import load_table
from rfm_assets.planning import Table, due
from rfm_assets.publishing import publish_frame
from rfm_assets.store import Staging, Store
from rfm_assets_tests.serving.stored import Stored, compute, stored_once, write_project
from rfm_assets_tests.tables import tables_on

KEY = "a secret of the tests, and of nobody else"
HER = "c0009"
DAY = date(2026, 3, 2)
TODAY = date(2026, 3, 4)


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RFM_ERASURE_KEY", KEY)


@pytest.fixture
def stored(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Stored:
    return stored_once(tmp_path_factory).copy(tmp_path / "project")


def rfm(*arguments: str) -> Result:
    return CliRunner().invoke(app, list(arguments), env={"COLUMNS": "200"})


def files_with(root: Path, customer: str) -> list[str]:
    """Files below a folder that have the id, each opened as what it is."""
    word = re.compile(rf"\b{customer}\b")
    found: list[str] = []
    for path in sorted(path for path in root.rglob("*") if path.is_file()):
        if path.suffix == ".parquet":
            table = pq.read_table(path)
            text = "\n".join(str(row) for row in table.to_pylist())
        else:
            text = path.read_text("utf-8")
        if word.search(text):
            found.append(str(path.relative_to(root)))
    return found


def test_nothing_is_left_of_a_customer(stored: Stored) -> None:
    before = files_with(stored.root, HER)
    tables = {name.split("/")[0] for name in before}
    assert {
        "transaction_data",
        "customer_segments",
        "customer_data",
        "customer_lifetime_value",
    } <= (tables)
    segments = len(load_table("customer_segments", DAY, root=stored.root))
    summary = load_table("segment_summary", DAY, root=stored.root)

    dry = rfm("erase", HER, "--store", str(stored.root), "--dry-run", "--json")
    assert dry.exit_code == 0, dry.stderr
    assert files_with(stored.root, HER) == before
    assert not (stored.root / REGISTER).exists()

    done = rfm("erase", HER, "--store", str(stored.root), "--json")
    assert done.exit_code == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["left"] == []
    assert told["removed"] == json.loads(dry.stdout)["removed"]
    assert {one["table"] for one in told["removed"]} == tables

    assert files_with(stored.root, HER) == []
    assert len(load_table("customer_segments", DAY, root=stored.root)) == segments - 1
    assert load_table("segment_summary", DAY, root=stored.root).equals(summary)
    manifest = stored.store.snapshot("customer_segments", DAY).manifest
    assert (manifest.erased, manifest.row_counts["rows"]) == (1, segments - 1)
    assert len(manifest.rewrites) == 1
    with pytest.raises(SnapshotGone):
        stored.store.version("customer_segments", DAY, manifest.rewrites[0])

    again = rfm("erase", HER, "--store", str(stored.root))
    assert again.exit_code == 0
    assert "Nothing stored names them." in again.stdout
    assert len(register_of(stored.store).entries) == 1


@pytest.mark.parametrize(("answer", "goes"), [("n", False), ("y", True)])
def test_a_person_is_asked_first(stored: Stored, *, answer: str, goes: bool) -> None:
    """At a terminal, here a pseudo-terminal, since what goes cannot be brought back."""
    ours, theirs = os.openpty()
    command = [sys.executable, "-m", "rfm_assets.cli", "erase", HER, "--store", str(stored.root)]
    with subprocess.Popen(
        command, stdin=theirs, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        os.write(ours, f"{answer}\n".encode())
        told, _ = process.communicate(timeout=120)
    os.close(ours)
    os.close(theirs)
    assert "Erase one customer from every snapshot below" in told
    assert process.returncode == (0 if goes else 1), told
    assert (files_with(stored.root, HER) == []) is goes


def test_a_plan_does_not_take_the_rewriting_for_a_change(stored: Stored) -> None:
    tables = [
        Table("customer_segments", frozenset({"transaction_data"}), (DAY,)),
        Table("segment_movement", frozenset({"customer_segments"}), (DAY,)),
    ]
    assert due(stored.store, tables) == []
    erase(stored.store, [HER], today=TODAY, key_variable="RFM_ERASURE_KEY")
    assert due(stored.store, tables) == []


def test_she_does_not_come_back_by_a_run(tmp_path: Path) -> None:
    project = write_project(tmp_path / "project")
    weeks = ("2026-02-23",)
    compute(project, weeks)
    root = project.root / "data" / "store"
    erase(Store(root), [HER], today=TODAY, key_variable="RFM_ERASURE_KEY")
    compute(project, weeks)
    assert files_with(root, HER) == []
    counts = Store(root).snapshot("transaction_data", None).manifest.counts
    assert counts["dropped/erased"] > 0
    assert Store(root).snapshot("customer_data", None).manifest.counts["erased"] == 1


def test_without_the_key_nothing_is_read(stored: Stored, monkeypatch: pytest.MonkeyPatch) -> None:
    with tables_on("polars") as make:
        rows = make({"customer_id": ["c0001", HER, None]})
        assert erased_among(stored.store, rows) == []
        erase(stored.store, [f" {HER} "], today=TODAY, key_variable="RFM_ERASURE_KEY")
        assert erased_among(stored.store, rows) == [HER]
        for value, reason in (("", "is not set"), ("short", "is too short"), ("x" * 40, "is not")):
            monkeypatch.setenv("RFM_ERASURE_KEY", value)
            with pytest.raises(ErasureKeyMissing, match=reason):
                erased_among(stored.store, rows)
    assert HER not in (stored.root / REGISTER).read_text()


def test_an_interrupted_erasure_is_finished_by_the_next(
    stored: Stored, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = 0
    whole = Store.drop_versions

    def killed(store: Store, *place: object) -> None:
        nonlocal calls
        calls += 1
        if calls == 5:
            raise KeyboardInterrupt
        whole(store, *place)  # pyright: ignore[reportArgumentType]

    monkeypatch.setattr(Store, "drop_versions", killed)
    with pytest.raises(KeyboardInterrupt):
        erase(stored.store, [HER], today=TODAY, key_variable="RFM_ERASURE_KEY")
    assert files_with(stored.root, HER)
    monkeypatch.setattr(Store, "drop_versions", whole)
    done = erase(stored.store, [HER], today=TODAY, key_variable="RFM_ERASURE_KEY")
    assert (done.left, files_with(stored.root, HER)) == ([], [])


def test_older_versions_and_frames_of_ones_own_are_cleaned(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    for value in (1, 2):
        frame = pa.table(
            {
                "customer_id": ["17850", "17851", "12"],
                "note": ["hers", "a friend of 17850.", "12 pieces"],
                "value": [value, value, value],
            }
        )
        publish_frame(store, table="own", as_of=DAY, frame=frame)
    assert len(store.kept("own", DAY)) == 2
    done = erase(store, ["17850.0"], today=TODAY, key_variable="RFM_ERASURE_KEY")
    assert done.left == []
    assert [one.rows for one in done.removed] == [2, 2]  # who names her is a row of a kind unknown
    assert [one.version for one in store.kept("own", DAY)] == [store.current_version("own", DAY)]
    assert load_table("own", DAY, root=store.root)["customer_id"].tolist() == ["12"]


def test_numbers_are_ids_where_a_column_says_so(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    frame = pa.table(
        {
            "CustomerID": pa.array([17850.0, 17851.0, None]),
            "buyer": pa.array([1, 2, 17850], pa.int64()),
            "pieces": pa.array([1, 17850, 2], pa.int64()),
        }
    )
    publish_frame(store, table="own", as_of=DAY, frame=frame)
    done = erase(store, ["17850"], today=TODAY, key_variable="RFM_ERASURE_KEY")
    assert done.left == []
    # A number of pieces is nobody's id.
    assert load_table("own", DAY, root=store.root)["pieces"].tolist() == [17850]


def test_what_a_run_publishes_meanwhile_is_not_lost_and_is_cleaned_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store(tmp_path / "store")

    def publish(*customers: str) -> None:
        table = pa.table({"customer_id": list(customers)})
        publish_frame(store, table="own", as_of=DAY, frame=table)

    publish("17850", "a")
    staged = Store.stage

    def meanwhile(own: Store, *given: Any) -> Staging:
        monkeypatch.setattr(Store, "stage", staged)
        made = staged(own, *given)
        publish("17850", "a", "b")
        return made

    monkeypatch.setattr(Store, "stage", meanwhile)
    done = erase(store, ["17850"], today=TODAY, key_variable="RFM_ERASURE_KEY")
    assert done.left == []
    assert load_table("own", DAY, root=store.root)["customer_id"].tolist() == ["a", "b"]


def test_what_is_no_text_is_not_changed_as_one_and_is_told(stored: Stored) -> None:
    folder = stored.project / ".rfm"
    folder.mkdir(exist_ok=True)
    wide = folder / "scores.csv"
    wide.write_text(f"customer_id,score\n{HER},0.5\nc0010,0.1\n", encoding="utf-16")
    packed = folder / "scores.csv.gz"
    packed.write_bytes(gzip.compress(f"{HER},0.5\n".encode()))
    parquet = folder / "scores.parquet"
    pq.write_table(pa.table({"customer_id": [HER]}), parquet, compression="none")
    before = parquet.read_bytes()
    done = erase(
        stored.store, [HER], today=TODAY, key_variable="RFM_ERASURE_KEY", project=stored.project
    )
    assert wide.read_text(encoding="utf-16") == "customer_id,score\nc0010,0.1\n"
    assert parquet.read_bytes() == before
    assert done.left == [
        f"{one}: no text, so that it cannot be searched" for one in (packed, parquet)
    ]


def test_files_of_the_project_are_cleaned(stored: Stored) -> None:
    folder = stored.project / ".rfm"
    (folder / "uploads").mkdir(parents=True)
    (folder / "uploads" / "scores.csv").write_text(f"customer_id,score\n{HER},0.5\nc0010,0.1\n")
    (folder / "run.json").write_text(json.dumps({"message": f"row of {HER} is odd"}))
    done = erase(
        stored.store, [HER], today=TODAY, key_variable="RFM_ERASURE_KEY", project=stored.project
    )
    assert done.left == []
    assert (folder / "uploads" / "scores.csv").read_text() == "customer_id,score\nc0010,0.1\n"
    assert json.loads((folder / "run.json").read_text())["message"] == "row of (erased) is odd"


def test_ids_come_from_a_file_and_there_must_be_one(stored: Stored, tmp_path: Path) -> None:
    ids = tmp_path / "ids.txt"
    ids.write_text("c0001\n\nc0002\n")
    done = rfm("erase", "--from-file", str(ids), "--store", str(stored.root))
    assert done.exit_code == 0, done.stderr
    assert "2 customers erased" in done.stdout
    assert rfm("erase", "--store", str(stored.root)).exit_code == 2
    ids.write_bytes("größe\n".encode("latin-1"))
    wrong = rfm("erase", "--from-file", str(ids), "--store", str(stored.root))
    assert wrong.exit_code == 2
    assert "Save it as UTF-8" in wrong.stderr
