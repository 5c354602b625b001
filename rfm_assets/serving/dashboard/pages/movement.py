"""Who moved between segments since the week before or any earlier one, and how the segments grew."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

import dash_mantine_components as dmc

from rfm_assets.domain.history import LEFT, NEW
from rfm_assets.domain.rfm import WEEK_DAYS
from rfm_assets.domain.trends import WINDOW
from rfm_assets.errors import KindMissing
from rfm_assets.serving.charts import history as history_charts
from rfm_assets.serving.charts import movement as charts
from rfm_assets.serving.charts import segments as segment_charts
from rfm_assets.serving.charts.base import count, percent
from rfm_assets.serving.dashboard.parts import (
    chart_card,
    choice,
    controls,
    grid_of,
    missing,
    stat,
    stats,
    switch,
    title,
)
from rfm_assets.serving.dashboard.view import View
from rfm_assets.serving.history import (
    LAST,
    at_risk,
    cohorts,
    distribution,
    in_range,
    moves_between,
    spans,
    stayed,
    stays,
    transitions,
)
from rfm_assets.serving.queries import Row
from rfm_assets.store import Snapshot


def page(view: View) -> list[Any]:
    """The movement between two dates, what is likely and what is normal, and all dates."""
    stored, summary = view.snapshot("segment_movement"), view.snapshot("segment_summary")
    segments = view.snapshot("customer_segments")
    compared = _compared(view, segments, stored)
    if compared is None and stored is None and summary is None:
        return [title("Movement"), missing("movement", "SegmentMovementComponent")]
    over_time = (
        view.queries.over_time(
            summary.table, columns=["as_of", "segment", "customers", "monetary_total"]
        )
        if summary
        else []
    )
    palette = view.palette
    return [
        *(
            _head(view, segments, compared)
            if compared
            else [title("Movement", f"As of {view.as_of}")]
        ),
        grid_of(
            chart_card(charts.matrix(compared.rows, palette), span=6) if compared else None,
            chart_card(charts.flows(compared.rows, palette), span=6) if compared else None,
            _steps(view, stored, compared),
            _normal(view, summary),
            _stays(view, segments) if compared and _asked_for_stays(view) else None,
            _cohorts(view, segments) if compared and _asked_for_cohorts(view) else None,
            chart_card(segment_charts.over_time(over_time, palette), span=12)
            if over_time
            else None,
        ),
    ]


@dataclass(frozen=True)
class _Compared:
    """The movement that the page shows.

    Attributes:
        since: The earlier date.
        dates: Those that could be chosen instead, ascending.
        rows: Customers and spend by pair of segments.
        note: Why another date than the asked one is shown.
    """

    since: date
    dates: Sequence[date]
    rows: list[Row]
    note: str


def _compared(view: View, segments: Snapshot | None, stored: Snapshot | None) -> _Compared | None:
    """The movement since the chosen date; None where there is no earlier one."""
    rows = view.queries.whole(stored) if stored else []
    before = next((row["previous_as_of"] for row in rows if row["previous_as_of"]), None)
    earlier = [
        day
        for day in (view.queries.catalogue.table(segments.table).dates if segments else ())
        if view.as_of is not None and day < view.as_of
    ]
    usual = before or (earlier[-1] if earlier else None)
    if usual is None:
        return None
    dates = sorted({*earlier, usual})
    asked = view.params.get("since", "")
    since = next((day for day in dates if str(day) == asked), usual)
    note = ""
    if asked and str(since) != asked:
        note = f"There is no snapshot of {asked} before {view.as_of}; this is since {usual}."
    if since != before and segments is not None:
        first = view.queries.catalogue.snapshot(segments.table, since)
        rows = moves_between(view.queries, first, segments)
    return _Compared(since, dates, rows, note)


def _head(view: View, segments: Snapshot | None, compared: _Compared) -> list[Any]:
    """What is compared, the choice of another date, and the figures."""
    options = [(str(day), str(day)) for day in reversed(compared.dates)]
    return [
        title("Movement", f"From {compared.since} to {view.as_of}"),
        dmc.Alert(compared.note, color="yellow", variant="light", mb="md")
        if compared.note
        else None,
        controls(
            choice("since", "Since", options, str(compared.since)),
            switch("stays", "Time in segment", on=_asked_for_stays(view)) if segments else None,
            switch("cohorts", "By first purchase", on=_asked_for_cohorts(view))
            if segments and view.queries.catalogue.of_kind("transaction_data")
            else None,
        ),
        _figures(view, segments, compared.rows),
    ]


def _steps(view: View, stored: Snapshot | None, compared: _Compared | None) -> Any:
    """How likely each step was in the shown range; nothing where movement is not stored."""
    if stored is None or compared is None:
        return None
    after = compared.since + timedelta(days=1)
    moves = in_range(view.queries, stored.table, after, view.as_of)
    found = spans(view.queries, moves)
    chart = history_charts.steps(
        [vars(one) for one in transitions(view.queries, moves)],
        view.palette,
        counted=len(found),
        weekly=all((end - start).days == WEEK_DAYS for start, end in found),
    )
    return chart_card(chart, span=6)


def _normal(view: View, summary: Snapshot | None) -> Any:
    """Whether the shares of the shown date are as usual."""
    if summary is None:
        return None
    found = in_range(view.queries, summary.table, None, view.as_of, at_most=WINDOW + 1)
    shares = distribution(view.queries, found, band="robust")
    rows = [{**vars(one), "outside": one.outside} for one in shares if one.as_of == view.as_of]
    return chart_card(history_charts.normal(rows, view.palette), span=6)


def _asked_for_stays(view: View) -> bool:
    """Only where it is asked for: half a year of a million customers takes seconds, once."""
    return view.params.get("stays") == "1"


def _stays(view: View, segments: Snapshot | None) -> Any:
    """How long customers have been in their segments, up to the shown date."""
    if segments is None:
        return None
    found = in_range(view.queries, segments.table, None, view.as_of, at_most=LAST)
    rows = [vars(one) for one in stays(view.queries, found)]
    return chart_card(history_charts.stays(rows, view.palette, snapshots=len(found)), span=12)


def _asked_for_cohorts(view: View) -> bool:
    """Only where it is asked for: it reads all orders, once."""
    return view.params.get("cohorts") == "1"


def _cohorts(view: View, segments: Snapshot | None) -> Any:
    """Who bought again, by the month of the first purchase; nothing where orders are not stored."""
    if segments is None or view.as_of is None:
        return None
    try:
        table = view.queries.catalogue.one_of_kind("transaction_data")
    except KindMissing:
        return None
    rows = cohorts(view.queries, view.queries.catalogue.snapshot(table.name), segments)
    return chart_card(history_charts.cohorts(rows, as_of=view.as_of), span=12)


def _figures(view: View, segments: Snapshot | None, rows: list[Row]) -> Any:
    still, total = stayed(rows)
    came, gone = (
        sum(row["customers"] for row in rows if row[side] == name)
        for side, name in (("from_segment", NEW), ("to_segment", LEFT))
    )
    down = at_risk(view.queries, rows, segments) if segments else []
    before, now = (
        sum(getattr(one, side) for one in down) for side in ("monetary_before", "monetary_now")
    )
    fallen = sum(one.customers for one in down)
    return stats(
        stat(
            "Stayed",
            percent(100 * still / total if total else None),
            f"{count(still)} of {count(total)} customers",
        ),
        stat("New", count(came), "were not there before"),
        stat("Left", count(gone), "are not there any more"),
        stat(
            "Value at risk",
            f"{count(before)} → {count(now)}",
            f"spend of {count(fallen)} who came down",
            "bad" if now < before else "neutral",
        )
        if segments
        else None,
    )
