"""Charts of one number of every customer: lifetime value, the probability of churn."""

from collections.abc import Sequence

import plotly.graph_objects as go

from rfm_assets.serving.charts.base import (
    ACCENT,
    Chart,
    Column,
    Row,
    count,
    laid_out,
    percent,
    shown,
)


def lifetime(bins: Sequence[Row], totals: Row) -> Chart:
    """How the lifetime value is spread, and how much of it the most valuable customers have."""
    known = totals["customers"]
    best = totals["top_tenth_pct"]
    return _histogram(
        bins,
        key="lifetime",
        finding=f"A tenth of the customers will bring {percent(best)} of what all will spend"
        if known and best is not None
        else "Nobody has a lifetime value",
        unit="lifetime value",
        decimals=2,
        about="Spend that is expected over the horizon, discounted to the date of the report. What "
        f"was spent before is not in it. The last bar has everybody above; the mean is "
        f"{shown(totals['mean'], 2)}.",
    )


def churn(bins: Sequence[Row]) -> Chart:
    """How the probability of churn is spread."""
    total = sum(row["customers"] for row in bins)
    likely = sum(row["customers"] for row in bins if row["low"] >= 0.5)  # noqa: PLR2004
    return _histogram(
        bins,
        key="churn",
        finding=f"{percent(100 * likely / total)} of the customers are more likely to churn than not"
        if total
        else "Nobody has a churn score",
        unit="churn probability",
        decimals=2,
        about="That a customer does not buy within the horizon, from 0 to 1.",
    )


def _histogram(
    bins: Sequence[Row], *, key: str, finding: str, unit: str, decimals: int, about: str
) -> Chart:
    widths = [row["high"] - row["low"] for row in bins]
    figure = go.Figure(
        go.Bar(
            x=[row["low"] + width / 2 for row, width in zip(bins, widths, strict=True)],
            y=[row["customers"] for row in bins],
            width=widths,
            marker={"color": ACCENT, "line": {"width": 0}},
            customdata=[
                f"{shown(row['low'], decimals)} to {shown(row['high'], decimals)}" for row in bins
            ],
            hovertemplate="%{customdata}: %{y:,} customers<extra></extra>",
            showlegend=False,
        )
    )
    laid_out(figure, height=320, bargap=0.02)
    figure.update_xaxes(title=unit)
    figure.update_yaxes(title="customers", rangemode="tozero")
    return Chart(
        key=key,
        finding=finding,
        figure=figure if bins else None,
        height=320,
        columns=(
            Column("low", f"From {unit}", decimals),
            Column("high", "to", decimals),
            Column("customers", "Customers", 0),
        ),
        rows=list(bins),
        about=f"{about} {count(sum(row['customers'] for row in bins))} customers.",
    )
