"""The rows of a published snapshot back into Parquet files, as the store had them.

They come by COPY in one transaction, which sees the version and the rows of every part together, and
lie as text on the disk until it is over, so that nothing keeps the server waiting. Then they are
read batch by batch and sorted by an engine that spills: memory does not grow with the snapshot.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import narwhals as nw
import pyarrow as pa
import pyarrow.csv
import sqlalchemy as sa
from psycopg2 import sql

from rfm_assets.engines.duckdb_engine import DuckDBEngine
from rfm_assets.errors import SnapshotGone, SnapshotUnreadable
from rfm_assets.failures import storage
from rfm_assets.postgres.connection import Target
from rfm_assets.postgres.layout import AS_OF, PLACES, Place
from rfm_assets.postgres.listing import Published, published_snapshots
from rfm_assets.postgres.manifests import stored_fields
from rfm_assets.validation import row_order

_BLOCK_BYTES = 2 << 20

_SPELLING: Mapping[str, str] = {
    # Doubles with as many digits as make them the same 64 bits again.
    "extra_float_digits": "1",
    "datestyle": "ISO",
    "timezone": "UTC",
    "bytea_output": "hex",
}
"""How the server is to write values, whatever it or its user has set."""


def fetch_rows(
    target: Target,
    connection: sa.Connection,
    published: Published,
    document: Mapping[str, Any] | None,
    folder: Path,
) -> dict[str, dict[str, pa.Field]]:
    """The rows of every part as text below `folder`, in one transaction; the fields of each part.

    `connection` begins read-only transactions that see one state of everything.

    Raises:
        SnapshotGone: Another version has taken its place.
        DatabaseUnreachable, DatabaseRefused: The server goes, or refuses.
        StorageUnusable: The disk is full.
    """
    fields: dict[str, dict[str, pa.Field]] = {}
    with connection.begin():
        now = published_snapshots(connection, target.schema, (published.table, published.as_of))
        here = now.get(published.table, {}).get(published.as_of)
        if here is None or here.version != published.version:
            raise SnapshotGone(
                table=published.table,
                as_of=str(published.as_of or "all"),
                version=published.version,
            )
        settings = [sa.func.set_config(name, value, sa.true()) for name, value in _SPELLING.items()]
        connection.execute(sa.select(*settings))
        for part, about in published.parts.items():
            place = PLACES[published.kind, part]
            there = sa.inspect(connection).get_columns(place.name, schema=target.schema)
            types = {column["name"]: column["type"] for column in there}
            fields[part] = stored_fields(place, about.columns, types, document, part)
            names = sql.SQL(", ").join(map(sql.Identifier, fields[part]))
            table = sql.Identifier(target.schema, place.name)
            _copy(
                connection,
                sql.SQL("SELECT {} FROM {} WHERE {}").format(
                    names, table, _which(place, published)
                ),
                folder / part,
            )
    return fields


def write_parts(
    engine: DuckDBEngine,
    published: Published,
    fields: Mapping[str, Mapping[str, pa.Field]],
    folder: Path,
) -> None:
    """The fetched text as Parquet files in the order of the contracts, `<part>/*.parquet`.

    Raises:
        SnapshotUnreadable: There are not as many rows as were published, or a value is none of
            its column's type.
        StorageUnusable: The disk is full.
    """
    for part, about in published.parts.items():
        contract = PLACES[published.kind, part].contract
        schema = pa.schema(list(fields[part].values()))
        text = _text_of(folder / part)
        try:
            rows = engine.write_parquet(
                _read(engine, text, schema),
                folder / part,
                sort_by=row_order(contract, schema.names),
            )
        except pa.ArrowException as error:
            raise _changed(
                published, part, f"has a value that is none ({_first(error)})"
            ) from error
        if rows != about.rows:
            raise _changed(published, part, f"has {rows} rows, and {about.rows} were published")
        text.unlink()


def _which(place: Place, published: Published) -> sql.Composable:
    """True for the rows of one snapshot."""
    known = {place.named_by: published.table, AS_OF: published.as_of}
    conditions = [
        sql.SQL("{} = {}").format(sql.Identifier(name), sql.Literal(known[name]))
        for name in place.added
    ]
    return sql.SQL(" AND ").join(conditions) if conditions else sql.SQL("true")


def _copy(connection: sa.Connection, rows: sql.Composable, folder: Path) -> None:
    raw = connection.connection.driver_connection
    if raw is None:
        raise ValueError("the connection is closed")
    copy = sql.SQL("COPY ({}) TO STDOUT WITH (FORMAT csv, ENCODING 'UTF8')").format(rows)
    with storage(folder):
        folder.mkdir()
        with raw.cursor() as cursor, _text_of(folder).open("wb", buffering=1 << 20) as file:
            try:
                cursor.copy_expert(copy, file)
            except BaseException as error:
                # In the middle of its answer, or gone: of no use to anybody else.
                connection.invalidate(error)
                raise


def _read(engine: DuckDBEngine, text: Path, schema: pa.Schema) -> nw.LazyFrame[Any]:
    """The text as typed rows, read once and batch by batch."""
    if text.stat().st_size == 0:
        return engine.from_arrow(schema.empty_table())
    reader = pa.csv.open_csv(
        text,
        read_options=pa.csv.ReadOptions(
            column_names=schema.names, block_size=_BLOCK_BYTES, use_threads=False
        ),
        parse_options=pa.csv.ParseOptions(newlines_in_values=True, ignore_empty_lines=False),
        # Quotes tell an empty text from a null, as when they were published.
        convert_options=pa.csv.ConvertOptions(
            column_types=schema,
            null_values=[""],
            strings_can_be_null=True,
            quoted_strings_can_be_null=False,
            true_values=["t"],
            false_values=["f"],
        ),
    )
    return nw.from_native(engine.connection.from_arrow(reader))


def _text_of(folder: Path) -> Path:
    return folder / "rows.csv"


def _changed(published: Published, part: str, what: str) -> SnapshotUnreadable:
    place = PLACES[published.kind, part]
    return SnapshotUnreadable(
        path=place.name,
        reason=f"as of {published.as_of or 'all'} of {published.table} {what}",
        fix=f"Somebody has changed it by hand: publish {published.table} again, which puts it right.",
    )


def _first(error: BaseException) -> str:
    """The first line, without the value: that may be a customer's."""
    return str(error).partition("\n")[0].partition("'")[0].rstrip(" :")
