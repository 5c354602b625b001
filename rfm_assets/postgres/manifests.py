"""A snapshot's manifest beside its published rows, and what is known of one without it.

It goes along without what is true of the store alone: the names of its files, their checksums, and
where rows lie that were never copied. In their place stand the columns that were published, by
their stored names and types, because Postgres has the names in lower case.
"""

import json
import re
from collections.abc import Collection, Mapping
from typing import Any

import pyarrow as pa
import sqlalchemy as sa
from pydantic import ValidationError

from rfm_assets.errors import SnapshotUnreadable
from rfm_assets.manifest import FORMAT, Manifest
from rfm_assets.postgres.layout import Place, column_name
from rfm_assets.postgres.listing import Published
from rfm_assets.store import ROWS

COLUMNS = "columns"
"""Where the document has the published columns of each part."""

_OF_THE_STORE = frozenset({"files", "checksums", "in_place"})

_DECIMAL = re.compile(r"decimal(?:32|64|128|256)\((\d+), (-?\d+)\)")
_MOMENT = re.compile(r"timestamp\[(s|ms|us|ns)(?:, tz=(.+))?\]")
_TEXTS = ("string", "large_string", "string_view", "dictionary<")

_CONTRACT_TYPES: Mapping[str, pa.DataType] = {
    "string": pa.string(),
    "str": pa.string(),
    "int8": pa.int8(),
    "int32": pa.int32(),
    "int64": pa.int64(),
    "float64": pa.float64(),
    "datetime64": pa.timestamp("us"),
    "date": pa.date32(),
}
"""What the types of the contracts are in the store, by the beginning of their names."""


_OF_POSTGRES = (
    (sa.Boolean, pa.bool_()),
    (sa.SmallInteger, pa.int16()),
    (sa.BigInteger, pa.int64()),
    (sa.Integer, pa.int32()),
    (sa.REAL, pa.float32()),
    (sa.Numeric, pa.float64()),
    (sa.Date, pa.date32()),
)
"""Types of carried columns, the narrower ones first; nothing else was ever published."""


def travelling(manifest: Manifest, columns: Mapping[str, Mapping[str, pa.Field]]) -> dict[str, Any]:
    """What goes along with the rows; `columns` are the published ones of each part."""
    written = json.loads(manifest.model_dump_json(exclude=set(_OF_THE_STORE)))
    written[COLUMNS] = {
        part: {field.name: str(field.type) for field in fields.values()}
        for part, fields in columns.items()
    }
    return written


def arrived(text: Mapping[str, Any], published: Published, place: str) -> Manifest:
    """The manifest that came along; `place` is said where it cannot be read.

    Raises:
        SnapshotUnreadable: A later release wrote it, or it was changed by hand.
    """
    written = text.get("format", 0)
    table, as_of = published.table, published.as_of
    where = f"{place}: the manifest of {table} as of {as_of or 'all'}"
    if isinstance(written, int) and written > FORMAT:
        raise SnapshotUnreadable(
            path=where,
            reason=f"has format {written}, and this release reads up to {FORMAT}",
            fix="Upgrade rfm_assets here to the release that wrote it.",
        )
    try:
        manifest = Manifest.model_validate(text)
    except ValidationError as error:
        first = error.errors()[0]
        step = ".".join(str(one) for one in first["loc"]) or "document"
        raise SnapshotUnreadable(
            path=where,
            reason=f"is damaged: {step}: {first['msg']}",
            fix=f"Publish {table} again.",
        ) from error
    here = {"table": table, "as_of": as_of, "version": published.version}
    return manifest.model_copy(update=here)


def guessed(published: Published) -> Manifest:
    """What is known of a snapshot that an older release published: no scheme, no cut points."""
    return Manifest(
        kind=published.kind,
        table=published.table,
        as_of=published.as_of,
        version=published.version,
        row_counts={name: part.rows for name, part in published.parts.items()},
        run_id=published.run_id,
        created_at=published.published_at,
    )


def stored_fields(
    place: Place,
    published: Collection[str],
    types: Mapping[str, sa.types.TypeEngine],
    document: Mapping[str, Any] | None,
    part: str = ROWS,
) -> dict[str, pa.Field]:
    """The stored columns in their stored order, by their names in Postgres.

    Args:
        place: Their table.
        published: The columns that the snapshot filled, in Postgres' spelling.
        types: Types of the table's columns.
        document: The manifest as it came along; without it, the contract says what it can, and
            carried columns keep the names and types that they have in Postgres.
        part: The part of the snapshot.
    """
    own = place.contract.schema.columns
    noted: Mapping[str, str] = ((document or {}).get(COLUMNS) or {}).get(part) or {}
    names = {column_name(stored): stored for stored in (*own, *noted)}
    order = [column_name(stored) for stored in (noted or own)]
    order += sorted(set(published) - set(order))
    fields: dict[str, pa.Field] = {}
    for name in order:
        if name not in published or name not in types:
            continue
        stored = names.get(name, name)
        kind = _arrow_type(noted.get(stored, ""))
        if kind is None and stored in own:
            kind = _contract_type(str(own[stored].dtype))
        fields[name] = pa.field(stored, kind or _type_of_postgres(types[name]))
    return fields


def _arrow_type(written: str) -> pa.DataType | None:
    """The type that Arrow writes so, as far as published columns have it; None for any other."""
    if written.startswith(_TEXTS):
        return pa.string()
    if found := _DECIMAL.fullmatch(written):
        return pa.decimal128(int(found[1]), int(found[2]))
    if found := _MOMENT.fullmatch(written):
        return pa.timestamp("us", found[2])
    try:
        return pa.type_for_alias(written.partition("[day]")[0].partition("[ms]")[0])
    except ValueError:
        return None


def _contract_type(dtype: str) -> pa.DataType:
    return next(kind for prefix, kind in _CONTRACT_TYPES.items() if dtype.startswith(prefix))


def _type_of_postgres(kind: sa.types.TypeEngine) -> pa.DataType:
    """The nearest Arrow type of a column's type; text for whatever has none."""
    if isinstance(kind, sa.DateTime):
        return pa.timestamp("us", "UTC" if kind.timezone else None)
    if type(kind) is sa.NUMERIC and kind.precision is not None:
        return pa.decimal128(kind.precision, kind.scale or 0)
    return next((arrow for one, arrow in _OF_POSTGRES if isinstance(kind, one)), pa.string())
