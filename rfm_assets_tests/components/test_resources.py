"""A project's store and engine are opened as they are configured."""

from pathlib import Path

import dagster as dg
import pytest
from pydantic import ValidationError

from rfm_assets.components.resources import ENGINE_KEY, STORE_KEY, EngineResource, StoreResource
from rfm_assets.engines.duckdb_engine import DuckDBEngine
from rfm_assets.engines.polars_engine import PolarsEngine


def test_the_engines_settings_reach_duckdb(tmp_path: Path) -> None:
    spill = str(tmp_path / "spill")
    resource = EngineResource(memory_limit="500MB", threads=2, spill_dir=spill)
    with resource.yield_engine() as engine:
        assert isinstance(engine, DuckDBEngine)
        found = engine.connection.execute(
            "select current_setting('threads'), current_setting('memory_limit'), "
            "current_setting('temp_directory'), current_setting('preserve_insertion_order')"
        ).fetchone()
    # 500 million bytes are 476.8 times 2**20.
    assert found == (2, "476.8 MiB", spill, False)


def test_polars_is_an_engine_by_name() -> None:
    assert isinstance(EngineResource(engine="polars").yield_engine(), PolarsEngine)


def test_an_unknown_engine_or_no_thread_is_refused() -> None:
    with pytest.raises(ValidationError, match="'polars' or 'spark'"):
        EngineResource(engine="pandas")  # type: ignore[arg-type]
    with pytest.raises(ValidationError, match="greater than or equal to 1"):
        EngineResource(threads=0)


def test_the_root_may_come_from_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MY_STORE", str(tmp_path))
    roots: list[str] = []

    @dg.asset
    def mine(rfm_store: StoreResource, rfm_engine: EngineResource) -> None:
        with rfm_engine.yield_engine():
            roots.append(str(rfm_store.get_store().root))

    resources = {STORE_KEY: StoreResource(root=dg.EnvVar("MY_STORE")), ENGINE_KEY: EngineResource()}
    dg.materialize([mine], resources=resources)
    assert roots == [str(tmp_path)]
