"""The fuel-station deployment, from generated files to clusters, signals and churn."""

import csv
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from rfm_assets import load_table
from rfm_assets.domain.features import FEATURES

ROOT = Path(__file__).parents[2]
COMMAND = [sys.executable, "-m", "rfm_assets.cli"]


def rfm(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    kept = {n: v for n, v in os.environ.items() if n not in {"DAGSTER_HOME", "RFM_STORE_ROOT"}}
    return subprocess.run(
        [*COMMAND, *words],
        cwd=folder,
        env=kept | {"COLUMNS": "120", "NO_COLOR": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module")
def stations(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A copy of the example after the commands of its README, with fewer customers and weeks."""
    folder = tmp_path_factory.mktemp("fuel") / "fuel_stations"
    shutil.copytree(
        ROOT / "examples" / "fuel_stations",
        folder,
        ignore=shutil.ignore_patterns("__pycache__", "data", ".dagster"),
    )
    words = ["generate", "behavior", "fuel_retail", "data", "--until", "2026-06-01"]
    made = rfm(folder, *words, "--customers", "1200")
    assert made.returncode == 0, made.stdout
    done = rfm(folder, "demo", "--weeks", "2")
    assert done.returncode == 0, done.stdout
    return folder, done.stdout


def planted(folder: Path) -> list[dict[str, str]]:
    with (folder / "data" / "planted.csv").open(encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def test_clusters_rest_on_all_fourteen_features(stations: tuple[Path, str]) -> None:
    folder, shown = stations
    root = folder / "data" / "store"
    customers = load_table("behavioral_segments", root=root)
    assert {feature.name for feature in FEATURES} <= set(customers.columns)
    truth = {row["customer_id"]: row["remark"] for row in planted(folder)}
    named = customers.set_index("customer_id")["segment"]
    new = [named[name] for name, remark in truth.items() if remark == "new"]
    left = [named[name] for name, remark in truth.items() if remark == "left" and name in named]
    # What a name says in absolute terms holds: the new ones came within the last month.
    assert new.count("New Customers") / len(new) > 0.8
    assert sum(one in {"Lost", "Dormant"} for one in left) / len(left) > 0.9
    assert "Clusters as of 2026-06-01" in shown


def test_signals_are_those_that_were_planted(stations: tuple[Path, str]) -> None:
    folder, shown = stations
    behavior = load_table("customer_behavior", root=folder / "data" / "store")
    rows = behavior.set_index("customer_id")
    settled = [row for row in planted(folder) if not row["remark"]]
    for signal in {row["signal"] for row in settled} - {""}:
        fired = {
            row["customer_id"]
            for row in settled
            if rows.loc[row["customer_id"], f"signal_{signal}"] == "fired"
        }
        truth = {row["customer_id"] for row in settled if row["signal"] == signal}
        assert len(fired & truth) / len(fired) >= 0.95
        assert len(fired & truth) / len(truth) >= 0.95
    assert "payment_failures" in shown


def test_a_failed_payment_is_no_purchase(stations: tuple[Path, str]) -> None:
    folder, _ = stations
    root = folder / "data" / "store"
    transactions = load_table("transaction_data", root=root)
    assert set(transactions.loc[transactions["status"] == "failed", "amount"]) == {0.0}
    paid = transactions[transactions["status"] == "paid"].groupby("customer_id").size()
    features = load_table("behavioral_segments", root=root).set_index("customer_id")
    last = transactions[transactions["date"] < "2026-06-01"]
    assert len(last) == len(transactions)
    within = features.join(paid.rename("paid"))
    # A few bought before the 120 days that are described.
    assert (within["transaction_count"] <= within["paid"]).all()
    assert (within["transaction_count"] == within["paid"]).mean() > 0.8


def test_generated_files_are_the_same_again(tmp_path: Path) -> None:
    for name in ("one", "two"):
        words = ["generate", "behavior", "banking", name, "--customers", "30", "--seed", "4"]
        assert rfm(tmp_path, *words, "--until", "2026-01-01").returncode == 0
    for name in ("transactions.csv", "events.csv", "planted.csv"):
        one, two = (tmp_path / folder / name for folder in ("one", "two"))
        assert one.read_bytes() == two.read_bytes()
        assert len(one.read_text("utf-8").splitlines()) > 20


def test_what_cannot_be_generated_is_a_line(tmp_path: Path) -> None:
    wrong = rfm(tmp_path, "generate", "behavior", "bank", "data")
    assert wrong.returncode == 2
    assert "Did you mean 'banking'?" in wrong.stdout
    late = rfm(tmp_path, "generate", "behavior", "banking", "data", "--until", "soon")
    assert "'soon' is no date" in late.stdout
    assert "Traceback" not in wrong.stdout + late.stdout


def test_churn_scores_for_stored_customers(stations: tuple[Path, str], tmp_path: Path) -> None:
    folder, _ = stations
    file = tmp_path / "churn.csv"
    done = rfm(folder, "generate", "churn-scores", str(file), "--root", "data/store")
    assert done.returncode == 0, done.stdout
    with file.open(encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    customers = load_table("customer_segments", root=folder / "data" / "store")
    assert [row["customer_id"] for row in rows] == sorted(customers["customer_id"])
    low = sum(float(row["churn_score"]) < 0.3 for row in rows) / len(rows)
    assert low == pytest.approx(0.45, abs=0.01)
