"""Charts of what was learned: clusters, behaviour, churn risk, validation."""

from collections.abc import Mapping, Sequence

import plotly.graph_objects as go

from rfm_assets.serving.charts.base import (
    ACCENT,
    BAD,
    GOOD,
    NEUTRAL,
    SEQUENTIAL,
    Chart,
    Column,
    Palette,
    Row,
    Series,
    bars,
    count,
    laid_out,
    paired_shares,
    percent,
    shown,
)

RISK_COLORS: Mapping[str, str] = {
    "Low": "#2f9e44",
    "Medium": "#f08c00",
    "High": "#e8590c",
    "Critical": "#c92a2a",
}

TREND_COLORS: Mapping[str, str] = {
    "increasing": GOOD,
    "stable": ACCENT,
    "declining": BAD,
    "unknown": NEUTRAL,
}


def cluster_sizes(profiles: Sequence[Row], palette: Palette) -> Chart:
    """Share of customers and of spend of each cluster."""
    firsts: dict[int, Row] = {}
    for row in profiles:
        firsts.setdefault(row["cluster"], row)
    ordered = sorted(firsts.values(), key=lambda r: (r["spend_pct"] or 0, r["cluster"]))
    names = [f"{palette.name(r['segment'])} ({r['cluster']})" for r in ordered]
    figure, height = paired_shares(
        names, [r["customers_pct"] for r in ordered], [r["spend_pct"] for r in ordered]
    )
    top = ordered[-1] if ordered else None
    return Chart(
        key="cluster-sizes",
        finding=f"{names[-1]}: {percent(top['customers_pct'])} of the customers, "
        f"{percent(top['spend_pct'])} of the spend"
        if top
        else "There are no clusters",
        figure=figure if ordered else None,
        height=height,
        columns=(
            Column("segment", "Cluster"),
            Column("cluster", "Number", 0),
            Column("customers", "Customers", 0),
            Column("customers_pct", "Share, %", 1),
            Column("spend_total", "Net spend", 2),
            Column("spend_pct", "Share of spend, %", 1),
        ),
        rows=palette.named(reversed(ordered)),
        about="Clusters are found in the data and named by rules over their centres. The number "
        "tells clusters of one name apart.",
    )


def cluster_profiles(profiles: Sequence[Row], palette: Palette) -> Chart:
    """The means of each cluster over those of all customers, feature by feature."""
    features = list(dict.fromkeys(row["feature"] for row in profiles))
    clusters = sorted({(row["segment"], row["cluster"]) for row in profiles})
    mean = {(r["cluster"], r["feature"]): r["mean"] for r in profiles}
    customers = {r["cluster"]: r["customers"] for r in profiles}
    total = sum(customers.values())
    overall = {
        f: sum((mean[c, f] or 0) * customers[c] for _, c in clusters) / total if total else 0
        for f in features
    }
    ratios = [
        [
            mean[c, f] / overall[f] if mean[c, f] is not None and overall[f] else None
            for f in features
        ]
        for _, c in clusters
    ]
    names = [f"{palette.name(s)} ({c})" for s, c in clusters]
    figure = go.Figure(
        go.Heatmap(
            z=[[None if v is None else max(min(v, 3.0), 0.0) for v in line] for line in ratios],
            x=[f.replace("_", " ") for f in features],
            y=names,
            zmin=0,
            zmax=2,
            zmid=1,
            colorscale=[[0, "#e8590c"], [0.5, "rgba(134,142,150,0.12)"], [1, "#1c7ed6"]],
            text=[[shown(v, 1, " ×") for v in line] for line in ratios],
            texttemplate="%{text}",
            xgap=2,
            ygap=2,
            hovertemplate="%{y}, %{x}: %{text} the mean of all<extra></extra>",
            colorbar={"title": {"text": "× mean", "font": {"size": 13}}, "thickness": 12},
        )
    )
    height = max(300, 44 * len(clusters) + 160)
    laid_out(figure, height=height)
    figure.update_xaxes(tickangle=-40, showgrid=False, side="top")
    figure.update_yaxes(showgrid=False)
    strongest = max(
        (
            (value, name, feature)
            for name, line in zip(names, ratios, strict=True)
            for feature, value in zip(features, line, strict=True)
            if value is not None
        ),
        default=None,
    )
    return Chart(
        key="cluster-profiles",
        finding=f"{strongest[1]} stands out most: {shown(strongest[0], 1)} times the mean "
        f"{strongest[2].replace('_', ' ')}"
        if strongest
        else "There are no clusters",
        figure=figure if profiles else None,
        height=height,
        least_width=640,
        columns=(
            Column("segment", "Cluster"),
            Column("cluster", "Number", 0),
            Column("feature", "Feature"),
            Column("mean", "Mean", 2),
            Column("minimum", "Least", 2),
            Column("maximum", "Most", 2),
            Column("centroid", "Centre", 2),
        ),
        rows=palette.named(profiles),
        about="Mean of each feature in the cluster over the mean of all customers; 1 × is average.",
    )


