"""Stores that are empty, incomplete, hostile or replaced under the reader; files; settings."""

import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from datetime import date
from pathlib import Path
from typing import Any

import polars as pl
from playwright.sync_api import expect

from rfm_assets.domain.schemes import Rule, Scheme, Segment
from rfm_assets.domain.summaries import SummaryConfig, segment_summary
from rfm_assets.engines.duckdb_engine import DuckDBEngine
from rfm_assets.manifest import Manifest
from rfm_assets.serving.settings import ServingSettings
from rfm_assets.store import Store
from rfm_assets_tests.serving.dashboard.browsing import (
    IN_ONE_WORKER,
    Grid,
    Reader,
    process,
    thread,
)

pytestmark = IN_ONE_WORKER

DAY = date(2026, 3, 2)
COMPONENTS = {
    "": "SegmentSummaryComponent",
    "segments": "CustomerSegmentationComponent",
    "explore": "CustomerSegmentationComponent",
    "movement": "SegmentMovementComponent",
    "customers": "CustomerSegmentationComponent",
    "campaigns": "CampaignListComponent",
    "behavior": "BehaviorAnalysisComponent",
    "clusters": "BehavioralSegmentsComponent",
}


def customers(
    root: Path, segments: Sequence[str], *, as_of: date = DAY, ids: Sequence[str] | None = None
) -> Store:
    """A store of segments and their summary, with one customer for each of `segments`."""
    names = sorted(set(segments))
    scheme = Scheme(
        id="own",
        title="Own",
        segments=tuple(
            Segment(id=f"s{i}", name=name, color=f"#1{i}7ed6", recommendation=name)
            for i, name in enumerate(names)
        ),
        rules=tuple(Rule(segment=f"s{i}") for i in range(len(names))),
    )
    store = Store(root)
    rows = pl.DataFrame(
        {
            "as_of": [as_of] * len(segments),
            "customer_id": list(ids or [f"c{i:03}" for i in range(len(segments))]),
            "segment": list(segments),
            "recency": [10 + i for i in range(len(segments))],
            "frequency": [1 + i % 4 for i in range(len(segments))],
            "monetary": [100.0 + i for i in range(len(segments))],
        }
    )
    with DuckDBEngine() as engine:
        table = engine.from_native(rows)
        with store.stage("customer_segments", as_of) as staging:
            count = engine.write_parquet(table, staging.path_for(), sort_by=["customer_id"])
            extra = {"scheme": scheme.model_dump(mode="json")}
            staging.promote(
                Manifest(kind="customer_segments", row_counts={"rows": count}, extra=extra)
            )
        summary = segment_summary(table, None, as_of=as_of, scheme=scheme, config=SummaryConfig())
        with store.stage("segment_summary", as_of) as staging:
            count = engine.write_parquet(
                engine.from_native(summary), staging.path_for(), sort_by=["segment"]
            )
            staging.promote(Manifest(kind="segment_summary", row_counts={"rows": count}))
    return store


def test_an_empty_store_says_what_to_add(reading: Callable[..., Reader], tmp_path: Path) -> None:
    with thread(Store(tmp_path / "store"), tmp_path) as (server, queries):
        reader = reading(server)
        for path, component in COMPONENTS.items():
            page = reader.open(path)
            expect(page.get_by_role("alert")).to_contain_text(f"Add a {component} to the project")
            expect(page.locator("#as-of")).to_be_empty()
        reader.open("quality")
        assert reader.finding("checks") == "No check was made"
        # What is stored meanwhile is there without a restart.
        customers(tmp_path / "store", ["New", "Old"])
        queries.catalogue.forget()
        reader.open()
        assert reader.figures()["Customers"][0] == "2"
        reader.leave()


def test_a_page_without_its_table_says_what_to_add(
    reading: Callable[..., Reader], tmp_path: Path
) -> None:
    store = customers(tmp_path / "store", ["New", "Old"])
    with thread(store, tmp_path) as (server, _):
        reader = reading(server)
        for path in ("campaigns", "behavior", "clusters"):
            page = reader.open(path)
            expect(page.get_by_role("alert")).to_contain_text(COMPONENTS[path])
        reader.open()
        assert reader.figures()["Checks"] == ("none", "nothing was checked")
        # There is one date and no movement: what can be shown is.
        reader.open("movement")
        assert reader.finding("over-time") == "There is one snapshot only"
        reader.leave()


def test_a_hostile_segment_is_a_text(reading: Callable[..., Reader], tmp_path: Path) -> None:
    name, formula = "<script>alert(1)</script> & b = 100 %", "=1+1"
    hostile = ["<img src=x onerror=alert(2)>", "c&customer=1", "=2+2"]
    store = customers(tmp_path / "store", [name, name, formula], ids=hostile)
    with thread(store, tmp_path) as (server, _):
        reader = reading(server)
        dialogs: list[str] = []
        reader.page.on("dialog", lambda one: (dialogs.append(one.message), one.dismiss()))
        page = reader.open()
        assert reader.finding("shares").startswith(f"{name} is the largest segment")
        assert any(one.startswith(f"{name} bring") for one in reader.notes())
        shares = reader.table("shares")[1:]
        assert [row[:2] for row in shares] == [[name, "2"], [formula, "1"]]
        assert [row[0] for row in reader.csv("shares")[1:]] == [name, f"'{formula}"]
        reader.open("segments")
        expect(page.get_by_role("button", name=f"{name}: {name}")).to_be_visible()
        reader.open("explore")
        expect(page.locator("#card-scatter .legendtext").first).to_be_visible()
        reader.open("customers")
        reader.choose("Segment", name)
        grid = Grid(page)
        expect(grid.root.locator(".ag-center-cols-container .ag-row")).to_have_count(2)
        assert grid.texts("segment", range(2)) == [name] * 2
        link = page.get_by_role("link", name="as NDJSON").get_attribute("href")
        text = page.request.get(f"{server.url}{link}").text()
        assert len(text.splitlines()) == 2
        ids = grid.texts("customer_id", range(2))
        assert sorted(ids) == sorted(hostile[:2])
        for number, customer in enumerate(ids):
            expect(Grid(page).cell(number, "customer_id")).to_have_text(customer)
            grid.cell(number, "customer_id").get_by_role("link").click()
            reader.stands(f"Customer {customer}")
            page.go_back()
            reader.stands("Customers")
        assert dialogs == []
        reader.leave()


