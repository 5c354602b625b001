"""One snapshot into its tables: staged, compared, and put in place in one transaction.

Afterwards the rows of that snapshot equal the store's, and readers saw the old ones until then.
A control table records which version is there, so that publishing it again changes nothing.
How the tables are made is in `migrating.py`, how rows are compared in `merging.py`.
"""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Literal, TypeAlias

import pyarrow as pa
import pyarrow.parquet as pq
import sqlalchemy as sa

from rfm_assets import quality
from rfm_assets.errors import DatabaseUnreachable, KindUnpublishable, TableTaken, ValidationFailed
from rfm_assets.failures import parquet_of
from rfm_assets.postgres.attributes import (
    add_columns,
    missing_columns,
    present_table,
    stored_columns,
)
from rfm_assets.postgres.connection import Target
from rfm_assets.postgres.control import Control, label
from rfm_assets.postgres.copying import Contents
from rfm_assets.postgres.layout import PLACES, Place
from rfm_assets.postgres.manifests import travelling
from rfm_assets.postgres.merging import Merged, Rows
from rfm_assets.store import ROWS, Snapshot
from rfm_assets.validation import CheckOutcome

History: TypeAlias = Literal["all", "latest"]
"""Whether every as_of is kept, or the newest alone."""

Status: TypeAlias = Literal["published", "already published", "repaired", "left out", "withdrawn"]
"""`repaired`: the version was there, its rows were not. `left out`: a newer date is there, and
only the latest is kept. `withdrawn`: a part that is no longer published."""


@dataclass(frozen=True)
class Request:
    """What is asked for, beside the snapshot itself. Its parts go along but for those left out."""

    history: History = "all"
    leave_out: frozenset[str] = frozenset()
    leave_out_parts: frozenset[str] = frozenset({"excluded"})
    run_id: str = ""

    def parts(self, snapshot: Snapshot) -> list[str]:
        """The parts of a snapshot that are published beside its main rows."""
        return sorted(snapshot.manifest.files.keys() - self.leave_out_parts - {ROWS})


@dataclass(frozen=True)
class Change:
    """What publishing one snapshot changed in one table.

    Updated rows differ in more than the time of their computation, unchanged ones do not. `older`
    counts rows of other dates that went because only the latest is kept.
    """

    table: str
    source: str
    as_of: date | None
    version: str
    status: Status
    columns: tuple[str, ...] = ()
    inserted: int = 0
    updated: int = 0
    deleted: int = 0
    unchanged: int = 0
    older: int = 0
    in_store: Contents | None = None
    in_table: Contents | None = None


def publish_snapshot(
    target: Target,
    read: Callable[[], Snapshot],
    request: Request,
    *,
    stored_dates: Collection[date] = (),
) -> list[Change]:
    """Make the published rows of one snapshot equal to the stored ones, or change nothing.

    Args:
        target: A schema that `upgrade` has brought to this release's revision.
        read: The current version in the store. It is asked while no other run can publish to the
            table, so that of two runs at once the last leaves what the store has then.
        request: History, columns and parts.
        stored_dates: Dates that the store has, for `history: latest`: a date that is published
            and no longer stored does not count as newer.

    Raises:
        DatabaseUnreachable: The server is gone. If it went while it committed, it is asked again.
        DatabaseBusy: Another run has been publishing for too long.
        DatabaseRefused: A right, a table or a type is in the way.
        ColumnUnpublishable: A carried column changed its type, or has none in Postgres.
        TableTaken: The table has the rows of another stored table.
        ValidationFailed: The rows in the table are not those stored; they are taken back.
    """
    publishing = _Publishing(target, request, frozenset(stored_dates))
    try:
        with target.connect() as connection:
            return publishing.run(connection, read)
    except DatabaseUnreachable:
        if publishing.stands():
            return publishing.changes
        raise


def published_columns(snapshot: Snapshot, request: Request) -> set[str]:
    """The stored columns that publishing would take along, beside those of the contracts."""
    names: set[str] = set()
    for part in (ROWS, *request.parts(snapshot)):
        own = place_of(snapshot, part).contract.schema.columns
        names |= set(_schema(snapshot, part).names) - set(own)
    return names


def place_of(snapshot: Snapshot, part: str = ROWS) -> Place:
    """The table for one part of a snapshot.

    Raises:
        KindUnpublishable: No contract describes tables of this kind.
    """
    kind = snapshot.manifest.kind
    if (kind, part) not in PLACES:
        kinds = [known for known, part in PLACES if part == ROWS]
        raise KindUnpublishable(table=snapshot.table, kind=kind, available=kinds)
    return PLACES[kind, part]


def reconcile(changes: Sequence[Change]) -> list[CheckOutcome]:
    """Whether what the tables hold is what the store holds, over several tables."""
    compared = [(c, c.in_store, c.in_table) for c in changes if c.in_store and c.in_table]
    return [
        quality.same_in_database(
            "published_rows_reconcile",
            {_named(change): (stored.rows, found.rows) for change, stored, found in compared},
        ),
        quality.same_in_database(
            "published_money_reconciles",
            {
                f"{_named(change)}.{name}": (units, found.money[name])
                for change, stored, found in compared
                for name, units in stored.money.items()
            },
            decimals=4,
        ),
    ]


def _named(change: Change) -> str:
    same = change.source == change.table
    return change.table if same else f"{change.source} in {change.table}"


