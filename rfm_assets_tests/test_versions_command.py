"""A week that is computed again says what it changed, also after the version before is swept."""

import json
import shutil
from datetime import timedelta
from pathlib import Path

import pytest
from typer.testing import CliRunner

from rfm_assets.cli import app
from rfm_assets.store import Store
from rfm_assets_tests.serving.stored import (
    FILES,
    THIRD,
    Stored,
    compute,
    stored_once,
    write_project,
)

WEEK = "2026-02-23"
NEEDED = {"deployment", "weekly", "transaction_data", "customer_data", "customer_segments"}


def versions(root: Path, *arguments: str) -> str:
    done = CliRunner().invoke(
        app,
        ["versions", "customer_segments", *arguments, "--store", str(root)],
        env={"COLUMNS": "200"},
    )
    assert done.exit_code == 0, done.output
    return done.stdout


def test_what_was_computed_once_has_no_change(tmp_path_factory: pytest.TempPathFactory) -> None:
    stored: Stored = stored_once(tmp_path_factory)
    told = json.loads(versions(stored.root, "--as-of", str(THIRD), "--json"))
    assert (len(told["versions"]), told["change"]) == (1, None)
    assert "computed once" in versions(stored.root)


def test_late_rows_are_told(tmp_path: Path) -> None:
    project = write_project(tmp_path / "project")
    root = project.root / "data" / "store"
    for folder in FILES.keys() - NEEDED:
        shutil.rmtree(project.defs / folder)
    compute(project, (WEEK,))
    first = Store(root).snapshot("customer_segments", THIRD)
    with (project.root / "orders.csv").open("a") as orders:
        orders.write("late1,c0002,2026-02-25,1000.50,k1\nlate2,a_new_one,2026-02-26,20.00,k1\n")
    compute(project, (WEEK,))
    told = json.loads(versions(root, "--json"))
    newest, before = told["versions"]
    assert (newest["current"], newest["supersedes"]) == (True, before["version"])
    assert before["version"] == first.version
    change = told["change"]
    assert (change["customers_added"], change["customers_gone"]) == (1, 0)
    assert change["customers_with_other_spend"] == 1
    assert change["monetary_now"] - change["monetary_before"] == pytest.approx(1020.5)
    Store(root, keep_superseded=timedelta(0)).drop_versions(
        "customer_segments", THIRD, [first.version]
    )
    again = json.loads(versions(root, "--json"))
    assert (len(again["versions"]), again["change"]) == (1, change)
    assert "customers added: 1" in versions(root)
