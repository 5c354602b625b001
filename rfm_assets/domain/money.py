"""Money as whole ten-thousandths, exactly and alike on every engine.

What counts as spend does not belong here (`rfm.py`, `transactions.py`); only the way in and out
of the integers that money is summed in.
"""

from __future__ import annotations

import math

import narwhals as nw

from rfm_assets.domain.frames import UNITS_PER_MONEY

MOST_MONEY = 9e14
"""What amounts may add up to regardless of sign: 922 trillion are 2**63 ten-thousandths, and the
rest is left for the rounding of a sum of floats."""

_HALF = 2**32


def to_units(amount: nw.Expr) -> nw.Expr:
    """Whole ten-thousandths (Int64) of a Float64 amount, halves rounded away from zero.

    Written out rather than `round()`, because engines differ in how they round halves.
    """
    scaled = amount * UNITS_PER_MONEY
    away = nw.when(scaled >= 0).then((scaled + 0.5).floor()).otherwise(-(0.5 - scaled).floor())
    return away.cast(nw.Int64)


def from_units(units: nw.Expr) -> nw.Expr:
    """Float64 money of an Int64 column of ten-thousandths: the nearest float, on every engine."""
    # In two halves, because Arrow refuses to make floats of whole numbers beyond 2**53.
    high = (units // _HALF).cast(nw.Int64)
    low = (units - high * _HALF).cast(nw.Float64)
    return exact_ratio(high.cast(nw.Float64) * float(_HALF) + low, UNITS_PER_MONEY)


def exact_ratio(numerator: nw.Expr, denominator: float) -> nw.Expr:
    """`numerator` (a Float64 column) over a constant, correctly rounded on every engine.

    Polars turns a division by a constant into a multiplication with its reciprocal, which makes
    82.6 into 82.60000000000001. A denominator that looks like a column is divided by properly.
    """
    return numerator / (numerator * 0.0 + float(denominator))


def units_of(amount: float) -> int:
    """`to_units` for one number."""
    scaled = amount * UNITS_PER_MONEY
    return math.floor(scaled + 0.5) if scaled >= 0 else -math.floor(0.5 - scaled)


def money_of(units: int) -> float:
    """`from_units` for one number."""
    return units / UNITS_PER_MONEY
