"""Postgres as a source: what is asked of the server, and how its rows come here.

One transaction that cannot write asks for the types first and then for the mapped columns, which
come as Arrow batches by COPY and go into DuckDB one by one, so that a table of any size passes.
What the columns mean does not belong here (`mapping.py`), nor how conditions become SQL
(`pushdown.py`). The URL holds a password: it goes from the environment into the driver, and
nowhere else.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import duckdb
import pyarrow as pa
import sqlalchemy as sa
from duckdb import ConstantExpression as Constant
from duckdb import FunctionExpression as Function
from duckdb import StarExpression as Star
from duckdb.sqltypes import BIGINT
from sqlalchemy.dialects import postgresql

from rfm_assets.database_url import Server, is_lost
from rfm_assets.domain.expressions import parse
from rfm_assets.errors import (
    ColumnMissing,
    InvalidConfig,
    InvalidExpression,
    SourceUnreadable,
    did_you_mean,
)
from rfm_assets.sources.config import PostgresSource, PostgresTable
from rfm_assets.sources.mapping import ROW, ROW_KEY, SOURCE
from rfm_assets.sources.parsing import NativeKind, kind_of
from rfm_assets.sources.pushdown import condition, not_before

if TYPE_CHECKING:
    from adbc_driver_manager.dbapi import Connection, Cursor

BEGIN: Final = (
    "SET TRANSACTION READ ONLY",
    # Literals are written for a server that takes backslashes as they are, which is its default.
    "SET LOCAL standard_conforming_strings = on",
    # Rows of a table come as they lie there, and not as whichever worker is first.
    "SET LOCAL synchronize_seqscans = off",
    "SET LOCAL max_parallel_workers_per_gather = 0",
)
TYPE: Final = b"POSTGRESQL:type"
ROWS: Final = "source_rows"
"""What the table or query is called in the query that fetches its columns."""

_NATIVES: Final[dict[str, NativeKind]] = {
    "text": "text", "varchar": "text", "bpchar": "text", "name": "text", "citext": "text",
    "uuid": "text", "enum": "text", "int2": "whole", "int4": "whole", "int8": "whole",
    "float4": "number", "float8": "number", "numeric": "number", "bool": "boolean",
    "date": "day", "timestamp": "moment", "timestamptz": "zoned",
}  # fmt: skip
_ADVICE: Final = {
    "money": "amount::numeric AS amount",
    "json": "details ->> 'amount' AS amount",
    "jsonb": "details ->> 'amount' AS amount",
    "bytea": "encode(id, 'hex') AS id",
}


class _Dialect(postgresql.dialect):  # type: ignore[misc, valid-type]
    """How literals and names are written, once `BEGIN` has been said."""

    _backslash_escapes = False


@dataclass
class Stream:
    """Rows on their way here. Consume `relation` inside `receiving`, once."""

    relation: duckdb.DuckDBPyRelation
    name: str
    server: Server
    source: _Batches = field(repr=False)

    @contextmanager
    def receiving(self) -> Iterator[None]:
        """Around what consumes the rows; the connection is closed afterwards.

        Raises:
            DatabaseUnreachable: The server is gone in the middle.
            SourceUnreadable: The server stops with an error.
        """
        failed: Exception | None = None
        try:
            yield
        except Exception as error:
            if self.source.failure is None:
                raise
            failed = _refused(self.server, self.name, self.source.failure)
            failed.__suppress_context__ = True
            del error
        finally:
            self.source.close()
        if failed is not None:
            raise failed


class _Batches:
    """Arrow batches of a cursor, with the error that ended them."""

    def __init__(self, connection: Connection, cursor: Cursor) -> None:
        self.connection, self.cursor = connection, cursor
        self.reader = cursor.fetch_record_batch()
        self.failure: Exception | None = None

    def __iter__(self) -> Iterator[pa.RecordBatch]:
        try:
            yield from self.reader
        except Exception as error:  # the driver's, or Arrow's
            self.failure = error
            raise

    def close(self) -> None:
        _, Error = _driver()  # noqa: N806  a class
        for thing in (self.reader, self.cursor, self.connection):
            try:
                thing.close()
            except (Error, pa.ArrowException, OSError):
                continue  # of a connection that is gone


def rows(
    connection: duckdb.DuckDBPyConnection,
    source: PostgresTable,
    used: Sequence[tuple[str, str]],
    *,
    numbers: frozenset[str],
    dated_by: str | None,
    time_zone: str,
    row_keys: bool,
) -> Stream:
    """The rows of a table or query, streamed once. ROW counts them as they come.

    Args:
        connection: DuckDB's.
        source: What to read.
        used: The columns to fetch, each after the key that names it.
        numbers: Those of them that are computed with: exact decimals come as floats, the others
            as text.
        dated_by: The column that `since` is about.
        time_zone: The business time zone.
        row_keys: Whether the server adds ROW_KEY, a hash of all columns of a row.

    Raises:
        DatabaseUrlInvalid, DatabaseUnreachable: There is no connection.
        ColumnMissing: A column is not there; with the nearest match.
        InvalidConfig: A column is of a type that cannot be used, or `since` cannot be asked.
        InvalidExpression: `where` does not fit the columns.
        SourceUnreadable: There is no such table, or the server refuses the query.
    """
    server = Server.named(source.url_env)
    name = source.table or "query"
    opened = _connection(server)
    try:
        cursor = opened.cursor()
        with _refusals(server, name):
            for statement in BEGIN:
                cursor.execute(statement)
        types = _types(cursor, source, server)
        natives = _natives(types, used, source, name)
        columns = {column: types[column] for _, column in sorted(used)}
        query = _fetching(source, columns, numbers, row_keys=row_keys)
        query = _filtered(
            query,
            source,
            natives=natives,
            types=types,
            dated_by=dated_by,
            time_zone=time_zone,
        )
        query = query.order_by(*(sa.column(column) for column in source.order_by))
        with _refusals(server, name):
            cursor.execute(_text(query))
        batches = _Batches(opened, cursor)
    except BaseException:
        opened.close()
        raise
    stream = pa.RecordBatchReader.from_batches(batches.reader.schema, iter(batches))
    relation = connection.from_arrow(stream).select(
        Star(),
        Function("row_number").over().cast(BIGINT).alias(ROW),
        Constant(f"postgres:{name}").alias(SOURCE),
    )
    return Stream(relation, f"postgres:{name}", server, batches)


def _connection(server: Server) -> Connection:
    """A connection in a transaction, which the driver begins."""
    adbc, Error = _driver()  # noqa: N806  a class
    try:
        connection = adbc.connect(
            server.url_for("postgresql").render_as_string(hide_password=False)
        )
    except Error as error:
        said = _said(server, error)
    else:
        return connection
    # Raised here, where the driver's own error, which may hold the URL, is no context.
    raise server.unreachable(said)


def _types(cursor: Cursor, source: PostgresTable, server: Server) -> dict[str, str]:
    """The server's type of each column, asked for without running the query."""
    if source.table is not None and not _known(cursor, source.table, server):
        raise SourceUnreadable(
            source=server.place,
            reason=f"it has no table {source.table!r} that this user may see",
            fix=did_you_mean(source.table, _tables(cursor, server)),
        )
    with _refusals(server, source.table or "query"):
        schema = cursor.adbc_execute_schema(
            _text(sa.select(sa.text("*")).select_from(_from(source)))
        )
    found: dict[str, str] = {}
    for column in schema:
        kind = (column.metadata or {}).get(TYPE, b"").decode()
        # An enumeration has a name of its own, and comes as text.
        named = kind not in _NATIVES and pa.types.is_string(column.type)
        found[column.name] = "enum" if named else kind
    return found


