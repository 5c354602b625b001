"""Fixtures that tests of several modules share."""

from collections.abc import Iterator

import pytest
from hypothesis import settings

from rfm_assets_tests.tables import ENGINES, MakeTable, tables_on

# A busy machine is no failure: how long one example takes says nothing about the result.
settings.register_profile("unhurried", deadline=None)
settings.load_profile("unhurried")


@pytest.fixture(params=ENGINES)
def engine_table(request: pytest.FixtureRequest) -> Iterator[MakeTable]:
    """Makes a table of the given columns, on each engine in turn."""
    with tables_on(request.param) as make:
        yield make
