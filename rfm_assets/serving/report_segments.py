"""The sections of a report on the segments: their sizes, what they ask for, what to do."""

from rfm_assets.domain.criteria import criteria
from rfm_assets.domain.scoring import CutPoints
from rfm_assets.serving import views
from rfm_assets.serving.charts import segments as drawn
from rfm_assets.serving.charts.base import Chart, Column, shown
from rfm_assets.serving.queries import Row
from rfm_assets.serving.report_contents import Contents
from rfm_assets.serving.report_parts import Section, SegmentCard, customers_of


def segments(found: Contents) -> Section | None:
    """How large the segments are and what they are worth."""
    summary = found.one("segment_summary")
    palette = found.palette()
    charts: list[Chart] = []
    if summary is not None:
        rows = found.queries.whole(summary)
        charts = [
            drawn.shares(rows, palette),
            drawn.value(rows, palette),
            drawn.treemap(rows, palette),
            drawn.comparison(rows, palette),
        ]
    points = _points(found)
    if points is not None and customers_of(found.snapshot):
        cells = views.score_cells(found.queries, found.snapshot)
        charts.insert(3, drawn.score_grid(cells, scale=points.scale, palette=palette))
    if not charts:
        return None
    return Section("segments", "Segments", charts=charts)


def _points(found: Contents) -> CutPoints | None:
    stored = found.snapshot.manifest.cut_points
    return None if stored is None else CutPoints.model_validate(stored)


def _sizes(found: Contents) -> dict[str, int]:
    return found.queries.counts(found.snapshot, "segment")


def who_is_where(found: Contents) -> Section | None:
    """What each segment asks for, in the words of this data."""
    scheme, points = found.scheme, _points(found)
    if scheme is None or points is None:
        return None
    config = found.queries.catalogue.noted(found.snapshot, "config") or {}
    asked = criteria(scheme, points, segment_by=config.get("segment_by", "cell"))
    sizes, palette = _sizes(found), found.palette()
    described = {one.name: one for one in scheme.segments}
    cards = [
        SegmentCard(
            name=palette.name(one.segment),
            color=palette.color(one.segment),
            customers=sizes.get(one.segment, 0),
            description=described[one.segment].description,
            ways=one.sentences,
        )
        for one in asked
    ]
    quiet = (
        " Customers without a purchase in the observation window have the lowest scores."
        if config.get("include_inactive")
        else ""
    )
    return Section(
        key="criteria",
        title="Who is in which segment",
        intro=f"What the rules of {scheme.reference} mean with the cut points of this snapshot. "
        "Rules are tried in a fixed order and the first that matches decides: “unless already” "
        f"names the segments that come before.{quiet}",
        criteria=cards,
        charts=[_cut_points(points)] if points.recency else [],
    )


def _cut_points(points: CutPoints) -> Chart:
    """Which values have which score, as a table."""
    rows: list[Row] = []
    for score in range(points.scale, 0, -1):
        place = points.scale - score
        row: Row = {"score": score}
        for name, cuts, worst_first, decimals in (
            ("recency", points.recency, False, 0),
            ("frequency", points.frequency, True, 0),
            ("monetary", points.monetary, True, 2),
        ):
            at = score - 1 if worst_first else place
            low = cuts[at - 1] if at > 0 else None
            high = cuts[at] if at < len(cuts) else None
            row[name] = _between(low, high, decimals)
        rows.append(row)
    return Chart(
        key="cut-points",
        finding=f"Scores 1 to {points.scale}, and the values that have them",
        figure=None,
        columns=(
            Column("score", "Score", 0),
            Column("recency", "Days since the last purchase"),
            Column("frequency", "Purchases"),
            Column("monetary", "Net spend"),
        ),
        rows=rows,
        about="Cut points are values that occur. Equal values have equal scores, so that a score "
        "may have nobody.",
    )


def _between(low: float | None, high: float | None, decimals: int) -> str:
    if low is not None and high is not None and low >= high:
        return "nobody"
    if low is None:
        return f"up to {shown(high, decimals)}"
    if high is None:
        return f"more than {shown(low, decimals)}"
    return f"more than {shown(low, decimals)}, up to {shown(high, decimals)}"


def what_to_do(found: Contents) -> Section | None:
    """What the scheme recommends, the most urgent first."""
    scheme = found.scheme
    if scheme is None or not any(one.recommendation or one.actions for one in scheme.segments):
        return None
    sizes, palette = _sizes(found), found.palette()
    cards = [
        SegmentCard(
            name=palette.name(one.name),
            color=palette.color(one.name),
            customers=sizes.get(one.name, 0),
            description=one.description,
            priority=one.priority,
            recommendation=one.recommendation or "",
            actions=one.actions,
            characteristics=one.characteristics,
        )
        for one in sorted(scheme.segments, key=lambda one: -one.priority)
    ]
    return Section(
        key="recommendations",
        title="What to do",
        intro="By priority: how much a week's delay costs, from 1, little, to 5, most.",
        advice=cards,
    )
