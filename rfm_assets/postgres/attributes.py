"""Columns that a deployment carries along, such as country: added to the tables, typed.

A new one is added when a snapshot first has it; it is empty for snapshots that do not. One whose
type changes is an error, because the applications' queries rest on it. What the contracts name
is in `layout.py`.
"""

from collections.abc import Iterable, Mapping, Sequence

import pyarrow as pa
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

from rfm_assets.errors import ColumnUnpublishable
from rfm_assets.postgres.connection import Target
from rfm_assets.postgres.layout import Place, column_name

LONGEST_NAME = 63
"""Bytes that Postgres keeps of a name; it cuts off the rest without an error."""

WIDER: Mapping[str, tuple[str, ...]] = {
    "SMALLINT": ("INTEGER", "BIGINT"),
    "INTEGER": ("BIGINT",),
    "REAL": ("DOUBLE PRECISION",),
}
"""Types that hold every value of another one unchanged."""

_DIALECT = postgresql.dialect()


def stored_columns(
    source: str, place: Place, schema: pa.Schema, leave_out: Iterable[str]
) -> dict[str, pa.Field]:
    """The stored columns to publish, by their names in Postgres.

    Raises:
        ColumnUnpublishable: Two have one name there, or one has a name that cannot be.
    """
    own = {column_name(known) for known in place.contract.schema.columns}
    left_out = set(leave_out)
    found: dict[str, pa.Field] = {}
    for field in schema:
        name = column_name(field.name)
        # A column of nothing but nulls has no type to give a new column.
        if (field.name in left_out and name not in own) or pa.types.is_null(field.type):
            continue
        if name in found or (name in place.added and name not in own):
            raise ColumnUnpublishable(
                table=source,
                column=field.name,
                reason=f"would be a second column {name!r} of {place.name}",
                fix="Rename it where it is mapped, or name it in `leave_out_columns`.",
            )
        if len(name.encode()) > LONGEST_NAME:
            raise ColumnUnpublishable(
                table=source,
                column=field.name,
                reason=f"has a name longer than the {LONGEST_NAME} bytes that Postgres keeps",
                fix="Rename it where it is mapped, or name it in `leave_out_columns`.",
            )
        found[name] = field
    return found


def present_table(target: Target, connection: sa.Connection, place: Place) -> sa.Table:
    """The table as it is now, with the columns that were added to it.

    Raises:
        DatabaseRefused: It is not there.
    """
    try:
        return sa.Table(place.name, sa.MetaData(), schema=target.schema, autoload_with=connection)
    except sa.exc.NoSuchTableError:
        raise target.refused("42P01", f"{target.schema}.{place.name}") from None


def missing_columns(
    source: str, table: sa.Table, stored: Mapping[str, pa.Field]
) -> list[sa.Column]:
    """Columns that the table does not have yet.

    Raises:
        ColumnUnpublishable: One has a type that Postgres has no column for, or that does not fit
            the column that is there.
    """
    missing: list[sa.Column] = []
    for name, field in stored.items():
        kind = postgres_type(field.type)
        if kind is None:
            raise ColumnUnpublishable(
                table=source,
                column=field.name,
                reason=f"is of the type {field.type}, which no plain column holds",
                fix="Name it in `leave_out_columns`.",
            )
        if name not in table.columns:
            missing.append(sa.Column(name, kind))
            continue
        here, there = _spelt(kind), _spelt(table.columns[name].type)
        if here != there and there not in WIDER.get(here, ()):
            raise ColumnUnpublishable(
                table=source,
                column=field.name,
                reason=f"is {here.lower()} now, and {table}.{name} is {there.lower()}",
                fix=f"Give it its former type again, or name it in `leave_out_columns`; or drop "
                f"the column there (`ALTER TABLE {table} DROP COLUMN {name}`) and publish the "
                "weeks again that are to have it.",
            )
    return missing


def postgres_type(kind: pa.DataType) -> sa.types.TypeEngine | None:
    """The column type that holds every value of an Arrow type unchanged; None if none does."""
    if pa.types.is_dictionary(kind):
        return postgres_type(kind.value_type)
    if pa.types.is_timestamp(kind):
        return sa.TIMESTAMP(timezone=kind.tz is not None)
    if pa.types.is_decimal(kind):
        return sa.Numeric(kind.precision, kind.scale)
    for of_kind, column in _KINDS:
        if of_kind(kind):
            return column()
    return None


_KINDS = (
    (pa.types.is_string, sa.Text),
    (pa.types.is_large_string, sa.Text),
    (pa.types.is_string_view, sa.Text),
    (pa.types.is_boolean, sa.Boolean),
    (pa.types.is_int8, sa.SmallInteger),
    (pa.types.is_uint8, sa.SmallInteger),
    (pa.types.is_int16, sa.SmallInteger),
    (pa.types.is_uint16, sa.Integer),
    (pa.types.is_int32, sa.Integer),
    (pa.types.is_uint32, sa.BigInteger),
    (pa.types.is_int64, sa.BigInteger),
    (pa.types.is_float32, sa.REAL),
    (pa.types.is_float64, sa.Double),
    (pa.types.is_date, sa.Date),
)


def _spelt(kind: sa.types.TypeEngine) -> str:
    return kind.compile(dialect=_DIALECT)


def add_columns(connection: sa.Connection, table: sa.Table, columns: Sequence[sa.Column]) -> None:
    """Add nullable columns, with a comment that says where they come from."""
    if not columns:
        return
    from alembic.migration import MigrationContext
    from alembic.operations import Operations

    operations = Operations(MigrationContext.configure(connection))
    for column in columns:
        column.comment = "Carried along by this deployment; empty where a snapshot lacks it"
        operations.add_column(table.name, column, schema=table.schema, if_not_exists=True)
