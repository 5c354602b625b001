"""`CampaignExportComponent`: the shop's win-back list as files, with suppression asked again."""

import csv
import json
import os
import stat
import time
from datetime import date
from pathlib import Path
from typing import Any

import dagster as dg
import pyarrow.parquet as pq
import pytest

from rfm_assets.errors import InvalidProject
from rfm_assets_tests.components.conftest import Project
from rfm_assets_tests.components.shop import AS_OF, FIRST, SECOND, Shop, failure, suppress

KEY = dg.AssetKey("export")
CUSTOMERS = """
type: rfm_assets.components.CustomerDataComponent
attributes:
  asset_name: customer_data
  source: {type: csv, path: customers.csv}
  columns:
    customer_id: id
    attributes: {email: mail, mobile: mobile, first_name: first}
"""


def yaml(**attributes: Any) -> str:
    given = {
        "asset_name": "export",
        "campaign_list_asset_key": "everybody",
        "destination": "klaviyo",
        "contact_columns": {"email": "email", "phone": "mobile"},
    } | attributes
    lines = "".join(f"  {key}: {json.dumps(value)}\n" for key, value in given.items())
    return f"type: rfm_assets.components.CampaignExportComponent\nattributes:\n{lines}"


@pytest.fixture
def shop(project: Project, monkeypatch: pytest.MonkeyPatch) -> Shop:
    monkeypatch.delenv("RFM_STORE_ROOT", raising=False)
    made = Shop(project)
    project.write("customer_data", CUSTOMERS)
    project.write(
        "everybody",
        "type: rfm_assets.components.CampaignListComponent\n"
        "attributes: {asset_name: everybody, segments: []}\n",
    )
    project.write("export", yaml())
    (project.root / "customers.csv").write_text(
        "id,mail,mobile,first\n"
        "a, Ann@Example.com,+49 30 1234567,=SUM(A1)\n"
        "b,bob@example.com,,Bob\n"
        "c,not an address,030 1234567,Cid\n"
        "d,dora@example.com,,Dörte\n",
        encoding="utf-8",
    )
    return made


def folder(shop: Shop, week: str = SECOND) -> Path:
    return shop.project.root / "data" / "exports" / "export" / str(AS_OF[week])


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        return list(csv.DictReader(file))


def export_again(shop: Shop, week: str = SECOND) -> dg.ExecuteInProcessResult:
    job = dg.define_asset_job("only", dg.AssetSelection.assets(KEY))
    both = dg.Definitions.merge(shop.project.load(), dg.Definitions(jobs=[job]))
    return both.resolve_job_def("only").execute_in_process(partition_key=week, raise_on_error=False)


def test_each_week_has_files_and_a_manifest_that_add_up(shop: Shop) -> None:
    result = shop.run(FIRST, SECOND)

    assert result.success, failure(result)
    made = folder(shop)
    name = f"everybody_klaviyo_{AS_OF[SECOND]}.csv"
    assert sorted(path.name for path in made.iterdir()) == [
        name,
        "manifest.json",
        "rejects.csv",
        "suppressed.csv",
    ]
    manifest = json.loads((made / "manifest.json").read_text("utf-8"))
    sent = rows(made / name)
    assert list(sent[0])[:2] == ["Email", "Phone Number"]
    assert {row["rfm_customer_id"]: row["Email"] for row in sent} == {
        "a": "ann@example.com",
        "d": "dora@example.com",
    }
    assert rows(made / "rejects.csv") == [
        {"customer_id": "c", "reason": "e-mail address is no e-mail address"}
    ]
    assert manifest["counts"] == {"list": 3, "sent": 2, "set aside": 1, "suppressed since": 0}
    assert manifest["destination"] == "klaviyo@1"
    assert manifest["files"][0]["name"] == name
    assert stat.S_IMODE(made.stat().st_mode) == 0o700
    assert folder(shop, FIRST).is_dir()
    assert not list(made.parent.glob(".*"))


def test_a_week_exported_again_has_the_same_bytes(shop: Shop) -> None:
    shop.run(SECOND)
    path = folder(shop) / f"everybody_klaviyo_{AS_OF[SECOND]}.csv"
    before = path.read_bytes()

    assert export_again(shop).success

    assert path.read_bytes() == before


def test_whoever_is_suppressed_after_the_list_was_made_is_not_exported(shop: Shop) -> None:
    shop.run(SECOND)
    suppress(shop.store, date(2026, 3, 9), a="unsubscribed")

    assert export_again(shop).success

    assert rows(folder(shop) / "suppressed.csv") == [
        {"customer_id": "a", "reason": "suppressed: unsubscribed"}
    ]
    manifest = json.loads((folder(shop) / "manifest.json").read_text("utf-8"))
    assert manifest["counts"]["suppressed since"] == 1
    assert manifest["suppression"][0]["as_of"] == "2026-03-09"
    for path in folder(shop).glob("everybody*"):
        assert "ann@example.com" not in path.read_text("utf-8")


def test_entries_in_a_file_hold_as_well_and_an_old_file_stops_everything(shop: Shop) -> None:
    late = {
        "source": {"type": "csv", "path": "stop.csv"},
        "columns": {"customer_id": "who", "reason": "why"},
        "max_age_days": 2,
    }
    shop.project.write("export", yaml(late_entries=late))
    stop = shop.project.root / "stop.csv"
    stop.write_text("who,why\nd,objected\n", encoding="utf-8")
    assert shop.run(SECOND).success
    assert rows(folder(shop) / "suppressed.csv") == [
        {"customer_id": "d", "reason": "suppressed: objected"}
    ]
    before = sorted((p.name, p.read_bytes()) for p in folder(shop).iterdir())

    os.utime(stop, (time.time() - 5 * 86_400,) * 2)
    result = export_again(shop)
    assert not result.success
    assert "was written 5.0 days ago" in failure(result)

    stop.write_text("who,why\n,objected\n", encoding="utf-8")
    result = export_again(shop)
    assert not result.success
    assert "entries_readable" in failure(result)

    stop.unlink()
    assert not export_again(shop).success
    assert sorted((p.name, p.read_bytes()) for p in folder(shop).iterdir()) == before


