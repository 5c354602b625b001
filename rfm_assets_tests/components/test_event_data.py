"""Events from YAML to the store: what a run records, also where it is refused."""

import dagster as dg
import pytest

from rfm_assets_tests.components.conftest import Project
from rfm_assets_tests.components.shop import FIRST, Shop, failure

YAML = """
type: rfm_assets.components.EventDataComponent
attributes:
  asset_name: event_data
  source: {{type: csv, path: events.csv}}
  columns: {{customer_id: who, timestamp: at, event: what}}
  checks: {{max_age_days: null, warn_reject_rate: 0.1, block_reject_rate: {block}}}
"""


@pytest.fixture
def shop(project: Project) -> Shop:
    """Two events, one of nobody."""
    made = Shop(project)
    lines = ["who,at,what", "a,2026-02-01,login", ",2026-02-01,login", ""]
    (project.root / "events.csv").write_text("\n".join(lines), encoding="utf-8")
    return made


def recorded(instance: dg.DagsterInstance, shop: Shop, table: str) -> bool:
    """Whether Dagster knows of the version of a table that is stored."""
    event = instance.get_latest_materialization_event(dg.AssetKey(table))
    if event is None or event.asset_materialization is None:
        return False
    told = event.asset_materialization.metadata["snapshot version"].value
    return told == shop.store.snapshot(table, None).version


def test_what_was_set_aside_is_recorded_when_the_rest_is_refused(shop: Shop) -> None:
    shop.project.write("event_data", YAML.format(block=0.2))
    instance = dg.DagsterInstance.ephemeral()
    assert "reject_rate" in failure(shop.run(FIRST, instance=instance))
    assert recorded(instance, shop, "event_data_rejects")
    assert not recorded(instance, shop, "event_data")


@pytest.mark.parametrize("asked", ["event_data", "event_data_rejects"])
def test_both_tables_are_recorded_whichever_is_asked_for(shop: Shop, asked: str) -> None:
    shop.project.write("event_data", YAML.format(block=0.9))
    job = shop.project.load().resolve_implicit_global_asset_job_def()
    instance = dg.DagsterInstance.ephemeral()
    assert job.execute_in_process(asset_selection=[dg.AssetKey(asked)], instance=instance).success
    assert recorded(instance, shop, "event_data")
    assert recorded(instance, shop, "event_data_rejects")


def test_what_the_reader_noticed_is_logged(shop: Shop) -> None:
    # Beside a value of two lines, a quote inside of another makes it unclear where a row ends.
    text = 'who,at,what\na,2026-02-01,"log\nin"\nb,2026-02-01,5" screen\nc,2026-02-01,login\n'
    (shop.project.root / "events.csv").write_text(text, encoding="utf-8")
    shop.project.write("event_data", YAML.format(block=0.9))
    instance = dg.DagsterInstance.ephemeral()
    run = shop.run(FIRST, instance=instance)
    said = [entry.user_message for entry in instance.all_logs(run.run_id)]
    assert "events.csv: line numbers count records, because its quotes are uneven." in said
