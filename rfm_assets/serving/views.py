"""Small figures over the rows of one snapshot, for charts: densities, histograms, quantiles, totals.

They are remembered by the snapshot's version, as every answer is. Which chart shows them, and how, is
the business of `charts/`.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import narwhals as nw

from rfm_assets.domain.frames import Table
from rfm_assets.domain.money import money_of, to_units
from rfm_assets.engines.base import collect_rows
from rfm_assets.serving.queries import Queries, Row
from rfm_assets.store import Snapshot

CELLS = 60
"""Cells of a density along each axis: a million customers as 3,600 numbers."""

SAMPLE = 300
"""Customers of a sample, which a browser draws at once."""

BINS = 24
"""Bars of a histogram."""

QUANTILES: Mapping[str, float] = {"p05": 0.05, "p25": 0.25, "p50": 0.5, "p75": 0.75, "p95": 0.95}

_MANY = 100_000
"""Customers from which it pays to have a second engine in memory."""

_PRIME = 2_147_483_647
_FACTORS = (1_103_515_245, 12_345_677, 214_013)

Scale: TypeAlias = dict[str, bool]


@dataclass(frozen=True)
class Axis:
    """One axis of a density: its column, its ends and whether its cells grow tenfold.

    A logarithmic axis begins at its least positive value; what is not positive lies in its first
    cell.
    """

    column: str
    low: float
    high: float
    log: bool

    @property
    def edges(self) -> list[float]:
        """The ends of the cells, in the column's unit."""
        a, b = self._ends
        steps = [a + (b - a) * i / CELLS for i in range(CELLS + 1)]
        return [10**step for step in steps] if self.log else steps

    @property
    def _ends(self) -> tuple[float, float]:
        return (math.log10(self.low), math.log10(self.high)) if self.log else (self.low, self.high)

    def cell(self) -> nw.Expr:
        """The number of the cell that a row lies in, from 0."""
        a, b = self._ends
        value = nw.col(self.column).cast(nw.Float64)
        if self.log:
            value = nw.when(value > self.low).then(value).otherwise(nw.lit(self.low)).log(10)
        width = (b - a) / CELLS or 1.0
        number = ((value - a) / width).floor()
        capped = nw.when(number > CELLS - 1).then(nw.lit(float(CELLS - 1))).otherwise(number)
        return nw.when(capped < 0).then(nw.lit(0.0)).otherwise(capped).cast(nw.Int32)


@dataclass(frozen=True)
class Density:
    """How many customers lie in each cell of two axes; `counts[y][x]`."""

    x: Axis
    y: Axis
    counts: list[list[int]]


def density(queries: Queries, snapshot: Snapshot, x: str, y: str, log: Scale) -> Density | None:
    """Customers by two columns; None where there are none."""
    key = (snapshot.table, snapshot.version, "density", x, y, tuple(sorted(log.items())))

    def make() -> Density | None:
        axes = [axis(queries, snapshot, name, log=log.get(name, False)) for name in (x, y)]
        if axes[0] is None or axes[1] is None:
            return None
        rows = queries.rows(snapshot).select(axes[0].cell().alias("x"), axes[1].cell().alias("y"))
        counts = [[0] * CELLS for _ in range(CELLS)]
        for row in collect_rows(rows.group_by("x", "y").agg(nw.len().alias("n"))):
            counts[row["y"]][row["x"]] = row["n"]
        return Density(axes[0], axes[1], counts)

    return queries.remembered(key, make)


def axis(queries: Queries, snapshot: Snapshot, column: str, *, log: bool) -> Axis | None:
    """An axis over a column: from its least to its 99.5 % value, so that one giant hides nobody."""
    key = (snapshot.table, snapshot.version, "axis", column, log)

    def make() -> Axis | None:
        value = nw.col(column).cast(nw.Float64)
        rows = queries.rows(snapshot)
        if log:
            rows = rows.filter(value > 0)
        ends = collect_rows(
            rows.select(
                value.min().alias("low"),
                value.quantile(0.995, "linear").alias("most"),
                value.max().alias("high"),
            )
        )[0]
        if ends["low"] is None:
            return None
        high = ends["high"] if log else ends["most"]
        low = ends["low"]
        return Axis(column, low, high if high > low else low + 1, log)

    return queries.remembered(key, make)


def sample(
    queries: Queries, snapshot: Snapshot, columns: Sequence[str], *, seed: int = 1
) -> list[Row]:
    """About `SAMPLE` customers by id, the same ones for the same seed.

    Who is in it follows from a customer's own numbers, so that it needs no order and no state.
    """
    key = (snapshot.table, snapshot.version, "sample", tuple(columns), seed)

    def make() -> list[Row]:
        rows = queries.rows(snapshot)
        total = snapshot.manifest.row_counts["rows"]
        share = min(1.0, SAMPLE / max(total, 1))
        if share < 1:
            units = (nw.col("monetary").abs() * 100).cast(nw.Int64)
            mixed = (
                nw.col("recency").cast(nw.Int64) * _FACTORS[0]
                + nw.col("frequency").cast(nw.Int64) * _FACTORS[1]
                + (units % _PRIME) * _FACTORS[2]
                + seed
            )
            spread = ((mixed % _PRIME) * _FACTORS[0]) % _PRIME
            rows = rows.filter(spread < int(_PRIME * share))
        return collect_rows(rows.select("customer_id", *columns).sort("customer_id"))

    return queries.remembered(key, make)


