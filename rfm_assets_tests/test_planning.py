"""Which weeks are due: missing, made from something that was replaced, or from what is due itself."""

from dataclasses import replace
from datetime import date
from pathlib import Path

import polars as pl
import pytest

from rfm_assets.engines.duckdb_engine import DuckDBEngine
from rfm_assets.manifest import Manifest
from rfm_assets.planning import Due, Table, due
from rfm_assets.store import AsOf, Snapshot, Store

FIRST, SECOND, THIRD = date(2026, 3, 2), date(2026, 3, 9), date(2026, 3, 16)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


def put(
    store: Store, table: str, as_of: AsOf, *, settings: str = "", **inputs: Snapshot
) -> Snapshot:
    """Store a table; `name__before` is the input `name before`, `name__of` that of its date."""
    versions = {
        name.replace("__before", " before").replace("__of", f" as of {one.as_of}"): one.version
        for name, one in inputs.items()
    }
    with DuckDBEngine(threads=1) as engine, store.stage(table, as_of) as staging:
        rows = engine.from_native(pl.DataFrame({"x": [1]}))
        engine.write_parquet(rows, staging.path_for(), sort_by=())
        return staging.promote(
            Manifest(kind="frame", row_counts={"rows": 1}, inputs=versions, config_hash=settings)
        )


def tables(*weeks: date) -> list[Table]:
    return [
        Table("orders", frozenset(), (None,)),
        Table("segments", frozenset({"orders"}), weeks),
        Table("summary", frozenset({"segments"}), weeks),
    ]


def told(found: list[Due]) -> set[tuple[str, AsOf, str]]:
    return {(one.table, one.as_of, one.reason) for one in found}


def whole(store: Store) -> None:
    """Two weeks of all three tables."""
    orders = put(store, "orders", None)
    before: dict[str, Snapshot] = {}
    for day in (FIRST, SECOND):
        segments = put(store, "segments", day, orders=orders, **before)
        put(store, "summary", day, segments=segments)
        before = {"segments__before": segments}


def test_nothing_is_due_of_what_is_whole(store: Store) -> None:
    whole(store)
    assert due(store, tables(FIRST, SECOND)) == []


def test_everything_is_due_of_an_empty_store(store: Store) -> None:
    found = due(store, tables(FIRST))
    assert {one.reason for one in found} == {"missing"}
    assert len(found) == 3


def test_a_new_week_is_due_alone(store: Store) -> None:
    whole(store)
    assert told(due(store, tables(FIRST, SECOND, THIRD))) == {
        ("segments", THIRD, "missing"),
        ("summary", THIRD, "missing"),
    }


def test_a_replaced_input_makes_all_that_read_it_due(store: Store) -> None:
    whole(store)
    put(store, "orders", None)
    found = due(store, tables(FIRST, SECOND))
    assert told(found) == {
        ("segments", FIRST, "input changed"),
        ("segments", SECOND, "input changed"),
        ("summary", FIRST, "made from what is due"),
        ("summary", SECOND, "made from what is due"),
    }
    assert found[0].because == "orders changed since"


def test_a_week_that_was_run_again_makes_the_next_one_due(store: Store) -> None:
    whole(store)
    orders = store.snapshot("orders", None)
    segments = put(store, "segments", FIRST, orders=orders)
    put(store, "summary", FIRST, segments=segments)
    assert told(due(store, tables(FIRST, SECOND))) == {
        ("segments", SECOND, "input changed"),
        ("summary", SECOND, "made from what is due"),
    }


def test_a_week_that_came_between_makes_the_next_one_due(store: Store) -> None:
    orders = put(store, "orders", None)
    first = put(store, "segments", FIRST, orders=orders)
    put(store, "segments", THIRD, orders=orders, segments__before=first)
    put(store, "segments", SECOND, orders=orders, segments__before=first)
    found = due(store, tables(FIRST, SECOND, THIRD)[:2])
    assert told(found) == {("segments", THIRD, "input changed")}


