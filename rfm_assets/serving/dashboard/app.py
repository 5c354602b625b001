"""The dashboard's shell: header, navigation, the page that the address names, downloads.

A page is made from its address alone, so that an address can be kept, sent and opened again. All
files come with the packages; nothing is loaded from elsewhere.
"""

from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import parse_qsl, urlencode

import dash_mantine_components as dmc
from dash import (
    ALL,
    MATCH,
    Dash,
    Input,
    Output,
    State,
    callback_context,
    dcc,
    html,
    no_update,
    set_props,
)
from flask import Response, abort, request
from narwhals.exceptions import NarwhalsError

from rfm_assets.engines.base import to_arrow
from rfm_assets.errors import RfmError
from rfm_assets.serving.dashboard.grids import rows_for
from rfm_assets.serving.dashboard.made import Page, Pages, as_sent
from rfm_assets.serving.dashboard.pages import (
    behavior,
    campaigns,
    clusters,
    customers,
    explore,
    movement,
    overview,
    quality,
    segments,
)
from rfm_assets.serving.dashboard.parts import title
from rfm_assets.serving.dashboard.view import View
from rfm_assets.serving.formats import WRITERS, Format, stream
from rfm_assets.serving.queries import Condition, Queries, as_of_written
from rfm_assets.serving.settings import ServingSettings

PAGES: Mapping[str, tuple[str, Callable[[View], list[Any]]]] = {
    "": ("Overview", overview.page),
    "segments": ("Segments", segments.page),
    "explore": ("Explore", explore.page),
    "movement": ("Movement", movement.page),
    "customers": ("Customers", customers.page),
    "campaigns": ("Campaigns", campaigns.page),
    "behavior": ("Behaviour", behavior.page),
    "clusters": ("Clusters", clusters.page),
    "quality": ("Quality", quality.page),
}

OWN_PARAMETERS = frozenset({"as_of"})
"""What stays in the address when another page is opened."""


def create_dashboard(
    queries: Queries, *, settings: ServingSettings | None = None, prefix: str = "/"
) -> Dash:
    """The dashboard over one store; `prefix` is where it is mounted, with slashes around it."""
    settings = settings or ServingSettings()
    app = Dash(
        "rfm_assets.serving.dashboard",
        title="rfm_assets",
        update_title="",
        requests_pathname_prefix=prefix,
        routes_pathname_prefix="/",
        assets_folder="assets",
        suppress_callback_exceptions=True,
        serve_locally=True,
        meta_tags=[{"name": "viewport", "content": "width=device-width, initial-scale=1"}],
    )
    app.index_string = app.index_string.replace("<html>", '<html lang="en">')
    app.layout = _shell(prefix)
    _add_callbacks(app, queries, settings, prefix)
    _add_downloads(app, queries)
    return app


def _shell(prefix: str) -> Any:
    return dmc.MantineProvider(
        [
            dcc.Location(id="url", refresh="callback-nav"),
            dcc.Store(id="shown"),
            dcc.Store(id="title"),
            html.A("To the content", href="#content", className="skip"),
            dmc.AppShell(
                [
                    dmc.AppShellHeader(
                        dmc.Group(
                            [
                                dmc.Group(
                                    [
                                        dmc.Burger(
                                            id="burger",
                                            size="sm",
                                            hiddenFrom="sm",
                                            **{"aria-label": "Navigation"},
                                        ),
                                        dcc.Link("rfm_assets", href=prefix, className="brand"),
                                    ],
                                    gap="sm",
                                    wrap="nowrap",
                                ),
                                dmc.Group(
                                    [
                                        html.Div(id="as-of"),
                                        dmc.ColorSchemeToggle(
                                            lightIcon=html.Span("☀", **{"aria-hidden": "true"}),
                                            darkIcon=html.Span("☾", **{"aria-hidden": "true"}),
                                            size="lg",
                                            variant="default",
                                            **{"aria-label": "Light or dark"},
                                        ),
                                    ],
                                    gap="sm",
                                    wrap="nowrap",
                                ),
                            ],
                            h="100%",
                            px="md",
                            justify="space-between",
                            wrap="nowrap",
                        )
                    ),
                    dmc.AppShellNavbar(html.Nav(id="nav", **{"aria-label": "Pages"}), p="sm"),
                    dmc.AppShellMain(
                        [
                            html.Div(id="grid-note", role="status"),
                            html.Div(id="content", tabIndex=-1),
                        ]
                    ),
                ],
                id="shell",
                header={"height": 60},
                navbar={"width": 200, "breakpoint": "sm", "collapsed": {"mobile": True}},
                padding="md",
            ),
        ],
        defaultColorScheme="auto",
        theme={"fontFamily": "inherit", "primaryColor": "blue"},
    )


