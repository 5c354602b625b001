"""Events and behaviour as assets: read, analysed week by week, explained, refused with a line."""

from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pyarrow as pa
import pytest

from rfm_assets import load_table
from rfm_assets.domain.behavior_generator import generate_behavior
from rfm_assets.errors import InvalidProject
from rfm_assets_tests.components.conftest import Project
from rfm_assets_tests.components.shop import AS_OF, FILES, FIRST, SECOND, Shop, failure

EVENTS = """
type: rfm_assets.components.EventDataComponent
attributes:
  asset_name: event_data
  source: {type: csv, path: events.csv}
  columns:
    customer_id: who
    timestamp: at
    event: what
    attributes: {feature: feature}
  checks: {max_age_days: null}
"""
BEHAVIOR = """
type: rfm_assets.components.BehaviorAnalysisComponent
attributes:
  asset_name: customer_behavior
  profile: banking
  events_asset_key: event_data
  {more}
"""
TRANSACTIONS = FILES["transaction_data"].replace(
    "amount: amount}", "amount: amount, attributes: {product: product}}"
)


def write(root: Path, name: str, header: str, rows: Sequence[Sequence[Any]]) -> None:
    lines = [header, *(",".join("" if v is None else str(v) for v in row) for row in rows)]
    (root / name).write_text("\n".join([*lines, ""]), encoding="utf-8")


@pytest.fixture
def shop(project: Project, monkeypatch: pytest.MonkeyPatch) -> Shop:
    """A bank with three hundred generated customers, as of the second week's end."""
    monkeypatch.delenv("RFM_STORE_ROOT", raising=False)
    made = Shop(project)
    generated = generate_behavior("banking", customers=300, seed=5)
    end = AS_OF[SECOND]
    write(
        project.root,
        "events.csv",
        "who,at,what,feature",
        [
            (row["customer_id"], end - timedelta(days=row["day"]), row["event"], row.get("feature"))
            for row in generated.events
        ],
    )
    write(
        project.root,
        "orders.csv",
        "order,customer,ordered_at,amount,product",
        [
            (
                row["order_id"],
                row["customer_id"],
                end - timedelta(days=row["day"]),
                row["amount"],
                row["product"],
            )
            for row in generated.transactions
        ],
    )
    project.write("transaction_data", TRANSACTIONS)
    project.write("event_data", EVENTS)
    project.write("customer_behavior", BEHAVIOR.format(more="organization_id: north"))
    return made


def table(shop: Shop, name: str, **options: Any) -> list[dict[str, Any]]:
    return load_table(name, root=shop.root, kind="pyarrow", **options).to_pylist()


def checks(result: dg.ExecuteInProcessResult, name: str) -> dict[str, Any]:
    return {
        one.check_name: one
        for one in result.get_asset_check_evaluations()
        if one.asset_key.to_user_string() == name
    }


def test_a_bank_week_by_week(shop: Shop) -> None:
    result = shop.run(FIRST, SECOND)
    assert result.success, failure(result)

    generated = generate_behavior("banking", customers=300, seed=5)
    rows = {row["customer_id"]: row for row in table(shop, "customer_behavior")}
    assert set(rows) == set(generated.planted)
    fired = {name: row["risk_signals"].split(",") for name, row in rows.items()}
    for name, signal in generated.planted.items():
        if name in generated.newcomers:
            assert rows[name]["signals_unknown"] == 6
        elif signal is not None:
            assert signal in fired[name]
    assert {row["organization_id"] for row in rows.values()} == {"north"}
    assert {row["org_type"] for row in rows.values()} == {"banking"}

    signals = table(shop, "customer_behavior", part="signals")
    assert len(signals) == sum(row["signals_fired"] for row in rows.values())
    assert any("Log-ins fell from" in row["recommendation"] for row in signals)
    insights = table(shop, "customer_behavior", part="insights")
    assert [row["rank"] for row in insights] == [1, 2, 3, 4, 5, 6]
    by_signal = {row["signal"]: row["affected_customers"] for row in insights}
    assert sum(by_signal.values()) == len(signals)

    # A week earlier most of what was planted had not been going on for a month.
    before = table(shop, "customer_behavior", as_of=AS_OF[FIRST])
    assert len(before) > 250
    manifest = shop.store.snapshot("customer_behavior").manifest
    assert manifest.extra["organization_id"] == "north"
    assert manifest.extra["profile"]["metrics"]["logins"]["from"] == "events"
    scores = [row["behavior_score"] for row in rows.values() if row["behavior_score"] is not None]
    assert manifest.extra["mean_score"] == pytest.approx(sum(scores) / len(scores))
    seen = checks(result, "customer_behavior")
    assert seen["customers_reconcile"].passed
    assert seen["inputs_mapped"].passed
    shown = result.asset_materializations_for_node("customer_behavior")[-1].metadata
    assert "| login_frequency_decline | high |" in shown["priority actions"].value


