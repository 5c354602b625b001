"""An analysis of a file as a terminal shows it, and as one JSON document."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import typer
from rich.console import Console
from rich.table import Table as Grid

from rfm_assets.analysis import Analysis
from rfm_assets.analysis_faults import set_aside
from rfm_assets.commands.terminal import err, red
from rfm_assets.errors import RfmError, TooManySetAside, ValidationFailed
from rfm_assets.sources.suggestion import Suggestion, declared

Row = Mapping[str, Any]

INTERRUPTED = 130
"""What a shell says of a command that Ctrl-C ended."""


@contextmanager
def exit_codes(source: str) -> Iterator[None]:
    """1 for a refusal, 2 for a mistake, 130 for an interruption; never a stack trace."""
    import duckdb

    try:
        yield
    except (KeyboardInterrupt, duckdb.InterruptException, RuntimeError) as error:
        # DuckDB turns Ctrl-C into a RuntimeError of these words while a query runs.
        if isinstance(error, RuntimeError) and "Query interrupted" not in str(error):
            raise
        err.print("Interrupted. Nothing was written.")
        raise typer.Exit(INTERRUPTED) from None
    except (TooManySetAside, ValidationFailed) as error:
        err.print(red("Refused:"), str(error))
        raise typer.Exit(1) from None
    except RfmError as error:
        err.print(red(type(error).__name__), _with_options(str(error), source))
        raise typer.Exit(2) from None


def _with_options(message: str, source: str) -> str:
    """The message with the command's options for what it calls by the keys of YAML."""
    message = re.sub(r"^transactions:", lambda _: f"{source}:", message)
    for pattern, option in _OPTIONS:
        message = re.sub(pattern, option, message)
    return message


_OPTIONS = (
    (r"`encoding: ([\w-]+)`", r"--encoding \1"),
    (r"`encoding` \(", "--encoding ("),
    (r"`(encoding|delimiter)`", r"--\1"),
    (r", or declare another `quote`", ""),
    (r"Nothing is published and the last good data stay; check", "Nothing can be analysed: check"),
    (r"Check `source\.path`; relative paths start at the project's root", "Check the path"),
    (r"Set `source\.type` to what it is, or (save|export) it again", r"Export it again as CSV"),
    (r"; then run the partition again\. The last good snapshot is kept", "; then run it again"),
    (r"Give `currency` and `exchange_rates`, or", "Give an --amount in one currency, or"),
)
"""How messages about YAML read for somebody who has none."""


@contextmanager
def progress(*, quiet: bool) -> Iterator[Callable[[str], object]]:
    """Hears what is done next, and shows it with the time it takes."""
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    if quiet or not err.is_terminal:
        yield lambda _: None
        return
    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    with Progress(*columns, console=err) as progress:

        def say(what: str) -> None:
            for task in progress.task_ids:
                progress.update(task, total=1, completed=1)
            progress.add_task(what, total=None)

        yield say


def show_proposal(found: Suggestion, console: Console) -> None:
    """Which column is taken for what, how surely, and why."""
    grid = Grid(title=f"Columns of {found.source.path}", title_justify="left")
    for header in ("role", "column", "sure", "reason"):
        grid.add_column(header, justify="right" if header == "sure" else "left")
    for one in found.columns:
        if one.role != "attribute":
            grid.add_row(one.role, one.column, f"{one.confidence:.2f}", one.reason)
    for role in found.missing:
        grid.add_row(role, "", "0.00", "No column was recognised.")
    console.print(grid)
    opened = ", ".join(
        f"{key} {value!r}" for key, value in declared(found.source).items() if key != "path"
    )
    console.print(f"Read as {opened}.", soft_wrap=True)
    for note in found.notes:
        console.print(f"Note: {note}", soft_wrap=True)


