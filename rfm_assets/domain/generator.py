"""Invented customers of a shop: orders with their lines, refunds, and a few dirty rows.

Every number is a hash of (seed, what it is for, customer, order, line), so that nothing depends
on how much else is generated: a later `end` adds rows and changes none. There is no clock here;
how rows look in a file is in `sources/generated.py`.

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
STRAY_SHARE: Final = 0.15
"""Orders that come through another channel than the customer's usual one."""
CONSENT_SHARE: Final = 0.78


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
    STRAYS = 24
    STRAY_CHANNEL = 25
    SECOND_AGAIN = 26
    CHURN = 27


@dataclass(frozen=True)
class Customers:
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
class Orders:
    """One entry per order: position of its customer, its number there, its day and second."""

    customer: Integers
    number: Integers
    second: Integers


@dataclass(frozen=True)
class Rows:
    """One entry per row, in order of time. `sku` counts from 0; `sign` is -1 for a refund."""

    customer: Integers
    number: Integers
    line: Integers
    second: Integers
    sku: Integers
    quantity: Integers
    price: Numbers
    sign: Integers


def days(day: date) -> int:
    """Days since 1970-01-01."""
    return (day - EPOCH).days


def customers(config: GeneratorConfig, end: date) -> Customers:
    """Those of the start, and those who join in each week that begins before `end`."""
    start = days(config.start)
    weeks = max(0, -(-(days(end) - start) // 7))
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
    return Customers(
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


def orders(config: GeneratorConfig, people: Customers, end: date) -> Orders:
    """Each customer's purchases, one round for all customers at a time."""
    start, stop = days(config.start), days(end)
    seed = config.seed
    here = np.flatnonzero(people.joined < stop)
    day = people.joined[here]
    nobody = np.empty(0, np.int64)
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
    customer = np.concatenate([nobody, *(part[0] for part in found)])
    number = np.concatenate([nobody, *(part[1] for part in found)])
    moment = np.concatenate([np.empty(0), *(part[2] for part in found)])
    ids = people.ids[customer]
    # Open from 7 to 23, busiest in the middle.
    share = uniform(seed, Stream.SECOND, ids, number) + uniform(
        seed, Stream.SECOND_AGAIN, ids, number
    )
    second = np.floor(moment).astype(np.int64) * 86_400 + (7 * 3600 + share * 8 * 3600).astype(
        np.int64
    )
    return Orders(customer, number, second)


def rows(config: GeneratorConfig, people: Customers, bought: Orders, end: date) -> Rows:
    """The lines of the orders, and of what was sent back before `end`."""
    seed = config.seed
    ids = people.ids[bought.customer]
    many = -np.log(uniform(seed, Stream.LINES, ids, bought.number)) / 0.65
    count = np.minimum(1 + many.astype(np.int64), MAX_LINES)
    whose = np.repeat(np.arange(len(count)), count)
    line = np.arange(len(whose)) - np.repeat(np.cumsum(count) - count, count) + 1
    customer, number = bought.customer[whose], bought.number[whose]
    key = (people.ids[customer], number, line)
    # Products are sorted by price; each customer prefers a part of the range.
    wish = 0.7 * uniform(seed, Stream.PRODUCT, *key) ** 1.5 + 0.3 * people.tier[customer]
    sku = np.minimum((wish * PRODUCTS).astype(np.int64), PRODUCTS - 1)
    size = np.exp(0.5 * normal(seed, Stream.QUANTITY, *key) + people.thrift[customer])
    lines = Rows(
        customer=customer,
        number=number,
        line=line,
        second=bought.second[whose],
        sku=sku,
        quantity=np.minimum(1 + size.astype(np.int64), 200),
        price=_prices(config)[sku],
        sign=np.ones(len(whose), np.int64),
    )
    delay = 1 + uniform(seed, Stream.REFUND_DELAY, *key) * 21
    later = lines.second + (delay * 86_400).astype(np.int64)
    returned = np.flatnonzero(
        (uniform(seed, Stream.REFUND, *key) < config.refund_rate) & (later < days(end) * 86_400)
    )
    both = np.concatenate([np.arange(len(whose)), returned])
    sign = np.concatenate([lines.sign, -lines.sign[returned]])
    second = np.concatenate([lines.second, later[returned]])
    order = np.lexsort((line[both], number[both], customer[both], sign, second))
    pick = both[order]
    return Rows(
        customer[pick], number[pick], line[pick], second[order], sku[pick],
        lines.quantity[pick], lines.price[pick], sign[order],
    )  # fmt: skip


def _prices(config: GeneratorConfig) -> Numbers:
    """Prices that end in 9 cents, from some cents to a few hundred, ascending."""
    spread = np.exp(2.3 + 1.1 * normal(config.seed, Stream.PRICE, np.arange(PRODUCTS)))
    return np.maximum(np.sort(np.round(spread, 1)) - 0.01, 0.19)


class Broken(IntEnum):
    """How a row is broken."""

    NOT = -1
    FAR_DATE = 0
    NO_DATE = 1
    TEXT_PRICE = 2
    NAN_PRICE = 3


@dataclass(frozen=True)
class Dirt:
    """What is wrong with each row.

    Whether its id is missing or reads like a float, how it is broken (a `Broken`), and how often
    the row comes.
    """

    missing_id: Flags
    float_id: Flags
    broken: Integers
    times: Integers


def dirt(config: GeneratorConfig, people: Customers, lines: Rows) -> Dirt:
    """Decided for each row by itself, from the declared rates."""
    seed = config.seed
    key = (people.ids[lines.customer], lines.number, lines.line, lines.sign)
    broken = uniform(seed, Stream.BROKEN, *key) < config.broken_row_rate
    how = (uniform(seed, Stream.BROKEN_HOW, *key) * 4).astype(np.int64)
    return Dirt(
        missing_id=uniform(seed, Stream.MISSING_ID, *key) < config.missing_id_rate,
        float_id=uniform(seed, Stream.FLOAT_ID, *key) < config.float_id_rate,
        broken=np.where(broken, how, np.int64(Broken.NOT)),
        times=1 + (uniform(seed, Stream.DUPLICATE, *key) < config.duplicate_rate).astype(np.int64),
    )


def channels(config: GeneratorConfig, people: Customers, lines: Rows) -> Integers:
    """Index of each row's channel: mostly the one that the customer prefers."""
    seed, ids = config.seed, people.ids[lines.customer]
    strays = uniform(seed, Stream.STRAYS, ids, lines.number) < STRAY_SHARE
    elsewhere = _pick(CHANNEL_SHARES, uniform(seed, Stream.STRAY_CHANNEL, ids, lines.number))
    return np.where(strays, elsewhere, people.channel[lines.customer])


def consents(config: GeneratorConfig, people: Customers) -> Flags:
    """Whether each customer agrees to marketing."""
    return uniform(config.seed, Stream.CONSENT, people.ids) < CONSENT_SHARE


def _pick(shares: tuple[float, ...], draw: Numbers) -> Integers:
    """The index of the share that each draw falls in."""
    return np.searchsorted(np.cumsum(shares)[:-1], draw).astype(np.int64)
