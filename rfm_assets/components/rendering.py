"""What an engineer sees on an asset's page: tables and one picture, as Dagster metadata.

Takes small, already computed rows and only lays them out. No figure is computed here.
"""

import base64
from collections.abc import Iterable, Mapping, Sequence
from io import BytesIO

import dagster as dg

HEAT_MAP_LIMIT_BYTES = 100_000
"""Dagster shows an inline picture from the event log; a larger one makes the page crawl."""

LABELLED_BINS = 10
"""With more scores than these the counts no longer fit into their squares."""


def markdown_table(
    header: Sequence[str], rows: Iterable[Sequence[object]], *, numeric_from: int = 1
) -> dg.MarkdownMetadataValue:
    """A Markdown table; columns from `numeric_from` on are aligned to the right."""
    align = ["---" if i < numeric_from else "---:" for i in range(len(header))]
    lines = ["| " + " | ".join(header) + " |", "| " + " | ".join(align) + " |"]
    lines += ["| " + " | ".join(_cell(value) for value in row) + " |" for row in rows]
    return dg.MetadataValue.md("\n".join(lines))


def _cell(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:,.2f}"
    return str(value).replace("|", "\\|").replace("\n", " ")


def movement_matrix(
    moves: Iterable[Mapping[str, object]], order: Sequence[str]
) -> dg.MarkdownMetadataValue:
    """From-segment rows against to-segment columns, customers in the cells."""
    counts = {(str(m["from_segment"]), str(m["to_segment"])): m["customers"] for m in moves}
    sources = [name for name in (*order, "(new)") if any(f == name for f, _ in counts)]
    targets = [name for name in (*order, "(left)") if any(t == name for _, t in counts)]
    rows = [[f"**{source}**", *(counts.get((source, t), "·") for t in targets)] for source in sources]
    return markdown_table(["from \\ to", *targets], rows)


def waterfall_table(steps: Iterable[Mapping[str, object]]) -> dg.MarkdownMetadataValue:
    """Stages of a campaign list with the customers who entered, were removed, and were left."""
    return markdown_table(
        ["stage", "entered", "removed", "left"],
        [[s["stage"], s["entered"], s["removed"], s["left"]] for s in steps],
    )


def score_heat_map(
    cells: Iterable[Mapping[str, int]], *, bins: int, title: str
) -> dg.MarkdownMetadataValue:
    """Customers by recency and frequency score as an inline PNG, with the counts written in.

    `cells` have R_score, F_score and customers; scores run from 1 to `bins`.
    """
    # Imported here: the definitions load without a plotting library, only a run needs one.
    import numpy as np
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    grid = np.zeros((bins, bins), dtype=int)
    for cell in cells:
        grid[cell["R_score"] - 1, cell["F_score"] - 1] = cell["customers"]
    side = 1.4 + 0.62 * min(bins, 10)
    # Fixed margins: letting the library find them draws everything twice.
    figure = Figure(figsize=(side + 1.2, side), dpi=96)
    FigureCanvasAgg(figure)
    axes = figure.add_axes((0.14, 0.14, 0.68, 0.74))
    image = axes.imshow(grid, cmap="YlGnBu", origin="lower", aspect="auto")
    if bins <= LABELLED_BINS:
        half = grid.max() / 2
        for (r, f), count in np.ndenumerate(grid):
            colour = "white" if count > half else "#1b2a3a"
            axes.text(f, r, f"{count:,}", ha="center", va="center", color=colour, fontsize=9)
    scores = [str(score) for score in range(1, bins + 1)]
    axes.set_xticks(range(bins), scores)
    axes.set_yticks(range(bins), scores)
    axes.set_xlabel(f"F score ({bins} buys most often)")
    axes.set_ylabel(f"R score ({bins} bought last)")
    axes.set_title(title, fontsize=10, loc="left")
    figure.colorbar(image, cax=figure.add_axes((0.85, 0.14, 0.03, 0.74)), label="customers")
    buffer = BytesIO()
    figure.savefig(buffer, format="png")
    data = buffer.getvalue()
    if len(data) > HEAT_MAP_LIMIT_BYTES:
        buffer = BytesIO()
        figure.savefig(buffer, format="png", dpi=60)
        data = buffer.getvalue()
    encoded = base64.b64encode(data).decode("ascii")
    return dg.MetadataValue.md(f"![{title}](data:image/png;base64,{encoded})")