def signals(insights: Sequence[Row]) -> Chart:
    """How many customers each risk signal fires for, and for how many it is unknown."""
    ordered = sorted(insights, key=lambda r: -r["rank"])
    names = [r["signal"].replace("_", " ") for r in ordered]
    fired = [r["affected_customers"] for r in ordered]
    unknown = [r["unknown_customers"] for r in ordered]
    series = [
        Series("fired", fired, BAD, "%{y}: fired for %{x:,}"),
        Series("unknown", unknown, "rgba(134,142,150,0.45)", "%{y}: unknown for %{x:,}"),
    ]
    height = max(240, 44 * len(ordered) + 60)
    figure = bars(names, series, height=height, barmode="group")
    top = next((r for r in reversed(ordered) if r["affected_customers"]), None)
    return Chart(
        key="signals",
        finding=f"First look at {top['signal'].replace('_', ' ')}: "
        f"{count(top['affected_customers'])} customers, {top['urgency']} urgency"
        if top
        else "No risk signal fired",
        figure=figure if ordered else None,
        height=height,
        columns=(
            Column("rank", "Rank", 0),
            Column("signal", "Signal"),
            Column("urgency", "Urgency"),
            Column("affected_customers", "Fired", 0),
            Column("percentage", "Share, %", 1),
            Column("known_customers", "Known", 0),
            Column("unknown_customers", "Unknown", 0),
        ),
        rows=list(reversed(ordered)),
        about="By affected customers and urgency. Unknown is not counted as not fired: there the "
        "history is too short, or an input is not mapped.",
    )


def trends(counts: Mapping[str, int]) -> Chart:
    """Customers by the direction of activity, value and engagement."""
    kinds = ("activity", "value", "engagement")
    numbers = {k: {t: counts.get(f"{k}_trend/{t}", 0) for t in TREND_COLORS} for k in kinds}
    series = [
        Series(trend, [numbers[k][trend] for k in kinds], color, f"%{{y}} {trend}: %{{x:,}}")
        for trend, color in TREND_COLORS.items()
    ]
    figure = bars(kinds, series, height=240, barmode="stack")
    declining = numbers["value"]["declining"]
    known = sum(n for t, n in numbers["value"].items() if t != "unknown")
    return Chart(
        key="trends",
        finding=f"{percent(100 * declining / known)} of the customers whose spend is known to "
        "move or not spend less than before"
        if known
        else "Nobody's trend is known",
        figure=figure,
        height=240,
        columns=(Column("kind", "Trend of"), *(Column(t, t, 0) for t in TREND_COLORS)),
        rows=[{"kind": k, **numbers[k]} for k in kinds],
        about="The last window against the one before.",
    )


