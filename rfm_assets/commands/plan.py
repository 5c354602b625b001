"""`rfm plan`: what the next weekly run would compute, without computing it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table as Grid

from rfm_assets.commands.project import Project, enter, load, told_in_a_line, weekly_job
from rfm_assets.commands.terminal import err, out, print_json

if TYPE_CHECKING:
    import dagster as dg

    from rfm_assets.planning import Due, Table


def plan(
    weeks: Annotated[
        int, typer.Option(min=1, max=520, help="How many of the last finished weeks to look at.")
    ] = 4,
    project: Project = Path(),
    job: Annotated[
        str | None, typer.Option(help="Name of the weekly job, where the project has several.")
    ] = None,
    *,
    json_output: Annotated[
        bool, typer.Option("--json", help="Say it as one JSON document.")
    ] = False,
) -> None:
    """Say which weeks are missing or out of date, and what the next weekly run computes."""
    from rfm_assets.planning import due

    enter(project)
    with err.status("Loading the definitions …"), told_in_a_line():
        definitions = load()
        chosen = weekly_job(definitions, job)
        tables = list(_tables(definitions, chosen, weeks))
        store = (definitions.resources or {})["rfm_store"].get_store()
    dated = sorted({day for table in tables for day in table.as_ofs if day is not None})
    found = due(store, tables)
    if json_output:
        print_json(
            {
                "job": chosen.name,
                "next_as_of": dated[-1] if dated else None,
                "computes": [table.name for table in tables],
                "weeks": dated,
                "due": [vars(one) for one in found],
            }
        )
        return
    _show(chosen.name, tables, dated, found)


def _tables(definitions: dg.Definitions, job: dg.JobDefinition, weeks: int) -> Iterator[Table]:
    """The tables of a job with their last weeks, each after those that it is made from."""
    from dagster import TimeWindowPartitionsDefinition

    from rfm_assets.planning import CONFIGURATION, Table
    from rfm_assets.store import table_name

    graph = definitions.get_repository_def().asset_graph
    chosen = job.asset_layer.selected_asset_keys
    for key in graph.toposorted_asset_keys:
        metadata = graph.get(key).metadata
        # A component that writes to a database or a file has no columns, and leaves nothing in the
        # store to compare.
        elsewhere = CONFIGURATION in metadata and "dagster/column_schema" not in metadata
        if key not in chosen or elsewhere:
            continue
        partitions = graph.get(key).partitions_def
        as_ofs: tuple[date | None, ...] = (None,)
        if isinstance(partitions, TimeWindowPartitionsDefinition):
            last = list(partitions.get_partition_keys())[-weeks:]
            as_ofs = tuple(partitions.time_window_for_partition_key(one).end.date() for one in last)
        upstream = frozenset(table_name(one.path) for one in graph.get(key).parent_keys)
        configuration = str(metadata.get(CONFIGURATION, ""))
        yield Table(table_name(key.path), upstream, as_ofs, configuration)


def _show(job: str, tables: list[Table], dated: list[date], found: list[Due]) -> None:
    if not dated:
        out.print(f"{job} has no finished week yet.")
        return
    out.print(
        f"The next run of {job} computes {len(tables)} tables as of {dated[-1]}; looked at are the "
        f"weeks that end on {dated[0]} to {dated[-1]}.",
        soft_wrap=True,
    )
    if not found:
        out.print("Nothing is missing, and no input or YAML has changed since it was read.")
        return
    grid = Grid(title="Due", title_justify="left")
    for header in ("table", "weeks", "why"):
        grid.add_column(header)
    for table in tables:
        of_table = [one for one in found if one.table == table.name]
        for because, count in Counter(one.because for one in of_table).items():
            days = [str(one.as_of or "all dates") for one in of_table if one.because == because]
            shown = ", ".join(days[-4:])
            rest = f" and {count - 4} before" if count > 4 else ""  # noqa: PLR2004 as many fit
            grid.add_row(table.name, shown + rest, because)
    out.print(grid)
    weeks = sorted({one.as_of for one in found if one.as_of is not None})
    out.print("A week is computed by:")
    for day in weeks[-1:] or dated[-1:]:
        names = " ".join(one.table.replace("__", "/") for one in found if one.as_of in {day, None})
        out.print(f"  rfm run {names} --as-of {day}", soft_wrap=True)
