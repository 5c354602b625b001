"""The stages of a campaign list: each removes customers for one reason and counts them.

A customer leaves at the first stage that removes them, so everyone in the audience ends in exactly
one place. What the stages ask is in `campaigns.py`, `contact_rules.py` and `controls.py`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import narwhals as nw

from rfm_assets.domain.frames import Table

DELIVERABLE = "deliverable"
CONTROL = "control"


@dataclass(frozen=True)
class Stage:
    """One step of the waterfall: whom it removes and why.

    `removes` is a boolean expression over the audience; `reason` is a text or an expression that
    gives one. Null counts as "not removed", so an expression must decide about unknowns itself.
    """

    name: str
    removes: nw.Expr
    reason: nw.Expr


@dataclass(frozen=True)
class WaterfallStep:
    """Customers who entered a stage, those it removed, and those it let through."""

    stage: str
    entered: int
    removed: int
    left: int


@dataclass(frozen=True)
class Note:
    """What a table with customer_id says of customers.

    Several notes may fill one column. A text is the least that is said of a customer; counts add
    up. Of whom nothing is said, a text is null, and a count 0 or null.
    """

    table: Table
    column: str
    value: nw.Expr
    counts: bool = False


def with_notes(customers: Table, notes: Sequence[Note]) -> Table:
    """Add the notes' columns, by one grouping and one join however many tables there are.

    A join for each table takes several times as long where the tables are small, because engines
    look through the whole query whenever something is added to it.
    """
    if not notes:
        return customers
    columns = {note.column: note.counts for note in notes}
    nothing = {
        name: nw.lit(0) if counts else nw.lit(None, dtype=nw.String)
        for name, counts in columns.items()
    }
    said = [
        note.table.select("customer_id", **{**nothing, note.column: note.value}) for note in notes
    ]
    together = said[0] if len(said) == 1 else nw.concat(said, how="vertical")
    each = together.group_by("customer_id").agg(
        *(nw.col(name).sum() if counts else nw.col(name).min() for name, counts in columns.items())
    )
    return customers.join(each, on="customer_id", how="left")


def first_said(columns: Sequence[str]) -> nw.Expr:
    """The first of some columns of text that is not null."""
    said = nw.lit(None, dtype=nw.String)
    for name in reversed(columns):
        said = nw.when(~nw.col(name).is_null()).then(nw.col(name)).otherwise(said)
    return said


def first_removal(customers: Table, stages: Sequence[Stage]) -> Table:
    """Add `_stage` and `_reason` of the first stage that removes a customer, else null."""
    flags = {
        f"_removed_{i}": stage.removes.fill_null(value=False) for i, stage in enumerate(stages)
    }
    customers = customers.with_columns(**flags)
    name = nw.lit(None, dtype=nw.String)
    reason = nw.lit(None, dtype=nw.String)
    for position, stage in reversed(list(enumerate(stages))):
        removed = nw.col(f"_removed_{position}")
        name = nw.when(removed).then(nw.lit(stage.name)).otherwise(name)
        reason = nw.when(removed).then(stage.reason).otherwise(reason)
    return customers.with_columns(_stage=name, _reason=reason)


def audience_steps(
    everybody: int, inside: int, eligible: int, *, has_segments: bool, has_where: bool
) -> list[WaterfallStep]:
    """The steps from all customers of the snapshot to the audience."""
    steps = [WaterfallStep("all customers", everybody, 0, everybody)]
    if has_segments:
        steps.append(WaterfallStep("segments", everybody, everybody - inside, inside))
    if has_where:
        steps.append(WaterfallStep("where", inside, inside - eligible, eligible))
    return steps


def removal_steps(audience: int, removed: Sequence[tuple[str, int]]) -> list[WaterfallStep]:
    """The steps from the audience to the deliverable customers, by stage in order."""
    steps: list[WaterfallStep] = []
    left = audience
    for stage, n in removed:
        steps.append(WaterfallStep(stage, left, n, left - n))
        left -= n
    steps.append(WaterfallStep(DELIVERABLE, left, 0, left))
    return steps


def counted(table: Table, *by: str) -> Mapping[tuple[str, ...], int]:
    """Rows of a table by the values of some columns, as text."""
    found = table.group_by(*by).agg(n=nw.len()).collect("pyarrow")
    columns = [found.get_column(name).to_list() for name in (*by, "n")]
    return {tuple(map(str, row[:-1])): int(row[-1]) for row in zip(*columns, strict=True)}
