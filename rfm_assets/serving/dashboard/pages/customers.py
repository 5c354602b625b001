"""Every customer in a grid, and one customer with all that is known."""

from datetime import datetime, time
from typing import Any

import dash_mantine_components as dmc
from dash import dcc, html

from rfm_assets.domain.explaining import Explanation
from rfm_assets.serving.charts import customers as charts
from rfm_assets.serving.charts.base import Palette, shown
from rfm_assets.serving.customers import CustomerCard, customer_card, customer_history
from rfm_assets.serving.dashboard.parts import (
    chart_card,
    choice,
    controls,
    downloads,
    missing,
    plain_table,
    rows_grid,
    stat,
    stats,
    title,
)
from rfm_assets.serving.dashboard.view import View
from rfm_assets.store import Snapshot

EVERYBODY = "(all)"

_FIRST = (
    "customer_id",
    "segment",
    "recency",
    "frequency",
    "monetary",
    "rfm_cell",
    "RFM_score",
    "previous_segment",
    "last_purchase_date",
)
_LEFT_OUT = frozenset({"as_of", "segmented_at", "R_score", "F_score", "M_score"})


def page(view: View) -> list[Any]:
    """One customer where the address names one, else all of them."""
    snapshot = view.snapshot("customer_segments")
    if snapshot is None:
        return [
            title("Customers"),
            missing("snapshot of customers", "CustomerSegmentationComponent"),
        ]
    asked = view.params.get("customer", "").strip()
    found = customer_card(view.queries, snapshot, asked) if asked else None
    if found is not None:
        return _one(view, found, asked)
    return _all(view, snapshot, asked)


def _all(view: View, snapshot: Snapshot, asked: str) -> list[Any]:
    scheme = view.queries.scheme(snapshot)
    names = [one.name for one in scheme.segments] if scheme else []
    segment = view.params.get("segment", "")
    segment = segment if segment in names else ""
    columns = view.queries.columns(snapshot)
    ordered = [name for name in _FIRST if name in columns]
    ordered += [name for name in columns if name not in {*ordered, *_LEFT_OUT}]
    options = [(EVERYBODY, "every segment"), *((n, view.palette.name(n)) for n in names)]
    return [
        title("Customers", f"{snapshot.manifest.row_counts['rows']:,} as of {view.as_of}"),
        dmc.Alert(
            f"No customer {asked!r} as of {view.as_of}. The grid below finds parts of an id.",
            color="yellow",
            variant="light",
            mb="md",
        )
        if asked
        else None,
        controls(
            _search(),
            choice("segment", "Segment", options, segment or EVERYBODY) if names else None,
        ),
        downloads(view.prefix, snapshot, segment=segment),
        rows_grid(
            snapshot,
            {name: columns[name] for name in ordered},
            segment=segment,
            link=view.href("customers")
            + ("&" if "?" in view.href("customers") else "?")
            + "customer=",
            height=620,
        ),
    ]


def _search(value: str = "") -> Any:
    return dmc.TextInput(
        id={"type": "search", "name": "customer"},
        label="Customer",
        placeholder="an id, then Enter",
        value=value,
        debounce=True,
        className="choice",
    )


def _one(view: View, card: CustomerCard, customer_id: str) -> list[Any]:
    palette = view.palette
    row = card.row
    rows = customer_history(view.queries, card.snapshot.table, customer_id)
    head = []
    if row is not None:
        head = [
            stat("Segment", palette.name(row["segment"]), _since(rows)),
            stat(
                "Recency",
                f"{row['recency']:,} days",
                f"last bought {row['last_purchase_date']}" if "last_purchase_date" in row else "",
            ),
            stat("Frequency", f"{row['frequency']:,}", "purchases in the window"),
            stat("Monetary", shown(row["monetary"], 2), "net spend in the window"),
            stat("Cell", str(row["rfm_cell"]), f"RFM score {shown(row['RFM_score'], 2)}")
            if "rfm_cell" in row
            else None,
        ]
    elif card.excluded is not None:
        head = [stat("Left out", str(card.excluded["reason"]), str(card.excluded["stage"]))]
    return [
        title(f"Customer {customer_id}", f"As of {view.as_of}"),
        controls(_search()),
        html.P(dcc.Link("← all customers", href=view.href("customers"))),
        stats(*head),
        dmc.Grid(
            [
                dmc.GridCol(_why(card.explanation, row, palette), span={"base": 12, "lg": 6})
                if card.explanation and row
                else None,
                chart_card(charts.history(rows, palette), span=6) if rows else None,
            ],
            gutter="md",
        ),
        html.Div(
            [
                _lists(card),
                _signals(card) if card.signals else None,
                *(_table(name, found) for name, found in card.beside.items()),
                _table("attributes", _attributes(row)) if row and _attributes(row) else None,
            ],
            className="columns",
        ),
    ]


