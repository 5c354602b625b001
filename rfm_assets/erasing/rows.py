"""Their rows in Parquet files, and the cells of other rows that name them."""

from __future__ import annotations

import json
import re
import shutil
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from upath import UPath

from rfm_assets.erasing.ids import Wanted
from rfm_assets.failures import storage
from rfm_assets.schemas import CONTRACTS
from rfm_assets.store import ROWS

_CUSTOMER = "customer_id"
_FREE = {_CUSTOMER, "detail", "raw"}
"""Columns of contracts that may hold an id. Another one, such as `rfm_cell`, only looks like one."""


class Judge:
    """Which rows of a batch are theirs, and which cells of other rows name them."""

    def __init__(self, kind: str, part: str, wanted: Wanted) -> None:
        contract = CONTRACTS.get(kind)
        if contract is not None and part != ROWS:
            contract = contract.parts.get(part)
        self._declared = set(contract.schema.columns) if contract else set[str]()
        # A row that is kept as it stood may name her in any of its columns.
        self._any_column = contract is None or "rejects" in {part, *kind.split("_")}
        self._own = contract is None
        self._wanted = wanted

    def free(self, schema: pa.Schema) -> list[int]:
        """Positions of the columns that may hold an id beside the customer's own."""
        return [
            position
            for position, one in enumerate(schema)
            if _is_text(one.type)
            and one.name != _CUSTOMER
            and (one.name in _FREE or one.name not in self._declared)
        ]

    def hers(self, batch: pa.Table) -> pa.ChunkedArray:
        """True where the row is theirs."""
        found: Any = pa.chunked_array([pa.repeat(pa.scalar(value=False), batch.num_rows)])
        for position, one in enumerate(batch.schema):
            if one.name == _CUSTOMER or (
                self._own and _is_number(one.type) and _WHOSE.search(one.name)
            ):
                found = pc.or_(found, self._matches(batch.column(position), self._wanted.whole))
            elif self._any_column and position in self.free(batch.schema):
                found = pc.or_(found, self._matches(batch.column(position), self._wanted.pattern))
        return found

    def named(self, column: pa.ChunkedArray) -> pa.ChunkedArray:
        return self._matches(column, self._wanted.pattern)

    @staticmethod
    def _matches(column: pa.ChunkedArray, pattern: str) -> Any:
        texts = column if _is_plain_text(column.type) else _as_text(column)
        return pc.fill_null(pc.match_substring_regex(texts, pattern), fill_value=False)


_WHOSE = re.compile("customer|client|user|member|person|buyer", re.IGNORECASE)
"""Names of columns in which a number is somebody's id; elsewhere it may be a quantity."""


def _is_number(kind: pa.DataType) -> bool:
    return pa.types.is_integer(kind) or pa.types.is_floating(kind)


def _is_plain_text(kind: pa.DataType) -> bool:
    return pa.types.is_string(kind) or pa.types.is_large_string(kind)


def _is_text(kind: pa.DataType) -> bool:
    """Whether there may be a text in a column, at whatever depth."""
    if pa.types.is_dictionary(kind):
        return _is_text(kind.value_type)
    if pa.types.is_nested(kind):
        return any(_is_text(kind.field(n).type) for n in range(kind.num_fields))
    return _is_plain_text(kind) or pa.types.is_string_view(kind)


def _as_text(column: pa.ChunkedArray) -> pa.ChunkedArray:
    if pa.types.is_nested(column.type):
        texts = [
            None if one is None else json.dumps(one, default=str) for one in column.to_pylist()
        ]
        return pa.chunked_array([pa.array(texts, pa.string())])
    return pc.cast(column, pa.string())


def counted(file: UPath, judge: Judge) -> tuple[int, int]:
    """How many rows are theirs, and how many cells of others name them."""
    rows = cells = 0
    with file.open("rb") as stream:
        for batch in pq.ParquetFile(stream).iter_batches():
            table = pa.Table.from_batches([batch])
            hers = judge.hers(table)
            rows += pc.sum(hers).as_py() or 0
            others = table.filter(pc.invert(hers))
            for position in judge.free(table.schema):
                cells += pc.sum(judge.named(others.column(position))).as_py() or 0
    return rows, cells


def without_them(source: UPath, target: UPath, judge: Judge) -> int:
    """Copy a Parquet file without their rows and mentions; how many rows that were."""
    rows, cells = counted(source, judge)
    if not rows and not cells:
        with storage(target), source.open("rb") as read, target.open("wb") as write:
            shutil.copyfileobj(read, write)
        return 0
    with storage(target), source.open("rb") as read, target.open("wb") as write:
        file = pq.ParquetFile(read)
        schema = file.schema_arrow
        first = file.metadata.row_group(0).column(0) if file.metadata.num_row_groups else None
        with pq.ParquetWriter(
            write, schema, compression=first.compression if first else "zstd"
        ) as writer:
            for batch in file.iter_batches():
                table = pa.Table.from_batches([batch])
                table = table.filter(pc.invert(judge.hers(table)))
                for position in judge.free(table.schema):
                    column = table.column(position)
                    nothing = pa.scalar(None, column.type)
                    blanked = pc.if_else(judge.named(column), nothing, column)
                    table = table.set_column(position, table.schema.field(position), blanked)
                writer.write_table(table.cast(schema))
    return rows
