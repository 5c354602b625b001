"""`rfm show` and `rfm explain`: what is stored, for people and for programs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rfm_assets.commands.asking import AsOf, Json, asking
from rfm_assets.commands.project import Project, StoreRoot, chosen_store
from rfm_assets.commands.terminal import err, out, print_json, show_rows, show_tables
from rfm_assets.errors import SnapshotMissing

if TYPE_CHECKING:
    from rfm_assets.domain.explaining import Explanation, ScoreReason
    from rfm_assets.serving.customers import CustomerCard
    from rfm_assets.serving.queries import Queries
    from rfm_assets.store import Snapshot

SHOWN_ROWS = 20
"""Rows of a table that are shown of any kind."""

SHOWN_DATES = 12
"""Last dates of a customer's history that are shown."""

VIEWS = frozenset(
    {
        "segment_summary",
        "segment_movement",
        "campaign_list",
        "suppression_list",
        "behavioral_segments",
        "churn_aware_segments",
        "customer_behavior",
        "segment_validation",
    }
)
"""Kinds of tables that are shown in a way of their own."""


def show(
    table: Annotated[
        str | None, typer.Option(help="Only this table; by default the newest of each.")
    ] = None,
    as_of: AsOf = None,
    store: StoreRoot = None,
    project: Project = Path(),
    *,
    json_output: Json = False,
) -> None:
    """Show the newest segments, movement and lists, or those of a date, or any table."""
    opened = chosen_store(store, project)
    if not opened.tables():
        out.print(f"Nothing is stored below {opened.root} yet. Run the weekly job, or `rfm demo`.")
        raise typer.Exit(1)
    with asking(opened) as queries:
        snapshots = _snapshots(queries, table, as_of)
        if json_output:
            print_json({name: _told(queries, one, table) for name, one in snapshots.items()})
        elif table is not None and snapshots[table].manifest.kind not in VIEWS:
            snapshot = snapshots[table]
            page = queries.page(snapshot, limit=SHOWN_ROWS)
            title = f"{table} as of {snapshot.as_of or 'all dates'}: "
            title += f"{len(page.rows):,} of {page.total:,} rows"
            show_rows(title, page.rows, list(queries.columns(snapshot)))
        else:
            show_tables(snapshots, opened)


def _snapshots(queries: Queries, table: str | None, as_of: str | None) -> dict[str, Snapshot]:
    """The snapshots to show: of one table, or of all that have one at the date."""
    if table is not None:
        return {table: queries.resolve(table, as_of)}
    from rfm_assets.serving.queries import as_of_written

    wanted = as_of_written(as_of)
    found: dict[str, Snapshot] = {}
    for name, stored in queries.catalogue.tables().items():
        one = stored.latest if wanted == "latest" else queries.catalogue.at(stored, wanted)
        if one is not None:
            found[name] = one
    if as_of is not None and not any(one.as_of for one in found.values()):
        dates = {day for one in queries.catalogue.tables().values() for day in one.dates}
        raise SnapshotMissing(
            table="every table",
            as_of=as_of,
            root=str(queries.catalogue.store.root),
            available=[str(day) for day in sorted(dates)],
        )
    return found


def _told(queries: Queries, snapshot: Snapshot, table: str | None) -> dict[str, Any]:
    manifest = snapshot.manifest
    told: dict[str, Any] = {
        "kind": manifest.kind,
        "as_of": snapshot.as_of,
        "version": snapshot.version,
        "created_at": manifest.created_at,
        "row_counts": manifest.row_counts,
        "counts": manifest.counts,
        "failed_checks": [one.name for one in manifest.checks if not one.passed],
    }
    if "waterfall" in manifest.extra:
        told["waterfall"] = manifest.extra["waterfall"]
    if manifest.kind in {"segment_summary", "segment_movement"}:
        told["rows"] = queries.whole(snapshot)
    elif table is not None:
        told["rows"] = queries.page(snapshot, limit=SHOWN_ROWS).rows
    return told


