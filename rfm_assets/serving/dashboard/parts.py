"""The building blocks of all pages: cards of charts, figures, notes, controls, grids."""

import base64
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlencode

import dash_ag_grid as dag
import dash_mantine_components as dmc
from dash import dcc, html
from narwhals import Boolean
from narwhals.dtypes import DType as DataType

from rfm_assets.serving.charts.base import Chart, shown
from rfm_assets.serving.insights import Insight
from rfm_assets.store import Snapshot

_TABS_HEIGHT = 40
"""Pixels above a chart for what switches between it and its table."""

MOST_ROWS = 100
"""Rows of a table that stands in a page whole; more of them scroll in a box."""


def chart_card(chart: Chart, *, span: int | None = None) -> Any:
    """A chart with its finding, its numbers as a table, and both as downloads."""
    table = html.Div(
        simple_table(chart),
        className="chart-table",
        tabIndex=0,
        role="region",
        **{"aria-label": f"{chart.finding}: table"},
    )
    body: Any = table
    if chart.figure is not None:
        graph = dcc.Graph(
            figure=chart.figure,
            responsive=True,
            style={"height": f"{chart.height}px", "minWidth": f"{chart.least_width}px"},
            config={
                "displaylogo": False,
                "modeBarButtonsToRemove": ["select2d", "lasso2d", "autoScale2d"],
                "toImageButtonOptions": {"format": "png", "filename": chart.key, "scale": 2},
                "displayModeBar": not chart.fixed,
            },
        )
        body = dmc.Tabs(
            [
                dmc.TabsList(
                    [dmc.TabsTab("Chart", value="chart"), dmc.TabsTab("Table", value="table")]
                ),
                dmc.TabsPanel(
                    html.Div(
                        graph,
                        # What can be zoomed has buttons, and so is no picture to a screen reader.
                        role="img" if chart.fixed else "group",
                        className="chart",
                        # What is wider than a phone scrolls there, also by keyboard.
                        **({"tabIndex": 0} if chart.least_width else {}),
                        **{"aria-label": chart.finding},
                    ),
                    value="chart",
                ),
                dmc.TabsPanel(table, value="table"),
            ],
            # Neither, until the browser has come to it: dashboard.js draws chart after chart.
            value=None,
            keepMounted=False,
            id={"type": "chart", "key": chart.key},
            variant="pills",
            className="chart-tabs",
            style={"minHeight": f"{chart.height + _TABS_HEIGHT}px"},
        )
    card = dmc.Paper(
        [
            html.Div(
                [
                    html.H2(chart.finding, className="finding"),
                    html.A(
                        "CSV",
                        href="data:text/csv;charset=utf-8;base64,"
                        + base64.b64encode(("\ufeff" + chart.csv()).encode()).decode(),
                        download=f"{chart.key}.csv",
                        className="download",
                        **{"aria-label": f"Download as CSV: {chart.finding}"},
                    ),
                ],
                className="card-head",
            ),
            body,
            html.P(chart.about, className="about") if chart.about else None,
        ],
        withBorder=True,
        radius="md",
        p="md",
        className="card",
        id=f"card-{chart.key}",
    )
    return card if span is None else dmc.GridCol(card, span={"base": 12, "lg": span})


def simple_table(chart: Chart) -> Any:
    """A chart's numbers as a table that a screen reader reads.

    One component, whatever the number of cells: each component of its own costs a browser a
    millisecond.
    """
    body = [
        [shown(row.get(c.name), c.decimals, c.unit) for c in chart.columns]
        for row in chart.rows[:MOST_ROWS]
    ]
    more = len(chart.rows) - MOST_ROWS
    if more > 0:
        body.append([f"… and {more:,} more in the CSV", *[""] * (len(chart.columns) - 1)])
    return plain_table(
        [c.label for c in chart.columns],
        body,
        numeric=[c.decimals is not None for c in chart.columns],
    )


_SENTENCE = 40
"""Characters of a cell from which it is broken into lines."""


def plain_table(
    head: Sequence[str], body: Sequence[Sequence[str]], *, numeric: Sequence[bool]
) -> Any:
    """A table of texts; numbers stand at the right."""
    right = " ".join(f"number-{i}" for i, is_number in enumerate(numeric, start=1) if is_number)
    longest = max((len(text) for line in body for text in line), default=0)
    right += " wraps" if longest > _SENTENCE else ""
    return dmc.Table(
        data={"head": list(head), "body": [list(line) for line in body]},
        className=f"plain {right}",
        stickyHeader=True,
    )


def stat(label: str, value: str, note: str = "", tone: str = "neutral") -> Any:
    """One figure with what it is."""
    return dmc.Paper(
        [
            html.Div(label, className="stat-label"),
            html.Div(value, className="stat-value"),
            html.Div(note or "\u00a0", className=f"stat-note {tone}"),
        ],
        withBorder=True,
        radius="md",
        p="md",
        className="stat",
    )


def stats(*found: Any) -> Any:
    """Figures side by side."""
    return html.Div([one for one in found if one is not None], className="stats")


def grid_of(*cards: Any) -> Any:
    """Cards in columns on a wide screen, below each other on a narrow one; what is not there is left out."""
    return dmc.Grid([card for card in cards if card], gutter="md")


def title(text: str, about: str = "") -> Any:
    """The heading of a page."""
    return html.Div(
        [html.H1(text, className="page-title"), html.P(about, className="page-about")],
        className="page-head",
    )


