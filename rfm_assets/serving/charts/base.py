"""What a chart is, and what all figures have in common.

A figure has no background and no text colour of its own: the page gives both, light or dark.
"""

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

import plotly.graph_objects as go

from rfm_assets.serving.formats import safe_cells

Row: TypeAlias = Mapping[str, Any]

NEUTRAL = "#868e96"
ACCENT = "#1c7ed6"
GOOD, BAD = "#2b8a3e", "#c92a2a"

SEQUENTIAL = [[0.0, "rgba(28,126,214,0.04)"], [1.0, "rgba(28,126,214,1)"]]
"""From nothing to much, on any background."""

FONT = "-apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif"


@dataclass(frozen=True)
class Column:
    """One column of a chart's table."""

    name: str
    label: str
    decimals: int | None = None
    """Decimals of numbers; None for text."""
    unit: str = ""


@dataclass(frozen=True)
class Chart:
    """A finding with its figure and its numbers.

    Attributes:
        key: Short name, unique on a page.
        finding: The title: what there is to see, in a sentence.
        figure: None where there is nothing to draw; then the table stands alone.
        columns, rows: The same numbers as a table.
        about: What is shown and how to read it.
        least_width: Below this width, in pixels, the figure scrolls instead of shrinking.
        fixed: Whether zooming would only get in the way.
    """

    key: str
    finding: str
    figure: go.Figure | None
    columns: Sequence[Column]
    rows: Sequence[Row]
    about: str = ""
    height: int = 360
    least_width: int = 0
    fixed: bool = field(default=True)

    def csv(self) -> str:
        """The table as CSV that a spreadsheet opens without running anything."""
        out = io.StringIO()
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow(safe_cells([column.label for column in self.columns]))
        values = [_cells([row.get(column.name) for row in self.rows]) for column in self.columns]
        writer.writerows(zip(*values, strict=True))
        return out.getvalue()


def _cells(values: Sequence[Any]) -> list[Any]:
    texts = safe_cells([one if isinstance(one, str) else None for one in values])
    return [
        safe if safe is not None else "" if value is None else value
        for value, safe in zip(values, texts, strict=True)
    ]


def shown(value: Any, decimals: int | None, unit: str = "") -> str:
    """A value as people read it; a dash where it is unknown."""
    if value is None or value != value:  # noqa: PLR0124 (NaN)
        return "–"
    if decimals is None or isinstance(value, str):
        return str(value)
    return f"{value:,.{decimals}f}{unit}"


_AXIS = {"title": {"font": {"size": 13}}}
_TEMPLATE = go.layout.Template(
    layout={"xaxis": _AXIS, "yaxis": _AXIS},
    # Colours as dark or as light as the page keep an outline.
    data={"bar": [{"marker": {"line": {"width": 0.5, "color": NEUTRAL}}}]},
)
"""Instead of plotly's own, which is larger than most of the figures."""


def is_extreme(color: str) -> bool:
    """Whether a colour such as `#0b3d2e` is about as dark, or as light, as a page."""
    red, green, blue = (int(color[i : i + 2], 16) / 255 for i in (1, 3, 5))
    brightness = 0.299 * red + 0.587 * green + 0.114 * blue
    return not _DARKEST <= brightness <= _LIGHTEST


_DARKEST, _LIGHTEST = 0.3, 0.9
"""Brightness, by the weights of ITU-R BT.601, between which a colour is seen on dark and on light."""


def laid_out(figure: go.Figure, *, height: int, **layout: Any) -> go.Figure:
    """The figure with the look that all have."""
    figure.update_layout(
        template=_TEMPLATE,
        height=height,
        margin={"l": 8, "r": 16, "t": 8, "b": 8},
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
        font={"family": FONT, "size": 13},
        hoverlabel={"font": {"family": FONT, "size": 13}},
        legend={
            "orientation": "h",
            "yanchor": "bottom",
            "y": 1.02,
            "x": 0,
            "title": None,
            "traceorder": "normal",
        },
        separators=".,",
        dragmode=False,
        modebar={"bgcolor": "rgba(0,0,0,0)", "color": NEUTRAL, "activecolor": ACCENT},
    )
    figure.update_xaxes(automargin=True, zeroline=False, gridcolor="rgba(134,142,150,0.25)")
    figure.update_yaxes(automargin=True, zeroline=False, gridcolor="rgba(134,142,150,0.25)")
    figure.update_layout(**layout)
    return figure


def scale_of(*, log: bool) -> dict[str, Any]:
    """What makes an axis linear or logarithmic; the latter with three numbers for each tenfold."""
    return {"type": "log", "dtick": "D2", "tickformat": ","} if log else {"type": "linear"}


def percent(share: float | None, decimals: int = 1) -> str:
    """A share of 0..100 as text."""
    return shown(share, decimals, " %")


