"""Invented customers of a shop: orders with their lines, refunds, and a few dirty rows.

Every number is a hash of (seed, what it is for, customer, order, line), so that nothing depends
on how much else is generated: a later `end` adds rows and changes none. There is no clock here,
and no parsing: rows come out as text, as a file would give them, and go through the same mapping
and the same policy.

Buying follows the BG/NBD story: each customer has a rate of their own (gamma), and a chance of
their own (beta) of leaving for good after each purchase. Spend is skewed: customers differ in
the price they choose and in how many they take.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from enum import IntEnum
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field

from rfm_assets.domain.config import ConfigModel
from rfm_assets.domain.random_numbers import Integers, Numbers, beta, gamma, normal, uniform

Flags = npt.NDArray[np.bool_]

FIRST_ID: Final = 10_000
EPOCH: Final = date(1970, 1, 1)
MAX_ORDERS: Final = 2_000
"""Purchases of one customer; the keenest make some hundred a year."""
MAX_LINES: Final = 12
SETTLED_DAYS: Final = 540
"""The first customers joined during these days before the start, so that the shop does not open
with everybody new."""

COUNTRIES: Final = ("DE", "FR", "GB", "NL", "AT", "ES", "IT", "PL")
COUNTRY_SHARES: Final = (0.38, 0.16, 0.14, 0.09, 0.08, 0.06, 0.05, 0.04)
CHANNELS: Final = ("web", "app", "store")
CHANNEL_SHARES: Final = (0.55, 0.3, 0.15)
CATEGORIES: Final = ("Stationery", "Kitchen", "Garden", "Textiles", "Lighting", "Furniture")
PRODUCTS: Final = 240


class GeneratorConfig(ConfigModel):
    """How large the shop is and how dirty its rows are."""

    seed: int = Field(
        default=7, ge=0, le=2**63 - 1, description="The same seed gives the same rows."
    )
    start: date = Field(
        default=date(2024, 1, 1),
        ge=date(1970, 1, 1),
        le=date(2200, 1, 1),
        description="First day with transactions.",
    )
    customers: int = Field(
        default=2_400, ge=1, le=2_000_000, description="Customers the shop has at the start."
    )
    new_customers_per_week: int = Field(
        default=25, ge=0, le=100_000, description="Customers who join in each week after it."
    )
    refund_rate: float = Field(
        default=0.03, ge=0, le=1, description="Share of order lines that are returned later."
    )
    missing_id_rate: float = Field(
        default=0.004, ge=0, le=1, description="Share of rows without a customer id."
    )
    float_id_rate: float = Field(
        default=0.01, ge=0, le=1, description="Share of rows whose id reads like 12345.0."
    )
    broken_row_rate: float = Field(
        default=0.0008,
        ge=0,
        le=1,
        description=(
            "Share of rows with an amount that is text or NaN, or a date that is unparsable or a "
            "hundred years ahead."
        ),
    )
    duplicate_rate: float = Field(
        default=0.001, ge=0, le=1, description="Share of rows that come twice."
    )


class Stream(IntEnum):
    """What a random number is for; each has numbers of its own."""

    JOINED = 1
    RATE = 2
    LEAVING = 3
    TIER = 4
    THRIFT = 5
    COUNTRY = 6
    CHANNEL = 7
    GAP = 8
    SEASON = 9
    LEAVES = 10
    SECOND = 11
    LINES = 12
    PRODUCT = 13
    QUANTITY = 14
    REFUND = 15
    REFUND_DELAY = 16
    BROKEN = 17
    BROKEN_HOW = 18
    MISSING_ID = 19
    FLOAT_ID = 20
    DUPLICATE = 21
    PRICE = 22
    CONSENT = 23
    OTHER_CHANNEL = 24


def transactions(config: GeneratorConfig, end: date) -> pa.Table:
    """The rows from `config.start` to the day before `end`, in order of time, all text.

    Columns: order_number, line, ordered_at, customer, sku, category, quantity, unit_price,
    channel, country. No row if `end` is not after the start.
    """
    people = _customers(config, end)
    orders = _orders(config, people, end)
    lines = _lines(config, people, orders, end)
    return _as_text(config, people, lines)


def customer_attributes(config: GeneratorConfig, end: date) -> pa.Table:
    """Who had joined before `end`, in order of joining.

    Columns: customer_id, email, country, marketing_consent, signed_up.
    """
    people = _customers(config, end)
    order = np.argsort(people.joined, kind="stable")
    joined = order[people.joined[order] < _days(end)]
    ids = _text(people.ids[joined])
    consent = uniform(config.seed, Stream.CONSENT, people.ids[joined]) < 0.78
    return pa.table(
        {
            "customer_id": ids,
            "email": pc.binary_join_element_wise("customer", ids, "@example.com", ""),
            "country": _chosen(COUNTRIES, people.country[joined]),
            "marketing_consent": pa.array(consent),
            "signed_up": pa.array(np.floor(people.joined[joined]).astype(np.int32), pa.date32()),
        }
    )


@dataclass(frozen=True)
class _Customers:
    """One entry per customer. Days count from 1970-01-01, with fractions."""

    ids: Integers
    joined: Numbers
    rate: Numbers
    leaving: Numbers
    tier: Numbers
    thrift: Numbers
    country: Integers
    channel: Integers


@dataclass(frozen=True)
class _Orders:
    """One entry per order: position of its customer, its number there, its day and second."""

    customer: Integers
    number: Integers
    second: Integers


@dataclass(frozen=True)
class _Lines:
    """One entry per row. `sign` is -1 for a refund."""

    customer: Integers
    number: Integers
    line: Integers
    second: Integers
    sku: Integers
    quantity: Integers
    price: Numbers
    sign: Integers


def _days(day: date) -> int:
    return (day - EPOCH).days


def _customers(config: GeneratorConfig, end: date) -> _Customers:
    start = _days(config.start)
    weeks = max(0, -(-(_days(end) - start) // 7))
    count = config.customers + weeks * config.new_customers_per_week
    place = np.arange(count, dtype=np.int64)
    ids = place + FIRST_ID
    seed = config.seed
    share = uniform(seed, Stream.JOINED, ids)
    week = (place - config.customers) // max(1, config.new_customers_per_week)
    joined = np.where(
        place < config.customers, start - SETTLED_DAYS * share, start + 7 * (week + share)
    )
    # Means: 5.5 purchases a year while a customer; one customer in six leaves after a purchase.
    rate = np.minimum(gamma(seed, Stream.RATE, ids, shape=0.9) / 60, 0.5)
    return _Customers(
        ids=ids,
        joined=joined,
        rate=rate,
        leaving=beta(seed, Stream.LEAVING, ids, a=0.6, b=3.0),
        tier=uniform(seed, Stream.TIER, ids),
        thrift=0.7 * normal(seed, Stream.THRIFT, ids),
        country=_pick(COUNTRY_SHARES, uniform(seed, Stream.COUNTRY, ids)),
        channel=_pick(CHANNEL_SHARES, uniform(seed, Stream.CHANNEL, ids)),
    )


def _season(day: Numbers) -> Numbers:
    """How busy the shop is, between 0.75 and 1.25; busiest at the end of November."""
    return 1 + 0.25 * np.cos(2 * np.pi * (day - 330) / 365.25)


def _orders(config: GeneratorConfig, people: _Customers, end: date) -> _Orders:
    """Each customer's purchases, one round for all customers at a time."""
    start, stop = _days(config.start), _days(end)
    seed = config.seed
    here = np.flatnonzero(people.joined < stop)
    day = people.joined[here]
    found: list[tuple[Integers, Integers, Numbers]] = []
    for number in range(MAX_ORDERS):
        if not len(here):
            break
        ids, numbers = people.ids[here], np.full(len(here), number, np.int64)
        # Visits come at the busiest season's pace; those that the season has not, buy nothing.
        buys = uniform(seed, Stream.SEASON, ids, numbers) < _season(day) / 1.25
        buys |= number == 0
        visible = buys & (day >= start)
        found.append((here[visible], numbers[visible], day[visible]))
        leaves = buys & (uniform(seed, Stream.LEAVES, ids, numbers) < people.leaving[here])
        gap = -np.log(uniform(seed, Stream.GAP, ids, numbers)) / (people.rate[here] * 1.25)
        day = day + gap
        stays = ~leaves & (day < stop)
        here, day = here[stays], day[stays]
    customer, number, moment = (
        (np.concatenate(part) for part in zip(*found, strict=True))
        if (found)
        else (np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0))
    )
    ids = people.ids[customer]
    # Open from 7 to 23, busiest in the middle.
    share = uniform(seed, Stream.SECOND, ids, number) + uniform(seed, -Stream.SECOND, ids, number)
    second = np.floor(moment).astype(np.int64) * 86_400 + (7 * 3600 + share * 8 * 3600).astype(
        np.int64
    )
    return _Orders(customer, number, second)


