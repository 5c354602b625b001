"""Tables that Spark reads itself: of its catalogue, and Parquet. Nothing passes through the driver.

Each column is prepared here by Spark's own functions, as far as narwhals has none; what is made of
the columns is in `typed.py`. A table of the catalogue has no order, so that its rows have no number:
`source_line` is empty, and a reject is found by its values. Parquet has the row in its file.
"""

from __future__ import annotations

from collections.abc import Container, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import narwhals as nw
import pyarrow as pa
import pyarrow.parquet as pq

from rfm_assets.domain.frames import Table
from rfm_assets.domain.kinds import Kind
from rfm_assets.engines.base import to_arrow
from rfm_assets.engines.spark_engine import SparkEngine, spark_failures
from rfm_assets.errors import (
    ColumnMissing,
    InvalidConfig,
    SourceUnreadable,
    did_you_mean,
)
from rfm_assets.sources import tables, typed
from rfm_assets.sources.config import Attribute, ColumnMapping, ParquetSource, SparkSource
from rfm_assets.sources.files import SourceFile, find, fingerprint
from rfm_assets.sources.mapping import (
    ROW,
    ROW_KEY,
    SOURCE,
    check_columns,
    expression_kinds,
    named_columns,
    parsed_as,
)
from rfm_assets.sources.parsing import SPACE, NativeKind
from rfm_assets.sources.typed import TypedColumns

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame

_BETWEEN: Final = "\x1f"
_ABSENT: Final = "\x1e"
_FAMILIES: Final[Mapping[str, NativeKind]] = {
    "string": "text", "char": "text", "varchar": "text",
    "tinyint": "whole", "smallint": "whole", "int": "whole", "bigint": "whole",
    "float": "number", "double": "number", "decimal": "number", "boolean": "boolean",
    "date": "day", "timestamp": "zoned", "timestamp_ntz": "moment",
}  # fmt: skip
"""What Spark's types are to us, without what stands in parentheses."""


@dataclass(frozen=True)
class SparkTable:
    """A table on Spark, its columns known and its rows unread.

    Attributes:
        frame: The columns of the source.
        natives: What each of its columns is; None for what cannot be used.
        name: What messages call it.
        source: The file of a row, or the table.
        row: Its number in the file; empty where there is none.
        files: Its files, where they are its own.
        rows: Their number, where the files tell.
    """

    frame: DataFrame
    natives: Mapping[str, NativeKind | None]
    name: str
    source: Column
    row: Column
    files: Sequence[SourceFile] = ()
    rows: int | None = None


@dataclass(frozen=True)
class SparkRows:
    """What was read: the frame, and what is known of it without reading it again."""

    table: Table
    rows: int
    name: str
    source_fingerprint: str
    files: Sequence[SourceFile] = ()


def transactions(
    source: SparkSource | ParquetSource,
    mapping: ColumnMapping,
    *,
    engine: SparkEngine,
    root: Path,
    time_zone: str,
    row_keys: bool,
    only: Container[str] | None = None,
) -> SparkRows | None:
    """The parsed frame, or None for Parquet whose text has to be parsed: DuckDB does that.

    Raises:
        RfmError: The source is missing, or a mapped column is not there or cannot be used.
    """
    used = named_columns(mapping)
    with _naming(source):
        table = _table(source, engine, root, used, only)
        if table is None:
            return None
        check_columns(mapping, table.natives, table.name)
        natives = _usable(table, used)
        wanted: list[tuple[str, str, Kind]] = [("columns.date", mapping.date, "date")]
        wanted += [
            ("columns.amount", name, kind)
            for name, kind in expression_kinds(mapping, natives).items()
        ]
        wanted += [
            (f"columns.attributes.{name}", a.column, parsed_as(a, natives))
            for name, a in mapping.attributes.items()
        ]
        if not _is_typed(source, table, natives, wanted):
            return None
        columns = TypedColumns(natives, source, _decimals(table))
        prepared = _prepared(table, columns, engine, source, time_zone, row_keys=row_keys)
        made = typed.transactions(nw.from_native(prepared), mapping, columns)
        made = engine.day_number(made, "date")
        rows, mark = (table.rows or 0, "") if only is not None else _counted(table, prepared)
    return SparkRows(made, rows, table.name, mark, table.files)


def customers(
    source: SparkSource | ParquetSource,
    *,
    customer_id: str,
    attributes: Mapping[str, Attribute],
    engine: SparkEngine,
    root: Path,
    time_zone: str,
) -> SparkRows | None:
    """customer_id, attributes and `unreadable:<name>`; None as for `transactions`.

    Raises:
        RfmError: The source is missing, or a column is not there or cannot be used.
    """
    used = [("columns.customer_id", customer_id)]
    used += [(f"columns.{name}", attribute.column) for name, attribute in attributes.items()]
    with _naming(source):
        table = _table(source, engine, root, used)
        if table is None:
            return None
        natives = _usable(table, used)
        wanted: list[tuple[str, str, Kind]] = [
            (f"columns.{name}", a.column, parsed_as(a, natives)) for name, a in attributes.items()
        ]
        if not _is_typed(source, table, natives, wanted):
            return None
        columns = TypedColumns(natives, source, _decimals(table))
        prepared = _prepared(table, columns, engine, source, time_zone, row_keys=False)
        made = typed.customers(nw.from_native(prepared), customer_id, attributes, columns)
        rows, mark = _counted(table, prepared)
    return SparkRows(made, rows, table.name, mark, table.files)


