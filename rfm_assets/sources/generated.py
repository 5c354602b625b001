"""The generator's shop as a file would give it: text, with its dirt.

It goes through the same mapping and the same policy as any other source. What customers do is
in `domain/generator.py`.
"""

from __future__ import annotations

from datetime import date
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from rfm_assets.domain.generator import (
    CATEGORIES,
    CHANNELS,
    COUNTRIES,
    PRODUCTS,
    Broken,
    GeneratorConfig,
    channels,
    consents,
    customers,
    days,
    dirt,
    orders,
    rows,
)

CENTURY_SECONDS = 36_525 * 86_400


def transactions(config: GeneratorConfig, end: date) -> pa.Table:
    """The rows from `config.start` to the day before `end`, in order of time, all text.

    Columns: order_number, line, ordered_at, customer, sku, category, quantity, unit_price,
    channel, country. No row if `end` is not after the start.
    """
    people = customers(config, end)
    lines = rows(config, people, orders(config, people, end), end)
    wrong = dirt(config, people, lines)
    ids = _text(people.ids[lines.customer])
    customer = _where(wrong.float_id, pc.binary_join_element_wise(ids, ".0", ""), ids)
    customer = _where(wrong.missing_id, pa.scalar(None, pa.string()), customer)

    moment = pa.array(lines.second, pa.timestamp("s"))
    later = pa.array(lines.second + CENTURY_SECONDS, pa.timestamp("s"))
    written = "%Y-%m-%d %H:%M:%S"
    ordered_at = pc.strftime(moment, format=written)
    far = pc.strftime(later, format=written)
    ordered_at = _where(wrong.broken == Broken.FAR_DATE, far, ordered_at)
    unclear = pc.strftime(moment, format="%d. %b, ??:??")
    ordered_at = _where(wrong.broken == Broken.NO_DATE, unclear, ordered_at)

    cents = np.round(lines.price * 100).astype(np.int64)
    price = pc.binary_join_element_wise(
        _text(cents // 100), pc.utf8_lpad(_text(cents % 100), 2, "0"), "."
    )
    price = _where(wrong.broken == Broken.TEXT_PRICE, pa.scalar("on request"), price)
    price = _where(wrong.broken == Broken.NAN_PRICE, pa.scalar("NaN"), price)

    kind = _chosen(("S", "R"), (lines.sign < 0).astype(np.int64))
    number = pc.utf8_lpad(_text(lines.number), 4, "0")
    table = pa.table(
        {
            "order_number": pc.binary_join_element_wise(kind, ids, number, ""),
            "line": _text(lines.line),
            "ordered_at": ordered_at,
            "customer": customer,
            "sku": pc.binary_join_element_wise("P", pc.utf8_lpad(_text(lines.sku + 1), 4, "0"), ""),
            "category": _chosen(CATEGORIES, lines.sku * len(CATEGORIES) // PRODUCTS),
            "quantity": _text(lines.quantity * lines.sign),
            "unit_price": price,
            "channel": _chosen(CHANNELS, channels(config, people, lines)),
            "country": _chosen(COUNTRIES, people.country[lines.customer]),
        }
    )
    return table.take(pa.array(np.repeat(np.arange(len(wrong.times)), wrong.times)))


def customer_attributes(config: GeneratorConfig, end: date) -> pa.Table:
    """Who had joined before `end`, in order of joining.

    Columns: customer_id, email, country, marketing_consent, signed_up.
    """
    people = customers(config, end)
    order = np.argsort(people.joined, kind="stable")
    joined = order[people.joined[order] < days(end)]
    ids = _text(people.ids[joined])
    return pa.table(
        {
            "customer_id": ids,
            "email": pc.binary_join_element_wise("customer", ids, "@example.com", ""),
            "country": _chosen(COUNTRIES, people.country[joined]),
            "marketing_consent": pa.array(consents(config, people)[joined]),
            "signed_up": pa.array(np.floor(people.joined[joined]).astype(np.int32), pa.date32()),
        }
    )


def _text(numbers: Any) -> pa.Array:
    return pc.cast(pa.array(numbers), pa.string())


def _where(condition: Any, yes: pa.Array | pa.Scalar, no: pa.Array) -> pa.Array:
    return pc.if_else(pa.array(condition), yes, no)


def _chosen(names: tuple[str, ...], index: Any) -> pa.Array:
    return pa.array(names).take(pa.array(index))