def test_a_damaged_or_missing_suppression_list_stops_everything(shop: Shop) -> None:
    shop.run(SECOND)
    (path,) = shop.store.snapshot("suppression_list", AS_OF[SECOND]).files()
    Path(str(path)).write_bytes(b"PAR1")
    result = export_again(shop)
    assert not result.success
    assert "damaged" in failure(result)


def test_a_file_for_people_runs_nothing_and_reads_as_utf_8(shop: Shop) -> None:
    columns = {"email": "email", "phone": "mobile", "first_name": "first_name"}
    shop.project.write("export", yaml(destination="csv", contact_columns=columns))
    result = shop.run(SECOND)
    assert result.success, failure(result)
    (path,) = folder(shop).glob("everybody*.csv")
    assert path.read_bytes().startswith(b"\xef\xbb\xbf")
    found = {row["customer_id"]: row for row in rows(path)}
    assert found["a"]["first_name"] == "'=SUM(A1)"
    assert found["a"]["phone"] == "+49301234567"
    assert found["d"]["first_name"] == "Dörte"
    assert found["c"]["email"] == ""
    assert "monetary" in found["a"]


def test_large_lists_are_split_and_every_part_has_the_header(shop: Shop) -> None:
    small = {
        "id": "crm",
        "title": "CRM",
        "verified": "by hand",
        "fields": [{"name": "id", "of": "customer_id"}],
        "identify_by": ["id"],
        "file": {"max_rows": 2},
    }
    shop.project.write("export", yaml(destination=small, contact_columns={}))
    result = shop.run(SECOND)
    assert result.success, failure(result)
    parts = sorted(folder(shop).glob("everybody*.csv"))
    assert [part.name for part in parts] == [
        f"everybody_crm_{AS_OF[SECOND]}_part1.csv",
        f"everybody_crm_{AS_OF[SECOND]}_part2.csv",
    ]
    assert [len(rows(part)) for part in parts] == [2, 1]


def test_parquet_holds_the_same(shop: Shop) -> None:
    shop.project.write("export", yaml(destination="parquet"))
    result = shop.run(SECOND)
    assert result.success, failure(result)
    (path,) = folder(shop).glob("*.parquet")
    assert sorted(pq.read_table(path).column("customer_id").to_pylist()) == ["a", "c", "d"]


BRAZE: dict[str, Any] = {"destination": "braze", "contacts_asset_key": None, "contact_columns": {}}


@pytest.mark.parametrize(
    ("attributes", "told"),
    [
        ({"destination": "klavio"}, "klaviyo"),
        ({"contact_columns": {}}, "identifies nobody"),
        ({"contact_columns": {"last_name": "x", "email": "email"}}, "is nothing that Klaviyo gets"),
        ({"suppression_asset_keys": []}, "suppression_asset_keys"),
        ({"export_folder": "../out"}, "leaves the project"),
        (BRAZE | {"delivery_settings": {"endpoint": "x"}}, "is no setting of Braze"),
        (
            BRAZE | {"delivery_settings": {"rest_endpoint": "http://x.com", "attribute": "a"}},
            "is not encrypted",
        ),
        (
            BRAZE | {"delivery_settings": {"rest_endpoint": "https://x:y", "attribute": "a"}},
            "make no address",
        ),
    ],
)
def test_what_cannot_work_is_told_when_the_project_is_loaded(
    shop: Shop, attributes: dict[str, Any], told: str
) -> None:
    shop.project.write("export", yaml(**attributes))
    with pytest.raises(InvalidProject, match=told):
        shop.project.load()


def test_a_list_of_those_who_said_no_is_asked_without_being_named(shop: Shop) -> None:
    shop.project.write(
        "said_no",
        """
        type: rfm_assets.components.SuppressionListComponent
        attributes:
          asset_name: said_no
          kind: consent
          entries:
            source: {type: csv, path: no.csv}
            columns: {customer_id: who, reason: why}
            max_age_days: 3
        """,
    )
    no = shop.project.root / "no.csv"
    no.write_text("who,why\nd,objected\n", encoding="utf-8")
    assert shop.run(SECOND).success
    file = folder(shop) / f"everybody_klaviyo_{AS_OF[SECOND]}.csv"
    assert "ann@example.com" in file.read_text("utf-8")
    assert "dora@example.com" not in file.read_text("utf-8")
    graph = shop.project.load().get_repository_def().asset_graph
    assert dg.AssetKey("said_no") in graph.get(KEY).parent_keys

    # Ann says no after the list was made, and only the list of those who said no is computed again.
    no.write_text("who,why\nd,objected\na,unsubscribed\n", encoding="utf-8")
    job = dg.define_asset_job("no", dg.AssetSelection.assets(dg.AssetKey("said_no")))
    both = dg.Definitions.merge(shop.project.load(), dg.Definitions(jobs=[job]))
    assert both.resolve_job_def("no").execute_in_process(partition_key=SECOND).success
    assert export_again(shop).success
    assert "ann@example.com" not in file.read_text("utf-8")
