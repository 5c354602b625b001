"""The only door from what people look at to the store: rows of snapshots, as small answers.

Nothing that is stored is computed again here: sizes, values and movements are read from the tables
that hold them. What remains are views on stored rows: one customer, a page, a histogram. Every
answer is of one snapshot and is remembered by its version, which never changes.
"""

import itertools
import threading
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import date
from typing import Any, Literal, TypeAlias, TypeVar

import narwhals as nw
import pyarrow as pa
from upath import UPath

from rfm_assets.domain.explaining import Explanation, explain
from rfm_assets.domain.frames import Table
from rfm_assets.domain.schemes import Scheme
from rfm_assets.domain.scoring import CutPoints
from rfm_assets.engines.base import collect_rows
from rfm_assets.engines.duckdb_engine import DuckDBEngine
from rfm_assets.engines.polars_engine import PolarsEngine
from rfm_assets.errors import ColumnMissing, InvalidAsOf, SnapshotMissing, SuppressionUnknown
from rfm_assets.failures import parquet_of
from rfm_assets.in_place import rows_of
from rfm_assets.loading import read_snapshots
from rfm_assets.schemas import CAMPAIGN_LIST, SUPPRESSION_LIST
from rfm_assets.serving.catalogue import DEFAULT_ORGANIZATION, Catalogue, Remembered
from rfm_assets.store import ROWS, AsOf, Snapshot, Store

Row: TypeAlias = dict[str, Any]
Value = TypeVar("Value")

BATCH_ROWS = 50_000
"""Rows of one piece of a stream: what is in memory at a time of an export of any size."""

DATES = 104
"""Snapshots of two years, and as many as a picture over time can tell apart."""

Operator: TypeAlias = Literal["=", "contains", ">=", "<=", "not in"]


@dataclass(frozen=True)
class Condition:
    """One condition on a column; several hold together."""

    column: str
    operator: Operator
    value: Any

    def expression(self) -> nw.Expr:
        column = nw.col(self.column)
        match self.operator:
            case "=":
                return column == nw.lit(self.value)
            case "contains":
                text = column.cast(nw.String).str.to_lowercase()
                return text.str.contains(str(self.value).lower(), literal=True)
            case ">=":
                return column >= nw.lit(self.value)
            case "<=":
                return column <= nw.lit(self.value)
            case "not in":
                return ~column.is_in(list(self.value))


def is_members(snapshot: Snapshot, part: str = ROWS) -> bool:
    """Whether a part holds whom a campaign writes to."""
    return snapshot.manifest.kind == CAMPAIGN_LIST.kind and part == ROWS


@dataclass(frozen=True)
class Suppressed:
    """Who of a campaign list was suppressed since it was made, and by which lists.

    Attributes:
        lists: The newest snapshots of the suppression lists that the list was held against.
        customers: Its members whom they name, by id.
    """

    lists: tuple[Snapshot, ...] = ()
    customers: tuple[str, ...] = ()

    @property
    def conditions(self) -> list[Condition]:
        """What leaves them out."""
        return [Condition("customer_id", "not in", self.customers)] if self.customers else []


@dataclass(frozen=True)
class Page:
    """Some rows of a snapshot, and how many there are in all."""

    rows: list[Row]
    total: int


