"""Weeks of segments beside each other: re-run, after an empty one, and by another scheme."""

import shutil

import pytest

from rfm_assets_tests.components.conftest import Project
from rfm_assets_tests.components.shop import AS_OF, FIRST, SECOND, Shop, failure

EMPTY = "2025-01-06"
"""A week before the shop's first order; it ends on 13 January."""


@pytest.fixture
def shop(project: Project, monkeypatch: pytest.MonkeyPatch) -> Shop:
    monkeypatch.delenv("RFM_STORE_ROOT", raising=False)
    return Shop(project)


def check(result, name):
    (found,) = (
        event
        for event in result.get_asset_check_evaluations()
        if event.check_name == name and event.asset_key.path == ["customer_segments"]
    )
    return found


def test_a_week_that_is_run_again_says_which_weeks_have_seen_the_old_one(shop: Shop) -> None:
    assert check(shop.run(FIRST, SECOND), "later_weeks_current").passed
    again = shop.run(FIRST)
    assert again.success, failure(again)
    stale = check(again, "later_weeks_current")
    assert not stale.passed
    assert not stale.blocking
    assert "Backfill from the week that ends on 2026-03-02" in stale.description
    (shown,) = (
        event.materialization.metadata["later weeks to run again"].value
        for event in again.get_asset_materialization_events()
        if event.asset_key is not None and event.asset_key.path == ["customer_segments"]
    )
    assert shown.startswith("2026-03-02 stored from the version that this one replaces")
    assert check(shop.run(FIRST, SECOND), "later_weeks_current").passed
    assert check(shop.run(SECOND), "later_weeks_current").passed


def test_a_week_after_an_empty_one_is_published(shop: Shop) -> None:
    weekly = shop.project.defs / "weekly" / "defs.yaml"
    shop.project.write("weekly", weekly.read_text().replace("2026-01-05", EMPTY))
    path = shop.project.defs / "customer_segments" / "defs.yaml"
    checks = "{drift_min_customers: 0, reference: 2025-01-13, block_drift: 0.2}"
    shop.project.write(
        "customer_segments",
        path.read_text().replace("{warn_drift: 100, block_drift: 100}", checks),
    )
    empty = shop.run(EMPTY)
    assert empty.success, failure(empty)
    result = shop.run(FIRST)
    assert result.success, failure(result)
    for name in ("drift", "reference_drift"):
        assert check(result, name).passed
        assert check(result, name).description.startswith("nobody to compare with since 2025-01-13")


def test_the_content_of_a_scheme_is_part_of_the_configuration(shop: Shop) -> None:
    scheme = shop.project.defs / "customer_segments" / "mine.yaml"
    text = """
        id: mine
        segments: [{id: everybody, name: Everybody, description: DESCRIPTION}]
        rules: [{segment: everybody, r: [1, 5]}]
        """
    path = shop.project.defs / "customer_segments" / "defs.yaml"
    shop.project.write("customer_segments", path.read_text() + "  segment_scheme: mine.yaml\n")
    for folder in (
        "segment_summary",
        "segment_movement",
        "suppression_list",
        "champions",
        "win_back",
    ):
        shutil.rmtree(shop.project.defs / folder)
    found = []
    for words in ("All of them", "All of them", "Each of them"):
        scheme.write_text(text.replace("DESCRIPTION", words), encoding="utf-8")
        result = shop.run(FIRST)
        assert result.success, failure(result)
        snapshot = shop.store.snapshot("customer_segments", AS_OF[FIRST])
        found.append(snapshot.manifest.config_hash)
    assert found[0] == found[1] != found[2]
