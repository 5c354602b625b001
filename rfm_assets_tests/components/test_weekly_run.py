"""The whole week through Dagster, on a shop small enough to work out by hand."""

import json
import os
import random
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from rfm_assets import load_table
from rfm_assets.errors import InvalidProject, SnapshotMissing, TableMissing
from rfm_assets_tests.components.conftest import Project
from rfm_assets_tests.components.shop import AS_OF, FIRST, ROWS, SECOND, Shop, failure, tables


@pytest.fixture
def shop(project: Project, monkeypatch: pytest.MonkeyPatch) -> Shop:
    monkeypatch.delenv("RFM_STORE_ROOT", raising=False)
    return Shop(project)


def rows(shop: Shop, table: str, as_of: date | str = "latest", **options: Any) -> list[dict]:
    loaded = load_table(table, as_of, root=shop.root, kind="pyarrow", **options)
    return loaded.to_pylist()


def test_a_run_of_two_weeks_gives_every_table_of_both(shop: Shop) -> None:
    result = shop.run(FIRST, SECOND)
    assert result.success, failure(result)

    second = {row["customer_id"]: row for row in rows(shop, "customer_segments", AS_OF[SECOND])}
    assert {name: row["rfm_cell"] for name, row in second.items()} == {
        "a": "555",
        "b": "111",
        "c": "144",
        "d": "512",
    }
    assert {name: row["segment"] for name, row in second.items()} == {
        "a": "Champions",
        "b": "Lost",
        "c": "At Risk",
        "d": "Potential Loyalists",
    }
    assert (second["a"]["recency"], second["a"]["frequency"], second["a"]["monetary"]) == (
        2,
        5,
        600,
    )
    assert second["a"]["previous_segment"] == "Loyal Customers"
    assert second["d"]["previous_segment"] is None
    first = {
        row["customer_id"]: row["rfm_cell"] for row in rows(shop, "customer_segments", AS_OF[FIRST])
    }
    assert first == {"a": "444", "b": "111", "c": "144"}

    moves = {(m["from_segment"], m["to_segment"]): m for m in rows(shop, "segment_movement")}
    assert {pair: move["customers"] for pair, move in moves.items()} == {
        ("(new)", "Potential Loyalists"): 1,
        ("At Risk", "At Risk"): 1,
        ("Lost", "Lost"): 1,
        ("Loyal Customers", "Champions"): 1,
    }
    grown = moves["Loyal Customers", "Champions"]
    assert (grown["monetary_before"], grown["monetary_now"]) == (480, 600)

    summary = {row["segment"]: row for row in rows(shop, "segment_summary")}
    assert sum(row["customers"] for row in summary.values()) == 4
    assert summary["Champions"]["customers_change"] == 1
    assert summary["Loyal Customers"]["customers_change"] == -1
    # 600 of 925: 6.4864.. of 10 hours
    assert summary["Champions"]["success_hours"] == pytest.approx(6.49)

    assert [row["customer_id"] for row in rows(shop, "champions")] == ["a"]
    # b is Lost and so suppressed, although win_back asks for Lost as well
    assert [row["customer_id"] for row in rows(shop, "win_back")] == ["c"]
    assert rows(shop, "win_back", part="excluded") == [
        {"customer_id": "b", "stage": "suppression", "reason": "suppressed: paid_media_saving"}
    ]
    assert [(r["customer_id"], r["reason"]) for r in rows(shop, "suppression_list")] == [
        ("b", "paid_media_saving")
    ]
    (reject,) = rows(shop, "transaction_data_rejects")
    assert (reject["source_line"], reject["reason"]) == (13, "missing_customer_id")


def test_each_week_has_its_own_figures_in_the_catalogue(shop: Shop) -> None:
    result = shop.run(FIRST, SECOND)
    found = {
        (event.asset_key.to_user_string(), event.partition): event.materialization.metadata
        for event in result.get_asset_materialization_events()
        if event.asset_key is not None
    }
    counts = {
        key: metadata["dagster/row_count"].value
        for (key, partition), metadata in found.items()
        if partition == SECOND
    }
    assert counts == {
        "customer_segments": 4,
        "segment_movement": 4,
        "segment_summary": 10,
        "suppression_list": 1,
        "champions": 1,
        "win_back": 1,
    }
    assert found["customer_segments", FIRST]["dagster/row_count"].value == 3
    waterfall = found["win_back", SECOND]["waterfall"].value
    assert "| suppression | 2 | 1 | 1 |" in waterfall
    assert "| **Loyal Customers** | 1 |" in found["segment_movement", SECOND]["movement"].value
    picture = found["customer_segments", SECOND]["recency by frequency"].value
    assert picture.startswith("![R by F](data:image/png;base64,")
    for table in counts:
        shown = found[table, SECOND]["dagster/column_schema"].value.columns
        stored = load_table(table, AS_OF[SECOND], root=shop.root, kind="pyarrow").schema
        assert [column.name for column in shown] == stored.names
        assert all(column.description for column in shown)


