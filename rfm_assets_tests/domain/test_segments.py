"""The whole way from transactions to segments, with its edges, on every engine."""

from collections.abc import Iterator
from contextlib import ExitStack
from datetime import date
from random import Random
from typing import Any

import narwhals as nw
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from rfm_assets.domain.rfm import day_number
from rfm_assets.domain.scoring import CutPoints
from rfm_assets.domain.segments import STORED_COLUMNS, Segmentation, SegmentationConfig, segment
from rfm_assets.errors import AttributesClash, CutPointsUnusable, DuplicateCustomers, InvalidConfig
from rfm_assets.library import load_scheme
from rfm_assets.schemas import CUSTOMER_SEGMENTS
from rfm_assets_tests.domain.purchases import Purchase, purchases, transactions
from rfm_assets_tests.tables import ENGINES, MakeTable, held, rows_of, tables_on

AS_OF = date(2024, 7, 1)

TYPES = {
    "customer_id": nw.String,
    "recency": nw.Int32,
    "frequency": nw.Int32,
    "monetary": nw.Float64,
    "R_score": nw.Int8,
    "F_score": nw.Int8,
    "M_score": nw.Int8,
    "RFM_score": nw.Float64,
    "rfm_cell": nw.String,
    "segment": nw.String,
    "recommendation": nw.String,
    "previous_segment": nw.String,
    "as_of": nw.Date,
    "last_purchase_date": nw.Date,
}

# Five customers, each a fifth: the first is best on everything, the last worst.
FIVE = [
    ("a", f"a{i}", day, 100.0)
    for i, day in enumerate(["2024-06-30", "2024-06-01", "2024-05-01", "2024-04-01", "2024-03-01"])
]
FIVE += [("b", f"b{i}", "2024-06-20", 50.0) for i in range(4)]
FIVE += [("c", f"c{i}", "2024-05-20", 30.0) for i in range(3)]
FIVE += [("d", f"d{i}", "2024-03-20", 20.0) for i in range(2)]
FIVE += [("e", "e0", "2023-12-20", 10.0)]


def run(
    make: MakeTable, rows: list[Purchase], more: dict[str, Any] | None = None, **config: Any
) -> Segmentation:
    parsed = SegmentationConfig(**config)
    return segment(
        make(transactions(rows)),
        as_of=AS_OF,
        config=parsed,
        scheme=load_scheme(parsed.segment_scheme),
        checkpoint=held,
        **(more or {}),
    )


def segments(result: Segmentation, column: str = "segment") -> dict[str, Any]:
    return {row["customer_id"]: row[column] for row in rows_of(result.table)}


def test_five_customers_by_hand(engine_table: MakeTable) -> None:
    rows = rows_of(run(engine_table, FIVE).table, "customer_id")
    assert [row["rfm_cell"] for row in rows] == ["555", "444", "333", "222", "111"]
    assert [row["segment"] for row in rows] == [
        "Champions",
        "Loyal Customers",
        "Promising",
        "About to Sleep",
        "Lost",
    ]
    assert rows[3] == {
        "customer_id": "d",
        "recency": 103,
        "frequency": 2,
        "monetary": 40.0,
        "R_score": 2,
        "F_score": 2,
        "M_score": 2,
        "RFM_score": 2.0,
        "rfm_cell": "222",
        "segment": "About to Sleep",
        "recommendation": load_scheme("rfm_10")
        .segment_called("About to Sleep", key="x")
        .recommendation,
        "previous_segment": None,
        "as_of": AS_OF,
        "last_purchase_date": date(2024, 3, 20),
    }


def test_columns_are_those_of_the_contract() -> None:
    contract = list(CUSTOMER_SEGMENTS.schema.columns)
    contract.remove("segmented_at")
    assert list(STORED_COLUMNS) == contract == list(TYPES)


