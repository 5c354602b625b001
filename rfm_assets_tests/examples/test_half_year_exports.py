"""Half a year of lists as a user gets them: by commands, into files, and sent to a destination.

Both the shipped deployment over its generated shop and the one over real orders. In each week everybody
is in one place, whoever is in control stays there, and nobody suppressed gets out: neither those who
were before a list was made, nor those who are after it.
"""

import csv
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path

import pytest

from rfm_assets import load_table
from rfm_assets.store import Store
from rfm_assets_tests.components.shop import declared, suppress
from rfm_assets_tests.daemon import home_for_tests
from rfm_assets_tests.examples.deployment import PROJECT, ROOT
from rfm_assets_tests.exports.server import SECRET, Destination, serving

pytestmark = [pytest.mark.online_retail, pytest.mark.slow]

WEEKS = 26
EXPERIMENTS = {"win_back": 20, "champions": 10}
"""The lists of the real orders' deployment, and their places in a group."""


@dataclass
class HalfYear:
    """A copy of a deployment after 26 weeks, and the destination that it sends to."""

    folder: Path
    environment: Mapping[str, str]
    server: Destination
    lists: Sequence[str]
    global_list: str

    @property
    def store(self) -> Store:
        return Store(self.folder / "data" / "store")

    def command(self, *words: str) -> str:
        done = subprocess.run(
            [str(Path(sys.executable).with_name(words[0])), *words[1:]],
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
        return done.stdout

    def customers(self, table: str, day: date, part: str = "rows") -> list[str]:
        frame = load_table(table, str(day), root=self.store.root, part=part, kind="pyarrow")
        return frame.column("customer_id").to_pylist()

    def exported(self, name: str, day: date, file: str | None = None) -> list[str]:
        folder = self.folder / "data" / "exports" / f"{name}_files" / str(day)
        with (folder / (file or f"{name}_csv_{day}.csv")).open(encoding="utf-8-sig") as lines:
            return [row["customer_id"] for row in csv.DictReader(lines)]

    def send(self) -> dict[str, dict[str, int]]:
        return json.loads(
            self.command("rfm", "send", "win_back", "--to", "braze", "--yes", "--json")
        )


def write(folder: Path, name: str, component: str, attributes: Mapping[str, object]) -> None:
    (folder / name).mkdir(exist_ok=True)
    (folder / name / "defs.yaml").write_text(declared(component, attributes), encoding="utf-8")


def shipped(folder: Path) -> Path:
    # The package's own definitions are those of the package's own folder.
    settings = (ROOT / "pyproject.toml").read_text("utf-8")
    settings = settings.replace('"rfm_assets.definitions"', '"definitions"')
    (folder / "pyproject.toml").write_text(settings, encoding="utf-8")
    shutil.copy(PROJECT / "definitions.py", folder)
    kept = shutil.ignore_patterns("__pycache__")
    return Path(shutil.copytree(ROOT / "component_defs", folder / "component_defs", ignore=kept))


def online_retail_project(folder: Path) -> Path:
    kept = shutil.ignore_patterns("data", ".dagster", "__pycache__")
    shutil.copytree(PROJECT, folder, ignore=kept, dirs_exist_ok=True)
    defs = folder / "online_retail"
    for name, priority in EXPERIMENTS.items():
        segments = "[Champions]" if name == "champions" else "[At Risk, Cannot Lose Them, Lost]"
        write(
            defs,
            name,
            "CampaignListComponent",
            {
                "asset_name": name,
                "segments": segments,
                "cool_off": "{days: 14}",
                "count_planned": "true",
                "control": f"{{share: 0.1, experiment: {name}_2011}}",
                "exclusive_group": f"{{name: all, priority: {priority}}}",
            },
        )
    return defs


@pytest.fixture(params=["shipped", "online_retail"])
def half_year(
    request: pytest.FixtureRequest, online_retail: Path, tmp_path: Path
) -> Iterator[HalfYear]:
    folder = tmp_path / "project"
    folder.mkdir()
    defs = shipped(folder) if request.param == "shipped" else online_retail_project(folder)
    lists = sorted(
        path.parent.name
        for path in defs.glob("*/defs.yaml")
        if "CampaignListComponent" in path.read_text(encoding="utf-8")
    )
    with serving() as (address, server):
        for name in lists:
            to_files = {"asset_name": f"{name}_files", "campaign_list_asset_key": name}
            to_files |= {"destination": "csv", "contacts_asset_key": "null"}
            if name == "reactivation":  # those who are lost are on the other list
                to_files["suppression_asset_keys"] = "[do_not_contact]"
            write(defs, f"{name}_files", "CampaignExportComponent", to_files)
        place = f'{{rest_endpoint: "{address}/braze", attribute: rfm_campaigns}}'
        braze = {"asset_name": "win_back_braze", "campaign_list_asset_key": "win_back"}
        braze |= {"destination": "braze", "contacts_asset_key": "null", "delivery_settings": place}
        write(defs, "win_back_braze", "CampaignExportComponent", braze)
        environment = {one: v for one, v in os.environ.items() if one != "RFM_STORE_ROOT"} | {
            "DAGSTER_HOME": home_for_tests(tmp_path / "home"),
            "RFM_ONLINE_RETAIL": str(online_retail),
            "PYTHONPATH": os.pathsep.join([str(folder), str(ROOT)]),
            "BRAZE_API_KEY": SECRET,
        }
        global_list = "do_not_contact" if request.param == "shipped" else "suppression_list"
        made = HalfYear(folder, environment, server, lists, global_list)
        made.command("rfm", "demo", "--weeks", str(WEEKS))
        yield made


def require_everybody_in_one_place(found: HalfYear, days: Sequence[date]) -> None:
    """Each week and list adds up, and who is in control was never on the list, nor the reverse."""
    for name in found.lists:
        held: set[str] = set()
        listed: set[str] = set()
        for day in days:
            manifest = found.store.snapshot(name, day).manifest
            (audience, *_) = (
                one["left"]
                for one in reversed(manifest.extra["waterfall"])
                if one["stage"] in {"all customers", "segments", "where"}
            )
            places = {part: found.customers(name, day, part) for part in manifest.row_counts}
            everybody = [one for ids in places.values() for one in ids]
            assert len(everybody) == len(set(everybody)) == audience, (name, day)
            assert set(everybody) <= set(found.customers("customer_segments", day))
            held |= set(places.get("control", []))
            listed |= set(places["rows"])
            heeded = {"do_not_contact", "suppression_list"} & set(manifest.inputs)
            assert found.global_list in heeded
            for list_ in heeded:
                gone = set(found.customers(list_, day))
                assert not gone & {*places["rows"], *places.get("control", [])}, (name, day)
        assert listed
        assert not held & listed, name
    assert found.customers("win_back", days[-1], "control")


def test_nobody_suppressed_gets_out_and_everybody_is_in_one_place(half_year: HalfYear) -> None:
    found = half_year
    days = found.store.dates("customer_segments")
    assert len(days) == WEEKS
    require_everybody_in_one_place(found, days)
    before = {(n, day): found.customers(n, day) for n in found.lists for day in days}
    for (name, day), members in before.items():
        require_files_that_add_up(found, name, day, members)
    assert found.send()["result"]["added"] == len(before["win_back", days[-1]])
    assert found.server.members <= set(before["win_back", days[-1]])

    # Of each list, every third who was ever on it.
    unwanted = {one for ids in before.values() for one in ids[::3]}
    after = days[-1] + timedelta(weeks=1)
    suppress(found.store, after, table=found.global_list, **dict.fromkeys(unwanted, "objected"))
    first, last = (day - timedelta(weeks=1) for day in (days[0], days[-1]))
    files = " or ".join(f"key:{name}_files" for name in found.lists)
    found.command("dg", "launch", "--assets", files, "--partition-range", f"{first}...{last}")

    for (name, day), members in before.items():
        require_files_that_add_up(found, name, day, members)
        assert not unwanted & set(found.exported(name, day)), (name, day)
    told = found.send()
    newest = set(before["win_back", days[-1]])
    assert told["result"]["removed"] == len(newest & unwanted) > 0
    assert told["result"]["added"] == 0
    assert found.server.members == newest - unwanted
    assert found.send()["result"]["requests"] == 0
    assert found.server.twice == []

    target = found.folder / "win_back.csv"
    found.command("rfm", "export", "win_back", "--to", str(target), "--columns", "rank,customer_id")
    with target.open(encoding="utf-8") as lines:
        assert {row["customer_id"] for row in csv.DictReader(lines)} == newest - unwanted


def require_files_that_add_up(
    found: HalfYear, name: str, day: date, members: Sequence[str]
) -> None:
    """The three files of an export hold the members of the list, each once."""
    places = [found.exported(name, day, file) for file in (None, "rejects.csv", "suppressed.csv")]
    everybody = [one for ids in places for one in ids]
    assert sorted(everybody) == sorted(members), (name, day)
