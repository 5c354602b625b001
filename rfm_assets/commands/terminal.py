"""Stored tables as a terminal shows them. What they say is computed elsewhere."""

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table as Grid
from rich.text import Text

if TYPE_CHECKING:
    import pandas as pd

    from rfm_assets.store import Snapshot, Store

# Names of segments and lists may hold brackets.
out = Console(highlight=False, markup=False)
# Messages hold brackets of their own, such as "rfm_assets[postgres]".
err = Console(stderr=True, highlight=False, soft_wrap=True, markup=False)


def red(text: str) -> Text:
    """A word that says that something is wrong."""
    return Text(text, style="red")


def print_json(content: Mapping[str, Any] | list[Any]) -> None:
    """For programs: one JSON document, dates as text, nothing wrapped."""
    print(json.dumps(content, default=str, ensure_ascii=False, indent=2))  # noqa: T201


def show_tables(snapshots: "Mapping[str, Snapshot]", store: "Store") -> None:
    """One snapshot of each table, those of a kind together."""
    kinds = {name: snapshot.manifest.kind for name, snapshot in snapshots.items()}
    for name, kind in kinds.items():
        if kind == "segment_summary":
            as_of = snapshots[name].as_of
            _show_summary(_rows_of(snapshots[name], store), str(as_of))
    for name, kind in kinds.items():
        if kind == "segment_movement":
            _show_movement(_rows_of(snapshots[name], store))
    for name, kind in kinds.items():
        if kind in _LEARNED:
            _LEARNED[kind](name, snapshots[name], store)
    lists = {name: snapshots[name] for name in snapshots if kinds[name] == "campaign_list"}
    if lists:
        _show_lists(lists)
    for name, kind in kinds.items():
        if kind == "suppression_list":
            _show_suppressed(name, snapshots[name])


def show_latest(store: "Store") -> None:
    """The newest snapshot of each kind of table that the project has."""
    show_tables({name: store.snapshot(name) for name in store.tables()}, store)


def show_rows(title: str, rows: "list[Mapping[str, Any]]", columns: "list[str]") -> None:
    """Any rows, as a grid."""
    grid = Grid(title=title, title_justify="left")
    for name in columns:
        numbers = any(isinstance(row[name], int | float) for row in rows)
        grid.add_column(name, justify="right" if numbers else "left")
    for row in rows:
        grid.add_row(*(_cell(row[name]) for name in columns))
    out.print(grid)


def _cell(value: object) -> str:
    if value is None:
        return ""
    return f"{value:,.2f}" if isinstance(value, float) else str(value)


def _rows_of(snapshot: "Snapshot", store: "Store", **choice: Any) -> "pd.DataFrame":
    from rfm_assets.loading import load_table

    as_of = "latest" if snapshot.as_of is None else snapshot.as_of
    return load_table(snapshot.table, as_of, root=store.root, **choice)


def _show_suppressed(name: str, snapshot: "Snapshot") -> None:
    from rfm_assets.domain.suppression import SUPPRESSION_REASONS

    counts = snapshot.manifest.counts
    reasons = ", ".join(f"{one} {counts[one]:,}" for one in counts if one in SUPPRESSION_REASONS)
    customers = snapshot.manifest.row_counts["rows"]
    out.print(f"{name}: {customers:,} customers ({reasons})\n")


def _show_lists(lists: "Mapping[str, Snapshot]") -> None:
    grid = Grid(title="Campaign lists", title_justify="left")
    for header in ("list", "stage", "removed", "left"):
        grid.add_column(header, justify="left" if header in {"list", "stage"} else "right")
    for name, snapshot in lists.items():
        for position, step in enumerate(snapshot.manifest.extra["waterfall"]):
            removed = f"{step['removed']:,}" if step["removed"] else ""
            grid.add_row("" if position else name, step["stage"], removed, f"{step['left']:,}")
        grid.add_section()
    out.print(grid)


