"""What a destination is known to have: one row for each person of an audience, by a hash.

A batch is written down before it is sent and again when the answer is there, each in a transaction
of its own. So a process that is killed leaves at most one batch of which nobody knows what became
of it, and the next run begins with that one. Addresses are not kept: a member is a hash, and beside
it what the destination itself wants to remove somebody by, where that is a hash or an id.
"""

import hashlib
import json
import secrets
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal, TypeAlias

import sqlalchemy as sa
from filelock import FileLock, Timeout

from rfm_assets.errors import LedgerBusy, LedgerUnusable

Operation: TypeAlias = Literal["add", "remove"]
State: TypeAlias = Literal[
    "adding", "readding", "present", "removing", "absent", "refused", "doubtful"
]
"""`readding` is adding somebody of whom it was not known whether she was there; `doubtful` is who was
refused, though an earlier attempt may have come through."""

SURELY_ABSENT: frozenset[State] = frozenset({"absent", "refused"})

_METADATA = sa.MetaData()
_NAMES = sa.String(200)

MEMBERS = sa.Table(
    "export_members",
    _METADATA,
    sa.Column("destination", _NAMES, primary_key=True),
    sa.Column("audience", _NAMES, primary_key=True),
    sa.Column("identifier_hash", sa.String(64), primary_key=True),
    sa.Column("state", sa.String(16), nullable=False),
    sa.Column("reference", sa.Text),
    sa.Column("detail", sa.Text),
    sa.Column("batch_id", sa.String(32)),
    sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
)
BATCHES = sa.Table(
    "export_batches",
    _METADATA,
    sa.Column("id", sa.String(32), primary_key=True),
    sa.Column("number", sa.Integer, nullable=False),
    sa.Column("destination", _NAMES, nullable=False),
    sa.Column("audience", _NAMES, nullable=False),
    sa.Column("operation", sa.String(8), nullable=False),
    sa.Column("state", sa.String(16), nullable=False),
    sa.Column("size", sa.Integer, nullable=False),
    sa.Column("attempts", sa.Integer, nullable=False),
    sa.Column("detail", sa.Text),
    sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
    sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
)
BATCH_MEMBERS = sa.Table(
    "export_batch_members",
    _METADATA,
    sa.Column("batch_id", sa.String(32), primary_key=True),
    sa.Column("identifier_hash", sa.String(64), primary_key=True),
)

OPEN = ("pending", "sent")
"""States of a batch of which it is not known what became of it."""

_CHUNK = 500


@dataclass(frozen=True)
class Entry:
    """What is known of one person in an audience."""

    state: State
    reference: Mapping[str, str] | None


@dataclass(frozen=True)
class Batch:
    """Some members that are added or removed in one request."""

    id: str
    operation: Operation
    keys: tuple[str, ...]
    attempts: int = 0


