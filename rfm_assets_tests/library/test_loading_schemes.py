"""Schemes from the package, a file or a mapping, and what is said of wrong ones."""

from pathlib import Path
from typing import Any

import pytest

from rfm_assets.errors import InvalidScheme, UnknownScheme
from rfm_assets.library import load_scheme, packaged_schemes

MINE = """\
id: mine
segments:
  - {id: high, name: High}
  - id: low
    name: Low
rules:
  - {segment: high, r: [3, 5]}
  - {segment: low, r: [1, 2]}
"""


def refused(path: Path, text: str) -> list[str]:
    path.write_text(text, encoding="utf-8")
    with pytest.raises(InvalidScheme) as caught:
        load_scheme(path.name, folder=path.parent)
    assert caught.value.key == "segment_scheme"
    return str(caught.value).splitlines()


def test_packaged_schemes_by_name() -> None:
    assert packaged_schemes() == ("rfm_10", "rfm_11")
    assert load_scheme().id == "rfm_10"
    assert load_scheme("rfm_11").reference == "rfm_11@1"


def test_a_file_from_the_folder_given(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text(MINE, encoding="utf-8")
    assert load_scheme("mine.yaml", folder=tmp_path).names == ("High", "Low")
    assert load_scheme(tmp_path / "mine.yaml").id == "mine"


def test_an_inline_scheme() -> None:
    inline: dict[str, object] = {
        "id": "inline",
        "segments": [{"id": "all", "name": "All"}],
        "rules": [{"segment": "all"}],
    }
    assert load_scheme(inline).names == ("All",)


def test_a_scheme_that_is_nowhere() -> None:
    with pytest.raises(UnknownScheme) as caught:
        load_scheme("rfm10", key="attributes.segment_scheme")
    assert str(caught.value).startswith(
        "attributes.segment_scheme: 'rfm10' is neither a packaged scheme nor a file that exists. "
        "Did you mean 'rfm_10'?"
    )


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            "r: [3, 5]",
            "r: [4, 5]",
            "mine.yaml:6 `rules`: segment_scheme 'mine' leaves 25 of 125 cells without a segment, "
            "first 3-1-1. Add a rule or set `fallback`.",
        ),
        (
            "segment: low",
            "segment: lwo",
            "mine.yaml:8 `rules[1].segment`: 'lwo' is not the id of a segment. Did you mean 'low'? "
            "Known: high, low.",
        ),
        (
            "segment: low, r: [1, 2]",
            "segment: high, r: 3",
            "mine.yaml:8 `rules[1]`: rule 2 (high) can never fire: rule 1 (high) takes everything "
            "it matches. Move it up, narrow what stands before it, or remove it.",
        ),
        (
            "name: Low",
            "name: High",
            "mine.yaml:5 `segments[1].name`: name 'High' of segment 'low' is already taken by "
            "segment 'high'. Give one of them another.",
        ),
        (
            "name: Low",
            "nme: Low",
            "mine.yaml:5 `segments[1].nme`: is not a key here. Did you mean 'name'?",
        ),
        ("    name: Low\n", "", "mine.yaml:4 `segments[1]`: 'name' is missing. Add it."),
        ("r: [3, 5]", "r: high", "mine.yaml:7 `rules[0].r`: 'high' is not allowed: "),
        ("r: [3, 5]", "r: [5, 3]", "mine.yaml:7 `rules[0]`: r: [5, 3] is empty: [3, 5]?"),
        ("r: [3, 5]", "r: 3, score: 4", "mine.yaml:7 `rules[0]`: names `score` beside r, f or m."),
        ("id: mine", "id: mine\nid: yours", "mine.yaml:2: `id` stands twice, first in line 1."),
        ("rules:", "rule:", "mine.yaml:6 `rule`: is not a key here. Did you mean 'rules'?"),
        ("id: mine", "id: [mine", "mine.yaml:2: is not YAML: "),
    ],
)
def test_wrong_files_say_where_and_how_to_mend_them(
    tmp_path: Path, old: str, new: str, message: str
) -> None:
    lines = refused(tmp_path / "mine.yaml", MINE.replace(old, new, 1))
    assert any(line.startswith(message) for line in lines), lines


@pytest.mark.parametrize("text", ["", "- a list\n", "just text"])
def test_files_that_hold_something_else(tmp_path: Path, text: str) -> None:
    (line,) = refused(tmp_path / "mine.yaml", text)
    assert line == "mine.yaml:1: is no scheme. Write a mapping with `id`, `segments` and `rules`."


def test_a_file_that_is_not_text(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_bytes(b"id: m\xff\n")
    with pytest.raises(InvalidScheme, match="is not UTF-8 text"):
        load_scheme("mine.yaml", folder=tmp_path)


def test_everything_wrong_is_said_at_once(tmp_path: Path) -> None:
    text = MINE.replace("name: Low", "nme: Low").replace("r: [1, 2]", "r: x")
    lines = refused(tmp_path / "mine.yaml", text)
    assert [line.split(" ")[0] for line in lines] == ["mine.yaml:4", "mine.yaml:5", "mine.yaml:8"]


def test_wrong_inline_schemes_carry_the_path_below_their_key() -> None:
    inline: dict[str, Any] = {
        "id": "inline",
        "segments": [{"id": "all", "name": "All"}],
        "rules": [{"segment": "all", "r": [1, 6]}],
    }
    with pytest.raises(InvalidScheme) as caught:
        load_scheme(inline)
    assert str(caught.value).startswith("segment_scheme.rules[0].r: r: [1, 6] reaches beyond 1..5")
    assert caught.value.key == "segment_scheme.rules[0].r"
