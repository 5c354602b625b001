"""Charts of who moved between segments from one snapshot to another."""

from collections.abc import Sequence

import plotly.graph_objects as go

from rfm_assets.domain.history import LEFT, NEW
from rfm_assets.serving.charts.base import (
    NEUTRAL,
    SEQUENTIAL,
    Chart,
    Column,
    Palette,
    Row,
    count,
    laid_out,
    percent,
)
from rfm_assets.serving.history import stayed

LARGEST = 30
"""Flows that can be told apart in one picture."""

_COLUMNS = (
    Column("from_segment", "From"),
    Column("to_segment", "To"),
    Column("customers", "Customers", 0),
    Column("monetary_before", "Spend before", 2),
    Column("monetary_now", "Spend now", 2),
)


def matrix(rows: Sequence[Row], palette: Palette) -> Chart:
    """Every pair of segments; the diagonal, who stayed, is left out of the colours."""
    names = {r["from_segment"] for r in rows} | {r["to_segment"] for r in rows}
    ordered = sorted(names - {NEW, LEFT}, key=palette.place)
    before, now = [*ordered, NEW], [*ordered, LEFT]
    by_place = {(r["from_segment"], r["to_segment"]): r["customers"] for r in rows}
    figure = go.Figure(
        go.Heatmap(
            z=[[by_place.get((a, b)) if a != b else None for b in now] for a in reversed(before)],
            x=[palette.name(b) for b in now],
            y=[palette.name(a) for a in reversed(before)],
            colorscale=SEQUENTIAL,
            xgap=2,
            ygap=2,
            texttemplate="%{z:,}",
            showscale=False,
            hoverongaps=False,
            hovertemplate="%{y} → %{x}: %{z:,} customers<extra></extra>",
        )
    )
    # The labels lean to the right, beyond the last column.
    laid_out(figure, height=480, margin={"l": 8, "r": 48, "t": 8, "b": 8})
    figure.update_xaxes(side="top", tickangle=-40, showgrid=False)
    figure.update_yaxes(showgrid=False)
    stayers, total = stayed(rows)
    return Chart(
        key="matrix",
        finding=f"{percent(100 * stayers / total)} of {count(total)} customers stayed where they were"
        if total
        else "Nobody moved, and nobody stayed",
        figure=figure if rows else None,
        height=480,
        least_width=560,
        columns=_COLUMNS,
        rows=[_named(r, palette) for r in rows],
        about="From the row to the column. Those who stayed are in the table only.",
    )


def flows(rows: Sequence[Row], palette: Palette) -> Chart:
    """The largest moves as a flow from before to now."""
    moved = sorted(
        (r for r in rows if r["from_segment"] != r["to_segment"]),
        key=lambda r: (-r["customers"], r["from_segment"], r["to_segment"]),
    )
    drawn = moved[:LARGEST]
    before = sorted({r["from_segment"] for r in drawn}, key=palette.place)
    now = sorted({r["to_segment"] for r in drawn}, key=palette.place)
    places = {("before", s): i for i, s in enumerate(before)}
    places |= {("now", s): len(before) + i for i, s in enumerate(now)}
    figure = go.Figure(
        go.Sankey(
            node={
                "label": [palette.name(s) for s in [*before, *now]],
                "color": [palette.color(s) for s in [*before, *now]],
                "pad": 12,
                "thickness": 14,
                # Colours as dark or as light as the page keep an outline.
                "line": {"width": 1, "color": NEUTRAL},
            },
            link={
                "source": [places["before", r["from_segment"]] for r in drawn],
                "target": [places["now", r["to_segment"]] for r in drawn],
                "value": [r["customers"] for r in drawn],
                "color": [_faint(palette.color(r["from_segment"])) for r in drawn],
            },
        )
    )
    laid_out(figure, height=480, margin={"l": 8, "r": 8, "t": 16, "b": 16})
    top = drawn[0] if drawn else None
    return Chart(
        key="flows",
        finding=f"The largest move: {count(top['customers'])} customers from "
        f"{palette.name(top['from_segment'])} to {palette.name(top['to_segment'])}"
        if top
        else "Nobody moved",
        figure=figure if drawn else None,
        height=480,
        columns=_COLUMNS,
        rows=[_named(r, palette) for r in moved],
        about=f"The {len(drawn)} largest of {len(moved)} moves; the table has all.",
    )


def _faint(color: str) -> str:
    red, green, blue = (int(color[i : i + 2], 16) for i in (1, 3, 5))
    return f"rgba({red},{green},{blue},0.35)"


def _named(row: Row, palette: Palette) -> dict[str, object]:
    return {
        **row,
        "from_segment": palette.name(row["from_segment"]),
        "to_segment": palette.name(row["to_segment"]),
    }
