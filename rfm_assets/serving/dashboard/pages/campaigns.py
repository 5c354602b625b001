"""Campaign lists: the waterfall, who is on one, who is not and why."""

from collections.abc import Mapping
from typing import Any

import dash_mantine_components as dmc
from dash import html
from narwhals.dtypes import DType as DataType

from rfm_assets.errors import SuppressionUnknown
from rfm_assets.schemas import CAMPAIGN_OUTCOME
from rfm_assets.serving.charts import campaigns as charts
from rfm_assets.serving.dashboard.parts import (
    chart_card,
    choice,
    controls,
    downloads,
    grid_of,
    missing,
    rows_grid,
    title,
)
from rfm_assets.serving.dashboard.view import View
from rfm_assets.serving.queries import DATES
from rfm_assets.store import Snapshot

OUTCOME_COLUMNS = tuple(CAMPAIGN_OUTCOME.schema.columns)


def page(view: View) -> list[Any]:
    """One list of a date, and the length of all over time."""
    lists = {one.table: one for one in view.snapshots("campaign_list")}
    if not lists:
        return [title("Campaigns"), missing("campaign list", "CampaignListComponent")]
    asked = view.params.get("list", "")
    longest = min(lists, key=lambda one: (-lists[one].manifest.row_counts["rows"], one))
    name = asked if asked in lists else longest
    snapshot = lists[name]
    stages: Any = view.queries.catalogue.noted(snapshot, "waterfall") or []
    prefix = "excluded: "
    reasons = {
        key.removeprefix(prefix): n
        for key, n in snapshot.manifest.counts.items()
        if key.startswith(prefix)
    }
    lengths = [
        {"list": table, "as_of": one.as_of, "customers": one.manifest.row_counts["rows"]}
        for table in sorted(lists)
        for one in view.queries.catalogue.series(table, DATES)
    ]
    columns = {
        column: kind for column, kind in view.queries.columns(snapshot).items() if column != "as_of"
    }
    link = view.href("customers")
    link += ("&" if "?" in link else "?") + "customer="
    return [
        title("Campaigns", f"As of {view.as_of}"),
        _no_such(asked, name) if asked and asked != name else None,
        controls(choice("list", "List", [(one, one) for one in sorted(lists)], name)),
        grid_of(
            chart_card(charts.waterfall(name, stages), span=6),
            chart_card(charts.reasons(reasons), span=6),
            chart_card(charts.sizes(lengths, view.palette), span=12)
            if len(view.dates) > 1
            else None,
            _outcome(view, name),
        ),
        html.H2(f"On {name}, best first", className="finding section"),
        *_members(view, snapshot, columns, link),
        *_control(view, snapshot, link),
        *_left_out(view, snapshot, link),
    ]


def _no_such(asked: str, name: str) -> Any:
    text = f"There is no list {asked!r} of this date; this is {name}, the longest one."
    return dmc.Alert(text, color="yellow", variant="light", mb="md")


def _members(
    view: View, snapshot: Snapshot, columns: Mapping[str, DataType], link: str
) -> list[Any]:
    """Who may be contacted still, and how many of the list may not."""
    try:
        gone = len(view.queries.suppressed(snapshot).customers)
    except SuppressionUnknown as error:
        return [dmc.Alert(str(error), color="red", mb="md")]
    told = "1 customer was" if gone == 1 else f"{gone:,} customers were"
    text = f"{told} suppressed since this list was made, and left out below and from the files."
    return [
        html.P(text) if gone else None,
        downloads(view.prefix, snapshot),
        rows_grid(snapshot, columns, link=link, height=420),
    ]


def _outcome(view: View, name: str) -> Any:
    """What became of the list, up to the chosen date; nothing where no table judges it."""
    for table in view.queries.catalogue.of_kind("campaign_outcome"):
        rows = view.queries.over_time(table.name, columns=OUTCOME_COLUMNS, until=view.as_of)
        if own := [row for row in rows if row["campaign"] == name]:
            return chart_card(charts.outcomes(name, own), span=12)
    return None


def _left_out(view: View, snapshot: Snapshot, link: str) -> list[Any]:
    """Who is not on the list; nothing where a published copy goes without."""
    if "excluded" not in snapshot.manifest.files:
        return []
    return [
        html.H2("Left out, with the reason", className="finding section"),
        downloads(view.prefix, snapshot, "excluded"),
        rows_grid(
            snapshot,
            view.queries.columns(snapshot, "excluded"),
            part="excluded",
            link=link,
            height=320,
        ),
    ]


def _control(view: View, snapshot: Snapshot, link: str) -> list[Any]:
    """Who is left alone, and what the list could show.

    Nothing for a list without such a group, and where a published copy goes without it.
    """
    if "control" not in snapshot.manifest.files or not snapshot.manifest.row_counts["control"]:
        return []
    measurement: Any = view.queries.catalogue.noted(snapshot, "measurement") or {}
    columns = {
        name: kind
        for name, kind in view.queries.columns(snapshot, "control").items()
        if name != "as_of"
    }
    return [
        html.H2("In the control group, not contacted", className="finding section"),
        html.P(f"Smallest uplift that this list could show: {measurement.get('told', 'unknown')}."),
        downloads(view.prefix, snapshot, "control"),
        rows_grid(snapshot, columns, part="control", link=link, height=320),
    ]
