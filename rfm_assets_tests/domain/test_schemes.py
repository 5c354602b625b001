"""The packaged schemes cell by cell, other scales, and names."""

# ruff: noqa: ARG005 - every reading takes R, F and M

from collections.abc import Callable
from itertools import combinations, product

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from rfm_assets.domain.schemes import Rule, Scheme, Segment, mapped
from rfm_assets.errors import UnknownSegment
from rfm_assets.library import load_scheme, packaged_schemes

Reading = list[tuple[str, Callable[[int, int, int], bool]]]

# Both tables are written out again here, in match order, rather than read from the YAML.
RFM_10: Reading = [
    ("Champions", lambda r, f, m: r == f == m == 5),
    (
        "Loyal Customers",
        lambda r, f, m: (
            (r >= 4 and f >= 3) or (r == 3 and f >= 4) or (r == 3 and f == 3 and m == 5)
        ),
    ),
    ("Potential Loyalists", lambda r, f, m: r >= 4 and f <= 2),
    ("Promising", lambda r, f, m: r == 3 and f in (2, 3) and m in (3, 4)),
    ("Need Attention", lambda r, f, m: r == 3 and f <= 3),
    ("At Risk", lambda r, f, m: r <= 2 and f >= 4),
    ("About to Sleep", lambda r, f, m: r <= 2 and f in (2, 3)),
    ("Cannot Lose Them", lambda r, f, m: r <= 2 and f == 1 and m >= 4),
    ("Hibernating", lambda r, f, m: r <= 2 and f == 1 and m <= 3 and not r == f == m == 1),
    ("Lost", lambda r, f, m: r == f == m == 1),
]

RFM_11: Reading = [
    ("Champions", lambda r, f, m: r == f == m == 5),
    ("Cannot Lose Them", lambda r, f, m: r <= 2 and f >= 4 and m >= 4),
    ("At Risk", lambda r, f, m: r <= 2 and f >= 3 and m >= 3),
    ("Lost", lambda r, f, m: r == f == m == 1),
    ("About to Sleep", lambda r, f, m: r == 2 and f <= 2 and m <= 2),
    ("Hibernating", lambda r, f, m: r == 1 and f <= 2 and m <= 2),
    ("New Customers", lambda r, f, m: r >= 4 and f <= 2 and m <= 2),
    ("Promising", lambda r, f, m: (r, f, m) == (3, 2, 2)),
    ("Loyal Customers", lambda r, f, m: r >= 3 and ((f >= 3 and m >= 3) or f >= 4)),
    ("Potential Loyalists", lambda r, f, m: r >= 3),
    ("Need Attention", lambda r, f, m: r <= 2),
]

# Where the readings are easily got wrong, worked by hand.
BY_HAND = {
    "rfm_10": {"335": "Loyal Customers", "334": "Promising", "331": "Need Attention",
               "315": "Need Attention", "555": "Champions", "554": "Loyal Customers",
               "415": "Potential Loyalists", "111": "Lost", "211": "Hibernating",
               "113": "Hibernating", "114": "Cannot Lose Them", "121": "About to Sleep",
               "155": "At Risk"},
    "rfm_11": {"322": "Promising", "311": "Potential Loyalists", "333": "Loyal Customers",
               "341": "Loyal Customers", "332": "Potential Loyalists", "133": "At Risk",
               "144": "Cannot Lose Them", "143": "At Risk", "131": "Need Attention",
               "115": "Need Attention", "111": "Lost", "112": "Hibernating",
               "211": "About to Sleep", "411": "New Customers", "413": "Potential Loyalists"},
}  # fmt: skip

CELLS = list(product(range(1, 6), repeat=3))


@pytest.mark.parametrize("cell", CELLS, ids=lambda cell: "".join(map(str, cell)))
@pytest.mark.parametrize(("name", "reading"), [("rfm_10", RFM_10), ("rfm_11", RFM_11)])
def test_each_cell_has_the_segment_of_the_table(
    name: str, reading: Reading, cell: tuple[int, int, int]
) -> None:
    found = load_scheme(name).segment_of(cell, scale=5)
    assert found is not None
    assert found.name == next(segment for segment, applies in reading if applies(*cell))


@pytest.mark.parametrize("name", ["rfm_10", "rfm_11"])
def test_cells_worked_by_hand(name: str) -> None:
    cells = {"".join(map(str, cell)): found for cell, found in load_scheme(name).cells(scale=5)}
    expected = BY_HAND[name]
    assert {cell: cells[cell].name if cells[cell] else None for cell in expected} == expected


@pytest.mark.parametrize(("name", "reading"), [("rfm_10", RFM_10), ("rfm_11", RFM_11)])
def test_segments_are_those_of_the_table(name: str, reading: Reading) -> None:
    assert set(load_scheme(name).names) == {segment for segment, _ in reading}


