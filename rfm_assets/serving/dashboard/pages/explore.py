"""Recency, frequency and monetary of single customers: density, sample, spread."""

from typing import Any

from rfm_assets.serving.charts import customers as charts
from rfm_assets.serving.dashboard.parts import (
    chart_card,
    choice,
    controls,
    grid_of,
    missing,
    switch,
    title,
)
from rfm_assets.serving.dashboard.view import View
from rfm_assets.serving.views import density, quantiles, sample

VALUES = ("recency", "frequency", "monetary")


def page(view: View) -> list[Any]:
    """The values of one date."""
    snapshot = view.snapshot("customer_segments")
    if snapshot is None:
        return [title("Explore"), missing("snapshot of segments", "CustomerSegmentationComponent")]
    x = _chosen(view, "x", "recency")
    y = _chosen(view, "y", "monetary")
    log = {x: view.params.get("logx", "0") == "1", y: view.params.get("logy", "1") == "1"}
    options = [(name, charts.LABELS[name]) for name in VALUES]
    points = sample(view.queries, snapshot, [*VALUES, "segment"])
    found = density(view.queries, snapshot, x, y, log)
    spread = quantiles(view.queries, snapshot, VALUES)
    palette = view.palette
    total = snapshot.manifest.row_counts["rows"]
    return [
        title("Explore", f"What customers are like, as of {view.as_of}"),
        controls(
            choice("x", "Across", options, x),
            choice("y", "Up", options, y),
            switch("logx", "Logarithmic across", on=log[x]),
            switch("logy", "Logarithmic up", on=log[y]),
        ),
        grid_of(
            chart_card(charts.scatter(found, points, total, palette), span=12),
            *(
                chart_card(charts.boxes(spread, name, palette, log=name != "recency"), span=4)
                for name in VALUES
            ),
        ),
    ]


def _chosen(view: View, name: str, otherwise: str) -> str:
    value = view.params.get(name, otherwise)
    return value if value in VALUES else otherwise