@pytest.mark.parametrize("seed", [1, 2])
def test_a_backfill_gives_what_the_week_gave_before_later_data_existed(
    shop: Shop, seed: int
) -> None:
    known_then = [row for row in ROWS if row.split(",")[2] < str(AS_OF[FIRST])]
    assert len(known_then) < len(ROWS)
    shop.write_orders(known_then)
    assert shop.run(FIRST).success
    tables = ["customer_segments", "segment_summary", "suppression_list", "champions", "win_back"]
    then = {table: rows(shop, table, AS_OF[FIRST]) for table in tables}
    excluded = rows(shop, "win_back", AS_OF[FIRST], part="excluded")

    everything = list(ROWS)
    random.Random(seed).shuffle(everything)
    shop.write_orders(everything)
    assert shop.run(FIRST).success
    now = {table: rows(shop, table, AS_OF[FIRST]) for table in tables}
    for row in [*then["customer_segments"], *now["customer_segments"]]:
        del row["segmented_at"]
    assert now == then
    assert rows(shop, "win_back", AS_OF[FIRST], part="excluded") == excluded


def test_a_source_that_lost_most_of_its_rows_blocks_everything_and_keeps_the_last(
    shop: Shop,
) -> None:
    assert shop.run(FIRST).success
    shop.write_orders(ROWS[:3])
    result = shop.run(SECOND)
    assert not result.success
    message = failure(result)
    assert "volume: observed 3 rows, 11 in the last run" in message
    assert "max_volume_fall" in message
    assert len(rows(shop, "transaction_data")) == 11
    assert shop.store.dates("customer_segments") == [AS_OF[FIRST]]
    evaluations = {e.check_name: e for e in result.get_asset_check_evaluations() if not e.passed}
    assert set(evaluations) == {"volume"}
    assert evaluations["volume"].severity == dg.AssetCheckSeverity.ERROR


def test_what_was_set_aside_is_kept_when_the_rest_is_refused(shop: Shop) -> None:
    shop.write_orders([f"{i},,2026-01-01,1" for i in range(9)] + ["10,a,2026-01-01,1"])
    result = shop.run(FIRST)
    assert not result.success
    assert "reject_rate" in failure(result)
    assert len(rows(shop, "transaction_data_rejects")) == 9
    keys = {e.asset_key.to_user_string() for e in result.get_asset_materialization_events()}
    assert keys == {"transaction_data_rejects"}


def test_weeks_before_a_refused_one_stay_published_and_recorded(shop: Shop) -> None:
    shop.project.write(
        "customer_segments",
        """
        type: rfm_assets.components.CustomerSegmentationComponent
        attributes:
          asset_name: customer_segments
          scoring_method: custom
          thresholds: {recency: [10, 20, 40, 80], frequency: [1, 2, 3, 4], monetary: [10, 50, 100, 500]}
          checks: {warn_drift: 0.1, block_drift: 0.2, drift_min_customers: 0}
        """,
    )
    result = shop.run(FIRST, SECOND)
    assert "drift: observed population stability index" in failure(result)
    assert shop.store.dates("customer_segments") == [AS_OF[FIRST]]
    recorded = [
        (e.asset_key.to_user_string(), e.partition)
        for e in result.get_asset_materialization_events()
        if e.asset_key == dg.AssetKey("customer_segments")
    ]
    assert recorded == [("customer_segments", FIRST)]
    # d is new: Potential Loyalists are a quarter now, and a left Loyal Customers
    assert "Loyal Customers 33.3% to 0.0%" in failure(result)


THIRD = "2026-03-02"


