"""`rfm export`: a stored table as a file for other tools."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rfm_assets.commands.asking import AsOf, Json, asking
from rfm_assets.commands.project import Project, StoreRoot, chosen_store
from rfm_assets.commands.terminal import err, out, print_json
from rfm_assets.errors import ColumnMissing, InvalidConfig, PartMissing


def export(  # noqa: PLR0917  one argument and options
    table: Annotated[str, typer.Argument(help="Stored table, such as customer_segments.")],
    target: Annotated[
        Path,
        typer.Option(
            "--to", metavar="FILE", help="File to write: .csv, .xlsx, .parquet, .ndjson or .arrow."
        ),
    ],
    as_of: AsOf = None,
    part: Annotated[
        str, typer.Option(help="Part of the snapshot, such as excluded; rows by default.")
    ] = "rows",
    columns: Annotated[
        str | None, typer.Option(metavar="A,B", help="Only these columns, in this order.")
    ] = None,
    where: Annotated[
        list[str] | None,
        typer.Option(
            metavar="CONDITION",
            help="Only rows such as segment=Champions, monetary>=100 or customer_id~17; repeat it "
            "for several, which hold together.",
        ),
    ] = None,
    store: StoreRoot = None,
    project: Project = Path(),
    *,
    force: Annotated[bool, typer.Option("--force", help="Replace a file that is there.")] = False,
    json_output: Json = False,
) -> None:
    """Write a stored table, or part of it, to a file, whatever its size.

    Members of a campaign list who were suppressed since it was made are left out.
    """
    from rfm_assets.serving.exporting import condition, format_of, values_that_are_none
    from rfm_assets.serving.exporting import export as written

    format_of(target)
    if target.exists() and not force:
        raise InvalidConfig(
            key="--to",
            value=str(target),
            reason="is there already",
            fix="Name another file, or replace it with --force.",
        )
    with asking(chosen_store(store, project)) as queries:
        snapshot = queries.resolve(table, as_of)
        if part not in snapshot.manifest.row_counts:
            raise PartMissing(table=table, part=part, available=list(snapshot.manifest.row_counts))
        known = queries.columns(snapshot, part)
        names = None if columns is None else [one.strip() for one in columns.split(",")]
        for name in names or ():
            if name not in known:
                raise ColumnMissing(
                    column=name, table=table, available=list(known), key="--columns"
                )
        asked = [condition(text, known) for text in where or ()]
        rows = written(queries, snapshot, target, part=part, columns=names, conditions=asked)
        if not rows:
            for told in values_that_are_none(queries, snapshot, part, asked):
                err.print(told)
    if json_output:
        print_json(
            {
                "file": str(target),
                "rows": rows,
                "table": table,
                "part": part,
                "as_of": snapshot.as_of,
                "version": snapshot.version,
            }
        )
    else:
        out.print(f"{rows:,} rows of {table} as of {snapshot.as_of or 'all dates'} in {target}")
