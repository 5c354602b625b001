"""Clusters: the same however the rows lie, near a full fit, named by what they are, and staying."""

from datetime import date, timedelta
from pathlib import Path
from typing import Any

import narwhals as nw
import numpy as np
import pyarrow as pa
import pytest
from pydantic import ValidationError

from rfm_assets.domain.cluster_names import NameRule, name_clusters
from rfm_assets.domain.cluster_profiles import cluster_profiles
from rfm_assets.domain.clustering import (
    ClusteringConfig,
    ClusterModel,
    Tried,
    assigned,
    fit_clusters,
    reconciled,
)
from rfm_assets.domain.features import RFM_FEATURES, FeatureConfig, customer_features
from rfm_assets.domain.frames import Table
from rfm_assets.domain.k_means import k_means, nearest
from rfm_assets.engines.duckdb_engine import DuckDBEngine
from rfm_assets.errors import NotEnoughCustomers
from rfm_assets.library import cluster_names
from rfm_assets_tests.domain.purchases import AS_OF, shop, transactions
from rfm_assets_tests.tables import MakeTable, held, rows_of, tables_on

CONFIG = FeatureConfig()
NAMES = [feature.name for feature in CONFIG.available]


def fitted(table: Table, as_of: date = AS_OF, **settings: Any) -> ClusterModel:
    model = fit_clusters(
        table,
        as_of=as_of,
        config=ClusteringConfig(**{"bootstraps": 5, **settings}),
        available=NAMES,
        left_out=CONFIG.left_out,
    )
    return model.model_copy(update={"names": tuple(f"n{i}" for i in range(model.k))})


def test_every_engine_finds_the_same_clusters(engine_table: MakeTable) -> None:
    def computed(make: MakeTable, rows: list[Any]) -> tuple[ClusterModel, list[Any], list[Any]]:
        table = make(transactions(rows))
        features = held(customer_features(table, as_of=AS_OF, config=CONFIG))
        model = fitted(features, k=4)
        clusters = assigned(features, model)
        return (
            model,
            rows_of(clusters.select("customer_id", "cluster", "segment"), "customer_id"),
            rows_of(cluster_profiles(clusters, model)),
        )

    with tables_on("duckdb") as make:
        expected = computed(make, list(shop())[::-1])
    assert computed(engine_table, list(shop())) == expected


def points(customers: int, seed: int = 3) -> dict[str, Any]:
    """Features of customers of five kinds, as `customer_features` would give them."""
    made = np.random.default_rng(seed)
    kind = made.integers(0, 5, customers)
    count = np.maximum(1, made.poisson(np.array([1, 2, 5, 12, 30])[kind])).astype(float)
    recency = np.maximum(1, made.gamma(3, np.array([60, 20, 15, 5, 3])[kind])).round()
    age = recency + np.maximum(1, made.gamma(2, 100, customers)).round()
    mean = made.gamma(8, np.array([2, 10, 4, 6, 20])[kind])
    total = np.round(mean * count, 2)
    spread = mean * made.uniform(0, 0.5, customers)
    return {
        "customer_id": [f"c{n:07}" for n in range(customers)],
        "recency_days": recency,
        "frequency_per_day": count / age,
        "transaction_count": count,
        "customer_age_days": age,
        "spend_total": total,
        "spend_mean": total / count,
        "spend_std": spread,
        "recency_frequency_ratio": recency / count,
        "value_consistency": mean / (mean + spread),
        "first_day": (20_000 - age).astype(np.int32),
        "last_day": (20_000 - recency).astype(np.int32),
        "spend_units": np.round(total * 10_000).astype(np.int64),
    }


def test_a_sample_is_as_good_as_all() -> None:
    data = points(60_000)
    with tables_on("duckdb") as make:
        table = make(pa.table(data))
        model = fitted(table, k=8, sample_size=10_000)
        assert 9_000 < model.sampled < 11_000
        clusters = rows_of(assigned(table, model).select("customer_id", "cluster"), "customer_id")
    raw = np.stack([data[name] for name in model.features], axis=1)
    logged = np.where(np.array(model.logs), np.sign(raw) * np.log1p(np.abs(raw)), raw)
    standard = (logged - np.array(model.mean)) / np.array(model.scale)
    labels = np.array([row["cluster"] for row in clusters])
    ours = ((standard - np.array(model.centroids)[labels]) ** 2).sum()
    # Who is where is what numpy says, and the whole is within a hundredth of a fit of everybody.
    assert (labels == nearest(standard, np.array(model.centroids))).all()
    best, places = k_means(standard, 8, inits=10)
    assert ours <= 1.01 * ((standard - best[places]) ** 2).sum()


