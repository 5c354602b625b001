"""The first page: what changed, whether it is the data or the customers, and how they are spread."""

from collections.abc import Sequence
from functools import partial
from typing import Any

from rfm_assets.serving.charts import segments as charts
from rfm_assets.serving.charts.base import count, shown
from rfm_assets.serving.dashboard.parts import (
    chart_card,
    grid_of,
    missing,
    notes,
    stat,
    stats,
    title,
)
from rfm_assets.serving.dashboard.view import View
from rfm_assets.serving.insights import (
    Insight,
    Totals,
    data_or_customers,
    failed_checks,
    of_behavior,
    of_campaigns,
    of_movement,
    of_segments,
    totals,
)
from rfm_assets.store import Snapshot


def page(view: View) -> list[Any]:
    """The overview of one date."""
    snapshot, summary = view.snapshot("customer_segments"), view.snapshot("segment_summary")
    if summary is None:
        return [
            title("Overview"),
            missing("summary of the segments", "SegmentSummaryComponent"),
        ]
    rows = view.queries.whole(summary)
    before = view.queries.catalogue.before(summary)
    figures = totals(rows, view.queries.whole(before) if before else None)
    since = f"since {before.as_of}" if before else ""
    change = partial(_change, figures, since)
    movement, behavior = view.snapshot("segment_movement"), view.snapshot("customer_behavior")
    shown_snapshots = [
        one
        for kind in ("customer_segments", "segment_summary", "segment_movement")
        if (one := view.snapshot(kind)) is not None
    ]
    changed: list[Insight] = []
    if snapshot is not None:
        changed += data_or_customers(view.queries, snapshot)
    if movement is not None:
        name = view.palette.name
        changed += of_movement(view.queries.whole(movement), _priorities(view), name)
    more = of_segments(rows, figures, view.palette.name)
    if behavior is not None:
        more += of_behavior(view.queries, behavior)
    more += of_campaigns(view.snapshots("campaign_list"))
    failed = failed_checks(shown_snapshots)
    made = summary.manifest.created_at
    return [
        title(
            "Overview",
            f"Customers as of {view.as_of}"
            + (f", {len(view.dates)} snapshots" if len(view.dates) > 1 else ""),
        ),
        stats(
            stat("Customers", count(figures.customers), *change("customers", 0)),
            stat("Net spend", shown(figures.monetary, 0), *change("monetary", 0)),
            stat("Mean spend", shown(figures.monetary_mean, 2), *change("monetary_mean", 2)),
            stat("Mean purchases", shown(figures.frequency_mean, 2), *change("frequency_mean", 2)),
            stat(
                "Computed",
                f"{made:%d %b %Y}" if made else "–",
                f"{made:%H:%M} UTC" if made else "",
            ),
            stat("Checks", *_checks(shown_snapshots)),
        ),
        grid_of(
            _column(
                notes(changed + failed, view.href, heading=f"What changed{since and f' {since}'}")
            ),
            _column(notes(more, view.href, heading="Worth knowing")),
            chart_card(charts.shares(rows, view.palette), span=6),
            chart_card(charts.value(rows, view.palette), span=6),
        ),
    ]


def _column(card: Any) -> Any:
    import dash_mantine_components as dmc

    return None if card is None else dmc.GridCol(card, span={"base": 12, "lg": 6})


def _checks(snapshots: Sequence[Snapshot]) -> tuple[str, str, str]:
    """How the checks of these snapshots went, how many there were, and the tone of that."""
    found = [check for one in snapshots for check in one.manifest.checks]
    failed = sum(not check.passed for check in found)
    if not found:
        return "none", "nothing was checked", "neutral"
    if failed:
        return f"{failed} not passed", f"of {len(found)}", "bad"
    return "all passed", f"{len(found)} looked at", "good"


def _change(figures: Totals, since: str, name: str, decimals: int) -> tuple[str, str]:
    """The change of one figure since the snapshot before, and its tone."""
    now = getattr(figures, name)
    then = None if figures.before is None else getattr(figures.before, name)
    if now is None or then is None:
        return "", "neutral"
    change = now - then
    if round(change, decimals) == 0:
        return f"no change {since}", "neutral"
    return f"{change:+,.{decimals}f} {since}", "good" if change > 0 else "bad"


def _priorities(view: View) -> dict[str, int]:
    snapshot = view.snapshot("customer_segments")
    scheme = None if snapshot is None else view.queries.scheme(snapshot)
    return {one.name: one.priority for one in scheme.segments} if scheme else {}
