"""Charts of one campaign list: the waterfall, who is left out and why, who is on it."""

from collections.abc import Mapping, Sequence
from itertools import dropwhile

import plotly.graph_objects as go

from rfm_assets.serving.charts.base import (
    ACCENT,
    BAD,
    GOOD,
    NEUTRAL,
    Chart,
    Column,
    Palette,
    Row,
    count,
    counted_bars,
    laid_out,
    percent,
)


def waterfall(name: str, stages: Sequence[Row]) -> Chart:
    """How many customers each stage removes."""
    first, last = (stages[0]["left"], stages[-1]["left"]) if stages else (0, 0)
    eligible = next((s["left"] for s in stages if s["stage"] == "segments"), first)
    # Next to all customers, the stages after the audience could not be seen.
    drawn = [s for s in stages if s["stage"] != "all customers"]
    labels = ["audience" if s["stage"] == "segments" else str(s["stage"]) for s in drawn]
    figure = go.Figure(
        go.Waterfall(
            x=labels,
            measure=[
                "absolute" if i == 0 else "total" if i == len(drawn) - 1 else "relative"
                for i in range(len(drawn))
            ],
            y=[
                s["left"] if i in {0, len(drawn) - 1} else -s["removed"]
                for i, s in enumerate(drawn)
            ],
            text=[
                count(s["left"])
                if i in {0, len(drawn) - 1}
                else f"−{count(s['removed'])}"
                if s["removed"]
                else "0"
                for i, s in enumerate(drawn)
            ],
            textposition="outside",
            cliponaxis=False,
            decreasing_marker_color=BAD,
            totals_marker_color=GOOD,
            increasing_marker_color=ACCENT,
            connector={"line": {"width": 1, "color": "rgba(134,142,150,0.6)"}},
            hovertemplate="%{x}: %{text}<extra></extra>",
        )
    )
    laid_out(figure, height=380, showlegend=False)
    figure.update_yaxes(range=[0, eligible * 1.15 or 1])
    finding = f"Nobody is on {name}"
    if last:
        finding = f"{name}: {count(last)} customers can be contacted, {percent(100 * last / eligible)} of the audience"
    return Chart(
        key="waterfall",
        finding=finding,
        figure=figure if stages else None,
        height=380,
        columns=(
            Column("stage", "Stage"),
            Column("entered", "Entered", 0),
            Column("removed", "Removed", 0),
            Column("left", "Left", 0),
        ),
        rows=list(stages),
        about=f"Of {count(first)} customers in all, the audience is those in the campaign's segments. "
        "Each stage removes some with a reason; the last bar is who is left.",
    )


def reasons(counts: Mapping[str, int]) -> Chart:
    """Customers of the audience who are left out, by reason."""
    ordered = sorted(counts.items(), key=lambda pair: (pair[1], pair[0]))
    figure, height = counted_bars(ordered)
    top = ordered[-1] if ordered else None
    return Chart(
        key="reasons",
        finding=f"Most are left out because of: {top[0]}" if top else "Nobody is left out",
        figure=figure if ordered else None,
        height=height,
        columns=(Column("reason", "Reason"), Column("customers", "Customers", 0)),
        rows=[{"reason": reason, "customers": n} for reason, n in reversed(ordered)],
        about="Customers of the audience alone; each has one reason.",
    )


