"""What a schema holds, as its control table says: snapshots, their versions, parts and manifests.

Writing that table is `control.py`'s business; it is read here whatever revision it has.
"""

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any, TypeAlias

import sqlalchemy as sa

from rfm_assets.errors import InvalidTableName, SchemaUnpublished
from rfm_assets.manifest import VERSION_NAME
from rfm_assets.postgres.connection import Target
from rfm_assets.postgres.control import label
from rfm_assets.postgres.layout import CONTROL, PLACES, control_table
from rfm_assets.postgres.migrating import revision_of
from rfm_assets.store import ROWS, AsOf, table_name

_PARTS: Mapping[str, tuple[str, str]] = {place.name: key for key, place in PLACES.items()}
"""Kind and part by the name of the table."""

_VERSION = re.compile(VERSION_NAME)


@dataclass(frozen=True)
class PublishedPart:
    """One part of a published snapshot: the columns that it filled, and its rows."""

    columns: tuple[str, ...]
    rows: int


@dataclass(frozen=True)
class Published:
    """One published snapshot."""

    table: str
    kind: str
    as_of: AsOf
    version: str
    run_id: str
    published_at: datetime
    parts: dict[str, PublishedPart] = field(default_factory=dict)


Listing: TypeAlias = Mapping[str, Mapping[AsOf, Published]]
"""Published snapshots by stored table and date."""


def require_published(target: Target, connection: sa.Connection) -> None:
    """Refuse a schema that cannot be read.

    Raises:
        SchemaUnpublished: Nothing was ever published to it.
        DatabaseRevisionUnknown: A later release made its tables.
    """
    if revision_of(target, connection) is None:
        relations = sa.table("pg_class", sa.column("relname"), sa.column("relnamespace"))
        spaces = sa.table("pg_namespace", sa.column("oid"), sa.column("nspname"))
        others = (
            sa.select(spaces.c.nspname)
            .join(relations, relations.c.relnamespace == spaces.c.oid)
            .where(relations.c.relname == CONTROL)
            .order_by(spaces.c.nspname)
        )
        available = [str(name) for name in connection.execute(others).scalars()]
        raise SchemaUnpublished(place=target.place, schema=target.schema, available=available)


def published_snapshots(
    connection: sa.Connection, schema: str, one: tuple[str, AsOf] | None = None
) -> dict[str, dict[AsOf, Published]]:
    """Every published snapshot, or one alone: by stored table and then by date, ascending."""
    rows = control_table(schema)
    wanted = sa.select(
        rows.c.table_name,
        rows.c.source,
        rows.c.as_of,
        rows.c.version,
        rows.c.columns,
        rows.c.row_count,
        rows.c.run_id,
        rows.c.published_at,
    ).order_by(rows.c.source, rows.c.as_of)
    if one is not None:
        wanted = wanted.where(rows.c.source == one[0], rows.c.snapshot == label(one[1]))
    known = [row for row in connection.execute(wanted) if row.table_name in _PARTS]
    found: dict[str, dict[AsOf, Published]] = {}
    for row in known:
        kind, part = _PARTS[row.table_name]
        if part == ROWS and _is_ours(row.source, row.version):
            found.setdefault(row.source, {})[row.as_of] = Published(
                table=row.source,
                kind=kind,
                as_of=row.as_of,
                version=row.version,
                run_id=row.run_id,
                published_at=row.published_at,
            )
    for row in known:
        main = found.get(row.source, {}).get(row.as_of)
        kind, part = _PARTS[row.table_name]
        # A part of another version is one that the snapshot does not have any more.
        if main is not None and (main.kind, main.version) == (kind, row.version):
            main.parts[part] = PublishedPart(tuple(row.columns), row.row_count)
    return found


def documents(
    connection: sa.Connection, schema: str, table: str, dates: Collection[AsOf]
) -> dict[tuple[AsOf, str], dict[str, Any] | None]:
    """The manifests of some snapshots of a table by date and version; None where there is none."""
    rows = control_table(schema)
    # The whole row as JSON, because the column is missing where an older release made the table.
    # Not as jsonb, which would put the keys into another order.
    whole = sa.func.row_to_json(rows.table_valued(), type_=sa.JSON)
    main = [name for name, (_, part) in _PARTS.items() if part == ROWS]
    wanted = sa.select(rows.c.as_of, rows.c.version, whole["manifest"].label("manifest")).where(
        rows.c.source == table,
        rows.c.table_name.in_(main),
        rows.c.snapshot.in_([label(one) for one in dates]),
    )
    return {(row.as_of, row.version): row.manifest for row in connection.execute(wanted)}


def _is_ours(table: str, version: str) -> bool:
    """Whether both may name a folder; whoever writes to the schema could name any."""
    try:
        table_name([table.replace("__", "_")])
    except InvalidTableName:
        return False
    return _VERSION.fullmatch(version) is not None


def dates_of(snapshots: Mapping[AsOf, Published]) -> list[date]:
    """The dates among them, ascending."""
    return sorted(one for one in snapshots if one is not None)