def count(customers: float) -> str:
    """A number of customers as text."""
    return f"{customers:,.0f}"


def on_color(color: str) -> str:
    """Black or white, whichever is read better on a colour."""
    red, green, blue = (int(color[i : i + 2], 16) / 255 for i in (1, 3, 5))

    def linear(value: float) -> float:
        return value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4  # noqa: PLR2004 (sRGB)

    light = 0.2126 * linear(red) + 0.7152 * linear(green) + 0.0722 * linear(blue)
    return "#000000" if (light + 0.05) / 0.05 > 1.05 / (light + 0.05) else "#ffffff"


class Palette:
    """Colours and shown names of segments: the scheme's, with what a deployment says instead."""

    def __init__(
        self,
        colors: Mapping[str, str],
        *,
        instead: Mapping[str, str] | None = None,
        names: Mapping[str, str] | None = None,
    ) -> None:
        self._names = dict(names or {})
        self._colors = {**colors, **(instead or {})}
        self._order = {name: position for position, name in enumerate(colors)}

    _OTHERS = (
        "#1c7ed6", "#e8590c", "#2f9e44", "#9c36b5", "#f08c00",
        "#0c8599", "#c2255c", "#5c940d", "#6741d9", "#b0713f",
    )  # fmt: skip

    def color(self, segment: str) -> str:
        if segment in {"(new)", "(left)", "(none)"}:
            return NEUTRAL
        if segment not in self._colors:
            # By the letters of the name, so that it stays whatever else there is.
            number = sum(ord(letter) * (i + 1) for i, letter in enumerate(segment))
            return self._OTHERS[number % len(self._OTHERS)]
        return self._colors[segment]

    def apart(self, names: Iterable[str]) -> dict[str, str]:
        """A colour for each of several names that are drawn together, different ones while they last."""
        found: dict[str, str] = {}
        for name in names:
            own = self.color(name)
            taken = set(found.values())
            if own in taken:
                own = next((one for one in self._OTHERS if one not in taken), own)
            found[name] = own
        return found

    def name(self, segment: str | None) -> str:
        """How a segment is shown."""
        if segment is None:
            return "(none)"
        number = segment.removeprefix("Cluster ")
        return self._names.get(segment, self._names.get(number, segment))

    def named(self, rows: Iterable[Row]) -> list[Row]:
        """Rows with their segments as they are shown, for a table."""
        return [{**row, "segment": self.name(row["segment"])} for row in rows]

    def place(self, segment: str) -> tuple[int, str]:
        """For sorting as the scheme orders its segments."""
        return self._order.get(segment, len(self._order)), segment


@dataclass(frozen=True)
class Series:
    """One number of several names: its label, the values, their colour, and what a bar says."""

    label: str
    values: Sequence[float | None]
    color: str
    told: str


def bars(
    names: Sequence[str],
    series: Sequence[Series],
    *,
    height: int,
    barmode: Literal["group", "stack"],
    **layout: Any,
) -> go.Figure:
    """Several numbers of each name as bars to the right, beside each other or end to end."""
    figure = go.Figure()
    for one in series:
        figure.add_bar(
            x=list(one.values),
            y=list(names),
            orientation="h",
            name=one.label,
            marker_color=one.color,
            hovertemplate=f"{one.told}<extra></extra>",
        )
    return laid_out(figure, height=height, barmode=barmode, **layout)


def paired_shares(
    names: Sequence[str], customers: Sequence[float], spend: Sequence[float | None]
) -> tuple[go.Figure, int]:
    """Shares of customers and of spend as pairs of bars, and how high the figure is."""
    told = "%{y}: %{x:.1f} % of the "
    series = [
        Series("share of customers", customers, "rgba(134,142,150,0.55)", f"{told}customers"),
        Series("share of spend", spend, ACCENT, f"{told}spend"),
    ]
    height = max(260, 45 * len(names) + 60)
    figure = bars(names, series, height=height, barmode="group", bargap=0.25)
    figure.update_xaxes(ticksuffix=" %")
    return figure, height


def counted_bars(counts: Sequence[tuple[str, int]], unit: str = "") -> tuple[go.Figure, int]:
    """Numbers of what is missing as bars with their figures, the last on top; and the height."""
    figure = go.Figure(
        go.Bar(
            x=[n for _, n in counts],
            y=[name for name, _ in counts],
            orientation="h",
            marker_color=BAD,
            text=[count(n) for _, n in counts],
            textposition="outside",
            cliponaxis=False,
            hovertemplate=f"%{{y}}: %{{x:,}} {unit}".rstrip() + "<extra></extra>",
        )
    )
    height = max(170, 40 * len(counts) + 40)
    laid_out(figure, height=height)
    figure.update_xaxes(range=[0, max((n for _, n in counts), default=1) * 1.2])
    return figure, height
