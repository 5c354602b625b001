"""Generated behaviour as the tables that the domain takes."""

from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any

import pyarrow as pa

from rfm_assets.domain.behavior_profiles import Profile, SourceName
from rfm_assets.domain.rfm import day_number

AS_OF = date(2025, 1, 1)
_TYPES = {"text": pa.string(), "number": pa.float64(), "boolean": pa.bool_()}


def source_columns(
    rows: Sequence[Mapping[str, Any]], profile: Profile, source: SourceName
) -> pa.Table:
    """Rows with `day` counted back from `AS_OF` as a table with days since 1970."""
    own = {"event": pa.string()} if source == "events" else {}
    if source == "transactions":
        own = {"amount": pa.float64(), "order_id": pa.string()}
    types = {
        "customer_id": pa.string(),
        **own,
        **{name: _TYPES[one.kind] for name, one in profile.inputs(source).items()},
    }
    columns = {
        name: pa.array([_typed(row.get(name), kind) for row in rows], kind)
        for name, kind in types.items()
    }
    end = day_number(AS_OF)
    return pa.table({**columns, "day": pa.array([end - row["day"] for row in rows], pa.int32())})


def _typed(value: Any, kind: pa.DataType) -> Any:
    return float(value) if value is not None and kind == pa.float64() else value