def _table(
    source: SparkSource | ParquetSource,
    engine: SparkEngine,
    root: Path,
    used: Sequence[tuple[str, str]],
    only: Container[str] | None = None,
) -> SparkTable | None:
    if isinstance(source, SparkSource):
        return _of_catalogue(source.table, engine)
    files = find(source.path, root, ".parquet")
    chosen = [file for file in files if only is None or file.name in only]
    return _of_parquet(chosen, engine, root, used)


def _of_catalogue(name: str, engine: SparkEngine) -> SparkTable:
    if not engine.session.catalog.tableExists(name):
        database = name.rpartition(".")[0]
        known = (
            engine.session.catalog.listTables(database or None) if _has(engine, database) else []
        )
        names = [f"{database}.{one.name}" if database else one.name for one in known]
        raise SourceUnreadable(
            source=f"spark:{name}",
            reason="Spark's catalogue has no such table or view",
            fix=did_you_mean(name, names) if names else "Look at `spark_config` of the deployment.",
        )
    frame = engine.session.table(name)
    natives = {column: _FAMILIES.get(kind.partition("(")[0]) for column, kind in frame.dtypes}
    functions = engine.functions
    return SparkTable(
        frame,
        natives,
        f"spark:{name}",
        functions.lit(f"spark:{name}"),
        functions.lit(None).cast("bigint"),
    )


def _has(engine: SparkEngine, database: str) -> bool:
    return not database or engine.session.catalog.databaseExists(database)


def _of_parquet(
    files: list[SourceFile],
    engine: SparkEngine,
    root: Path,
    used: Sequence[tuple[str, str]],
) -> SparkTable | None:
    """Parquet files, if Spark reads their columns as DuckDB does."""
    rows, natives = 0, dict[str, NativeKind | None]()
    for file in files:
        rows += tables.checked_parquet(file, used)
        own = _natives_of(file)
        known = [own.get(column) for _, column in used]
        if None in known or any(natives.get(c, own[c]) != own[c] for _, c in used):
            # Of a folder's name, in other capitals, of a type that Spark does not read, or of
            # another one in another file.
            return None
        natives |= own
    functions = engine.functions
    frame = engine.read_parquet_files([file.path for file in files])
    metadata = "_metadata.file_path", "_metadata.row_index"
    # `%20` for a space, but a plus for itself.
    written = functions.replace(
        functions.col(metadata[0]), functions.lit("+"), functions.lit("%2B")
    )
    path = functions.regexp_replace(functions.url_decode(written), "^file:/+", "/")
    path = functions.regexp_replace(path, "^s3a://", "s3://")
    if not any(file.name == str(file.path) for file in files):
        below = functions.lit(f"{root}/")
        path = functions.when(
            functions.startswith(path, below),
            functions.substr(path, functions.lit(len(f"{root}/") + 1)),
        ).otherwise(functions.substring_index(path, "/", -1))
    return SparkTable(
        frame,
        natives,
        files[0].name,
        path,
        (functions.col(metadata[1]) + functions.lit(1)).cast("bigint"),
        files,
        rows,
    )


def _natives_of(file: SourceFile) -> dict[str, NativeKind | None]:
    """What the columns of a file are, by its footer."""
    with file.path.open("rb") as stream, pq.ParquetFile(stream) as opened:
        schema, physical = opened.schema_arrow, opened.schema
    old = {
        physical.column(place).name
        for place in range(len(physical))
        if physical.column(place).physical_type == "INT96"
    }
    # Spark and Hive write naive times as INT96, in nanoseconds, and Spark reads those alone.
    return {one.name: "moment" if one.name in old else _native(one.type) for one in schema}


def _native(kind: pa.DataType) -> NativeKind | None:  # noqa: PLR0911 one case per kind of type
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        return "text"
    if pa.types.is_integer(kind):
        return "whole"
    if pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        return "number"
    if pa.types.is_boolean(kind):
        return "boolean"
    if pa.types.is_date(kind):
        return "day"
    if pa.types.is_timestamp(kind) and kind.unit != "ns":
        return "zoned" if kind.tz else "moment"
    return None


def _usable(table: SparkTable, used: Sequence[tuple[str, str]]) -> dict[str, NativeKind]:
    """What each column that is used is."""
    natives: dict[str, NativeKind] = {}
    for key, column in used:
        native = table.natives.get(column)
        if column not in table.natives:
            available = list(table.natives)
            raise ColumnMissing(column=column, table=table.name, available=available, key=key)
        if native is None:
            kinds = dict(table.frame.dtypes)
            raise InvalidConfig(
                key=key,
                value=column,
                reason=f"is of type {kinds.get(column, 'unknown')}, which does not fit here",
                fix="Choose another column, or extract the value in a view.",
            )
        natives[column] = native
    return dict(sorted(natives.items()))


