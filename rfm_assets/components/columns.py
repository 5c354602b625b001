"""A stored table's columns as Dagster shows them: types, constraints, and where they come from.

Made from the contracts in `schemas.py`, so that the UI and the checks cannot disagree.
"""

from collections.abc import Mapping, Sequence

import dagster as dg
import pyarrow as pa
from pandera.api.checks import Check

from rfm_assets.schemas import TableContract

TYPE_NAMES = {
    "string": "text",
    "str": "text",
    "large_string": "text",
    "datetime64": "timestamp",
    "date": "date",
    "timestamp": "timestamp",
    "double": "float64",
    "bool": "boolean",
}


def table_schema(
    contract: TableContract, *, more: Mapping[str, str] | None = None
) -> dg.TableSchema:
    """The contract's columns for the `dagster/column_schema` of an asset.

    `more` names columns that this deployment adds, with what they hold.
    """
    columns = []
    for name, column in contract.schema.columns.items():
        columns.append(
            dg.TableColumn(
                name=name,
                type=_type_name(str(column.dtype)),
                description=column.description,
                constraints=dg.TableColumnConstraints(
                    nullable=bool(column.nullable),
                    unique=bool(column.unique) or contract.key == (name,),
                    other=[text for check in column.checks if (text := _constraint(check))],
                ),
            )
        )
    columns += [dg.TableColumn(name=name, type=kind) for name, kind in (more or {}).items()]
    return dg.TableSchema(columns=columns)


def stored_schema(
    contract: TableContract, stored: pa.Schema, *, about: Mapping[str, str] | None = None
) -> dg.TableSchema:
    """The columns of a published snapshot, in their order.

    Those of the contract are described by it, others by `about`; what neither knows, such as a
    customer's consent, is what this deployment carries along.
    """
    known = {column.name: column for column in table_schema(contract).columns}
    carried = {
        field.name: dg.TableColumn(
            name=field.name,
            type=_type_name(str(field.type)),
            description=(about or {}).get(
                field.name, "Carried along from the tables that this one is made from"
            ),
        )
        for field in stored
        if field.name not in known
    }
    return dg.TableSchema(columns=[{**known, **carried}[name] for name in stored.names])


def column_lineage(
    sources: Mapping[str, Sequence[tuple[dg.AssetKey, str]]],
) -> dg.TableColumnLineage:
    """Which upstream columns each column is made from."""
    return dg.TableColumnLineage(
        deps_by_column={
            name: [dg.TableColumnDep(asset_key=key, column_name=column) for key, column in deps]
            for name, deps in sources.items()
        }
    )


def same_columns(
    names: Sequence[str], upstream: dg.AssetKey
) -> dict[str, list[tuple[dg.AssetKey, str]]]:
    """Lineage of columns that are carried along unchanged."""
    return {name: [(upstream, name)] for name in names}


def _type_name(dtype: str) -> str:
    for prefix, name in TYPE_NAMES.items():
        if dtype.startswith(prefix):
            return name
    return dtype


def _constraint(check: Check) -> str:
    """A constraint in words, such as `at least 1`; empty where it says nothing."""
    limits = {key: value for key, value in (check.statistics or {}).items() if value is not None}
    match check.name:
        case "greater_than_or_equal_to":
            return f"at least {limits['min_value']:g}"
        case "greater_than":
            return f"above {limits['min_value']:g}"
        case "in_range":
            return f"{limits['min_value']:g} to {limits['max_value']:g}"
        case "isin":
            return f"one of {', '.join(map(str, limits['allowed_values']))}"
        case "str_length":
            return "not empty" if limits.get("min_value") == 1 else f"length {limits}"
        case _:
            return ", ".join(f"{key} {value}" for key, value in limits.items())