def show_analysis(
    done: Analysis, segments: Sequence[Row], files: Mapping[str, Path], console: Console, how: str
) -> None:
    """Segments, what was set aside, and where the files are."""
    console.print(_dated(done, how), soft_wrap=True)
    grid = Grid(title=f"Segments as of {done.as_of}", title_justify="left")
    grid.add_column("segment")
    for header in ("customers", "share", "spend", "share of spend"):
        grid.add_column(header, justify="right")
    for row in segments:
        share = "" if row["monetary_pct"] is None else f"{row['monetary_pct']:.1f} %"
        grid.add_row(
            str(row["segment"]),
            f"{row['customers']:,}",
            f"{row['customers_pct']:.1f} %",
            f"{row['monetary_total']:,.2f}",
            share,
        )
    console.print(grid)
    console.print(_rows_told(done), soft_wrap=True)
    for line in set_aside(done.counts, done.examples):
        console.print(f"  {line}", soft_wrap=True)
    console.print(_customers_told(done), soft_wrap=True)
    if done.value is None:
        console.print(f"Lifetime value is left out: {done.value_skipped}", soft_wrap=True)
    for table, outcome in done.warnings:
        console.print(f"Warning of {table}: {outcome.name}: {outcome.observed}.", soft_wrap=True)
    for note in done.notes:
        console.print(f"Note: {note}", soft_wrap=True)
    console.print("Written:", soft_wrap=True)
    for path in files.values():
        console.print(f"  {path}", soft_wrap=True)
    console.print(f"Open it: rfm serve --store {files['store']}", soft_wrap=True)


def _dated(done: Analysis, how: str) -> str:
    return f"Rows from {done.first_day} to {done.last_day}; described as of {done.as_of}, {how}."


def _rows_told(done: Analysis) -> str:
    counts = done.counts
    text = f"{counts.rows_in:,} rows read, {counts.rows_kept:,} used"
    return f"{text}, {counts.rows_rejected:,} set aside{':' if counts.rows_rejected else '.'}"


def _customers_told(done: Analysis) -> str:
    counts = done.segments.manifest.counts
    excluded = ", ".join(
        f"{name.removeprefix('excluded_')} {n:,}"
        for name, n in counts.items()
        if name.startswith("excluded_")
    )
    return (
        f"{counts['customers_seen']:,} customers with an id, {counts['customers_segmented']:,} "
        f"segmented, {counts['customers_excluded']:,} left out{f' ({excluded})' if excluded else ''}."
    )


def document(
    done: Analysis,
    found: Suggestion,
    segments: Iterable[Row],
    files: Mapping[str, Path],
    settings: Mapping[str, object],
    *,
    as_of_given: bool,
) -> dict[str, Any]:
    """Everything that an analysis found, for programs."""
    value = done.value
    return {
        "file": str(found.source.path),
        "as_of": done.as_of.isoformat(),
        "as_of_given": as_of_given,
        "first_day": done.first_day.isoformat(),
        "last_day": done.last_day.isoformat(),
        "settings": dict(settings),
        "source": dict(declared(found.source)),
        "columns": [
            {
                "role": one.role,
                "column": one.column,
                "confidence": one.confidence,
                "reason": one.reason,
            }
            for one in found.columns
            if one.role != "attribute"
        ],
        "counts": {**done.counts.as_dict(), **done.segments.manifest.counts},
        "rejects": {
            reason: {"rows": n, "first": done.examples.get(reason, [])}
            for reason, n in done.counts.rejected_by_reason.items()
        },
        "segments": [dict(row) for row in segments],
        "cut_points": done.segments.manifest.cut_points,
        "lifetime_value": {
            "customers": 0 if value is None else value.manifest.row_counts["rows"],
            "skipped": done.value_skipped or None,
            "models": None if value is None else value.manifest.extra["models"],
        },
        "checks": [
            {"table": table, **one.model_dump(exclude={"sample"})}
            for table, outcomes in done.outcomes.items()
            for one in outcomes
        ],
        "notes": [*found.notes, *done.notes],
        "files": {name: str(path) for name, path in files.items()},
    }