@pytest.mark.parametrize(
    "rows",
    [
        pytest.param([], id="nobody"),
        pytest.param([("a", "o1", "2024-06-01", 5.0)], id="one customer"),
        pytest.param([("a", "o1", "2024-06-01", -5.0)], id="refunds only"),
        pytest.param([(c, f"o{c}", "2024-06-01", 5.0) for c in "abcdefg"], id="all alike"),
        pytest.param(
            [(c, f"o{c}", "2024-06-01", 5.0) for c in "abcdef"]
            + [(c, f"o{c}{i}", "2024-05-01", 9.0) for c in "ghij" for i in range(3)],
            id="60 % bought once",
        ),
        pytest.param([("a", None, "2025-01-01", 5.0)], id="only the future"),
    ],
)
@pytest.mark.parametrize(
    "config",
    [
        {},
        {"include_inactive": True, "exclude_new_days": 10},
        {"use_predefined_segments": False, "include_recommendations": False},
        {"scoring_method": "deciles", "segment_by": "score_bands"},
    ],
    ids=["default", "history", "unnamed", "bands"],
)
def test_types_and_totals_hold_at_the_edges(
    engine_table: MakeTable, rows: list[Purchase], config: dict[str, Any]
) -> None:
    result = run(engine_table, rows, **config)
    assert dict(result.table.collect_schema()) == TYPES
    assert dict(result.excluded.collect_schema()) == dict.fromkeys(
        ("customer_id", "stage", "reason"), nw.String
    )
    inside = {row["customer_id"] for row in rows_of(result.table)}
    outside = {row["customer_id"] for row in rows_of(result.excluded)}
    seen = {customer for customer, _, day, _ in rows if day < AS_OF.isoformat()}
    assert inside | outside == seen
    assert not inside & outside
    assert result.counts["customers_seen"] == len(seen)
    assert result.counts["customers_segmented"] == len(inside)
    assert result.counts["customers_excluded"] == len(outside)


def test_money_reconciles(engine_table: MakeTable) -> None:
    rows = [*FIVE, ("f", "f0", "2024-06-01", -7.5), ("g", "g0", "2020-01-01", 99.0)]
    counts = run(engine_table, rows).counts
    assert counts["monetary_units_seen"] == 8_325_000  # 500 + 200 + 90 + 40 + 10 - 7.5
    assert counts["monetary_units_segmented"] == 8_400_000
    assert counts["monetary_units_excluded"] == -75_000
    assert counts["excluded_no_purchase"] == counts["excluded_inactive"] == 1


def test_later_transactions_are_invisible(engine_table: MakeTable) -> None:
    later = [(c, f"late{c}", "2024-07-01", 1e6) for c in "abcdexyz"]
    then, now = run(engine_table, FIVE), run(engine_table, [*FIVE, *later])
    assert rows_of(then.table, "customer_id") == rows_of(now.table, "customer_id")
    assert (then.cut_points, then.counts) == (now.cut_points, now.counts)
    assert rows_of(now.excluded) == []


@pytest.fixture(scope="module")
def all_engines() -> Iterator[list[MakeTable]]:
    with ExitStack() as stack:
        yield [stack.enter_context(tables_on(engine)) for engine in ENGINES]


@settings(max_examples=12, deadline=None)
@given(
    rows=purchases(AS_OF),
    config=st.sampled_from(
        [
            {},
            {"analysis_period_days": 90, "include_inactive": True, "min_transactions": 2},
            {"scoring_method": "deciles", "exclude_new_days": 20, "recency_weight": 0.3},
            {"segment_by": "score_bands", "monetary_weight": 1.7, "segment_scheme": "rfm_11"},
        ]
    ),
    seed=st.randoms(use_true_random=False),
)
def test_engines_and_row_order_do_not_matter(
    all_engines: list[MakeTable], rows: list[Purchase], config: dict[str, Any], seed: Random
) -> None:
    results: list[Any] = []
    for make in all_engines:
        shuffled = seed.sample(rows, len(rows))
        result = run(make, shuffled, **config)
        inside = rows_of(result.table, "customer_id")
        outside = rows_of(result.excluded, "customer_id")
        results.append((inside, outside, result.cut_points, result.counts))
    assert all(result == results[0] for result in results[1:])
    for row in results[0][0]:
        assert row["segment"] in load_scheme(config.get("segment_scheme", "rfm_10")).names
        assert 1 <= row["RFM_score"] <= 10


