"""Who must not be contacted: each customer once, with the strongest reason."""

from collections.abc import Callable
from datetime import date
from typing import Any

import pytest

from rfm_assets.domain.frames import Table
from rfm_assets.domain.suppression import suppressed_members, suppression_list, unknown_entries
from rfm_assets.errors import InvalidConfig

AS_OF = date(2026, 3, 2)

MakeTable = Callable[[dict[str, Any]], Table]


def rows(table: Table) -> list[dict[str, Any]]:
    return table.collect(backend="pyarrow").to_native().to_pylist()


def test_members_who_are_suppressed_are_found(engine_table: MakeTable) -> None:
    members = engine_table({"customer_id": ["a", "b", "c"]})
    first = engine_table({"customer_id": ["c", "x"]})
    second = engine_table({"customer_id": ["a"]})
    assert suppressed_members(members, [first, second]) == ["a", "c"]
    assert suppressed_members(members, []) == []


def test_suppression_keeps_the_strongest_reason_once(engine_table: MakeTable) -> None:
    entries = engine_table(
        {
            "customer_id": ["f", "f", "x", "y"],
            "reason": ["bounced", "erased", "typo-reason", "test"],
            "since": [None, date(2026, 1, 1), None, AS_OF],
        }
    )
    table = suppression_list(
        as_of=AS_OF,
        customers=engine_table({"customer_id": ["e", "f"], "segment": ["At Risk", "Lost"]}),
        segments=["Lost"],
        entries=entries,
        source="do_not_contact.csv",
        point_in_time=True,
    )
    found = {r["customer_id"]: (r["reason"], r["source"]) for r in rows(table)}
    # f is Lost too, but erasure is stronger; y takes effect on as_of, which is not yet visible;
    # a reason nobody knows still suppresses.
    assert found == {
        "f": ("erased", "do_not_contact.csv"),
        "x": ("other", "do_not_contact.csv"),
    }


def test_entries_that_take_effect_later_suppress_unless_asked_otherwise(
    engine_table: MakeTable,
) -> None:
    entries = engine_table(
        {"customer_id": ["x", "y"], "reason": ["Legal-Hold ", "test"], "since": [None, AS_OF]}
    )
    table = suppression_list(
        as_of=AS_OF, customers=None, segments=[], entries=entries, source="stop.csv"
    )
    assert {r["customer_id"]: r["reason"] for r in rows(table)} == {"x": "legal_hold", "y": "test"}


def test_unknown_entries_are_in_no_table(engine_table: MakeTable) -> None:
    entries = engine_table({"customer_id": ["a", "0a", "b"]})
    tables = [engine_table({"customer_id": ["a"]}), engine_table({"customer_id": ["b", "c"]})]
    assert unknown_entries(entries, tables) == 1
    assert unknown_entries(entries, []) == 3


def test_suppression_list_of_nothing_is_refused() -> None:
    with pytest.raises(InvalidConfig, match="neither segments nor a file"):
        suppression_list(as_of=AS_OF, customers=None, segments=[], entries=None, source="")