def risk(cells: Sequence[Row], palette: Palette) -> Chart:
    """Churn risk levels inside each churn-aware segment."""
    segments = sorted({r["segment"] for r in cells}, key=palette.place, reverse=True)
    by_place = {(r["segment"], r["churn_risk_level"]): r["customers"] for r in cells}
    series = [
        Series(
            level,
            [by_place.get((s, level), 0) for s in segments],
            color,
            f"%{{y}}, {level}: %{{x:,}}",
        )
        for level, color in RISK_COLORS.items()
    ]
    height = max(260, 36 * len(segments) + 60)
    names = [palette.name(s) for s in segments]
    figure = bars(names, series, height=height, barmode="stack")
    total = sum(by_place.values())
    critical = sum(n for (_, level), n in by_place.items() if level in {"High", "Critical"})
    return Chart(
        key="risk",
        finding=f"{percent(100 * critical / total)} of the customers have a high or critical risk"
        if total
        else "Nobody has a churn score",
        figure=figure if total else None,
        height=height,
        columns=(Column("segment", "Segment"), *(Column(level, level, 0) for level in RISK_COLORS)),
        rows=[
            {
                "segment": palette.name(s),
                **{level: by_place.get((s, level), 0) for level in RISK_COLORS},
            }
            for s in reversed(segments)
        ],
        about="Low below 0.3, Medium below 0.5, High below 0.7, Critical above, as the component "
        "declares them.",
    )


def validation(scores: Sequence[Row]) -> Chart:
    """How well each candidate told who would buy again, with intervals."""
    ordered = sorted(scores, key=lambda r: (r["auc"], r["candidate"], r["of"]))
    names = [f"{r['candidate']} ({r['of']})" for r in ordered]
    colors = {"better": GOOD, "worse": BAD, "baseline": ACCENT, "no difference": NEUTRAL}
    figure = go.Figure(
        go.Scatter(
            x=[r["auc"] for r in ordered],
            y=names,
            mode="markers",
            marker={"size": 11, "color": [colors[r["verdict"]] for r in ordered]},
            error_x={
                "type": "data",
                "symmetric": False,
                "array": [r["auc_high"] - r["auc"] for r in ordered],
                "arrayminus": [r["auc"] - r["auc_low"] for r in ordered],
                "color": NEUTRAL,
            },
            text=[r["verdict"] for r in ordered],
            hovertemplate="%{y}: AUC %{x:.3f}, %{text}<extra></extra>",
        )
    )
    height = max(260, 32 * len(ordered) + 60)
    laid_out(figure, height=height)
    figure.update_xaxes(title="AUC, 0.5 is chance")
    best = ordered[-1] if ordered else None
    return Chart(
        key="validation",
        finding=f"{best['candidate']} told best who would buy again: AUC {best['auc']:.3f}"
        if best
        else "Nothing was validated",
        figure=figure if ordered else None,
        height=height,
        columns=(
            Column("candidate", "Candidate"),
            Column("of", "By"),
            Column("auc", "AUC", 3),
            Column("auc_low", "from", 3),
            Column("auc_high", "to", 3),
            Column("gain", "Gain", 3),
            Column("lift_top_10_pct", "Lift of the best tenth", 2),
            Column("verdict", "Verdict"),
        ),
        rows=list(reversed(ordered)),
        about="Judged on what customers bought after the cut. Bars are 95 % intervals; better and "
        "worse are told only where the interval of the difference excludes 0.",
    )


def repurchase(rows: Sequence[Row], candidate: str, palette: Palette) -> Chart:
    """The share of each segment that bought again, with intervals."""
    own = [r for r in rows if r["candidate"] == candidate]
    ordered = sorted(own, key=lambda r: (r["repurchase_rate"], r["segment"]))
    figure = go.Figure(
        go.Bar(
            x=[100 * r["repurchase_rate"] for r in ordered],
            y=[palette.name(r["segment"]) for r in ordered],
            orientation="h",
            marker_color=[palette.color(r["segment"]) for r in ordered],
            error_x={
                "type": "data",
                "symmetric": False,
                "array": [100 * (r["rate_high"] - r["repurchase_rate"]) for r in ordered],
                "arrayminus": [100 * (r["repurchase_rate"] - r["rate_low"]) for r in ordered],
                "color": NEUTRAL,
            },
            hovertemplate="%{y}: %{x:.1f} % bought again<extra></extra>",
        )
    )
    height = max(260, 34 * len(ordered) + 60)
    laid_out(figure, height=height)
    figure.update_xaxes(ticksuffix=" %", rangemode="tozero")
    top = ordered[-1] if ordered else None
    return Chart(
        key="repurchase",
        finding=f"{percent(100 * top['repurchase_rate'])} of {palette.name(top['segment'])} bought "
        f"again, {shown(top['lift'], 2)} times the rate of all"
        if top
        else "Nothing was validated",
        figure=figure if ordered else None,
        height=height,
        columns=(
            Column("segment", "Segment"),
            Column("customers", "Customers", 0),
            Column("buyers", "Bought again", 0),
            Column("repurchase_rate", "Rate", 3),
            Column("rate_low", "from", 3),
            Column("rate_high", "to", 3),
            Column("lift", "Lift", 2),
            Column("revenue_pct", "Share of the spend after, %", 1),
        ),
        rows=palette.named(reversed(ordered)),
        about=f"Segments of {candidate} as of the cut, judged on the days after it.",
    )