def outcomes(name: str, rows: Sequence[Row]) -> Chart:
    """What became of a list at each date, with the interval of the difference of buyers.

    Dates before its first list are left out.
    """
    rows = list(dropwhile(lambda row: row["deliverable"] is None, rows)) or rows
    drawn = [r for r in rows if r["buyer_rate_low"] is not None]
    colors = {"uplift": GOOD, "harm": BAD}
    value, low, high = (
        [100 * r[f"buyer_rate_{end}"] for r in drawn] for end in ("difference", "low", "high")
    )
    figure = go.Figure(
        go.Scatter(
            x=[r["list_as_of"] for r in drawn],
            y=value,
            mode="markers",
            marker={"size": 11, "color": [colors.get(r["verdict"], ACCENT) for r in drawn]},
            error_y={
                "type": "data",
                "symmetric": False,
                "array": [top - own for top, own in zip(high, value, strict=True)],
                "arrayminus": [own - bottom for own, bottom in zip(value, low, strict=True)],
                "color": NEUTRAL,
            },
            text=[r["verdict"] for r in drawn],
            hovertemplate="List of %{x|%d %b %Y}: %{y:+.2f} points, %{text}<extra></extra>",
        )
    )
    laid_out(figure, height=320, showlegend=False)
    figure.add_hline(y=0, line={"color": NEUTRAL, "dash": "dot", "width": 1})
    figure.update_xaxes(title="date of the list")
    figure.update_yaxes(title="more buyers than in control, points")
    latest = rows[-1] if rows else None
    return Chart(
        key="outcomes",
        finding=f"{name}, list of {latest['list_as_of']}: {latest['told']}"
        if latest
        else f"Nothing is known of what became of {name}",
        figure=figure if drawn else None,
        height=320,
        columns=(
            Column("list_as_of", "List of"),
            Column("verdict", "Verdict"),
            Column("deliverable", "List", 0),
            Column("control", "Control", 0),
            Column("rate", "List bought", 2, " %"),
            Column("control_rate", "Control bought", 2, " %"),
            Column("difference", "Difference, points", 2),
            Column("low", "at least", 2),
            Column("high", "at most", 2),
            Column("smallest", "Smallest uplift, points", 2),
            Column("spend_difference", "Spend more, per customer", 2),
            Column("spend_low", "Spend, at least", 2),
            Column("spend_high", "Spend, at most", 2),
            Column("reason", "Why not measurable"),
        ),
        rows=[_outcome_row(r) for r in reversed(rows)],
        about="Everybody on the list against its control group, in the weeks after it, by intention "
        "to treat. Bars are intervals: green is an uplift, red is harm, blue is no difference that is "
        "seen. The verdict is about buyers alone; nothing is claimed of spend.",
    )


_OUTCOME_RATES = {
    "rate": "buyer_rate_deliverable",
    "control_rate": "buyer_rate_control",
    "difference": "buyer_rate_difference",
    "low": "buyer_rate_low",
    "high": "buyer_rate_high",
    "smallest": "smallest_uplift",
}
"""Shares of 0..1 that the table shows in per cent."""


def _outcome_row(row: Row) -> dict[str, object]:
    shares = {name: row[stored] for name, stored in _OUTCOME_RATES.items()}
    return {
        **row,
        "list_as_of": str(row["list_as_of"]),
        "reason": row["reason"] or "",
        **{name: None if share is None else 100 * share for name, share in shares.items()},
    }


def sizes(rows: Sequence[Row], palette: Palette) -> Chart:
    """Deliverable customers of every list at each date."""
    names = sorted({str(r["list"]) for r in rows})
    figure = go.Figure()
    drawn: set[str] = set()
    for name, color in palette.apart(names).items():
        own = [r for r in rows if r["list"] == name]
        # There are more lists than colours; the second line of a colour is dotted.
        dash = "dot" if color in drawn else "solid"
        drawn.add(color)
        figure.add_scatter(
            x=[r["as_of"] for r in own],
            y=[r["customers"] for r in own],
            name=name,
            mode="lines+markers",
            line={"color": color, "dash": dash},
            hovertemplate="%{x|%d %b %Y}: %{y:,}<extra>%{fullData.name}</extra>",
        )
    laid_out(figure, height=320)
    figure.update_yaxes(rangemode="tozero")
    latest = {name: [r for r in rows if r["list"] == name][-1]["customers"] for name in names}
    largest = max(latest, key=lambda n: (latest[n], n), default=None)
    return Chart(
        key="sizes",
        finding=f"{largest} is the longest list, with {count(latest[largest])} customers"
        if largest
        else "There is no list",
        figure=figure if names else None,
        height=320,
        columns=(
            Column("as_of", "As of"),
            Column("list", "List"),
            Column("customers", "Customers", 0),
        ),
        rows=[{**r, "as_of": str(r["as_of"])} for r in reversed(rows)],
        about="Deliverable customers at each date. A list with a cool-off is short in the weeks after a long "
        "one: whoever was on it is left alone meanwhile.",
    )