def _lines(config: GeneratorConfig, people: _Customers, orders: _Orders, end: date) -> _Lines:
    seed = config.seed
    ids = people.ids[orders.customer]
    many = -np.log(uniform(seed, Stream.LINES, ids, orders.number)) / 0.65
    count = np.minimum(1 + many.astype(np.int64), MAX_LINES)
    whose = np.repeat(np.arange(len(count)), count)
    line = np.arange(len(whose)) - np.repeat(np.cumsum(count) - count, count) + 1
    customer, number = orders.customer[whose], orders.number[whose]
    key = (people.ids[customer], number, line)
    # Products are sorted by price; each customer prefers a part of the range.
    wish = 0.7 * uniform(seed, Stream.PRODUCT, *key) ** 1.5 + 0.3 * people.tier[customer]
    sku = np.minimum((wish * PRODUCTS).astype(np.int64), PRODUCTS - 1)
    size = np.exp(0.5 * normal(seed, Stream.QUANTITY, *key) + people.thrift[customer])
    lines = _Lines(
        customer=customer,
        number=number,
        line=line,
        second=orders.second[whose],
        sku=sku,
        quantity=np.minimum(1 + size.astype(np.int64), 200),
        price=_prices(config)[sku],
        sign=np.ones(len(whose), np.int64),
    )
    delay = 1 + uniform(seed, Stream.REFUND_DELAY, *key) * 21
    later = lines.second + (delay * 86_400).astype(np.int64)
    returned = np.flatnonzero(
        (uniform(seed, Stream.REFUND, *key) < config.refund_rate) & (later < _days(end) * 86_400)
    )
    both = np.concatenate([np.arange(len(whose)), returned])
    sign = np.concatenate([lines.sign, -lines.sign[returned]])
    second = np.concatenate([lines.second, later[returned]])
    order = np.lexsort((line[both], number[both], customer[both], sign, second))
    pick = both[order]
    return _Lines(
        customer[pick], number[pick], line[pick], second[order], sku[pick],
        lines.quantity[pick], lines.price[pick], sign[order],
    )  # fmt: skip


