"""Half a year by Dagster's own backfill, as the UI asks for it and the real daemon does it."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from datetime import date, timedelta
from pathlib import Path

import dagster as dg
import pytest

from rfm_assets.store import Store
from rfm_assets_tests.daemon import home_for_tests, running_daemon
from rfm_assets_tests.examples.deployment import JOB, MODULE, PROJECT

pytestmark = [pytest.mark.online_retail, pytest.mark.slow]

WEEKS = [str(date(2011, 1, 3) + timedelta(weeks=n)) for n in range(26)]

LAUNCH = """
mutation ($partitions: [String!]!, $selector: PartitionSetSelector!) {
  launchPartitionBackfill(backfillParams: {selector: $selector, partitionNames: $partitions}) {
    __typename
    ... on LaunchBackfillSuccess { backfillId }
    ... on PythonError { message }
  }
}
"""


@pytest.fixture
def environment(online_retail: Path, tmp_path: Path) -> Mapping[str, str]:
    return os.environ | {
        "DAGSTER_HOME": home_for_tests(tmp_path / "home"),
        "RFM_ONLINE_RETAIL": str(online_retail),
        "RFM_STORE_ROOT": str(tmp_path / "store"),
    }


@pytest.fixture
def daemon(environment: Mapping[str, str]) -> Iterator[dg.DagsterInstance]:
    with running_daemon(PROJECT, environment) as instance:
        yield instance


def launch(environment: Mapping[str, str]) -> str:
    """The id of a backfill of the job over WEEKS, asked for as the UI asks for it."""
    variables = {
        "partitions": WEEKS,
        "selector": {
            "partitionSetName": f"{JOB}_partition_set",
            "repositorySelector": {
                "repositoryLocationName": MODULE,
                "repositoryName": "__repository__",
            },
        },
    }
    command = [str(Path(sys.executable).with_name("dagster-graphql")), "-w", "workspace.yaml"]
    response = Path(environment["DAGSTER_HOME"], "response.json")
    subprocess.run(
        [*command, "-t", LAUNCH, "-v", json.dumps(variables), "-o", str(response)],
        cwd=PROJECT,
        env=environment,
        stdout=subprocess.DEVNULL,
        check=True,
    )
    answer = json.loads(response.read_text(encoding="utf-8"))["data"]["launchPartitionBackfill"]
    assert answer["__typename"] == "LaunchBackfillSuccess", answer
    return answer["backfillId"]


def test_a_backfill_of_26_weeks_is_one_run(
    daemon: dg.DagsterInstance, environment: Mapping[str, str]
) -> None:
    backfill = launch(environment)

    deadline = time.monotonic() + 300
    while time.monotonic() < deadline and not all_finished(daemon):
        time.sleep(0.5)

    (run,) = daemon.get_runs()
    assert run.status == dg.DagsterRunStatus.SUCCESS
    assert run.tags["dagster/backfill"] == backfill
    assert run.tags["dagster/asset_partition_range_start"] == WEEKS[0]
    assert run.tags["dagster/asset_partition_range_end"] == WEEKS[-1]
    for table in ("customer_segments", "segment_movement", "champions"):
        assert daemon.get_materialized_partitions(dg.AssetKey(table)) == set(WEEKS)
    dates = Store(environment["RFM_STORE_ROOT"]).dates("customer_segments")
    assert dates == [date.fromisoformat(week) + timedelta(days=7) for week in WEEKS]


def all_finished(instance: dg.DagsterInstance) -> bool:
    runs = instance.get_runs()
    return bool(runs) and all(run.is_finished for run in runs)
