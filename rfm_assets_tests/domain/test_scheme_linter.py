"""What the linter reports, with the cell and an example."""

from typing import Any

import pytest

from rfm_assets.domain.scheme_linter import Finding, lint
from rfm_assets.domain.schemes import Scheme
from rfm_assets.library import load_scheme, packaged_schemes

SEGMENTS = [{"id": "high", "name": "High"}, {"id": "low", "name": "Low"}]


def findings(rules: list[dict[str, Any]], **more: Any) -> list[Finding]:
    data = {"id": "mine", "segments": SEGMENTS, "rules": rules, **more}
    return list(lint(Scheme.model_validate(data)).findings)


def test_a_total_scheme_without_overlap_has_no_finding() -> None:
    assert findings([{"segment": "high", "r": [3, 5]}, {"segment": "low", "r": [1, 2]}]) == []


def test_cells_without_a_segment_are_counted_with_the_first() -> None:
    rules = [{"segment": "high", "r": [2, 5]}, {"segment": "low", "r": 1, "m": [1, 3]}]
    # R 1 with M 4 or 5: five frequencies times two.
    assert findings(rules) == [
        Finding(
            "error",
            ("rules",),
            "segment_scheme 'mine' leaves 10 of 125 cells without a segment, first 1-1-4. "
            "Add a rule or set `fallback`.",
        )
    ]


def test_a_fallback_fills_the_gap() -> None:
    assert findings([{"segment": "high", "r": 5}], fallback="low") == []


def test_a_rule_behind_others_can_never_fire() -> None:
    rules = [
        {"segment": "high", "f": [3, 5]},
        {"segment": "low", "f": [1, 2]},
        {"segment": "high", "r": 5, "f": [2, 3]},
    ]
    errors = [finding for finding in findings(rules) if finding.severity == "error"]
    assert errors == [
        Finding(
            "error",
            ("rules", 2),
            "rule 3 (high) can never fire: rule 1 (high) and rule 2 (low) take everything it "
            "matches. Move it up, narrow what stands before it, or remove it.",
        )
    ]


def test_overlaps_are_noted_with_the_winner() -> None:
    rules = [{"segment": "high", "r": [4, 5]}, {"segment": "low"}]
    assert findings(rules) == [
        Finding(
            "note",
            ("rules", 1),
            "rule 2 (low) overlaps rule 1 (high), which wins, 50 times, first at 4-1-1.",
        )
    ]


def test_overlaps_can_be_forbidden() -> None:
    rules = [{"segment": "high", "r": [4, 5]}, {"segment": "low"}]
    (finding,) = findings(rules, overlaps="forbid")
    assert finding.severity == "error"
    assert finding.message.endswith("Narrow one of them, or set `overlaps: allow`.")


def test_rules_of_one_segment_do_not_overlap() -> None:
    rules = [{"segment": "high", "r": [4, 5]}, {"segment": "high", "f": [4, 5]}, {"segment": "low"}]
    assert [finding.path for finding in findings(rules)] == [("rules", 2), ("rules", 2)]


def test_a_segment_without_rules_is_a_warning() -> None:
    (finding,) = findings([{"segment": "high"}])
    assert (finding.severity, finding.path) == ("warning", ("segments", 1))
    assert finding.message.startswith("no rule leads to segment 'low'")


def test_an_unknown_segment_names_the_nearest() -> None:
    found = findings([{"segment": "hihg"}, {"segment": "low"}], fallback="lo")
    assert [finding.path for finding in found] == [("rules", 0, "segment"), ("fallback",)]
    assert "'hihg' is not the id of a segment. Did you mean 'high'?" in found[0].message


@pytest.mark.parametrize(
    ("second", "path"),
    [
        ({"id": "high", "name": "Other"}, ("segments", 1, "id")),
        ({"id": "low", "name": "HIGH"}, ("segments", 1, "name")),
        ({"id": "low", "name": "Low", "aliases": ["Hi-gh"]}, ("segments", 1, "aliases")),
    ],
)
def test_names_are_taken_once(second: dict[str, Any], path: tuple[str | int, ...]) -> None:
    (finding,) = findings([{"segment": "high"}], segments=[SEGMENTS[0], second])
    assert (finding.severity, finding.path) == ("error", path)


def test_scores_outside_the_scale() -> None:
    (finding,) = findings([{"segment": "high", "r": [3, 6]}, {"segment": "low"}])
    assert finding.path == ("rules", 0, "r")
    assert finding.message.startswith("r: [3, 6] reaches beyond 1..5")


def test_a_scheme_of_its_own_scale() -> None:
    rules = [{"segment": "high", "r": [2, 3]}, {"segment": "low", "r": 1, "f": [1, 2]}]
    (finding,) = findings(rules, scale=3)
    assert "leaves 3 of 27 cells without a segment, first 1-3-1" in finding.message


def test_bands_that_leave_scores_out() -> None:
    rules = [{"segment": "high", "score": [4, 5]}, {"segment": "low", "score": [1, 3.5]}]
    (finding,) = findings(rules)
    assert "leaves scores without a segment: 3.5 to 4." in finding.message


def test_bands_may_share_an_end_but_not_hide_each_other() -> None:
    rules = [
        {"segment": "high", "score": [3, 5]},
        {"segment": "low", "score": [1, 3]},
        {"segment": "low", "score": [2, 4]},
    ]
    severities = [(finding.severity, finding.path) for finding in findings(rules[:2])]
    assert severities == []
    assert ("error", ("rules", 2)) in [(f.severity, f.path) for f in findings(rules)]


@pytest.mark.parametrize("name", packaged_schemes())
def test_packaged_schemes_have_only_notes(name: str) -> None:
    found = lint(load_scheme(name)).findings
    assert {finding.severity for finding in found} == {"note"}