def run_of_three_weeks(shop: Shop) -> dg.ExecuteInProcessResult:
    """Of the summary alone, over the segments that are stored."""
    job = shop.project.load().resolve_implicit_global_asset_job_def()
    return job.execute_in_process(
        instance=dg.DagsterInstance.ephemeral(),
        asset_selection=[dg.AssetKey("segment_summary")],
        raise_on_error=False,
        tags={
            "dagster/asset_partition_range_start": FIRST,
            "dagster/asset_partition_range_end": THIRD,
        },
        run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
    )


def recorded_rows(result: dg.ExecuteInProcessResult) -> dict[str | None, Any]:
    return {
        event.partition: event.materialization.metadata["dagster/row_count"].value
        for event in result.get_asset_materialization_events()
    }


def test_weeks_before_one_that_cannot_be_read_stay_recorded(shop: Shop) -> None:
    assert shop.run(FIRST, SECOND, THIRD).success
    damaged = shop.store.snapshot("customer_segments", date(2026, 3, 9)).folder / "manifest.json"
    damaged.write_text("{")
    result = run_of_three_weeks(shop)
    assert not result.success
    assert recorded_rows(result) == {FIRST: 10, SECOND: 10}
    assert {e.passed for e in result.get_asset_check_evaluations()} == {True}
    (event,) = [event for event in result.all_events if event.is_step_failure]
    said = event.step_failure_data.error.message
    assert said.startswith(f"dagster._core.definitions.events.Failure: {damaged} is damaged: ")
    failed = event.step_failure_data.user_failure_data
    assert failed.metadata["as_of"].value == "2026-03-09"
    assert failed.metadata["weeks published before"].value == 2


def damage_rows(shop: Shop, as_of: date) -> Path:
    """The file of that week's segments, its rows overwritten; the footer still reads well."""
    (stored,) = shop.store.snapshot("customer_segments", as_of).files()
    content = bytearray(stored.read_bytes())
    content[4:400] = b"\xff" * 396
    stored.write_bytes(content)
    return Path(stored)


def test_a_damaged_week_is_named_and_heals_when_it_is_run_again(shop: Shop) -> None:
    assert shop.run(FIRST, SECOND, THIRD).success
    damaged = damage_rows(shop, date(2026, 3, 9))
    result = run_of_three_weeks(shop)
    assert (
        f"{damaged} of customer_segments as of 2026-03-09 is damaged: it is not what was written. "
        "Run the week that ends on 2026-03-09 again for customer_segments"
    ) in failure(result)
    assert recorded_rows(result) == {FIRST: 10, SECOND: 10}
    assert shop.run(THIRD).success
    assert run_of_three_weeks(shop).success


def test_weeks_before_one_that_fails_by_no_error_of_our_own_stay_recorded(shop: Shop) -> None:
    assert shop.run(FIRST, SECOND, THIRD).success
    manifest = damage_rows(shop, date(2026, 3, 9)).parents[1] / "manifest.json"
    content = json.loads(manifest.read_text())
    manifest.write_text(json.dumps({**content, "checksums": {}}))
    result = run_of_three_weeks(shop)
    assert not result.success
    assert "duckdb" in failure(result)
    assert recorded_rows(result) == {FIRST: 10, SECOND: 10}


def test_an_empty_file_blocks_with_a_reason(shop: Shop) -> None:
    shop.write_orders([])
    result = shop.run(FIRST)
    assert "volume: observed 0 rows" in failure(result)
    with pytest.raises(SnapshotMissing):
        rows(shop, "transaction_data")


def test_checks_say_what_they_saw(shop: Shop) -> None:
    result = shop.run(FIRST, SECOND)
    seen = {
        (e.asset_key.to_user_string(), e.check_name): e
        for e in result.get_asset_check_evaluations()
    }
    assert all(e.passed for e in seen.values())
    # 480 + 5 + 300 before, and 140 more since
    assert seen["customer_segments", "money_reconciles"].description == (
        "As of 2026-03-02: segmented 925.0000 + left out 0.0000 = 925.0000"
    )
    assert seen["win_back", "stages_reconcile"].description == (
        "As of 2026-03-02: deliverable 1 + control 0 + excluded 1 = 2"
    )
    assert seen["transaction_data", "rows_reconcile"].description == (
        "kept 11 + set aside 1 + dropped by policy 0 = 12"
    )


STORED = (
    "transaction_data",
    "transaction_data_rejects",
    "customer_segments",
    "segment_movement",
    "segment_summary",
    "suppression_list",
    "champions",
    "win_back",
)


