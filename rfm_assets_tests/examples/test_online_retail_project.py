"""The Online Retail deployment without its data: it is YAML alone, and says what it needs."""

import ast
import os
import subprocess
import sys
from pathlib import Path

import dagster as dg

from rfm_assets_tests.examples.deployment import JOB, PROJECT, ROOT, TABLES, Deployment


def test_it_loads_the_same_components_as_the_shipped_deployment() -> None:
    definitions = Deployment(Path("anywhere.csv")).load()

    keys = {spec.key.to_user_string() for spec in definitions.resolve_all_asset_specs()}
    assert keys == {"transaction_data", "transaction_data_rejects", *TABLES}


def test_its_python_is_three_statements_that_load_the_yaml() -> None:
    statements = {
        path.relative_to(PROJECT).as_posix(): ast.parse(path.read_text(encoding="utf-8")).body[1:]
        for path in PROJECT.rglob("*.py")
    }

    assert set(statements) == {"definitions.py", "online_retail/__init__.py"}
    assert [ast.unparse(one) for one in statements["definitions.py"]] == [
        "from pathlib import Path",
        "from rfm_assets.definitions import load_project",
        "defs = load_project(Path(__file__).parent)",
    ]
    assert statements["online_retail/__init__.py"] == []


def test_its_weeks_are_those_of_the_data_and_nothing_runs_by_itself() -> None:
    definitions = Deployment(Path("anywhere.csv")).load()

    weeks = definitions.resolve_job_def(JOB).partitions_def
    assert weeks is not None
    keys = weeks.get_partition_keys()
    # 2011 has 49 Mondays from 3 January to 5 December.
    assert (len(keys), keys[0], keys[-1]) == (49, "2011-01-03", "2011-12-05")
    (schedule,) = definitions.get_repository_def().schedule_defs
    assert schedule.default_status == dg.DefaultScheduleStatus.STOPPED
    assert {spec.freshness_policy for spec in definitions.resolve_all_asset_specs()} == {None}


def test_its_tables_lie_in_its_own_folder() -> None:
    resources = Deployment(Path("anywhere.csv")).load().resources or {}

    assert resources["rfm_store"].root == str(PROJECT / "data" / "store")


def test_without_the_variable_it_names_the_variable() -> None:
    environment = {name: v for name, v in os.environ.items() if name != "RFM_ONLINE_RETAIL"}
    done = subprocess.run(
        [sys.executable, "-m", "rfm_assets.cli", "demo", "--project", "examples/online_retail"],
        cwd=ROOT,
        env=environment | {"COLUMNS": "1000"},
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 2
    assert "online_retail/transaction_data/defs.yaml:11 `source.path`" in done.stderr
    assert "The environment variable RFM_ONLINE_RETAIL is not set." in done.stderr