def _show_summary(summary: "pd.DataFrame", as_of: str) -> None:
    grid = Grid(title=f"Segments as of {as_of}", title_justify="left")
    grid.add_column("segment")
    for header in ("customers", "share", "change", "mean spend", "share of spend"):
        grid.add_column(header, justify="right")
    for row in summary.sort_values("customers", ascending=False).itertuples():
        change = (
            ""
            if row.customers_change != row.customers_change
            else f"{int(row.customers_change):+,}"
        )
        mean = "" if row.monetary_mean != row.monetary_mean else f"{row.monetary_mean:,.2f}"
        share = "" if row.monetary_pct != row.monetary_pct else f"{row.monetary_pct:.1f} %"
        grid.add_row(
            str(row.segment),
            f"{row.customers:,}",
            f"{row.customers_pct:.1f} %",
            change,
            mean,
            share,
        )
    out.print(grid)


def _show_movement(movement: "pd.DataFrame") -> None:
    moved = movement[movement["from_segment"] != movement["to_segment"]]
    stayed = int(movement["customers"].sum() - moved["customers"].sum())
    grid = Grid(
        title=f"Largest movements since the week before ({stayed:,} customers stayed)",
        title_justify="left",
    )
    for header in ("from", "to"):
        grid.add_column(header)
    for header in ("customers", "spend now"):
        grid.add_column(header, justify="right")
    for row in (
        moved.sort_values(["customers", "from_segment"], ascending=[False, True])
        .head(6)
        .itertuples()
    ):
        grid.add_row(
            str(row.from_segment),
            str(row.to_segment),
            f"{row.customers:,}",
            f"{row.monetary_now:,.2f}",
        )
    out.print(grid)


def _show_clusters(name: str, snapshot: "Snapshot", store: "Store") -> None:
    del name
    rows = _rows_of(snapshot, store, part="profiles").drop_duplicates("cluster")
    grouped = rows.groupby("segment")[["customers", "customers_pct", "spend_pct"]].sum()
    grid = _counted(f"Clusters as of {snapshot.as_of}", "segment", "share of spend")
    for segment, row in grouped.sort_values("customers", ascending=False).iterrows():
        share = f"{row['spend_pct']:.1f} %"
        grid.add_row(
            str(segment), f"{int(row['customers']):,}", f"{row['customers_pct']:.1f} %", share
        )
    out.print(grid)


def _show_churn_aware(name: str, snapshot: "Snapshot", store: "Store") -> None:
    del name
    rows = _rows_of(snapshot, store, columns=["segment", "churn_probability"])
    grid = _counted(f"Segments by churn risk as of {snapshot.as_of}", "segment", "mean churn risk")
    grouped = rows.groupby("segment")["churn_probability"].agg(["size", "mean"])
    for segment, row in grouped.sort_values("size", ascending=False).iterrows():
        share = f"{100 * row['size'] / len(rows):.1f} %"
        grid.add_row(str(segment), f"{int(row['size']):,}", share, f"{row['mean']:.2f}")
    out.print(grid)


def _show_behavior(name: str, snapshot: "Snapshot", store: "Store") -> None:
    del name
    rows = _rows_of(snapshot, store, part="insights").sort_values("rank")
    grid = _counted(f"Risk signals as of {snapshot.as_of}", "signal", "unknown", "urgency")
    for row in rows.itertuples():
        grid.add_row(
            str(row.signal),
            f"{row.affected_customers:,}",
            f"{row.percentage:.1f} %",
            f"{row.unknown_customers:,}",
            str(row.urgency),
        )
    out.print(grid)


def _show_validation(name: str, snapshot: "Snapshot", store: "Store") -> None:
    del store
    out.print(f"{name}: {snapshot.manifest.extra['advice']}\n")


def _counted(title: str, what: str, *more: str) -> Grid:
    grid = Grid(title=title, title_justify="left")
    grid.add_column(what)
    for header in ("customers", "share", *more):
        grid.add_column(header, justify="right")
    return grid


_LEARNED = {
    "behavioral_segments": _show_clusters,
    "churn_aware_segments": _show_churn_aware,
    "customer_behavior": _show_behavior,
    "segment_validation": _show_validation,
}
"""How kinds of tables that are learned or judged are shown."""
