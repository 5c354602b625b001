"""Charts of the segments of one snapshot: shares, value, scores, comparison."""

from collections.abc import Sequence

import plotly.graph_objects as go

from rfm_assets.serving.charts.base import (
    NEUTRAL,
    SEQUENTIAL,
    Chart,
    Column,
    Palette,
    Row,
    count,
    laid_out,
    on_color,
    paired_shares,
    percent,
    shown,
)


def shares(rows: Sequence[Row], palette: Palette) -> Chart:
    """Share of customers in each segment beside what is typical of the industry."""
    ordered = sorted(rows, key=lambda r: (r["customers"], r["segment"]))
    largest = max(rows, key=lambda r: (r["customers"], r["segment"]), default=None)
    outside = [r for r in rows if _outside(r)]
    names = [palette.name(r["segment"]) for r in ordered]
    figure = go.Figure(
        go.Bar(
            x=[r["customers_pct"] for r in ordered],
            y=names,
            orientation="h",
            marker_color=[palette.color(r["segment"]) for r in ordered],
            text=[percent(r["customers_pct"]) for r in ordered],
            textposition="outside",
            cliponaxis=False,
            customdata=[r["customers"] for r in ordered],
            hovertemplate="%{y}: %{customdata:,} customers, %{x:.1f} %<extra></extra>",
            showlegend=False,
        )
    )
    typical = [r for r in ordered if r.get("benchmark_low_pct") is not None]
    for row in typical:
        name = palette.name(row["segment"])
        figure.add_shape(
            type="rect",
            x0=row["benchmark_low_pct"],
            x1=row["benchmark_high_pct"],
            y0=names.index(name) - 0.47,
            y1=names.index(name) + 0.47,
            line={"color": NEUTRAL, "width": 1.5, "dash": "dot"},
            fillcolor="rgba(134,142,150,0.12)",
            layer="below",
        )
    most = max((r["customers_pct"] for r in rows), default=1)
    top = max([most * 1.18, *(r["benchmark_high_pct"] * 1.05 for r in typical)])
    laid_out(figure, height=max(240, 36 * len(rows) + 40), xaxis_range=[0, top])
    figure.update_xaxes(ticksuffix=" %")
    figure.update_yaxes(range=[-0.6, len(rows) - 0.4])
    finding = "Nobody is in a segment"
    if largest is not None and largest["customers"]:
        finding = (
            f"{palette.name(largest['segment'])} is the largest segment, "
            f"with {percent(largest['customers_pct'])} of the customers"
        )
        if outside:
            finding += f"; {len(outside)} of {len(typical)} lie outside what is typical"
    return Chart(
        key="shares",
        finding=finding,
        figure=figure,
        height=max(240, 36 * len(rows) + 40),
        columns=(
            Column("segment", "Segment"),
            Column("customers", "Customers", 0),
            Column("customers_pct", "Share, %", 1),
            Column("customers_change", "Change", 0),
            Column("benchmark_low_pct", "Typical from, %", 0),
            Column("benchmark_high_pct", "Typical to, %", 0),
        ),
        rows=palette.named(reversed(ordered)),
        about="Share of all customers. A dotted box is the range typical of the industry, as "
        "information: a share outside it is no error."
        if typical
        else "Share of all customers.",
    )


def _outside(row: Row) -> bool:
    low, high = row.get("benchmark_low_pct"), row.get("benchmark_high_pct")
    return low is not None and high is not None and not low <= row["customers_pct"] <= high