def crossed(cells: Sequence[Row], palette: Palette) -> Chart:
    """Clusters against the segments by rules."""
    clusters = sorted({str(r["cluster"]) for r in cells})
    segments = sorted({str(r["segment"]) for r in cells}, key=palette.place)
    by_place: dict[tuple[str, str], int] = {}
    for row in cells:
        place = (str(row["cluster"]), str(row["segment"]))
        by_place[place] = by_place.get(place, 0) + int(row["customers"])
    figure = go.Figure(
        go.Heatmap(
            z=[[by_place.get((c, s)) for s in segments] for c in clusters],
            x=[palette.name(s) for s in segments],
            y=clusters,
            colorscale=SEQUENTIAL,
            showscale=False,
            hoverongaps=False,
            xgap=2,
            ygap=2,
            texttemplate="%{z:,}",
            hovertemplate="%{y} and %{x}: %{z:,} customers<extra></extra>",
        )
    )
    height = max(280, 40 * len(clusters) + 120)
    laid_out(figure, height=height)
    figure.update_xaxes(side="top", tickangle=-40, showgrid=False)
    figure.update_yaxes(showgrid=False)
    top = max(by_place, key=lambda place: (by_place[place], place), default=None)
    return Chart(
        key="crossed",
        finding=f"Most in common: {count(by_place[top])} customers are {top[0]} by behaviour and "
        f"{palette.name(top[1])} by the rules"
        if top
        else "The two have no customer in common",
        figure=figure if top else None,
        height=height,
        least_width=560,
        columns=(
            Column("cluster", "Cluster"),
            Column("segment", "Segment by rules"),
            Column("customers", "Customers", 0),
        ),
        rows=[
            {"cluster": c, "segment": palette.name(s), "customers": by_place[c, s]}
            for c, s in sorted(by_place, key=lambda place: (-by_place[place], place))
        ],
        about="Rows are clusters, columns the segments by rules.",
    )


def cluster_plans(profiles: Sequence[Row], rules: Sequence[Row], palette: Palette) -> Chart:
    """What each name means and which campaign fits it, most urgent first."""
    about = {rule["name"]: rule for rule in rules}
    sizes: dict[str, tuple[int, float, float]] = {}
    for row in {r["cluster"]: r for r in profiles}.values():
        customers, share, spend = sizes.get(row["segment"], (0, 0.0, 0.0))
        sizes[row["segment"]] = (
            customers + row["customers"],
            share + row["customers_pct"],
            spend + (row["spend_pct"] or 0.0),
        )
    rows = [
        {
            "segment": palette.name(name),
            "priority": about.get(name, {}).get("priority"),
            "campaign": about.get(name, {}).get("campaign"),
            "customers": customers,
            "customers_pct": share,
            "spend_pct": spend,
            "description": about.get(name, {}).get("description"),
        }
        for name, (customers, share, spend) in sizes.items()
    ]
    rows.sort(key=lambda row: (-(row["priority"] or 0), -row["spend_pct"], row["segment"]))
    first = rows[0] if rows else None
    return Chart(
        key="cluster-plans",
        finding=f"First {first['segment']}: {first['campaign'] or 'no campaign is named'}"
        if first
        else "There are no clusters",
        figure=None,
        columns=(
            Column("segment", "Cluster"),
            Column("priority", "Priority, 5 most", 0),
            Column("campaign", "Campaign"),
            Column("customers", "Customers", 0),
            Column("customers_pct", "Share, %", 1),
            Column("spend_pct", "Share of spend, %", 1),
            Column("description", "Who they are"),
        ),
        rows=rows,
        about="As the rules that name the clusters have it.",
    )