def _natives(
    types: Mapping[str, str],
    used: Sequence[tuple[str, str]],
    source: PostgresTable,
    name: str,
) -> dict[str, NativeKind]:
    """What each usable column is, once those that are used are known to be usable."""
    natives = {column: _NATIVES[kind] for column, kind in types.items() if kind in _NATIVES}
    table = f"postgres:{name}"
    wanted = [*used, *(("source.order_by", column) for column in source.order_by)]
    if source.where is not None:
        wanted += [("source.where", column) for column in sorted(parse(source.where).columns)]
    for key, column in wanted:
        if column not in types and key != "source.where":
            raise ColumnMissing(column=column, table=table, available=list(types), key=key)
        if column in types and column not in natives:
            kind = types[column]
            advice = _ADVICE.get(kind, f"{column}::text AS {column}")
            raise InvalidConfig(
                key=key,
                value=column,
                reason=f"is of type {_written(kind)} on the server, which does not fit here",
                fix=f"Choose another column, or convert it in a `query`: SELECT {advice}, …",
            )
    return natives


def _fetching(
    source: PostgresTable, columns: Mapping[str, str], numbers: frozenset[str], *, row_keys: bool
) -> sa.Select[Any]:
    """The columns, in the types that come here exactly."""
    rows = _from(source)
    fetched = [_fetched(name, kind, number=name in numbers) for name, kind in columns.items()]
    if row_keys:
        whole = sa.cast(sa.literal_column(ROWS), sa.Text)
        fetched.append(sa.func.md5(whole).label(ROW_KEY))
    return sa.select(*fetched).select_from(rows)


