"""How far the figures can be trusted: checks, rows that were set aside, validation."""

from typing import Any

from rfm_assets.serving.charts import learned
from rfm_assets.serving.charts import quality as charts
from rfm_assets.serving.dashboard.parts import chart_card, choice, controls, grid_of, title
from rfm_assets.serving.dashboard.view import View
from rfm_assets.serving.queries import Page
from rfm_assets.store import Snapshot

MOST_REJECTS = 50


def page(view: View) -> list[Any]:
    """Checks of every table at one date, what became of the source's rows, and the validation."""
    snapshots = [
        snapshot
        for kind in sorted({table.kind for table in view.queries.catalogue.tables().values()})
        for snapshot in view.snapshots(kind)
    ]
    found = [(one.table, check) for one in snapshots for check in one.manifest.checks]
    data = [one for one in snapshots if one.manifest.kind == "transaction_data"]
    rejects = [one for one in snapshots if one.manifest.kind == "transaction_data_rejects"]
    validation = view.snapshot("segment_validation")
    cards: list[Any] = []
    alone = 6 if len(data) > 1 else 12
    for one in data:
        # What was set aside stands beside what became of all; where nothing was, nothing does.
        aside = next((r for r in rejects if r.table == f"{one.table}_rejects"), None)
        page_of = _first_of(view, aside) if aside else None
        fates = charts.fates(one.table, one.manifest.counts)
        cards.append(chart_card(fates, span=5 if page_of and page_of.total else alone))
        if aside and page_of and page_of.total:
            found_aside = charts.rejects(aside.table, page_of.rows, page_of.total)
            cards.append(chart_card(found_aside, span=7))
    chooser = None
    if validation is not None:
        rows = view.queries.whole(validation)
        names = sorted({row["candidate"] for row in rows})
        name = view.params.get("candidate", "")
        name = name if name in names else (names[0] if names else "")
        chooser = choice("candidate", "Validated segments", [(n, n) for n in names], name)
        cards.append(
            chart_card(learned.validation(view.queries.whole(validation, "scores")), span=6)
        )
        cards.append(chart_card(learned.repurchase(rows, name, view.palette), span=6))
    return [
        title("Quality", f"Checks, rejected rows and validation, as of {view.as_of}"),
        controls(chooser) if chooser is not None else None,
        grid_of(*cards, chart_card(charts.checks(found), span=12)),
    ]


def _first_of(view: View, aside: Snapshot) -> Page:
    """The first rows that were set aside, in the order of their files."""
    order = [("source", False), ("source_line", False)]
    return view.queries.page(aside, sort=order, limit=MOST_REJECTS)
