"""Rows for a grid: what it asks for as conditions and an order over one snapshot."""

import datetime as dt
from collections.abc import Mapping
from typing import Any

from narwhals.dtypes import DType as DataType

from rfm_assets.serving.queries import Condition, Operator, Queries, as_of_written

LARGEST_BLOCK = 1_000

_OPERATORS: Mapping[str, Operator] = {
    "contains": "contains",
    "equals": "=",
    "greaterThanOrEqual": ">=",
    "lessThanOrEqual": "<=",
}


def rows_for(
    queries: Queries, grid: Mapping[str, str], request: Mapping[str, Any]
) -> dict[str, Any]:
    """One block of rows, in the form that the grid takes.

    Raises:
        SnapshotGone: The snapshot that the page was made from is not kept any more.
    """
    as_of = as_of_written(grid["as_of"]) if grid["as_of"] else None
    snapshot = queries.catalogue.snapshot(grid["table"], as_of, grid["version"])
    columns = queries.columns(snapshot, grid["part"])
    conditions = [
        condition
        for name, asked in (request.get("filterModel") or {}).items()
        if name in columns and (condition := _condition(name, asked, columns[name])) is not None
    ]
    if grid["segment"]:
        conditions.append(Condition("segment", "=", grid["segment"]))
    start = max(int(request.get("startRow") or 0), 0)
    end = min(int(request.get("endRow") or 100), start + LARGEST_BLOCK)
    sort = [
        (one["colId"], one["sort"] == "desc")
        for one in request.get("sortModel") or []
        if one.get("colId") in columns
    ]
    if not sort and "rank" in columns:
        sort = [("rank", False)]
    found = queries.page(
        snapshot,
        grid["part"],
        conditions=conditions,
        sort=sort,
        offset=start,
        limit=end - start,
    )
    return {
        "rowData": [{name: _sent(value) for name, value in row.items()} for row in found.rows],
        "rowCount": found.total,
    }


def _condition(name: str, asked: Mapping[str, Any], kind: DataType) -> Condition | None:
    operator, value = _OPERATORS.get(str(asked.get("type"))), asked.get("filter")
    if operator is None or value is None:
        return None
    if kind.is_numeric():
        return Condition(name, operator, float(value)) if operator != "contains" else None
    return Condition(name, operator, str(value)) if operator in {"=", "contains"} else None


def _sent(value: Any) -> Any:
    if isinstance(value, dt.datetime):
        return value.isoformat(sep=" ", timespec="seconds")
    if isinstance(value, dt.date):
        return value.isoformat()
    return value
