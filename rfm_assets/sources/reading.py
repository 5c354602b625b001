"""Reading a source of transactions into the parsed frame, in DuckDB.

Judging rows does not belong here (`domain/transactions.py`), nor storing them (`store.py`).
"""

from __future__ import annotations

import tempfile
from collections.abc import Container, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from datetime import date
from pathlib import Path

import duckdb
import narwhals as nw
from duckdb import FunctionExpression as Function
from duckdb import StarExpression as Star
from duckdb.sqltypes import VARCHAR

from rfm_assets.domain.frames import Table
from rfm_assets.engines.base import Engine
from rfm_assets.engines.duckdb_engine import DuckDBEngine
from rfm_assets.engines.spark_engine import SparkEngine, spark_failures
from rfm_assets.errors import InvalidConfig, SourceUnreadable
from rfm_assets.failures import duckdb_running
from rfm_assets.sources import csv_files, csv_header, postgres, spark_tables, tables
from rfm_assets.sources.config import (
    ColumnMapping,
    CsvSource,
    DuckDBSource,
    ExcelSource,
    GeneratorSource,
    ParquetSource,
    PostgresTable,
    Source,
    SourceFormat,
    SparkSource,
)
from rfm_assets.sources.files import SourceFile, find, find_one, fingerprint, refuse_twins
from rfm_assets.sources.mapping import (
    ROW_KEY,
    check_columns,
    joined,
    named_columns,
    parsed,
    row_key,
    schema_of,
    used_columns,
    with_raw_values,
)
from rfm_assets.sources.parsing import Parser


@dataclass(frozen=True)
class Reading:
    """A source, read.

    Attributes:
        table: The parsed frame that `apply_policy` takes: typed columns, their raw text, where
            each row stood.
        rows: How many rows the source has, counted apart from `table`.
        name: What messages call the source.
        source_fingerprint: Equal for equal input, on any machine.
        notes: What a careful reader would mention, in sentences.
    """

    table: Table
    source_fingerprint: str
    rows: int
    name: str
    notes: tuple[str, ...] = field(default=())


def reads_itself(engine: Engine, source: SourceFormat) -> bool:
    """Whether the engine reads such a source, and not the DuckDB beside it."""
    return isinstance(engine, SparkEngine) and isinstance(source, SparkSource | ParquetSource)


def needs_spark(source: SparkSource) -> InvalidConfig:
    """The error for a table of Spark's catalogue on another engine."""
    return InvalidConfig(
        key="source.type",
        value=source.type,
        reason="is a table of Spark's catalogue, which no other engine reads",
        fix="Set `engine: spark` in the deployment, or name another source.",
    )


