"""Charts of single customers: densities, samples, spreads, one customer's history."""

import itertools
from collections.abc import Mapping, Sequence

import plotly.graph_objects as go

from rfm_assets.serving.charts.base import (
    ACCENT,
    NEUTRAL,
    Chart,
    Column,
    Palette,
    Row,
    count,
    is_extreme,
    laid_out,
    scale_of,
    shown,
)
from rfm_assets.serving.views import QUANTILES, Density

LABELS: Mapping[str, str] = {
    "recency": "days since the last purchase",
    "frequency": "purchases",
    "monetary": "net spend",
    "RFM_score": "RFM score",
}


def scatter(found: Density | None, sample: Sequence[Row], total: int, palette: Palette) -> Chart:
    """All customers as a density, with a sample of them as points."""
    if found is None:
        return Chart("scatter", "There is nobody to show", None, (), ())
    x, y = found.x, found.y
    figure = go.Figure()
    figure.add_heatmap(
        z=[[n or None for n in line] for line in found.counts],
        x=x.edges,
        y=y.edges,
        colorscale=[[0, "rgba(134,142,150,0.15)"], [1, "rgba(134,142,150,0.9)"]],
        showscale=False,
        hovertemplate="%{z:,} customers<extra>all customers</extra>",
    )
    for segment in sorted({row["segment"] or "(none)" for row in sample}, key=palette.place):
        points = [row for row in sample if (row["segment"] or "(none)") == segment]
        figure.add_scatter(
            x=[row[x.column] for row in points],
            y=[row[y.column] for row in points],
            mode="markers",
            name=palette.name(segment),
            text=[row["customer_id"] for row in points],
            marker={
                "size": 7,
                "color": palette.color(segment),
                "opacity": 0.85,
                # Outlines take a browser a third of the time of the points, so only where they are needed.
                "line": {
                    "width": 0.5 if is_extreme(palette.color(segment)) else 0,
                    "color": NEUTRAL,
                },
            },
            hovertemplate=f"%{{text}}: {x.column} %{{x:,}}, {y.column} %{{y:,}}"
            "<extra>%{fullData.name}</extra>",
        )
    laid_out(figure, height=520, dragmode="zoom")
    figure.update_xaxes(title=LABELS.get(x.column, x.column), **scale_of(log=x.log))
    figure.update_yaxes(title=LABELS.get(y.column, y.column), **scale_of(log=y.log))
    dense = max(
        ((n, i, j) for j, line in enumerate(found.counts) for i, n in enumerate(line)),
        default=(0, 0, 0),
    )
    at_x, at_y = _centres(x.edges)[dense[1]], _centres(y.edges)[dense[2]]
    return Chart(
        key="scatter",
        finding=f"Customers lie thickest around {x.column} {shown(at_x, 0)} and "
        f"{y.column} {shown(at_y, 0)}",
        figure=figure,
        height=520,
        least_width=560,
        fixed=False,
        columns=(
            Column("customer_id", "Customer"),
            Column("segment", "Segment"),
            Column(x.column, x.column, 0),
            Column(y.column, y.column, 2 if y.column == "monetary" else 0),
        ),
        rows=[{**row, "segment": palette.name(row["segment"])} for row in sample[:200]],
        about=f"Grey is the density of all {count(total)} customers, points are a sample of "
        f"{count(len(sample))} of them, always the same ones. The table has the first 200 points."
        + (
            " What is not positive lies at the lower end of a logarithmic axis."
            if x.log or y.log
            else ""
        ),
    )


def _centres(edges: Sequence[float]) -> list[float]:
    return [(a + b) / 2 for a, b in itertools.pairwise(edges)]


def boxes(rows: Sequence[Row], column: str, palette: Palette, *, log: bool) -> Chart:
    """The spread of one value in each segment."""
    ordered = sorted(rows, key=lambda r: palette.place(r["segment"] or "(none)"))
    figure = go.Figure()
    for row in ordered:
        segment = row["segment"] or "(none)"
        low, q1, middle, q3, high = (row[f"{column}_{name}"] for name in QUANTILES)
        figure.add_box(
            x=[palette.name(segment)],
            q1=[q1],
            median=[middle],
            q3=[q3],
            lowerfence=[low],
            upperfence=[high],
            name=palette.name(segment),
            # Outlines that are seen on dark and on light, whatever the segment's colour.
            line={"color": NEUTRAL, "width": 1.5},
            fillcolor=palette.color(segment),
            showlegend=False,
        )
    laid_out(figure, height=420)
    figure.update_yaxes(title=LABELS.get(column, column), **scale_of(log=log))
    middles = {r["segment"] or "(none)": r[f"{column}_p50"] for r in ordered}
    best = max(middles, key=lambda s: (middles[s], s), default=None)
    least = min(middles, key=lambda s: (middles[s], s), default=None)
    finding = "There is nobody to compare"
    if best is not None and least is not None:
        finding = (
            f"Median {LABELS.get(column, column)}: from {shown(middles[least], 0)} "
            f"({palette.name(least)}) to {shown(middles[best], 0)} ({palette.name(best)})"
        )
    return Chart(
        key=f"box-{column}",
        finding=finding,
        figure=figure if ordered else None,
        height=420,
        columns=(
            Column("segment", "Segment"),
            Column("n", "Customers", 0),
            Column(f"{column}_p05", "5 %", 2),
            Column(f"{column}_p25", "25 %", 2),
            Column(f"{column}_p50", "Median", 2),
            Column(f"{column}_p75", "75 %", 2),
            Column(f"{column}_p95", "95 %", 2),
        ),
        rows=palette.named(ordered),
        about="Boxes hold the middle half of the customers, whiskers nine of ten.",
    )


def _times(changes: int) -> str:
    if changes == 0:
        return "did not change"
    return "changed once" if changes == 1 else f"changed {changes} times"


def history(rows: Sequence[Row], palette: Palette) -> Chart:
    """One customer's spend and segment at each date."""
    figure = go.Figure()
    dates = [row["as_of"] for row in rows]
    figure.add_scatter(
        x=dates,
        y=[row["monetary"] for row in rows],
        mode="lines+markers",
        line={"color": ACCENT},
        marker={
            "size": 10,
            "color": [palette.color(row["segment"] or "(none)") for row in rows],
            "line": {"width": 1, "color": NEUTRAL},
        },
        text=[palette.name(row["segment"]) for row in rows],
        hovertemplate="%{x|%d %b %Y}: %{text}, net spend %{y:,.2f}<extra></extra>",
    )
    laid_out(figure, height=280)
    lowest = min((row["monetary"] for row in rows), default=0)
    figure.update_yaxes(
        title="net spend in the window", rangemode="tozero" if lowest >= 0 else "normal"
    )
    names = [row["segment"] for row in rows]
    changes = sum(1 for a, b in itertools.pairwise(names) if a != b)
    return Chart(
        key="history",
        finding=f"In {len(rows)} {'snapshot' if len(rows) == 1 else 'snapshots'}, the segment "
        f"{_times(changes)}"
        if rows
        else "No snapshot knows this customer",
        figure=figure if rows else None,
        height=280,
        columns=(
            Column("as_of", "As of"),
            Column("segment", "Segment"),
            Column("rfm_cell", "Cell"),
            Column("recency", "Recency", 0),
            Column("frequency", "Frequency", 0),
            Column("monetary", "Monetary", 2),
        ),
        rows=[
            {**row, "as_of": str(row["as_of"]), "segment": palette.name(row["segment"])}
            for row in reversed(rows)
        ],
        about="The points have the colour of the segment at that date.",
    )
