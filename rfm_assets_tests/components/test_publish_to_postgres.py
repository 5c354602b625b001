"""`PublishToPostgresComponent`: the shop's tables in a real database, week by week."""

from typing import Any

import dagster as dg
import pyarrow.parquet as pq
import pytest

from rfm_assets import load_table
from rfm_assets.errors import InvalidProject
from rfm_assets.postgres.migrating import newest_revision
from rfm_assets_tests.components.conftest import Project
from rfm_assets_tests.components.shop import (
    AS_OF,
    FIRST,
    SECOND,
    Shop,
    busy_shop,
    declared,
    failure,
    recorded,
)
from rfm_assets_tests.postgres import GUARDED, PASSWORD, EmbeddedPostgres

KEY = dg.AssetKey("crm_database")
TABLES = [
    "customer_segments",
    "segment_movement",
    "segment_summary",
    "suppression_list",
    "champions",
    "win_back",
]


def yaml(**attributes: Any) -> str:
    values = {"asset_name": "crm_database", "url_env": "CRM_DATABASE_URL"}
    values |= {"published_asset_keys": TABLES} | attributes
    return declared("PublishToPostgresComponent", values)


@pytest.fixture
def shop(project: Project, postgres: EmbeddedPostgres, monkeypatch: pytest.MonkeyPatch) -> Shop:
    """The shop, publishing to an empty database as a user with a password."""
    monkeypatch.delenv("RFM_STORE_ROOT", raising=False)
    monkeypatch.setenv("CRM_DATABASE_URL", postgres.url_of(GUARDED, PASSWORD))
    postgres.rows(f"grant create on database {postgres.database} to {GUARDED}")
    project.write("crm_database", yaml())
    return Shop(project)


def test_a_weekly_run_publishes_what_it_stored(shop: Shop, postgres: EmbeddedPostgres) -> None:
    result = shop.run(FIRST, SECOND)

    assert result.success, failure(result)
    for week, as_of in AS_OF.items():
        stored = pq.read_table(str(shop.store.snapshot("customer_segments", as_of).files()[0]))
        columns = ["customer_id", "recency", "monetary", "segment", "previous_segment"]
        published = postgres.rows(
            f"select {', '.join(columns)} from rfm.customer_segments "  # noqa: S608  known names
            "where as_of = :as_of order by customer_id",
            as_of=as_of,
        )
        assert published == [tuple(row.values()) for row in stored.select(columns).to_pylist()]
        assert recorded(result, KEY, week)["migration revision"].startswith(newest_revision())
    lists = postgres.rows(
        "select campaign, customer_id from rfm.campaign_members where as_of = :as_of order by 1, 2",
        as_of=AS_OF[SECOND],
    )
    assert lists == [
        (name, customer)
        for name in ("champions", "win_back")
        for customer in sorted(
            pq.read_table(str(shop.store.snapshot(name, AS_OF[SECOND]).files()[0]))
            .column("customer_id")
            .to_pylist()
        )
    ]


def test_what_changed_is_told(shop: Shop) -> None:
    shop.run(FIRST)

    again = recorded(shop.run(FIRST), KEY, FIRST)

    rows = [line.split(" | ") for line in again["what changed"].splitlines()[2:]]
    assert [row[0].strip("| ") for row in rows] == [
        *TABLES[:4],
        *["campaign_members", "campaign_control"] * 2,
    ]
    assert rows[0][1:4] == ["customer_segments", "2026-02-23", "published"]
    # A second run computes the same rows at another time.
    assert (again["inserted"], again["updated"], again["deleted"]) == (0, 0, 0)
    stored = [shop.store.snapshot(name, AS_OF[FIRST]) for name in TABLES]
    assert again["unchanged"] == sum(one.manifest.row_counts["rows"] for one in stored)
    assert "($CRM_DATABASE_URL), schema rfm" in again["target"]


def test_publishing_alone_a_second_time_does_nothing(shop: Shop) -> None:
    shop.run(FIRST)

    result = shop.run_alone(KEY, partition_key=FIRST)

    changed = recorded(result, KEY, FIRST)["what changed"]
    # Each of the two campaign lists has a control group beside it.
    assert changed.count("already published") == len(TABLES) + 2
    checks = {e.check_name: e.passed for e in result.get_asset_check_evaluations()}
    assert checks == {"published_rows_reconcile": True, "published_money_reconciles": True}


