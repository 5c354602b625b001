"""The metrics of an industry profile: one number per customer and window, on any engine.

What is made of them does not belong here (`behavior.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import narwhals as nw

from rfm_assets.domain.behavior_profiles import (
    BEFORE,
    BUILT_IN,
    HISTORY,
    Metric,
    Profile,
    SourceName,
)
from rfm_assets.domain.expressions import parse
from rfm_assets.domain.frames import TYPES, UNITS_PER_MONEY, Table, kinds_of
from rfm_assets.domain.kinds import Kind
from rfm_assets.domain.money import exact_ratio, from_units, to_units
from rfm_assets.errors import ColumnMissing

LARGEST = 1e9
"""A number of a row beyond this is an error of the source; the customer's rows are not used."""


@dataclass(frozen=True)
class Sources:
    """What the metrics are made from, with the profile's own names.

    Attributes:
        tables: By source: customer_id, day, the built-in columns and the attributes there are.
        reasons: Why a source or an attribute is not there, by `source` or `source.attribute`.
        occurring: The events that ever occur before `as_of`.
    """

    tables: Mapping[SourceName, Table]
    reasons: Mapping[str, str]
    occurring: frozenset[str]

    @classmethod
    def of(
        cls,
        profile: Profile,
        *,
        events: Table | None,
        transactions: Table | None,
        end: int,
        event_names: Mapping[str, str],
        columns: Mapping[SourceName, Mapping[str, str]],
    ) -> Sources:
        """The sources as the profile calls them; what is not mapped is told."""
        given: dict[SourceName, Table | None] = {"events": events, "transactions": transactions}
        tables: dict[SourceName, Table] = {}
        reasons: dict[str, str] = {}
        for source, table in given.items():
            if table is None:
                reasons[source] = f"no {source} are given"
                continue
            _require_columns(table, source)
            known = kinds_of(table)
            taken: dict[str, nw.Expr] = {}
            for name, declared in profile.inputs(source).items():
                column = columns[source].get(name, name)
                if column not in known:
                    reasons[f"{source}.{name}"] = f"the {source} have no column {column!r}"
                elif declared.kind not in {known[column], "text"}:
                    reasons[f"{source}.{name}"] = (
                        f"column {column!r} of the {source} is a {known[column]}, not a "
                        f"{declared.kind}"
                    )
                else:
                    taken[name] = nw.col(column).cast(TYPES[declared.kind])
            own = [name for name in BUILT_IN[source] if name != "event"]
            if source == "events":
                taken["event"] = _renamed(event_names)
            past = table.filter(nw.col("day") < end)
            tables[source] = past.select("customer_id", "day", *own, **taken)
        occurring: frozenset[str] = frozenset()
        if "events" in tables:
            kinds = tables["events"].group_by("event").agg(nw.len().alias("rows"))
            occurring = frozenset(kinds.collect("pyarrow").get_column("event").to_list())
        return cls(tables, reasons, occurring)


def _require_columns(table: Table, source: SourceName) -> None:
    known = table.collect_schema().names()
    key = "events_asset_key" if source == "events" else "transaction_data_asset_key"
    for name in ("customer_id", "day", *BUILT_IN[source]):
        if name not in known:
            raise ColumnMissing(column=name, table=source, available=known, key=key)


def _renamed(event_names: Mapping[str, str]) -> nw.Expr:
    """The profile's name of each event; others keep their own.

    What is called like one of the profile's events that is mapped to another is none of them.
    """
    event = nw.col("event")
    if not event_names:
        return event
    taken = event.is_in(list(event_names)).fill_null(value=False)
    found = nw.when(taken).then(nw.lit(None, dtype=nw.String)).otherwise(event)
    for name, here in event_names.items():
        found = nw.when(event == here).then(nw.lit(name)).otherwise(found)
    return found


def unavailable_metrics(profile: Profile, sources: Sources) -> dict[str, str]:
    """The metrics that cannot be computed from these sources, and why."""
    found: dict[str, str] = {}
    for name, metric in profile.metrics.items():
        needed = [metric.source, *(f"{metric.source}.{column}" for column in metric.columns)]
        reasons = [sources.reasons[one] for one in needed if one in sources.reasons]
        if not reasons and metric.event and not sources.occurring & set(metric.event):
            listed = " or ".join(repr(event) for event in metric.event)
            reasons = [f"the event {listed} never occurs"]
        if reasons:
            found[name] = reasons[0]
    return found


