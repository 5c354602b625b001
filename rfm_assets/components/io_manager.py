"""Dagster's door to the store: an asset gets the stored tables it asks for by annotation.

The components publish through `publishing.py` themselves; what is written here are the frames
that a user's own assets return. How a table is read as which kind is `loading.py`'s business.
"""

from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from types import MappingProxyType
from typing import Any, get_args, get_origin
from zoneinfo import ZoneInfo

import dagster as dg
import duckdb
import narwhals as nw
import pandas as pd
import pyarrow as pa
from narwhals.dependencies import get_polars

from rfm_assets.components.resources import (
    ENGINE_KEY,
    STORE_KEY,
    EngineResource,
    StoreResource,
)
from rfm_assets.errors import (
    PartitionsNotSeparated,
    UnsupportedAnnotation,
    UnsupportedFrame,
    UnsupportedPartitions,
)
from rfm_assets.loading import FrameKind, hand_out, read_snapshots
from rfm_assets.publishing import publish_frame
from rfm_assets.store import ROWS, Snapshot, table_name

KINDS: Mapping[type, FrameKind] = MappingProxyType(
    {
        pd.DataFrame: "pandas",
        pa.Table: "pyarrow",
        duckdb.DuckDBPyRelation: "duckdb",
    }
)


def kinds() -> Mapping[type, FrameKind]:
    """How each type of frame is called; those of polars only where somebody has imported it."""
    polars = get_polars()
    if polars is None:
        return KINDS
    return {**KINDS, polars.DataFrame: "polars", polars.LazyFrame: "polars_lazy"}


class StoreIOManager(dg.IOManager):
    """Loads stored tables by annotation, and stores the frames that assets return.

    - For one partition, its snapshot; for several, their rows one after the other, or a dict by
      partition key where the annotation is `dict[str, <frame>]`.
    - An asset without partitions gets the latest snapshot of one with partitions, not all of
      them; annotated as a dict, it gets all that exist.
    - `AssetIn(metadata={"part": "excluded", "columns": [...]})` reads a part, or fewer columns.
    """

    def __init__(self, store: StoreResource, engine: EngineResource) -> None:
        self.store = store
        self.engine = engine

    def load_input(self, context: dg.InputContext) -> Any:
        """The table of the upstream asset, as the annotated kind.

        Raises:
            UnsupportedAnnotation: No stored table is handed out as the annotated type.
            SnapshotMissing: A partition that is asked for has no snapshot.
        """
        annotation = context.dagster_type.typing_type
        by_key = get_origin(annotation) is dict and get_args(annotation)[:1] == (str,)
        kind = get_args(annotation)[1] if by_key else annotation
        table = table_name(context.asset_key.path)
        self._require_known(kind, table)
        snapshots = self._snapshots(context, table, every=by_key)
        if not by_key:
            return self._read(context, list(snapshots.values()), kind)
        return {key: self._read(context, [one], kind) for key, one in snapshots.items()}

    def handle_output(self, context: dg.OutputContext, obj: Any) -> None:
        """Store a frame under the asset's key; None stores nothing.

        Raises:
            UnsupportedFrame: `obj` is neither a frame nor None.
            PartitionsNotSeparated: One frame stands for several partitions.
        """
        if obj is None:
            return
        asset = context.asset_key.to_user_string()
        table = table_name(context.asset_key.path)
        frames: dict[date | None, Any] = {None: obj}
        if context.has_asset_partitions:
            keys = list(context.asset_partition_keys)
            by_key = _separated(obj, keys, asset)
            dates = _dates(context.asset_partitions_def, keys, asset)
            frames = {as_of: by_key[key] for key, as_of in dates.items()}
        rows = 0
        schema = pa.schema([])
        for as_of, frame in frames.items():
            try:
                snapshot, schema = publish_frame(
                    self.store.get_store(),
                    table=table,
                    as_of=as_of,
                    frame=frame,
                    run_id=context.run_id,
                )
            except UnsupportedFrame as error:
                raise UnsupportedFrame(given=error.given, where=asset) from error
            rows += snapshot.manifest.row_counts[ROWS]
        context.add_output_metadata(
            {"dagster/row_count": rows, "dagster/column_schema": _column_schema(schema)}
        )

    def _snapshots(
        self, context: dg.InputContext, table: str, *, every: bool
    ) -> dict[str, Snapshot]:
        """The snapshots that the input stands for, by partition key or date, in order."""
        store = self.store.get_store()
        if not context.has_asset_partitions:
            if every:
                return {str(day): store.snapshot(table, day) for day in store.dates(table)}
            return {"latest": store.snapshot(table, "latest")}
        dates = _dates(context.asset_partitions_def, context.asset_partition_keys, table)
        if _has_partitions_itself(context):
            return {key: store.snapshot(table, day) for key, day in dates.items()}
        stored = set(store.dates(table))
        existing = {key: day for key, day in dates.items() if day in stored}
        wanted = existing or dates  # asking for one that does not exist says what does
        chosen = wanted if every else dict(list(wanted.items())[-1:])
        return {key: store.snapshot(table, day) for key, day in chosen.items()}

    def _read(self, context: dg.InputContext, snapshots: Sequence[Snapshot], kind: Any) -> Any:
        metadata = context.definition_metadata
        part = str(metadata.get("part", ROWS))
        columns = metadata.get("columns")
        if kind is nw.LazyFrame:
            return read_snapshots(self.engine.yield_engine(), snapshots, part=part, columns=columns)
        eager = kind is nw.DataFrame
        frame_kind = "pyarrow" if eager else kinds().get(kind, "pandas")
        frame = hand_out(
            lambda engine: read_snapshots(engine, snapshots, part=part, columns=columns),
            frame_kind,
        )
        return nw.from_native(frame) if eager else frame

    @staticmethod
    def _require_known(kind: Any, table: str) -> None:
        if kind not in {Any, nw.LazyFrame, nw.DataFrame, *kinds()}:
            raise UnsupportedAnnotation(annotation=kind, table=table)


