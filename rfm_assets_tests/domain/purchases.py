"""Canonical transactions for tests, written as short rows or drawn by hypothesis."""

from collections.abc import Sequence
from datetime import date, datetime, timedelta
from typing import Any

import pyarrow as pa
from hypothesis import strategies as st

EPOCH = date(1970, 1, 1)

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
