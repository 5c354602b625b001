"""Every packaged destination gets its files, once before and once after somebody is suppressed.

Hashes are those of the vendors' own examples: Meta, marketing-api/audiences/guides/custom-audiences,
and Google, the formatter of the Data Manager API with its tests. The other destinations hash nothing.
"""

import csv
import json
from collections.abc import Iterator, Mapping
from datetime import date
from pathlib import Path

import dagster as dg
import pyarrow.parquet as pq
import pytest

from rfm_assets.domain.destinations import Destination
from rfm_assets.domain.identifiers import would_run
from rfm_assets.library import load_destination, packaged_destinations
from rfm_assets_tests.components.conftest import Project, project
from rfm_assets_tests.components.shop import AS_OF, SECOND, Shop, declared, failure, suppress

__all__ = ["project"]  # a fixture

CUSTOMERS = """\
id,mail,mobile,first,last,land,zip
a, Mary@Example.com,+1 (555) 987-6543,=SUM(A1),x;=1+1,us,-1+1
c,AlexZ@example.com,+1 800 555 0100, @cmd,"two
=A1",US,94016
d,=1@example.com,+44 844 412 4653,x\t+A1,Ann-Marie,gb,EC1A
"""
COLUMNS = {
    "email": "mail",
    "phone": "mobile",
    "first_name": "first",
    "last_name": "last",
    "country": "land",
    "postal_code": "zip",
}
MARY = "f1904cf1a9d73a55fa5de0ac823c4403ded71afd4c3248d00bdcd0866552bb79"
MARYS_PHONE = "1ef970831d7963307784fa8688e8fce101a15685d62aa765fed23f3a2c576a4e"
ALEX = "509e933019bb285a134a9334b8bb679dff79d0ce023d529af4bd744d47b4fd8a"
ALEXS_PHONE = "fb4f73a6ec5fdb7077d564cdd22c3554b43ce49168550c3b12c547b78c517b30"
WRITTEN: Mapping[str, set[str]] = {
    "braze": {"a"},
    "csv": {"mary@example.com", "+15559876543", "US"},
    "google_customer_match": {ALEX, ALEXS_PHONE},
    "hubspot": {"mary@example.com"},
    "klaviyo": {"mary@example.com", "+15559876543"},
    "mailchimp": {"mary@example.com"},
    "meta_custom_audiences": {MARY, MARYS_PHONE},
    "parquet": {"mary@example.com", "+15559876543"},
    "salesforce_marketing_cloud": {"15559876543", "US"},
}
"""Cells that must be in the file of each destination."""


@pytest.fixture
def shop(project: Project, monkeypatch: pytest.MonkeyPatch) -> Shop:
    """The shop with a list of everybody, for every destination."""
    monkeypatch.delenv("RFM_STORE_ROOT", raising=False)
    made = Shop(project)
    (project.root / "customers.csv").write_text(CUSTOMERS, encoding="utf-8", newline="")
    attributes = ", ".join(f"{name}: {name}" for name in COLUMNS.values())
    project.write(
        "customer_data",
        declared(
            "CustomerDataComponent",
            {
                "asset_name": "customer_data",
                "source": "{type: csv, path: customers.csv}",
                "columns": f"{{customer_id: id, attributes: {{{attributes}}}}}",
            },
        ),
    )
    project.write(
        "everybody",
        declared("CampaignListComponent", {"asset_name": "everybody", "segments": "[]"}),
    )
    for name in packaged_destinations():
        known = load_destination(name).contacts
        columns = {one: COLUMNS[one] for one in known}
        project.write(
            f"to_{name}",
            declared(
                "CampaignExportComponent",
                {
                    "asset_name": f"to_{name}",
                    "campaign_list_asset_key": "everybody",
                    "destination": name,
                    "contact_columns": json.dumps(columns),
                },
            ),
        )
    return made


def folder(shop: Shop, name: str) -> Path:
    return shop.project.root / "data" / "exports" / f"to_{name}" / str(AS_OF[SECOND])


def the_file(shop: Shop, to: Destination) -> Path:
    (path,) = folder(shop, to.id).glob(f"everybody_*.{to.file.format}")
    return path


def cells(path: Path, delimiter: str = ",") -> Iterator[str]:
    if path.suffix == ".parquet":
        for row in pq.read_table(path).to_pylist():
            yield from (one for one in row.values() if one is not None)
        return
    with path.open(encoding="utf-8-sig", newline="") as file:
        for row in csv.reader(file, delimiter=delimiter):
            yield from row


def export_again(shop: Shop) -> dg.ExecuteInProcessResult:
    keys = [dg.AssetKey(f"to_{name}") for name in packaged_destinations()]
    job = dg.define_asset_job("only", dg.AssetSelection.assets(*keys))
    both = dg.Definitions.merge(shop.project.load(), dg.Definitions(jobs=[job]))
    return both.resolve_job_def("only").execute_in_process(
        partition_key=SECOND, raise_on_error=False
    )


def test_every_destination_gets_what_it_documents_runs_nothing_and_nobody_suppressed(
    shop: Shop,
) -> None:
    result = shop.run(SECOND)
    assert result.success, failure(result)

    assert set(WRITTEN) == set(packaged_destinations())
    for name, wanted in WRITTEN.items():
        to = load_destination(name)
        path = the_file(shop, to)
        assert wanted <= set(cells(path)), name
        counts = json.loads((path.parent / "manifest.json").read_text("utf-8"))["counts"]
        assert counts["list"] == 3
        assert counts["sent"] + counts["set aside"] == 3
        if to.file.format == "csv":
            for one in (path, path.parent / "rejects.csv"):
                for delimiter in (",", ";", "\t"):
                    ran = [cell for cell in cells(one, delimiter) if would_run(cell)]
                    assert ran == [], (name, delimiter)

    suppress(shop.store, date(2026, 3, 9), a="unsubscribed")
    result = export_again(shop)
    assert result.success, failure(result)

    for name, hers in WRITTEN.items():
        path = the_file(shop, load_destination(name))
        gone = hers - {"US", ALEX, ALEXS_PHONE}
        assert not gone & set(cells(path)), name
        assert list(cells(path.parent / "suppressed.csv")) == [
            "customer_id",
            "reason",
            "a",
            "suppressed: unsubscribed",
        ]