def value(rows: Sequence[Row], palette: Palette) -> Chart:
    """Each segment's share of spend beside its share of customers."""
    known = [r for r in rows if r["monetary_pct"] is not None]
    ordered = sorted(known, key=lambda r: (r["monetary_pct"], r["segment"]))
    names = [palette.name(r["segment"]) for r in ordered]
    figure, height = paired_shares(
        names, [r["customers_pct"] for r in ordered], [r["monetary_pct"] for r in ordered]
    )
    finding = "There is no spend to share out"
    if ordered:
        top = ordered[-1]
        finding = (
            f"{palette.name(top['segment'])}: {percent(top['customers_pct'])} of the customers "
            f"bring {percent(top['monetary_pct'])} of the spend"
        )
    return Chart(
        key="value",
        finding=finding,
        figure=figure if ordered else None,
        height=height,
        columns=(
            Column("segment", "Segment"),
            Column("monetary_total", "Net spend", 2),
            Column("monetary_pct", "Share of spend, %", 1),
            Column("customers_pct", "Share of customers, %", 1),
            Column("monetary_mean", "Mean spend", 2),
        ),
        rows=palette.named(reversed(ordered)),
        about="Net spend in the observation window, refunds taken off.",
    )


def treemap(rows: Sequence[Row], palette: Palette) -> Chart:
    """Segments as areas of their customers."""
    present = [r for r in rows if r["customers"]]
    ordered = sorted(present, key=lambda r: (-r["customers"], r["segment"]))
    figure = go.Figure(
        go.Treemap(
            labels=[palette.name(r["segment"]) for r in ordered],
            parents=[""] * len(ordered),
            values=[r["customers"] for r in ordered],
            # The area around all of them has no text and needs no room.
            marker={
                "colors": [palette.color(r["segment"]) for r in ordered],
                "pad": {"t": 0, "l": 0, "r": 0, "b": 0},
                "line": {"width": 1, "color": NEUTRAL},
            },
            # As `textfont`, a list of colours makes plotly.js warn of one that is no colour.
            insidetextfont={
                "color": [on_color(palette.color(r["segment"])) for r in ordered],
                "size": 14,
            },
            texttemplate="%{label}<br>%{value:,}<br>%{percentRoot:.1%}",
            hovertemplate="%{label}: %{value:,} customers, %{percentRoot:.1%}<extra></extra>",
            tiling={"pad": 2},
            sort=False,
            pathbar={"visible": False},
        )
    )
    laid_out(figure, height=360, margin={"l": 0, "r": 0, "t": 0, "b": 0})
    top = ordered[:3]
    together = sum(r["customers_pct"] for r in top)
    names = ", ".join(palette.name(r["segment"]) for r in top)
    return Chart(
        key="treemap",
        finding=f"{names}: together {percent(together)} of all customers" if top else "Nobody",
        figure=figure if ordered else None,
        columns=(
            Column("segment", "Segment"),
            Column("customers", "Customers", 0),
            Column("customers_pct", "Share, %", 1),
        ),
        rows=palette.named(ordered),
        about="The area of a segment is its number of customers.",
    )


def score_grid(cells: Sequence[Row], *, scale: int, palette: Palette) -> Chart:
    """Customers by recency and frequency score."""
    total = sum(c["customers"] for c in cells)
    by_place = {(c["F_score"], c["R_score"]): c for c in cells}
    scores = list(range(1, scale + 1))
    numbers = [[by_place.get((f, r), {}).get("customers", 0) for r in scores] for f in scores]
    names = [
        [palette.name(by_place[f, r]["segment"]) if (f, r) in by_place else "" for r in scores]
        for f in scores
    ]
    figure = go.Figure(
        go.Heatmap(
            z=numbers,
            x=scores,
            y=scores,
            colorscale=SEQUENTIAL,
            customdata=names,
            xgap=2,
            ygap=2,
            texttemplate="%{z:,}" if scale <= 6 else None,  # noqa: PLR2004 (as many as fit)
            hovertemplate="R %{x}, F %{y}: %{z:,} customers, most of them %{customdata}"
            "<extra></extra>",
            colorbar={"title": {"text": "customers", "font": {"size": 13}}, "thickness": 12},
        )
    )
    laid_out(figure, height=380)
    figure.update_xaxes(title="recency score, 1 long ago to best", dtick=1, showgrid=False)
    figure.update_yaxes(title="frequency score, 1 seldom to best", dtick=1, showgrid=False)
    best = by_place.get((scale, scale), {}).get("customers", 0)
    worst = sum(by_place.get((1, r), {}).get("customers", 0) for r in scores)
    finding = "Nobody has scores"
    if total:
        finding = (
            f"{percent(100 * best / total)} have the best recency and frequency; "
            f"{percent(100 * worst / total)} have the lowest frequency"
        )
    return Chart(
        key="score-grid",
        finding=finding,
        figure=figure,
        height=380,
        columns=(
            Column("R_score", "R score", 0),
            Column("F_score", "F score", 0),
            Column("customers", "Customers", 0),
            Column("monetary", "Net spend", 2),
            Column("segment", "Most common segment"),
        ),
        rows=palette.named(cells),
        about="Bluer is more customers. The scores are made of this snapshot's cut points.",
    )


