"""What breaks a blocking rule is not published, and the last good snapshot stays."""

from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from rfm_assets.domain.frames import Table
from rfm_assets.engines.base import Engine, collect_rows
from rfm_assets.engines.opening import open_engine
from rfm_assets.errors import PartMismatch, UnsupportedFrame, ValidationFailed
from rfm_assets.publishing import Publication, Staged, publish, publish_frame
from rfm_assets.schemas import CAMPAIGN_LIST, SUPPRESSION_LIST
from rfm_assets.store import Store
from rfm_assets.validation import CheckOutcome, described_checks
from rfm_assets_tests.published import NO_CONTROL
from rfm_assets_tests.tables import LOCAL_SPARK, SPARK

JAN_12 = date(2026, 1, 12)

EXCLUDED = pa.table({"customer_id": ["z"], "stage": ["suppression"], "reason": ["bounced"]})


@pytest.fixture(params=["duckdb", "polars", SPARK])
def engine(request: pytest.FixtureRequest) -> Iterator[Engine]:
    with open_engine(request.param, threads=1, **LOCAL_SPARK) as opened:
        yield opened


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


def entries(*customers: str, as_of: date = JAN_12, **more: list[Any]) -> pa.Table:
    n = len(customers)
    return pa.table(
        {
            "customer_id": pa.array(customers, pa.string()),
            "reason": pa.array(["bounced"] * n, pa.string()),
            "source": pa.array(["file"] * n, pa.string()),
            "since": pa.array([None] * n, pa.date32()),
            "as_of": pa.array([as_of] * n, pa.date32()),
            **more,
        }
    )


def put(store: Store, engine: Engine, rows: pa.Table, **options: Any) -> Publication:
    return publish(
        store,
        engine,
        SUPPRESSION_LIST,
        table="suppression_list",
        as_of=JAN_12,
        frame=engine.from_arrow(rows),
        **options,
    )


def outcome(name: str, *, passed: bool, blocking: bool) -> CheckOutcome:
    return CheckOutcome(
        name=name,
        passed=passed,
        blocking=blocking,
        observed="1 of 2",
        expected="none",
        next_step="Look again.",
    )


def stored(store: Store) -> list[str]:
    (path,) = store.snapshot("suppression_list", JAN_12).files()
    return pl.read_parquet(str(path))["customer_id"].to_list()


def versions(store: Store) -> list[str]:
    folder = store.folder("suppression_list", JAN_12)
    return [path.name for path in folder.iterdir() if path.is_dir()]


def test_valid_rows_are_published_sorted_with_their_provenance(
    store: Store, engine: Engine
) -> None:
    publication = put(store, engine, entries("b", "a"), run_id="run-1", counts={"bounced": 2})
    assert stored(store) == ["a", "b"]
    manifest = store.snapshot("suppression_list").manifest
    assert manifest == publication.snapshot.manifest
    assert manifest.kind == "suppression_list"
    assert manifest.row_counts == {"rows": 2}
    assert (manifest.run_id, manifest.counts) == ("run-1", {"bounced": 2})
    assert tuple(manifest.checks) == publication.outcomes
    assert [one.name for one in publication.outcomes] == list(described_checks(SUPPRESSION_LIST))


def test_the_same_rows_in_any_order_give_the_same_file(store: Store, engine: Engine) -> None:
    one, other = (
        put(store, engine, rows).snapshot.files()[0].read_bytes()
        for rows in (entries("b", "a", "c"), entries("c", "b", "a"))
    )
    assert one == other


def test_a_blocking_failure_publishes_nothing_and_keeps_the_last_good(
    store: Store, engine: Engine
) -> None:
    put(store, engine, entries("a"))
    before = versions(store)
    with pytest.raises(ValidationFailed) as failure:
        put(store, engine, entries("b", "b", as_of=date(2026, 1, 5)))
    assert stored(store) == ["a"]
    assert versions(store) == before
    message = str(failure.value)
    assert message.startswith(
        "suppression_list as of 2026-01-12: not published, and the last good snapshot is kept, "
        "because 2 of 3 checks failed:"
    )
    assert "unique_customers: observed 1 of 2 rows repeat the customer_id of another" in message
    assert "schema: observed 2 of 2 rows break `as_of = 2026-01-12`" in message
    assert "Look for a join or an input that repeats customers, and run again." in message
    failed = {one.name for one in failure.value.outcomes if not one.passed}
    assert failed == {"unique_customers", "schema"}
    assert len(failure.value.outcomes) == 3


def test_a_first_failure_leaves_no_snapshot(store: Store, engine: Engine) -> None:
    with pytest.raises(ValidationFailed):
        put(store, engine, entries("a", "a"))
    assert store.dates("suppression_list") == []
    assert versions(store) == []


def test_a_warning_is_published_and_recorded(store: Store, engine: Engine) -> None:
    put(store, engine, entries("a"), rules=[outcome("drift", passed=False, blocking=False)])
    assert stored(store) == ["a"]
    recorded = {one.name: one for one in store.snapshot("suppression_list").manifest.checks}
    assert not recorded["drift"].passed


