"""What clusters are like in the data at hand: sizes, centroids, ranges and means.

How clusters are found does not belong here (`clustering.py`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import narwhals as nw
from narwhals.typing import IntoDType

from rfm_assets.domain.clustering import ClusterModel
from rfm_assets.domain.frames import Table
from rfm_assets.domain.money import money_of


def cluster_profiles(clusters: Table, model: ClusterModel) -> Table:
    """What each cluster is like in these data: one small row per cluster and feature.

    Columns: cluster (Int32), segment, feature (String), centroid, minimum, mean, maximum
    (Float64, in the feature's unit; the last three null for a cluster without customers),
    customers (Int64), customers_pct, spend_total and spend_pct (Float64).
    """
    counted = (
        clusters.group_by("cluster")
        .agg(
            nw.len().alias("customers"),
            nw.col("spend_units").sum().alias("units"),
            *[nw.col(name).min().alias(f"{name}_min") for name in model.features],
            *[nw.col(name).max().alias(f"{name}_max") for name in model.features],
        )
        .collect("pyarrow")
        .to_native()
        .to_pylist()
    )
    # Some engines answer a sum of whole numbers as a decimal.
    sizes: dict[int, dict[str, Any]] = {
        row["cluster"]: {**row, "units": int(row["units"])} for row in counted
    }
    customers = sum(row["customers"] for row in sizes.values())
    units = sum(row["units"] for row in sizes.values())
    sums = _sums(clusters, model, sizes, customers)
    rows: list[dict[str, Any]] = []
    for cluster, centroid in enumerate(model.centroids_in_units()):
        size = sizes.get(cluster, {"customers": 0, "units": 0})
        for name in model.features:
            total = sums.get((cluster, name))
            rows.append(
                {
                    "cluster": cluster,
                    "segment": model.names[cluster],
                    "feature": name,
                    "centroid": centroid[name],
                    "minimum": size.get(f"{name}_min"),
                    "mean": None if total is None else total / size["customers"],
                    "maximum": size.get(f"{name}_max"),
                    "customers": size["customers"],
                    "customers_pct": 100 * size["customers"] / customers if customers else 0.0,
                    "spend_total": money_of(size["units"]),
                    "spend_pct": 100 * size["units"] / units if units > 0 else None,
                }
            )
    columns = {name: [row[name] for row in rows] for name in _PROFILE_TYPES}
    return nw.from_dict(columns, schema=_PROFILE_TYPES, backend="pyarrow").lazy()


def _sums(
    clusters: Table, model: ClusterModel, sizes: Mapping[int, Mapping[str, Any]], customers: int
) -> dict[tuple[int, str], float]:
    """Sums of features by cluster as whole numbers, because those of floats depend on the order."""
    if not customers:
        return {}
    scales: dict[str, float] = {}
    for name in model.features:
        ends = [abs(row[f"{name}_{end}"]) for row in sizes.values() for end in ("min", "max")]
        # The largest power of two with which all of them together stay below 2**62.
        scales[name] = 2.0 ** math.floor(61 - math.log2(customers * max(*ends, 1e-9)))
    found = (
        clusters.select(
            "cluster",
            **{
                # Halves are rounded alike everywhere only when it is written out.
                n: (nw.col(n) * scale + 0.5).floor().cast(nw.Int64)
                for n, scale in scales.items()
            },
        )
        .group_by("cluster")
        .agg(nw.col(*model.features).sum())
        .collect("pyarrow")
        .to_native()
        .to_pylist()
    )
    return {(row["cluster"], n): int(row[n]) / scales[n] for row in found for n in scales}


_PROFILE_TYPES: Mapping[str, IntoDType] = {
    "cluster": nw.Int32,
    "segment": nw.String,
    "feature": nw.String,
    "centroid": nw.Float64,
    "minimum": nw.Float64,
    "mean": nw.Float64,
    "maximum": nw.Float64,
    "customers": nw.Int64,
    "customers_pct": nw.Float64,
    "spend_total": nw.Float64,
    "spend_pct": nw.Float64,
}
