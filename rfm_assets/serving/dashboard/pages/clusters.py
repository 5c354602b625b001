"""Clusters: sizes, profiles, how they cross the rules' segments."""

from typing import Any

from rfm_assets.serving.charts import learned as charts
from rfm_assets.serving.charts.base import shown
from rfm_assets.serving.dashboard.parts import (
    chart_card,
    choice,
    controls,
    grid_of,
    missing,
    stat,
    stats,
    title,
)
from rfm_assets.serving.dashboard.view import View


def page(view: View) -> list[Any]:
    """The clusters of one date."""
    tables = {one.table: one for one in view.snapshots("behavioral_segments")}
    if not tables:
        return [title("Clusters"), missing("table of clusters", "BehavioralSegmentsComponent")]
    name = view.params.get("table", "")
    name = name if name in tables else min(tables)
    snapshot = tables[name]
    profiles = view.queries.whole(snapshot, "profiles")
    model: Any = view.queries.catalogue.noted(snapshot, "model") or {}
    rules: Any = view.queries.catalogue.noted(snapshot, "names") or []
    compared: Any = view.queries.catalogue.noted(snapshot, "comparison")
    return [
        title("Clusters", f"{len(model.get('centroids', []))} clusters, as of {view.as_of}"),
        controls(choice("table", "Clusters", [(one, one) for one in sorted(tables)], name))
        if len(tables) > 1
        else None,
        stats(
            stat("Customers", f"{snapshot.manifest.row_counts['rows']:,}"),
            stat("Features", f"{len(model.get('features', []))}"),
            stat(
                "Silhouette",
                shown((model.get("chosen") or {}).get("silhouette"), 2),
                "1 is clear, 0 is none",
            ),
            stat(
                "Stability",
                shown((model.get("chosen") or {}).get("stability"), 2),
                "1 is the same in every resample",
            ),
            stat(
                "Agreement with the rules",
                shown(compared["adjusted_rand_index"], 2),
                f"with {compared['with']}",
            )
            if compared
            else None,
        ),
        grid_of(
            chart_card(charts.cluster_sizes(profiles, view.palette), span=5),
            chart_card(charts.cluster_profiles(profiles, view.palette), span=7),
            chart_card(charts.cluster_plans(profiles, rules, view.palette), span=12)
            if rules
            else None,
            chart_card(
                charts.crossed(
                    [
                        dict(zip(("cluster", "segment", "customers"), row, strict=True))
                        for row in compared["customers"]
                    ],
                    view.palette,
                ),
                span=12,
            )
            if compared
            else None,
        ),
    ]
