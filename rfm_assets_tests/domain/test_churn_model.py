"""The churn model: learned, judged on later customers, the same on every engine."""

from datetime import date, timedelta
from pathlib import Path
from typing import Any

import narwhals as nw
import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from rfm_assets.domain.churn_model import (
    MODEL,
    RECENCY,
    RFM,
    ChurnModelConfig,
    churn_probability,
    labelled,
    train,
)
from rfm_assets.domain.features import customer_features
from rfm_assets.engines.duckdb_engine import DuckDBEngine
from rfm_assets.errors import NotEnoughCustomers
from rfm_assets_tests.domain.purchases import AS_OF, shop, transactions
from rfm_assets_tests.tables import MakeTable, held, rows_of, tables_on

CONFIG = ChurnModelConfig(history_days=365, horizon_days=60, min_customers=100, resamples=100)


def test_who_bought_after_the_cut_has_stayed(engine_table: MakeTable) -> None:
    rows = [
        ("ann", "1", "2024-10-01", 5.0),
        ("ann", "2", "2024-11-02", 5.0),  # the cut's own day is after it
        ("bob", "3", "2024-10-01", 5.0),
        ("bob", "4", "2024-12-31", -5.0),  # a refund is no purchase
        ("cat", "5", "2024-10-01", 5.0),
        ("cat", "6", "2025-01-01", 5.0),  # beyond the horizon of 60 days
        ("dan", "7", "2024-12-01", 5.0),  # not there yet at the cut
    ]
    made = labelled(engine_table(transactions(rows)), cut=date(2024, 11, 2), config=CONFIG)
    found = {row["customer_id"]: row["churned"] for row in rows_of(made)}
    assert found == {"ann": 0.0, "bob": 1.0, "cat": 1.0}


def test_the_same_probabilities_on_every_engine(engine_table: MakeTable) -> None:
    def computed(make: MakeTable, rows: list[Any]) -> tuple[Any, list[Any]]:
        table = make(transactions(rows))
        trained = train(table, as_of=AS_OF, config=CONFIG, checkpoint=held)
        features = held(customer_features(table, as_of=AS_OF, config=CONFIG))
        scores = features.select("customer_id", p=churn_probability(trained.model))
        return trained, rows_of(scores, "customer_id")

    with tables_on("duckdb") as make:
        expected = computed(make, list(shop())[::-1])
    trained, rows = computed(engine_table, list(shop()))
    assert trained == expected[0]
    assert rows == expected[1]
    assert all(0 <= row["p"] <= 1 for row in rows)
    assert len({row["p"] for row in rows}) > 100


def test_the_model_is_scikit_learns() -> None:
    with tables_on("polars") as make:
        table = make(transactions(list(shop())))
        model = train(table, as_of=AS_OF, config=CONFIG, checkpoint=held).model
        rows = rows_of(labelled(table, cut=model.cut, config=CONFIG), "customer_id")
        ours = rows_of(
            labelled(table, cut=model.cut, config=CONFIG).select(
                "customer_id", p=churn_probability(model)
            ),
            "customer_id",
        )
    assert set(model.features) <= {feature.name for feature in CONFIG.available}
    raw = np.array([[row[name] for name in model.features] for row in rows])
    z = (np.where(model.logs, np.sign(raw) * np.log1p(np.abs(raw)), raw) - model.mean) / model.scale
    churned = np.array([row["churned"] == 1 for row in rows])
    settings: dict[str, Any] = {"max_iter": 2_000, "tol": 1e-8}
    peer = LogisticRegression(**settings).fit(z, churned).predict_proba(z)[:, 1]
    assert np.array([row["p"] for row in ours]) == pytest.approx(peer, abs=2e-6)
    # A model with an intercept predicts as many as there were.
    assert peer.mean() == pytest.approx(churned.mean(), abs=1e-3)
    assert (model.customers, model.churned) == (len(rows), int(churned.sum()))


def test_a_model_is_judged_on_a_later_period_than_it_learned_from() -> None:
    with tables_on("polars") as make:
        trained = train(
            make(transactions(list(shop()))), as_of=AS_OF, config=CONFIG, checkpoint=held
        )
    judged = trained.judgement
    assert judged is not None
    assert (trained.model.cut, judged.cut) == (AS_OF - timedelta(days=60),) * 2
    assert judged.learned == AS_OF - timedelta(days=120)
    assert set(judged.aucs) == {MODEL, RECENCY, RFM}
    assert judged.gains[RECENCY].value == pytest.approx(
        judged.aucs[MODEL].value - judged.aucs[RECENCY].value
    )
    assert sum(one.customers for one in judged.bins) == judged.customers


def test_chance_is_not_called_better() -> None:
    made = np.random.default_rng(4)
    rows = []
    for customer in range(800):
        # Everybody buys whenever it happens: nothing tells who will.
        for day in np.flatnonzero(made.random(400) < 0.01):
            when = (AS_OF - timedelta(days=int(day) + 1)).isoformat()
            rows.append((f"c{customer}", None, when, 10.0))
    with tables_on("polars") as make:
        trained = train(make(transactions(rows)), as_of=AS_OF, config=CONFIG, checkpoint=held)
    assert trained.judgement is not None
    assert trained.judgement.better_than == []
    assert trained.judgement.aucs[MODEL].low < 0.5 < trained.judgement.aucs[MODEL].high + 0.05


def test_too_little_history_is_refused_or_not_judged() -> None:
    rows = list(shop())
    with tables_on("polars") as make:
        table = make(transactions(rows))
        with pytest.raises(NotEnoughCustomers, match=r"in the 365 days before 2023-01-0"):
            train(table, as_of=date(2023, 3, 10), config=CONFIG, checkpoint=held)
        # Two hundred customers a period earlier are too few, and so that model is not judged.
        strict = CONFIG.model_copy(update={"min_customers": 200})
        days = [date(2023, 3, 1) + timedelta(days=7 * n) for n in range(90)]
        outcomes = []
        for day in days:
            try:
                outcomes.append(train(table, as_of=day, config=strict, checkpoint=held).judgement)
            except NotEnoughCustomers:
                outcomes.append("refused")
            if outcomes[-1] not in (None, "refused"):
                break
    assert outcomes[0] == "refused"
    assert None in outcomes
    assert outcomes.index(None) > 0


@pytest.mark.online_retail
@pytest.mark.parametrize("as_of", [date(2011, 9, 9), date(2011, 12, 10)])
def test_on_the_orders_of_a_real_shop(online_retail: Path, as_of: date) -> None:
    with DuckDBEngine(threads=2) as engine:
        read = engine.connection.read_csv(str(online_retail), all_varchar=True)
        read.filter("CustomerID <> ''").select(
            "CustomerID AS customer_id, InvoiceNo AS order_id, InvoiceDate::TIMESTAMP AS date, "
            "Quantity::DOUBLE * UnitPrice::DOUBLE AS amount"
        ).create("lines")
        rows = engine.day_number(nw.from_native(engine.connection.table("lines")), "date")
        judged = train(
            rows, as_of=as_of, config=ChurnModelConfig(), checkpoint=engine.checkpoint
        ).judgement
    assert judged is not None
    assert judged.aucs[MODEL].value >= 0.72
    assert RECENCY in judged.better_than
