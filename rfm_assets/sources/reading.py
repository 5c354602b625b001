"""Reading a source of transactions into the parsed frame, in DuckDB.

Judging rows does not belong here (`domain/transactions.py`), nor storing them (`store.py`).
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from functools import reduce
from pathlib import Path

import duckdb
import narwhals as nw
from duckdb import ColumnExpression as Column
from duckdb import ConstantExpression as Constant
from duckdb import FunctionExpression as Function
from duckdb.sqltypes import BIGINT

from rfm_assets.domain.frames import Table
from rfm_assets.engine import DuckDBEngine
from rfm_assets.sources import csv_files
from rfm_assets.sources.config import ColumnMapping, CsvSource, Source
from rfm_assets.sources.files import SourceFile, find, fingerprint
from rfm_assets.sources.mapping import (
    ROW,
    SOURCE,
    check_columns,
    parsed,
    schema_of,
    wanted,
    with_raw_amount,
)
from rfm_assets.sources.parsing import NativeKind, Parser


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
    engine: DuckDBEngine,
    root: Path,
    time_zone: str = "UTC",
    row_keys: bool = False,
) -> Reading:
    """Read and parse a source.

    Args:
        source: What to read.
        columns: Which column is what.
        engine: Where the frame lives; it is valid until the engine closes.
        root: Where relative paths start.
        time_zone: The business time zone, into which all dates are brought.
        row_keys: Whether rows must be comparable as a whole (`exact_duplicates: drop`).

    Raises:
        RfmError: The source is missing, empty, cut off or damaged, or a mapped column is not
            there; the message says which and what to do.
    """
    parser = Parser(source, time_zone)
    match source:
        case CsvSource():
            return _csv(source, columns, engine, root, parser, row_keys=row_keys)
        case _:
            raise NotImplementedError


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
