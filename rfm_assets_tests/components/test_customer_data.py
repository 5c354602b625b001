"""Customer data from YAML to the store: names that are free, consent that can be read."""

import json

import pytest

from rfm_assets.errors import InvalidProject, SnapshotMissing
from rfm_assets_tests.components.shop import FIRST, Shop, failure

YAML = """
type: rfm_assets.components.CustomerDataComponent
attributes:
  asset_name: customer_data
  source: {type: csv, path: customers.csv}
  columns:
    customer_id: id
    attributes: %s
"""
CONSENT = {"consent": {"column": "ok", "kind": "boolean"}}
GERMAN = {"consent": {**CONSENT["consent"], "true_words": ["ja"], "false_words": ["nein"]}}


@pytest.fixture
def shop(project):
    made = Shop(project)
    rows = ["id,ok,age", "a,ja,31", "b,nein,old", "c,,", ",ja,50"]
    (project.root / "customers.csv").write_text("\n".join([*rows, ""]), encoding="utf-8")
    return made


def declare(shop, attributes):
    shop.project.write("customer_data", YAML % json.dumps(attributes))


def check(result):
    (found,) = [
        e for e in result.get_asset_check_evaluations() if e.check_name == "attributes_readable"
    ]
    return found


def test_consent_that_cannot_be_read_is_not_published(shop):
    declare(shop, CONSENT)
    result = shop.run(FIRST)
    assert not result.success
    assert "consent 2 unreadable values" in failure(result)
    assert "true_words" in failure(result)
    assert not check(result).passed
    with pytest.raises(SnapshotMissing):
        shop.store.snapshot("customer_data", None)


def test_declared_words_make_consent_readable_and_other_unreadable_values_warn(shop):
    declare(shop, {**GERMAN, "age": {"column": "age", "kind": "number"}})
    result = shop.run(FIRST)
    assert result.success
    assert (check(result).passed, check(result).severity.value) == (False, "WARN")
    counts = shop.store.snapshot("customer_data", None).manifest.counts
    assert counts == {
        "rows without customer": 1,
        "broken lines": 0,
        "unreadable/consent": 0,
        "unreadable/age": 1,
    }
    (event,) = result.asset_materializations_for_node("customer_data")
    assert event.metadata["unreadable/age"].value == 1


@pytest.mark.parametrize(
    "name", ["customer_id", "Customer_ID", "segment", "R_Score", "refunded", "as_of", "two words"]
)
def test_an_attribute_cannot_have_the_name_of_a_computed_column(shop, name):
    declare(shop, {name: "ok"})
    with pytest.raises(InvalidProject, match=rf"customer_data/defs.yaml:7 .*'{name}' cannot name"):
        shop.project.load()


def test_attributes_that_differ_in_capitals_only(shop):
    declare(shop, {"ok": "ok", "OK": "age"})
    with pytest.raises(InvalidProject, match="differ in capitals only"):
        shop.project.load()


def test_the_configuration_of_a_snapshot_covers_source_and_columns(shop):
    hashes = []
    for attributes in (GERMAN, {**GERMAN, "age": "age"}):
        declare(shop, attributes)
        assert shop.run(FIRST).success
        hashes.append(shop.store.snapshot("customer_data", None).manifest.config_hash)
    assert all(hashes)
    assert len(set(hashes)) == 2
