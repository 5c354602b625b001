"""Reading a table of customers: attributes, or entries of a suppression list.

What the columns are for does not belong here; only one spelling per customer and typed values.
Rows without a customer are not guessed at: they are counted.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Annotated, TypeAlias

import duckdb
import narwhals as nw
from duckdb import ColumnExpression as Column
from pydantic import Field

from rfm_assets.domain.frames import Table
from rfm_assets.domain.kinds import Kind
from rfm_assets.engines.duckdb_engine import DuckDBEngine
from rfm_assets.errors import ColumnMissing, SourceStale
from rfm_assets.sources import csv_files, csv_header
from rfm_assets.sources.config import (
    Attribute,
    CsvSource,
    DuckDBSource,
    ExcelSource,
    GeneratorSource,
    ParquetSource,
)
from rfm_assets.sources.files import SourceFile, find, fingerprint, refuse_twins
from rfm_assets.sources.mapping import attribute_value, is_unreadable, parsed_as, schema_of
from rfm_assets.sources.parsing import NativeKind, Parser
from rfm_assets.sources.reading import count, held, typed_source

FileSource: TypeAlias = Annotated[
    CsvSource | ExcelSource | ParquetSource | DuckDBSource, Field(discriminator="type")
]
"""A source that somebody else writes; `type` tells which."""

CustomerSource: TypeAlias = Annotated[
    CsvSource | ExcelSource | ParquetSource | DuckDBSource | GeneratorSource,
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
    """

    table: Table
    name: str
    source_fingerprint: str
    rows: int
    rows_without_customer: int
    broken_lines: int
    written_at: datetime | None
    unreadable: Mapping[str, int]

    def require_younger_than(self, days: int | None, *, now: datetime) -> None:
        """Raise SourceStale if a file is older than that; None allows any age."""
        if days is None or self.written_at is None:
            return
        age = (now - self.written_at).total_seconds() / 86_400
        if age > days:
            raise SourceStale(source=self.name, age_days=age, max_age_days=days)


def read_customers(
    source: CustomerSource,
    *,
    customer_id: str,
    attributes: Mapping[str, Attribute],
    engine: DuckDBEngine,
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
    parser = Parser(source, time_zone)
    wanted = {"columns.customer_id": customer_id}
    wanted |= {f"columns.{name}": attribute.column for name, attribute in attributes.items()}
    broken = 0
    if isinstance(source, CsvSource):
        files = find(source.path, root, ".csv")
        relation, broken = _csv(source, files, wanted, engine)
        name, settings = files[0].name, ""
        schema: Mapping[str, NativeKind | None] = dict.fromkeys(set(wanted.values()), "text")
    else:
        used = list(wanted.items())
        found = typed_source(source, engine, root, generate_until, used, customers=True)
        relation, files, name, settings = found.relation, found.files, found.name, found.settings
        schema = schema_of(relation)
        _require(wanted, schema, name)
    typed = held(_typed(relation, customer_id, attributes, schema, parser), engine, name)
    if isinstance(source, CsvSource):
        engine.connection.execute(csv_files.FORGET_LINES)
    named = typed.filter(Column("customer_id").isnotnull())
    rows, kept = count(typed), count(named)
    unreadable = {name: count(named.filter(Column(f"unreadable:{name}"))) for name in attributes}
    named = named.select(Column("customer_id"), *(Column(name) for name in attributes))
    written = [datetime.fromtimestamp(file.path.stat().st_mtime, UTC) for file in files]
    return CustomerReading(
        table=nw.from_native(named),
        name=name,
        source_fingerprint=fingerprint(files, settings=settings),
        rows=kept,
        rows_without_customer=rows - kept,
        broken_lines=broken,
        # One stale export of several makes the whole stale.
        written_at=min(written, default=None),
        unreadable=unreadable,
    )


def _csv(
    source: CsvSource, files: list[SourceFile], wanted: Mapping[str, str], engine: DuckDBEngine
) -> tuple[duckdb.DuckDBPyRelation, int]:
    headed = [(file, csv_header.header(file, source)) for file in files]
    for file, head in headed:
        _require(wanted, dict.fromkeys(head.names, "text"), file.name)
        refuse_twins(head.names, wanted.values(), file.name)
    with tempfile.TemporaryDirectory(prefix="rfm_assets-") as scratch:
        lines = csv_files.read_lines(
            engine.connection,
            headed,
            source,
            sorted(set(wanted.values())),
            row_keys=False,
            scratch=Path(scratch),
        )
    return lines.relation, len(lines.broken)


def _require(
    wanted: Mapping[str, str], schema: Mapping[str, NativeKind | None], source: str
) -> None:
    for key, column in wanted.items():
        if schema.get(column) is None:
            raise ColumnMissing(column=column, table=source, available=list(schema), key=key)


def _typed(
    relation: duckdb.DuckDBPyRelation,
    customer_id: str,
    attributes: Mapping[str, Attribute],
    schema: Mapping[str, NativeKind | None],
    parser: Parser,
) -> duckdb.DuckDBPyRelation:
    """Each value as its kind, in the parser's two steps, and whether it is unreadable."""
    natives = {name: native for name, native in schema.items() if native is not None}
    needed: set[tuple[str, Kind]] = {(customer_id, "text")}
    needed |= {(a.column, parsed_as(a, natives)) for a in attributes.values()}
    parts = sorted(needed)
    columns = sorted({column for column, _ in parts})
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
    )
