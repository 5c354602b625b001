"""Canonical transactions for tests, written as short rows or drawn by hypothesis."""

from collections.abc import Sequence
from datetime import date, datetime, timedelta
from functools import cache
from typing import Any

import numpy as np
import pyarrow as pa
from hypothesis import strategies as st

EPOCH = date(1970, 1, 1)
AS_OF = date(2025, 1, 1)
"""The day after the last on which the random shop sells."""

SCHEMA = {
    "customer_id": pa.string(),
    "order_id": pa.string(),
    "date": pa.timestamp("us"),
    "day": pa.int32(),
    "amount": pa.float64(),
}

Purchase = tuple[str, str | None, str, float]
"""customer_id, order_id, day as text, amount."""


def transactions(rows: Sequence[Purchase]) -> dict[str, Any]:
    """Columns of canonical transactions, at noon of each day."""
    days = [date.fromisoformat(day) for _, _, day, _ in rows]
    values = {
        "customer_id": [customer for customer, *_ in rows],
        "order_id": [order for _, order, _, _ in rows],
        "date": [datetime(day.year, day.month, day.day, 12) for day in days],
        "day": [(day - EPOCH).days for day in days],
        "amount": [amount for *_, amount in rows],
    }
    return {name: pa.array(values[name], type_) for name, type_ in SCHEMA.items()}


def purchases(before: date, *, days: int = 400) -> st.SearchStrategy[list[Purchase]]:
    """A few hundred lines of up to forty customers in the days before a date, refunds included."""
    day = st.integers(1, days).map(lambda age: (before - timedelta(days=age)).isoformat())
    cents = st.one_of(st.integers(-5_000, 50_000), st.sampled_from([0, 1_000, 1_000, 2_000]))
    line = st.tuples(
        st.integers(1, 40).map(lambda number: f"c{number}"),
        st.one_of(st.none(), st.integers(1, 60).map(lambda number: f"o{number}")),
        day,
        cents.map(lambda value: value / 100),
    )
    return st.lists(line, max_size=120)


@cache
def shop(customers: int = 600) -> tuple[Purchase, ...]:
    """Customers who buy and leave at random over two years, some with refunds."""
    made = np.random.default_rng(5)
    rows: list[Purchase] = []
    for number in range(customers):
        day = int(made.integers(1, 700))
        typical = made.gamma(6, 8)
        while day > 0:
            when = (AS_OF - timedelta(days=day)).isoformat()
            amount = round(float(made.gamma(4, typical / 4)) + 0.01, 2)
            rows.append((f"c{number:04}", f"o{len(rows)}", when, amount))
            if made.random() < 0.05:
                rows.append((f"c{number:04}", f"r{len(rows)}", when, -amount / 2))
            if made.random() < 0.25:
                break
            day -= 1 + int(made.exponential(40 + number % 90))
    return tuple(rows)
