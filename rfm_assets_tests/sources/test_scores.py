"""Reading churn scores, also on engines beside DuckDB and where a file has no header."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rfm_assets.engines.base import Engine, collect_rows
from rfm_assets.engines.duckdb_engine import DuckDBEngine
from rfm_assets.engines.polars_engine import PolarsEngine
from rfm_assets.errors import ColumnMissing, InvalidConfig
from rfm_assets.sources.config import CsvSource
from rfm_assets.sources.scores import ScoreReading, read_scores

Read = Callable[..., ScoreReading]


@pytest.fixture
def scores(engine: DuckDBEngine, tmp_path: Path) -> Read:
    """Reads these lines of a CSV file, on DuckDB if no engine is given."""

    def _read(*lines: str, on: Engine = engine, **declared: Any) -> ScoreReading:
        (tmp_path / "s.csv").write_text("".join(f"{line}\n" for line in lines))
        source = CsvSource(type="csv", path="s.csv", **declared)
        return read_scores(
            source, customer_id="customer", churn_score="score", engine=on, root=tmp_path
        )

    return _read


def found(reading: ScoreReading) -> dict[str, float | None]:
    return {row["customer_id"]: row["churn_score"] for row in collect_rows(reading.table)}


def test_other_engines_read_with_the_settings_of_the_deployment(scores: Read) -> None:
    with PolarsEngine(memory_limit="500MB", threads=2) as engine:
        reading = scores("customer,score", "a,0.25", "b,?", on=engine)
        assert found(reading) == {"a": 0.25, "b": None}
        assert reading.rows == 2
    with pytest.raises(InvalidConfig, match="a lot"):
        scores("customer,score", "a,0.25", on=PolarsEngine(memory_limit="a lot"))


@pytest.mark.parametrize(
    ("first", "declared", "value"),
    [
        ("a;0,25", {"decimal_separator": ","}, 0.25),
        ("a; 0,25 ", {"decimal_separator": ","}, 0.25),
        ("a;1.000,5", {"decimal_separator": ",", "thousands_separator": "."}, 1000.5),
        ("a;2.5e-1", {}, 0.25),
    ],
)
def test_a_number_as_declared_is_no_header(
    scores: Read, first: str, declared: dict[str, Any], value: float
) -> None:
    reading = scores(first, delimiter=";", **declared)
    assert reading.headless == ("s.csv",)
    assert found(reading) == {"a": value}


@pytest.mark.parametrize(
    ("first", "declared"),
    [("a;0,25", {}), ("a;0.25", {"decimal_separator": ","}), ("a;", {}), ("a;risk", {})],
)
def test_what_is_no_number_as_declared_is_a_header(
    scores: Read, first: str, declared: dict[str, Any]
) -> None:
    with pytest.raises(ColumnMissing, match="column 'customer'"):
        scores(first, "b;1", delimiter=";", **declared)