def everything(shop: Shop) -> dict[str, list[dict]]:
    """The newest rows of every table, less the stamp of the run."""
    found = {table: rows(shop, table) for table in STORED}
    for row in found["customer_segments"]:
        del row["segmented_at"]
    return found


def test_the_store_may_be_a_bucket(shop: Shop, tmp_path: Path) -> None:
    assert shop.run(FIRST, SECOND).success
    on_disk = tables(shop.root)

    root = f"memory://{tmp_path.name}/store"
    shop.project.write(
        "deployment",
        f"""
        type: rfm_assets.components.DeploymentComponent
        attributes:
          threads: 2
          store_root: {root}
        """,
    )
    result = shop.run(FIRST, SECOND)
    assert result.success, failure(result)
    assert tables(root) == on_disk
    assert all(check.passed for check in result.get_asset_check_evaluations())
    # And a week again, over what is there.
    assert shop.run(SECOND).success
    assert tables(root) == on_disk


def test_the_engine_changes_no_row(shop: Shop) -> None:
    assert shop.run(FIRST, SECOND).success
    on_duckdb = everything(shop)
    shop.project.write(
        "deployment",
        """
        type: rfm_assets.components.DeploymentComponent
        attributes: {engine: polars}
        """,
    )
    result = shop.run(FIRST, SECOND)
    assert result.success, failure(result)
    assert everything(shop) == on_duckdb


@pytest.mark.parametrize(
    ("orders", "segments", "excluded"),
    [
        pytest.param(["1,a,2026-02-01,-5", "2,b,2026-02-02,-7"], {}, 2, id="refunds only"),
        pytest.param(["1,a,2026-02-20,50"], {"a": "512"}, 0, id="one customer"),
        pytest.param(
            [f"{i},c{i},2026-02-20,50" for i in range(5)],
            {f"c{i}": "512" for i in range(5)},
            0,
            id="all customers equal",
        ),
        pytest.param(
            ["1,17850.0,2026-02-20,50", "2,17850,2026-02-21,5", "3,0042,2026-02-21,5"],
            {"17850": "523", "0042": "511"},
            0,
            id="ids that look like floats",
        ),
        pytest.param(
            ["1,a,2026-02-20,50", "1,a,2026-02-20,50", "2,a,2026-02-21,n/a", "3,a,2026-02-21,inf"],
            {"a": "513"},
            0,
            id="duplicates, and amounts that are none",
        ),
        pytest.param(["1,a,2024-02-20,50"], {}, 1, id="nothing in the window"),
    ],
)
def test_odd_data_give_whole_tables(
    shop: Shop, orders: list[str], segments: dict[str, str], excluded: int
) -> None:
    text = (shop.project.defs / "transaction_data" / "defs.yaml").read_text()
    shop.project.write("transaction_data", text.replace("0.2}", "0.9, block_reject_rate: 0.95}"))
    shop.write_orders(orders)
    result = shop.run(SECOND)
    assert result.success, failure(result)
    found = {row["customer_id"]: row["rfm_cell"] for row in rows(shop, "customer_segments")}
    assert found == segments
    assert len(rows(shop, "customer_segments", part="excluded")) == excluded
    assert sum(row["customers"] for row in rows(shop, "segment_summary")) == len(segments)
    assert len(rows(shop, "segment_summary")) == 10
    assert rows(shop, "champions") == []


def test_the_keys_of_the_earlier_component_work_as_written(shop: Shop) -> None:
    shop.project.write(
        "customer_segments",
        """
        type: rfm_assets.components.CustomerSegmentationComponent
        attributes:
          asset_name: customer_segments
          transaction_data_asset_key: transaction_data
          analysis_period_days: 180
          recency_weight: 2.0
          frequency_weight: 0.5
          monetary_weight: 1.0
          scoring_method: quartiles
          use_predefined_segments: true
          include_recommendations: false
          calculate_segment_value: true
          group_name: customer_analytics
          description: Customers by recency, frequency and monetary
          checks: {block_drift: 100}
        """,
    )
    result = shop.run(SECOND)
    assert result.success, failure(result)
    # In 180 days: a 4 purchases, 500, 2 days ago; c 1, 75, 152 days; d 1, 20, 4 days. The quartiles
    # of three values are the values themselves, so the lowest has no cut below it, the next one.
    found = {row["customer_id"]: row for row in rows(shop, "customer_segments")}
    assert {name: row["rfm_cell"] for name, row in found.items()} == {
        "a": "433",
        "c": "212",
        "d": "311",
    }
    assert found["a"]["RFM_score"] == pytest.approx((2 * 4 + 0.5 * 3 + 1 * 3) / 3.5)
    assert found["a"]["segment"] is not None
    assert found["a"]["recommendation"] is None
    spec = next(
        spec
        for spec in shop.project.load().resolve_all_asset_specs()
        if spec.key == dg.AssetKey("customer_segments")
    )
    assert spec.group_name == "customer_analytics"
    assert spec.description == "Customers by recency, frequency and monetary"