def quantiles(queries: Queries, snapshot: Snapshot, columns: Sequence[str]) -> list[Row]:
    """The five quantiles of each column in each segment, `<column>_<quantile>`."""
    key = (snapshot.table, snapshot.version, "quantiles", tuple(columns))

    def make() -> list[Row]:
        wanted = [
            nw.col(column).cast(nw.Float64).quantile(share, "linear").alias(f"{column}_{name}")
            for column in columns
            for name, share in QUANTILES.items()
        ]

        def found(rows: Table) -> list[Row]:
            grouped = rows.group_by("segment").agg(nw.len().alias("n"), *wanted)
            return collect_rows(grouped.sort("segment"))

        if snapshot.manifest.row_counts["rows"] < _MANY:
            return found(queries.rows(snapshot))
        # By polars, in a third of the time: the engine sorts a column anew for each of its quantiles.
        return queries.one_by_one([snapshot], lambda tables, _: found(tables[0]))

    return queries.remembered(key, make)


def score_cells(queries: Queries, snapshot: Snapshot) -> list[Row]:
    """Customers and net spend of each cell of R and F scores, with its most common segment."""
    key = (snapshot.table, snapshot.version, "score cells")

    def make() -> list[Row]:
        rows = queries.rows(snapshot).group_by("R_score", "F_score", "segment")
        found = collect_rows(
            # Whole numbers add up to the same whatever the order of the rows.
            rows.agg(nw.len().alias("customers"), to_units(nw.col("monetary")).sum().alias("units"))
        )
        cells: dict[tuple[int, int], Row] = {}
        for row in sorted(found, key=lambda r: (-r["customers"], str(r["segment"]))):
            cell = cells.setdefault(
                (row["R_score"], row["F_score"]),
                {
                    "R_score": row["R_score"],
                    "F_score": row["F_score"],
                    "segment": row["segment"],
                    "customers": 0,
                    "units": 0,
                },
            )
            cell["customers"] += row["customers"]
            cell["units"] += int(row["units"])
        return [
            cell | {"monetary": money_of(cell.pop("units"))} for _, cell in sorted(cells.items())
        ]

    return queries.remembered(key, make)


def risk_cells(queries: Queries, snapshot: Snapshot) -> list[Row]:
    """Customers of each churn-aware segment and risk level."""
    key = (snapshot.table, snapshot.version, "risk cells")

    def make() -> list[Row]:
        grouped = queries.rows(snapshot).group_by("segment", "churn_risk_level")
        counted = grouped.agg(nw.len().alias("customers"))
        return collect_rows(counted.sort("segment", "churn_risk_level"))

    return queries.remembered(key, make)


def bins(
    queries: Queries, snapshot: Snapshot, column: str, *, ends: tuple[float, float] | None = None
) -> list[Row]:
    """Customers by equal steps of a column, as `low`, `high` and `customers`.

    Without `ends`, from zero (or the least value, if it is less) to the 99 % value rounded up; the
    last bin has everybody above.
    """
    key = (snapshot.table, snapshot.version, "bins", column, ends)

    def make() -> list[Row]:
        value = nw.col(column).cast(nw.Float64)
        known = queries.rows(snapshot).filter(~value.is_null())
        low, high = ends or _ends(known, value)
        if not high > low:
            return []
        number = ((value - low) / ((high - low) / BINS)).floor()
        number = nw.when(number > BINS - 1).then(nw.lit(float(BINS - 1))).otherwise(number)
        number = nw.when(number < 0).then(nw.lit(0.0)).otherwise(number).cast(nw.Int32)
        found = collect_rows(
            known.select(number.alias("bin")).group_by("bin").agg(nw.len().alias("customers"))
        )
        counts = {row["bin"]: row["customers"] for row in found}
        edges = [low + (high - low) * step / BINS for step in range(BINS + 1)]
        return [
            {"low": edges[i], "high": edges[i + 1], "customers": counts.get(i, 0)}
            for i in range(BINS)
        ]

    return queries.remembered(key, make)


def _ends(rows: nw.LazyFrame, value: nw.Expr) -> tuple[float, float]:
    found = collect_rows(
        rows.select(value.min().alias("low"), value.quantile(0.99, "linear").alias("high"))
    )[0]
    if found["high"] is None:
        return 0.0, 0.0
    low = min(found["low"], 0.0)
    width = max(found["high"] - low, 1e-9) / BINS
    # A step that people can read: 1, 2, 2.5 or 5 times a power of ten.
    power = 10 ** math.floor(math.log10(width))
    step = next(one * power for one in (1, 2, 2.5, 5, 10) if one * power >= width)
    first = math.floor(low / step) * step
    return first, first + step * BINS


def lifetime_totals(queries: Queries, snapshot: Snapshot) -> Row:
    """Customers, total, mean and median lifetime value, and the share of the best tenth."""
    key = (snapshot.table, snapshot.version, "lifetime totals")

    def make() -> Row:
        value = nw.col("lifetime_value")
        known = queries.rows(snapshot).filter(~value.is_null())
        units, alive = to_units(value), to_units(nw.col("probability_alive"))
        found = collect_rows(
            known.select(
                nw.len().alias("customers"),
                units.sum().cast(nw.Int64).alias("units"),
                alive.sum().cast(nw.Int64).alias("alive"),
                value.quantile(0.5, "linear").alias("median"),
                value.quantile(0.9, "linear").alias("tenth"),
            )
        )[0]
        customers = found["customers"]
        if not customers:
            return dict.fromkeys(("total", "mean", "median", "alive", "top_tenth_pct")) | {
                "customers": 0
            }
        best = collect_rows(
            known.filter(value > found["tenth"]).select(units.sum().cast(nw.Int64).alias("units"))
        )[0]["units"]
        return {
            "customers": customers,
            "total": money_of(found["units"]),
            "mean": money_of(found["units"]) / customers,
            "median": found["median"],
            "alive": money_of(found["alive"]) / customers,
            "top_tenth_pct": 100 * (best or 0) / found["units"] if found["units"] else None,
        }

    return queries.remembered(key, make)
