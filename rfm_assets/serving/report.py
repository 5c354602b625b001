"""A report of one snapshot of segments: a single HTML file that needs nothing else.

Scripts, styles, figures and tables are in the file, and its content security policy lets it ask
no other place for anything. Nothing in it depends on the moment at which it is written: the same
snapshots give the same bytes. What stands in it is `report_sections.py`'s business.
"""

import base64
import hashlib
import json
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any
from uuid import uuid4

import jinja2
from markupsafe import Markup

from rfm_assets.errors import InvalidConfig
from rfm_assets.serving.charts.base import Chart, shown
from rfm_assets.serving.queries import Queries
from rfm_assets.serving.report_contents import SEGMENTS, contents
from rfm_assets.serving.report_parts import Section, day
from rfm_assets.serving.report_sections import sections
from rfm_assets.serving.settings import ServingSettings
from rfm_assets.store import Snapshot

LONGEST_OPEN = 20
"""Rows of a table without a figure that is shown at once; a longer one is opened."""

LONGEST_PRINTED = 40
"""Rows of a table that is printed; a longer one is read on the screen, or as CSV."""


def write_report(
    queries: Queries, snapshot: Snapshot, target: Path, *, settings: ServingSettings | None = None
) -> None:
    """Write the report of a snapshot of `customer_segments` to a file, whole or not at all.

    Args:
        queries: Answers about the store that the snapshot is in.
        snapshot: The segments to report on, and with them all that belongs to them.
        target: The file; its folder is made where it is missing.
        settings: What segments are called, and their colours; the scheme's where not given.

    Raises:
        InvalidConfig: The snapshot is of another kind.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    page = report_page(queries, snapshot, settings=settings)
    staged = target.with_name(f".{target.name}.{uuid4().hex[:8]}")
    try:
        staged.write_text(page, encoding="utf-8", newline="\n")
        staged.replace(target)
    finally:
        staged.unlink(missing_ok=True)


def report_page(
    queries: Queries, snapshot: Snapshot, *, settings: ServingSettings | None = None
) -> str:
    """The report as text.

    Raises:
        InvalidConfig: The snapshot is of another kind.
    """
    if snapshot.manifest.kind != SEGMENTS or snapshot.as_of is None:
        raise InvalidConfig(
            key="table",
            value=snapshot.table,
            reason=f"holds a {snapshot.manifest.kind} table",
            fix="Name a table of customer segments.",
        )
    found = contents(queries, snapshot, settings or ServingSettings())
    made = sections(found)
    script, plotly = _file("report.js"), _plotly()
    page = _environment().get_template("report.html.j2")
    return page.render(
        title=f"Customer segments as of {day(snapshot.as_of)}",
        source=snapshot.table,
        as_of=snapshot.as_of,
        organization=queries.catalogue.organization_of(snapshot),
        sections=made,
        figures={
            _id(section, chart): Markup(_figure_json(chart))  # noqa: S704  no < is left in it
            for section in made
            for chart in section.charts
            if chart.figure is not None
        },
        css=Markup(_file("report.css")),  # noqa: S704  our own
        script=Markup(script),  # noqa: S704  our own
        plotly=Markup(plotly),  # noqa: S704  plotly's own
        policy=_policy(plotly, script),
        longest_open=LONGEST_OPEN,
        longest_printed=LONGEST_PRINTED,
    )


def _id(section: Section, chart: Chart) -> str:
    """Name of a chart on the page."""
    return f"{section.key}-{chart.key}"


def _policy(*scripts: str) -> str:
    """A content security policy under which only these scripts run and nothing is fetched."""
    hashes = " ".join(
        f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
        for text in scripts
    )
    return (
        f"default-src 'none'; script-src {hashes}; style-src 'unsafe-inline'; "
        "img-src data: blob:; base-uri 'none'; form-action 'none'"
    )


def _figure_json(chart: Chart) -> str:
    """Data and layout for plotly.js, safe inside a script element.

    Points are drawn as SVG rather than by the graphics card, which prints sharply and needs no
    script that a content security policy forbids. The template goes: `report.js` has the look.
    """
    if chart.figure is None:
        raise TypeError(f"{chart.key} has no figure")
    spec: dict[str, Any] = json.loads(chart.figure.to_json())
    for trace in spec["data"]:
        if trace["type"] == "scattergl":
            trace["type"] = "scatter"
    spec["layout"].pop("template", None)
    text = json.dumps(
        {"data": spec["data"], "layout": spec["layout"], "fixed": chart.fixed},
        ensure_ascii=False,
        separators=(",", ":"),
    )
    return text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")


def _data_uri(chart: Chart) -> str:
    """The chart's table as CSV, to be downloaded from the file itself."""
    encoded = base64.b64encode(chart.csv().encode()).decode()
    return f"data:text/csv;charset=utf-8;base64,{encoded}"


@cache
def _file(name: str) -> str:
    return (files("rfm_assets.serving") / "templates" / name).read_text(encoding="utf-8")


@cache
def _plotly() -> str:
    """plotly.js as Python's package brings it: 4.8 MB, there is no smaller bundle."""
    from plotly.offline import get_plotlyjs

    # The end of a script element must not stand inside of one.
    return get_plotlyjs().replace("</script", "<\\/script")


@cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("rfm_assets.serving"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    tools: Mapping[str, Any] = {"cell": shown, "data_uri": _data_uri, "id_of": _id}
    environment.globals.update(tools)
    return environment
