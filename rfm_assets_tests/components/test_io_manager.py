"""Assets get stored tables as the kind of frame they ask for, and their own frames are kept."""

from datetime import date
from pathlib import Path
from typing import Any

import dagster as dg
import duckdb
import narwhals as nw
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from rfm_assets.components.io_manager import store_io_manager
from rfm_assets.components.resources import (
    ENGINE_KEY,
    STORE_KEY,
    EngineResource,
    StoreResource,
)
from rfm_assets.errors import (
    PartitionsNotSeparated,
    SnapshotMissing,
    SnapshotUnreadable,
    UnsupportedAnnotation,
    UnsupportedFrame,
    UnsupportedPartitions,
)
from rfm_assets.publishing import publish_frame
from rfm_assets.store import Store

# Dagster calls this parameter beta; single-run backfills are how many weeks run at once.
pytestmark = pytest.mark.filterwarnings("ignore:Parameter `backfill_policy`")

# Windows of these keys end on 2026-01-12, 2026-01-19 and 2026-01-26, in Berlin.
WEEKS = dg.WeeklyPartitionsDefinition("2026-01-05", day_offset=1, timezone="Europe/Berlin")
FIRST, SECOND, THIRD = "2026-01-05", "2026-01-12", "2026-01-19"
ENDS = {FIRST: date(2026, 1, 12), SECOND: date(2026, 1, 19), THIRD: date(2026, 1, 26)}

weekly = dg.AssetSpec("weekly", partitions_def=WEEKS)
plain = dg.AssetSpec("plain")


@pytest.fixture
def root(tmp_path: Path) -> str:
    return str(tmp_path / "store")


@pytest.fixture
def filled(root: str) -> str:
    """`weekly` holds rows (2, 1), (4, 3) and (6, 5) of three weeks, `plain` the row 7."""
    store = Store(root)
    for position, as_of in enumerate(ENDS.values()):
        frame = pl.DataFrame({"n": [2 * position + 2, 2 * position + 1]})
        publish_frame(store, table="weekly", as_of=as_of, frame=frame)
    publish_frame(store, table="plain", as_of=None, frame=pl.DataFrame({"n": [7]}))
    return root


def resources(root: str) -> dict[str, Any]:
    return {
        STORE_KEY: StoreResource(root=root),
        ENGINE_KEY: EngineResource(threads=1),
        "io_manager": store_io_manager,
    }


def materialise(
    asset: dg.AssetsDefinition, root: str, *specs: dg.AssetSpec, **options: Any
) -> dg.ExecuteInProcessResult:
    return dg.materialize([asset, *specs], resources=resources(root), **options)


def received(root: str, annotation: Any, *, upstream: str = "weekly", **asset: Any) -> Any:
    """What an asset is given whose only input is annotated so."""
    seen: list[Any] = []

    def body(table):
        seen.append(table)

    body.__annotations__ = {"return": None} if annotation is None else {"table": annotation}
    metadata = asset.pop("metadata", {})
    run = {key: asset.pop(key) for key in ("partition_key", "tags") if key in asset}
    definition = dg.asset(
        name="downstream", ins={"table": dg.AssetIn(upstream, metadata=metadata)}, **asset
    )(body)
    spec = weekly if upstream == "weekly" else plain
    materialise(definition, root, spec, selection=[definition], **run)
    return seen[0]


@pytest.mark.parametrize(
    ("annotation", "kind"),
    [
        (None, pd.DataFrame),
        (pd.DataFrame, pd.DataFrame),
        (pl.DataFrame, pl.DataFrame),
        (pl.LazyFrame, pl.LazyFrame),
        (pa.Table, pa.Table),
        (duckdb.DuckDBPyRelation, duckdb.DuckDBPyRelation),
        (nw.LazyFrame, nw.LazyFrame),
        (nw.DataFrame, nw.DataFrame),
    ],
)
def test_an_input_is_the_annotated_kind_for_its_partition(
    filled: str, annotation: Any, kind: type
) -> None:
    table = received(filled, annotation, partitions_def=WEEKS, partition_key=SECOND)
    assert isinstance(table, kind)
    rows = nw.from_native(table).lazy().collect("pyarrow").to_native().to_pylist()
    assert rows == [{"n": 4}, {"n": 3}]


def test_a_range_of_partitions_is_one_table_after_the_other(filled: str) -> None:
    table = received(
        filled,
        pl.DataFrame,
        partitions_def=WEEKS,
        backfill_policy=dg.BackfillPolicy.single_run(),
        tags={
            "dagster/asset_partition_range_start": FIRST,
            "dagster/asset_partition_range_end": SECOND,
        },
    )
    assert table["n"].to_list() == [2, 1, 4, 3]


