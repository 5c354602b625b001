"""Charts of what several snapshots say together: likely steps, normal shares, time in segment, cohorts."""

from collections.abc import Sequence
from datetime import date, timedelta

import plotly.graph_objects as go

from rfm_assets.domain.trends import FEWEST
from rfm_assets.serving.charts.base import (
    ACCENT,
    BAD,
    NEUTRAL,
    SEQUENTIAL,
    Chart,
    Column,
    Palette,
    Row,
    Series,
    bars,
    laid_out,
    percent,
)
from rfm_assets.serving.charts.movement import LEFT, NEW

_FAINT = "rgba(134,142,150,0.3)"
_NAMED = 3
"""Segments that a title names; it counts the others."""


def steps(rows: Sequence[Row], palette: Palette, *, counted: int, weekly: bool) -> Chart:
    """How likely each step is from one snapshot to the next.

    Args:
        rows: from_segment, to_segment, customers, probability, low and high.
        palette: Names and order of the segments.
        counted: Over how many pairs of neighbouring snapshots.
        weekly: Whether all of them lie a week apart.
    """
    names = {r["from_segment"] for r in rows} | {r["to_segment"] for r in rows}
    ordered = sorted(names - {NEW, LEFT}, key=palette.place)
    # Where new customers come in is as good as certain, and would take the colour from all else.
    before, now = ordered, [*ordered, LEFT]
    by_place = {(r["from_segment"], r["to_segment"]): r for r in rows}

    def cells(*, stay: bool) -> go.Heatmap:
        found = [
            [by_place.get((a, b)) if (a == b) == stay else None for b in now]
            for a in reversed(before)
        ]
        return go.Heatmap(
            z=[[r and 100 * r["probability"] for r in line] for line in found],
            text=[[_rounded(r) for r in line] for line in found],
            customdata=[[_interval(r) for r in line] for line in found],
            x=[palette.name(b) for b in now],
            y=[palette.name(a) for a in reversed(before)],
            # Most customers stay: beside them, every other step would be as good as white.
            colorscale=[[0.0, _FAINT], [1.0, _FAINT]] if stay else SEQUENTIAL,
            **({"zmin": 0, "zmax": 100} if stay else {"zmin": 0}),
            xgap=2,
            ygap=2,
            texttemplate="%{text}",
            showscale=False,
            hoverongaps=False,
            hovertemplate="%{y} → %{x}: %{z:.1f} %%{customdata}<extra></extra>",
        )

    figure = go.Figure([cells(stay=False), cells(stay=True)])
    # The labels lean to the right, beyond the last column.
    laid_out(figure, height=480, margin={"l": 8, "r": 48, "t": 8, "b": 8})
    figure.update_xaxes(side="top", tickangle=-40, showgrid=False)
    figure.update_yaxes(showgrid=False)
    later = "a week later" if weekly else "in the next snapshot"
    over = f"{counted} steps" if counted != 1 else "one step"
    return Chart(
        key="steps",
        finding=_likeliest_fall(rows, palette, later),
        figure=figure if rows else None,
        height=480,
        least_width=520,
        columns=(
            Column("from_segment", "From"),
            Column("to_segment", "To"),
            Column("customers", "Customers", 0),
            Column("probability_pct", "Likelihood, %", 1),
            Column("low_pct", "At least, %", 1),
            Column("high_pct", "At most, %", 1),
        ),
        rows=[
            {
                "from_segment": palette.name(r["from_segment"]),
                "to_segment": palette.name(r["to_segment"]),
                "customers": r["customers"],
                **{f"{name}_pct": 100 * r[name] for name in ("probability", "low", "high")},
            }
            for r in sorted(
                rows, key=lambda r: (palette.place(r["from_segment"]), -r["probability"])
            )
        ],
        about=f"How likely each step is: of 100 customers in the row, how many are in the column {later}. "
        f"Counted over {over}; grey are those who stay. The table has the 95 % intervals, and where new "
        "customers come in.",
    )


def _likeliest_fall(rows: Sequence[Row], palette: Palette, later: str) -> str:
    """The likeliest step to a worse segment, by what is certain of it."""
    if not rows:
        return "No step was counted"
    falls = [
        r
        for r in rows
        if not {r["from_segment"], r["to_segment"]} & {NEW, LEFT}
        and palette.place(r["to_segment"])[0] > palette.place(r["from_segment"])[0]
    ]
    if not falls:
        return "Nobody came down to a worse segment"
    # A segment of few customers has the highest rates, by chance: their lower ends are low.
    top = max(falls, key=lambda r: (r["low"], r["from_segment"], r["to_segment"]))
    many = round(100 * top["probability"])
    number = f"{many} {'is' if many == 1 else 'are'}" if many else "fewer than one is"
    return (
        f"Of 100 {palette.name(top['from_segment'])} customers, "
        f"{number} {palette.name(top['to_segment'])} {later}"
    )


def _rounded(row: Row | None) -> str:
    if row is None:
        return ""
    whole = round(100 * row["probability"])
    return f"{whole} %" if whole else "<1 %"