def metric_columns(
    profile: Profile,
    sources: Sources,
    missing: Mapping[str, str],
    *,
    seen: Table,
    end: int,
    checkpoint: Callable[[Table], Table],
) -> Table:
    """The `population` with the metrics and unusable_rows (Int64).

    Metrics are Float64, null where the customer has no row that could be measured.
    """
    found = seen
    bad: list[str] = []
    for source, table in sources.tables.items():
        metrics = {
            name: one
            for name, one in profile.metrics.items()
            if one.source == source and name not in missing
        }
        if not metrics:
            continue
        longest = 2 * max(profile.days(name) for name in metrics)
        rows = table.filter(nw.col("day") >= end - longest)
        simple = {n: m for n, m in metrics.items() if m.measure not in _BY_VALUE}
        if simple:
            bad.append(f"unusable_{source}")
            grouped = _simple(profile, source, rows, simple, end).rename(
                {"unusable_rows": f"unusable_{source}"}
            )
            found = found.join(checkpoint(grouped), on="customer_id", how="left")
        for name in [name for name in metrics if name not in simple]:
            by_value = _by_value(profile, rows, name, end=end)
            found = found.join(checkpoint(by_value), on="customer_id", how="left")
    unusable = nw.lit(0, dtype=nw.Int64)
    for column in bad:
        unusable = unusable + nw.col(column).fill_null(0)
    return found.with_columns(unusable_rows=unusable)


def population(sources: Sources, *, end: int, since: int) -> Table:
    """One row per customer seen since a day: customer_id and history_days (Float64)."""
    seen = [
        table.group_by("customer_id").agg(
            nw.col("day").min().alias("first"), nw.col("day").max().alias("last")
        )
        for table in sources.tables.values()
    ]
    both = (
        (nw.concat(seen) if len(seen) > 1 else seen[0])
        .group_by("customer_id")
        .agg(nw.col("first").min(), nw.col("last").max())
    )
    history = (nw.lit(end) - nw.col("first")).cast(nw.Float64)
    return both.filter(nw.col("last") >= since).select("customer_id", history.alias(HISTORY))


_BY_VALUE = frozenset({"days", "distinct", "repeated"})


def _condition(profile: Profile, metric: Metric) -> nw.Expr:
    condition = ~nw.col("customer_id").is_null()
    if metric.event is not None:
        condition = condition & nw.col("event").is_in(list(metric.event)).fill_null(value=False)
    if metric.where is not None:
        condition = condition & parse(metric.where).to_narwhals(profile.kinds(metric.source))
    return condition


def _windows(profile: Profile, name: str, end: int) -> dict[str, nw.Expr]:
    """Whether a row is in the last window, and in the one before, by the metric's column."""
    days, day = profile.days(name), nw.col("day")
    return {
        name: (day >= end - days) & (day < end),
        f"{name}{BEFORE}": (day >= end - 2 * days) & (day < end - days),
    }