ENTRIES = """
    type: rfm_assets.components.SuppressionListComponent
    attributes:
      asset_name: suppression_list
      entries:
        source: {type: csv, path: stop.csv}
        columns: {customer_id: who, reason: why, since: when}
        max_age_days: 7
    """


def test_a_suppressed_customer_is_on_no_list(shop: Shop) -> None:
    shop.project.write("suppression_list", ENTRIES)
    stop = shop.project.root / "stop.csv"
    # c objects after as_of, but the list is sent after it too; a's reason is spelt freely
    stop.write_text("who,why,when\na,Legal Hold,2026-02-25\nc,objected,2026-03-04\n")
    result = shop.run(FIRST, SECOND)
    assert result.success, failure(result)
    assert rows(shop, "champions") == []
    assert rows(shop, "champions", part="excluded") == [
        {"customer_id": "a", "stage": "suppression", "reason": "suppressed: legal_hold"}
    ]
    assert [row["customer_id"] for row in rows(shop, "win_back")] == ["b"]


def test_old_weeks_can_be_suppressed_as_they_were(shop: Shop) -> None:
    shop.project.write("suppression_list", ENTRIES + "    point_in_time: true\n")
    stop = shop.project.root / "stop.csv"
    stop.write_text("who,why,when\nb,objected,2026-03-01\nc,objected,2026-03-02\n")
    result = shop.run(FIRST, SECOND)
    assert result.success, failure(result)
    # as of 2 March the entry of the 1st is visible, that of the 2nd is not yet
    assert [row["customer_id"] for row in rows(shop, "win_back")] == ["c"]
    assert [row["customer_id"] for row in rows(shop, "win_back", AS_OF[FIRST])] == ["c", "b"]


def test_a_file_of_entries_that_broke_off_publishes_no_list(shop: Shop) -> None:
    shop.project.write("suppression_list", ENTRIES)
    stop = shop.project.root / "stop.csv"
    stop.write_text("who,why,when\na,test,\nb,test,\nx,test,\n")
    assert shop.run(FIRST).success
    stop.write_text("who,why,when\nx,test,\n")
    result = shop.run(SECOND)
    assert "entries_volume: observed 1 entries, 3 before; expected at least 2" in failure(result)
    assert shop.store.dates("champions") == [AS_OF[FIRST]]


def test_a_day_of_an_entry_that_cannot_be_read_is_told_and_suppresses(shop: Shop) -> None:
    shop.project.write("suppression_list", ENTRIES + "    point_in_time: true\n")
    stop = shop.project.root / "stop.csv"
    stop.write_text("who,why,when\nb,objected,31.02.2026\nc,objected,2026-03-02\nd,test,\n")
    result = shop.run(SECOND)
    assert result.success, failure(result)
    check = next(e for e in result.get_asset_check_evaluations() if e.check_name == "entries_dated")
    assert not check.passed
    assert check.severity is dg.AssetCheckSeverity.WARN
    assert "observed 1 unreadable days; these entries hold always" in (check.description or "")
    assert {row["customer_id"] for row in rows(shop, "suppression_list")} == {"b", "d"}


def test_entries_without_days_have_no_check_of_them(shop: Shop) -> None:
    shop.project.write("suppression_list", ENTRIES.replace(", since: when", ""))
    (shop.project.root / "stop.csv").write_text("who,why,when\na,test,31.02.2026\n")
    names = {e.check_name for e in shop.run(FIRST).get_asset_check_evaluations()}
    assert "entries_readable" in names
    assert "entries_dated" not in names