def _interval(row: Row | None) -> str:
    if row is None:
        return ""
    return f" ({100 * row['low']:.1f} to {100 * row['high']:.1f}), {row['customers']:,} customers"


def normal(rows: Sequence[Row], palette: Palette) -> Chart:
    """Each segment's share now beside the band that is normal for it.

    Args:
        rows: segment, customers, share, low, high and outside, of one date.
        palette: Names and order of the segments.
    """
    ordered = sorted(rows, key=lambda r: palette.place(r["segment"]), reverse=True)
    banded = [r for r in ordered if r["low"] is not None]
    height = max(260, 36 * len(banded) + 80)
    figure = go.Figure(
        go.Bar(
            x=[100 * (r["high"] - r["low"]) for r in banded],
            base=[100 * r["low"] for r in banded],
            y=[palette.name(r["segment"]) for r in banded],
            orientation="h",
            marker_color=_FAINT,
            name="usually",
            customdata=[100 * r["high"] for r in banded],
            hovertemplate="%{y}: usually %{base:.1f} to %{customdata:.1f} %<extra></extra>",
        )
    )
    for outside, label, color, symbol in (
        (False, "now", ACCENT, "circle"),
        (True, "now, not as usual", BAD, "diamond"),
    ):
        shown = [r for r in banded if r["outside"] == outside]
        if shown:
            figure.add_scatter(
                x=[100 * r["share"] for r in shown],
                y=[palette.name(r["segment"]) for r in shown],
                mode="markers",
                name=label,
                marker={
                    "color": color,
                    "symbol": symbol,
                    "size": 11,
                    "line": {"width": 1, "color": NEUTRAL},
                },
                customdata=[r["customers"] for r in shown],
                hovertemplate="%{y}: %{x:.1f} % now, %{customdata:,} customers<extra></extra>",
            )
    laid_out(figure, height=height, bargap=0.45)
    figure.update_xaxes(ticksuffix=" %", rangemode="tozero")
    # Those outside are drawn last, but stand where the scheme has them.
    figure.update_yaxes(
        categoryorder="array", categoryarray=[palette.name(r["segment"]) for r in ordered]
    )
    return Chart(
        key="normal",
        finding=_unusual(rows, banded, palette),
        figure=figure if banded else None,
        height=height,
        columns=(
            Column("segment", "Segment"),
            Column("customers", "Customers", 0),
            Column("share_pct", "Share now, %", 1),
            Column("low_pct", "Usually from, %", 1),
            Column("high_pct", "Usually to, %", 1),
            Column("judged", "Now"),
        ),
        rows=[
            {
                "segment": palette.name(r["segment"]),
                "customers": r["customers"],
                "judged": _judged(r),
                **{
                    f"{name}_pct": None if r[name] is None else 100 * r[name]
                    for name in ("share", "low", "high")
                },
            }
            for r in reversed(ordered)
        ],
        about="Is this week normal? A bar is where a segment's share usually lies, by the snapshots "
        "before: their median, and twice their usual distance from it to either side.",
    )


def stays(rows: Sequence[Row], palette: Palette, *, snapshots: int) -> Chart:
    """For how long the customers of each segment have been in it.

    Args:
        rows: segment, customers, mean_weeks, median_weeks and at_least.
        palette: Names and order of the segments.
        snapshots: How many were looked at.
    """
    ordered = sorted(rows, key=lambda r: palette.place(r["segment"]), reverse=True)
    height = max(260, 45 * len(ordered) + 60)
    series = [
        Series(
            "mean", [r["mean_weeks"] for r in ordered], _FAINT, "%{y}: %{x:.1f} weeks on average"
        ),
        Series(
            "median",
            [r["median_weeks"] for r in ordered],
            ACCENT,
            "%{y}: half of them at least %{x:.1f} weeks",
        ),
    ]
    names = [palette.name(r["segment"]) for r in ordered]
    figure = bars(names, series, height=height, barmode="group", bargap=0.25)
    figure.update_xaxes(title="weeks", rangemode="tozero")
    ranked = sorted(rows, key=lambda r: (r["mean_weeks"], r["segment"]))
    finding = "Nobody is in a segment"
    if ranked:
        longest, shortest = ranked[-1], ranked[0]
        finding = (
            f"Customers of {palette.name(longest['segment'])} have been there longest, "
            f"{longest['mean_weeks']:.1f} weeks on average"
        )
        if longest is not shortest:
            finding += (
                f"; {palette.name(shortest['segment'])} is newest, {shortest['mean_weeks']:.1f}"
            )
    return Chart(
        key="stays",
        finding=finding,
        figure=figure if rows else None,
        height=height,
        columns=(
            Column("segment", "Segment"),
            Column("customers", "Customers", 0),
            Column("mean_weeks", "Mean weeks", 1),
            Column("median_weeks", "Median weeks", 1),
            Column("at_least", "Longer than is known", 0),
        ),
        rows=palette.named(reversed(ordered)),
        about="Time in segment so far, without a break. "
        f"{snapshots} snapshots were looked at: who was there in the oldest of them may have been for "
        "longer, and is counted in the last column of the table.",
    )


