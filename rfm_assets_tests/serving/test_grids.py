"""What a grid asks for, and the rows that it gets."""

from typing import Any

import pytest

from rfm_assets.errors import RfmError
from rfm_assets.serving.dashboard.grids import LARGEST_BLOCK, rows_for
from rfm_assets.serving.queries import Queries
from rfm_assets_tests.serving.stored import FIRST, Stored


@pytest.fixture
def grid(queries: Queries) -> dict[str, str]:
    snapshot = queries.resolve("customer_segments", None)
    return {
        "table": snapshot.table,
        "as_of": str(snapshot.as_of),
        "version": snapshot.version,
        "part": "rows",
        "segment": "",
    }


@pytest.fixture(scope="module")
def rows(stored: Stored) -> list[dict[str, Any]]:
    return sorted(stored.rows("customer_segments"), key=lambda row: row["customer_id"])


def asked(queries: Queries, grid: dict[str, str], **request: Any) -> tuple[list[str], int]:
    """Ids of the rows of a request, and how many there are in all."""
    found = rows_for(queries, grid, {"startRow": 0, "endRow": 1_000, **request})
    return [row["customer_id"] for row in found["rowData"]], found["rowCount"]


FILTERS: dict[tuple[str, str, Any], Any] = {
    ("monetary", "greaterThanOrEqual", 100): lambda v: v >= 100,
    ("monetary", "lessThanOrEqual", "50.5"): lambda v: v <= 50.5,
    ("frequency", "equals", 3): lambda v: v == 3,
    ("segment", "contains", "LOYAL"): lambda v: "loyal" in v.lower(),
    ("segment", "equals", "At Risk"): lambda v: v == "At Risk",
    ("customer_id", "contains", "09"): lambda v: "09" in v,
    ("customer_id", "contains", "0%_"): lambda _: False,
    ("segment", "contains", "' or 1=1 --"): lambda _: False,
}


@pytest.mark.parametrize("asks", FILTERS)
def test_a_filter_is_a_condition(
    queries: Queries, grid: dict[str, str], rows: list[dict[str, Any]], asks: tuple[str, str, Any]
) -> None:
    column, kind, value = asks
    ids, total = asked(queries, grid, filterModel={column: {"type": kind, "filter": value}})
    assert ids == [row["customer_id"] for row in rows if FILTERS[asks](row[column])]
    assert total == len(ids)


@pytest.mark.parametrize(
    "model",
    [
        {"nothing": {"type": "contains", "filter": "x"}},
        {"segment": {"type": "startsWith", "filter": "x"}},
        {"segment": {"type": "greaterThanOrEqual", "filter": "x"}},
        {"monetary": {"type": "contains", "filter": "1"}},
        {"monetary": {"type": "equals", "filter": None}},
        {},
        None,
    ],
)
def test_what_is_no_condition_leaves_all_rows(
    queries: Queries, grid: dict[str, str], rows: list[dict[str, Any]], model: Any
) -> None:
    assert asked(queries, grid, filterModel=model)[1] == len(rows)


def test_conditions_hold_together_with_the_segment(
    queries: Queries, grid: dict[str, str], rows: list[dict[str, Any]]
) -> None:
    model = {"monetary": {"type": "greaterThanOrEqual", "filter": 100}}
    ids, total = asked(queries, {**grid, "segment": "At Risk"}, filterModel=model)
    expected = [r for r in rows if r["segment"] == "At Risk" and r["monetary"] >= 100]
    assert ids == [row["customer_id"] for row in expected]
    assert total == len(expected)


def test_rows_are_sorted_and_come_in_blocks(
    queries: Queries, grid: dict[str, str], rows: list[dict[str, Any]]
) -> None:
    by = [{"colId": "segment", "sort": "asc"}, {"colId": "monetary", "sort": "desc"}]
    ordered = sorted(rows, key=lambda r: (r["segment"], -r["monetary"], r["customer_id"]))
    expected = [row["customer_id"] for row in ordered]
    blocks: list[str] = []
    for start in range(0, len(rows), 100):
        blocks += asked(queries, grid, startRow=start, endRow=start + 100, sortModel=by)[0]
    assert blocks == expected
    assert asked(queries, grid, sortModel=[{"colId": "nothing", "sort": "asc"}])[0] == [
        row["customer_id"] for row in rows
    ]


def test_lists_come_best_first(queries: Queries, grid: dict[str, str]) -> None:
    champions = queries.resolve("champions", None)
    own = {**grid, "table": "champions", "version": champions.version}
    found = rows_for(queries, own, {"startRow": 0, "endRow": 5})["rowData"]
    assert [row["rank"] for row in found] == [1, 2, 3, 4, 5]


def test_a_block_has_an_end(queries: Queries, grid: dict[str, str]) -> None:
    found = rows_for(queries, grid, {"startRow": -5, "endRow": 10**9})
    assert len(found["rowData"]) <= LARGEST_BLOCK
    assert rows_for(queries, grid, {"startRow": 10**6, "endRow": 10**6 + 10})["rowData"] == []


def test_dates_are_texts(queries: Queries, grid: dict[str, str]) -> None:
    row = rows_for(queries, grid, {"startRow": 0, "endRow": 1})["rowData"][0]
    assert row["last_purchase_date"].count("-") == 2
    assert row["as_of"] == grid["as_of"]


def test_a_version_that_is_gone_is_told(queries: Queries, grid: dict[str, str]) -> None:
    for changed in ({"version": "20200101T000000000000Z-00000000"}, {"as_of": str(FIRST)}):
        with pytest.raises(RfmError):
            rows_for(queries, {**grid, **changed}, {"startRow": 0, "endRow": 1})