def _add_callbacks(app: Dash, queries: Queries, settings: ServingSettings, prefix: str) -> None:
    pages = Pages(queries.catalogue)

    @app.callback(
        Output("content", "children"),
        Output("nav", "children"),
        Output("as-of", "children"),
        Output("shown", "data"),
        Output("title", "data"),
        Output("grid-note", "children"),
        Input("url", "pathname"),
        Input("url", "search"),
    )
    def show(pathname: str | None, search: str | None) -> tuple[Any, ...]:
        name = (pathname or prefix).removeprefix(prefix.rstrip("/")).strip("/")
        page = pages.page(
            (name, search or ""),
            lambda: _page(View.of(queries, settings, prefix, search or ""), name),
        )
        return page.content, page.navigation, page.as_of, page.said, page.heading, None

    @app.callback(
        Output("url", "search"),
        Input({"type": "param", "name": ALL}, "value"),
        Input({"type": "switch", "name": ALL}, "checked"),
        Input({"type": "search", "name": ALL}, "value"),
        State("url", "search"),
        State("shown", "data"),
        prevent_initial_call=True,
    )
    def choose(
        _: Any, __: Any, ___: Any, search: str | None, said: Mapping[str, Any] | None
    ) -> Any:
        triggered = callback_context.triggered_id
        if triggered is None:
            return no_update
        name, value = triggered["name"], _as_text(callback_context.triggered[0]["value"])
        # Controls speak when they appear, too; what the page shows anyway is nobody's choice.
        if not value or (said or {}).get(name, "") == value:
            return no_update
        params = dict(parse_qsl((search or "").lstrip("?"), keep_blank_values=True))
        return "?" + urlencode({**params, name: value})

    @app.callback(
        Output(_grid_id(MATCH), "getRowsResponse"),
        Input(_grid_id(MATCH), "getRowsRequest"),
        State(_grid_id(MATCH), "id"),
        prevent_initial_call=True,
    )
    def rows(asked: Mapping[str, Any] | None, grid: Mapping[str, str]) -> Any:
        if asked is None:
            return no_update
        try:
            return rows_for(queries, grid, asked)
        except RfmError as error:
            set_props("grid-note", {"children": _gone(error)})
            return {"rowData": [], "rowCount": 0}

    app.clientside_callback(
        """function (opened, shell) {
            return Object.assign({}, shell, {collapsed: {mobile: !opened}});
        }""",
        Output("shell", "navbar"),
        Input("burger", "opened"),
        State("shell", "navbar"),
    )
    # A page that was chosen on a phone is not to lie behind the navigation.
    app.clientside_callback(
        "function () { return false; }",
        Output("burger", "opened"),
        Input("url", "pathname"),
    )
    app.clientside_callback(
        "function (title) { if (title) document.title = title; }",
        Input("title", "data"),
    )


def _grid_id(value: Any) -> dict[str, Any]:
    names = ("table", "as_of", "version", "part", "segment")
    return {"type": "grid", **dict.fromkeys(names, value)}


def _said(content: Any) -> dict[str, str]:
    """What the controls of a page say, by name, before anybody has touched them."""
    found = html.Div(content)._traverse()  # noqa: SLF001 (the only way through a tree of components)
    return {
        one.id["name"]: _as_text(getattr(one, "checked" if one.id["type"] == "switch" else "value"))
        for one in found
        if isinstance(getattr(one, "id", None), dict) and one.id["type"] in _CONTROLS
    }


_CONTROLS = frozenset({"param", "switch", "search"})


def _as_text(value: Any) -> str:
    return ("1" if value else "0") if isinstance(value, bool) else str(value or "")


def _gone(error: RfmError) -> Any:
    """What stands above a page whose grid cannot be filled any more."""
    return dmc.Alert(
        f"{error} Load the page anew to see what is stored now.",
        title="These rows cannot be shown any more",
        color="red",
        mb="md",
    )


def _page(view: View, name: str) -> Page:
    content, lasting = _content(view, name)
    as_of = _as_of(view)
    return Page(
        content=as_sent(content),
        as_of=as_sent(as_of),
        navigation=as_sent(_navigation(view, name)),
        said=_said(content) | _said([as_of]),
        heading=f"{PAGES[name][0] if name in PAGES else 'Not found'} – rfm_assets",
        lasting=lasting,
    )


def _content(view: View, name: str) -> tuple[list[Any], bool]:
    """What stands on a page, and whether it is what was asked for."""
    if name not in PAGES:
        text = f"There is no page {name!r}. Choose one from the navigation."
        return [title("Not found"), dmc.Alert(text, color="yellow")], False
    try:
        found = PAGES[name][1](view)
    except RfmError as error:
        return [title(PAGES[name][0]), dmc.Alert(str(error), color="red")], False
    note = dmc.Alert(view.note, color="yellow", variant="light", mb="md") if view.note else None
    return [one for one in [note, *found] if one is not None], True


def _navigation(view: View, name: str) -> Any:
    return [
        dmc.NavLink(
            label=label,
            href=view.href(page),
            active=page == name,
            variant="light",
            **({"aria-current": "page"} if page == name else {}),
        )
        for page, (label, _) in PAGES.items()
    ]


def _as_of(view: View) -> Any:
    if not view.dates:
        return None
    return dmc.Select(
        id={"type": "param", "name": "as_of"},
        data=[str(day) for day in reversed(view.dates)],
        value=str(view.as_of),
        allowDeselect=False,
        searchable=True,
        w=140,
        **{"aria-label": "Snapshot, as of"},
    )


def _add_downloads(app: Dash, queries: Queries) -> None:
    @app.server.get("/download/<table>/<part>.<ending>")
    def download(table: str, part: str, ending: str) -> Response:
        formats: dict[str, Format] = {writer.ending: name for name, writer in WRITERS.items()}
        if ending not in formats:
            abort(404)
        try:
            day = request.args.get("as_of", "")
            snapshot = queries.catalogue.snapshot(table, as_of_written(day) if day else None)
            segment = request.args.get("segment", "")
            conditions = [Condition("segment", "=", segment)] if segment else []
            schema = to_arrow(queries.rows(snapshot, part).head(0)).schema
            # Asked before anything is sent: once rows flow, it is too late to say that nobody knows.
            gone = queries.suppressed(snapshot, part)
            batches = queries.batches(snapshot, part, conditions=conditions, suppressed=gone)
        except (RfmError, NarwhalsError) as error:
            abort(404, str(error))
        name = formats[ending]
        dated = "_".join(one for one in (table, part if part != "rows" else "", day) if one)
        return Response(
            stream(name, batches, schema=schema),
            mimetype=WRITERS[name].media_type,
            headers={"Content-Disposition": f'attachment; filename="{dated}.{ending}"'},
        )