class Queries:
    """Answers about the snapshots of one store, for several threads at once.

    Args:
        store: Where the tables are.
        organization: Whose tables are that name no organisation.
        owners: Whose single tables are that do not name it.
        memory_limit: Memory of the engine, with its unit.
        threads: Threads of the engine; one for each core where None.
    """

    def __init__(
        self,
        store: Store,
        *,
        organization: str = DEFAULT_ORGANIZATION,
        owners: Mapping[str, str] | None = None,
        memory_limit: str = "512MB",
        threads: int | None = None,
    ) -> None:
        self.catalogue = Catalogue(store, organization=organization, owners=owners)
        self._engine = DuckDBEngine(memory_limit, threads, keep_order=True)
        self._engine.remember_footers()
        self._lookups = PolarsEngine(memory_limit, threads)
        self._own = threading.local()
        self._numbers = itertools.count()
        self._files: Remembered[Table] = Remembered(2_048)
        self._answers: Remembered[Any] = Remembered(512)

    def close(self) -> None:
        """Close the engine; nothing can be asked afterwards."""
        self._engine.close()

    @property
    def engine(self) -> DuckDBEngine:
        """The engine's connection of this thread."""
        if not hasattr(self._own, "engine"):
            self._own.engine = self._engine.beside()
            self._own.number = next(self._numbers)
        return self._own.engine

    @property
    def _connection(self) -> int:
        """A number of this thread's connection; a thread's own is given away again once it ends."""
        _ = self.engine
        return self._own.number

    # -- rows ---------------------------------------------------------------------------------

    def rows(self, snapshot: Snapshot, part: str = ROWS) -> Table:
        """The rows of one part, lazily, on this thread's connection.

        Raises:
            PartMissing: The snapshot has no such part.
            SnapshotUnreadable: A file is gone or damaged.
        """
        key = (self._connection, snapshot.table, snapshot.as_of, snapshot.version, part)
        with snapshot.held():
            return self._files.get(key, lambda: self._scanned(self.engine, snapshot, part))

    def _scanned(self, engine: DuckDBEngine, snapshot: Snapshot, part: str) -> Table:
        if part == ROWS and snapshot.manifest.in_place is not None:
            return rows_of(engine, snapshot, part)
        return engine.scan_parquet(self._whole_files(snapshot, part))

    def _whole_files(self, snapshot: Snapshot, part: str) -> list[UPath]:
        """The files of a part; each is read to see that it is whole, once, whatever the threads."""
        key = (snapshot.table, snapshot.version, part, "files")
        return self.remembered(key, lambda: snapshot.files(part))

    def columns(self, snapshot: Snapshot, part: str = ROWS) -> dict[str, nw.dtypes.DType]:
        """The columns of one part with their types."""
        key = (snapshot.version, part, "columns")
        return self._answers.get(
            key, lambda: dict(self.rows(snapshot, part).collect_schema().items())
        )

    def whole(self, snapshot: Snapshot, part: str = ROWS) -> list[Row]:
        """All rows of a small part, in stored order."""
        key = (snapshot.table, snapshot.version, part, "whole")
        return self._answers.get(key, lambda: collect_rows(self.rows(snapshot, part)))

    def one(self, snapshot: Snapshot, customer_id: str, part: str = ROWS) -> Row | None:
        """The row of one customer, if there is one."""
        rows = self.of_customer(snapshot, customer_id, part)
        return rows[0] if rows else None

    def of_customer(self, snapshot: Snapshot, customer_id: str, part: str) -> list[Row]:
        """The rows of one customer in a part that may have several of each.

        By polars: it finds one row of a million in half the time of the engine, which is made for
        passes over all of them.
        """
        if part == ROWS and snapshot.manifest.in_place is not None:
            rows = self.rows(snapshot, part)
            return collect_rows(rows.filter(nw.col("customer_id") == customer_id))
        with snapshot.held(), parquet_of(self._whole_files(snapshot, part)):
            rows = self._looked_up(snapshot, part)
            return collect_rows(rows.filter(nw.col("customer_id") == customer_id))

    def _looked_up(self, snapshot: Snapshot, part: str) -> Table:
        key = (snapshot.table, snapshot.version, part, "lookups")
        files = self._whole_files(snapshot, part)
        return self._files.get(key, lambda: self._lookups.scan_parquet(files))

    def one_by_one(
        self,
        snapshots: Sequence[Snapshot],
        ask: Callable[[Sequence[Table], Callable[[Table], Table]], Value],
    ) -> Value:
        """What `ask` finds in several snapshots, given their rows and what computes a table at once.

        By polars, which frees what it has computed as soon as nobody refers to it: the engine's own
        results of one snapshot after the other would stay, beyond its memory.
        """
        with _held(snapshots):
            rows = [self._looked_up(one, ROWS) for one in snapshots]
            return ask(rows, self._lookups.checkpoint)

    def page(
        self,
        snapshot: Snapshot,
        part: str = ROWS,
        *,
        conditions: Sequence[Condition] = (),
        sort: Sequence[tuple[str, bool]] = (),
        offset: int = 0,
        limit: int = 100,
        columns: Sequence[str] | None = None,
    ) -> Page:
        """Rows from `offset`, sorted by (column, descending) and then by the table's key.

        Members of a campaign list who were suppressed since are left out, here and below.

        Raises:
            ColumnMissing: A condition or an order names a column that is not there.
        """
        known = self.columns(snapshot, part)
        for name in [*(c.column for c in conditions), *(s for s, _ in sort), *(columns or ())]:
            if name not in known:
                raise ColumnMissing(column=name, table=snapshot.table, available=list(known))
        conditions = [*conditions, *self.suppressed(snapshot, part).conditions]
        rows = self._where(self.rows(snapshot, part), conditions)
        total = self._count(snapshot, part, conditions)
        by = [name for name, _ in sort]
        descending = [down for _, down in sort]
        if "customer_id" in known and "customer_id" not in by:
            by, descending = [*by, "customer_id"], [*descending, False]
        if by:
            rows = rows.sort(*by, descending=descending, nulls_last=True)
        if columns is not None:
            rows = rows.select(*columns)
        native = rows.to_native().limit(limit, offset)
        return Page(collect_rows(nw.from_native(native)), total)

    def _where(self, rows: Table, conditions: Sequence[Condition]) -> Table:
        return rows.filter(*(one.expression() for one in conditions)) if conditions else rows

    def _count(self, snapshot: Snapshot, part: str, conditions: Sequence[Condition]) -> int:
        if not conditions:
            return snapshot.manifest.row_counts[part]
        key = (snapshot.table, snapshot.version, part, repr(conditions), "count")

        def count() -> int:
            counted = self._where(self.rows(snapshot, part), conditions).select(nw.len())
            return int(next(iter(collect_rows(counted)[0].values())))

        return self._answers.get(key, count)

    def after(
        self,
        snapshot: Snapshot,
        part: str = ROWS,
        *,
        key: str = "customer_id",
        after: object = None,
        conditions: Sequence[Condition] = (),
        limit: int = 100,
        columns: Sequence[str] | None = None,
        suppressed: Suppressed | None = None,
    ) -> list[Row]:
        """Up to `limit` rows whose `key` is beyond `after`, by that key.

        Unlike an offset, it costs the same for the last page as for the first. `suppressed` is who is
        left out of a campaign list, where the caller has asked before.
        """
        gone = suppressed if suppressed is not None else self.suppressed(snapshot, part)
        rows = self._where(self.rows(snapshot, part), [*conditions, *gone.conditions])
        if after is not None:
            rows = rows.filter(nw.col(key) > nw.lit(after))
        rows = rows.sort(key).head(limit)
        return collect_rows(rows.select(*columns) if columns else rows)

    def batches(
        self,
        snapshot: Snapshot,
        part: str = ROWS,
        *,
        conditions: Sequence[Condition] = (),
        columns: Sequence[str] | None = None,
        suppressed: Suppressed | None = None,
    ) -> Iterator[pa.RecordBatch]:
        """Every row, in stored order, as a stream of which a few batches are in memory at a time."""
        gone = suppressed if suppressed is not None else self.suppressed(snapshot, part)
        # A connection of its own: a stream that is left half-read would block this thread's.
        engine = self._engine.beside()
        try:
            with snapshot.held():
                left = [*conditions, *gone.conditions]
                rows = self._where(self._scanned(engine, snapshot, part), left)
                yield from engine.batches(rows.select(*columns) if columns else rows, BATCH_ROWS)
        finally:
            engine.close()

    # -- campaign lists -----------------------------------------------------------------------

    def suppressed(self, snapshot: Snapshot, part: str = ROWS) -> Suppressed:
        """Which members of a campaign list must not be contacted any more; of other rows nobody.

        Raises:
            SuppressionUnknown: A suppression list is gone, so that nobody can say.
        """
        if not is_members(snapshot, part):
            return Suppressed()
        lists = self._suppression_of(snapshot)
        versions = tuple((one.table, one.version) for one in lists)
        key = (snapshot.table, snapshot.version, versions, "suppressed since")

        def make() -> tuple[str, ...]:
            members = self.rows(snapshot).select("customer_id")
            found: set[str] = set()
            for one in lists:
                named = self.rows(one).select("customer_id").unique()
                rows = collect_rows(members.join(named, on="customer_id", how="semi"))
                found.update(row["customer_id"] for row in rows)
            return tuple(sorted(found))

        return Suppressed(tuple(lists), self.remembered(key, make))

    def _suppression_of(self, campaign: Snapshot) -> list[Snapshot]:
        read = self.catalogue.noted(campaign, "suppression_lists")
        if read is None:
            # Lists from before say only what they read, of which any may have been one.
            read = list(campaign.manifest.made_from())
        newest: list[Snapshot] = []
        for name in read:
            try:
                newest.append(self.catalogue.newest(name))
            except SnapshotMissing:
                raise SuppressionUnknown(
                    table=campaign.table,
                    as_of=str(campaign.as_of),
                    missing=name,
                    place=self.catalogue.store.place,
                ) from None
        return [one for one in newest if one.manifest.kind == SUPPRESSION_LIST.kind]

    # -- customers ----------------------------------------------------------------------------

    def explain(self, snapshot: Snapshot, row: Mapping[str, object]) -> Explanation | None:
        """Why a row of `customer_segments` has its segment, by the rules of its own snapshot.

        None where the snapshot does not say how it was scored.
        """
        if snapshot.manifest.cut_points is None:
            return None
        config = self.catalogue.noted(snapshot, "config") or {}
        return explain(
            row,
            points=CutPoints.model_validate(snapshot.manifest.cut_points),
            scheme=self.scheme(snapshot),
            segment_by=config.get("segment_by", "cell"),
        )

    def scheme(self, snapshot: Snapshot) -> Scheme | None:
        """The scheme that named a snapshot's segments, as it was then."""
        stored = self.catalogue.noted(snapshot, "scheme")
        if stored is None:
            return None
        key = (snapshot.table, snapshot.version, "scheme")
        return self._answers.get(key, lambda: Scheme.model_validate(stored))

    def history(
        self, table: str, customer_id: str, *, columns: Sequence[str], last: int = DATES
    ) -> list[Row]:
        """The customer's row of every date, ascending; a date without one has none.

        A store that has all dates in one table behind an index is asked itself: fetching every
        date's customers for the sake of one would take minutes.
        """
        snapshots = self.catalogue.series(table, last)
        asked = self.catalogue.store.history(snapshots, customer_id, columns)
        if asked is not None:
            return asked
        # The files are the same until a snapshot is added or replaced.
        versions = tuple(one.version for one in snapshots)
        key = (self._connection, table, versions, tuple(columns), "history")
        with _held(snapshots):
            rows = self._files.get(
                key, lambda: read_snapshots(self.engine, snapshots, columns=columns)
            )
            return collect_rows(rows.filter(nw.col("customer_id") == customer_id).sort("as_of"))

    # -- views on rows ------------------------------------------------------------------------

    def counts(self, snapshot: Snapshot, column: str, part: str = ROWS) -> dict[str, int]:
        """Rows of each value of a column that has few; empty values are left out."""
        key = (snapshot.table, snapshot.version, part, column, "counts")

        def count() -> dict[str, int]:
            named = self.rows(snapshot, part).filter(~nw.col(column).is_null())
            rows = collect_rows(named.group_by(column).agg(nw.len().alias("rows")).sort(column))
            return {str(row[column]): int(row["rows"]) for row in rows}

        return self._answers.get(key, count)

    def over_time(
        self,
        table: str,
        *,
        columns: Sequence[str],
        last: int = DATES,
        until: date | None = None,
    ) -> list[Row]:
        """The rows of a small table, such as `segment_summary`, at its last dates up to `until`."""
        snapshots = self.catalogue.series(table, last, until=until)
        key = (table, tuple(one.version for one in snapshots), tuple(columns), "over time")

        def read() -> list[Row]:
            with _held(snapshots):
                return collect_rows(read_snapshots(self.engine, snapshots, columns=columns))

        return self._answers.get(key, read)

    def remembered(self, key: Hashable, make: Callable[[], Value]) -> Value:
        """What `make` finds, remembered by `key`, which must hold the snapshot's version."""
        return self._answers.get(key, make)

    def resolve(self, table: str, as_of: str | date | None) -> Snapshot:
        """The snapshot of a date as people write it; the latest where nothing is written.

        Raises:
            InvalidAsOf: Not a date.
            SnapshotMissing: None of that date.
        """
        return self.catalogue.snapshot(table, as_of_written(as_of))


@contextmanager
def _held(snapshots: Sequence[Snapshot]) -> Iterator[None]:
    """While the rows of several snapshots are read."""
    with ExitStack() as stack:
        for snapshot in snapshots:
            stack.enter_context(snapshot.held())
        yield


def as_of_written(as_of: str | date | None) -> AsOf | Literal["latest"]:
    """A date as people write it, `latest` where nothing is written.

    Raises:
        InvalidAsOf: Not a date.
    """
    if as_of is None or as_of in {"latest", ""}:
        return "latest"
    if isinstance(as_of, date):
        return as_of
    try:
        return date.fromisoformat(as_of)
    except ValueError as error:
        raise InvalidAsOf(given=as_of) from error
