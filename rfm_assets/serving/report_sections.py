"""The sections of a report: which findings stand in each, and what is said above them.

A section whose tables are not stored is left out. Charts are `charts/`, figures over rows are
`views.py`; here they are only put together.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace

from rfm_assets.serving import views
from rfm_assets.serving.charts import campaigns as lists
from rfm_assets.serving.charts import customers as people
from rfm_assets.serving.charts import learned, movement, quality, worth
from rfm_assets.serving.charts import segments as drawn
from rfm_assets.serving.charts.base import Chart, Column, count, shown
from rfm_assets.serving.queries import Row
from rfm_assets.serving.report_contents import SEGMENTS, Contents
from rfm_assets.serving.report_parts import Figure, Section, customers_of, excluded_of
from rfm_assets.serving.report_segments import segments, what_to_do, who_is_where
from rfm_assets.serving.report_summary import summary
from rfm_assets.store import Snapshot

REJECTS = 50
"""Rejected rows that are shown; all of them are in the store."""


def sections(found: Contents) -> list[Section]:
    """Every section that has something to show, in reading order."""
    makers: tuple[Callable[[Contents], Section | None], ...] = (
        summary,
        segments,
        who_is_where,
        what_to_do,
        _customers,
        _movement,
        _campaigns,
        _clusters,
        _behavior,
        _churn,
        _lifetime,
        _validation,
        _quality,
    )
    return [section for make in makers if (section := make(found)) is not None]


# -- customers --------------------------------------------------------------------------------


def _customers(found: Contents) -> Section | None:
    queries, snapshot, palette = found.queries, found.snapshot, found.palette()
    if not customers_of(snapshot):
        return None
    spread = views.quantiles(queries, snapshot, ["recency", "frequency", "monetary"])
    charts = [
        people.scatter(
            views.density(queries, snapshot, "recency", "monetary", {"monetary": True}),
            views.sample(queries, snapshot, ["recency", "frequency", "monetary", "segment"]),
            customers_of(snapshot),
            palette,
        ),
        *(
            people.boxes(
                spread,
                column,
                palette,
                log=column != "recency" and all(row[f"{column}_p05"] > 0 for row in spread),
            )
            for column in ("recency", "frequency", "monetary")
        ),
    ]
    if excluded_of(snapshot):
        reasons = queries.counts(snapshot, "reason", "excluded")
        charts.append(
            replace(
                lists.reasons({name.replace("_", " "): n for name, n in reasons.items()}),
                key="excluded",
                about="Customers who were seen before the date of the report and are in no "
                "segment; each has one reason.",
            )
        )
    return Section("customers", "Customers", charts=charts)


# -- over time --------------------------------------------------------------------------------


def _movement(found: Contents) -> Section | None:
    moved, summary = found.one("segment_movement"), found.one("segment_summary")
    palette = found.palette()
    charts: list[Chart] = []
    if moved is not None:
        rows = found.queries.whole(moved)
        charts = [movement.matrix(rows, palette), movement.flows(rows, palette)]
    if summary is not None:
        rows = found.over_time(summary.table, ["as_of", "segment", "customers"])
        if len({row["as_of"] for row in rows}) > 1:
            charts.append(drawn.over_time(rows, palette))
    return Section("movement", "Movement", charts=charts) if charts else None


def _campaigns(found: Contents) -> Section | None:
    stored = found.all("campaign_list")
    if not stored:
        return None
    charts: list[Chart] = []
    for one in stored:
        stages = found.queries.catalogue.noted(one, "waterfall") or []
        charts.append(_of(one, lists.waterfall(one.table, stages)))
        left_out = found.queries.counts(one, "reason", "excluded")
        if left_out:
            chart = lists.reasons(left_out)
            charts.append(_of(one, replace(chart, finding=f"{one.table}: {_lower(chart.finding)}")))
    rows = [
        {"as_of": dated.as_of, "list": one.table, "customers": customers_of(dated)}
        for one in stored
        for dated in found.earlier(one.table)
    ]
    if len({row["as_of"] for row in rows}) > 1:
        charts.append(lists.sizes(rows, found.palette({})))
    return Section("campaigns", "Campaigns", charts=charts)


def _of(one: Snapshot, chart: Chart) -> Chart:
    return replace(chart, key=f"{one.table}-{chart.key}")


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _lower(text: str) -> str:
    return text[:1].lower() + text[1:]


# -- what was learned -------------------------------------------------------------------------


def _clusters(found: Contents) -> Section | None:
    stored = found.one("behavioral_segments")
    if stored is None:
        return None
    profiles = found.queries.whole(stored, "profiles")
    palette = found.palette()
    return Section(
        key="clusters",
        title="Clusters",
        charts=[
            learned.cluster_sizes(profiles, palette),
            learned.cluster_profiles(profiles, palette),
        ],
    )


def _behavior(found: Contents) -> Section | None:
    stored = found.one("customer_behavior")
    if stored is None:
        return None
    queries = found.queries
    counts = stored.manifest.counts
    profile = queries.catalogue.noted(stored, "profile") or {}
    mean = queries.catalogue.noted(stored, "mean_score")
    missing = queries.catalogue.noted(stored, "unavailable") or {}
    return Section(
        key="behavior",
        title="Behaviour",
        intro=str(profile.get("title", "")),
        figures=[
            Figure("Customers described", count(customers_of(stored))),
            Figure("Mean behaviour score", shown(mean, 1), "of 100"),
            Figure("With a score", count(counts.get("customers_with_score", 0))),
        ],
        statements=[f"{name.replace('_', ' ')}: {reason}." for name, reason in missing.items()],
        charts=[learned.signals(queries.whole(stored, "insights")), learned.trends(counts)],
    )


def _churn(found: Contents) -> Section | None:
    queries = found.queries
    aware, scores = found.one("churn_aware_segments"), found.one("churn_scores")
    charts: list[Chart] = []
    if aware is not None:
        table = queries.catalogue.noted(aware, "decision_table") or {}
        colors = {one["name"]: one["color"] for one in table.get("segments", ())}
        cells = views.risk_cells(queries, aware)
        charts.append(learned.risk(cells, found.palette(colors)))
    source = scores or aware
    if source is not None:
        charts.append(
            worth.churn(views.bins(queries, source, "churn_probability", ends=(0.0, 1.0)))
        )
    return Section("churn", "Churn risk", charts=charts) if charts else None


def _lifetime(found: Contents) -> Section | None:
    stored = found.one("customer_lifetime_value")
    if stored is None:
        return None
    totals = views.lifetime_totals(found.queries, stored)
    return Section(
        key="lifetime-value",
        title="Lifetime value",
        figures=[
            Figure("Customers", count(totals["customers"])),
            Figure("Total", shown(totals["total"], 2), "expected over the horizon"),
            Figure("Mean", shown(totals["mean"], 2), f"median {shown(totals['median'], 2)}"),
            Figure("Mean probability alive", shown(totals["alive"], 3)),
        ],
        charts=[worth.lifetime(views.bins(found.queries, stored, "lifetime_value"), totals)],
    )


def _validation(found: Contents) -> Section | None:
    stored = found.one("segment_validation")
    if stored is None:
        return None
    queries = found.queries
    scores, rows = queries.whole(stored, "scores"), queries.whole(stored)
    charts = [learned.validation(scores)]
    candidate = _judged(found, scores, {row["candidate"] for row in rows})
    if candidate is not None:
        charts.append(learned.repurchase(rows, candidate, found.palette()))
    advice = queries.catalogue.noted(stored, "advice")
    return Section(
        key="validation",
        title="Validation",
        intro=_capital(str(advice or "")),
        charts=charts,
    )


def _judged(found: Contents, scores: Sequence[Row], known: set[str]) -> str | None:
    """The candidate whose segments are shown: the scheme of this report, or the best one."""
    if found.scheme is not None and found.scheme.id in known:
        return found.scheme.id
    judged = [row for row in scores if row["candidate"] in known]
    best = max(judged, key=lambda r: (r["auc"], r["candidate"]), default=None)
    return None if best is None else best["candidate"]


# -- quality ----------------------------------------------------------------------------------


def _quality(found: Contents) -> Section:
    shown_here = (found.snapshot, *found.others)
    charts = [
        quality.checks([(one.table, check) for one in shown_here for check in one.manifest.checks])
    ]
    charts += [
        quality.fates(one.table, one.manifest.counts) for one in found.all("transaction_data")
    ]
    for one in found.all("transaction_data_rejects"):
        total = customers_of(one)
        if total:
            order = [("source", False), ("source_line", False)]
            rows = found.queries.page(one, sort=order, limit=REJECTS).rows
            charts.append(quality.rejects(one.table, rows, total))
    charts.append(_tables(shown_here))
    return Section("quality", "Quality of the data", charts=charts)


def _tables(shown_here: Sequence[Snapshot]) -> Chart:
    """Which versions of which tables the report was made from."""
    rows = [
        {
            "table": one.table,
            "kind": one.manifest.kind.replace("_", " "),
            "as_of": str(one.as_of or "all dates"),
            "rows": customers_of(one),
            "version": one.version,
        }
        for one in sorted(shown_here, key=lambda one: (one.manifest.kind != SEGMENTS, one.table))
    ]
    return Chart(
        key="tables",
        finding=f"The report was made from {len(rows)} stored tables",
        figure=None,
        columns=(
            Column("table", "Table"),
            Column("kind", "Kind"),
            Column("as_of", "As of"),
            Column("rows", "Rows", 0),
            Column("version", "Version"),
        ),
        rows=rows,
        about="The same versions give the same report.",
    )