def test_equal_customers_do_not_empty_the_sample() -> None:
    data = {name: np.repeat(np.asarray(values)[:50], 400) for name, values in points(50).items()}
    data["customer_id"] = np.array([f"c{n}" for n in range(20_000)])
    with tables_on("duckdb") as make:
        model = fitted(make(pa.table(data)), k=3, sample_size=2_000)
        sizes = rows_of(assigned(make(pa.table(data)), model).group_by("cluster").agg(nw.len()))
    assert model.sampled >= 500
    assert len(sizes) == 3


def test_what_is_the_same_for_everybody_is_left_out() -> None:
    data = points(500) | {"spend_std": np.zeros(500)}
    with tables_on("duckdb") as make:
        model = fitted(make(pa.table(data)), k=3)
    assert model.left_out["spend_std"] == "is the same for everybody"
    assert "spend_std" not in model.features


def test_a_model_is_data() -> None:
    with tables_on("duckdb") as make:
        table = make(pa.table(points(500)))
        model = fitted(table, k=4)
        again = ClusterModel.model_validate_json(model.model_dump_json())
        assert again == model
        assert rows_of(assigned(table, again)) == rows_of(assigned(table, model))


def test_too_few_customers_for_so_many_clusters() -> None:
    with tables_on("duckdb") as make, pytest.raises(NotEnoughCustomers, match="79 customers"):
        fitted(make(pa.table(points(79))), k=8)


def test_customers_who_are_all_alike_are_no_clusters() -> None:
    alike = {
        name: [value[0] if name != "customer_id" else f"c{n}" for n in range(200)]
        for name, value in points(1).items()
    }
    with tables_on("polars") as make, pytest.raises(NotEnoughCustomers, match="unlike each other"):
        fitted(make(alike), k=3)


def test_nobody_has_no_profile() -> None:
    with tables_on("polars") as make:
        table = make(points(500))
        model = fitted(table, k=3)
        rows = rows_of(
            cluster_profiles(assigned(table.filter(nw.col("recency_days") < 0), model), model)
        )
    assert {(row["customers"], row["customers_pct"], row["mean"]) for row in rows} == {
        (0, 0.0, None)
    }
    assert len(rows) == 3 * len(model.features)


def test_the_clearest_stable_number_is_chosen() -> None:
    made = np.random.default_rng(1)
    data = points(900)
    # Three groups that nobody can mistake.
    group = np.arange(900) % 3
    for name in RFM_FEATURES:
        data[name] = np.exp(1 + 2.5 * group + made.normal(0, 0.1, 900))
    with tables_on("duckdb") as make:
        model = fitted(make(pa.table(data)), k="auto", features=list(RFM_FEATURES))
    assert model.chosen.k == 3
    assert model.chosen.stable
    assert [one.k for one in model.tried] == [3, 4, 5, 6, 7, 8]


# --- names


def centroid(**values: float) -> dict[str, float]:
    typical = {"recency_days": 20.0, "transaction_count": 5.0, "spend_total": 100.0}
    return {
        **typical,
        "frequency_per_day": 0.05,
        "customer_age_days": 200.0,
        "spend_mean": 20.0,
        **values,
    }


def test_the_eight_names() -> None:
    clusters = {
        "New Customers": centroid(customer_age_days=29.0, recency_days=10.0),
        "Lost": centroid(recency_days=61.0),
        "Dormant": centroid(recency_days=60.0),
        "Premium VIPs": centroid(spend_total=900.0),
        "At Risk": centroid(spend_total=500.0, recency_days=28.0, frequency_per_day=0.06),
        "Loyal Regulars": centroid(spend_total=400.0, recency_days=5.0, frequency_per_day=0.06),
        "Growth Potential": centroid(spend_mean=25.0, spend_total=50.0),
        "Occasional Users": centroid(spend_mean=10.0, spend_total=40.0),
    }
    given = list(clusters.values())
    named = name_clusters(given, centroid(), cluster_names("behavioral_8"))
    assert named == list(clusters)
    # The number of a cluster decides nothing.
    assert name_clusters(given[::-1], centroid(), cluster_names("behavioral_8")) == named[::-1]


def test_four_names_of_rfm() -> None:
    given = [
        centroid(recency_days=5.0, spend_total=900.0),
        centroid(recency_days=6.0, spend_total=50.0),
        centroid(recency_days=80.0, spend_total=400.0),
        centroid(recency_days=150.0, spend_total=20.0),
    ]
    assert name_clusters(given, centroid(), cluster_names("rfm_4")) == [
        "Champions",
        "Loyal Customers",
        "At-Risk Customers",
        "Low Value Customers",
    ]


