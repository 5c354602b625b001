"""Reading a small source in one line."""

from collections.abc import Callable, Iterator, Mapping
from datetime import date
from pathlib import Path
from typing import Any, TypeAlias

import pytest
from pydantic import TypeAdapter

from rfm_assets.domain.rfm import day_number
from rfm_assets.domain.row_policy import TransactionPolicy
from rfm_assets.domain.transactions import PolicyCounts, apply_policy
from rfm_assets.engines.base import collect_rows
from rfm_assets.engines.duckdb_engine import DuckDBEngine
from rfm_assets.sources.config import ColumnMapping, Source
from rfm_assets.sources.reading import Reading, read

Rows: TypeAlias = list[dict[str, Any]]
SIMPLE: Mapping[str, Any] = {
    "customer_id": "customer",
    "order_id": "order",
    "date": "day",
    "amount": "amount",
}
TODAY = day_number(date(2024, 6, 30))


class Ingested:
    """What became of a source: kept and rejected rows in order, and the counts."""

    def __init__(self, reading: Reading, policy: Mapping[str, Any], engine: DuckDBEngine) -> None:
        result = apply_policy(
            reading.table,
            TransactionPolicy(**policy),
            now_day=TODAY,
            checkpoint=engine.checkpoint,
        )
        self.reading = reading
        self.counts: PolicyCounts = result.counts
        self.kept: Rows = collect_rows(result.kept)
        self.rejects: Rows = collect_rows(result.rejects.sort("source", "source_line"))

    def column(self, name: str) -> list[Any]:
        """The values of a kept column, in the order of the source."""
        order = {id(row): (row["date"], str(row["amount"])) for row in self.kept}
        return [row[name] for row in sorted(self.kept, key=lambda row: order[id(row)])]

    @property
    def reasons(self) -> list[tuple[int, str]]:
        return [(row["source_line"], row["reason"]) for row in self.rejects]


Ingest: TypeAlias = Callable[..., Ingested]


@pytest.fixture
def engine() -> Iterator[DuckDBEngine]:
    with DuckDBEngine(threads=2) as opened:
        yield opened


@pytest.fixture
def ingest(engine: DuckDBEngine, tmp_path: Path) -> Ingest:
    """Reads a source below `tmp_path` and applies a policy to it."""

    def _ingest(
        source: Mapping[str, Any],
        columns: Mapping[str, Any] = SIMPLE,
        *,
        policy: Mapping[str, Any] | None = None,
        time_zone: str = "UTC",
    ) -> Ingested:
        chosen = TransactionPolicy(**(policy or {}))
        reading = read(
            TypeAdapter[Source](Source).validate_python(source),
            ColumnMapping(**columns),
            engine=engine,
            root=tmp_path,
            time_zone=time_zone,
            row_keys=chosen.needs_row_keys,
        )
        return Ingested(reading, policy or {}, engine)

    return _ingest


@pytest.fixture
def ingest_csv(ingest: Ingest, tmp_path: Path) -> Ingest:
    """Writes a CSV file and reads it."""

    def _ingest(
        content: str | bytes, columns: Mapping[str, Any] = SIMPLE, **options: Any
    ) -> Ingested:
        policy = options.pop("policy", None)
        time_zone = options.pop("time_zone", "UTC")
        name = options.pop("name", "orders.csv")
        (tmp_path / name).write_bytes(content.encode() if isinstance(content, str) else content)
        source = {"type": "csv", "path": name, **options}
        return ingest(source, columns, policy=policy, time_zone=time_zone)

    return _ingest