def test_entries_that_match_nobody_are_told(shop: Shop) -> None:
    shop.project.write("suppression_list", ENTRIES + "  segments: [Lost]\n")
    stop = shop.project.root / "stop.csv"
    stop.write_text("who,why,when\n0a,test,\n0c,test,\na,test,\n")
    result = shop.run(SECOND)
    assert result.success, failure(result)
    (told,) = [e for e in result.get_asset_check_evaluations() if not e.passed]
    assert told.check_name == "entries_known"
    assert told.severity == dg.AssetCheckSeverity.WARN
    assert "2 of 3 entries match no customer" in (told.description or "")


def test_a_list_is_not_published_from_an_old_suppression_list(shop: Shop) -> None:
    assert shop.run(SECOND).success
    folder = shop.root / "suppression_list" / f"as_of={AS_OF[SECOND]}"
    (manifest,) = folder.glob("*/manifest.json")
    content = json.loads(manifest.read_text())
    before = datetime.fromisoformat(content["created_at"]) - timedelta(days=8)
    manifest.write_text(json.dumps(content | {"created_at": before.isoformat()}))
    job = shop.project.load().resolve_implicit_global_asset_job_def()
    result = job.get_subset(asset_selection={dg.AssetKey("champions")}).execute_in_process(
        partition_key=SECOND, raise_on_error=False
    )
    assert "suppression_current: observed suppression_list computed 8.0 days ago" in failure(result)