def _prices(config: GeneratorConfig) -> Numbers:
    """Prices ending in 9 or 5 cents, from some cents to a few hundred, ascending."""
    spread = np.exp(2.3 + 1.1 * normal(config.seed, Stream.PRICE, np.arange(PRODUCTS)))
    return np.maximum(np.sort(np.round(spread, 1)) - 0.01, 0.19)


def _as_text(config: GeneratorConfig, people: _Customers, rows: _Lines) -> pa.Table:
    seed = config.seed
    ids = people.ids[rows.customer]
    key = (ids, rows.number, rows.line, rows.sign)
    times = 1 + (uniform(seed, Stream.DUPLICATE, *key) < config.duplicate_rate)
    broken = uniform(seed, Stream.BROKEN, *key) < config.broken_row_rate
    how = np.where(broken, (uniform(seed, Stream.BROKEN_HOW, *key) * 4).astype(np.int64), -1)

    customer = _text(ids)
    float_id = uniform(seed, Stream.FLOAT_ID, *key) < config.float_id_rate
    customer = _where(float_id, pc.binary_join_element_wise(customer, ".0", ""), customer)
    missing = uniform(seed, Stream.MISSING_ID, *key) < config.missing_id_rate
    customer = _where(missing, pa.scalar(None, pa.string()), customer)

    moment = pa.array(rows.second, pa.timestamp("s"))
    ordered_at = pc.strftime(moment, format="%Y-%m-%d %H:%M:%S")
    century = pa.array(rows.second + 36_525 * 86_400, pa.timestamp("s"))
    ordered_at = _where(how == 0, pc.strftime(century, format="%Y-%m-%d %H:%M:%S"), ordered_at)
    ordered_at = _where(how == 1, pc.strftime(moment, format="%d. %b, ??:??"), ordered_at)

    cents = np.round(rows.price * 100).astype(np.int64)
    price = pc.binary_join_element_wise(
        _text(cents // 100), pc.utf8_lpad(_text(cents % 100), 2, "0"), "."
    )
    price = _where(how == 2, pa.scalar("on request"), price)
    price = _where(how == 3, pa.scalar("NaN"), price)

    prefix = _where(rows.sign < 0, pa.scalar("R"), pa.array(["S"] * len(ids), pa.string()))
    order_number = pc.binary_join_element_wise(
        prefix, _text(ids), pc.utf8_lpad(_text(rows.number), 4, "0"), ""
    )
    channel = np.where(
        uniform(seed, Stream.OTHER_CHANNEL, ids, rows.number) < 0.15,
        _pick(CHANNEL_SHARES, uniform(seed, -Stream.OTHER_CHANNEL, ids, rows.number)),
        people.channel[rows.customer],
    )
    table = pa.table(
        {
            "order_number": order_number,
            "line": _text(rows.line),
            "ordered_at": ordered_at,
            "customer": customer,
            "sku": pc.binary_join_element_wise("P", pc.utf8_lpad(_text(rows.sku + 1), 4, "0"), ""),
            "category": _chosen(CATEGORIES, rows.sku * len(CATEGORIES) // PRODUCTS),
            "quantity": _text(rows.quantity * rows.sign),
            "unit_price": price,
            "channel": _chosen(CHANNELS, channel),
            "country": _chosen(COUNTRIES, people.country[rows.customer]),
        }
    )
    return table.take(pa.array(np.repeat(np.arange(len(times)), times)))


def _text(numbers: Integers) -> pa.Array:
    return pc.cast(pa.array(numbers), pa.string())


def _where(condition: Flags, yes: pa.Array | pa.Scalar, no: pa.Array) -> pa.Array:
    return pc.if_else(pa.array(condition), yes, no)


def _pick(shares: tuple[float, ...], draw: Numbers) -> Integers:
    """The index of the share that each draw falls in."""
    return np.searchsorted(np.cumsum(shares)[:-1], draw).astype(np.int64)


def _chosen(names: tuple[str, ...], index: Integers) -> pa.Array:
    return pa.array(names).take(pa.array(index))