def test_a_rule_over_what_is_left_out_is_no_rule() -> None:
    rules = [NameRule(name="Drivers", when="quantity_total > 0"), NameRule(name="All")]
    assert name_clusters([centroid()], centroid(), rules) == ["All"]
    assert name_clusters([centroid()], centroid(), rules[:1]) == ["Other"]


def test_a_rule_is_checked_when_it_is_read() -> None:
    with pytest.raises(ValidationError, match=r"spend_totl.*spend_total"):
        NameRule(name="x", when="spend_totl > 3")
    with pytest.raises(ValidationError, match=r"boolean|true or false"):
        NameRule(name="x", when="spend_total")


def model_at(*places: float, names: tuple[str, ...]) -> ClusterModel:
    return ClusterModel(
        features=("recency_days", "spend_total"),
        logs=(False, False),
        mean=(0.0, 0.0),
        scale=(1.0, 1.0),
        centroids=tuple((place, 0.0) for place in places),
        names=names,
        fitted_on=AS_OF,
        sampled=1,
        inertia=0,
        chosen=Tried(k=len(places), silhouette=0, stability=0),
        tried=(),
    )


def test_clusters_keep_number_and_name_while_they_stay() -> None:
    before = model_at(0, 10, 20, names=("a", "b", "c"))
    # The first has moved by 2 of 8 to the next; the last went far away.
    now = model_at(2, 10, 100, names=())
    found = reconciled(now, before, ["x", "y", "z"])
    assert found.centroids == ((2.0, 0.0), (10.0, 0.0), (100.0, 0.0))
    assert found.names == ("a", "b", "z")
    shuffled = reconciled(model_at(11, 19, 1, names=()), before, ["y", "z", "x"])
    assert shuffled.centroids == ((1.0, 0.0), (11.0, 0.0), (19.0, 0.0))
    assert shuffled.names == ("a", "b", "c")
    moved = reconciled(model_at(0, 10, 16, names=()), before, ["x", "y", "z"])
    assert moved.names == ("a", "b", "z")  # by 4, more than half of the 6 that part it from b
    other = reconciled(model_at(0, 10, names=()), before, ["x", "y"])
    assert other.names == ("x", "y")


# --- real data


@pytest.fixture(scope="module")
def online_retail_rows(online_retail: Path) -> Any:
    with DuckDBEngine(threads=2) as engine:
        read = engine.connection.read_csv(str(online_retail), all_varchar=True)
        rows = read.filter("CustomerID <> ''").select(
            "CustomerID AS customer_id, InvoiceNo AS order_id, InvoiceDate::TIMESTAMP AS date, "
            "Quantity::DOUBLE * UnitPrice::DOUBLE AS amount, Quantity::DOUBLE AS quantity"
        )
        rows.create("lines")
        yield engine, engine.day_number(nw.from_native(engine.connection.table("lines")), "date")


@pytest.mark.online_retail
@pytest.mark.parametrize("cut", [date(2011, 6, 10), date(2011, 9, 10)])
def test_three_and_four_clusters_are_stable_and_eight_are_not(
    online_retail_rows: Any, cut: date
) -> None:
    engine, rows = online_retail_rows
    config = FeatureConfig(history_days=365)
    features = engine.checkpoint(customer_features(rows, as_of=cut, config=config))
    rfm = list(RFM_FEATURES)
    stable = {
        k: fitted(features, cut, k=k, features=rfm, bootstraps=20).chosen.stable for k in (3, 4, 8)
    }
    assert stable == {3: True, 4: True, 8: False}


@pytest.mark.online_retail
def test_names_stay_over_twelve_weekly_refits(online_retail_rows: Any) -> None:
    engine, rows = online_retail_rows
    config = FeatureConfig(history_days=365)
    rules, before, seen = cluster_names("rfm_4"), None, []
    for week in range(12):
        as_of = date(2011, 9, 5) + timedelta(weeks=week)
        features = engine.checkpoint(customer_features(rows, as_of=as_of, config=config))
        model = fitted(features, as_of, k=4, features=list(RFM_FEATURES))
        named = name_clusters(model.centroids_in_units(), model.centre_in_units(), rules)
        model = (
            model.model_copy(update={"names": tuple(named)})
            if before is None
            else reconciled(model, before, named)
        )
        seen.append((model.names, assigned(features, model)))
        before = model
    assert {names for names, _ in seen} == {
        ("Champions", "Loyal Customers", "At-Risk Customers", "Low Value Customers")
    }
