"""Dagster's history in SQLite, with the index of its events kept open."""

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest
import sqlalchemy as sa
from dagster._core.storage.sqlite_storage import DagsterSqliteStorage

from rfm_assets.sqlite_events import EventLog

STORAGE = """
storage:
  custom:
    module: rfm_assets.instance_storage
    class: PostgresOrSqlite
    config: {base_dir: history}
telemetry: {enabled: false}
"""


@dg.asset(check_specs=[dg.AssetCheckSpec("whole", asset="orders")])
def orders() -> Iterator[dg.MaterializeResult]:
    yield dg.MaterializeResult(check_results=[dg.AssetCheckResult(passed=True)])


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("DAGSTER_POSTGRES_URL", raising=False)
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "dagster.yaml").write_text(STORAGE, encoding="utf-8")
    return tmp_path


def materialized(instance: dg.DagsterInstance) -> int:
    found = instance.fetch_materializations(dg.AssetKey("orders"), limit=10)
    return len(found.records)


def test_dagsters_own_storage_reads_what_it_wrote(home: Path) -> None:
    with dg.DagsterInstance.get() as instance:
        assert isinstance(instance.event_log_storage, EventLog)
        assert dg.materialize([orders], instance=instance).success
        assert materialized(instance) == 1

    theirs = DagsterSqliteStorage.from_local(str(home / "history"))
    assert theirs.event_log_storage.has_asset_key(dg.AssetKey("orders"))
    (run_id,) = theirs.event_log_storage.get_all_run_ids()
    kinds = {
        one.dagster_event_type.value
        for one in theirs.event_log_storage.get_logs_for_run(run_id)
        if one.dagster_event_type is not None
    }
    assert {"ASSET_MATERIALIZATION", "ASSET_CHECK_EVALUATION", "PIPELINE_SUCCESS"} <= kinds


@pytest.mark.usefixtures("home")
def test_two_instances_see_each_others_events() -> None:
    with dg.DagsterInstance.get() as first, dg.DagsterInstance.get() as second:
        dg.materialize([orders], instance=first)
        assert materialized(second) == 1
        dg.materialize([orders], instance=second)
        assert materialized(first) == 2


def index_opened() -> int:
    """How often a run opens the index, once the instance is in use."""
    opened: list[str] = []

    def note(connection: sqlite3.Connection, _: object) -> None:
        opened.extend(Path(row[2]).name for row in connection.execute("PRAGMA database_list"))

    with dg.DagsterInstance.get() as instance:
        dg.materialize([orders], instance=instance)
        sa.event.listen(sa.Pool, "connect", note)
        try:
            dg.materialize([orders], instance=instance)
        finally:
            sa.event.remove(sa.Pool, "connect", note)
    assert len(opened) > 10
    return opened.count("index.db")


def test_the_index_is_not_opened_for_each_event_and_closed_in_the_end(home: Path) -> None:
    ours = index_opened()
    # SQLite folds its log of changes into the file, and removes it, with the last connection.
    assert not list((home / "history" / "history" / "runs").glob("index.db-wal"))

    (home / "dagster.yaml").write_text("telemetry: {enabled: false}\n", encoding="utf-8")
    # What is left are Dagster's looks at which tables there are, and those do not go this way.
    assert ours < index_opened() / 4
