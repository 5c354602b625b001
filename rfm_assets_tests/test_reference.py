"""The generated reference: complete, and the same as what is committed."""

import re

import pytest

from rfm_assets.components.base import RfmComponent
from rfm_assets.components.yaml_schema import field_schema
from rfm_assets.library import packaged_schemes
from rfm_assets.reference import (
    FOLDER,
    component_types,
    components_page,
    pages,
    schemes_page,
    stale,
)


def test_the_committed_pages_are_what_the_code_says():
    assert stale() == [], "run `make docs` and commit docs/reference"


def test_a_changed_page_is_found(tmp_path):
    for name in pages():
        text = (FOLDER / name).read_text(encoding="utf-8")
        (tmp_path / name).write_text(text, encoding="utf-8")
    assert stale(tmp_path) == []

    with (tmp_path / "components.md").open("a", encoding="utf-8") as page:
        page.write("By hand.\n")

    assert stale(tmp_path) == ["components.md"]


@pytest.mark.parametrize("component", component_types(), ids=lambda one: one.__name__)
def test_every_key_of_every_component_has_a_row_with_its_meaning(component):
    page = components_page()
    common = page.partition("## Keys of every component")[2]
    section = page.partition(f"## {component.__name__}\n")[2].partition("\n## ")[0]

    for name, node in field_schema(component)["properties"].items():
        shared = issubclass(component, RfmComponent) and name in RfmComponent.model_fields
        rows = re.findall(rf"^\| `{name}` \|.*$", common if shared else section, re.MULTILINE)
        assert rows, name
        assert node["description"].rstrip(".").split("|")[0] in rows[0], name


def test_the_cells_of_every_scheme_add_up():
    for name, section in zip(packaged_schemes(), schemes_page().split("\n## ")[1:], strict=True):
        assert section.startswith(name)
        total = int(re.search(r"cells of (\d+)", section)[1])
        table = section.partition("cells of")[2].partition("\n\n")[0]
        counts = [int(row.split(" | ")[1]) for row in table.splitlines()[2:] if row.strip()]
        assert sum(counts) == total == 125
