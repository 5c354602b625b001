"""Behaviour by industry: signals, trends, who is affected."""

from typing import Any

from dash import html

from rfm_assets.serving.charts import learned as charts
from rfm_assets.serving.charts.base import shown
from rfm_assets.serving.dashboard.parts import (
    chart_card,
    choice,
    controls,
    downloads,
    grid_of,
    missing,
    rows_grid,
    stat,
    stats,
    title,
)
from rfm_assets.serving.dashboard.view import View


def page(view: View) -> list[Any]:
    """The behaviour of one organisation's customers at one date."""
    tables = {one.table: one for one in view.snapshots("customer_behavior")}
    if not tables:
        return [title("Behaviour"), missing("analysis of behaviour", "BehaviorAnalysisComponent")]
    name = view.params.get("table", "")
    name = name if name in tables else min(tables)
    snapshot = tables[name]
    profile: Any = view.queries.catalogue.noted(snapshot, "profile") or {}
    mean: Any = view.queries.catalogue.noted(snapshot, "mean_score")
    unavailable: Any = view.queries.catalogue.noted(snapshot, "unavailable") or {}
    counts = snapshot.manifest.counts
    link = view.href("customers")
    link += ("&" if "?" in link else "?") + "customer="
    wanted = (
        "customer_id", "behavior_score", "activity_trend", "value_trend", "engagement_trend",
        "risk_signals", "signals_fired", "signals_unknown",
    )  # fmt: skip
    columns = view.queries.columns(snapshot)
    return [
        title("Behaviour", f"{profile.get('title', '')}, as of {view.as_of}"),
        controls(choice("table", "Analysis", [(one, one) for one in sorted(tables)], name))
        if len(tables) > 1
        else None,
        stats(
            stat("Customers", f"{snapshot.manifest.row_counts['rows']:,}"),
            stat("With a score", f"{counts.get('customers_with_score', 0):,}"),
            stat("Mean score", shown(mean, 1), "50 is as the window before"),
            stat("Signals that fired", f"{snapshot.manifest.row_counts.get('signals', 0):,}"),
        ),
        grid_of(
            chart_card(charts.signals(view.queries.whole(snapshot, "insights")), span=6),
            chart_card(charts.trends(counts), span=6),
        ),
        html.Details(
            [
                html.Summary(f"{len(unavailable)} metrics cannot be computed here"),
                html.Ul([html.Li(f"{metric}: {why}") for metric, why in unavailable.items()]),
            ],
            className="section",
        )
        if unavailable
        else None,
        html.H2("Customers", className="finding section"),
        downloads(view.prefix, snapshot),
        rows_grid(snapshot, {n: columns[n] for n in wanted if n in columns}, link=link, height=420),
    ]
