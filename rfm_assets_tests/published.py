"""Small snapshots in a store, to be published to the embedded Postgres."""

from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa

from rfm_assets.database_url import Server
from rfm_assets.engines.duckdb_engine import DuckDBEngine
from rfm_assets.postgres.connection import Target
from rfm_assets.postgres.migrating import upgrade
from rfm_assets.postgres.publishing import Change, Request, publish_snapshot
from rfm_assets.publishing import publish
from rfm_assets.schemas import CAMPAIGN_LIST, CUSTOMER_SEGMENTS, SUPPRESSION_LIST
from rfm_assets.store import Snapshot, Store
from rfm_assets_tests.postgres import EmbeddedPostgres

WEEK, NEXT = date(2026, 3, 2), date(2026, 3, 9)
URL_ENV = "CRM_DATABASE_URL"
EXCLUDED = pa.schema(
    [("customer_id", pa.string()), ("stage", pa.string()), ("reason", pa.string())]
)

NO_CONTROL = pa.schema(
    [
        ("customer_id", pa.string()),
        ("experiment", pa.string()),
        ("kind", pa.string()),
        ("comparable", pa.bool_()),
        ("priority", pa.float64()),
        ("segment", pa.string()),
        ("as_of", pa.date32()),
    ]
).empty_table()

SEGMENTS = pa.schema(
    [
        ("customer_id", pa.string()),
        ("recency", pa.int32()),
        ("frequency", pa.int32()),
        ("monetary", pa.float64()),
        ("R_score", pa.int8()),
        ("F_score", pa.int8()),
        ("M_score", pa.int8()),
        ("RFM_score", pa.float64()),
        ("rfm_cell", pa.string()),
        ("segment", pa.string()),
        ("recommendation", pa.string()),
        ("previous_segment", pa.string()),
        ("as_of", pa.date32()),
        ("last_purchase_date", pa.date32()),
        ("segmented_at", pa.timestamp("us")),
    ]
)


class Shelf:
    """A store and a schema of the embedded server, and the way from the one to the other."""

    def __init__(self, folder: Path, postgres: EmbeddedPostgres) -> None:
        self.store, self.postgres = Store(folder), postgres
        self.target = Target(Server.of(postgres.url, URL_ENV), "rfm", wait_seconds=20)

    def segments(
        self,
        money: Mapping[str, float],
        *,
        as_of: date = WEEK,
        table: str = "customer_segments",
        at: datetime = datetime(2026, 3, 2, 6),
        excluded: Sequence[str] = (),
        **carried: Any,
    ) -> Snapshot:
        """Store customers with their spend; everything else is the same for all of them.

        `carried` are further columns: one value for all, or an Arrow array.
        """
        n = len(money)
        same = {"recency": 5, "frequency": 2, "R_score": 5, "F_score": 3, "M_score": 4}
        same |= {"RFM_score": 4.0, "rfm_cell": "534", "segment": "Loyal", "as_of": as_of}
        same |= {"last_purchase_date": date(2026, 2, 25), "segmented_at": at}
        columns = {name: [same.get(name)] * n for name in SEGMENTS.names}
        columns |= {"customer_id": list(money), "monetary": list(money.values())}
        rows = pa.table(columns, schema=SEGMENTS)
        for name, value in carried.items():
            column = value if isinstance(value, pa.Array) else pa.array([value] * n)
            rows = rows.append_column(name, column)
        return self._store(CUSTOMER_SEGMENTS, table, as_of, rows, excluded)

    def campaign(self, table: str, customers: Sequence[str], *, as_of: date = WEEK) -> Snapshot:
        rows = pa.table(
            {
                "customer_id": pa.array(customers, pa.string()),
                "rank": pa.array(range(1, len(customers) + 1), pa.int64()),
                "priority": pa.array([None] * len(customers), pa.float64()),
                "segment": pa.array(["Loyal"] * len(customers), pa.string()),
                "as_of": pa.array([as_of] * len(customers), pa.date32()),
            }
        )
        return self._store(CAMPAIGN_LIST, table, as_of, rows, ())

    def suppression(self, table: str, customers: Sequence[str]) -> Snapshot:
        n = len(customers)
        rows = pa.table(
            {
                "customer_id": pa.array(customers, pa.string()),
                "reason": pa.array(["unsubscribed"] * n, pa.string()),
                "source": pa.array(["file"] * n, pa.string()),
                "since": pa.array([None] * n, pa.date32()),
                "as_of": pa.array([WEEK] * n, pa.date32()),
            }
        )
        with DuckDBEngine(threads=1) as engine:
            frame = engine.from_arrow(rows)
            made = publish(
                self.store, engine, SUPPRESSION_LIST, table=table, as_of=WEEK, frame=frame
            )
        return made.snapshot

    def publish(
        self,
        table: str = "customer_segments",
        as_of: date | None = WEEK,
        *,
        target: Target | None = None,
        read: Callable[[], Snapshot] | None = None,
        **request: Any,
    ) -> list[Change]:
        """What a run of the component does for one table."""
        target = target or self.target
        with target.connect() as connection:
            upgrade(target, connection)
        return publish_snapshot(
            target,
            read or (lambda: self.store.snapshot(table, as_of)),
            Request(**request),
            stored_dates=self.store.dates(table),
        )

    def money(self) -> dict[str, float]:
        """What Postgres says that customers spent."""
        return dict(self.postgres.rows("select customer_id, monetary from rfm.customer_segments"))

    def _store(
        self, contract: Any, table: str, as_of: date, rows: pa.Table, excluded: Sequence[str]
    ) -> Snapshot:
        left_out = pa.table(
            [list(excluded), ["eligible"] * len(excluded), ["no_purchase"] * len(excluded)],
            schema=EXCLUDED,
        )
        control = "control" in contract.parts
        with DuckDBEngine(threads=1) as engine:
            made = publish(
                self.store,
                engine,
                contract,
                table=table,
                as_of=as_of,
                frame=engine.from_arrow(rows),
                parts={
                    "excluded": engine.from_arrow(left_out),
                    **({"control": engine.from_arrow(NO_CONTROL)} if control else {}),
                },
            )
        return made.snapshot


def counts(change: Change) -> tuple[str, int, int, int, int]:
    """Status, inserted, updated, deleted, unchanged."""
    return change.status, change.inserted, change.updated, change.deleted, change.unchanged
