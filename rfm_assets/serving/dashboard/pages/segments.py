"""The segments side by side: scores, sizes, figures, what to do."""

from typing import Any

import dash_mantine_components as dmc
from dash import dcc, html

from rfm_assets.serving.charts import learned
from rfm_assets.serving.charts import segments as charts
from rfm_assets.serving.dashboard.parts import chart_card, grid_of, missing, title
from rfm_assets.serving.dashboard.view import View
from rfm_assets.serving.views import risk_cells, score_cells


def page(view: View) -> list[Any]:
    """The segments of one date."""
    snapshot, summary = view.snapshot("customer_segments"), view.snapshot("segment_summary")
    if snapshot is None:
        return [title("Segments"), missing("snapshot of segments", "CustomerSegmentationComponent")]
    scheme = view.queries.scheme(snapshot)
    rows = view.queries.whole(summary) if summary else []
    points = snapshot.manifest.cut_points or {"scale": 5}
    churn = view.snapshot("churn_aware_segments")
    scored = "R_score" in view.queries.columns(snapshot)
    cells = score_cells(view.queries, snapshot) if scored else []
    return [
        title(
            "Segments",
            f"As of {view.as_of}, by the scheme {scheme.reference}" if scheme else "",
        ),
        grid_of(
            scored
            and chart_card(
                charts.score_grid(cells, scale=int(str(points["scale"])), palette=view.palette),
                span=6,
            ),
            chart_card(charts.treemap(rows, view.palette), span=6) if rows else None,
            chart_card(charts.comparison(rows, view.palette), span=12) if rows else None,
            chart_card(learned.risk(risk_cells(view.queries, churn), view.palette), span=12)
            if churn
            else None,
        ),
        _what_to_do(view, scheme),
    ]


def _what_to_do(view: View, scheme: Any) -> Any:
    """Each segment with its description, recommendation, actions and a link to its customers."""
    if scheme is None:
        return None
    items = [
        _item(view, one) for one in sorted(scheme.segments, key=lambda s: (-s.priority, s.name))
    ]
    return html.Div(
        [
            html.H2("What to do, most urgent first", className="finding section"),
            dmc.Accordion(items, variant="separated", multiple=True, order=3),
        ],
        className="section",
    )


def _item(view: View, one: Any) -> Any:
    return dmc.AccordionItem(
        [
            dmc.AccordionControl(
                html.Span(
                    [
                        html.Span(
                            className="segment-dot",
                            style={"background": view.palette.color(one.name)},
                        ),
                        f"{view.palette.name(one.name)}: {one.recommendation or ''}",
                    ]
                )
            ),
            dmc.AccordionPanel(
                [
                    html.P(one.description),
                    html.P([html.Strong("Typical: "), "; ".join(one.characteristics)])
                    if one.characteristics
                    else None,
                    html.Ul([html.Li(action) for action in one.actions]),
                    html.P(f"Priority {one.priority} of 5"),
                    dcc.Link(
                        f"The customers of {view.palette.name(one.name)}",
                        href=view.href("customers", segment=one.name),
                    ),
                ]
            ),
        ],
        value=one.id,
    )
