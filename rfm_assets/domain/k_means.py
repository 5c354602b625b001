"""scikit-learn's K-means and what is asked about its result, on one thread and in a fixed order.

What is clustered, and why, does not belong here (`clustering.py`).
"""
# scikit-learn has no types.
# pyright: basic

from __future__ import annotations

import warnings
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

Floats: TypeAlias = npt.NDArray[np.float64]
Labels: TypeAlias = npt.NDArray[np.int32]


def k_means(points: Floats, k: int, *, inits: int, seed: int = 0) -> tuple[Floats, Labels]:
    """Centroids in an order of their own (by their first coordinate), and who is at which.

    Args:
        points: One row per customer, standardised.
        k: The number of clusters.
        inits: How many starts the best is taken of.
        seed: Of the starts.
    """
    from sklearn.cluster import KMeans
    from sklearn.exceptions import ConvergenceWarning
    from threadpoolctl import threadpool_limits

    settings: dict[str, Any] = {"n_clusters": k, "n_init": inits, "random_state": seed}
    # On one thread: the order in which several add up would decide about the last bits.
    with threadpool_limits(limits=1), warnings.catch_warnings():
        # A resample may hold fewer points that differ than clusters are asked for.
        warnings.simplefilter("ignore", ConvergenceWarning)
        found = KMeans(**settings).fit(points)
    order = np.lexsort(found.cluster_centers_.T[::-1])
    place = np.empty(k, dtype=np.int32)
    place[order] = np.arange(k, dtype=np.int32)
    return np.round(found.cluster_centers_[order], 12), place[found.labels_]


def nearest(points: Floats, centroids: Floats) -> Labels:
    """The cluster of each point."""
    products = points @ centroids.T - (centroids**2).sum(axis=1) / 2
    return products.argmax(axis=1).astype(np.int32)


def silhouette(points: Floats, labels: Labels) -> float:
    """How much nearer points are to their own cluster than to the next, -1..1."""
    from sklearn.metrics import silhouette_score

    return float(silhouette_score(points, labels))


def pairing(one: Floats, other: Floats) -> tuple[list[int], list[float]]:
    """For each row of `one` the row of `other` that it is paired with, and the distance.

    Each is paired once, so that the distances are smallest in all. Both have as many rows.
    """
    from scipy.optimize import linear_sum_assignment

    distances = np.sqrt(((one[:, None, :] - other[None, :, :]) ** 2).sum(axis=2))
    rows, columns = linear_sum_assignment(distances)
    return [int(c) for c in columns], [
        float(distances[r, c]) for r, c in zip(rows, columns, strict=True)
    ]
