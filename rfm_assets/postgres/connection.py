"""Connecting to a Postgres schema, and what goes wrong there, as errors of this package.

Where the server is and how its URL is kept secret is in `database_url.py`.
"""

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import ClassVar

import psycopg2
import sqlalchemy as sa
from sqlalchemy.pool import NullPool

from rfm_assets.database_url import Server, is_lost
from rfm_assets.errors import (
    DatabaseBusy,
    DatabaseRefused,
    DatabaseUnreachable,
)

DRIVER = "postgresql+psycopg2"
LOCK_NOT_AVAILABLE = "55P03"

REASONS: Mapping[str, tuple[str, str]] = {
    "42501": (
        "rights are missing",
        "Let its owner grant this user CREATE and USAGE on the schema, and ownership of its tables "
        "(or run `rfm db upgrade` as the owner and grant SELECT, INSERT, UPDATE and DELETE on them)",
    ),
    "42P01": (
        "a table is missing, although the schema's revision says that it was made",
        "Drop the schema or name a new one, and publish again: everything in it comes from the "
        "store",
    ),
    "42703": (
        "a column is missing, although the schema's revision says that it was made",
        "Drop the schema or name a new one, and publish again: everything in it comes from the "
        "store",
    ),
    "42P07": (
        "the schema has a table that this package did not make",
        "Name a schema of its own in `schema_name`",
    ),
    "25006": ("the server is read-only", "Name the primary server, not a replica"),
    "53100": ("its disk is full", "Free some space there"),
    "53300": ("it has no connection left", "Close some, or raise max_connections"),
    "57014": ("it cancelled the statement", "Raise statement_timeout for this user"),
    "40P01": ("another session is in a deadlock with this one", "Run it again"),
    "22": (
        "a value does not fit its column",
        "Correct the value named here, or leave the column out (`leave_out_columns`)",
    ),
    "23": (
        "a row breaks a constraint of the table",
        "Remove constraints that this package did not make, or publish the tables it names again",
    ),
}
"""What a SQLSTATE, or its beginning, means here and what to do about it."""


@dataclass(frozen=True)
class Target:
    """One schema of one database, and how long to wait there for other sessions."""

    server: Server
    schema: str
    wait_seconds: int = 600

    reasons: ClassVar[Mapping[str, tuple[str, str]]] = REASONS
    when_lost: ClassVar[str] = (
        "A snapshot is published whole or not at all: run it again when the server is back, and "
        "what is missing is published."
    )

    @property
    def place(self) -> str:
        """The database in words, without user and password."""
        return self.server.place

    @contextmanager
    def connect(self) -> Iterator[sa.Connection]:
        """One connection, closed afterwards. Begin transactions on it.

        Raises:
            DatabaseUnreachable: It cannot be opened, or is lost.
            DatabaseRefused: The server refuses a statement.
            DatabaseBusy: Another session held a lock for longer than `wait_seconds`.
        """
        engine = sa.create_engine(self.server.url_for(DRIVER), poolclass=NullPool)
        with self.translating(connecting=True):
            connection = engine.connect()
        with connection, self.translating():
            yield connection

    @contextmanager
    def transaction(self, connection: sa.Connection, *, lock: str) -> Iterator[None]:
        """One transaction that holds the advisory lock of that name in this schema.

        Whoever comes second waits, at most `wait_seconds`; the lock ends with the transaction,
        so also when this process is killed.
        """
        with connection.begin():
            # Also bounds the wait for rows and tables that other sessions have locked.
            wait = sa.func.set_config("lock_timeout", f"{self.wait_seconds}s", True)  # noqa: FBT003
            connection.execute(sa.select(wait))
            try:
                key = _lock_key(self.schema, lock)
                connection.execute(sa.select(sa.func.pg_advisory_xact_lock(key)))
            except sa.exc.DBAPIError as error:
                if _state(error) == LOCK_NOT_AVAILABLE:
                    raise DatabaseBusy(
                        place=self.place,
                        what=f"another run is publishing {self.schema}.{lock}",
                        seconds=self.wait_seconds,
                    ) from None
                raise
            yield

    @contextmanager
    def translating(self, *, connecting: bool = False) -> Iterator[None]:
        """Speaking to the server: what it refuses becomes an error of this package."""
        try:
            yield
        except (sa.exc.DBAPIError, psycopg2.Error) as error:
            # Not chained: the driver's own error could show what the URL holds.
            raise self._translated(error, connecting=connecting) from None

    def _translated(
        self, error: sa.exc.DBAPIError | psycopg2.Error, *, connecting: bool
    ) -> DatabaseUnreachable | DatabaseRefused | DatabaseBusy:
        state, said = _state(error), self.server.without_secrets(_said(error))
        if connecting:
            return self.server.unreachable(said)
        if not state or is_lost(state):
            return self.server.lost(said, fix=self.when_lost)
        if state == LOCK_NOT_AVAILABLE:
            return DatabaseBusy(
                place=self.place,
                what=f"another session holds a lock in schema {self.schema} ({said})",
                seconds=self.wait_seconds,
            )
        return self.refused(state, said)

    def refused(self, state: str, said: str) -> DatabaseRefused:
        """The error for a SQLSTATE and what the server said."""
        reason, fix = self.reasons.get(state) or self.reasons.get(
            state[:2], ("the server refuses a statement", "See what the server says")
        )
        return DatabaseRefused(
            place=self.place, schema=self.schema, reason=f"{reason}: {said}", fix=fix, state=state
        )


def _lock_key(schema: str, name: str) -> int:
    digest = hashlib.sha256(f"rfm_assets/{schema}/{name}".encode()).digest()
    return int.from_bytes(digest[:8], "big", signed=True)


def _state(error: sa.exc.DBAPIError | psycopg2.Error) -> str:
    original = error.orig if isinstance(error, sa.exc.DBAPIError) else error
    return getattr(original, "pgcode", None) or ""


def _said(error: sa.exc.DBAPIError | psycopg2.Error) -> str:
    """What the server or the driver said, with the row or value at fault, on one line."""
    original = error.orig if isinstance(error, sa.exc.DBAPIError) else error
    diagnostics = getattr(original, "diag", None)
    parts = [
        getattr(diagnostics, name, None)
        for name in ("message_primary", "message_detail", "context")
    ]
    text = "; ".join(part for part in parts if part) or str(original)
    return " ".join(text.split()).rstrip(". ")
