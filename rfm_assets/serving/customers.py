"""Everything that is stored about one customer, side by side, as of one date.

Used by the API, the dashboard and `rfm explain`, so that all three say the same.
"""

from dataclasses import dataclass, field
from typing import Any

from rfm_assets.domain.explaining import Explanation
from rfm_assets.errors import SuppressionUnknown
from rfm_assets.serving.catalogue import StoredTable
from rfm_assets.serving.queries import Queries, Row
from rfm_assets.store import Snapshot

BESIDE = (
    "behavioral_segments",
    "customer_lifetime_value",
    "churn_scores",
    "churn_aware_segments",
    "customer_behavior",
)
"""Kinds of tables with a row per customer that stand beside the segments."""

LISTS = ("campaign_list", "suppression_list")


@dataclass(frozen=True)
class CustomerCard:
    """One customer as of one date.

    Attributes:
        row: The row of `customer_segments`; None for a customer who is left out of it.
        explanation: Why the row has its segment.
        excluded: Why the customer is left out, where that is so.
        beside: Rows of other tables of that date, by table.
        signals: Risk signals that fired, with what to do.
        lists: Campaign lists and suppression lists: on it, suppressed since, or left out with a reason.
        at: The snapshots of other tables that were looked at, by table.
    """

    snapshot: Snapshot
    row: Row | None
    explanation: Explanation | None
    excluded: Row | None = None
    beside: dict[str, Row] = field(default_factory=dict)
    signals: list[Row] = field(default_factory=list)
    lists: list[dict[str, Any]] = field(default_factory=list)
    at: dict[str, Snapshot] = field(default_factory=dict)

    @property
    def read(self) -> list[Snapshot]:
        """The snapshots besides the segments' that decide what is on the card."""
        return list(self.at.values())


def customer_card(queries: Queries, snapshot: Snapshot, customer_id: str) -> CustomerCard | None:
    """What is known of a customer at the date of a snapshot of `customer_segments`.

    None where the snapshot knows nothing of the customer. The other tables are those of the same
    organisation: another's customer of that id is somebody else.
    """
    row = queries.one(snapshot, customer_id)
    left_out = "excluded" in snapshot.manifest.files and not row
    excluded = queries.one(snapshot, customer_id, "excluded") if left_out else None
    if row is None and excluded is None:
        return None
    card = CustomerCard(
        snapshot=snapshot,
        row=row,
        explanation=queries.explain(snapshot, row) if row and "R_score" in row else None,
        excluded=excluded,
    )
    whose = queries.catalogue.organization_of(snapshot)
    for table in queries.catalogue.tables().values():
        if table.organization != whose or table.kind not in {*BESIDE, *LISTS}:
            continue
        at = queries.catalogue.at(table, snapshot.as_of)
        if at is None:
            continue
        card.at[table.name] = at
        if table.kind in BESIDE:
            found = queries.one(at, customer_id)
            if found is not None:
                card.beside[table.name] = found
            if table.kind == "customer_behavior":
                card.signals.extend(queries.of_customer(at, customer_id, "signals"))
        elif table.kind in LISTS:
            card.lists.extend(_standing(queries, table, at, customer_id))
    return card


def customer_history(queries: Queries, table: str, customer_id: str) -> list[Row]:
    """Segment, scores and values of a customer at every date that has them, ascending."""
    wanted = ("as_of", "customer_id", "segment", "recency", "frequency", "monetary", "rfm_cell")
    known = queries.columns(queries.catalogue.table(table).latest)
    return queries.history(table, customer_id, columns=[name for name in wanted if name in known])


def _standing(
    queries: Queries, table: StoredTable, at: Snapshot, customer_id: str
) -> list[dict[str, Any]]:
    if table.kind == "suppression_list":
        found = queries.one(at, customer_id)
        return [{"list": table.name, "standing": "suppressed", **_only(found)}] if found else []
    member = queries.one(at, customer_id)
    if member is not None:
        standing = _of_member(queries, at, customer_id)
        return [{"list": table.name, "standing": standing, "rank": member["rank"]}]
    # A published copy may go without these parts.
    held = queries.one(at, customer_id, "control") if "control" in at.manifest.files else None
    if held is not None:
        return [{"list": table.name, "standing": "control", "experiment": held["experiment"]}]
    if "excluded" not in at.manifest.files:
        return []
    return [
        {"list": table.name, "standing": "excluded", "stage": one["stage"], "reason": one["reason"]}
        for one in queries.of_customer(at, customer_id, "excluded")
    ]


def _of_member(queries: Queries, at: Snapshot, customer_id: str) -> str:
    try:
        gone = customer_id in queries.suppressed(at).customers
    except SuppressionUnknown:
        return "suppression unknown"
    return "suppressed since" if gone else "deliverable"


def _only(row: Row) -> dict[str, Any]:
    return {name: row[name] for name in ("reason", "source", "since") if row.get(name) is not None}
