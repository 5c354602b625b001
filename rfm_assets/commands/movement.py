"""`rfm movement`: who moved between any two snapshots, and who entered or left a segment."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rfm_assets.commands.asking import Json, asking
from rfm_assets.commands.project import Project, StoreRoot, chosen_store
from rfm_assets.commands.terminal import out, print_json, show_rows

if TYPE_CHECKING:
    from rfm_assets.serving.queries import Queries
    from rfm_assets.store import Snapshot

SHOWN_CUSTOMERS = 20


def movement(
    *,
    first: Annotated[
        str | None,
        typer.Option("--from", metavar="DATE", help="The earlier snapshot; the one before --to."),
    ] = None,
    last: Annotated[
        str | None, typer.Option("--to", metavar="DATE", help="The later one; the latest.")
    ] = None,
    entered: Annotated[
        str | None, typer.Option(metavar="SEGMENT", help="Only who came into this segment.")
    ] = None,
    left: Annotated[
        str | None,
        typer.Option(metavar="SEGMENT", help="Only who was in this segment, and is not."),
    ] = None,
    table: Annotated[
        str | None, typer.Option(help="Table of segments, where there are several.")
    ] = None,
    store: StoreRoot = None,
    project: Project = Path(),
    json_output: Json = False,
) -> None:
    """Show who moved between any two snapshots, and the spend that came down with them."""
    from rfm_assets.serving.history import pair

    if entered is not None and left is not None:
        raise typer.BadParameter("Ask for one of --entered and --left at a time.")
    with asking(chosen_store(store, project)) as queries:
        name = table or queries.catalogue.one_of_kind("customer_segments").name
        earlier, later = pair(queries, name, first, last)
        head = {"table": name, "from": earlier.as_of, "to": later.as_of}
        segment = entered if entered is not None else left
        if segment is None:
            _moves(queries, earlier, later, head, json_output=json_output)
            return
        from rfm_assets.serving.history import customers_who

        direction = "entered" if entered is not None else "left"
        rows = customers_who(queries, direction, segment, earlier=earlier, later=later)
        if json_output:
            print_json({**head, direction: segment, "customers": rows})
            return
        title = f"{len(rows):,} customers {direction} {segment} from {earlier.as_of} to "
        columns = ["customer_id", "from_segment", "to_segment", "monetary_before", "monetary_now"]
        show_rows(f"{title}{later.as_of}", list(rows[:SHOWN_CUSTOMERS]), columns)
        if len(rows) > SHOWN_CUSTOMERS:
            out.print(f"… and {len(rows) - SHOWN_CUSTOMERS:,} more: --json has all of them.")


def _moves(
    queries: Queries,
    earlier: Snapshot,
    later: Snapshot,
    head: dict[str, Any],
    *,
    json_output: bool,
) -> None:
    from rfm_assets.serving.history import at_risk, moves_between, stayed

    moves = moves_between(queries, earlier, later)
    risks = [asdict(one) for one in at_risk(queries, moves, later)]
    if json_output:
        columns = ("from_segment", "to_segment", "customers", "monetary_before", "monetary_now")
        print_json(
            {
                **head,
                "moves": [{name: row[name] for name in columns} for row in moves],
                "at_risk": risks,
            }
        )
        return
    still, there = stayed(moves)
    moved = [row for row in moves if row["from_segment"] != row["to_segment"]]
    columns = ["from_segment", "to_segment", "customers", "monetary_before", "monetary_now"]
    title = f"From {earlier.as_of} to {later.as_of}: {still:,} of {there:,} customers stayed"
    show_rows(title, list(moved), columns)
    if risks:
        show_rows("Came down to a worse segment", list(risks), list(risks[0]))
