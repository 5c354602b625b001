"""Making and changing the tables: Alembic's migrations, whole or not at all, one run at a time.

The revision stands in the target schema, so that schemas of one database are upgraded by
themselves. Columns that a deployment carries along have no migration: see `attributes.py`.
"""

from functools import cache
from pathlib import Path

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy.schema import CreateSchema, SetColumnComment, SetTableComment

from rfm_assets.errors import DatabaseRevisionUnknown
from rfm_assets.postgres.connection import Target
from rfm_assets.postgres.layout import published_tables

VERSION_TABLE = "rfm_assets_revision"
LOCK = "migrations"
SCRIPTS = Path(__file__).parent / "migrations"


@cache
def newest_revision() -> str:
    """The revision that this release's tables have."""
    return ScriptDirectory(str(SCRIPTS)).get_current_head() or ""


def revision_of(target: Target, connection: sa.Connection) -> str | None:
    """The revision of the schema's tables; None where there are none.

    Raises:
        DatabaseRevisionUnknown: A later release made them.
    """
    context = MigrationContext.configure(
        connection,
        opts={"version_table": VERSION_TABLE, "version_table_schema": target.schema},
    )
    revision = context.get_current_revision()
    known = {script.revision for script in ScriptDirectory(str(SCRIPTS)).walk_revisions()}
    if revision is not None and revision not in known:
        raise DatabaseRevisionUnknown(
            place=target.place,
            schema=target.schema,
            revision=revision,
            newest=newest_revision(),
        )
    return revision


def upgrade(target: Target, connection: sa.Connection) -> tuple[str | None, str]:
    """Bring the schema to this release's revision; the revisions before and after.

    Everything happens in one transaction, so a run that is killed leaves what was there.

    Raises:
        DatabaseRevisionUnknown: A later release made the tables.
        DatabaseBusy: Another run has been upgrading for too long.
        DatabaseRefused: Rights are missing, or a table of that name is there already.
    """
    with connection.begin():
        before = revision_of(target, connection)
    if before == newest_revision():
        return before, before
    with target.transaction(connection, lock=LOCK):
        before = revision_of(target, connection)
        if before == newest_revision():
            return before, before
        # Asked first, because `if not exists` needs the right to create schemas in any case.
        if not sa.inspect(connection).has_schema(target.schema):
            connection.execute(CreateSchema(target.schema))
        config = Config(
            attributes={
                "connection": connection,
                "schema": target.schema,
                "version_table": VERSION_TABLE,
            }
        )
        config.set_main_option("script_location", str(SCRIPTS).replace("%", "%%"))
        command.upgrade(config, "head")
        _comment(target, connection)
    return before, newest_revision()


def _comment(target: Target, connection: sa.Connection) -> None:
    """The contracts' words on every table and column."""
    for table in published_tables(target.schema).sorted_tables:
        connection.execute(SetTableComment(table))
        for column in table.columns:
            connection.execute(SetColumnComment(column))
