"""Fixtures that tests of several modules share."""

from collections.abc import Iterator

import pytest

from rfm_assets_tests.tables import ENGINES, MakeTable, tables_on


@pytest.fixture(params=ENGINES)
def engine_table(request: pytest.FixtureRequest) -> Iterator[MakeTable]:
    """Makes a table of the given columns, on each engine in turn."""
    with tables_on(request.param) as make:
        yield make
