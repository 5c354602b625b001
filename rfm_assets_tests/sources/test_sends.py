"""Reading a log of sends: every row kept, or set aside with its line and reason."""

from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import duckdb
import pytest

from rfm_assets.domain.sends import JudgedSends, judged_sends
from rfm_assets.engines.base import Engine
from rfm_assets.engines.duckdb_engine import DuckDBEngine
from rfm_assets.engines.polars_engine import PolarsEngine
from rfm_assets.errors import ColumnMissing, SourceTruncated
from rfm_assets.sources.config import CsvSource, DuckDBSource
from rfm_assets.sources.sends import SendsReading, read_sends
from rfm_assets_tests.tables import rows_of

COLUMNS = {"customer_id": "who", "campaign": "what", "sent_at": "when"}
Read = Callable[..., SendsReading]


@pytest.fixture
def log(engine: DuckDBEngine, tmp_path: Path) -> Read:
    """Reads these lines of a CSV file, on DuckDB if no engine is given."""

    def _read(*lines: str, on: Engine = engine, zone: str = "UTC", **declared: Any) -> SendsReading:
        (tmp_path / "s.csv").write_text("".join(f"{line}\n" for line in lines))
        source = CsvSource(type="csv", path="s.csv", **declared)
        return read_sends(source, columns=COLUMNS, engine=on, root=tmp_path, time_zone=zone)

    return _read


def judged(reading: SendsReading, engine: Engine) -> JudgedSends:
    return judged_sends(reading.table, checkpoint=engine.checkpoint)


def test_each_bad_row_keeps_its_line_and_reason(log: Read, engine: DuckDBEngine) -> None:
    reading = log(
        "who,what,when",
        "1.0,spring,2026-03-01",
        ",spring,2026-03-01",
        "2,,2026-03-01",
        "3,spring,",
        "4,spring,soon",
        "5,spring,2026-03-01,too many",
        "6,news,2026-03-02 23:30",
    )
    found = judged(reading, engine)

    assert rows_of(found.sends, "customer_id") == [
        {"customer_id": "1", "campaign": "spring", "sent_at": datetime(2026, 3, 1), "day": 20513},
        {
            "customer_id": "6",
            "campaign": "news",
            "sent_at": datetime(2026, 3, 2, 23, 30),
            "day": 20514,
        },
    ]
    rejects = rows_of(found.rejects, "source_line")
    assert [(row["source_line"], row["reason"]) for row in rejects] == [
        (3, "missing_customer_id"),
        (4, "missing_campaign"),
        (5, "missing_sent_at"),
        (6, "unreadable_sent_at"),
        (7, "malformed_line"),
    ]
    assert rejects[3]["sent_at"] == "soon"
    assert "too many" in rejects[4]["detail"]
    assert reading.rows == 7 == 2 + sum(found.by_reason.values())
    assert reading.written_at is not None


def test_a_log_without_rows_is_known_to_be_empty(log: Read, engine: DuckDBEngine) -> None:
    found = judged(log("who,what,when"), engine)
    assert rows_of(found.sends) == []
    assert found.by_reason == {}


def test_times_with_a_zone_are_brought_into_the_business_one(
    log: Read, engine: DuckDBEngine
) -> None:
    reading = log("who,what,when", "a,spring,2026-03-01T23:30:00Z", zone="Europe/Berlin")
    (row,) = rows_of(judged(reading, engine).sends)
    assert (row["sent_at"], row["day"]) == (datetime(2026, 3, 2, 0, 30), 20514)


def test_other_engines_read_the_same(log: Read) -> None:
    with PolarsEngine(threads=1) as polars:
        reading = log("who,what,when", "a,spring,2026-03-01", "b,spring,?", on=polars)
        found = judged(reading, polars)
        assert [row["customer_id"] for row in rows_of(found.sends)] == ["a"]
        assert found.by_reason == {"unreadable_sent_at": 1}


def test_a_table_is_read_as_typed(engine: DuckDBEngine, tmp_path: Path) -> None:
    with duckdb.connect(str(tmp_path / "crm.duckdb")) as made:
        made.execute(
            "create table sends as select 17 as who, 'spring' as what, "
            "timestamp '2026-03-01 09:00' as \"when\""
        )
    source = DuckDBSource(type="duckdb", path="crm.duckdb", table="sends")
    reading = read_sends(source, columns=COLUMNS, engine=engine, root=tmp_path)
    (row,) = rows_of(judged(reading, engine).sends)
    assert (row["customer_id"], row["day"]) == ("17", 20513)


def test_what_cannot_be_read_is_not_taken_for_empty(
    log: Read, engine: DuckDBEngine, tmp_path: Path
) -> None:
    with pytest.raises(ColumnMissing, match=r"columns\.sent_at"):
        log("who,what,date", "a,spring,2026-03-01")
    (tmp_path / "s.csv").write_text('who,what,when\na,spring,2026-03-01\nb,"spr')
    with pytest.raises(SourceTruncated):
        read_sends(
            CsvSource(type="csv", path="s.csv"),
            columns=COLUMNS,
            engine=engine,
            root=tmp_path,
        )
