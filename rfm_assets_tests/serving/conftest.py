"""The small store, open for reading."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from rfm_assets.serving.queries import Queries
from rfm_assets_tests.serving.asking import Client, Served, open_client
from rfm_assets_tests.serving.stored import Stored, stored_once


@pytest.fixture(scope="session")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Stored:
    """The project with the store; not to be changed (`Stored.copy`)."""
    return stored_once(tmp_path_factory)


@pytest.fixture(scope="session")
def queries(stored: Stored) -> Iterator[Queries]:
    """Answers about that store."""
    made = stored.queries()
    yield made
    made.close()


@pytest.fixture
def client(queries: Queries, tmp_path: Path) -> Client:
    """A client of an open server over that store."""
    return open_client(queries, tmp_path)


@pytest.fixture
def served(queries: Queries, tmp_path: Path) -> Served:
    """A server with keys over that store."""
    return Served(queries, tmp_path)
