"""K-means over the features of customers: fitted on a sample, assigned in the engine, named.

What the features mean does not belong here (`features.py`), nor which names there are
(`cluster_names.py`). A model is data: the numbers of `ClusterModel` and nothing else.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import date
from typing import Annotated, Literal

import narwhals as nw
import numpy as np
from pydantic import Field

from rfm_assets.domain.comparison import adjusted_rand_index
from rfm_assets.domain.config import ConfigModel
from rfm_assets.domain.features import FEATURES
from rfm_assets.domain.frames import Table
from rfm_assets.domain.k_means import (
    Floats,
    Labels,
    k_means,
    nearest,
    pairing,
    silhouette,
)
from rfm_assets.errors import NotEnoughCustomers

LARGEST_AUTO = 8
"""`k: auto` tries 3 to this many."""

STABLE_FROM = 0.85
"""Mean adjusted Rand index over bootstraps from which a number of clusters is called stable."""

_PRIME = 2**31 - 1
_FACTORS = {"spend_units": 48_271, "first_day": 69_621, "last_day": 16_807}
_SILHOUETTE_ROWS = 5_000
_BOOTSTRAP_ROWS = 10_000


class RefitFrozen(ConfigModel):
    """The model of an earlier snapshot goes on deciding."""

    frozen_from: date = Field(description="as_of of the snapshot whose model is used.")


class ClusteringConfig(ConfigModel):
    """How many clusters, of which features, and when they are learned anew."""

    features: list[str] | None = Field(
        default=None,
        min_length=2,
        description="Features to cluster by; null takes all that can be computed. "
        "[recency_days, transaction_count, spend_total] clusters by plain RFM.",
    )
    k: Annotated[int, Field(ge=2, le=30)] | Literal["auto"] = Field(
        default=8,
        description="Number of clusters, 2 to 30; `auto` takes the clearest stable one of 3 to 8.",
    )
    sample_size: int = Field(
        default=50_000,
        ge=1_000,
        le=1_000_000,
        description="Customers that the clusters are learned from, chosen by their numbers; with "
        "fewer customers all of them.",
    )
    bootstraps: int = Field(
        default=20, ge=5, le=200, description="Resamples that stability is measured on."
    )
    refit: Literal["weekly", "monthly"] | RefitFrozen = Field(
        default="weekly",
        description="When clusters are learned anew: in each snapshot, in the first of a month, or "
        "never, with `{frozen_from: <as_of>}`.",
    )


class Tried(ConfigModel):
    """How well so many clusters describe the customers."""

    k: int
    silhouette: float
    stability: float

    @property
    def stable(self) -> bool:
        """Whether customers stay together when the clusters are learned from others like them."""
        return self.stability >= STABLE_FROM


class ClusterModel(ConfigModel):
    """Everything that decides which cluster a customer belongs to, as plain numbers.

    `mean` and `scale` standardise the features, of which those in `logs` by their logarithm;
    `centroids` are in those units, one row per cluster.
    """

    features: tuple[str, ...]
    logs: tuple[bool, ...]
    mean: tuple[float, ...]
    scale: tuple[float, ...]
    centroids: tuple[tuple[float, ...], ...]
    names: tuple[str, ...] = ()
    fitted_on: date
    sampled: int
    inertia: float = Field(description="Mean squared distance to the centroid, in those units.")
    chosen: Tried
    tried: tuple[Tried, ...]
    left_out: dict[str, str] = Field(default_factory=dict)

    @property
    def k(self) -> int:
        """The number of clusters."""
        return len(self.centroids)

    def centroids_in_units(self) -> list[dict[str, float]]:
        """The centroids as days, purchases and money."""
        return [self._in_units(np.array(centroid)) for centroid in self.centroids]

    def centre_in_units(self) -> dict[str, float]:
        """The centre of all customers, likewise."""
        return self._in_units(np.zeros(len(self.features)))

    def _in_units(self, point: Floats) -> dict[str, float]:
        raw = point * np.array(self.scale) + np.array(self.mean)
        back = np.where(np.array(self.logs), np.sign(raw) * np.expm1(np.abs(raw)), raw)
        return dict(zip(self.features, map(float, back), strict=True))


def fit_clusters(
    features: Table,
    *,
    as_of: date,
    config: ClusteringConfig,
    available: Sequence[str],
    left_out: Mapping[str, str],
) -> ClusterModel:
    """Learn clusters from a sample; they have no names yet.

    Args:
        features: `customer_features`, computed once.
        as_of: The date of the snapshot.
        config: What the YAML says.
        available: The features that `features` has.
        left_out: Those that it has not, and why.

    Raises:
        NotEnoughCustomers: Fewer than ten per cluster, or too few who differ.
    """
    names = [name for name in available if config.features is None or name in config.features]
    matrix = sample(features, names, config.sample_size)
    largest = LARGEST_AUTO if config.k == "auto" else config.k
    if len(matrix) < 10 * largest:
        what = f"customers to learn {largest} clusters from"
        raise NotEnoughCustomers(what=what, found=len(matrix), needed=10 * largest, key="k")
    logs = [feature.log for feature in FEATURES if feature.name in names]
    values = np.where(np.array(logs), np.sign(matrix) * np.log1p(np.abs(matrix)), matrix)
    spread = values.std(axis=0)
    told = dict(left_out)
    told |= {
        name: "is the same for everybody"
        for name, one in zip(names, spread, strict=True)
        if one < 1e-12  # noqa: PLR2004  rounding
    }
    kept = [position for position, name in enumerate(names) if name not in told]
    mean, scale = values[:, kept].mean(axis=0), spread[kept]
    points = (values[:, kept] - mean) / scale
    unlike = len(np.unique(points, axis=0)) if kept else 1
    if unlike < largest:
        what = f"customers unlike each other to learn {largest} clusters from"
        raise NotEnoughCustomers(what=what, found=unlike, needed=largest, key="k")
    ks = range(3, LARGEST_AUTO + 1) if config.k == "auto" else [config.k]
    fitted = {k: k_means(points, k, inits=10) for k in ks}
    tried = [_judge(points, *fitted[k], bootstraps=config.bootstraps) for k in ks]
    chosen = max(tried, key=lambda one: (one.stable, round(one.silhouette, 3), -one.k))
    centroids, labels = fitted[chosen.k]
    distances = ((points - centroids[labels]) ** 2).sum(axis=1)
    return ClusterModel(
        features=tuple(names[position] for position in kept),
        logs=tuple(logs[position] for position in kept),
        mean=tuple(map(float, mean)),
        scale=tuple(map(float, scale)),
        centroids=tuple(tuple(map(float, row)) for row in centroids),
        fitted_on=as_of,
        sampled=len(points),
        inertia=float(distances.mean()),
        chosen=chosen,
        tried=tuple(tried),
        left_out=told,
    )


def sample(features: Table, names: Sequence[str], size: int) -> Floats:
    """Rows of about `size` customers, sorted: the same ones on every engine.

    Who is in it follows from a customer's own numbers, because engines have no hash in common.
    """
    customers = int(features.select(nw.len()).collect().item())
    wanted = ["customer_id", *names]
    mixed = nw.lit(0)
    for name, factor in _FACTORS.items():
        mixed = mixed + (nw.col(name).cast(nw.Int64).abs() % _PRIME) * factor
    mixed = ((mixed % _PRIME) * _FACTORS["spend_units"]) % _PRIME
    share = size / max(customers, 1)
    while True:
        drawn = features if share >= 1 else features.filter(mixed < int(_PRIME * share))
        collected = drawn.select(wanted).sort("customer_id").head(2 * size).collect("pyarrow")
        # Customers whose numbers are alike are drawn together, or none of them is.
        if share >= 1 or 2 * len(collected) >= size:
            break
        share *= 2
    columns = [collected.get_column(name).to_numpy().astype(np.float64) for name in names]
    return np.stack(columns, axis=1)


def assigned(features: Table, model: ClusterModel) -> Table:
    """The rows with `cluster` (Int32, from 0) and `segment`: the nearest centroid.

    The nearest has the largest product with the point, less half its own length squared; the
    standardisation is folded into the factors, so that a row costs one product per cluster.
    """
    centroids, mean, scale = map(np.array, (model.centroids, model.mean, model.scale))
    factors = centroids / scale
    offsets = -(centroids**2).sum(axis=1) / 2 - (factors * mean).sum(axis=1)
    taken = {
        f"_t{i}": transformed(name, log=log)
        for i, (name, log) in enumerate(zip(model.features, model.logs, strict=True))
    }
    products: dict[str, nw.Expr] = {}
    for cluster in range(model.k):
        total = nw.col("_t0") * float(factors[cluster, 0])
        for i in range(1, len(model.features)):
            total = total + nw.col(f"_t{i}") * float(factors[cluster, i])
        products[f"_p{cluster}"] = total + float(offsets[cluster])
    closest = nw.lit(model.k - 1)
    for cluster in reversed(range(model.k - 1)):
        wins = nw.col(f"_p{cluster}") == nw.col("_best")
        closest = nw.when(wins).then(nw.lit(cluster)).otherwise(closest)
    columns = features.collect_schema().names()
    found = (
        features.with_columns(**taken)
        .with_columns(**products)
        .with_columns(_best=nw.max_horizontal(*products))
        .select(*columns, closest.cast(nw.Int32).alias("cluster"))
    )
    named = nw.lit(None, dtype=nw.String)
    for cluster, name in enumerate(model.names):
        named = nw.when(nw.col("cluster") == cluster).then(nw.lit(name)).otherwise(named)
    return found.with_columns(segment=named)


def transformed(name: str, *, log: bool) -> nw.Expr:
    """A feature as it is standardised: itself, or the logarithm of its size with its sign."""
    value = nw.col(name)
    if not log:
        return value
    size = (value.abs() + 1.0).log()
    return nw.when(value >= 0).then(size).otherwise(-size)


def _judge(points: Floats, centroids: Floats, labels: Labels, *, bootstraps: int) -> Tried:
    k, made = len(centroids), np.random.default_rng(0)
    few = made.permutation(len(points))[:_SILHOUETTE_ROWS]
    judged = made.permutation(len(points))[:_BOOTSTRAP_ROWS]
    base = points[judged]
    agreed: list[float] = []
    for number in range(bootstraps):
        drawn = base[made.integers(0, len(base), len(base))]
        others, _ = k_means(drawn, k, inits=10, seed=number + 1)
        agreed.append(adjusted_rand_index(_together(labels[judged], nearest(base, others))))
    return Tried(
        k=k,
        silhouette=silhouette(points[few], labels[few]),
        stability=sum(agreed) / len(agreed),
    )


def _together(one: Labels, other: Labels) -> list[tuple[int, int, int]]:
    """How many are in which cluster of both."""
    counted = Counter(zip(one.tolist(), other.tolist(), strict=True))
    return [(a, b, n) for (a, b), n in counted.items()]


def reconciled(model: ClusterModel, before: ClusterModel, names: Sequence[str]) -> ClusterModel:
    """The model with the clusters in the order, and under the names, of the one before.

    Clusters are paired so that their centroids lie nearest in all. A name stays as long as the
    cluster moved by less than half of what parts it from the next one; otherwise it gets the one
    of `names` (by the new model's own clusters) that it would have had alone.
    """
    comparable = before.features == model.features and before.k == model.k
    if not comparable:
        return model.model_copy(update={"names": tuple(names)})
    mean, scale = np.array(model.mean), np.array(model.scale)
    here = np.array(model.centroids)
    then = (
        np.array(before.centroids) * np.array(before.scale) + np.array(before.mean) - mean
    ) / scale
    order, moved = pairing(then, here)
    apart = np.sqrt(((here[:, None, :] - here[None, :, :]) ** 2).sum(axis=2))
    np.fill_diagonal(apart, np.inf)
    kept = tuple(
        before.names[old] if moved[old] < apart[new].min() / 2 else names[new]
        for old, new in enumerate(order)
    )
    return model.model_copy(
        update={"centroids": tuple(model.centroids[new] for new in order), "names": kept}
    )