def test_segments_without_names(engine_table: MakeTable) -> None:
    config = SegmentationConfig(use_predefined_segments=False)
    table = engine_table(transactions(FIVE))
    result = segment(table, as_of=AS_OF, config=config, scheme=None, checkpoint=held)
    assert set(segments(result).values()) == {None}
    assert segments(result, "rfm_cell")["a"] == "555"


def test_segments_without_recommendations(engine_table: MakeTable) -> None:
    result = run(engine_table, FIVE, include_recommendations=False)
    assert set(segments(result, "recommendation").values()) == {None}
    assert segments(result)["a"] == "Champions"


def test_quartiles_read_a_scheme_written_for_five(engine_table: MakeTable) -> None:
    rows = [(c, f"{c}{i}", "2024-06-20", 10.0) for n, c in enumerate("abcd") for i in range(n + 1)]
    result = run(engine_table, rows, scoring_method="quartiles")
    # All equally recent, so R is 4 of 4 and reads as 5; F and M run from 1 to 4.
    assert segments(result, "rfm_cell") == {"a": "411", "b": "422", "c": "433", "d": "444"}
    assert segments(result) == {
        "a": "Potential Loyalists",
        "b": "Potential Loyalists",
        "c": "Loyal Customers",
        "d": "Champions",
    }


def test_bands_let_weights_matter(engine_table: MakeTable) -> None:
    rows = [*FIVE, ("f", "f0", "2024-06-30", 1.0)]  # as recent as the best, otherwise worst
    plain = segments(run(engine_table, rows, segment_by="score_bands"))
    recent = segments(run(engine_table, rows, segment_by="score_bands", recency_weight=40))
    # 5, 1 and 1 have a mean of 2.33, and 202/42 = 4.81 with forty times the weight on recency.
    assert (plain["f"], recent["f"]) == ("Need Attention", "Champions")


def test_segment_before(engine_table: MakeTable) -> None:
    previous = engine_table({"customer_id": ["e", "a", "gone"], "segment": ["At Risk", None, "X"]})
    result = run(engine_table, FIVE, {"previous": previous})
    before = segments(result, "previous_segment")
    assert before == {"a": None, "b": None, "c": None, "d": None, "e": "At Risk"}


def test_refunds_and_attributes_follow_the_stored_columns(engine_table: MakeTable) -> None:
    data = transactions(FIVE)
    data["refund_amount"] = [0.0] * (len(FIVE) - 1) + [1.5]
    config = SegmentationConfig()
    result = segment(
        engine_table(data),
        as_of=AS_OF,
        config=config,
        scheme=load_scheme(),
        checkpoint=held,
        attributes=engine_table({"country": ["NO", "SE"], "customer_id": ["e", "unknown"]}),
    )
    assert result.table.collect_schema().names() == [*STORED_COLUMNS, "refunded", "country"]
    assert segments(result, "refunded") == {"a": 0.0, "b": 0.0, "c": 0.0, "d": 0.0, "e": 1.5}
    assert segments(result, "country")["e"] == "NO"
    assert segments(result, "country")["a"] is None


def test_attributes_may_not_be_named_like_computed_columns(engine_table: MakeTable) -> None:
    attributes = engine_table({"customer_id": ["a"], "segment": ["mine"], "segmented_at": [1]})
    with pytest.raises(AttributesClash, match="'segment', 'segmented_at' have the names"):
        run(engine_table, FIVE, {"attributes": attributes})


@pytest.mark.parametrize("name", ["Segment", "RECENCY", "Segmented_At", "CUSTOMER_ID"])
def test_case_does_not_tell_an_attribute_from_a_computed_column(name: str) -> None:
    with tables_on("polars") as make, pytest.raises(AttributesClash, match=repr(name)):
        run(make, FIVE, {"attributes": make({"customer_id": ["a"], name: ["mine"]})})


def test_case_does_not_tell_two_attributes_apart() -> None:
    columns = {"customer_id": ["a"], "Tier": [1], "city": ["Oslo"], "tier": [2]}
    with tables_on("polars") as make, pytest.raises(AttributesClash) as caught:
        run(make, FIVE, {"attributes": make(columns)})
    assert caught.value.columns == ("Tier", "tier")