def read(
    source: Source,
    columns: ColumnMapping,
    *,
    engine: Engine,
    root: Path,
    time_zone: str = "UTC",
    row_keys: bool = False,
    generate_until: date | None = None,
    only: Container[str] | None = None,
) -> Reading:
    """Read and parse a source.

    Args:
        source: What to read.
        columns: Which column is what.
        engine: Where the frame lives; it is valid until the engine closes.
        root: Where relative paths start.
        time_zone: The business time zone, into which all dates are brought.
        row_keys: Whether rows must be comparable as a whole (`policy.needs_row_keys`).
        generate_until: The first day that the generator leaves out; other sources ignore it.
        only: Of the files that a Parquet source finds, the names of those to read. Their content
            is then known, and no fingerprint is made of it.

    Raises:
        RfmError: The source is missing, empty, cut off or damaged, or a mapped column is not
            there; the message says which and what to do.
    """
    if isinstance(engine, SparkEngine) and isinstance(source, SparkSource | ParquetSource):
        by_spark = spark_tables.transactions(
            source,
            columns,
            engine=engine,
            root=root,
            time_zone=time_zone,
            row_keys=row_keys,
            only=only,
        )
        if by_spark is not None:
            mark = by_spark.source_fingerprint
            return Reading(by_spark.table, mark, by_spark.rows, by_spark.name)
    if isinstance(source, SparkSource):
        raise needs_spark(source)
    if not isinstance(engine, DuckDBEngine):
        # Whatever is not read by Spark is read by DuckDB; another engine gets the parsed frame.
        with engine.reading() as reader:
            found = read(
                source,
                columns,
                engine=reader,
                root=root,
                time_zone=time_zone,
                row_keys=row_keys,
                generate_until=generate_until,
                only=only,
            )
            return replace(found, table=engine.adopt(found.table))
    parser = Parser(source, time_zone)
    if isinstance(source, CsvSource):
        return _csv(source, columns, engine, root, parser, row_keys=row_keys)
    asked = Asked(
        columns=tuple(named_columns(columns)),
        numbers=_numbers(columns),
        dated_by=columns.date,
        time_zone=time_zone,
        generate_until=generate_until,
        row_keys=row_keys,
        only=only,
    )
    found = typed_source(source, engine, root, asked)
    relation = found.relation
    with found.receiving():
        schema = schema_of(relation)
        if row_keys and ROW_KEY not in relation.columns:
            key = row_key([name for name in schema if schema[name] is not None])
            relation = relation.select(Star(), key.alias(ROW_KEY))
        check_columns(columns, schema, found.name)
        typed = parsed(relation, columns, schema, parser)
        if row_keys or found.rows is None:
            typed = held(typed, engine, found.name)
    # Parquet is read again where it is used, which is cheaper than a copy of all of it.
    rows = count(typed) if found.rows is None else found.rows
    return Reading(
        with_raw_values(typed, columns),
        found.fingerprint(typed) if only is None else "",
        rows,
        found.name,
    )


def _numbers(columns: ColumnMapping) -> frozenset[str]:
    """The columns that are computed with."""
    attributes = columns.attributes.values()
    numbers = {attribute.column for attribute in attributes if attribute.kind == "number"}
    return columns.amount_expression.columns | numbers


@dataclass(frozen=True)
class Asked:
    """What is wanted of a source.

    Attributes:
        columns: The columns that will be read, each after the key that names it.
        numbers: Those of them that are computed with.
        dated_by: The column with the date of a row, if rows have one.
        time_zone: The business time zone.
        generate_until: The first day that the generator leaves out.
        row_keys: Whether rows must be comparable as a whole.
        customers: Whether the generator gives its customers in place of their transactions.
        only: Names of the files to read, of those that are found; all where None.
    """

    columns: tuple[tuple[str, str], ...]
    numbers: frozenset[str]
    dated_by: str | None
    time_zone: str
    generate_until: date | None
    row_keys: bool = False
    customers: bool = False
    only: Container[str] | None = None


@dataclass(frozen=True)
class Found:
    """A source with types: its rows, its files, and what else decides on the rows.

    `rows` is their number where the files tell it without being read. What comes as a stream is
    consumed inside `receiving`.
    """

    relation: duckdb.DuckDBPyRelation
    files: list[SourceFile]
    settings: str
    name: str
    rows: int | None = None
    stream: postgres.Stream | None = None

    def receiving(self) -> AbstractContextManager[None]:
        """Around what consumes a stream."""
        return nullcontext() if self.stream is None else self.stream.receiving()

    def fingerprint(self, typed: duckdb.DuckDBPyRelation) -> str:
        """Of the files, or of the rows where there are none that could be read again."""
        rows = "" if self.stream is None else digest(typed)
        return fingerprint(self.files, settings=self.settings + rows)