def _decimals(table: SparkTable) -> frozenset[str]:
    return frozenset(name for name, kind in table.frame.dtypes if kind.startswith("decimal"))


def _is_typed(
    source: SparkSource | ParquetSource,
    table: SparkTable,
    natives: Mapping[str, NativeKind],
    wanted: Sequence[tuple[str, str, Kind]],
) -> bool:
    """Whether every column has the type that it is used as. DuckDB parses text in Parquet.

    Raises:
        InvalidConfig: A table of the catalogue has text for a number or date.
    """
    for key, column, kind in wanted:
        if typed.needs_parsing(natives[column], kind):
            if isinstance(source, ParquetSource):
                return False
            raise InvalidConfig(
                key=key,
                value=column,
                reason=f"holds text in {table.name}, and a {kind} is needed",
                fix="Convert it in a view, for example by try_to_timestamp or try_cast.",
            )
        if "." in column and key == "columns.amount":
            if isinstance(source, ParquetSource):
                return False
            raise InvalidConfig(
                key=key,
                value=column,
                reason="has a point in its name, which Spark takes for a part of a struct",
                fix="Rename it in a view.",
            )
    return True


def _prepared(
    table: SparkTable,
    columns: TypedColumns,
    engine: SparkEngine,
    source: SparkSource | ParquetSource,
    time_zone: str,
    *,
    row_keys: bool,
) -> DataFrame:
    """Of each column its value and its text, and where the row stood."""
    functions = engine.functions
    made: list[Column] = [table.source.alias(SOURCE), table.row.alias(ROW)]
    for name, native in columns.natives.items():
        column = functions.col(_quoted(name))
        text = column.cast("string")
        match native:
            case "text":
                value = _normalised(text, functions)
            case "day":
                value = column.cast("timestamp_ntz")
            case "moment":
                value = column.cast("timestamp_ntz")
                if source.source_time_zone not in {None, time_zone}:
                    zones = functions.lit(source.source_time_zone), functions.lit(time_zone)
                    value = functions.convert_timezone(*zones, value)
            case "zoned":
                text = functions.concat(text, functions.lit("+00"))
                zones = functions.lit("UTC"), functions.lit(time_zone)
                value = functions.convert_timezone(*zones, column.cast("timestamp_ntz"))
            case _:
                value = column
        made += [value.alias(columns.value_name(name)), text.alias(columns.raw_name(name))]
    if row_keys:
        whole = [
            functions.coalesce(functions.col(_quoted(name)).cast("string"), functions.lit(_ABSENT))
            for name, native in table.natives.items()
            if native is not None
        ]
        made.append(functions.md5(functions.concat_ws(_BETWEEN, *whole)).alias(ROW_KEY))
    return table.frame.select(*made)


def _normalised(text: Column, functions: Any) -> Column:
    """Text in NFC without space around it."""
    trimmed = functions.btrim(text, functions.lit(SPACE))
    plain = trimmed.isNull() | (functions.octet_length(trimmed) == functions.char_length(trimmed))
    # Spark has no function for it, but the library that it collates with.
    composed = functions.reflect(
        functions.lit("com.ibm.icu.text.Normalizer"),
        functions.lit("compose"),
        trimmed,
        functions.lit(False),  # noqa: FBT003  not for compatibility: ﬁ stays one letter
    )
    return functions.when(plain, trimmed).otherwise(composed)


def _counted(table: SparkTable, prepared: DataFrame) -> tuple[int, str]:
    """The number of rows and the fingerprint: of the files, or else of the rows in any order."""
    if table.rows is not None:
        return table.rows, fingerprint(table.files)
    values = prepared.drop(SOURCE, ROW)
    hashed = values.selectExpr("cast(xxhash64(*) as decimal(38, 0)) as h")
    total = hashed.selectExpr("count(*) as n", "cast(sum(h) as string) as s")
    (found,) = to_arrow(nw.from_native(total)).to_pylist()
    return int(found["n"]), fingerprint([], settings=f"{table.name} {found['n']} {found['s']}")


def _quoted(name: str) -> str:
    doubled = name.replace("`", "``")
    return f"`{doubled}`"


@contextmanager
def _naming(source: SparkSource | ParquetSource) -> Iterator[None]:
    """Spark's own errors become ones that name the source."""
    try:
        yield
    except spark_failures() as error:
        name = source.table if isinstance(source, SparkSource) else str(source.path)
        raise SourceUnreadable(
            source=f"spark:{name}" if isinstance(source, SparkSource) else name,
            reason=f"Spark cannot read it ({str(error).strip().partition(chr(10))[0]})",
            fix="Look whether the table or its files are whole, and whether Spark may read them.",
        ) from error