def test_changed_settings_make_a_table_due_and_what_is_made_from_it(store: Store) -> None:
    orders = put(store, "orders", None, settings="a")
    segments = put(store, "segments", FIRST, settings="b", orders=orders)
    put(store, "summary", FIRST, segments=segments)
    known = [
        Table("orders", frozenset(), (None,), "a"),
        Table("segments", frozenset({"orders"}), (FIRST,), "b"),
        # It says nothing of its settings, as what was stored by somebody's own asset.
        Table("summary", frozenset({"segments"}), (FIRST,), "c"),
    ]
    assert due(store, known) == []
    changed = [known[0], replace(known[1], configuration="c"), known[2]]
    assert due(store, changed) == [
        Due("segments", FIRST, "configuration changed", "its YAML changed since"),
        Due("summary", FIRST, "made from what is due", "made from segments"),
    ]


def test_an_earlier_week_of_itself_is_an_input_that_stays(store: Store) -> None:
    orders = put(store, "orders", None)
    first = put(store, "segments", FIRST, orders=orders)
    put(store, "segments", SECOND, orders=orders, segments=first)
    assert due(store, tables(FIRST, SECOND)[:2]) == []


def test_what_is_past_its_time_is_no_change(store: Store) -> None:
    orders = put(store, "orders", None)
    first = put(store, "segments", FIRST, orders=orders)
    second = put(store, "segments", SECOND, orders=orders, segments__before=first)
    put(store, "segments", THIRD, orders=orders, segments__before=second, segments__of=first)
    store.retire("segments", SECOND)
    assert due(store, tables(THIRD)[:2]) == []
    store.retire("segments", FIRST)
    assert due(store, tables(THIRD)[:2]) == []


def test_a_copy_without_erased_customers_that_moved_up_is_no_change(store: Store) -> None:
    orders = put(store, "orders", None)
    first = put(store, "segments", FIRST, orders=orders)
    second = put(store, "segments", SECOND, orders=orders, segments__before=first)
    put(store, "segments", THIRD, orders=orders, segments__before=second)
    store.retire("segments", SECOND)
    with DuckDBEngine(threads=1) as engine, store.stage("segments", FIRST) as staging:
        rows = engine.from_native(pl.DataFrame({"x": [1]}))
        engine.write_parquet(rows, staging.path_for(), sort_by=())
        staging.promote(first.manifest.model_copy(update={"rewrites": [first.version]}))
    assert due(store, tables(FIRST, THIRD)[:2]) == []


def test_a_week_that_was_begun_before_and_published_after_makes_the_next_one_due(
    store: Store,
) -> None:
    orders = put(store, "orders", None)
    with DuckDBEngine(threads=1) as engine, store.stage("segments", SECOND) as staging:
        first = put(store, "segments", FIRST, orders=orders)
        put(store, "segments", THIRD, orders=orders, segments__before=first)
        rows = engine.from_native(pl.DataFrame({"x": [1]}))
        engine.write_parquet(rows, staging.path_for(), sort_by=())
        inputs = {"orders": orders.version, "segments before": first.version}
        staging.promote(Manifest(kind="frame", row_counts={"rows": 1}, inputs=inputs))
    found = due(store, tables(FIRST, SECOND, THIRD)[:2])
    assert told(found) == {("segments", THIRD, "input changed")}


def test_the_snapshot_of_another_date_is_an_input(store: Store) -> None:
    """A list that counts what was planned in earlier weeks; those weeks stay, until run again."""
    asked = [Table("lists", frozenset(), (FIRST, SECOND, THIRD))]
    first = put(store, "lists", FIRST)
    second = put(store, "lists", SECOND, lists__of=first)
    put(store, "lists", THIRD, lists__of=first)
    assert due(store, asked) == []
    put(store, "lists", SECOND)
    assert due(store, asked) == []
    put(store, "lists", FIRST)
    assert told(due(store, asked)) == {("lists", THIRD, "input changed")}
    put(store, "other", SECOND, lists__of=second)
    assert told(due(store, [Table("other", frozenset(), (SECOND,))])) == {
        ("other", SECOND, "input changed")
    }