class Ledger:
    """The rows of one audience of one destination.

    Raises:
        LedgerUnusable: The database cannot be opened, read or written.
    """

    def __init__(self, engine: sa.Engine, *, destination: str, audience: str) -> None:
        self._engine, self._place = engine, engine.url.render_as_string(hide_password=True)
        self._mine = {"destination": destination, "audience": audience}
        with self._transaction() as connection:
            _METADATA.create_all(connection)

    @contextmanager
    def alone(self) -> Iterator[None]:
        """While nobody else sends to this audience, from this machine or another.

        A ledger in a file is locked whole, for every audience in it.

        Raises:
            LedgerBusy: Somebody else does.
        """
        if self._engine.dialect.name == "sqlite":
            with self._file_locked():
                yield
            return
        number = int.from_bytes(
            hashlib.sha256("\n".join(self._mine.values()).encode()).digest()[:8], signed=True
        )
        # The lock is the connection's: it ends with it, also where this process is killed. No
        # transaction stays open, which a server may end once it has been idle for a while.
        with self._told():
            connection = self._engine.execution_options(isolation_level="AUTOCOMMIT").connect()
        with connection:
            with self._told():
                free = connection.scalar(sa.select(sa.func.pg_try_advisory_lock(number)))
            if not free:
                raise LedgerBusy(place=self._place)
            yield

    @contextmanager
    def _file_locked(self) -> Iterator[None]:
        file = Path(str(self._engine.url.database)).with_suffix(".lock")
        try:
            held = FileLock(file, mode=0o600).acquire(timeout=0)
        except Timeout:
            raise LedgerBusy(place=self._place) from None
        with held:
            yield

    def entries(self) -> dict[str, Entry]:
        """Everybody of whom something is known, by hash."""
        columns = (MEMBERS.c.identifier_hash, MEMBERS.c.state, MEMBERS.c.reference)
        with self._transaction() as connection:
            rows = connection.execute(sa.select(*columns).where(*self._of(MEMBERS))).all()
        return {key: Entry(state, json.loads(told) if told else None) for key, state, told in rows}

    def open_batches(self) -> list[Batch]:
        """Batches of which nobody knows what became of them, oldest first."""
        query = (
            sa.select(BATCHES.c.id, BATCHES.c.operation, BATCHES.c.attempts)
            .where(*self._of(BATCHES), BATCHES.c.state.in_(OPEN))
            .order_by(BATCHES.c.number)
        )
        with self._transaction() as connection:
            found = connection.execute(query).all()
            return [
                Batch(one, operation, self._keys(connection, one), attempts)
                for one, operation, attempts in found
            ]

    def plan(self, operation: Operation, members: Mapping[str, Mapping[str, str] | None]) -> Batch:
        """Write down a batch that is about to be sent; `members` are hashes and references."""
        now = _now()
        batch = Batch(secrets.token_hex(16), operation, tuple(members))
        with self._transaction() as connection:
            number = connection.execute(sa.select(sa.func.max(BATCHES.c.number))).scalar() or 0
            connection.execute(
                BATCHES.insert(),
                {
                    **self._mine,
                    "id": batch.id,
                    "number": number + 1,
                    "operation": operation,
                    "state": "pending",
                    "size": len(members),
                    "attempts": 0,
                    "created_at": now,
                    "updated_at": now,
                },
            )
            rows = [{"batch_id": batch.id, "identifier_hash": key} for key in members]
            connection.execute(BATCH_MEMBERS.insert(), rows)
            self._put(connection, members, operation=operation, batch=batch.id)
        return batch

    def sent(self, batch: Batch) -> Batch:
        """Write down that a batch goes out now."""
        attempts = batch.attempts + 1
        self._settle(batch, "sent", attempts=attempts)
        return Batch(batch.id, batch.operation, batch.keys, attempts)

    def accepted(self, batch: Batch, refused: Mapping[str, str]) -> None:
        """Write down that a batch was accepted, but for those whom the destination refused."""
        done: State = "present" if batch.operation == "add" else "absent"
        with self._transaction() as connection:
            self._mark(connection, [key for key in batch.keys if key not in refused], done, "")
            before = self._states(connection, list(refused))
            for key, reason in refused.items():
                self._mark(connection, [key], _after_refusal(batch, before.get(key)), reason)
            self._state(connection, batch, "accepted", f"{len(refused)} refused" if refused else "")

    def not_accepted(self, batch: Batch, detail: str) -> None:
        """Write down that a request was refused as a whole.

        Its members stay unknown: an earlier attempt, or an earlier batch, may have come through.
        """
        self._settle(batch, "rejected", detail=detail)

    def abandoned(self, batch: Batch, detail: str) -> None:
        """Write down that a batch is not sent again as it is; its members stay unknown."""
        self._settle(batch, "abandoned", detail=detail)

    def uncertain(self, batch: Batch, detail: str) -> None:
        """Write down what was heard of a batch of which it is still not known."""
        self._settle(batch, "sent", detail=detail)

    def _settle(
        self, batch: Batch, state: str, *, detail: str = "", attempts: int | None = None
    ) -> None:
        with self._transaction() as connection:
            self._state(connection, batch, state, detail, attempts=attempts)

    def _state(
        self,
        connection: sa.Connection,
        batch: Batch,
        state: str,
        detail: str,
        *,
        attempts: int | None = None,
    ) -> None:
        values = {"state": state, "detail": detail, "updated_at": _now()}
        if attempts is not None:
            values["attempts"] = attempts
        connection.execute(BATCHES.update().where(BATCHES.c.id == batch.id).values(**values))

    def _mark(
        self, connection: sa.Connection, keys: Iterable[str], state: State, detail: str
    ) -> None:
        values = {"state": state, "detail": detail, "updated_at": _now()}
        for some in _chunks(list(keys)):
            known = (*self._of(MEMBERS), MEMBERS.c.identifier_hash.in_(some))
            connection.execute(MEMBERS.update().where(*known).values(**values))

    def _put(
        self,
        connection: sa.Connection,
        members: Mapping[str, Mapping[str, str] | None],
        *,
        operation: Operation,
        batch: str,
    ) -> None:
        now = _now()
        before = self._states(connection, list(members))
        for some in _chunks(list(members)):
            known = (*self._of(MEMBERS), MEMBERS.c.identifier_hash.in_(some))
            connection.execute(MEMBERS.delete().where(*known))
            rows = [
                {
                    **self._mine,
                    "identifier_hash": key,
                    "state": _while_sent(operation, before.get(key)),
                    "reference": json.dumps(members[key], sort_keys=True)
                    if members[key] is not None
                    else None,
                    "detail": "",
                    "batch_id": batch,
                    "updated_at": now,
                }
                for key in some
            ]
            connection.execute(MEMBERS.insert(), rows)

    def _states(self, connection: sa.Connection, keys: Sequence[str]) -> dict[str, State]:
        """What is known of these, by hash."""
        found: dict[str, State] = {}
        for some in _chunks(keys):
            known = (*self._of(MEMBERS), MEMBERS.c.identifier_hash.in_(some))
            query = sa.select(MEMBERS.c.identifier_hash, MEMBERS.c.state).where(*known)
            found.update((key, state) for key, state in connection.execute(query))
        return found

    def _keys(self, connection: sa.Connection, batch: str) -> tuple[str, ...]:
        query = (
            sa.select(BATCH_MEMBERS.c.identifier_hash)
            .where(BATCH_MEMBERS.c.batch_id == batch)
            .order_by(BATCH_MEMBERS.c.identifier_hash)
        )
        return tuple(connection.execute(query).scalars())

    def _of(self, table: sa.Table) -> list[sa.ColumnElement[bool]]:
        return [table.c[name] == value for name, value in self._mine.items()]

    @contextmanager
    def _transaction(self) -> Iterator[sa.Connection]:
        with self._told(), self._engine.begin() as connection:
            yield connection

    @contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except sa.exc.SQLAlchemyError as error:
            # The first line: what follows are the statement and its values.
            said = str(getattr(error, "orig", error)).partition("\n")[0]
            raise LedgerUnusable(place=self._place, reason=said) from None


