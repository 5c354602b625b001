"""How customers are spread over segments and scores: small tables for checks and pages.

Changes between snapshots are in `history.py`, a snapshot's stored summary in `summaries.py`.
"""

from __future__ import annotations

import narwhals as nw

from rfm_assets.domain.frames import Table
from rfm_assets.domain.money import from_units, to_units

NO_SEGMENT = "(none)"


def customers_by_segment(customers: Table) -> dict[str, int]:
    """Customers of each segment that occurs, by name; those without one under `(none)`."""
    named = customers.select(nw.col("segment").fill_null(NO_SEGMENT))
    counted = named.group_by("segment").agg(nw.len().alias("n")).collect("pyarrow")
    pairs = zip(counted.get_column("segment"), counted.get_column("n"), strict=True)
    return dict(sorted((str(name), int(count)) for name, count in pairs))


def score_grid(customers: Table) -> Table:
    """Customers of each pair of R_score and F_score that occurs."""
    return customers.group_by("R_score", "F_score").agg(nw.len().alias("customers"))


def segment_values(customers: Table) -> Table:
    """Per segment that occurs: customers, share, total and mean monetary, share of the total.

    Shares are in per cent; that of a total of zero is null.
    """
    spent = customers.select(
        nw.col("segment").fill_null(NO_SEGMENT).alias("segment"),
        to_units(nw.col("monetary")).alias("units"),
    )
    grouped = spent.group_by("segment").agg(
        nw.len().alias("customers"), nw.col("units").sum().cast(nw.Int64).alias("units")
    )
    totals = grouped.select(nw.col("customers").sum(), nw.col("units").sum()).collect("pyarrow")
    everybody = int(totals.get_column("customers").to_list()[0] or 0)
    money = int(totals.get_column("units").to_list()[0] or 0)
    share = nw.lit(None, dtype=nw.Float64) if money == 0 else nw.col("units") * 100.0 / money
    return grouped.select(
        "segment",
        nw.col("customers").cast(nw.Int64),
        (nw.col("customers") * 100.0 / max(everybody, 1)).alias("customers_pct"),
        from_units(nw.col("units")).alias("monetary_total"),
        (from_units(nw.col("units")) / nw.col("customers")).alias("monetary_mean"),
        share.alias("monetary_pct"),
    )


def total_units(customers: Table) -> int:
    """The customers' money in whole ten-thousandths."""
    units = customers.select(to_units(nw.col("monetary")).sum().alias("units")).collect("pyarrow")
    return int(units.get_column("units").to_list()[0] or 0)
