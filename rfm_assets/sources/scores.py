"""Reading churn scores, each row with the place where it stood, so that it can be told.

Judging rows does not belong here (`domain/churn_scores.py`). A CSV file whose first line is no
header is read by position, and says so.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

import duckdb
import narwhals as nw
import pyarrow as pa
from duckdb import ColumnExpression as Column
from duckdb.sqltypes import BIGINT, VARCHAR

from rfm_assets.domain.frames import Table
from rfm_assets.engines.base import Engine
from rfm_assets.engines.duckdb_engine import DuckDBEngine
from rfm_assets.sources import csv_files, csv_header
from rfm_assets.sources.config import Attribute, CsvSource, SparkSource
from rfm_assets.sources.csv_header import Header
from rfm_assets.sources.customers import FileSource, require_columns, typed_customers
from rfm_assets.sources.files import SourceFile, find, refuse_twins
from rfm_assets.sources.mapping import ROW, SOURCE, schema_of
from rfm_assets.sources.parsing import NativeKind, Parser
from rfm_assets.sources.reading import Asked, Found, count, held, needs_spark, typed_source

SCORE = "churn_score"


@dataclass(frozen=True)
class ScoreReading:
    """A file or table of scores, read.

    Attributes:
        table: source, source_line, customer_id, customer_id_raw, churn_score (Float64), raw (the
            score as it stood), malformed (what is wrong with a line that could not be split).
        rows: Of the source, broken lines included.
        name: What messages call the source.
        source_fingerprint: Equal for equal input, on any machine.
        headless: Names of the files whose first line was no header.
        written_at: When the oldest file was written, in UTC; None for a database.
    """

    table: Table
    rows: int
    name: str
    source_fingerprint: str
    headless: tuple[str, ...]
    written_at: datetime | None


def read_scores(
    source: FileSource, *, customer_id: str, churn_score: str, engine: Engine, root: Path
) -> ScoreReading:
    """Read the two columns of a source.

    Args:
        source: What to read; a file or a table that DuckDB reads, on any engine.
        customer_id: Column with the customer.
        churn_score: Column with the score.
        engine: Where the frame lives; it is valid until the engine closes.
        root: Where relative paths start.

    Raises:
        RfmError: The source is missing, empty, cut off or damaged, or a column is not there.
    """
    if isinstance(source, SparkSource):
        raise needs_spark(source)
    if not isinstance(engine, DuckDBEngine):
        with engine.reading() as reader:
            found = read_scores(
                source, customer_id=customer_id, churn_score=churn_score, engine=reader, root=root
            )
            return replace(found, table=engine.adopt(found.table))
    wanted = {"columns.customer_id": customer_id, "columns.churn_score": churn_score}
    attributes = {SCORE: Attribute(column=churn_score, kind="number")}
    headless: tuple[str, ...] = ()
    if isinstance(source, CsvSource):
        found, broken, headless = _csv(source, wanted, engine, root)
        schema: Mapping[str, NativeKind | None] = dict.fromkeys(wanted.values(), "text")
    else:
        asked = Asked(
            columns=tuple(wanted.items()),
            numbers=frozenset({churn_score}),
            dated_by=None,
            time_zone="UTC",
            generate_until=None,
        )
        found, broken = typed_source(source, engine, root, asked), None
        schema = schema_of(found.relation)
    with found.receiving():
        require_columns(wanted, schema, found.name)
        typed = typed_customers(
            found.relation,
            customer_id,
            attributes,
            schema,
            Parser(source, "UTC"),
            kept={"source": SOURCE, "source_line": ROW, "id_raw": customer_id, "raw": churn_score},
        )
        typed = held(
            typed.select(
                Column("source"),
                Column("source_line").cast(BIGINT).alias("source_line"),
                Column("customer_id"),
                Column("id_raw").cast(VARCHAR).alias("customer_id_raw"),
                Column(SCORE),
                Column("raw").cast(VARCHAR).alias("raw"),
            ),
            engine,
            found.name,
        )
    lines = engine.connection.from_arrow(
        csv_files.BROKEN.empty_table() if broken is None else broken
    )
    whole = held(typed.union_by_name(lines), engine, found.name)
    return ScoreReading(
        table=nw.from_native(whole),
        rows=count(whole),
        name=found.name,
        source_fingerprint=found.fingerprint(typed),
        headless=headless,
        written_at=min((file.written_at for file in found.files), default=None),
    )


def _csv(
    source: CsvSource, wanted: Mapping[str, str], engine: DuckDBEngine, root: Path
) -> tuple[Found, pa.Table, tuple[str, ...]]:
    files = find(source.path, root, ".csv")
    engine.reach([file.path for file in files])
    headed = [(file, csv_header.header(file, source)) for file in files]
    names = list(wanted.values())
    headless = [file.name for file, head in headed if _is_data(head, names, source, engine)]
    parts: list[duckdb.DuckDBPyRelation] = []
    broken: list[pa.Table] = []
    for file, head in headed:
        by_position = file.name in headless
        columns = list(head.names[: len(names)]) if by_position else names
        if not by_position:
            require_columns(wanted, dict.fromkeys(head.names, "text"), file.name)
        refuse_twins(head.names, columns, file.name)
        lines = _lines(engine, source, (file, head), columns)
        renamed = [Column(own).alias(name) for own, name in zip(columns, names, strict=True)]
        part = lines.relation.select(*renamed, Column(SOURCE), Column(ROW))
        parts.append(held(part, engine, file.name))
        # The next file's lines are read into the same table.
        engine.connection.execute(csv_files.FORGET_LINES)
        if by_position:
            first = {name: [value] for name, value in zip(names, columns, strict=True)}
            row = pa.table({**first, SOURCE: [file.name], ROW: pa.array([1], pa.int64())})
            parts.append(engine.connection.from_arrow(row))
        broken.append(lines.broken)
    whole = parts[0]
    for part in parts[1:]:
        whole = whole.union(part)
    found = Found(whole, files, "", files[0].name)
    return found, pa.concat_tables(broken), tuple(headless)


def _lines(
    engine: DuckDBEngine,
    source: CsvSource,
    headed: tuple[SourceFile, Header],
    columns: Sequence[str],
) -> csv_files.Lines:
    with tempfile.TemporaryDirectory(prefix="rfm_assets-") as scratch:
        return csv_files.read_lines(
            engine.connection,
            [headed],
            source,
            sorted(columns),
            row_keys=False,
            scratch=Path(scratch),
        )


def _is_data(head: Header, names: Sequence[str], source: CsvSource, engine: DuckDBEngine) -> bool:
    """Whether the first line is a row: no column is called as asked, and the second is a number.

    A number is what the source's declared separators make one of, as in every other line.
    """
    if set(head.names) & set(names) or len(head.names) < len(names):
        return False
    parser = Parser(source, "UTC")
    second = engine.connection.from_arrow(pa.table({"second": [head.names[1]]}))
    trimmed = parser.first(Column("second"), "text", "text")
    return count(second.filter(parser.first(trimmed, "text", "number").isnotnull())) == 1