def test_attributes_have_one_row_per_customer(engine_table: MakeTable) -> None:
    attributes = engine_table({"customer_id": ["b", "a", "b"], "country": ["NO", "SE", "DK"]})
    with pytest.raises(DuplicateCustomers, match="customer 'b' has more than one row"):
        run(engine_table, FIVE, {"attributes": attributes})


def test_frozen_cut_points_hold_still(engine_table: MakeTable) -> None:
    first = run(engine_table, FIVE)
    frozen = {"cut_points": {"frozen_from": date(2024, 1, 1)}}
    crowd = [(f"x{i}", f"x{i}", "2024-06-30", 1000.0) for i in range(20)]
    then = segments(run(engine_table, [*FIVE, *crowd], {"cut_points": first.cut_points}, **frozen))
    assert {c: then[c] for c in "abcde"} == segments(first)
    assert segments(run(engine_table, [*FIVE, *crowd]))["a"] != then["a"]


@pytest.mark.parametrize(
    ("points", "words"),
    [
        (None, "snapshot of 2024-01-01 were not found"),
        (
            CutPoints(scale=4, recency=(1,), frequency=(1,), monetary_units=(1,)),
            "make scores 1..4, not 1..5",
        ),
        (
            CutPoints(scale=5, recency=(), frequency=(), monetary_units=()),
            "are empty, because no customer was active",
        ),
    ],
)
def test_frozen_cut_points_must_fit(points: CutPoints | None, words: str) -> None:
    frozen = {"cut_points": {"frozen_from": date(2024, 1, 1)}}
    with tables_on("polars") as make, pytest.raises(CutPointsUnusable) as caught:
        run(make, FIVE, {"cut_points": points}, **frozen)
    assert words in str(caught.value)


def test_a_scheme_must_fit_the_way_of_segmenting() -> None:
    scheme = {
        "id": "mine",
        "segments": [{"id": "all", "name": "All"}],
        "rules": [{"segment": "all"}],
    }
    with tables_on("polars") as make, pytest.raises(InvalidConfig) as caught:
        run(make, FIVE, segment_scheme=scheme, segment_by="score_bands")
    assert "segment_by: 'score_bands' does not fit scheme 'mine'" in str(caught.value)


def test_wanted_segments_need_a_scheme() -> None:
    with tables_on("polars") as make, pytest.raises(InvalidConfig, match="was not loaded"):
        segment(
            make(transactions(FIVE)),
            as_of=AS_OF,
            config=SegmentationConfig(),
            scheme=None,
            checkpoint=held,
        )


@pytest.mark.parametrize(
    "config", [{"analysis_period_days": 0}, {"segment_scheme": ""}, {"segment_scheme": {}}]
)
def test_settings_out_of_bounds(config: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        SegmentationConfig(**config)


def test_an_order_of_two_customers_counts_for_each(engine_table: MakeTable) -> None:
    rows = [("a", "o1", "2024-06-01", 1.0), ("b", "o1", "2024-06-01", 1.0)]
    assert segments(run(engine_table, rows), "frequency") == {"a": 1, "b": 1}


def test_large_tables_agree_on_every_engine(all_engines: list[MakeTable]) -> None:
    # Money of every size, so that both steps of its histogram matter, and floats in the mean.
    number = range(1, 30_001)
    data = {
        "customer_id": [f"c{n % 7_919}" for n in number],
        "order_id": [f"o{n}" for n in number],
        "date": pa.array([1_700_000_000_000_000 + n for n in number], pa.timestamp("us")),
        "day": pa.array([day_number(AS_OF) - 1 - (n * 37) % 360 for n in number], pa.int32()),
        "amount": [((n * 7_919) % 100_003) ** 2 / 997 - 1_000 for n in number],
    }
    config = SegmentationConfig(scoring_method="deciles", recency_weight=0.1, monetary_weight=0.7)
    results: list[Any] = []
    for make in all_engines:
        result = segment(
            make(data), as_of=AS_OF, config=config, scheme=load_scheme(), checkpoint=held
        )
        results.append((result.cut_points, rows_of(result.table, "customer_id")))
    assert len(results[0][1]) == 7_919
    assert all(result == results[0] for result in results[1:])
