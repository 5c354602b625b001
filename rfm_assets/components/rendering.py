"""What an engineer sees on an asset's page: tables and one picture, as Dagster metadata.

Takes small, already computed rows and only lays them out. No figure is computed here.
"""

import base64
from collections.abc import Iterable, Mapping, Sequence
from io import BytesIO

import dagster as dg

from rfm_assets.domain.judging import Interval

SHADES = (
    (255, 255, 229), (237, 248, 177), (199, 233, 180), (127, 205, 187), (65, 182, 196),
    (29, 145, 192), (34, 94, 168), (12, 44, 132), (27, 42, 58), (255, 255, 255),
)  # fmt: skip
"""ColorBrewer's YlGnBu from few to many customers, readable for the colour-blind; ink; paper."""
INK, PAPER = 8, 9
CELL, SMALL_CELL, WIDE_BINS = (64, 34), (36, 20), 5
LABELS = (24, 20)


def markdown_table(
    header: Sequence[str], rows: Iterable[Sequence[object]], *, numeric_from: int = 1
) -> dg.MarkdownMetadataValue:
    """A Markdown table; columns from `numeric_from` on are aligned to the right."""
    align = ["---" if i < numeric_from else "---:" for i in range(len(header))]
    lines = ["| " + " | ".join(header) + " |", "| " + " | ".join(align) + " |"]
    lines += ["| " + " | ".join(_cell(value) for value in row) + " |" for row in rows]
    return dg.MetadataValue.md("\n".join(lines))


def with_interval(found: Interval, *, sign: bool = False) -> str:
    """A value with its interval: `0.751 (0.732 to 0.768)`."""
    value, low, high = (
        f"{one:+.3f}" if sign else f"{one:.3f}" for one in (found.value, found.low, found.high)
    )
    return f"{value} ({low} to {high})"


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
    rows = [
        [f"**{source}**", *(counts.get((source, t), "·") for t in targets)] for source in sources
    ]
    return markdown_table(["from \\ to", *targets], rows)


def waterfall_table(steps: Iterable[Mapping[str, object]]) -> dg.MarkdownMetadataValue:
    """Stages of a campaign list with the customers who entered, were removed, and were left."""
    return markdown_table(
        ["stage", "entered", "removed", "left"],
        [[s["stage"], s["entered"], s["removed"], s["left"]] for s in steps],
    )


def score_table(cells: Iterable[Mapping[str, int]], *, bins: int) -> dg.MarkdownMetadataValue:
    """Customers by recency score (rows, highest first) and frequency score (columns)."""
    counts = {(cell["R_score"], cell["F_score"]): cell["customers"] for cell in cells}
    scores = range(1, bins + 1)
    rows = [[f"**R{r}**", *(counts.get((r, f), "·") for f in scores)] for r in reversed(scores)]
    return markdown_table(["", *(f"F{f}" for f in scores)], rows)


def score_heat_map(cells: Iterable[Mapping[str, int]], *, bins: int) -> dg.MarkdownMetadataValue:
    """Customers by recency score (upwards) and frequency score (to the right) as an inline PNG.

    `cells` have R_score, F_score and customers; scores run from 1 to `bins`. The darkest cell is
    the one with most customers. Flat colours in a small palette keep it below the size up to
    which Dagster shows a picture at once instead of a link.
    """
    # Imported here: loading the definitions does not need it, only a run does.
    from PIL import Image, ImageDraw, ImageFont

    counts = {(cell["R_score"], cell["F_score"]): cell["customers"] for cell in cells}
    most = max(counts.values(), default=1)
    width, height = CELL if bins <= WIDE_BINS else SMALL_CELL
    image = Image.new("P", (LABELS[0] + width * bins, LABELS[1] + height * bins), PAPER)
    image.putpalette([channel for colour in SHADES for channel in colour])
    draw = ImageDraw.Draw(image)
    draw.fontmode = "1"  # hard edges compress to a fraction
    font = ImageFont.load_default_imagefont()
    for r in range(1, bins + 1):
        top = (bins - r) * height
        draw.text((2, top + height // 2 - 6), f"R{r}", fill=INK, font=font)
        for f in range(1, bins + 1):
            left = LABELS[0] + (f - 1) * width
            shade = round(counts.get((r, f), 0) / most * (INK - 1))
            draw.rectangle((left, top, left + width - 2, top + height - 2), fill=shade)
    for f in range(1, bins + 1):
        at = (LABELS[0] + (f - 1) * width + width // 2 - 6, bins * height + 4)
        draw.text(at, f"F{f}", fill=INK, font=font)
    buffer = BytesIO()
    image.save(buffer, format="PNG", optimize=True, bits=4)
    encoded = base64.b64encode(buffer.getvalue()).decode("ascii")
    return dg.MetadataValue.md(f"![R by F](data:image/png;base64,{encoded})")
