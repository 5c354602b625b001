"""Reading a source of transactions into the parsed frame, in DuckDB.

Judging rows does not belong here (`domain/transactions.py`), nor storing them (`store.py`).
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, field, replace
from datetime import date
from pathlib import Path

import duckdb
import narwhals as nw
from duckdb import StarExpression as Star

from rfm_assets.domain.frames import Table
from rfm_assets.engine import DuckDBEngine, Engine, to_arrow
from rfm_assets.errors import InvalidConfig, SourceUnreadable
from rfm_assets.sources import csv_files, tables
from rfm_assets.sources.config import (
    ColumnMapping,
    CsvSource,
    DuckDBSource,
    ExcelSource,
    GeneratorSource,
    ParquetSource,
    Source,
)
from rfm_assets.sources.files import find, fingerprint
from rfm_assets.sources.mapping import (
    ROW_KEY,
    check_columns,
    parsed,
    row_key,
    schema_of,
    wanted,
    with_raw_amount,
)
from rfm_assets.sources.parsing import Parser


@dataclass(frozen=True)
class Reading:
    """A source, read.

    Attributes:
        table: The parsed frame that `apply_policy` takes: typed columns, their raw text, where
            each row stood.
        source_fingerprint: Equal for equal input, on any machine.
        notes: What a careful reader would mention, in sentences.
    """

    table: Table
    source_fingerprint: str
    notes: tuple[str, ...] = field(default=())


def read(
    source: Source,
    columns: ColumnMapping,
    *,
    engine: Engine,
    root: Path,
    time_zone: str = "UTC",
    row_keys: bool = False,
    generate_until: date | None = None,
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

    Raises:
        RfmError: The source is missing, empty, cut off or damaged, or a mapped column is not
            there; the message says which and what to do.
    """
    if not isinstance(engine, DuckDBEngine):
        # Sources are always read by DuckDB; another engine gets the parsed frame.
        with DuckDBEngine() as reader:
            found = read(
                source,
                columns,
                engine=reader,
                root=root,
                time_zone=time_zone,
                row_keys=row_keys,
                generate_until=generate_until,
            )
            return replace(found, table=engine.from_arrow(to_arrow(found.table)))
    parser = Parser(source, time_zone)
    connection = engine.connection
    match source:
        case CsvSource():
            return _csv(source, columns, engine, root, parser, row_keys=row_keys)
        case ParquetSource():
            files = find(source.path, root, ".parquet")
            relation = tables.parquet(connection, files, root)
            settings = ""
        case ExcelSource():
            files = find(source.path, root)
            relation = tables.excel(connection, files[0], source)
            settings = source.sheet or ""
        case DuckDBSource():
            files = find(source.path, root)
            relation = tables.database(connection, files[0], source)
            settings = source.query or source.table or ""
        case GeneratorSource():
            if generate_until is None:
                raise InvalidConfig(
                    key="generate_until",
                    value=None,
                    reason="is missing",
                    fix="The generator needs the day at which it stops.",
                )
            files = []
            relation = tables.generated(connection, source, generate_until)
            settings = f"{source.model_dump_json()} {generate_until}"
    schema = schema_of(relation)
    if row_keys:
        key = row_key([name for name in schema if schema[name] is not None])
        relation = relation.select(Star(), key.alias(ROW_KEY))
    check_columns(columns, schema, files[0].name if files else "generator")
    typed = parsed(relation, columns, schema, parser)
    if row_keys or not isinstance(source, ParquetSource):
        try:
            typed = engine.checkpoint(nw.from_native(typed)).to_native()
        except duckdb.Error as error:
            raise SourceUnreadable(
                source=files[0].name if files else "generator",
                reason=f"reading fails ({str(error).splitlines()[0]})",
                fix="Correct the query or the data it reads.",
            ) from error
    # Parquet is read again where it is used, which is cheaper than a copy of all of it.
    return Reading(with_raw_amount(typed, columns), fingerprint(files, settings=settings))


def _csv(
    source: CsvSource,
    columns: ColumnMapping,
    engine: DuckDBEngine,
    root: Path,
    parser: Parser,
    *,
    row_keys: bool,
) -> Reading:
    files = [(file, csv_files.header(file, source)) for file in find(source.path, root, ".csv")]
    for file, head in files:
        check_columns(columns, dict.fromkeys(head.names, "text"), file.name)
        csv_files.refuse_twins(head, wanted(columns).values(), file.name)
    used = sorted(set(wanted(columns).values()))
    with tempfile.TemporaryDirectory(prefix="rfm_assets-") as scratch:
        lines = csv_files.read_lines(
            engine.connection, files, source, used, row_keys=row_keys, scratch=Path(scratch)
        )
    typed = parsed(lines.relation, columns, dict.fromkeys(used, "text"), parser)
    broken = engine.connection.from_arrow(lines.broken)
    # By name: whatever a broken line has not, is empty.
    held = engine.checkpoint(nw.from_native(typed.union_by_name(broken))).to_native()
    engine.connection.execute("DROP TABLE source_lines")
    return Reading(
        with_raw_amount(held, columns), fingerprint([file for file, _ in files]), lines.notes
    )
