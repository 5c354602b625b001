"""`rfm send`: a plan unless --yes is said, and what it says is what happens."""

import json
import stat
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from rfm_assets.cli import app
from rfm_assets.errors import InvalidConfig
from rfm_assets_tests.components.conftest import Project, project
from rfm_assets_tests.components.shop import FILES, SECOND, Shop, declared, failure, suppress
from rfm_assets_tests.exports.server import SECRET, Destination, serving

__all__ = ["project"]  # a fixture

EXPORT = """
type: rfm_assets.components.CampaignExportComponent
attributes:
  asset_name: everybody_braze
  campaign_list_asset_key: everybody
  destination: braze
  contacts_asset_key: null
  price_per_contact: 0.01
  delivery_settings: {rest_endpoint: "ADDRESS/braze", attribute: rfm_campaigns}
"""


@pytest.fixture
def braze() -> Iterator[tuple[str, Destination]]:
    with serving() as found:
        yield found


@pytest.fixture
def shop(project: Project, braze: tuple[str, Destination], monkeypatch: pytest.MonkeyPatch) -> Shop:
    monkeypatch.delenv("RFM_STORE_ROOT", raising=False)
    monkeypatch.setenv("DAGSTER_HOME", "")
    monkeypatch.setenv("BRAZE_API_KEY", SECRET)
    monkeypatch.chdir(Path.cwd())
    made = Shop(project)
    project.write(
        "everybody",
        "type: rfm_assets.components.CampaignListComponent\n"
        "attributes: {asset_name: everybody, segments: []}\n",
    )
    project.write("everybody_braze", EXPORT.replace("ADDRESS", braze[0]))
    result = made.run(SECOND)
    assert result.success, failure(result)
    return made


def rfm(shop: Shop, *words: str, to: str = "braze") -> Result:
    arguments = ["send", "everybody", "--to", to, "--project", str(shop.project.root), *words]
    return CliRunner().invoke(app, arguments, catch_exceptions=False)


def test_nothing_is_sent_without_yes_and_only_the_difference_with_it(
    shop: Shop, braze: tuple[str, Destination]
) -> None:
    _, server = braze
    told = json.loads(rfm(shop, "--plan", "--json").stdout)
    assert told == {
        "sent": False,
        "plan": {
            "add": 3,
            "remove": 0,
            "unchanged": 0,
            "refused before": 0,
            "suppressed since the list": 0,
            "set aside": 0,
            "cannot be removed": 0,
            "cost of adding": 0.03,
        },
    }
    assert "Nothing was sent" in rfm(shop).stdout
    assert server.requests == []

    assert json.loads(rfm(shop, "--yes", "--json").stdout)["result"] == {
        "added": 3,
        "removed": 0,
        "refused": 0,
        "requests": 1,
    }
    assert server.members == {"a", "c", "d"}

    again = json.loads(rfm(shop, "--yes", "--json").stdout)
    assert (again["plan"]["unchanged"], again["result"]["requests"]) == (3, 0)
    assert SECRET not in (shop.project.root / "data/exports/ledger.sqlite").read_text("latin-1")


MAILED = """
type: rfm_assets.components.CampaignExportComponent
attributes:
  asset_name: everybody_mailchimp
  campaign_list_asset_key: everybody
  destination: mailchimp
  contacts_asset_key: null
  contact_columns: {email: email}
  delivery_settings: {server: "ADDRESS/mailchimp", list_id: l1, segment_id: "7"}
"""