def test_a_replaced_snapshot_keeps_the_open_page(
    reading: Callable[..., Reader], tmp_path: Path
) -> None:
    store = customers(tmp_path / "store", ["Old"] * 350)
    with thread(store, tmp_path) as (server, queries):
        reader = reading(server)
        page = reader.open("customers")
        grid = Grid(page)
        customers(tmp_path / "store", ["New"] * 250)
        queries.catalogue.forget()
        # The open grid stays on the version that it began with.
        grid.end(350)
        expect(grid.cell(349, "segment")).to_have_text("Old")
        # Once that version is swept, the page says so and what to do.
        current = store.current_version("customer_segments", DAY)
        for one in (store_folder := tmp_path / "store" / "customer_segments").glob("as_of=*/2*"):
            if one.name != current:
                shutil.rmtree(one)
        assert len(list(store_folder.glob("as_of=*/2*"))) == 1
        grid.sort("monetary")
        expect(page.locator("#grid-note")).to_contain_text("Load the page anew")
        page.reload()
        expect(Grid(page).cell(0, "segment")).to_have_text("New")
        expect(page.locator("#grid-note")).to_be_empty()
        reader.leave()


def test_names_and_colours_of_the_settings_are_shown(
    reading: Callable[..., Reader], tmp_path: Path
) -> None:
    store = customers(tmp_path / "store", ["Best", "Best", "Worst"])
    settings = ServingSettings(
        segment_names={"Best": "Gold"}, segment_colors={"Best": "#ABCDEF", "Worst": "#123456"}
    )
    with thread(store, tmp_path, settings) as (server, _):
        reader = reading(server)
        page = reader.open()
        assert reader.finding("shares").startswith("Gold is the largest segment")
        assert any(one.startswith("Gold bring") for one in reader.notes())
        bars = page.locator("#card-shares .bars .point path")
        expect(bars).to_have_count(2)
        fills = bars.evaluate_all("all => all.map(one => one.style.fill)")
        assert sorted(fills) == ["rgb(171, 205, 239)", "rgb(18, 52, 86)"]
        reader.open("customers")
        reader.choose("Segment", "Gold")
        page.wait_for_url("**segment=Best*")
        Grid(page).cell(0, "customer_id").get_by_role("link").click()
        reader.stands("Customer c000")
        assert reader.figures()["Segment"][0] == "Gold"
        reader.leave()


FILE = """CustomerID,Recency,Frequency,Monetary,Cluster
12346,325,1,77183.6,3
12347.0,2,7,4310.00,1
12348,75,4,1797.24,0
12349,19,1,1757.55,0
"""


def test_a_file_of_clustered_customers_opens(
    reading: Callable[..., Reader], tmp_path: Path
) -> None:
    (tmp_path / "RFM_Clustered.csv").write_text(FILE, encoding="utf-8")
    (tmp_path / "serving.yaml").write_text(
        'segment_names: {"0": Regulars}\nsegment_colors: {"Cluster 3": "#ABCDEF"}\n',
        encoding="utf-8",
    )
    with process(tmp_path / "log.txt", "RFM_Clustered.csv") as server:
        reader = reading(server)
        page = reader.open()
        figures = reader.figures()
        assert figures["Customers"][0] == "4"
        assert figures["Net spend"][0] == "85,048"
        assert figures["Mean spend"][0] == "21,262.10"
        assert figures["Mean purchases"][0] == "3.25"
        assert figures["Checks"][0] == "none"
        shares = {row[0]: row[1:3] for row in reader.table("shares")[1:]}
        assert shares["Regulars"] == ["2", "50.0"]
        assert reader.finding("value") == (
            "Cluster 3: 25.0 % of the customers bring 90.8 % of the spend"
        )
        reader.open("segments")
        compared = {row[0]: row[1:] for row in reader.table("comparison")[1:]}
        assert compared["Regulars"][:2] == ["2", "50.0"]
        assert "3,554.79" in compared["Regulars"]
        page.goto(f"{server.app}explore")
        expect(page.locator("#card-scatter .legendtext")).to_have_count(3)
        reader.choose("Up", "purchases")
        expect(page.locator("#card-scatter .ytitle")).to_have_text("purchases")
        reader.open("customers?customer=12347", "Customer 12347")
        assert reader.figures()["Monetary"][0] == "4,310.00"
        reader.open("quality")
        reader.leave()


def test_a_bad_file_is_told_and_nothing_is_served(tmp_path: Path) -> None:
    (tmp_path / "bad.csv").write_text(FILE.replace("1797.24", "much"), encoding="utf-8")
    for name, told in (("bad.csv", "first in line 4"), ("nothing.csv", "bad.csv")):
        ended: Any = subprocess.run(
            [sys.executable, "-c", "from rfm_assets.cli import main; main()", "serve", name],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        assert ended.returncode != 0
        assert told in " ".join((ended.stdout + ended.stderr).split())
        assert "Traceback" not in ended.stderr
