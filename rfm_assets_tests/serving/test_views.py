"""Densities, samples and quantiles against the rows themselves."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from rfm_assets.serving import views
from rfm_assets.serving.queries import Queries
from rfm_assets.serving.views import (
    CELLS,
    SAMPLE,
    axis,
    density,
    quantiles,
    risk_cells,
    sample,
    score_cells,
)
from rfm_assets.store import Snapshot, Store
from rfm_assets_tests.serving.dashboard.test_stores import customers
from rfm_assets_tests.serving.stored import Stored

VALUES = ("recency", "frequency", "monetary")


@pytest.fixture
def snapshot(queries: Queries) -> Snapshot:
    return queries.resolve("customer_segments", None)


@pytest.fixture(scope="module")
def now(stored: Stored) -> pl.DataFrame:
    return pl.DataFrame(stored.rows("customer_segments"), infer_schema_length=None)


@pytest.mark.parametrize("x", VALUES)
@pytest.mark.parametrize("log", [False, True])
def test_a_density_counts_everybody_once(
    queries: Queries, snapshot: Snapshot, now: pl.DataFrame, x: str, *, log: bool
) -> None:
    found = density(queries, snapshot, x, "monetary", {x: log, "monetary": True})
    assert found is not None
    assert sum(map(sum, found.counts)) == len(now)
    assert len(found.counts) == len(found.counts[0]) == CELLS
    edges = found.x.edges
    assert len(edges) == CELLS + 1
    assert edges == sorted(edges)
    # By hand: numpy's histogram over the same edges, what lies beyond in the outer cells.
    values = np.clip(now[x].to_numpy().astype(float), edges[0], edges[-1])
    if x != "monetary":
        columns = [sum(line[i] for line in found.counts) for i in range(CELLS)]
        steps = np.log10(edges) if log else np.asarray(edges)
        places = np.log10(values) if log else values
        width = (steps[-1] - steps[0]) / CELLS
        cells = np.clip(np.floor((places - steps[0]) / width), 0, CELLS - 1).astype(int)
        assert columns == np.bincount(cells, minlength=CELLS).tolist()


def test_an_axis_is_not_ruled_by_one_giant(tmp_path: Path) -> None:
    store = customers(tmp_path, ["A"] * 400)
    queries = Queries(store)
    found = axis(queries, queries.resolve("customer_segments", None), "monetary", log=False)
    assert found is not None
    # 100, 101, … 499: the least, and the 99.5 % quantile.
    assert (found.low, found.high) == (100.0, pytest.approx(100 + 0.995 * 399))
    queries.close()


def test_a_single_value_and_nobody_have_an_axis_or_none(tmp_path: Path) -> None:
    one = Queries(customers(tmp_path / "one", ["A"]))
    single = one.resolve("customer_segments", None)
    found = density(one, single, "recency", "monetary", {"monetary": True})
    assert found is not None
    assert sum(map(sum, found.counts)) == 1
    assert [row["n"] for row in quantiles(one, single, VALUES)] == [1]
    one.close()


def test_a_sample_is_small_and_the_same_each_time(tmp_path: Path) -> None:
    number = 20_000
    many = Queries(customers(tmp_path / "many", ["A", "B"] * (number // 2)))
    snapshot = many.resolve("customer_segments", None)
    first = sample(many, snapshot, ["segment"])
    assert SAMPLE * 0.8 < len(first) < SAMPLE * 1.25
    again = Queries(Store(tmp_path / "many"))
    assert sample(again, snapshot, ["segment"]) == first
    other = sample(again, snapshot, ["segment"], seed=2)
    assert other != first
    # Neither segment is preferred, nor are the first customers.
    share = sum(row["segment"] == "A" for row in first) / len(first)
    assert 0.4 < share < 0.6
    half = sum(int(row["customer_id"][1:]) < number // 2 for row in first) / len(first)
    assert 0.2 < half < 0.8
    few = Queries(customers(tmp_path / "few", ["A", "B"] * 100))
    assert len(sample(few, few.resolve("customer_segments", None), VALUES)) == 200
    for one in (many, again, few):
        one.close()


def test_quantiles_are_those_of_numpy(
    queries: Queries, snapshot: Snapshot, now: pl.DataFrame
) -> None:
    found = quantiles(queries, snapshot, VALUES)
    assert [row["segment"] for row in found] == sorted(now["segment"].unique())
    for row in found:
        own = now.filter(pl.col("segment") == row["segment"])
        assert row["n"] == len(own)
        for name in VALUES:
            shown = [row[f"{name}_{q}"] for q in ("p05", "p25", "p50", "p75", "p95")]
            expected = np.quantile(own[name].to_numpy(), [0.05, 0.25, 0.5, 0.75, 0.95])
            assert shown == pytest.approx(expected.tolist())


def test_cells_of_scores_add_up(queries: Queries, snapshot: Snapshot, now: pl.DataFrame) -> None:
    cells = {(row["R_score"], row["F_score"]): row for row in score_cells(queries, snapshot)}
    grouped = now.group_by("R_score", "F_score").agg(pl.len(), pl.col("monetary").sum())
    assert {place: row["customers"] for place, row in cells.items()} == {
        (r, f): n for r, f, n, _ in grouped.iter_rows()
    }
    for r, f, _, spent in grouped.iter_rows():
        assert cells[r, f]["monetary"] == pytest.approx(spent)
        own = now.filter((pl.col("R_score") == r) & (pl.col("F_score") == f))["segment"]
        most = own.value_counts()["count"].max()
        assert own.to_list().count(cells[r, f]["segment"]) == most


def test_cells_of_risk_add_up(queries: Queries, stored: Stored) -> None:
    rows = stored.rows("churn_aware_segments")
    cells = risk_cells(queries, queries.resolve("churn_aware_segments", None))
    assert sum(row["customers"] for row in cells) == len(rows)
    for row in cells:
        both = [
            r
            for r in rows
            if (r["segment"], r["churn_risk_level"]) == (row["segment"], row["churn_risk_level"])
        ]
        assert row["customers"] == len(both)


def test_quantiles_are_the_same_whichever_engine_finds_them(
    queries: Queries, monkeypatch: pytest.MonkeyPatch
) -> None:
    snapshot = queries.resolve("customer_segments", None)
    few = quantiles(queries, snapshot, ["monetary", "recency"])
    monkeypatch.setattr(views, "_MANY", 0)
    many = quantiles(queries, snapshot, ["recency", "monetary"])
    assert len(few) > 1
    assert many == [pytest.approx(row) for row in few]
