"""A campaign run over small tables, and where everybody ends."""

from collections.abc import Sequence
from datetime import date, datetime, timedelta
from typing import Any

from rfm_assets.domain.audiences import CampaignConfig
from rfm_assets.domain.campaigns import CampaignResult, campaign_list
from rfm_assets.domain.contact_rules import EPOCH
from rfm_assets.domain.frames import Table
from rfm_assets_tests.tables import MakeTable, held, rows_of

AS_OF = date(2026, 3, 2)


def run(
    table: Table,
    config: CampaignConfig | None = None,
    segments: Sequence[str] = (),
    *suppression: Table,
    as_of: date = AS_OF,
    **more: Any,
) -> CampaignResult:
    return campaign_list(
        table,
        as_of=as_of,
        config=config or CampaignConfig(),
        segments=segments,
        suppression=suppression,
        checkpoint=held,
        **more,
    )


def shop(ids: Sequence[str], **columns: Sequence[Any]) -> dict[str, Sequence[Any]]:
    """Customers of one segment who differ in their spend, the first most."""
    return {
        "customer_id": list(ids),
        "segment": ["At Risk"] * len(ids),
        "monetary": [float(len(ids) - position) for position in range(len(ids))],
        "recency": [30] * len(ids),
        "frequency": [2] * len(ids),
        "recommendation": ["write"] * len(ids),
        **columns,
    }


def sends(make: MakeTable, *rows: tuple[str, str, date]) -> Table:
    """A log of (customer, campaign, day)."""
    import pyarrow as pa

    return make(
        pa.table(
            {
                "customer_id": pa.array([row[0] for row in rows], pa.string()),
                "campaign": pa.array([row[1] for row in rows], pa.string()),
                "sent_at": pa.array(
                    [datetime(*row[2].timetuple()[:3], 9) for row in rows], pa.timestamp("us")
                ),
                "day": pa.array([(row[2] - EPOCH).days for row in rows], pa.int32()),
            }
        )
    )


def days_before(days: int, as_of: date = AS_OF) -> date:
    return as_of - timedelta(days=days)


def ids_of(table: Table) -> list[str]:
    return [row["customer_id"] for row in rows_of(table, "customer_id")]


def ends(result: CampaignResult) -> dict[str, str]:
    """Where each customer of the audience ended: deliverable, control, or a stage."""
    found: dict[str, str] = {}
    for customer in ids_of(result.members):
        found[customer] = "deliverable"
    for customer in ids_of(result.control):
        assert customer not in found
        found[customer] = "control"
    for row in rows_of(result.excluded):
        assert row["customer_id"] not in found
        found[row["customer_id"]] = row["stage"]
    assert len(found) == result.audience
    return found


def reasons(result: CampaignResult) -> dict[str, str]:
    return {row["customer_id"]: row["reason"] for row in rows_of(result.excluded)}