@dg.io_manager(
    required_resource_keys={STORE_KEY, ENGINE_KEY},
    description="Loads stored tables by annotation, and stores the frames that assets return.",
)
def store_io_manager(context: dg.InitResourceContext) -> StoreIOManager:
    """The IO manager over the project's store and engine.

    It requires them by key rather than holding them, because Dagster warns of a deprecation of
    its own wherever one configurable resource is nested in another.
    """
    resources = context.resources
    return StoreIOManager(getattr(resources, STORE_KEY), getattr(resources, ENGINE_KEY))


def _has_partitions_itself(context: dg.InputContext) -> bool:
    """Whether the asset that is being computed has partitions, or a partition was asked for."""
    try:
        step = context.step_context
    except dg.DagsterInvariantViolationError:
        return True  # Loaded by hand, for the partitions named there.
    return step.entity_partitions_def is not None


def _separated(obj: Any, keys: Sequence[str], asset: str) -> Mapping[str, Any]:
    """One frame per partition key."""
    if isinstance(obj, dict):
        if set(obj) != set(keys):
            raise PartitionsNotSeparated(asset=asset, keys=keys, given=sorted(map(str, obj)))
        return obj
    if len(keys) > 1:
        raise PartitionsNotSeparated(asset=asset, keys=keys, given=None)
    return {keys[0]: obj}


def _dates(partitions: dg.PartitionsDefinition, keys: Sequence[str], asset: str) -> dict[str, date]:
    """The date that each partition describes: the end of its window, where it was computed."""
    if not isinstance(partitions, dg.TimeWindowPartitionsDefinition):
        raise UnsupportedPartitions(asset=asset, partitions=type(partitions).__name__)
    zone = ZoneInfo(partitions.timezone)
    dates: dict[str, date] = {}
    for key in keys:
        window = partitions.time_window_for_partition_key(key)
        # A day is 23 hours long when the clocks go forward.
        if window.end - window.start < timedelta(hours=23):
            raise UnsupportedPartitions(asset=asset, partitions="shorter than a day")
        dates[key] = window.end.astimezone(zone).date()
    return dates


def _column_schema(schema: pa.Schema) -> dg.TableSchema:
    return dg.TableSchema(
        columns=[dg.TableColumn(name=one.name, type=str(one.type)) for one in schema]
    )
