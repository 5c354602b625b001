"""Charts of how good the data is: checks, rejected rows, what became of the source's rows."""

from collections.abc import Mapping, Sequence

from rfm_assets.serving.charts.base import (
    Chart,
    Column,
    Row,
    count,
    counted_bars,
    percent,
)
from rfm_assets.validation import CheckOutcome


def checks(found: Sequence[tuple[str, CheckOutcome]]) -> Chart:
    """Every check of the shown snapshots, failed ones first, as a table."""
    ordered = sorted(found, key=lambda pair: (pair[1].passed, not pair[1].blocking, pair[0]))
    return Chart(
        key="checks",
        finding=_told([check for _, check in found]),
        figure=None,
        columns=(
            Column("table", "Table"),
            Column("check", "Check"),
            Column("result", "Result"),
            Column("observed", "Observed"),
            Column("expected", "Expected"),
            Column("next_step", "What to do"),
        ),
        rows=[
            {
                "table": table,
                "check": check.name.replace("_", " "),
                "result": "passed" if check.passed else "failed" if check.blocking else "warning",
                "observed": check.observed,
                "expected": check.expected,
                "next_step": "" if check.passed else check.next_step,
            }
            for table, check in ordered
        ],
        about="A check that blocks keeps a table from being published; the others warn.",
    )


def _told(found: Sequence[CheckOutcome]) -> str:
    failed = sum(1 for check in found if not check.passed and check.blocking)
    warned = sum(1 for check in found if not check.passed and not check.blocking)
    if not found:
        return "No check was made"
    if not failed and not warned:
        return "The one check passed" if len(found) == 1 else f"All {len(found)} checks passed"
    parts = [f"{failed} failed"] if failed else []
    parts += [f"{warned} {'warns' if warned == 1 else 'warn'}"] if warned else []
    return f"Of {len(found)} checks, {' and '.join(parts)}"


def fates(table: str, counts: Mapping[str, int]) -> Chart:
    """What became of every row of a table's source."""
    rows_in = counts.get("rows_in", 0)
    parts = [("kept", counts.get("rows_kept", 0))]
    parts += [
        (f"set aside: {name.removeprefix('rejected/').replace('_', ' ')}", n)
        for name, n in counts.items()
        if name.startswith("rejected/")
    ]
    parts += [
        (f"dropped: {name.removeprefix('dropped/').replace('_', ' ')}", n)
        for name, n in counts.items()
        if name.startswith("dropped/")
    ]
    aside = sorted(parts[1:], key=lambda pair: (pair[1], pair[0]))
    figure, height = counted_bars(aside, "rows")
    kept = parts[0][1]
    return Chart(
        key=f"fates-{table}",
        finding=f"{table}: {percent(100 * kept / rows_in)} of {count(rows_in)} source rows are used"
        if rows_in
        else f"{table}: the source had no rows",
        figure=figure if aside else None,
        height=height,
        columns=(Column("fate", "What became of them"), Column("rows", "Rows", 0)),
        rows=[
            *({"fate": name, "rows": n} for name, n in parts),
            {"fate": "read", "rows": rows_in},
        ],
        about="Rows that are set aside stand in the rejects with their line and reason.",
    )


def rejects(table: str, rows: Sequence[Row], total: int) -> Chart:
    """The first rows that were set aside, as they stood."""
    return Chart(
        key=f"rejects-{table}",
        finding=f"{table}: {count(total)} {'row is' if total == 1 else 'rows are'} set aside, "
        "with line and reason"
        if total
        else f"{table}: no row is set aside",
        figure=None,
        columns=(
            Column("source", "Source"),
            Column("source_line", "Line", 0),
            Column("reason", "Reason"),
            Column("detail", "Value at fault"),
            Column("customer_id", "Customer"),
            Column("date", "Date"),
            Column("amount", "Amount"),
        ),
        rows=list(rows),
        about=f"The first {len(rows)}." if len(rows) < total else "",
    )
