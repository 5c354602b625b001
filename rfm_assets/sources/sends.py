"""Reading a log of who was sent what when, each row with the place where it stood.

Judging rows does not belong here (`domain/sends.py`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import date, datetime
from pathlib import Path

import duckdb
import narwhals as nw
import pyarrow as pa
from duckdb import ColumnExpression as Column
from duckdb import ConstantExpression as Constant
from duckdb.sqltypes import BIGINT, DATE, INTEGER, TIMESTAMP, VARCHAR

from rfm_assets.domain.frames import Table
from rfm_assets.engines.base import Engine
from rfm_assets.engines.duckdb_engine import DuckDBEngine
from rfm_assets.sources import csv_files
from rfm_assets.sources.config import Attribute, CsvSource, SparkSource
from rfm_assets.sources.customers import FileSource, lines_by_name, require_columns, typed_customers
from rfm_assets.sources.files import find
from rfm_assets.sources.mapping import ROW, SOURCE, schema_of
from rfm_assets.sources.parsing import NativeKind, Parser
from rfm_assets.sources.reading import Asked, Found, count, held, needs_spark, typed_source

EPOCH = date(1970, 1, 1)


@dataclass(frozen=True)
class SendsReading:
    """A log of sends, read.

    Attributes:
        table: source, source_line, customer_id, campaign, sent_at (naive, in the business time
            zone), day (Int32), sent_at_unreadable, the three values as they stood
            (customer_id_raw, …), malformed (what is wrong with a line that could not be split).
        rows: Of the source, broken lines included.
        name: What messages call the source.
        source_fingerprint: Equal for equal input, on any machine.
        written_at: When the oldest file was written, in UTC; None for a database.
    """

    table: Table
    rows: int
    name: str
    source_fingerprint: str
    written_at: datetime | None


def read_sends(
    source: FileSource,
    *,
    columns: Mapping[str, str],
    engine: Engine,
    root: Path,
    time_zone: str = "UTC",
) -> SendsReading:
    """Read the three columns of a log.

    Args:
        source: What to read; a file or a table that DuckDB reads, on any engine.
        columns: The source's columns by what they are: customer_id, campaign, sent_at.
        engine: Where the frame lives; it is valid until the engine closes.
        root: Where relative paths start.
        time_zone: The business time zone, into which times are brought.

    Raises:
        RfmError: The source is missing, empty, cut off or damaged, or a column is not there.
    """
    if isinstance(source, SparkSource):
        raise needs_spark(source)
    if not isinstance(engine, DuckDBEngine):
        with engine.reading() as reader:
            read = read_sends(
                source, columns=columns, engine=reader, root=root, time_zone=time_zone
            )
            return replace(read, table=engine.adopt(read.table))
    wanted = {f"columns.{what}": name for what, name in columns.items()}
    broken: pa.Table = csv_files.BROKEN.empty_table()
    schema: Mapping[str, NativeKind | None]
    if isinstance(source, CsvSource):
        files = find(source.path, root, ".csv")
        lines = lines_by_name(source, files, wanted, engine)
        found, broken = Found(lines.relation, files, "", files[0].name), lines.broken
        schema = dict.fromkeys(wanted.values(), "text")
    else:
        asked = Asked(
            columns=tuple(wanted.items()),
            numbers=frozenset(),
            dated_by=None,
            time_zone=time_zone,
            generate_until=None,
        )
        found = typed_source(source, engine, root, asked)
        schema = schema_of(found.relation)
    with found.receiving():
        require_columns(wanted, schema, found.name)
        typed = held(_typed(found.relation, columns, schema, source, time_zone), engine, found.name)
    engine.connection.execute(csv_files.FORGET_LINES)
    whole = held(typed.union_by_name(engine.connection.from_arrow(broken)), engine, found.name)
    return SendsReading(
        table=nw.from_native(whole),
        rows=count(whole),
        name=found.name,
        source_fingerprint=found.fingerprint(typed),
        written_at=min((file.written_at for file in found.files), default=None),
    )


def _typed(
    relation: duckdb.DuckDBPyRelation,
    columns: Mapping[str, str],
    schema: Mapping[str, NativeKind | None],
    source: FileSource,
    time_zone: str,
) -> duckdb.DuckDBPyRelation:
    typed = typed_customers(
        relation,
        columns["customer_id"],
        {
            "campaign": Attribute(column=columns["campaign"]),
            "sent_at": Attribute(column=columns["sent_at"], kind="date"),
        },
        schema,
        Parser(source, time_zone),
        kept={
            "source": SOURCE,
            "source_line": ROW,
            **{f"{what}_raw": name for what, name in columns.items()},
        },
    )
    day = (Column("sent_at").cast(DATE) - Constant(EPOCH)).cast(INTEGER)
    return typed.select(
        Column("source"),
        Column("source_line").cast(BIGINT).alias("source_line"),
        Column("customer_id"),
        Column("campaign"),
        Column("sent_at").cast(TIMESTAMP).alias("sent_at"),
        day.alias("day"),
        Column("unreadable:sent_at").alias("sent_at_unreadable"),
        *(Column(f"{what}_raw").cast(VARCHAR).alias(f"{what}_raw") for what in columns),
    )
