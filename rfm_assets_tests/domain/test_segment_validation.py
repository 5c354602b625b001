"""Who bought again by segment and score: by hand, on each engine, and without leaking the outcome."""

from datetime import date, timedelta
from typing import Any

import numpy as np
import pytest

from rfm_assets.domain.segment_validation import (
    Candidate,
    Validation,
    rates_in_per_cent,
    validated,
)
from rfm_assets.domain.validation_candidates import (
    Loaded,
    candidate_as_of,
    default_candidates,
)
from rfm_assets.errors import NotEnoughCustomers
from rfm_assets.library import cluster_names, load_decisions, load_scheme
from rfm_assets_tests.domain.purchases import AS_OF, Purchase, shop, transactions
from rfm_assets_tests.tables import MakeTable, held, rows_of, tables_on

CUT = date(2025, 1, 1)


def small_shop() -> tuple[dict[str, list[Any]], list[Purchase]]:
    """Two hundred customers: the first half are called good, and two thirds of them buy again."""
    ids = [f"c{n:03}" for n in range(200)]
    table = {
        "customer_id": ids,
        "score": [float(200 - n) for n in range(200)],
        "segment": ["good" if n < 100 else "bad" for n in range(200)],
    }
    after: list[Purchase] = []
    for n, name in enumerate(ids):
        if (n < 100 and n % 3) or (n >= 100 and n % 10 == 0):
            after.append((name, f"o{n}", "2025-01-15", 20.0))
    after += [
        ("c001", "again", "2025-01-20", 30.0),
        ("c001", "back", "2025-01-21", -5.0),
        ("c199", "late", "2025-02-01", 99.0),  # after the outcome
        ("c198", "back", "2025-01-02", -7.0),  # a refund is no purchase
        ("c197", "early", "2024-12-31", 99.0),  # before the cut
    ]
    return table, after


def of(make: MakeTable, **more: Any) -> Validation:
    table, after = small_shop()
    candidates = [Candidate("mine", make(table))]
    candidates += [Candidate(name, make(columns)) for name, columns in more.items()]
    rows = make(transactions(after))
    return validated(candidates, rows, cut=CUT, days=31, resamples=200)


def test_rates_lift_and_revenue_by_segment(engine_table: MakeTable) -> None:
    validation = of(engine_table)
    bad, good = rows_of(validation.segments, "segment")
    assert (good["customers"], good["buyers"], good["repurchase_rate"]) == (100, 66, 0.66)
    assert (bad["customers"], bad["buyers"]) == (100, 10)
    assert good["lift"] == pytest.approx(0.66 / 0.38)
    # 66 of 20, 30 more, less 5; 10 of 20, less 7.
    assert (good["revenue"], bad["revenue"]) == (1_345.0, 193.0)
    assert good["revenue_pct"] == pytest.approx(100 * 1_345 / 1_538)
    assert (good["rate_low"], good["rate_high"]) == pytest.approx((0.5628, 0.7454), abs=1e-4)
    _, shown = rows_of(rates_in_per_cent(validation.segments), "segment")
    assert (shown["repurchase_pct"], shown["customers_pct"]) == (66.0, 50.0)
    assert (shown["low_pct"], shown["high_pct"]) == pytest.approx((56.28, 74.54), abs=1e-2)
    assert (validation.customers, validation.buyers, validation.revenue) == (200, 76, 1_538.0)
    by_score, by_segment = sorted(validation.scores, key=lambda one: one.of)
    assert (by_score.of, by_score.verdict) == ("score", "baseline")
    # By segment: of 76 buyers and 124 others, (66 * 90 + (66 * 34 + 10 * 90) / 2) pairs.
    expected = (66 * 90 + (66 * 34 + 10 * 90) / 2) / (76 * 124)
    assert by_segment.auc.value == pytest.approx(expected, abs=0.02)
    assert by_score.lift == pytest.approx(13 / 20 / 0.38)  # c001 to c019: not 3, 6, … and not c000


def test_all_are_judged_on_the_customers_that_every_one_knows(engine_table: MakeTable) -> None:
    made = np.random.default_rng(1)
    ids = [f"c{n:03}" for n in range(20, 220)]
    other = {"customer_id": ids, "score": made.random(200).tolist()}
    validation = of(engine_table, chance=other)
    assert (validation.customers, validation.left_out) == (180, 40)
    by_name = {(one.candidate, one.of): one for one in validation.scores}
    assert by_name["chance", "score"].verdict == "worse"
    gain = by_name["chance", "score"].gain
    assert gain is not None
    assert gain.value == pytest.approx(
        by_name["chance", "score"].auc.value - by_name["mine", "score"].auc.value
    )
    assert "Keep mine" in validation.advice


def test_the_better_one_is_advised_with_its_interval() -> None:
    table, after = small_shop()
    bought = {row[0] for row in after if row[3] > 0 and "2025-01-01" <= row[2] < "2025-02-01"}
    oracle = {
        "customer_id": table["customer_id"],
        "score": [float(name in bought) for name in table["customer_id"]],
    }
    with tables_on("polars") as make:
        validation = of(make, oracle=oracle)
    best = validation.scores[0]
    assert (best.candidate, best.auc.value, best.verdict) == ("oracle", 1.0, "better")
    assert validation.advice.startswith("oracle by its score told most: AUC 1.000, +0.")


def test_segments_at_random_tell_nothing() -> None:
    """A rate of one's own outcome would: each customer alone in a segment knew it perfectly."""
    table, _ = small_shop()
    alone = {"customer_id": table["customer_id"], "segment": table["customer_id"]}
    with tables_on("polars") as make:
        validation = of(make, alone=alone)
    (found,) = [one for one in validation.scores if one.candidate == "alone"]
    assert found.auc.value == pytest.approx(0.5, abs=0.06)


def test_too_few_are_refused() -> None:
    table, after = small_shop()
    few = {name: values[:50] for name, values in table.items()}
    with tables_on("polars") as make:
        with pytest.raises(NotEnoughCustomers, match="50 customers known to every candidate"):
            validated(
                [Candidate("mine", make(few))],
                make(transactions(after)),
                cut=CUT,
                days=31,
                resamples=100,
            )
        with pytest.raises(NotEnoughCustomers, match="who bought again in the 31 days after"):
            validated(
                [Candidate("mine", make(table))],
                make(transactions(after[-3:])),
                cut=CUT,
                days=31,
                resamples=100,
            )


@pytest.mark.parametrize("asked", default_candidates(28), ids=lambda one: one.name)
def test_a_candidate_sees_nothing_of_the_outcome(asked: Any) -> None:
    cut = AS_OF - timedelta(days=28)
    rows = list(shop())
    later = [row for row in rows if row[2] >= cut.isoformat()]
    assert len(later) > 20
    loaded = Loaded(
        scheme=load_scheme(asked.segmentation.segment_scheme) if asked.type == "rfm" else None,
        decisions=load_decisions(),
        names=cluster_names("rfm_4"),
    )
    seen = []
    with tables_on("polars") as make:
        for known in (rows, [row for row in rows if row not in later]):
            candidate = candidate_as_of(
                asked,
                loaded,
                make(transactions(known)),
                cut=cut,
                checkpoint=held,
                from_native=lambda frame: (
                    make(frame.to_native()) if hasattr(frame, "to_native") else make(frame)
                ),
            )
            seen.append(rows_of(candidate.table, "customer_id"))
    assert seen[0] == seen[1]
    assert len(seen[0]) > 200
