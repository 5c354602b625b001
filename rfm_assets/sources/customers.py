"""Reading a table of customers: attributes, or entries of a suppression list.

What the columns are for does not belong here; only one spelling per customer and typed values.
Rows without a customer are not guessed at: they are counted.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import date, datetime
from pathlib import Path
from typing import Annotated, TypeAlias

import duckdb
import narwhals as nw
from duckdb import ColumnExpression as Column
from pydantic import Field

from rfm_assets.domain.frames import Table
from rfm_assets.domain.kinds import Kind
from rfm_assets.engines.base import Engine, collect_rows
from rfm_assets.engines.duckdb_engine import DuckDBEngine
from rfm_assets.engines.spark_engine import SparkEngine
from rfm_assets.errors import ColumnMissing
from rfm_assets.sources import csv_files, csv_header, spark_tables
from rfm_assets.sources.config import (
    Attribute,
    CsvSource,
    DuckDBSource,
    ExcelSource,
    GeneratorSource,
    ParquetSource,
    PostgresTable,
    SparkSource,
)
from rfm_assets.sources.files import SourceFile, find, refuse_twins
from rfm_assets.sources.mapping import attribute_value, is_unreadable, parsed_as, schema_of
from rfm_assets.sources.parsing import NativeKind, Parser
from rfm_assets.sources.reading import Asked, Found, count, held, needs_spark, typed_source
from rfm_assets.sources.spark_tables import SparkRows

FileSource: TypeAlias = Annotated[
    CsvSource | ExcelSource | ParquetSource | DuckDBSource | PostgresTable | SparkSource,
    Field(discriminator="type"),
]
"""A source that somebody else writes; `type` tells which."""

CustomerSource: TypeAlias = Annotated[
    CsvSource
    | ExcelSource
    | ParquetSource
    | DuckDBSource
    | PostgresTable
    | SparkSource
    | GeneratorSource,
    Field(discriminator="type"),
]
"""The same, or the generator's customers."""


@dataclass(frozen=True)
class CustomerReading:
    """A table of customers, read.

    Attributes:
        table: customer_id (text, never null) and the attributes, in the order asked for.
        name: What messages call the source.
        source_fingerprint: Equal for equal input, on any machine.
        rows: Rows of `table`.
        rows_without_customer: Rows that name nobody and are not in `table`.
        broken_lines: Lines that cannot be split into columns and are not in `table`.
        written_at: When the oldest file was written, in UTC; None for the generator.
        unreadable: By attribute, the values of `table` that are there but cannot be read.
        first_broken: File and line of the first broken line, if there is one.
    """

    table: Table
    name: str
    source_fingerprint: str
    rows: int
    rows_without_customer: int
    broken_lines: int
    written_at: datetime | None
    unreadable: Mapping[str, int]
    first_broken: str = ""


def read_customers(
    source: CustomerSource,
    *,
    customer_id: str,
    attributes: Mapping[str, Attribute],
    engine: Engine,
    root: Path,
    time_zone: str = "UTC",
    generate_until: date | None = None,
) -> CustomerReading:
    """Read `customer_id` and `attributes` of a source.

    Args:
        source: What to read.
        customer_id: Column with the customer.
        attributes: Further columns, by the name they get.
        engine: Where the frame lives; it is valid until the engine closes.
        root: Where relative paths start.
        time_zone: The business time zone, into which dates are brought.
        generate_until: The first day that the generator leaves out; other sources ignore it.

    Raises:
        RfmError: The source is missing, empty, cut off or damaged, or a column is not there.
    """
    if isinstance(engine, SparkEngine) and isinstance(source, SparkSource | ParquetSource):
        by_spark = spark_tables.customers(
            source,
            customer_id=customer_id,
            attributes=attributes,
            engine=engine,
            root=root,
            time_zone=time_zone,
        )
        if by_spark is not None:
            return _by_spark(by_spark, attributes, engine)
    if isinstance(source, SparkSource):
        raise needs_spark(source)
    if not isinstance(engine, DuckDBEngine):
        with engine.reading() as reader:
            found = read_customers(
                source,
                customer_id=customer_id,
                attributes=attributes,
                engine=reader,
                root=root,
                time_zone=time_zone,
                generate_until=generate_until,
            )
            return replace(found, table=engine.adopt(found.table))
    parser = Parser(source, time_zone)
    wanted = {"columns.customer_id": customer_id}
    wanted |= {f"columns.{name}": attribute.column for name, attribute in attributes.items()}
    broken, first_broken = 0, ""
    schema: Mapping[str, NativeKind | None]
    if isinstance(source, CsvSource):
        files = find(source.path, root, ".csv")
        lines = lines_by_name(source, files, wanted, engine)
        schema = dict.fromkeys(set(wanted.values()), "text")
        broken = len(lines.broken)
        if broken:
            first = lines.broken.sort_by([("source", "ascending"), ("source_line", "ascending")])
            first_broken = f"{first['source'][0]} line {first['source_line'][0]}"
        found = Found(lines.relation, files, "", files[0].name)
        typed = typed_customers(lines.relation, customer_id, attributes, schema, parser)
        typed = held(typed, engine, found.name)
        engine.connection.execute(csv_files.FORGET_LINES)
    else:
        asked = Asked(
            columns=tuple(wanted.items()),
            numbers=frozenset(a.column for a in attributes.values() if a.kind == "number"),
            dated_by=None,
            time_zone=time_zone,
            generate_until=generate_until,
            customers=True,
        )
        found = typed_source(source, engine, root, asked)
        schema = schema_of(found.relation)
        with found.receiving():
            require_columns(wanted, schema, found.name)
            typed = typed_customers(found.relation, customer_id, attributes, schema, parser)
            typed = held(typed, engine, found.name)
    named = typed.filter(Column("customer_id").isnotnull())
    rows, kept = count(typed), count(named)
    unreadable = {name: count(named.filter(Column(f"unreadable:{name}"))) for name in attributes}
    named = named.select(Column("customer_id"), *(Column(name) for name in attributes))
    written = [file.written_at for file in found.files]
    return CustomerReading(
        table=nw.from_native(named),
        name=found.name,
        source_fingerprint=found.fingerprint(typed),
        rows=kept,
        rows_without_customer=rows - kept,
        broken_lines=broken,
        # One stale export of several makes the whole stale.
        written_at=min(written, default=None),
        unreadable=unreadable,
        first_broken=first_broken,
    )