def test_a_rule_of_the_caller_blocks(store: Store, engine: Engine) -> None:
    rule = outcome("no_suppressed_customer", passed=False, blocking=True)
    with pytest.raises(
        ValidationFailed,
        match=r"no_suppressed_customer: observed 1 of 2; expected none\. Look again",
    ):
        put(store, engine, entries("a"), rules=[rule])
    assert store.dates("suppression_list") == []


def test_a_rule_may_judge_the_staged_rows(store: Store, engine: Engine) -> None:
    seen: list[Any] = []

    def rules(staged: Staged) -> list[CheckOutcome]:
        seen.extend((staged.row_counts["rows"], collect_rows(staged.rows.select("customer_id"))))
        return [outcome("mine", passed=True, blocking=True)]

    publication = put(store, engine, entries("a"), rules=rules)
    assert seen == [1, [{"customer_id": "a"}]]
    assert publication.outcomes[-1].name == "mine"


@pytest.mark.parametrize("verdict", ["passed", "failed"])
def test_a_rule_named_as_a_contracts_check_joins_it(
    store: Store, engine: Engine, verdict: str
) -> None:
    passed = verdict == "passed"
    rule = outcome("unique_customers", passed=passed, blocking=False)
    publication = put(store, engine, entries("a"), rules=[rule])
    (joined,) = [one for one in publication.outcomes if one.name == "unique_customers"]
    assert joined.passed == passed
    assert not joined.blocking or passed
    assert "none at fault; 1 of 2" in joined.observed


def test_of_two_failures_of_one_name_the_blocking_one_decides(store: Store, engine: Engine) -> None:
    rule = outcome("unique_customers", passed=False, blocking=False)
    with pytest.raises(ValidationFailed):
        put(store, engine, entries("a", "a"), rules=[rule])


def campaign(engine: Engine, excluded: pa.Table) -> dict[str, Table]:
    rows = pa.table(
        {
            "customer_id": ["a"],
            "rank": [1],
            "priority": [1.0],
            "segment": ["Champions"],
            "as_of": [JAN_12],
        }
    )
    return {"frame": engine.from_arrow(rows), "excluded": engine.from_arrow(excluded)}


def test_parts_are_published_with_the_rows_and_checked_by_name(
    store: Store, engine: Engine
) -> None:
    tables = campaign(engine, EXCLUDED)
    publication = publish(
        store,
        engine,
        CAMPAIGN_LIST,
        table="win_back",
        as_of=JAN_12,
        frame=tables["frame"],
        parts={"excluded": tables["excluded"], "control": engine.from_arrow(NO_CONTROL)},
    )
    assert publication.snapshot.manifest.row_counts == {"rows": 1, "excluded": 1, "control": 0}
    (path,) = store.snapshot("win_back").files("excluded")
    assert pl.read_parquet(str(path))["reason"].to_list() == ["bounced"]
    assert [one.name for one in publication.outcomes] == list(described_checks(CAMPAIGN_LIST))
    assert "excluded" in described_checks(CAMPAIGN_LIST)


def test_a_bad_part_keeps_the_rows_unpublished(store: Store, engine: Engine) -> None:
    tables = campaign(engine, pa.concat_tables([EXCLUDED, EXCLUDED]))
    with pytest.raises(ValidationFailed, match="excluded"):
        publish(
            store,
            engine,
            CAMPAIGN_LIST,
            table="win_back",
            as_of=JAN_12,
            frame=tables["frame"],
            parts={"excluded": tables["excluded"], "control": engine.from_arrow(NO_CONTROL)},
        )
    assert store.dates("win_back") == []


def test_every_part_of_the_contract_is_needed(store: Store, engine: Engine) -> None:
    frame = campaign(engine, EXCLUDED)["frame"]
    with pytest.raises(
        PartMismatch, match=r"parts rows are given, the contract has control, excluded, rows"
    ):
        publish(store, engine, CAMPAIGN_LIST, table="win_back", as_of=JAN_12, frame=frame)


def test_no_rows_are_published_with_their_columns(store: Store, engine: Engine) -> None:
    put(store, engine, entries())
    (path,) = store.snapshot("suppression_list").files()
    assert pl.read_parquet(str(path)).columns == entries().column_names


def test_a_frame_of_ones_own_keeps_its_order_and_columns(store: Store) -> None:
    frame = pd.DataFrame({"n": [3, 1, 2], "text": ["x", None, "y"]})
    snapshot, schema = publish_frame(store, table="mine", as_of=None, frame=frame)
    assert schema.names == ["n", "text"]
    assert pl.read_parquet(str(snapshot.files()[0])).rows() == [(3, "x"), (1, None), (2, "y")]
    with pytest.raises(UnsupportedFrame):
        publish_frame(store, table="mine", as_of=None, frame=[1])
    assert store.snapshot("mine").version == snapshot.version
