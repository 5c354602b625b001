"""The first section of a report: how many, how much, since when, and what is wrong."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rfm_assets.domain.money import money_of
from rfm_assets.serving import views
from rfm_assets.serving.charts import movement
from rfm_assets.serving.charts.base import count, shown
from rfm_assets.serving.queries import Row
from rfm_assets.serving.report_contents import Contents
from rfm_assets.serving.report_parts import Figure, Section, customers_of, day, excluded_of
from rfm_assets.store import Snapshot


def summary(found: Contents) -> Section:
    """What a reader with one minute wants to know."""
    now, before = found.snapshot, found.before
    customers, spend = customers_of(now), _spend_of(found, now)
    config = found.queries.catalogue.noted(now, "config") or {}
    figures = [
        Figure("As of", day(found.as_of), "purchases before that day"),
        Figure("Customers", count(customers), f"{count(excluded_of(now))} more are left out"),
        Figure("Net spend", shown(spend, 2), _window(config)),
        Figure("Segments", found.scheme.reference if found.scheme else "scores only", "scheme"),
    ]
    checked, failures = _checked(found)
    return Section(
        key="summary",
        title="Summary",
        figures=figures,
        statements=[*_changes(found, before), *checked],
        failures=failures,
        warnings=_stale(found),
    )


def _stale(found: Contents) -> list[str]:
    if not found.stale:
        return []
    names = ", ".join(one.table for one in found.stale)
    return [
        f"Made from another version of {found.snapshot.table}: {names}. Compute what is named here "
        "again, so that all of the report speaks of the same customers."
    ]


def _window(config: Mapping[str, Any]) -> str:
    days = config.get("analysis_period_days")
    return f"in {days:,} days" if days else "in the observation window"


def _spend_of(found: Contents, snapshot: Snapshot) -> float:
    units = snapshot.manifest.counts.get("monetary_units_segmented")
    if units is not None:
        return money_of(units)
    return sum(row["monetary"] for row in views.score_cells(found.queries, snapshot))


def _changes(found: Contents, before: Snapshot | None) -> Iterator[str]:
    if before is None:
        yield "There is no earlier snapshot to compare with."
        return
    now = found.snapshot
    yield (
        f"Since {day(before.as_of)}, customers went from {count(customers_of(before))} to "
        f"{count(customers_of(now))}{_relative(customers_of(before), customers_of(now))}."
    )
    was, spend = _spend_of(found, before), _spend_of(found, found.snapshot)
    yield f"Net spend went from {shown(was, 2)} to {shown(spend, 2)}{_relative(was, spend)}."
    palette = found.palette()
    summary = found.one("segment_summary")
    changes = [r for r in found.queries.whole(summary) if r["customers_change"]] if summary else []
    if changes:
        best = max(changes, key=lambda r: (r["customers_change"], r["segment"]))
        worst = min(changes, key=lambda r: (r["customers_change"], r["segment"]))
        told = [
            f"{palette.name(row['segment'])} {word} most ({row['customers_change']:+,})"
            for row, word, right in (
                (best, "grew", best["customers_change"] > 0),
                (worst, "shrank", worst["customers_change"] < 0),
            )
            if right
        ]
        yield f"{' and '.join(told)}."
    moved = found.one("segment_movement")
    if moved is not None:
        yield _moved(found.queries.whole(moved))


def _moved(rows: Sequence[Row]) -> str:
    new = sum(r["customers"] for r in rows if r["from_segment"] == movement.NEW)
    left = sum(r["customers"] for r in rows if r["to_segment"] == movement.LEFT)
    ends = {movement.NEW, movement.LEFT}
    both = [r for r in rows if r["from_segment"] not in ends and r["to_segment"] not in ends]
    changed = sum(r["customers"] for r in both if r["from_segment"] != r["to_segment"])
    return (
        f"{count(changed)} customers are in another segment than before, {count(new)} are new, "
        f"{count(left)} have left."
    )


def _relative(before: float, now: float) -> str:
    return f" ({100 * (now - before) / before:+.1f} %)" if before > 0 else ""


def _checked(found: Contents) -> tuple[list[str], list[str]]:
    """What the checks of all tables say together, and each that failed."""
    checks = [
        (one.table, check)
        for one in (found.snapshot, *found.others)
        for check in one.manifest.checks
    ]
    failures = [
        f"{table}, {check.name.replace('_', ' ')}: {check.observed}. {check.next_step}"
        for table, check in checks
        if not check.passed
    ]
    if not checks:
        return [], []
    if not failures:
        return [f"All {len(checks)} checks of the tables shown passed."], []
    return [f"{len(failures)} of {len(checks)} checks of the tables shown failed:"], failures