def _by_spark(
    read: SparkRows, attributes: Mapping[str, Attribute], engine: SparkEngine
) -> CustomerReading:
    table = engine.checkpoint(read.table)
    named = table.filter(~nw.col("customer_id").is_null())
    counted = named.select(
        nw.len().alias("rows"),
        *(
            nw.col(f"unreadable:{name}").cast(nw.Int64).sum().alias(f"unreadable:{name}")
            for name in attributes
        ),
    )
    (counts,) = collect_rows(counted)
    return CustomerReading(
        table=named.select("customer_id", *attributes),
        name=read.name,
        source_fingerprint=read.source_fingerprint,
        rows=int(counts["rows"]),
        rows_without_customer=read.rows - int(counts["rows"]),
        broken_lines=0,
        written_at=min((file.written_at for file in read.files), default=None),
        unreadable={name: int(counts[f"unreadable:{name}"] or 0) for name in attributes},
    )


def lines_by_name(
    source: CsvSource, files: list[SourceFile], wanted: Mapping[str, str], engine: DuckDBEngine
) -> csv_files.Lines:
    """The columns that are wanted, by configuration key, of files that all have them.

    Raises:
        ColumnMissing: A file does not have one of them.
    """
    headed = [(file, csv_header.header(file, source)) for file in files]
    engine.reach([file.path for file in files])
    for file, head in headed:
        require_columns(wanted, dict.fromkeys(head.names, "text"), file.name)
        refuse_twins(head.names, wanted.values(), file.name)
    with tempfile.TemporaryDirectory(prefix="rfm_assets-") as scratch:
        return csv_files.read_lines(
            engine.connection,
            headed,
            source,
            sorted(set(wanted.values())),
            row_keys=False,
            scratch=Path(scratch),
        )


def require_columns(
    wanted: Mapping[str, str], schema: Mapping[str, NativeKind | None], source: str
) -> None:
    """Raise ColumnMissing for the first wanted column, by its key, that the source lacks."""
    for key, column in wanted.items():
        if schema.get(column) is None:
            raise ColumnMissing(column=column, table=source, available=list(schema), key=key)


def typed_customers(
    relation: duckdb.DuckDBPyRelation,
    customer_id: str,
    attributes: Mapping[str, Attribute],
    schema: Mapping[str, NativeKind | None],
    parser: Parser,
    *,
    kept: Mapping[str, str] | None = None,
) -> duckdb.DuckDBPyRelation:
    """Each value as its kind, in the parser's two steps, and whether it is unreadable.

    `kept` are source columns that go along as they are, by the name they get.
    """
    natives = {name: native for name, native in schema.items() if native is not None}
    needed: set[tuple[str, Kind]] = {(customer_id, "text")}
    needed |= {(a.column, parsed_as(a, natives)) for a in attributes.values()}
    parts = sorted(needed)
    columns = sorted({*(column for column, _ in parts), *(kept or {}).values()})
    first = relation.select(
        *(Column(column) for column in columns),
        *(
            parser.first(Column(column), natives[column], kind).alias(f"first:{kind}:{column}")
            for column, kind in parts
        ),
    )
    second = first.select(
        *(Column(column) for column in columns),
        *(
            parser.second(
                Column(f"first:{kind}:{column}"), Column(column), natives[column], kind
            ).alias(f"second:{kind}:{column}")
            for column, kind in parts
        ),
    )
    values = {
        name: Column(f"second:{parsed_as(a, natives)}:{a.column}") for name, a in attributes.items()
    }
    return second.select(
        parser.identifier(Column(f"second:text:{customer_id}")).alias("customer_id"),
        *(
            attribute_value(a, values[name], natives, parser).alias(name)
            for name, a in attributes.items()
        ),
        *(
            is_unreadable(a, values[name], natives, parser).alias(f"unreadable:{name}")
            for name, a in attributes.items()
        ),
        *(Column(column).alias(name) for name, column in (kept or {}).items()),
    )