def explain(
    customer: Annotated[str, typer.Argument(help="Id of the customer, as it is stored.")],
    as_of: AsOf = None,
    table: Annotated[
        str | None, typer.Option(help="Table of segments, where there are several.")
    ] = None,
    store: StoreRoot = None,
    project: Project = Path(),
    *,
    json_output: Json = False,
) -> None:
    """Say why a customer is in her segment: values, cut points, rules, history, lists."""
    from rfm_assets.domain.row_policy import canonical_id
    from rfm_assets.serving.customers import customer_card, customer_history

    with asking(chosen_store(store, project)) as queries:
        name = table or queries.catalogue.one_of_kind("customer_segments").name
        snapshot = queries.resolve(name, as_of)
        customer = canonical_id(customer)
        card = customer_card(queries, snapshot, customer)
        if card is None:
            err.print(
                f"{name} as of {snapshot.as_of} knows no customer {customer!r}: she has bought "
                "nothing before that date, or the id is written otherwise. Look for it: rfm "
                f"export {name} --where customer_id~{customer} --to found.csv"
            )
            raise typer.Exit(2)
        history = customer_history(queries, name, customer)
        if json_output:
            print_json(_document(customer, card, history))
        else:
            _show_card(customer, card, history)


def _document(customer: str, card: CustomerCard, history: list[dict[str, Any]]) -> dict[str, Any]:
    why = card.explanation
    return {
        "customer_id": customer,
        "table": card.snapshot.table,
        "as_of": card.snapshot.as_of,
        "version": card.snapshot.version,
        "row": card.row,
        "excluded": card.excluded,
        "explanation": None
        if why is None
        else {
            **asdict(why),
            "scores": [{**asdict(one), "sentence": one.sentence} for one in why.scores],
            "near_misses": [asdict(one) for one in why.near_misses],
        },
        "beside": card.beside,
        "signals": card.signals,
        "lists": card.lists,
        "history": history,
    }


def _show_card(customer: str, card: CustomerCard, history: list[dict[str, Any]]) -> None:
    day = card.snapshot.as_of
    if card.row is not None and card.explanation is not None:
        out.print(f"{customer} as of {day}: {card.row['segment'] or 'no segment'}", style="bold")
        _show_why(card.explanation)
        if card.row.get("recommendation"):
            out.print(f"What to do: {card.row['recommendation']}", soft_wrap=True)
    elif card.excluded is not None:
        from rfm_assets.domain.rfm import EXCLUSION_REASONS

        reason = card.excluded["reason"]
        out.print(f"{customer} as of {day}: left out, {reason}", style="bold")
        out.print(f"{EXCLUSION_REASONS.get(reason, reason)}.", soft_wrap=True)
    if history:
        columns = ["as_of", "segment", "recency", "frequency", "monetary", "rfm_cell"]
        show_rows("History", history[-SHOWN_DATES:], columns)
    for one in card.lists:
        why = ", ".join(f"{key} {value}" for key, value in one.items() if key != "list")
        out.print(f"List {one['list']}: {why}", soft_wrap=True)
    for signal in card.signals:
        told = ", ".join(f"{key} {value}" for key, value in signal.items() if value is not None)
        out.print(f"Signal: {told}", soft_wrap=True)
    for table, row in card.beside.items():
        _show_beside(table, row)


def _show_why(why: Explanation) -> None:
    for one in why.scores:
        out.print(f"  {one.sentence}{_next(one)}", soft_wrap=True)
        cuts = ", ".join(f"{cut:,.6g}" for cut in one.cut_points)
        out.print(f"    cut points: {cuts}", soft_wrap=True)
    if why.fired is None and why.rules:
        out.print("No rule matched; the scheme leaves her to its fallback.")
    for rule in why.rules:
        if rule.position == why.fired:
            out.print(f"Rule {rule.position} decided: {_asked(rule.conditions)} -> {rule.segment}")
    for rule in why.near_misses:
        out.print(
            f"Nearly {rule.segment} (rule {rule.position}): {'; '.join(rule.failed)}",
            soft_wrap=True,
        )


def _asked(conditions: tuple[str, ...]) -> str:
    return ", ".join(conditions) or "whatever is left"


def _next(one: ScoreReason) -> str:
    if one.better is None:
        return ""
    sign = "up to" if one.dimension == "recency" else "more than"
    return f"; one higher with {sign} {one.better:,.6g}"


def _show_beside(table: str, row: Mapping[str, Any]) -> None:
    known = {"customer_id", "as_of"}
    values = ", ".join(
        f"{name} {value:,.4g}" if isinstance(value, float) else f"{name} {value}"
        for name, value in row.items()
        if value is not None and name not in known and not isinstance(value, date)
    )
    out.print(f"{table}: {values}", soft_wrap=True)