def comparison(rows: Sequence[Row], palette: Palette) -> Chart:
    """All figures of the segments side by side, as a table."""
    ordered = sorted(rows, key=lambda r: palette.place(r["segment"]))
    valued = [r for r in ordered if r["monetary_mean"] is not None]
    best = max(valued, key=lambda r: r["monetary_mean"], default=None)
    return Chart(
        key="comparison",
        finding=(
            f"{palette.name(best['segment'])} spend most: {shown(best['monetary_mean'], 2)} on average"
            if best
            else "There is no spend to compare"
        ),
        figure=None,
        columns=(
            Column("segment", "Segment"),
            Column("customers", "Customers", 0),
            Column("customers_pct", "Share, %", 1),
            Column("customers_change", "Change", 0),
            Column("monetary_total", "Net spend", 2),
            Column("monetary_pct", "Share of spend, %", 1),
            Column("monetary_mean", "Mean spend", 2),
            Column("recency_mean", "Mean days since purchase", 1),
            Column("frequency_mean", "Mean purchases", 1),
            Column("success_hours", "Success hours", 1),
            Column("loyalty_tier", "Loyalty tier"),
        ),
        rows=palette.named(ordered),
        about="Means are over the segment's customers. Success hours share out the weekly budget "
        "by value.",
    )


def over_time(rows: Sequence[Row], palette: Palette) -> Chart:
    """Customers of each segment at each date."""
    segments = sorted({r["segment"] for r in rows}, key=palette.place)
    dates = sorted({r["as_of"] for r in rows})
    by_place = {(r["segment"], r["as_of"]): r["customers"] for r in rows}
    figure = go.Figure()
    for segment in segments:
        figure.add_scatter(
            x=dates,
            y=[by_place.get((segment, day), 0) for day in dates],
            name=palette.name(segment),
            stackgroup="all",
            mode="lines",
            line={"width": 1, "color": NEUTRAL},
            fillcolor=palette.color(segment),
            hovertemplate="%{x|%d %b %Y}: %{y:,} customers<extra>%{fullData.name}</extra>",
        )
    laid_out(figure, height=420, hovermode="closest")
    totals = [sum(by_place.get((s, day), 0) for s in segments) for day in dates]
    finding = "There is one snapshot only"
    if len(dates) > 1 and totals[0]:
        change = 100 * (totals[-1] - totals[0]) / totals[0]
        grown = max(segments, key=lambda s: _growth(by_place, s, dates))
        finding = (
            f"Customers went from {count(totals[0])} to {count(totals[-1])} ({change:+.1f} %) in "
            f"{len(dates)} snapshots; {palette.name(grown)} grew most"
        )
    return Chart(
        key="over-time",
        finding=finding,
        figure=figure if len(dates) > 1 else None,
        height=420,
        least_width=560,
        columns=(
            Column("as_of", "As of"),
            *(Column(segment, palette.name(segment), 0) for segment in segments),
        ),
        rows=[
            {"as_of": str(day), **{s: by_place.get((s, day), 0) for s in segments}}
            for day in reversed(dates)
        ],
        about="Each snapshot describes its date alone: later purchases are invisible to it.",
    )


def _growth(by_place: dict[tuple[str, object], int], segment: str, dates: Sequence[object]) -> int:
    return by_place.get((segment, dates[-1]), 0) - by_place.get((segment, dates[0]), 0)