def test_events_that_cannot_be_used_are_set_aside(shop: Shop) -> None:
    write(
        shop.project.root,
        "events.csv",
        "who,at,what,feature",
        [
            ("a", "2026-02-01 10:00", "login", None),
            ("17850.0", "2026-02-01", "feature_use", "cards"),
            (None, "2026-02-01", "login", None),
            ("b", "soon", "login", None),
            ("c", "2026-02-01", None, None),
            ("d", "2999-02-01", "login", None),
            ("e", "2026-02-01", "login", None, "x"),
        ],
    )
    shop.project.write("event_data", EVENTS.replace("null}", "null, block_reject_rate: 0.9}"))
    result = shop.run(SECOND)
    assert result.success, failure(result)
    rows = table(shop, "event_data")
    assert [(row["customer_id"], row["event"], row["feature"]) for row in rows] == [
        ("17850", "feature_use", "cards"),
        ("a", "login", None),
    ]
    rejects = table(shop, "event_data_rejects")
    assert {row["source_line"]: (row["reason"], row["order_id"]) for row in rejects} == {
        4: ("missing_customer_id", "login"),
        5: ("invalid_date", "login"),
        6: ("malformed_line", None),
        7: ("future_date", "login"),
        8: ("malformed_line", None),
    }
    assert {row["detail"] for row in rejects if row["source_line"] == 6} == {"no event"}
    assert checks(result, "event_data")["rows_reconcile"].passed


def test_without_events_their_signals_are_unknown(shop: Shop) -> None:
    text = BEHAVIOR.format(more="").replace("  events_asset_key: event_data\n", "")
    shop.project.write("customer_behavior", text)
    result = shop.run(SECOND)
    assert result.success, failure(result)
    rows = table(shop, "customer_behavior")
    assert {row["signal_login_frequency_decline"] for row in rows} == {"unknown"}
    assert "fired" in {row["signal_transaction_volume_drop"] for row in rows}
    seen = checks(result, "customer_behavior")["inputs_mapped"]
    assert not seen.passed
    assert "logins: no events are given" in seen.description
    shown = result.asset_materializations_for_node("customer_behavior")[-1].metadata
    assert "no events are given" in shown["cannot be computed here"].value


def test_a_frame_of_ones_own_is_events_enough(shop: Shop) -> None:
    """Any stored table with customer_id, day and event will do."""
    from rfm_assets.publishing import publish_frame

    days = [20_200 + n for n in range(400)]
    frame = pa.table(
        {
            "customer_id": pa.array(["x"] * 400),
            "day": pa.array(days, pa.int32()),
            "event": pa.array(["login"] * 400),
        }
    )
    publish_frame(shop.store, table="own_events", as_of=None, frame=frame)
    shop.project.write(
        "customer_behavior",
        BEHAVIOR.format(more="").replace("event_data", "own_events"),
    )
    own = "import dagster as dg\n\nown = dg.AssetSpec('own_events')\n"
    (shop.project.defs / "own.py").write_text(own, encoding="utf-8")
    result = shop.run(SECOND)
    assert result.success, failure(result)
    (row,) = [one for one in table(shop, "customer_behavior") if one["customer_id"] == "x"]
    assert row["logins"] == 30.0


@pytest.mark.parametrize(
    ("more", "told"),
    [
        ("profile: bankin", "Did you mean 'banking'"),
        ("event_names: {logn: user_login}", "Did you mean 'login'"),
        ("event_columns: {featur: f}", "Did you mean 'feature'"),
        ("history_days: 0", "at least 1"),
    ],
)
def test_wrong_yaml_is_told_with_its_line(shop: Shop, more: str, told: str) -> None:
    text = BEHAVIOR.format(more=more)
    if more.startswith("profile"):
        text = text.replace("  profile: banking\n", "")
    shop.project.write("customer_behavior", text)
    with pytest.raises(InvalidProject, match=r"customer_behavior/defs\.yaml:\d+") as error:
        shop.project.load()
    assert told in str(error.value)


def test_a_wrong_profile_file_is_told_with_its_line(shop: Shop) -> None:
    path = shop.project.write(
        "customer_behavior", BEHAVIOR.format(more="").replace("banking", "mine.yaml")
    )
    (path.parent / "mine.yaml").write_text(
        "id: mine\nmetrics:\n  visits: {from: events, measure: count, unit: count}\nsignals:\n"
        "  fewer: {when: visit < 3, recommendation: Call.}\ntrends:\n  activity: {metric: visits}\n",
        encoding="utf-8",
    )
    with pytest.raises(InvalidProject, match=r"mine\.yaml:5 .*Did you mean 'visits'"):
        shop.project.load()


def test_a_profile_whose_examples_come_out_otherwise_is_refused(shop: Shop) -> None:
    path = shop.project.write(
        "customer_behavior", BEHAVIOR.format(more="").replace("banking", "mine.yaml")
    )
    (path.parent / "mine.yaml").write_text(
        "id: mine\nmetrics:\n  visits: {from: events, measure: count, unit: count}\nsignals:\n"
        "  fewer: {when: visits < 3, recommendation: Call.}\ntrends:\n"
        "  activity: {metric: visits}\nexamples:\n"
        "  - {name: one visit, events: [{day: 40, event: v}, {day: 3, event: v}], unknown: [fewer]}\n",
        encoding="utf-8",
    )
    with pytest.raises(InvalidProject, match=r"defs\.yaml:\d+.*'one visit': fewer is fired"):
        shop.project.load()