def test_only_a_suppression_list_can_suppress(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    text = (shop.project.defs / "champions" / "defs.yaml").read_text()
    shop.project.write("champions", text + "  suppression_asset_keys: [segment_summary]\n")
    with pytest.raises(
        InvalidProject, match=r"suppression_asset_keys\[0\].: 'segment_summary' is made"
    ):
        shop.project.load()
    # As where another project makes it.
    monkeypatch.setattr("rfm_assets.components.wiring.MAKERS", {})
    result = shop.run(SECOND)
    assert "'segment_summary' holds a segment_summary table, not a suppression list" in failure(
        result
    )


@pytest.mark.parametrize(
    ("content", "message"),
    [
        pytest.param(None, "stop.csv", id="no file"),
        pytest.param("", "0 bytes", id="empty"),
        pytest.param(
            "id,why,when\na,bounced,\n",
            "column 'who' (named by `columns.customer_id`) does not exist",
            id="renamed",
        ),
        pytest.param("who,why,when\n,bounced,\n", "1 rows without customer", id="no customer"),
        pytest.param(
            "who,why,when\na,b,c,d,e\nb,test,\n",
            "1 broken lines (the first: stop.csv line 2)",
            id="broken line",
        ),
    ],
)
def test_unreadable_suppression_publishes_no_list(
    shop: Shop, content: str | None, message: str
) -> None:
    shop.project.write("suppression_list", ENTRIES)
    if content is not None:
        (shop.project.root / "stop.csv").write_text(content)
    result = shop.run(SECOND)
    assert not result.success
    assert message in failure(result)
    for table in ("suppression_list", "champions", "win_back"):
        with pytest.raises((SnapshotMissing, TableMissing)):
            rows(shop, table)


def test_stale_suppression_publishes_no_list(shop: Shop) -> None:
    shop.project.write("suppression_list", ENTRIES)
    stop = shop.project.root / "stop.csv"
    stop.write_text("who,why,when\na,test,\n")
    eight_days_ago = stop.stat().st_mtime - 8 * 86_400
    os.utime(stop, (eight_days_ago, eight_days_ago))
    result = shop.run(SECOND)
    assert "written 8.0 days ago, and 7 days are allowed" in failure(result)
    with pytest.raises((SnapshotMissing, TableMissing)):
        rows(shop, "champions")


def test_a_campaign_for_an_unknown_segment_is_refused_at_load(shop: Shop) -> None:
    shop.project.write(
        "champions",
        """
        type: rfm_assets.components.CampaignListComponent
        attributes:
          asset_name: champions
          segments: [Champoins]
        """,
    )
    (problem,) = shop.project.problems()
    assert problem.line == 4
    assert (
        "'Champoins' is not a segment of the scheme. Did you mean 'Champions'?" in problem.message
    )


def test_a_scheme_with_a_gap_is_refused_at_load_with_the_cell(shop: Shop) -> None:
    shop.project.write(
        "customer_segments",
        """
        type: rfm_assets.components.CustomerSegmentationComponent
        attributes:
          asset_name: customer_segments
          segment_scheme:
            id: mine
            segments: [{id: best, name: Best}]
            rules: [{segment: best, r: [2, 5]}]
        """,
    )
    problems = shop.project.problems()
    assert any("25 of 125 cells" in p.message and "1-1-1" in p.message for p in problems), problems


def test_drift_is_also_measured_against_a_declared_reference(shop: Shop) -> None:
    path = shop.project.defs / "customer_segments" / "defs.yaml"
    text = path.read_text().replace(
        "warn_drift: 100", f"reference: {AS_OF[FIRST]}, warn_drift: 100"
    )
    shop.project.write("customer_segments", text)
    result = shop.run(FIRST, SECOND)
    assert result.success, failure(result)
    seen = {e.check_name: e for e in result.get_asset_check_evaluations()}
    assert "since 2026-02-23" in (seen["reference_drift"].description or "")


def test_an_upstream_that_nobody_makes_is_refused_at_load(shop: Shop) -> None:
    path = shop.project.defs / "customer_segments" / "defs.yaml"
    text = path.read_text().replace(
        "asset_name: customer_segments",
        "asset_name: customer_segments\n  transaction_data_asset_key: transactions",
    )
    shop.project.write("customer_segments", text)
    with pytest.raises(InvalidProject) as refused:
        shop.project.load()
    assert (
        "customer_segments/defs.yaml:4 `transaction_data_asset_key`: 'transactions' is no asset of "
        "this project. Did you mean 'transaction_data'?"
    ) in str(refused.value)


def test_a_week_that_has_not_ended_is_refused(shop: Shop) -> None:
    assert shop.run(FIRST).success
    job = shop.project.load().resolve_job_def("weekly_refresh")
    result = job.execute_in_process(raise_on_error=False, tags={"dagster/partition": "2999-01-07"})
    assert "'2999-01-07' is no week that has ended" in failure(result)
    assert shop.store.dates("customer_segments") == [AS_OF[FIRST]]


def test_a_wrong_expression_is_told_with_its_line_when_the_data_show_it(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As where another project makes the segments: nothing tells their columns before.
    monkeypatch.setattr("rfm_assets.components.campaign_list.columns_at_load", lambda *_: None)
    path = shop.project.defs / "win_back" / "defs.yaml"
    text = path.read_text().replace("monetary / (recency / 30 + 1)", "monetry / 2")
    shop.project.write("win_back", text)
    result = shop.run(FIRST)
    assert "win_back/defs.yaml:5" in failure(result)
    assert "column 'monetry' does not exist. Did you mean 'monetary'?" in failure(result)


def test_a_wrong_scheme_is_blamed_on_the_component_that_names_it(shop: Shop) -> None:
    text = (shop.project.defs / "customer_segments" / "defs.yaml").read_text()
    shop.project.write("customer_segments", text + "  segment_scheme: rfm_12\n")
    with pytest.raises(InvalidProject) as refused:
        shop.project.load()
    assert "champions" not in str(refused.value)
    assert "customer_segments/defs.yaml:10 segment_scheme" in str(refused.value)


def test_an_unset_variable_within_a_path_is_refused(shop: Shop) -> None:
    text = (shop.project.defs / "transaction_data" / "defs.yaml").read_text()
    shop.project.write(
        "transaction_data", text.replace("path: orders.csv", 'path: "{{ env.RFM_NOT_SET }}/o.csv"')
    )
    (problem,) = shop.project.problems()
    assert problem.line == 4
    assert "not set" in problem.message


def test_segments_of_a_week_whose_transactions_were_read_before_its_end_say_so(shop: Shop) -> None:
    assert shop.run(FIRST).success
    (manifest,) = (shop.root / "transaction_data" / "as_of=all").glob("*/manifest.json")
    content = json.loads(manifest.read_text())
    manifest.write_text(json.dumps(content | {"created_at": "2026-02-22T23:59:00Z"}))
    job = shop.project.load().resolve_implicit_global_asset_job_def()
    result = job.get_subset(asset_selection={dg.AssetKey("customer_segments")}).execute_in_process(
        partition_key=FIRST, raise_on_error=False
    )
    assert result.success, failure(result)
    told = {e.check_name: e for e in result.get_asset_check_evaluations() if not e.passed}
    assert "transactions read on 2026-02-22" in (told["transactions_cover_week"].description or "")