def typed_source(
    source: ExcelSource | ParquetSource | DuckDBSource | PostgresTable | GeneratorSource,
    engine: DuckDBEngine,
    root: Path,
    asked: Asked,
) -> Found:
    """A source that brings types, unread; of the generator its transactions, or its customers."""
    connection = engine.connection
    match source:
        case ParquetSource():
            found = find(source.path, root, ".parquet")
            files = [file for file in found if asked.only is None or file.name in asked.only]
            engine.reach([file.path for file in files])
            relation, rows = tables.parquet(connection, files, root, asked.columns)
            return Found(relation, files, "", files[0].name, rows)
        case ExcelSource():
            file = find_one(source.path, root)
            relation = tables.excel(connection, file, source, asked.columns)
            return Found(relation, [file], source.sheet or "", file.name)
        case DuckDBSource():
            file = find_one(source.path, root)
            relation = tables.database(connection, file, source)
            settings = source.query or source.table or ""
            return Found(relation, [file], settings, file.name)
        case PostgresTable():
            stream = postgres.rows(
                connection,
                source,
                asked.columns,
                numbers=asked.numbers,
                dated_by=asked.dated_by,
                time_zone=asked.time_zone,
                row_keys=asked.row_keys,
            )
            settings = source.query or source.table or ""
            return Found(stream.relation, [], settings, stream.name, stream=stream)
        case GeneratorSource():
            if asked.generate_until is None:
                raise InvalidConfig(
                    key="generate_until",
                    value=None,
                    reason="is missing",
                    fix="The generator needs the day at which it stops.",
                )
            generated = tables.generated_customers if asked.customers else tables.generated
            relation = generated(connection, source, asked.generate_until)
            settings = f"{source.model_dump_json()} {asked.generate_until}"
            return Found(relation, [], settings, "generator")


def digest(typed: duckdb.DuckDBPyRelation) -> str:
    """A hash of the rows, whatever their order; where they stood does not enter it."""
    names = [name for name in typed.columns if name not in {"source", "source_line"}]
    # Half of each row's hash, added up: as wide as DuckDB adds without losing any.
    half = Function("md5_number_lower", joined(names))
    total = typed.aggregate([Function("sum", half).cast(VARCHAR)])
    return f"{count(typed)} {total.fetchall()[0][0]}"


def held(
    relation: duckdb.DuckDBPyRelation, engine: DuckDBEngine, name: str
) -> duckdb.DuckDBPyRelation:
    """The relation's rows, computed once.

    Raises:
        SourceUnreadable: The query or the file fails while it is read.
        OutOfMemory: It does not fit.
    """
    with naming_failures(name):
        return engine.checkpoint(nw.from_native(relation)).to_native()


@contextmanager
def naming_failures(name: str) -> Iterator[None]:
    """Around what reads a source: the engine's errors become ones that name the source."""
    try:
        with duckdb_running():
            yield
    except duckdb.Error as error:
        raise SourceUnreadable(
            source=name,
            reason=f"reading fails ({str(error).splitlines()[0]})",
            fix="Correct the query or the data it reads; copy or export a damaged file again.",
        ) from error
    except spark_failures() as error:
        raise SourceUnreadable(
            source=name,
            reason=f"Spark fails while it reads ({str(error).strip().splitlines()[0]})",
            fix="Look whether the cluster is up and the files are whole, and run it again.",
        ) from error


def count(relation: duckdb.DuckDBPyRelation) -> int:
    """The number of rows."""
    return relation.count("*").fetchall()[0][0]


def _csv(
    source: CsvSource,
    columns: ColumnMapping,
    engine: DuckDBEngine,
    root: Path,
    parser: Parser,
    *,
    row_keys: bool,
) -> Reading:
    files = [(file, csv_header.header(file, source)) for file in find(source.path, root, ".csv")]
    engine.reach([file.path for file, _ in files])
    for file, head in files:
        check_columns(columns, dict.fromkeys(head.names, "text"), file.name)
        refuse_twins(head.names, used_columns(columns), file.name)
    used = used_columns(columns)
    with tempfile.TemporaryDirectory(prefix="rfm_assets-") as scratch:
        lines = csv_files.read_lines(
            engine.connection, files, source, used, row_keys=row_keys, scratch=Path(scratch)
        )
    typed = parsed(lines.relation, columns, dict.fromkeys(used, "text"), parser)
    broken = engine.connection.from_arrow(lines.broken)
    # By name: whatever a broken line has not, is empty.
    whole = held(typed.union_by_name(broken), engine, files[0][0].name)
    engine.connection.execute(csv_files.FORGET_LINES)
    return Reading(
        with_raw_values(whole, columns),
        fingerprint([file for file, _ in files]),
        lines.rows,
        files[0][0].name,
        lines.notes,
    )
