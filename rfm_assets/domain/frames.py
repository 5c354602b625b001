"""The one table type of the domain: a narwhals lazy frame over any engine."""

from typing import Any, TypeAlias

import narwhals as nw

Table: TypeAlias = nw.LazyFrame[Any]
"""A lazy table. Its native side is a DuckDB relation, a polars LazyFrame, a pandas or
pyarrow table, or a Spark DataFrame; the domain never asks which."""

UNITS_PER_MONEY = 10_000
"""Money is summed as whole ten-thousandths, because float sums differ in their last bits
from run to run on parallel engines. Four decimals hold every currency's minor unit and the
fractions of a cent that unit prices have; 2**63 of them are 922 trillion."""
