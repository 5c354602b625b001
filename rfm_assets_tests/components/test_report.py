"""`ReportComponent`: the shop's report, week by week."""

from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from rfm_assets.errors import InvalidProject
from rfm_assets.serving.report_contents import Contents, contents
from rfm_assets_tests.components.conftest import Project
from rfm_assets_tests.components.shop import FIRST, SECOND, Shop, declared, failure, recorded

KEY = dg.AssetKey("segment_report")


def yaml(**attributes: Any) -> str:
    return declared("ReportComponent", {"asset_name": "segment_report"} | attributes)


@pytest.fixture
def shop(project: Project, monkeypatch: pytest.MonkeyPatch) -> Shop:
    monkeypatch.delenv("RFM_STORE_ROOT", raising=False)
    project.write("segment_report", yaml())
    return Shop(project)


def reports(shop: Shop, folder: str = "data/reports") -> list[Path]:
    return sorted((shop.project.root / folder).iterdir())


def test_each_week_has_a_report_of_its_own(shop: Shop) -> None:
    result = shop.run(FIRST, SECOND)

    assert result.success, failure(result)
    first, second = reports(shop)
    assert [first.name, second.name] == [
        "segment_report_2026-02-23.html",
        "segment_report_2026-03-02.html",
    ]
    for week, path in ((FIRST, first), (SECOND, second)):
        found = recorded(result, KEY, week)
        assert found["path"] == str(path)
        assert found["size_bytes"] == path.stat().st_size
        assert found["link"] == path.as_uri()
    text = second.read_text("utf-8")
    assert "Customer segments as of 2 March 2026" in text
    # The shop's thresholds, in words: recency 10 days, 4 purchases, 500.
    assert "Bought within 10 days, at least 5 purchases, more than 500.00 spent." in text
    assert "segment_report" not in shop.store.tables()


def test_running_a_week_again_gives_the_same_report_of_the_same_tables(shop: Shop) -> None:
    shop.run(FIRST)
    (path,) = reports(shop)
    before = path.read_bytes()

    shop.run_alone(KEY, partition_key=FIRST)

    assert path.read_bytes() == before


def test_it_waits_for_every_table_that_it_shows(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop.project.write(
        "other_segments",
        "type: rfm_assets.components.CustomerSegmentationComponent\n"
        "attributes: {asset_name: other_segments}\n",
    )
    shop.project.write(
        "other_movement",
        "type: rfm_assets.components.SegmentMovementComponent\n"
        "attributes: {asset_name: other_movement, customer_segments_asset_key: other_segments}\n",
    )
    shown: list[set[str]] = []

    def noted(*arguments: Any) -> Contents:
        found = contents(*arguments)
        shown.append({one.table for one in found.others})
        return found

    monkeypatch.setattr("rfm_assets.serving.report.contents", noted)
    result = shop.run(FIRST)

    assert result.success, failure(result)
    graph = shop.project.load().resolve_asset_graph()
    upstream = {key.to_user_string() for key in graph.get(KEY).parent_keys}
    assert upstream == {
        "customer_segments",
        "segment_movement",
        "segment_summary",
        "champions",
        "win_back",
    }
    made_before = {"transaction_data", "transaction_data_rejects", "suppression_list"}
    assert shown[0] <= upstream | made_before
    assert upstream - {"customer_segments"} <= shown[0]


def test_the_files_go_where_the_yaml_says(shop: Shop) -> None:
    shop.project.write("segment_report", yaml(report_folder="out/for the boss"))

    result = shop.run(FIRST)

    assert result.success, failure(result)
    assert len(reports(shop, "out/for the boss")) == 1


def test_names_of_the_deployment_are_used(shop: Shop) -> None:
    (shop.project.root / "serving.yaml").write_text(
        "segment_names: {Champions: The best}\n", encoding="utf-8"
    )

    shop.run(FIRST)

    assert "The best" in reports(shop)[0].read_text("utf-8")


@pytest.mark.parametrize(
    ("attributes", "line", "message"),
    [
        ({"report_folder": "../elsewhere"}, 4, "leaves the project"),
        ({"report_folder": "/reports"}, 4, "leaves the project"),
        ({"reports_folder": "data"}, 4, "report_folder"),
        ({"customer_segments_asset_key": "customer_segmnets"}, 4, "customer_segments"),
    ],
)
def test_wrong_yaml_is_told_with_its_line(
    shop: Shop, attributes: dict[str, str], line: int, message: str
) -> None:
    shop.project.write("segment_report", yaml(**attributes))

    with pytest.raises(InvalidProject) as raised:
        shop.project.load()

    assert f"segment_report/defs.yaml:{line} " in str(raised.value)
    assert message in str(raised.value)
