"""What segments ask for in days, purchases and money; every sentence is worked out by hand."""

import itertools
from typing import Any

import pytest

from rfm_assets.domain.criteria import IMPOSSIBLE, criteria
from rfm_assets.domain.explaining import explain
from rfm_assets.domain.schemes import Scheme
from rfm_assets.domain.scoring import CutPoints
from rfm_assets.library import load_scheme

POINTS = CutPoints(
    scale=5,
    recency=(21, 51, 112, 231),
    frequency=(1, 2, 3, 5),
    monetary_units=(208_900, 484_700, 931_400, 19_810_000),
)


def sentences(scheme: Scheme, points: CutPoints, **more: Any) -> dict[str, tuple[str, ...]]:
    return {one.segment: one.sentences for one in criteria(scheme, points, **more)}


def scheme_of(*rules: dict[str, Any], fallback: str | None = None, scale: int = 5) -> Scheme:
    names = dict.fromkeys([rule["segment"] for rule in rules] + ([fallback] if fallback else []))
    return Scheme.model_validate(
        {
            "id": "mine",
            "scale": scale,
            "segments": [{"id": name, "name": name.capitalize()} for name in names],
            "rules": list(rules),
            "fallback": fallback,
        }
    )


def test_ten_segments_of_the_default_scheme():
    found = sentences(load_scheme("rfm_10"), POINTS)

    assert found == {
        "Champions": ("Bought within 21 days, at least 6 purchases, more than 1,981.00 spent",),
        "Loyal Customers": (
            "Bought within 51 days, at least 3 purchases, unless already Champions",
            "Last bought 52 to 112 days ago, at least 4 purchases",
            "Last bought 52 to 112 days ago, 3 purchases, more than 1,981.00 spent",
        ),
        "Potential Loyalists": ("Bought within 51 days, at most 2 purchases",),
        "Promising": (
            "Last bought 52 to 112 days ago, 2 to 3 purchases, "
            "more than 48.47 and at most 1,981.00 spent",
        ),
        "Need Attention": (
            "Last bought 52 to 112 days ago, at most 3 purchases, "
            "unless already Loyal Customers or Promising",
        ),
        "At Risk": ("Last bought more than 112 days ago, at least 4 purchases",),
        "About to Sleep": ("Last bought more than 112 days ago, 2 to 3 purchases",),
        "Cannot Lose Them": (
            "Last bought more than 112 days ago, 1 purchase, more than 93.14 spent",
        ),
        "Hibernating": (
            "Last bought more than 112 days ago, 1 purchase, at most 93.14 spent, "
            "unless already Lost",
        ),
        "Lost": ("Last bought more than 231 days ago, 1 purchase, at most 20.89 spent",),
    }


def test_what_is_left_over():
    scheme = scheme_of(
        {"segment": "best", "r": 5},
        {"segment": "rest", "f": [1, 1]},
        {"segment": "some", "m": 5},
        fallback="rest",
    )

    found = sentences(scheme, POINTS)

    assert found["Rest"] == ("1 purchase, unless already Best", "Everybody else")
    assert found["Some"] == ("More than 1,981.00 spent, unless already Best or Rest",)
    alone = scheme_of({"segment": "best", "r": 5}, fallback="rest")
    assert sentences(alone, POINTS)["Rest"] == ("Everybody whom no rule matches",)


def test_a_rule_without_conditions_takes_everybody_who_is_left():
    scheme = scheme_of({"segment": "best", "r": 5}, {"segment": "rest"})

    assert sentences(scheme, POINTS)["Rest"] == ("Everybody, unless already Best",)