def test_whoever_is_suppressed_after_the_list_was_made_is_removed_though_the_list_has_the_address(
    shop: Shop, braze: tuple[str, Destination], monkeypatch: pytest.MonkeyPatch
) -> None:
    address, server = braze
    monkeypatch.setenv("MAILCHIMP_API_KEY", SECRET)
    shop.project.write(
        "customer_data",
        declared(
            "CustomerDataComponent",
            {
                "asset_name": "customer_data",
                "source": "{type: csv, path: customers.csv}",
                "columns": "{customer_id: id, attributes: {email: mail}}",
            },
        ),
    )
    mails = [f"{one},{one}@example.com" for one in "abcd"]
    (shop.project.root / "customers.csv").write_text("\n".join(["id,mail", *mails, ""]), "utf-8")
    shop.project.write(
        "customer_segments",
        FILES["customer_segments"].replace(
            "asset_name: customer_segments",
            "asset_name: customer_segments\n          customer_data_asset_key: customer_data",
        ),
    )
    attributes = {"asset_name": "everybody", "segments": "[]", "columns": "[email]"}
    shop.project.write("everybody", declared("CampaignListComponent", attributes))
    shop.project.write("everybody_braze", MAILED.replace("ADDRESS", address))
    result = shop.run(SECOND)
    assert result.success, failure(result)

    sent = json.loads(rfm(shop, "--yes", "--json", to="mailchimp").stdout)["result"]
    assert (sent["added"], server.members) == (3, {f"{one}@example.com" for one in "acd"})

    suppress(shop.store, date(2026, 3, 9), a="unsubscribed")
    told = json.loads(rfm(shop, "--yes", "--json", to="mailchimp").stdout)
    assert told["plan"]["suppressed since the list"] == 1
    assert told["plan"]["cannot be removed"] == 0
    assert (told["result"]["added"], told["result"]["removed"]) == (0, 1)
    assert server.members == {f"{one}@example.com" for one in "cd"}
    assert server.twice == []
    ledger = (shop.project.root / "data/exports/ledger.sqlite").read_text("latin-1")
    assert "example.com" not in ledger


def test_a_list_written_to_a_file_has_nobody_who_was_suppressed_since(
    shop: Shop, tmp_path: Path
) -> None:
    suppress(shop.store, date(2026, 3, 9), a="unsubscribed")
    asked = ["export", "everybody", "--project", str(shop.project.root)]
    ids, segments = tmp_path / "ids.csv", tmp_path / "segments.csv"
    for target, columns in ((ids, "customer_id"), (segments, "segment,as_of")):
        words = [*asked, "--to", str(target), "--columns", columns]
        told = CliRunner().invoke(app, words, catch_exceptions=False).stdout
        assert told.startswith("2 rows of everybody")
    lines = ids.read_text("utf-8").replace('"', "").splitlines()
    assert sorted(lines) == ["c", "customer_id", "d"]
    assert segments.read_text("utf-8").splitlines()[0] == '"segment","as_of"'


def test_what_cannot_be_sent_is_told(
    shop: Shop, braze: tuple[str, Destination], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BRAZE_API_KEY", "schlüssel")
    with pytest.raises(InvalidConfig, match="signs that cannot be sent") as raised:
        rfm(shop, "--yes")
    assert "schlüssel" not in str(raised.value)
    monkeypatch.delenv("BRAZE_API_KEY")
    with pytest.raises(InvalidConfig, match="BRAZE_API_KEY"):
        rfm(shop, "--yes")
    root = str(shop.project.root)
    with pytest.raises(InvalidConfig, match=r"LIST: 'everybdy' is no list .*everybody"):
        CliRunner().invoke(
            app,
            ["send", "everybdy", "--to", "braze", "--project", root],
            catch_exceptions=False,
        )
    assert rfm(shop, "--plan", "--yes").exit_code == 2
    assert stat.S_IMODE((shop.project.root / "data/exports/ledger.sqlite").stat().st_mode) == 0o600
    other = EXPORT.replace("ADDRESS", braze[0]).replace("rfm_campaigns", "elsewhere")
    shop.project.write("second", other.replace("everybody_braze", "second_braze"))
    with pytest.raises(InvalidConfig, match="said by two exports"):
        rfm(shop, "--yes")
    assert braze[1].requests == []
