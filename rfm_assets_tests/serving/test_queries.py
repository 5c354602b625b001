"""Rows for several threads at once, some of which have ended."""

import threading
from collections.abc import Callable
from typing import TypeVar

from rfm_assets.engines.base import collect_rows
from rfm_assets.serving.queries import Queries

Value = TypeVar("Value")


def in_a_thread(make: Callable[[], Value]) -> tuple[int, Value]:
    """What a thread of its own finds, and its identity."""
    found: list[tuple[int, Value]] = []
    thread = threading.Thread(target=lambda: found.append((threading.get_ident(), make())))
    thread.start()
    thread.join()
    return found[0]


def test_a_thread_never_gets_rows_of_one_that_has_ended(queries: Queries) -> None:
    segments = queries.resolve("customer_segments", None)
    values = queries.resolve("customer_lifetime_value", None)

    def both() -> int:
        value = queries.rows(values).select("customer_id", "lifetime_value")
        return len(collect_rows(queries.rows(segments).join(value, on="customer_id")))

    first, _ = in_a_thread(lambda: queries.rows(segments))
    # Identities are given away again; relations of two connections cannot be joined.
    again = {first: 0}
    for _ in range(20):
        again.update([in_a_thread(both)])
    assert again[first] > 0
