"""The one table type of the domain: a narwhals lazy frame over any engine."""

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import narwhals as nw
from narwhals.typing import IntoDType

from rfm_assets.domain.kinds import Kind

Table: TypeAlias = nw.LazyFrame[Any]
"""A lazy table. Its native side is a DuckDB relation, a polars LazyFrame, a pandas or
pyarrow table, or a Spark DataFrame; the domain never asks which."""

UNITS_PER_MONEY = 10_000
"""Money is summed as whole ten-thousandths, because float sums differ in their last bits
from run to run on parallel engines. Four decimals hold every currency's minor unit and the
fractions of a cent that unit prices have; 2**63 of them are 922 trillion."""

TYPES: Mapping[Kind, IntoDType] = {
    "text": nw.String, "number": nw.Float64, "boolean": nw.Boolean,
}  # fmt: skip
"""What values of a kind are held as. Dates are not among them: a date is a day or a moment."""


def kinds_of(table: Table) -> dict[str, Kind]:
    """What kind of value each column holds, for expressions; other types are left out."""
    kinds: dict[str, Kind] = {}
    for name, dtype in table.collect_schema().items():
        if dtype.is_numeric():
            kinds[name] = "number"
        elif dtype == nw.Boolean:
            kinds[name] = "boolean"
        elif dtype.is_temporal():
            kinds[name] = "date"
        elif isinstance(dtype, nw.String | nw.Categorical | nw.Enum):
            kinds[name] = "text"
    return kinds


def number_rows(table: Table, name: str, order_by: Sequence[str]) -> Table:
    """Add `name` (Int64): the rows' numbers from 1 in an order that is total and has no nulls."""
    numbered = table.with_row_index(name, order_by=list(order_by))
    return numbered.with_columns((nw.col(name) + 1).cast(nw.Int64))
