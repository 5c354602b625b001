"""The whole week from a table on a Postgres server gives what it gives from a CSV file."""

import pytest
from dagster._serdes import serialize_value

from rfm_assets_tests.components.conftest import Project
from rfm_assets_tests.components.shop import FIRST, ROWS, SECOND, Shop, failure, tables
from rfm_assets_tests.postgres import GUARDED, PASSWORD, EmbeddedPostgres

YAML = """
type: rfm_assets.components.TransactionDataComponent
attributes:
  asset_name: transaction_data
  source:
    type: postgres
    url_env: SHOP_DATABASE_URL
    table: order_lines
    where: not test
    order_by: [number]
  columns: {customer_id: customer, order_id: number, date: ordered_at, amount: amount}
  checks: {max_age_days: null, warn_reject_rate: 0.2}
"""
SUPPRESSED = """
type: rfm_assets.components.SuppressionListComponent
attributes:
  asset_name: suppression_list
  entries:
    source: {type: postgres, url_env: SHOP_DATABASE_URL, table: blocked}
    columns: {customer_id: customer}
"""


@pytest.fixture
def shop(project: Project, postgres: EmbeddedPostgres, monkeypatch: pytest.MonkeyPatch) -> Shop:
    monkeypatch.delenv("RFM_STORE_ROOT", raising=False)
    monkeypatch.setenv("SHOP_DATABASE_URL", postgres.url_of(GUARDED, PASSWORD))
    postgres.rows(
        "create table order_lines (number int8, customer text, ordered_at date, "
        "amount numeric(10, 2), test bool not null default false)"
    )
    insert = (
        "insert into order_lines values "
        "(:number, nullif(:customer, ''), cast(:day as date), :amount, false)"
    )
    for row in ROWS:
        number, customer, day, amount = row.split(",")
        postgres.rows(insert, number=int(number), customer=customer, day=day, amount=amount)
    postgres.rows("insert into order_lines values (99, 'z', '2026-02-01', 5000, true)")
    postgres.rows("create table blocked as select 'b' as customer")
    postgres.rows(f"grant select on order_lines, blocked to {GUARDED}")
    return Shop(project)


def test_the_weeks_are_those_of_the_csv(shop: Shop) -> None:
    result = shop.run(FIRST, SECOND)
    assert result.success, failure(result)
    from_csv = tables(shop.root)

    shop.project.write("transaction_data", YAML)
    shop.project.write("suppression_list", SUPPRESSED)
    result = shop.run(FIRST, SECOND)
    assert result.success, failure(result)
    assert tables(shop.root) == from_csv
    assert shop.store.snapshot("transaction_data", None).manifest.counts["rows_in"] == len(ROWS)
    # Events and metadata as Dagster keeps them, and whatever lies in the store.
    told = "".join(serialize_value(event) for event in result.all_events)
    kept = "".join(path.read_text("utf-8") for path in shop.root.rglob("*.json"))
    assert PASSWORD not in told + kept


def test_a_server_that_is_gone_keeps_the_last_good_week(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop.project.write("transaction_data", YAML)
    assert shop.run(FIRST).success
    before = tables(shop.root)

    monkeypatch.setenv("SHOP_DATABASE_URL", f"postgresql://{GUARDED}:geheim@127.0.0.1:1/shop")
    result = shop.run(SECOND)
    assert not result.success
    said = failure(result)
    assert "127.0.0.1:1/shop ($SHOP_DATABASE_URL) cannot be reached" in said
    assert "geheim" not in said + "".join(serialize_value(event) for event in result.all_events)
    assert tables(shop.root) == before
