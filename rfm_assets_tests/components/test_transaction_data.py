"""Transactions from YAML to the store: what the run counts, and what fails at load."""

from dataclasses import replace

import dagster as dg
import narwhals as nw
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from rfm_assets.components import transaction_data
from rfm_assets.errors import InvalidProject
from rfm_assets_tests.components.shop import FIRST, Shop, failure

YAML = """
type: rfm_assets.components.TransactionDataComponent
attributes:
  asset_name: transaction_data
  source: {type: parquet, path: orders.parquet}
  columns: {customer_id: customer, date: day, amount: amount%s}
  policy: {%s}
  checks: {max_age_days: null, warn_reject_rate: %s}
"""


@pytest.fixture
def shop(project):
    made = Shop(project)
    declare(made)
    write(made, 3)
    return made


def declare(shop, policy="", *, more="", rate=0.2):
    shop.project.write("transaction_data", YAML % (more, policy, rate))


def write(shop, rows):
    table = {
        "customer": [f"c{n}" for n in range(rows)],
        "day": ["2025-01-01"] * rows,
        "amount": [1.0] * rows,
        "note": [f"note {n}" for n in range(rows)],
    }
    pq.write_table(pa.table(table), shop.project.root / "orders.parquet")


def settings(shop):
    assert shop.run(FIRST).success
    return shop.store.snapshot("transaction_data", None).manifest.config_hash


@pytest.mark.parametrize(
    ("policy", "key"),
    [
        ("currency: EUR", "policy.currency"),
        ("currency: EUR, exchange_rates: {USD: 0.9}", "policy.exchange_rates"),
    ],
)
def test_a_currency_needs_a_column(shop, policy, key):
    declare(shop, policy)
    with pytest.raises(InvalidProject, match=rf"transaction_data/defs.yaml:6 {key}: .*no effect"):
        shop.project.load()
    declare(shop, policy, more=", currency: code")
    assert shop.project.load()


def test_an_unquoted_id_is_an_error_at_its_line(shop):
    declare(shop, "excluded_customers: [0042]")
    with pytest.raises(InvalidProject, match=r"defs.yaml:6 .*34 is a number, .* in quotes"):
        shop.project.load()


def test_the_configuration_of_a_snapshot_covers_the_mapping_but_not_the_checks(shop):
    plain = settings(shop)
    declare(shop, rate=0.1)
    assert settings(shop) == plain
    declare(shop, more=", order_id: note")
    assert settings(shop) != plain


def test_rows_that_are_lost_on_the_way_block(shop, monkeypatch):
    read = transaction_data.read

    def _losing(*args, **kwargs):
        reading = read(*args, **kwargs)
        return replace(reading, table=reading.table.filter(nw.col("customer_id") != "c1"))

    monkeypatch.setattr(transaction_data, "read", _losing)
    result = shop.run(FIRST)
    assert "rows_reconcile" in failure(result)
    assert "expected rows read 3" in failure(result)


def test_a_file_that_turns_out_damaged_while_it_is_used_is_named(shop):
    declare(shop, more=", attributes: {note: note}")
    write(shop, 100_000)
    path = shop.project.root / "orders.parquet"
    content = bytearray(path.read_bytes())
    start = pq.read_metadata(path).row_group(0).column(3).dictionary_page_offset
    content[start + 1_000 : start + 3_000] = b"Z" * 2_000
    path.write_bytes(content)
    assert "orders.parquet: reading fails" in failure(shop.run(FIRST))


def recorded(instance, table):
    """What Dagster knows of the last version of a table, also after the step has failed."""
    event = instance.get_latest_materialization_event(dg.AssetKey(table))
    metadata = event.asset_materialization.metadata
    return metadata["dagster/row_count"].value, metadata["snapshot version"].value


def stored(shop, table):
    snapshot = shop.store.snapshot(table, None)
    return snapshot.manifest.row_counts["rows"], snapshot.version


def one_without_customer(shop):
    orders = {"customer": ["c1", None], "day": ["2025-01-01"] * 2, "amount": [1.0] * 2}
    pq.write_table(pa.table(orders), shop.project.root / "orders.parquet")


@pytest.mark.parametrize("stopped_by", ["a check", "the disk"])
def test_what_was_set_aside_is_recorded_whatever_stops_the_rest(shop, stopped_by):
    one_without_customer(shop)
    declare(shop, rate="0.1, block_reject_rate: 0.2" if stopped_by == "a check" else 0.5)
    if stopped_by == "the disk":
        shop.root.mkdir(parents=True)
        (shop.root / "transaction_data").write_text("no folder")
    instance = dg.DagsterInstance.ephemeral()
    message = failure(shop.run(FIRST, instance=instance))
    assert ("reject_rate" if stopped_by == "a check" else "Not a directory") in message
    assert recorded(instance, "transaction_data_rejects") == stored(
        shop, "transaction_data_rejects"
    )
    assert instance.get_latest_materialization_event(dg.AssetKey("transaction_data")) is None


@pytest.mark.parametrize("asked", ["transaction_data", "transaction_data_rejects"])
def test_both_tables_are_recorded_once_whichever_is_asked_for(shop, asked):
    one_without_customer(shop)
    declare(shop, rate=0.5)
    job = shop.project.load().resolve_implicit_global_asset_job_def()
    instance = dg.DagsterInstance.ephemeral()
    result = job.execute_in_process(asset_selection=[dg.AssetKey(asked)], instance=instance)
    told = [e.asset_key.to_user_string() for e in result.get_asset_materialization_events()]
    assert sorted(told) == ["transaction_data", "transaction_data_rejects"]
    for table in told:
        assert recorded(instance, table) == stored(shop, table)