def _while_sent(operation: Operation, before: State | None) -> State:
    if operation == "remove":
        return "removing"
    return "adding" if before is None or before in SURELY_ABSENT else "readding"


def _after_refusal(batch: Batch, before: State | None) -> State:
    if batch.operation == "remove":
        return "present"  # who is refused on removing still is there
    # Whoever was sent before, in a batch or an attempt without an answer, may be there.
    return "refused" if before == "adding" and batch.attempts == 1 else "doubtful"


def open_ledger(url: str) -> sa.Engine:
    """The database of the ledger, by its URL.

    Raises:
        LedgerUnusable: That is no URL of a database that can be opened.
    """
    try:
        parsed = sa.make_url(url)
        if parsed.get_backend_name() == "sqlite" and parsed.database:
            Path(parsed.database).parent.mkdir(parents=True, exist_ok=True)
        if parsed.get_backend_name() not in {"sqlite", "postgresql"}:
            raise LedgerUnusable(place="the ledger", reason="is neither sqlite nor postgresql")
        # No pool: a connection that nobody closes would outlive the command.
        return sa.create_engine(parsed, poolclass=sa.pool.NullPool)
    except (sa.exc.SQLAlchemyError, ModuleNotFoundError, OSError):
        raise LedgerUnusable(
            place="the ledger", reason="is no database that can be opened"
        ) from None


def _chunks(keys: Sequence[str]) -> Iterator[Sequence[str]]:
    for start in range(0, len(keys), _CHUNK):
        yield keys[start : start + _CHUNK]


def _now() -> datetime:
    return datetime.now(UTC)