def test_quartiles_map_the_rules_onto_four_scores():
    # Scores 1, 2, 3, 4 are read as 1, 2, 4, 5, so that 3 does not occur.
    points = CutPoints(
        scale=4, recency=(30, 90, 365), frequency=(1, 2, 4), monetary_units=(1, 2, 3)
    )
    scheme = scheme_of(
        {"segment": "best", "r": [4, 5], "f": 5},
        {"segment": "middle", "r": 3},
        {"segment": "rest", "r": [1, 2]},
    )

    assert sentences(scheme, points) == {
        "Best": ("Bought within 90 days, at least 5 purchases",),
        "Middle": (IMPOSSIBLE,),
        "Rest": ("Last bought more than 90 days ago",),
    }


def test_one_day_and_one_purchase_are_one():
    points = CutPoints(scale=4, recency=(1, 2, 9), frequency=(1, 2, 3), monetary_units=(5, 5, 5))
    scheme = scheme_of(
        {"segment": "a", "r": 4, "f": 2},
        {"segment": "b", "r": 3, "f": 4},
        scale=4,
        fallback="c",
    )

    assert sentences(scheme, points)["A"] == ("Bought within 1 day, 2 purchases",)
    assert sentences(scheme, points)["B"] == ("Last bought 2 days ago, at least 4 purchases",)


def test_scores_that_equal_values_leave_empty():
    # Most customers bought once: the first two cut points are the same, and nobody has F_score 2.
    points = CutPoints(
        scale=4, recency=(30, 90, 365), frequency=(1, 1, 4), monetary_units=(10, 20, 30)
    )
    scheme = scheme_of(
        {"segment": "two", "f": 2},
        {"segment": "up", "f": [2, 3]},
        {"segment": "same", "f": 3},
        scale=4,
        fallback="rest",
    )

    found = sentences(scheme, points)

    assert found["Two"] == (IMPOSSIBLE,)
    assert found["Up"] == ("2 to 4 purchases",)
    assert found["Same"] == (IMPOSSIBLE,)  # what it asks for has gone to Up


def test_bands_of_the_score():
    scheme = scheme_of(
        {"segment": "top", "score": [4, 5]},
        {"segment": "exact", "score": 3},
        {"segment": "wide", "score": [2, 4]},
        {"segment": "low", "score": [1, 2]},
        {"segment": "cells", "r": 1},
    )

    assert sentences(scheme, POINTS, segment_by="score_bands") == {
        "Top": ("RFM score 4.00 to 5.00",),
        "Exact": ("RFM score 3.00",),
        "Wide": ("RFM score 2.00 to below 4.00, unless already Exact",),
        "Low": ("RFM score 1.00 to below 2.00",),
        "Cells": (IMPOSSIBLE,),
    }


def test_without_customers_the_scores_are_named():
    points = CutPoints(scale=5, recency=(), frequency=(), monetary_units=())
    scheme = scheme_of({"segment": "best", "r": [4, 5], "f": 5, "m": [1, 5]}, fallback="rest")

    assert sentences(scheme, points)["Best"] == ("R_score 4 to 5, F_score 5",)


@pytest.mark.parametrize("name", ["rfm_10", "rfm_11"])
def test_every_way_is_open_to_somebody_and_leads_there(name: str):
    """Customers on and beside every cut point: who is told to be in a segment is in it."""
    scheme = load_scheme(name)
    reached: set[str] = set()
    for recency, frequency, monetary in itertools.product(
        (1, 21, 22, 51, 52, 112, 113, 231, 232), (1, 2, 3, 4, 5, 6), (20.89, 20.9, 48.5, 93.2, 1982)
    ):
        row = {"recency": recency, "frequency": frequency, "monetary": monetary}
        row["R_score"] = 5 - sum(cut < recency for cut in POINTS.recency)
        row["F_score"] = 1 + sum(cut < frequency for cut in POINTS.frequency)
        row["M_score"] = 1 + sum(cut < monetary for cut in POINTS.monetary)
        explanation = explain(row, points=POINTS, scheme=scheme)
        assert explanation.fired is not None
        reached.add(explanation.rules[explanation.fired - 1].segment)
    told = {one.segment for one in criteria(scheme, POINTS) if one.sentences != (IMPOSSIBLE,)}
    assert reached == told