def cohorts(rows: Sequence[Row], *, as_of: date) -> Chart:
    """Who bought again, by the month of the first purchase and the months since.

    Args:
        rows: cohort (first day of its month, as text), month, customers, buyers, retention and
            monetary, for the months in which somebody bought.
        as_of: The date of the snapshot; its month is not over.
    """
    newest = sorted({row["cohort"] for row in rows})[-_COHORTS:]
    by_place = {(row["cohort"], row["month"]): row for row in rows}
    sizes = {row["cohort"]: row["customers"] for row in rows}
    last = {cohort: _months_between(date.fromisoformat(cohort), as_of) for cohort in newest}
    found = [
        {
            "cohort": cohort,
            "month": month,
            "customers": sizes[cohort],
            "buyers": row["buyers"] if row else 0,
            "retention_pct": 100 * row["retention"] if row else 0.0,
            "monetary": row["monetary"] if row else 0.0,
            "over": "so far" if month == last[cohort] and as_of.day > 1 else "",
        }
        for cohort in newest
        for month in range(last[cohort] + 1)
        for row in (by_place.get((cohort, month)),)
    ]
    # In the month of the first purchase everybody buys: it would take the colour from all else.
    later = {(one["cohort"], one["month"]): one for one in found if one["month"] > 0}
    months = list(range(1, max(last.values(), default=0) + 1))
    cells = [[later.get((cohort, month)) for month in months] for cohort in reversed(newest)]
    height = max(260, 26 * len(newest) + 90)
    figure = go.Figure(
        go.Heatmap(
            z=[[one and one["retention_pct"] for one in line] for line in cells],
            text=[[f"{one['retention_pct']:.0f}" if one else "" for one in line] for line in cells],
            customdata=[
                [
                    f"{one['buyers']:,} of {one['customers']:,} customers {one['over']}"
                    if one
                    else ""
                    for one in line
                ]
                for line in cells
            ],
            x=months,
            y=[_month_named(cohort) for cohort in reversed(newest)],
            colorscale=SEQUENTIAL,
            zmin=0,
            xgap=2,
            ygap=2,
            texttemplate="%{text}",
            showscale=False,
            hoverongaps=False,
            hovertemplate="first bought in %{y}, month %{x}: %{z:.1f} %, %{customdata}<extra></extra>",
        )
    )
    laid_out(figure, height=height)
    figure.update_xaxes(title="months after the first purchase", showgrid=False, dtick=1)
    # As texts: plotly would read them as dates, and leave gaps.
    figure.update_yaxes(showgrid=False, type="category")
    return Chart(
        key="cohorts",
        finding=_bought_again(found),
        figure=figure if later else None,
        height=height,
        least_width=640,
        columns=(
            Column("cohort", "First bought in the month of"),
            Column("month", "Months after", 0),
            Column("customers", "Customers", 0),
            Column("buyers", "Bought", 0),
            Column("retention_pct", "Bought, %", 1),
            Column("monetary", "Net spend", 2),
            Column("over", "Month"),
        ),
        rows=found,
        about="Of 100 customers who first bought in the month of the row, how many bought in each month "
        f"after it; the newest {_COHORTS} months. The last cell of a row is the month of {as_of}, "
        "which is counted as far as it is seen.",
    )


_COHORTS = 24


def _months_between(first: date, as_of: date) -> int:
    # What is on the date itself is invisible: on the first of a month, the month before is the last.
    seen = as_of - timedelta(days=1)
    return 12 * (seen.year - first.year) + seen.month - first.month


def _month_named(cohort: str) -> str:
    return f"{date.fromisoformat(cohort):%b %Y}"


def _bought_again(rows: Sequence[Row]) -> str:
    over = [row for row in rows if row["month"] == 1 and not row["over"]]
    customers = sum(row["customers"] for row in over)
    if not customers:
        return "No month after a first purchase is over yet"
    share = 100 * sum(row["buyers"] for row in over) / customers
    return f"{percent(share)} of new customers buy again in the month after their first purchase"


def _unusual(rows: Sequence[Row], banded: Sequence[Row], palette: Palette) -> str:
    if not rows:
        return "There is no share to compare"
    if not banded:
        return f"Too few snapshots to say what is normal: it takes {FEWEST} before this one"
    outside = sorted((r for r in banded if r["outside"]), key=lambda r: palette.place(r["segment"]))
    more = [palette.name(r["segment"]) for r in outside if r["share"] > r["high"]]
    fewer = [palette.name(r["segment"]) for r in outside if r["share"] < r["low"]]
    told = [
        f"{word} customers than usual in {_listed(names)}"
        for word, names in (("more", more), ("fewer", fewer))
        if names
    ]
    text = "; ".join(told) or "every segment is where it usually is"
    return text[0].upper() + text[1:]


def _listed(names: Sequence[str]) -> str:
    others = len(names) - _NAMED
    return ", ".join(names[:_NAMED]) + (f" and {others} more" if others > 0 else "")


def _judged(row: Row) -> str:
    if row["low"] is None:
        return "too few before"
    if not row["outside"]:
        return "as usual"
    return "more than usual" if row["share"] > row["high"] else "fewer than usual"