@dataclass
class _Publishing:
    """One call of `publish_snapshot`. `changes` is what it was about to commit, or did."""

    target: Target
    request: Request
    stored_dates: frozenset[date]
    changes: list[Change] = field(default_factory=list)

    def run(self, connection: sa.Connection, read: Callable[[], Snapshot]) -> list[Change]:
        lock = place_of(read()).name
        while True:
            with self.target.transaction(connection, lock=lock):
                snapshot = read()
                asked = self.request.parts(snapshot)
                parts = [self._rows(connection, snapshot, part) for part in (ROWS, *asked)]
                missing = [
                    (rows.table, columns)
                    for rows in parts
                    if (columns := missing_columns(snapshot.table, rows.table, rows.stored))
                ]
                if not missing:
                    changes = [self._put(connection, rows) for rows in parts]
                    self._describe(connection, parts, changes[0])
                    self.changes = [*changes, *self._withdraw(connection, snapshot)]
            if not missing:
                return self.changes
            # In a transaction of its own, because it locks readers out until it is committed.
            with self.target.transaction(connection, lock=lock):
                for table, columns in missing:
                    add_columns(connection, table, columns)

    def stands(self) -> bool:
        """Whether the changes are there, although the server's answer to the commit was lost."""
        written = [one for one in self.changes if one.status in {"published", "repaired"}]
        if not written:
            return False
        # The lock is free once the lost transaction has ended, one way or the other.
        with (
            self.target.connect() as connection,
            self.target.transaction(connection, lock=self.changes[0].table),
        ):
            return all(
                Control(connection, self.target.schema, one.table, one.source).published(one.as_of)
                == (one.version, list(one.columns))
                for one in written
            )

    def _rows(self, connection: sa.Connection, snapshot: Snapshot, part: str) -> Rows:
        place = place_of(snapshot, part)
        schema = _schema(snapshot, part)
        stored = stored_columns(snapshot.table, place, schema, self.request.leave_out)
        return Rows(snapshot, part, place, present_table(self.target, connection, place), stored)

    def _control(self, connection: sa.Connection, rows: Rows) -> Control:
        return Control(connection, self.target.schema, rows.place.name, rows.snapshot.table)

    def _put(self, connection: sa.Connection, rows: Rows) -> Change:
        """Publish one part in the current transaction, if it is not there already."""
        control, snapshot = self._control(connection, rows), rows.snapshot
        if rows.place.named_by is None and (owner := control.owner()) is not None:
            raise TableTaken(
                table=rows.place.name,
                schema=self.target.schema,
                source=snapshot.table,
                owner=owner,
            )
        only_latest = self.request.history == "latest" and snapshot.as_of is not None
        if only_latest and control.later_dates(snapshot.as_of) & self.stored_dates:
            return _change(rows, "left out")
        is_known = control.published(snapshot.as_of) == (snapshot.version, rows.columns)
        merged, found = Merged(0, 0, 0), rows.in_table(connection)
        is_there = is_known and found == rows.in_store
        if not is_there:
            merged = rows.merge(connection)
            found = rows.in_table(connection)
        older = 0
        if only_latest:
            control.forget_others(snapshot.as_of)
            older = rows.delete_other_dates(connection)
        status: Status = "published"
        if is_known:
            status = "already published" if is_there else "repaired"
        change = _change(rows, status, merged, found=found, older=older)
        outcomes = reconcile([change])
        if not all(outcome.passed for outcome in outcomes):
            raise ValidationFailed(
                table=rows.place.name, as_of=label(snapshot.as_of), outcomes=outcomes
            )
        if not is_there:
            control.record(
                snapshot.as_of,
                version=snapshot.version,
                columns=rows.columns,
                row_count=rows.in_store.rows,
                run_id=self.request.run_id,
            )
        return change

    def _describe(self, connection: sa.Connection, parts: Sequence[Rows], main: Change) -> None:
        """Let the manifest stand beside the main rows, also where an older release left it out."""
        if main.status == "left out":
            return
        control, snapshot = self._control(connection, parts[0]), parts[0].snapshot
        columns = {rows.part: rows.stored for rows in parts}
        manifest = travelling(snapshot.manifest, columns)
        if control.described(snapshot.as_of) != manifest:
            control.describe(snapshot.as_of, manifest)

    def _withdraw(self, connection: sa.Connection, snapshot: Snapshot) -> list[Change]:
        """Remove parts of this snapshot that were published and are no longer asked for."""
        changes: list[Change] = []
        for part in sorted(snapshot.manifest.files.keys() & self.request.leave_out_parts):
            rows = self._rows(connection, snapshot, part)
            if self._control(connection, rows).forget(snapshot.as_of):
                gone = connection.execute(sa.delete(rows.table).where(rows.of_snapshot)).rowcount
                changes.append(_change(rows, "withdrawn", Merged(0, 0, gone)))
        return changes


def _change(
    rows: Rows,
    status: Status,
    merged: Merged | None = None,
    *,
    found: Contents | None = None,
    older: int = 0,
) -> Change:
    done = merged or Merged(0, 0, 0)
    touched = done.inserted + done.updated
    return Change(
        table=rows.place.name,
        source=rows.snapshot.table,
        as_of=rows.snapshot.as_of,
        version=rows.snapshot.version,
        status=status,
        columns=tuple(rows.columns),
        inserted=done.inserted,
        updated=done.updated,
        deleted=done.deleted,
        unchanged=rows.in_store.rows - touched if found else 0,
        older=older,
        in_store=rows.in_store if found else None,
        in_table=found,
    )


def _schema(snapshot: Snapshot, part: str) -> pa.Schema:
    first = snapshot.files(part)[:1]
    with parquet_of(first), first[0].open("rb") as file:
        return pq.read_schema(file)
