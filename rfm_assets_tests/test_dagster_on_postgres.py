"""Dagster's history on a real Postgres: chosen by one URL, and there again after a restart."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import dagster as dg
import psycopg2
import pytest

from rfm_assets.embedded_postgres import running
from rfm_assets.errors import DatabaseUnreachable, DatabaseUrlInvalid
from rfm_assets_tests.docs.pages import ROOT, copy_of_project
from rfm_assets_tests.postgres import GUARDED, PASSWORD, EmbeddedPostgres

VARIABLE = "DAGSTER_POSTGRES_URL"
CRM = """
type: rfm_assets.components.PublishToPostgresComponent
attributes:
  asset_name: crm_database
  url_env: CRM_DATABASE_URL
  published_asset_keys: [customer_segments, segment_movement, segment_summary, champions, win_back]
"""
RUNS = """{ runsOrError { ... on Runs { results {
    runId status tags { key value }
} } } }"""
DEADLINE = 150
T = TypeVar("T")


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A DAGSTER_HOME with the project's dagster.yaml."""
    shutil.copy(ROOT / "dagster.yaml", tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv(VARIABLE, raising=False)
    return tmp_path


@dg.asset
def something() -> None:
    """Nothing but an event."""


def run_ids(home: Path) -> list[str]:
    with dg.DagsterInstance.from_config(str(home)) as instance:
        dg.materialize([something], instance=instance)
        # As Dagster's other processes open it.
        with dg.DagsterInstance.from_ref(instance.get_ref()) as same:
            return [run.run_id for run in same.get_runs()]


def test_the_url_decides(
    home: Path, postgres: EmbeddedPostgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    (embedded,) = run_ids(home)
    assert list(home.rglob("runs.db"))

    monkeypatch.setenv(VARIABLE, postgres.url)
    (first,) = run_ids(home)
    assert len(run_ids(home)) == 2
    assert postgres.rows("select count(*) from runs") == [(2,)]
    assert embedded != first
    monkeypatch.delenv(VARIABLE)
    assert embedded in run_ids(home)


def test_what_is_wrong_with_the_url_is_told_without_it(
    home: Path, postgres: EmbeddedPostgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(url: str, error: type[Exception], said: str) -> None:
        monkeypatch.setenv(VARIABLE, url)
        with pytest.raises(error, match=said) as caught:
            dg.DagsterInstance.from_config(str(home))
        assert PASSWORD not in str(caught.value)
        assert caught.value.__cause__ is None

    refused(PASSWORD, DatabaseUrlInvalid, rf"{VARIABLE} is no URL")
    refused("mysql://u:s3cret@h/x", DatabaseUrlInvalid, "no URL of a Postgres database")
    refused(
        postgres.url_of(GUARDED, f"{PASSWORD}x"),
        DatabaseUnreachable,
        "Correct the user or password",
    )
    refused("postgresql://u:p@127.0.0.1:1/x", DatabaseUnreachable, "127.0.0.1:1/x")


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A copy of the project whose schedule is due every minute and which publishes to Postgres."""
    folder = tmp_path / "project"
    copy_of_project(folder)
    (folder / "component_defs" / "crm_database").mkdir()
    (folder / "component_defs" / "crm_database" / "defs.yaml").write_text(CRM, encoding="utf-8")
    weekly = folder / "component_defs" / "weekly_refresh" / "defs.yaml"
    text = weekly.read_text(encoding="utf-8").replace('"0 6 * * 1"', '"* * * * *"')
    weekly.write_text(text, encoding="utf-8")
    return folder


@contextmanager
def dagster_dev(folder: Path, postgres: Path) -> Iterator[Callable[[str], Any]]:
    """What `make dev-postgres` runs; gives a function that asks its GraphQL API."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port = one.getsockname()[1]
    environment = os.environ | {
        "DAGSTER_HOME": str(folder),
        "PYTHONPATH": str(folder),
        "RFM_EMBEDDED_POSTGRES": str(postgres),
    }
    environment.pop(VARIABLE, None)
    command = [sys.executable, "-m", "rfm_assets.embedded_postgres"]
    dev = ["dagster", "dev", "--port", str(port)]
    with (folder / "dev.log").open("a") as log:
        process = subprocess.Popen(
            [*command, sys.executable, "-m", *dev],
            cwd=folder,
            env=environment,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            yield lambda query: _asked(port, query)
        finally:
            # What Ctrl-C does in a terminal: everybody is interrupted.
            os.killpg(process.pid, signal.SIGINT)
            try:
                process.wait(timeout=60)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait(timeout=10)
                raise


def _asked(port: int, query: str) -> Any:
    body = json.dumps({"query": query}).encode()
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/graphql", body, {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310  on this machine
        return json.load(answer)["data"]


def until(found: Callable[[], T | None], log: Path) -> T:
    """The first answer; what is not up yet refuses connections."""
    deadline = time.monotonic() + DEADLINE
    while time.monotonic() < deadline:
        try:
            answer = found()
        except OSError:
            answer = None
        if answer:
            return answer
        time.sleep(1)
    pytest.fail(log.read_text(encoding="utf-8")[-4_000:])


@pytest.mark.slow
def test_a_scheduled_week_from_a_cold_start_and_after_a_restart(project: Path) -> None:
    # Not below pytest's folder, which the server's own user may not enter.
    parent = Path(tempfile.mkdtemp(prefix="rfm-dev-"))
    parent.chmod(0o755)
    folder, log = parent / "postgres", project / "dev.log"
    try:
        with dagster_dev(project, folder) as ask:

            def finished() -> dict[str, Any] | None:
                runs = ask(RUNS)["runsOrError"]["results"]
                ended = [run for run in runs if run["status"] in {"SUCCESS", "FAILURE", "CANCELED"}]
                return ended[-1] if ended else None

            first = until(finished, log)
            assert first["status"] == "SUCCESS", log.read_text(encoding="utf-8")[-4_000:]
        tags = {tag["key"]: tag["value"] for tag in first["tags"]}
        assert tags["dagster/schedule_name"].startswith("weekly_refresh")
        assert list((project / ".dagster").rglob("runs.db")) == []

        with dagster_dev(project, folder) as ask:
            kept = until(lambda: ask(RUNS)["runsOrError"]["results"], log)
            assert first["runId"] in {run["runId"] for run in kept}

        with running(folder) as urls:
            database = psycopg2.connect(urls["CRM_DATABASE_URL"])
            with database, database.cursor() as cursor:
                cursor.execute("select distinct as_of::text from rfm.customer_segments")
                assert (tags["as_of"],) in cursor.fetchall()
                cursor.execute("select count(*) > 0 from rfm.campaign_members")
                assert cursor.fetchone() == (True,)
            database.close()
    finally:
        shutil.rmtree(parent, ignore_errors=True)