def _simple(
    profile: Profile, source: SourceName, rows: Table, metrics: Mapping[str, Metric], end: int
) -> Table:
    """Counts, sums, means, extremes and shares, in one pass over the rows."""
    kinds: dict[str, Kind] = profile.kinds(source)
    columns: dict[str, nw.Expr] = {}
    unusable = nw.lit(value=False)
    finished: dict[str, nw.Expr] = {}
    aggregates: dict[str, str] = {}
    for name, metric in metrics.items():
        condition = _condition(profile, metric)
        value = nw.lit(0.0)
        usable = nw.lit(value=True)
        if metric.measure in {"sum", "mean", "min", "max"}:
            value = parse(metric.of or "").to_narwhals(kinds)
            usable = ~value.is_null() & (value.abs() <= LARGEST)
            unusable = unusable | (~value.is_null() & (value.abs() > LARGEST) & condition)
            # pandas turns all into whole numbers before it chooses among them.
            value = nw.when(usable).then(value).otherwise(0.0)
        elif metric.measure == "share":
            usable = parse(metric.of or "").to_narwhals(kinds)
        for column, window in _windows(profile, name, end).items():
            here = condition & window
            units = nw.when(here & usable).then(to_units(value))
            number, total, rows_of = f"n:{column}", f"s:{column}", f"r:{column}"
            match metric.measure:
                case "count":
                    columns[number] = here.cast(nw.Int64)
                    finished[column] = nw.col(number).cast(nw.Float64)
                    aggregates[number] = "sum"
                case "sum":
                    columns[total] = units.otherwise(nw.lit(0))
                    finished[column] = from_units(nw.col(total))
                    aggregates[total] = "sum"
                case "min" | "max":
                    # As floats, which hold them exactly: pandas has no whole number that is null.
                    exact = nw.when(here & usable).then(to_units(value).cast(nw.Float64))
                    columns[total] = exact.otherwise(nw.lit(None, dtype=nw.Float64))
                    finished[column] = exact_ratio(nw.col(total), UNITS_PER_MONEY)
                    aggregates[total] = metric.measure
                case "mean":
                    columns[total] = units.otherwise(nw.lit(0))
                    columns[number] = (here & usable).cast(nw.Int64)
                    aggregates |= {total: "sum", number: "sum"}
                    finished[column] = _ratio(from_units(nw.col(total)), nw.col(number))
                case _:
                    columns[number] = (here & usable).cast(nw.Int64)
                    columns[rows_of] = here.cast(nw.Int64)
                    aggregates |= {number: "sum", rows_of: "sum"}
                    finished[column] = _ratio(nw.col(number).cast(nw.Float64), nw.col(rows_of))
    columns["unusable_rows"] = unusable.cast(nw.Int64)
    aggregates["unusable_rows"] = "sum"
    of: dict[str, list[str]] = {}
    for column, aggregate in aggregates.items():
        of.setdefault(aggregate, []).append(column)
    made = {"sum": nw.Expr.sum, "min": nw.Expr.min, "max": nw.Expr.max}
    grouped = (
        rows.select("customer_id", **columns)
        .group_by("customer_id")
        .agg(*[made[aggregate](nw.col(*names)) for aggregate, names in of.items()])
    )
    whole = grouped.with_columns(nw.col(*of["sum"]).cast(nw.Int64))
    return whole.select("customer_id", "unusable_rows", **finished)


def _ratio(numerator: nw.Expr, denominator: nw.Expr) -> nw.Expr:
    """Null where there is nothing to divide by."""
    some = denominator > 0
    return (
        nw.when(some)
        .then(numerator / denominator.cast(nw.Float64))
        .otherwise(nw.lit(None, dtype=nw.Float64))
    )


def _by_value(profile: Profile, rows: Table, name: str, *, end: int) -> Table:
    """Days with a row, distinct values, and the share of rows whose value is no new one."""
    metric, value = profile.metrics[name], nw.col("day")
    if metric.measure != "days":
        value = parse(metric.of or "").to_narwhals(profile.kinds(metric.source))
    now, before = _windows(profile, name, end).values()
    kept = rows.filter(_condition(profile, metric)).select(
        "customer_id", value=value, now=now.cast(nw.Int64), before=before.cast(nw.Int64)
    )
    each = (
        kept.filter(~nw.col("value").is_null())
        .group_by("customer_id", "value")
        .agg(nw.col("now", "before").sum())
    )
    here, then = nw.col("now") > 0, nw.col("before") > 0
    if metric.measure != "repeated":
        counted = each.select("customer_id", now=here.cast(nw.Int64), before=then.cast(nw.Int64))
        summed = counted.group_by("customer_id").agg(nw.col("now", "before").sum())
        return summed.select(
            "customer_id",
            **{
                name: nw.col("now").cast(nw.Float64),
                f"{name}{BEFORE}": nw.col("before").cast(nw.Float64),
            },
        )
    again = each.select(
        "customer_id",
        "now",
        "before",
        again=nw.when(then).then(nw.col("now")).otherwise(nw.lit(0)),
    )
    summed = again.group_by("customer_id").agg(nw.col("now", "before", "again").sum())
    known = (nw.col("now") > 0) & (nw.col("before") > 0)
    share = nw.col("again").cast(nw.Float64) / nw.col("now").cast(nw.Float64)
    return summed.select(
        "customer_id",
        **{
            name: nw.when(known).then(share).otherwise(nw.lit(None, dtype=nw.Float64)),
            f"{name}{BEFORE}": nw.lit(None, dtype=nw.Float64),
        },
    )