@pytest.mark.parametrize(
    ("scale", "expected"),
    [
        (2, [1, 5]),
        (3, [1, 3, 5]),
        (4, [1, 2, 4, 5]),
        (5, [1, 2, 3, 4, 5]),
        (9, [1, 2, 2, 3, 3, 4, 4, 5, 5]),  # 1.5, 2.5, … are rounded up
        (10, [1, 1, 2, 2, 3, 3, 4, 4, 5, 5]),
    ],
)
def test_scales_are_mapped_linearly_onto_five(scale: int, expected: list[int]) -> None:
    assert [mapped(score, scale=scale, onto=5) for score in range(1, scale + 1)] == expected


@pytest.mark.parametrize("name", ["rfm_10", "rfm_11"])
@given(scale=st.integers(2, 30), data=st.data())
def test_every_cell_of_every_scale_has_one_segment(
    name: str, scale: int, data: st.DataObject
) -> None:
    scheme = load_scheme(name)
    cell = data.draw(st.tuples(*[st.integers(1, scale)] * 3))
    found = scheme.segment_of(cell, scale=scale)
    assert found is not None
    # The rules as the engine gets them agree with the scheme's own reading.
    columns = dict(zip(("R_score", "F_score", "M_score"), cell, strict=True))
    first = next(
        rule.segment
        for rule in scheme.rules_on(scale, "cell")
        if all(low <= columns[name] <= high for name, (low, high) in rule.ranges.items())
    )
    assert first == found


def test_a_rule_whose_scores_do_not_occur_is_left_out() -> None:
    # Quartiles become 1, 2, 4 and 5, so no rule for R 3 can fire.
    names = {rule.segment.name for rule in load_scheme("rfm_10").rules_on(4, "cell")}
    assert names.isdisjoint({"Promising", "Need Attention"})


def test_bands_of_the_score_are_stretched() -> None:
    rules = load_scheme("rfm_10").rules_on(9, "score_bands")
    # On 1..9 a band of 4.65 to 5 begins at 1 + 3.65 * 8 / 4.
    assert rules[0].ranges == {"RFM_score": (1 + 3.65 * 8 / 4, 9)}


@pytest.mark.parametrize(
    "word",
    [
        "Cannot Lose Them",
        "cannot_lose_them",
        "Cant Lose Them",
        "Can't Lose Them",
        "CANNOT LOSE THEM",
    ],
)
def test_segments_by_id_name_and_alias(word: str) -> None:
    assert load_scheme("rfm_10").segment_called(word, key="x").id == "cannot_lose_them"


def test_an_unknown_segment_names_the_nearest() -> None:
    with pytest.raises(UnknownSegment, match=r"^campaign: 'Champion' .*Did you mean 'Champions'"):
        load_scheme("rfm_10").segment_called("Champion", key="campaign")


@pytest.mark.parametrize("name", ["(new)", "(left)", "(none)", " (New) "])
def test_a_segment_may_not_be_called_like_coming_or_going(name: str) -> None:
    with pytest.raises(ValidationError, match="stands for customers who come, leave or have no"):
        Segment(id="mine", name=name)


def test_a_band_has_ends() -> None:
    with pytest.raises(ValidationError, match="finite number"):
        Rule(segment="mine", score=(1.0, float("nan")))


def test_a_fallback_takes_what_is_left() -> None:
    scheme = Scheme(
        id="mine",
        segments=(Segment(id="top", name="Top"), Segment(id="rest", name="Rest")),
        rules=(Rule.model_validate({"segment": "top", "r": 5}),),
        fallback="rest",
    )
    found = {cell: segment.name if segment else None for cell, segment in scheme.cells(scale=5)}
    assert (found[5, 1, 1], found[4, 5, 5]) == ("Top", "Rest")


@pytest.mark.parametrize("name", packaged_schemes())
def test_schemes_survive_json(name: str) -> None:
    scheme = load_scheme(name)
    assert Scheme.model_validate_json(scheme.model_dump_json()) == scheme


@pytest.mark.parametrize("name", packaged_schemes())
def test_packaged_segments_are_fully_described(name: str) -> None:
    for segment in load_scheme(name).segments:
        assert segment.description.endswith(".")
        assert segment.recommendation
        assert segment.recommendation.endswith(".")
        assert len(segment.characteristics) >= 3
        assert len(segment.actions) >= 3


@pytest.mark.parametrize("name", packaged_schemes())
def test_colours_are_told_apart_without_red_and_green(name: str) -> None:
    seen = [_as_deuteranope(segment.color) for segment in load_scheme(name).segments]
    nearest = min(
        sum(abs(a - b) for a, b in zip(*pair, strict=True)) for pair in combinations(seen, 2)
    )
    assert nearest >= 40


def _as_deuteranope(color: str) -> list[float]:
    """Red, green and blue (0..255) as seen without green receptors, after Machado et al. 2009."""
    matrix = (
        (0.367322, 0.860646, -0.227968),
        (0.280085, 0.672501, 0.047413),
        (-0.011820, 0.042940, 0.968881),
    )
    linear = [(int(color[i : i + 2], 16) / 255) ** 2.2 for i in (1, 3, 5)]
    seen = [
        sum(weight * value for weight, value in zip(row, linear, strict=True)) for row in matrix
    ]
    return [255 * min(max(value, 0.0), 1.0) ** (1 / 2.2) for value in seen]
