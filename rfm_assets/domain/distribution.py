"""How customers are spread over segments and scores, and what they must add up to.

Small figures for checks and pages. Changes between snapshots are in `history.py`, a snapshot's
stored summary in `summaries.py`.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

import narwhals as nw

from rfm_assets.domain.frames import Table
from rfm_assets.domain.money import to_units
from rfm_assets.domain.rfm import day_number

NO_SEGMENT = "(none)"
"""Stands for the segment of customers who have scores but no named segment."""


@dataclass(frozen=True)
class Totals:
    """Customers, and money in whole ten-thousandths."""

    customers: int
    units: int


def customers_by_segment(customers: Table) -> dict[str, int]:
    """Customers of each segment that occurs, by name; those without one under `(none)`."""
    named = customers.select(nw.col("segment").fill_null(NO_SEGMENT))
    counted = named.group_by("segment").agg(nw.len().alias("n")).collect("pyarrow")
    pairs = zip(
        counted.get_column("segment").to_list(), counted.get_column("n").to_list(), strict=True
    )
    return dict(sorted((str(name), int(count)) for name, count in pairs))


def score_grid(customers: Table) -> Table:
    """Customers of each pair of R_score and F_score that occurs."""
    return customers.group_by("R_score", "F_score").agg(nw.len().alias("customers"))


def totals_of_transactions(transactions: Table, *, as_of: date, days: int) -> Totals:
    """What the customers of a snapshot must add up to, from the transactions themselves.

    Everybody seen before `as_of`, and the money of the observation window of `days`.
    """
    end = day_number(as_of)
    in_window = nw.col("day") >= end - days
    money = nw.when(in_window).then(to_units(nw.col("amount"))).otherwise(0)
    seen = (
        transactions.filter(nw.col("day") < end)
        .select("customer_id", money.alias("units"))
        .select(nw.col("customer_id").n_unique(), nw.col("units").sum())
        .collect("pyarrow")
    )
    return Totals(*(int(seen.get_column(name).to_list()[0] or 0) for name in seen.columns))


def totals_of_customers(customers: Table) -> Totals:
    """Customers and money of a snapshot's rows."""
    summed = customers.select(
        nw.len().alias("customers"), to_units(nw.col("monetary")).sum().alias("units")
    ).collect("pyarrow")
    return Totals(*(int(summed.get_column(name).to_list()[0] or 0) for name in summed.columns))