def test_a_range_of_partitions_is_a_dict_where_annotated_so(filled: str) -> None:
    table = received(
        filled,
        dict[str, pl.DataFrame],
        partitions_def=WEEKS,
        backfill_policy=dg.BackfillPolicy.single_run(),
        tags={
            "dagster/asset_partition_range_start": SECOND,
            "dagster/asset_partition_range_end": THIRD,
        },
    )
    assert {key: frame["n"].to_list() for key, frame in table.items()} == {
        SECOND: [4, 3],
        THIRD: [6, 5],
    }


def test_an_asset_without_partitions_gets_the_latest_snapshot(filled: str) -> None:
    assert received(filled, pl.DataFrame)["n"].to_list() == [6, 5]


def test_an_asset_without_partitions_gets_all_snapshots_as_a_dict(filled: str) -> None:
    table = received(filled, dict[str, pl.DataFrame])
    assert {key: frame["n"].to_list() for key, frame in table.items()} == {
        FIRST: [2, 1],
        SECOND: [4, 3],
        THIRD: [6, 5],
    }


def test_a_partitioned_asset_gets_the_one_table_of_an_unpartitioned_one(filled: str) -> None:
    table = received(
        filled, pd.DataFrame, upstream="plain", partitions_def=WEEKS, partition_key=FIRST
    )
    assert table["n"].tolist() == [7]


def test_a_previous_partition_can_be_asked_for_by_a_mapping(filled: str) -> None:
    seen: list[pl.DataFrame] = []
    mapping = dg.TimeWindowPartitionMapping(start_offset=-1, end_offset=-1)

    @dg.asset(partitions_def=WEEKS, ins={"table": dg.AssetIn("weekly", partition_mapping=mapping)})
    def downstream(table: pl.DataFrame) -> None:
        seen.append(table)

    materialise(downstream, filled, weekly, selection=[downstream], partition_key=THIRD)
    assert seen[0]["n"].to_list() == [4, 3]


def test_only_the_columns_named_in_the_inputs_metadata_are_read(root: str) -> None:
    frame = pl.DataFrame({"a": [1], "b": [2], "c": [3]})
    publish_frame(Store(root), table="plain", as_of=None, frame=frame)
    table = received(root, pl.DataFrame, upstream="plain", metadata={"columns": ["c", "a"]})
    assert table.columns == ["c", "a"]


def test_a_wrong_annotation_is_refused_with_the_allowed_ones(filled: str) -> None:
    with pytest.raises(UnsupportedAnnotation) as failure:
        received(filled, list, partitions_def=WEEKS, partition_key=FIRST)
    message = str(failure.value)
    assert "weekly" in message
    for allowed in ("pandas.DataFrame", "polars.LazyFrame", "duckdb.DuckDBPyRelation", "dict[str"):
        assert allowed in message


def test_a_partition_without_a_snapshot_is_an_error_and_not_empty(root: str) -> None:
    publish_frame(Store(root), table="weekly", as_of=ENDS[FIRST], frame=pl.DataFrame({"n": [1]}))
    with pytest.raises(SnapshotMissing, match="no snapshot for as_of 2026-01-19"):
        received(root, pd.DataFrame, partitions_def=WEEKS, partition_key=SECOND)


