"""Runs the examples of an industry profile: made-up customers with what must come out."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from typing import Any

import narwhals as nw
from narwhals.typing import IntoDType

from rfm_assets.domain.behavior import (
    FIRED,
    NOT_FIRED,
    SIGNAL,
    UNKNOWN,
    BehaviorConfig,
    analyze_behavior,
)
from rfm_assets.domain.behavior_profiles import Example, Profile, SourceName
from rfm_assets.domain.frames import TYPES, Table
from rfm_assets.domain.rfm import day_number

AS_OF = date(2025, 1, 1)


def failed_examples(profile: Profile) -> list[str]:
    """What came out otherwise than an example says, in sentences; nothing where all is well."""
    told: list[str] = []
    for example in profile.examples:
        states = example_states(profile, example)
        for wanted, names in (
            (FIRED, example.fired),
            (UNKNOWN, example.unknown),
            (NOT_FIRED, example.not_fired),
        ):
            told += [
                f"example {example.name!r}: {name} is {states[name]}, not {wanted}"
                for name in names
                if states[name] != wanted
            ]
    return told


def example_states(profile: Profile, example: Example) -> dict[str, str]:
    """Each signal of an example's customer: fired, not_fired or unknown."""
    behavior = analyze_behavior(
        profile,
        events=_table(profile, "events", example),
        transactions=_table(profile, "transactions", example),
        as_of=AS_OF,
        config=BehaviorConfig(),
        checkpoint=lambda table: table.collect("polars").lazy(),
    )
    (row,) = behavior.table.collect("pyarrow").to_native().to_pylist()
    return {name: row[f"{SIGNAL}{name}"] for name in profile.signals}


def _table(profile: Profile, source: SourceName, example: Example) -> Table:
    """The rows of an example as a source gives them."""
    given: tuple[dict[str, Any], ...] = getattr(example, source)
    rows = [row for row in given for _ in range(int(row.get("times", 1)))]
    kinds = profile.kinds(source)
    columns: dict[str, list[Any]] = {
        "customer_id": ["customer"] * len(rows),
        "day": [day_number(AS_OF) - int(row["day"]) for row in rows],
        "date": [
            datetime.combine(AS_OF, datetime.min.time()) - timedelta(days=int(row["day"]))
            for row in rows
        ],
    }
    columns |= {
        name: [_valued(row.get(name), kind) for row in rows] for name, kind in kinds.items()
    }
    if source == "transactions":
        columns["order_id"] = [row.get("order_id") for row in rows]
    types = {name: TYPES[kind] for name, kind in kinds.items()}
    schema: dict[str, IntoDType] = {
        "customer_id": nw.String, "day": nw.Int32, "date": nw.Datetime("us"), **types,
    }  # fmt: skip
    return nw.from_dict(columns, schema=schema, backend="polars").lazy()


def _valued(value: Any, kind: str) -> Any:
    return float(value) if kind == "number" and value is not None else value