def notes(found: Sequence[Insight], href: Any, *, heading: str) -> Any:
    """Sentences with links to where more is to be seen."""
    if not found:
        return None
    marks = {"good": ("✓", "good"), "bad": ("!", "bad"), "neutral": ("•", "neutral")}
    return dmc.Paper(
        [
            html.H2(heading, className="finding"),
            html.Ul(
                [
                    html.Li(
                        [
                            html.Span(
                                marks[one.tone][0],
                                className=f"mark {marks[one.tone][1]}",
                                **{"aria-hidden": "true"},
                            ),
                            dcc.Link(one.text, href=href(one.page)),
                        ]
                    )
                    for one in found
                ],
                className="notes",
            ),
        ],
        withBorder=True,
        radius="md",
        p="md",
        className="card",
    )


def missing(what: str, component: str) -> Any:
    """What to do where a page has nothing to show."""
    return dmc.Alert(
        [
            html.P(f"There is no {what} at this date."),
            html.P(
                [
                    "Add a ",
                    html.Code(component),
                    " to the project and run its week; see the component's reference.",
                ]
            ),
        ],
        title="Nothing to show yet",
        color="blue",
        variant="light",
        className="missing",
    )


def choice(name: str, label: str, options: Sequence[tuple[str, str]], value: str) -> Any:
    """A choice that is kept in the address."""
    return dmc.Select(
        id={"type": "param", "name": name},
        label=label,
        data=[{"value": one, "label": text} for one, text in options],
        value=value,
        allowDeselect=False,
        searchable=len(options) > 12,  # noqa: PLR2004 (more do not fit on a screen)
        className="choice",
        comboboxProps={"withinPortal": True},
    )


def switch(name: str, label: str, *, on: bool) -> Any:
    """A choice between yes and no that is kept in the address."""
    return dmc.Switch(
        id={"type": "switch", "name": name}, label=label, checked=on, className="switch"
    )


def controls(*found: Any) -> Any:
    """The choices of a page, side by side."""
    return html.Div([one for one in found if one is not None], className="controls")


def rows_grid(
    snapshot: Snapshot,
    columns: Mapping[str, DataType],
    *,
    part: str = "rows",
    segment: str = "",
    link: str = "",
    height: int = 520,
) -> Any:
    """A grid over all rows of a part, which the server sorts, filters and sends as one scrolls.

    `link` is the address of a customer's page, up to the id.
    """
    return dag.AgGrid(
        id={
            "type": "grid",
            "table": snapshot.table,
            "as_of": str(snapshot.as_of or ""),
            "version": snapshot.version,
            "part": part,
            "segment": segment,
        },
        rowModelType="infinite",
        columnDefs=[_column(name, kind, link) for name, kind in columns.items()],
        defaultColDef={"resizable": True, "sortable": True, "minWidth": 130, "flex": 1},
        dashGridOptions={
            "cacheBlockSize": 100,
            "maxBlocksInCache": 10,
            # The answer goes to the last request, so that there must never be two.
            "maxConcurrentDatasourceRequests": 1,
            "blockLoadDebounceMillis": 50,
            "rowHeight": 34,
            "suppressCellFocus": False,
            "ensureDomOrder": True,
        },
        dangerously_allow_code=False,
        className="grid",
        style={"height": f"{height}px"},
    )


def _column(name: str, kind: DataType, link: str) -> dict[str, Any]:
    column: dict[str, Any] = {
        "field": name,
        "headerName": name.replace("_", " "),
        "filterParams": {"buttons": ["apply", "reset"], "maxNumConditions": 1},
    }
    if kind.is_numeric():
        decimals = 2 if kind.is_float() else 0
        column |= {
            "type": "rightAligned",
            "filter": "agNumberColumnFilter",
            "valueFormatter": {"function": f"shownNumber(params.value, {decimals})"},
        }
        column["filterParams"] |= {
            "filterOptions": ["greaterThanOrEqual", "lessThanOrEqual", "equals"]
        }
    elif kind == Boolean:
        column["filter"] = False
    elif not kind.is_temporal():
        column["filter"] = "agTextColumnFilter"
        column["filterParams"] |= {"filterOptions": ["contains", "equals"]}
    if name == "customer_id" and link:
        column |= {
            "cellRenderer": "CustomerLink",
            "cellRendererParams": {"link": link},
            "pinned": "left",
            "minWidth": 130,
        }
    return column | ({"minWidth": _WIDTHS[name]} if name in _WIDTHS else {})


_WIDTHS: Mapping[str, int] = {
    **dict.fromkeys(("recommendation", "reason", "risk_signals"), 320),
    **dict.fromkeys(("segment", "previous_segment", "last_purchase_date", "engagement_trend"), 180),
    **dict.fromkeys(("behavior_score", "signals_unknown", "activity_trend"), 160),
}
"""Widths of columns whose texts or names are longer than others'."""


def downloads(prefix: str, snapshot: Snapshot, part: str = "rows", segment: str = "") -> Any:
    """Links to all rows of a part, as files."""
    asked = {"as_of": str(snapshot.as_of or ""), "segment": segment}
    query = f"?{urlencode({name: value for name, value in asked.items() if value})}"
    return html.Div(
        [
            html.Span("All rows as "),
            *(
                html.A(
                    label,
                    href=f"{prefix}download/{snapshot.table}/{part}.{ending}{query}",
                    className="download",
                    **{"aria-label": f"Download all rows of {snapshot.table} as {label}"},
                )
                for label, ending in (("CSV", "csv"), ("Parquet", "parquet"), ("NDJSON", "ndjson"))
            ),
        ],
        className="downloads",
    )
