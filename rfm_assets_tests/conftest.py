"""Fixtures that tests of several modules share."""

import os
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest
from hypothesis import settings

from rfm_assets_tests.postgres import EmbeddedPostgres, running_postgres
from rfm_assets_tests.published import Shelf
from rfm_assets_tests.tables import ENGINES, MakeTable, tables_on

# A busy machine is no failure: how long one example takes says nothing about the result.
settings.register_profile("unhurried", deadline=None)
settings.load_profile("unhurried")

_NUMBERS = count()


@pytest.fixture(params=ENGINES)
def engine_table(request: pytest.FixtureRequest) -> Iterator[MakeTable]:
    """Makes a table of the given columns, on each engine in turn."""
    with tables_on(request.param) as make:
        yield make


@pytest.fixture(scope="session")
def online_retail() -> Path:
    """The UCI Online Retail CSV: where RFM_ONLINE_RETAIL says, or beside the project."""
    beside = Path(__file__).parents[2] / "shared" / "data" / "online_retail.csv.gz"
    path = Path(os.environ.get("RFM_ONLINE_RETAIL", str(beside)))
    if not path.is_file():
        pytest.skip("no Online Retail CSV: set RFM_ONLINE_RETAIL to its path")
    return path.resolve()


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[EmbeddedPostgres]:
    """One server for all tests of this process."""
    with running_postgres() as server:
        yield server


@pytest.fixture
def postgres(postgres_server: EmbeddedPostgres) -> Iterator[EmbeddedPostgres]:
    """An empty database on that server."""
    database = postgres_server.new_database(f"test_{next(_NUMBERS)}")
    yield database
    postgres_server.rows(f"drop database {database.database} with (force)")


@pytest.fixture
def shelf(tmp_path: Path, postgres: EmbeddedPostgres) -> Shelf:
    """An empty store, and an empty database to publish it to."""
    return Shelf(tmp_path / "store", postgres)
