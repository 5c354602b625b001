"""Which columns a table will have, as far as the YAML of its project tells before it is computed."""

from collections.abc import Mapping

import dagster as dg

from rfm_assets.components.customer_data import CustomerDataComponent
from rfm_assets.components.customer_segments import CustomerSegmentationComponent
from rfm_assets.domain.kinds import Kind
from rfm_assets.schemas import CUSTOMER_SEGMENTS, TableContract

_KINDS: Mapping[str, Kind] = {
    "int": "number",
    "float": "number",
    "string": "text",
    "bool": "boolean",
    "date": "date",
}
"""What a contract's type begins with, and what an expression takes it for."""


def columns_at_load(context: dg.ComponentLoadContext, table: dg.AssetKey) -> dict[str, Kind] | None:
    """What each column of a table of customers or segments will hold.

    None where nobody can say: another project makes the table, or an asset of somebody's own.
    """
    tree = context.component_tree
    for made in tree.get_all_components(CustomerDataComponent):
        if type(made) is CustomerDataComponent and made.key == table:
            attributes = made.columns.attributes
            return {"customer_id": "text"} | {name: one.kind for name, one in attributes.items()}
    for segments in tree.get_all_components(CustomerSegmentationComponent):
        if type(segments) is CustomerSegmentationComponent and segments.key == table:
            own = _kinds_of(CUSTOMER_SEGMENTS) | {"refunded": "number"}
            carried = _of(segments.customer_data_asset_key, context)
            return None if carried is None else own | carried
    return None


def _of(name: str | None, context: dg.ComponentLoadContext) -> dict[str, Kind] | None:
    if name is None:
        return {}
    return columns_at_load(context, dg.AssetKey.from_user_string(name))


def _kinds_of(contract: TableContract) -> dict[str, Kind]:
    return {
        name: next(kind for begin, kind in _KINDS.items() if str(column.dtype).startswith(begin))
        for name, column in contract.schema.columns.items()
    }