def _filtered(
    query: sa.Select[Any],
    source: PostgresTable,
    *,
    natives: Mapping[str, NativeKind],
    types: Mapping[str, str],
    dated_by: str | None,
    time_zone: str,
) -> sa.Select[Any]:
    """The query with what the server filters by."""
    if source.where is not None:
        where = parse(source.where)
        try:
            kinds = {name: kind_of(native) for name, native in natives.items()}
            where.type_check(kinds, expected="boolean")
        except InvalidExpression as error:
            raise error.named("source.where") from error
        texts = frozenset(name for name, kind in types.items() if kind in {"text", "varchar"})
        query = query.where(condition(where, natives, time_zone, texts=texts))
    if not isinstance(source, PostgresSource) or source.since is None or dated_by is None:
        return query
    native = natives[dated_by]
    if native not in {"day", "moment", "zoned"}:
        raise InvalidConfig(
            key="source.since",
            value=source.since.isoformat(),
            reason=f"needs dates, and {dated_by!r} holds {types[dated_by]} on the server",
            fix="Convert the column in a `query`, or use `where`.",
        )
    zones = [time_zone]
    if source.source_time_zone not in {None, time_zone}:
        zones.append(str(source.source_time_zone))
    return query.where(not_before(dated_by, native, source.since, zones))


def _fetched(name: str, kind: str, *, number: bool) -> sa.ColumnElement[Any]:
    column: sa.ColumnElement[Any] = sa.column(name)
    match _NATIVES[kind]:
        case "number" if kind == "numeric":
            column = sa.cast(column, sa.Double if number else sa.Text)
        case "text":
            column = sa.cast(column, sa.Text)
        case "day" | "moment" | "zoned":
            # `infinity` is no date; it would come as one in the year 294247.
            column = sa.case((sa.func.isfinite(column), column))
        case _:
            pass
    return column.label(name)


def _from(source: PostgresTable) -> sa.FromClause:
    """The table or query to select from."""
    if source.table is not None:
        schema, dot, name = source.table.rpartition(".")
        return sa.table(name, schema=schema if dot else None).alias(ROWS)
    # As it is written: a colon that stands for itself has a backslash before it.
    written = str(source.query).strip().rstrip(";").replace(":", "\\:")
    return sa.text(written).columns().subquery(ROWS)


def _text(query: sa.Select[Any]) -> str:
    """The query as the driver takes it, with literals and names as the dialect writes them."""
    compiled = query.compile(
        dialect=_Dialect(paramstyle="named"), compile_kwargs={"literal_binds": True}
    )
    return str(compiled)


def _known(cursor: Cursor, table: str, server: Server) -> bool:
    schema, _, name = table.rpartition(".")
    # quote_ident's counterpart: the name as it is written in SQL, for the search path to resolve.
    preparer = _Dialect().identifier_preparer
    written = ".".join(preparer.quote(part) for part in (schema, name) if part)
    query = sa.select(sa.func.to_regclass(sa.literal(written, sa.Text)).is_not(None))
    return bool(_ask(cursor, query, server)[0][0])


def _tables(cursor: Cursor, server: Server) -> list[str]:
    """The tables and views that this user may read, as they would be named in `table`."""
    tables = sa.table(
        "tables", sa.column("table_schema"), sa.column("table_name"), schema="information_schema"
    )
    query = sa.select(tables.c.table_schema, tables.c.table_name).where(
        tables.c.table_schema.not_in(
            [sa.literal(one, sa.Text) for one in ("pg_catalog", "information_schema")]
        )
    )
    found = _ask(cursor, query, server)
    return sorted(name if schema == "public" else f"{schema}.{name}" for schema, name in found)


def _ask(cursor: Cursor, query: sa.Select[Any], server: Server) -> list[tuple[Any, ...]]:
    with _refusals(server, "its catalogue"):
        cursor.execute(_text(query))
        return [tuple(row.values()) for row in cursor.fetch_arrow_table().to_pylist()]


@contextmanager
def _refusals(server: Server, name: str) -> Iterator[None]:
    """Asking the server: what it refuses becomes an error of this package."""
    _, Error = _driver()  # noqa: N806  a class
    refused: Exception | None = None
    try:
        yield
    except (Error, pa.ArrowException, OSError) as error:
        refused = _refused(server, f"postgres:{name}", error)
    if refused is not None:
        raise refused


def _refused(server: Server, name: str, error: BaseException) -> Exception:
    state, said = getattr(error, "sqlstate", None) or "", _said(server, error)
    gone = ("server closed the connection", "connection not open", "no connection to the server")
    if is_lost(state) or any(words in said for words in gone):
        fix = "Nothing of it is used and the last good data stay; run it again when the server is back."
        return server.lost(said, fix=fix)
    return SourceUnreadable(
        source=name,
        reason=f"{server.place} refuses to read it ({said})",
        fix="Correct `source`, or what this user may read; nothing is changed on the server.",
    )


def _said(server: Server, error: BaseException) -> str:
    """What the driver says, on one line, without the query and without secrets."""
    text = str(error).partition("Query was:")[0].partition("\nLINE ")[0]
    text = server.without_secrets(" ".join(text.split()).rstrip(". "))
    return text.partition("[libpq] ")[2] or text


def _written(kind: str) -> str:
    return f"array of {kind[1:]}" if kind.startswith("_") else kind


def _driver() -> tuple[Any, type[Exception]]:
    from adbc_driver_manager import Error
    from adbc_driver_postgresql import dbapi

    return dbapi, Error