def _since(rows: list[dict[str, Any]]) -> str:
    """Since which stored date the customer is in the segment of the last one."""
    if not rows:
        return ""
    start = rows[-1]
    for row in reversed(rows):
        if row["segment"] != rows[-1]["segment"]:
            break
        start = row
    return f"since {start['as_of']}"


def _why(explanation: Explanation, row: dict[str, Any], palette: Palette) -> Any:
    name = palette.name
    fired = next((r for r in explanation.rules if r.position == explanation.fired), None)
    tried = [rule for rule in explanation.rules if rule.reached]
    near = explanation.near_misses
    return _paper(
        f"Why {name(row['segment'])}" if row["segment"] else "Scores",
        [
            html.Ul([html.Li(one.sentence) for one in explanation.scores], className="rules"),
            html.P(
                [
                    html.Strong(f"Rule {fired.position} decided: "),
                    f"{name(fired.segment)} if {' and '.join(fired.conditions) or 'nothing else fits'}.",
                ]
            )
            if fired
            else None,
            html.P(
                [
                    html.Strong("Close, but not: "),
                    "; ".join(f"{name(rule.segment)} ({rule.failed[0]})" for rule in near[:4]),
                ]
            )
            if near
            else None,
            html.Details(
                [
                    html.Summary(f"The rules that were tried, in order ({len(tried)})"),
                    html.Ol(
                        [
                            html.Li(
                                f"{name(rule.segment)}: "
                                + ("matches" if rule.matched else "; ".join(rule.failed)),
                                className="fired" if rule.matched else "",
                            )
                            for rule in tried
                        ],
                        className="rules",
                    ),
                ]
            )
            if tried
            else None,
        ],
    )


def _lists(card: CustomerCard) -> Any:
    lines = []
    for one in card.lists:
        if one["standing"] == "deliverable":
            text = f"{one['list']}: on it, rank {one['rank']:,}"
        elif one["standing"] == "suppressed since":
            text = f"{one['list']}: was on it, suppressed since, not contacted any more"
        elif one["standing"] == "suppression unknown":
            text = f"{one['list']}: was on it; nobody can say whether suppressed since"
        elif one["standing"] == "control":
            text = f"{one['list']}: in the control group of {one['experiment']}, not contacted"
        elif one["standing"] == "excluded":
            text = f"{one['list']}: left out at the stage {one['stage']} ({one['reason']})"
        else:
            since = f" since {one['since']}" if "since" in one else ""
            text = f"{one['list']}: suppressed, {one['reason']}{since}, from {one['source']}"
        lines.append(html.Li(text))
    body = html.Ul(lines, className="rules") if lines else html.P("On no list.")
    return _paper("Campaigns", [body])


def _signals(card: CustomerCard) -> Any:
    return _paper(
        "Risk signals",
        [
            html.Ul(
                [
                    html.Li(
                        [
                            html.Strong(f"{one['signal'].replace('_', ' ')} ({one['urgency']}): "),
                            one["recommendation"],
                        ]
                    )
                    for one in card.signals
                ],
                className="rules",
            )
        ],
    )


def _attributes(row: dict[str, Any] | None) -> dict[str, Any]:
    known = {*_FIRST, *_LEFT_OUT, "recommendation"}
    return {name: value for name, value in (row or {}).items() if name not in known}


def _table(name: str, row: dict[str, Any]) -> Any:
    body = [
        [column.replace("_", " "), _shown(value)]
        for column, value in row.items()
        if column not in {"customer_id", "as_of"}
    ]
    return _paper(
        name.replace("_", " ").capitalize(),
        [
            html.Div(
                plain_table(["Column", "Value"], body, numeric=[False, False]),
                className="chart-table",
                tabIndex=0,
                role="region",
                **{"aria-label": name},
            )
        ],
    )


def _shown(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return shown(value, 0 if value.is_integer() else 3)
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%d %H:%M}" if value.time() != time() else f"{value:%Y-%m-%d}"
    return shown(value, None)


def _paper(heading: str, children: list[Any]) -> Any:
    return dmc.Paper(
        [html.H2(heading, className="finding"), *children],
        withBorder=True,
        radius="md",
        p="md",
        className="card",
    )