def test_a_damaged_snapshot_is_an_error_and_not_other_rows(filled: str) -> None:
    (stored,) = Store(filled).snapshot("weekly", ENDS[SECOND]).files()
    content = bytearray(stored.read_bytes())
    content[len(content) // 2] ^= 0xFF
    stored.write_bytes(content)
    with pytest.raises(SnapshotUnreadable, match="of weekly as of 2026-01-19 is damaged"):
        received(filled, pd.DataFrame, partitions_def=WEEKS, partition_key=SECOND)


def test_load_asset_value_reads_a_partition_or_the_latest(filled: str) -> None:
    definitions = dg.Definitions(assets=[weekly, plain], resources=resources(filled))
    loader = definitions.get_asset_value_loader(dg.DagsterInstance.ephemeral())
    second = loader.load_asset_value("weekly", partition_key=SECOND, python_type=pl.DataFrame)
    latest = loader.load_asset_value("weekly", python_type=pl.DataFrame)
    assert second["n"].to_list() == [4, 3]
    assert latest["n"].to_list() == [6, 5]


@pytest.mark.parametrize(
    "frame",
    [
        pd.DataFrame({"n": [3, 1, 2]}),
        pl.DataFrame({"n": [3, 1, 2]}),
        pl.LazyFrame({"n": [3, 1, 2]}),
        pa.table({"n": [3, 1, 2]}),
        nw.from_native(pl.DataFrame({"n": [3, 1, 2]})),
    ],
    ids=lambda frame: f"{type(frame).__module__}.{type(frame).__name__}",
)
def test_a_returned_frame_is_stored_in_its_order_for_its_partition(
    root: str, frame: object
) -> None:
    @dg.asset(partitions_def=WEEKS, key=["crm", "mine"])
    def mine() -> Any:
        return frame

    result = materialise(mine, root, partition_key=FIRST)
    snapshot = Store(root).snapshot("crm__mine", ENDS[FIRST])
    assert pl.read_parquet([str(path) for path in snapshot.files()])["n"].to_list() == [3, 1, 2]
    assert snapshot.manifest.run_id == result.run_id
    metadata = result.asset_materializations_for_node("crm__mine")[0].metadata
    assert metadata["dagster/row_count"].value == 3
    assert metadata["dagster/column_schema"].schema.columns[0].name == "n"


def test_a_duckdb_relation_is_stored(root: str) -> None:
    @dg.asset
    def mine() -> Any:
        return duckdb.connect().from_arrow(pa.table({"n": [3, 1]}))

    materialise(mine, root)
    assert Store(root).snapshot("mine").manifest.row_counts == {"rows": 2}


def test_nothing_returned_stores_nothing(root: str) -> None:
    @dg.asset
    def mine() -> Any:
        return None

    materialise(mine, root)
    assert Store(root).tables() == []


def test_a_value_that_is_no_frame_is_refused_by_name(root: str) -> None:
    @dg.asset
    def mine() -> Any:
        return {"n": 1}

    with pytest.raises(UnsupportedFrame) as failure:
        materialise(mine, root)
    message = str(failure.value)
    assert message.startswith("mine: builtins.dict is not a table.")
    assert "polars DataFrame" in message
    assert "by the asset's `io_manager_key`" in message
    assert Store(root).tables() == []


def several_weeks(root: str, value: object) -> None:
    @dg.asset(partitions_def=WEEKS, backfill_policy=dg.BackfillPolicy.single_run())
    def mine() -> Any:
        return value

    tags = {
        "dagster/asset_partition_range_start": FIRST,
        "dagster/asset_partition_range_end": SECOND,
    }
    materialise(mine, root, tags=tags)


def test_a_run_of_several_partitions_stores_one_frame_for_each(root: str) -> None:
    several_weeks(root, {FIRST: pl.DataFrame({"n": [1]}), SECOND: pl.DataFrame({"n": [2]})})
    store = Store(root)
    assert store.dates("mine") == [ENDS[FIRST], ENDS[SECOND]]
    assert pl.read_parquet(str(store.snapshot("mine").files()[0]))["n"].to_list() == [2]


@pytest.mark.parametrize("value", [pl.DataFrame({"n": [1]}), {FIRST: pl.DataFrame({"n": [1]})}])
def test_one_frame_for_several_partitions_is_refused(root: str, value: object) -> None:
    with pytest.raises(PartitionsNotSeparated, match="a dict with one table per partition key"):
        several_weeks(root, value)
    assert Store(root).tables() == []


@pytest.mark.parametrize(
    ("partitions", "key"),
    [
        (dg.StaticPartitionsDefinition(["north"]), "north"),
        (dg.HourlyPartitionsDefinition("2026-01-01-00:00"), "2026-01-01-00:00"),
    ],
)
def test_partitions_without_a_date_of_their_own_are_refused(
    root: str, partitions: dg.PartitionsDefinition, key: str
) -> None:
    @dg.asset(partitions_def=partitions)
    def mine() -> Any:
        return pl.DataFrame({"n": [1]})

    with pytest.raises(UnsupportedPartitions, match=r"no date of their own.*io_manager_key"):
        materialise(mine, root, partition_key=key)


def test_the_day_on_which_clocks_change_is_a_day_like_others(root: str) -> None:
    days = dg.DailyPartitionsDefinition("2026-03-28", timezone="Europe/Berlin")

    @dg.asset(partitions_def=days)
    def mine() -> Any:
        return pl.DataFrame({"n": [1]})

    materialise(mine, root, partition_key="2026-03-29")
    assert Store(root).dates("mine") == [date(2026, 3, 30)]