def test_the_password_is_nowhere(shop: Shop, postgres: EmbeddedPostgres) -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        good = shop.run(FIRST, instance=instance)
        postgres.rows("drop table rfm.segment_summary")
        bad = shop.run(SECOND, instance=instance)
        logged = [entry.to_json() for run in (good, bad) for entry in instance.all_logs(run.run_id)]

    assert (good.success, bad.success) == (True, False)
    assert "a table is missing" in failure(bad)
    assert PASSWORD not in "".join(logged)
    assert "s3cret" not in "".join(logged)
    assert "s3cret" not in repr(shop.project.load().resolve_asset_graph().get(KEY).metadata)


def test_only_the_latest_week_of_a_backfill_is_published(
    shop: Shop, postgres: EmbeddedPostgres
) -> None:
    shop.project.write("crm_database", yaml(history="latest"))

    result = shop.run(FIRST, SECOND)

    assert result.success, failure(result)
    dates = postgres.rows("select distinct as_of from rfm.published_snapshots")
    assert dates == [(AS_OF[SECOND],)]
    assert (
        recorded(result, KEY, FIRST)["what changed"]
        == "nothing: 2026-03-02 follows in the same run"
    )


def test_a_url_that_is_not_set_fails_the_publication_alone(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CRM_DATABASE_URL")

    result = shop.run(FIRST)

    assert "the environment variable CRM_DATABASE_URL is not set" in failure(result)
    assert shop.store.dates("win_back") == [AS_OF[FIRST]]


def test_a_failed_comparison_is_a_failed_check(shop: Shop, postgres: EmbeddedPostgres) -> None:
    shop.run(FIRST)
    postgres.rows("alter table rfm.customer_segments enable row level security")
    postgres.rows("alter table rfm.customer_segments force row level security")
    postgres.rows(
        "create policy few on rfm.customer_segments using (customer_id <> 'a') with check (true)"
    )

    result = shop.run(SECOND)

    checks = {
        e.check_name: e.passed for e in result.get_asset_check_evaluations() if e.asset_key == KEY
    }
    assert checks["published_rows_reconcile"] is False
    assert "row security" in failure(result)
    assert postgres.rows("select distinct as_of from rfm.customer_segments") == [(AS_OF[FIRST],)]


def test_a_misspelt_column_to_leave_out_stops_before_anything_is_published(
    shop: Shop, postgres: EmbeddedPostgres
) -> None:
    shop.project.write("crm_database", yaml(leave_out_columns="[recencyy]"))

    result = shop.run(FIRST)

    assert "crm_database/defs.yaml:6 leave_out_columns" in failure(result)
    assert "recencyy" in failure(result)
    assert postgres.rows("select 1 from pg_namespace where nspname = 'rfm'") == []


@pytest.mark.parametrize(
    ("attributes", "line", "message"),
    [
        ({"leave_out_columns": "[segment]"}, 6, "always have"),
        ({"published_asset_keys": "[win_back, win_back]"}, 5, "stands twice"),
        ({"schema_name": "pg_toast"}, 6, "belongs to Postgres itself"),
        ({"schema_name": "My Schema"}, 6, "schema_name"),
        ({"history": "newest"}, 6, "latest"),
        ({"url_env": "postgresql://u:s3cret@host/db"}, 4, "not the name of an environment"),
        ({"published_asset_keys": "[win_bakc]"}, 5, "Did you mean 'win_back'?"),
    ],
)
def test_wrong_yaml_is_told_with_its_line(
    shop: Shop, attributes: dict[str, str], line: int, message: str
) -> None:
    shop.project.write("crm_database", yaml(**attributes))

    with pytest.raises(InvalidProject) as raised:
        shop.project.load()

    assert f"crm_database/defs.yaml:{line} " in str(raised.value)
    assert message in str(raised.value)
    assert "s3cret" not in str(raised.value)


def test_without_weeks_a_run_asks_for_a_date(shop: Shop, postgres: EmbeddedPostgres) -> None:
    shop.run(FIRST)
    (shop.project.defs / "weekly" / "defs.yaml").unlink()

    result = shop.run_alone(
        KEY, run_config={"ops": {"crm_database": {"config": {"as_of": str(AS_OF[FIRST])}}}}
    )

    assert result.success
    assert postgres.rows("select distinct as_of from rfm.published_snapshots") == [(AS_OF[FIRST],)]


def test_clusters_with_their_profiles_and_lifetime_values(
    project: Project, postgres: EmbeddedPostgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("RFM_STORE_ROOT", raising=False)
    monkeypatch.setenv("CRM_DATABASE_URL", postgres.url)
    shop = busy_shop(project)
    learned = ["behavioral_segments", "customer_lifetime_value"]
    for name, kind in zip(learned, ("BehavioralSegments", "LifetimeValue"), strict=True):
        more = ", k: 4, bootstraps: 5" if name == learned[0] else ""
        project.write(
            name,
            f"type: rfm_assets.components.{kind}Component\nattributes: {{asset_name: {name}{more}}}\n",
        )
    project.write("crm_database", yaml(published_asset_keys=learned))

    result = shop.run(SECOND)

    assert result.success, failure(result)
    for name, table, part in (
        (learned[0], learned[0], None),
        (learned[0], "cluster_profiles", "profiles"),
        (learned[1], learned[1], None),
    ):
        rows = load_table(name, root=shop.root, kind="pyarrow", part=part or "rows").to_pylist()
        names = sorted(rows[0])
        published = postgres.rows(f"select {', '.join(names)} from rfm.{table}")  # noqa: S608
        assert sorted(map(repr, published)) == sorted(
            repr(tuple(row[one] for one in names)) for row in rows
        )
        assert rows


def test_churn_behavior_and_validation_with_the_views_of_old(
    project: Project, postgres: EmbeddedPostgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("RFM_STORE_ROOT", raising=False)
    monkeypatch.setenv("CRM_DATABASE_URL", postgres.url)
    shop = busy_shop(project)
    components = {
        "churn_scores": "{train: {horizon_days: 60, min_customers: 100, resamples: 100}",
        "churn_aware_segments": "{organization_id: north",
        "customer_behavior": "{profile: ecommerce, organization_id: north",
        "segment_validation": "{resamples: 100, candidates: [{type: recency}, {type: rfm, name: a}]",
    }
    kinds = ("ChurnScores", "ChurnAwareSegmentation", "BehaviorAnalysis", "SegmentValidation")
    for (name, settings), kind in zip(components.items(), kinds, strict=True):
        text = f"type: rfm_assets.components.{kind}Component\nattributes: {settings}, "
        project.write(name, f"{text}asset_name: {name}}}\n")
    project.write("crm_database", yaml(published_asset_keys=list(components), with_excluded=True))

    result = shop.run(SECOND)

    assert result.success, failure(result)
    for table, name, part in (
        ("churn_scores", "churn_scores", "rows"),
        ("churn_score_rejects", "churn_scores", "rejects"),
        ("churn_aware_segments", "churn_aware_segments", "rows"),
        ("churn_aware_segments_excluded", "churn_aware_segments", "excluded"),
        ("customer_behavior", "customer_behavior", "rows"),
        ("behavior_signals", "customer_behavior", "signals"),
        ("behavior_insights", "customer_behavior", "insights"),
        ("segment_validation", "segment_validation", "rows"),
        ("validation_scores", "segment_validation", "scores"),
    ):
        rows = load_table(name, root=shop.root, kind="pyarrow", part=part)
        names = rows.column_names
        published = postgres.rows(f"select {', '.join(names)} from rfm.{table}")  # noqa: S608
        assert sorted(map(repr, published)) == sorted(
            repr(tuple(row[one] for one in names)) for row in rows.to_pylist()
        ), table

    # The shapes that callers of the systems before read.
    (first,) = postgres.rows(
        "select customer_id, organization_id, segment, segment_score, rfm_category, "
        "churn_risk_level, metadata, pg_typeof(id)::text, pg_typeof(segment_score)::text "
        "from rfm.customer_segment_assignments order by customer_id limit 1"
    )
    stored = load_table("churn_aware_segments", root=shop.root, kind="pyarrow").to_pylist()
    row = min(stored, key=lambda one: one["customer_id"])
    assert first[:3] == (row["customer_id"], "north", row["segment"])
    assert float(first[3]) == row["segment_score"]
    assert first[4] == {name: row[f"{name}_category"] for name in "RFME"}
    assert first[5] == row["churn_risk_level"]
    assert first[6]["action"] == row["recommendation"]
    assert first[7:] == ("uuid", "numeric")
    behaviors = postgres.rows(
        "select customer_id, org_type, risk_signals, recommendations "
        "from rfm.customer_behaviors order by customer_id"
    )
    behavior = load_table("customer_behavior", root=shop.root, kind="pyarrow").to_pylist()
    assert len(behaviors) == len(behavior)
    for (customer, kind, signals, advice), own in zip(
        behaviors, sorted(behavior, key=lambda one: one["customer_id"]), strict=True
    ):
        assert (customer, kind) == (own["customer_id"], "ecommerce")
        assert ",".join(signals) == own["risk_signals"]
        assert len(advice) == own["signals_fired"]
