"""The grid of all customers, the card of one, the grids of campaign lists, downloads of all rows."""

import csv
import io
import json
from pathlib import Path

import polars as pl
import pytest
from playwright.sync_api import expect

from rfm_assets import load_scheme
from rfm_assets_tests.serving.dashboard.browsing import IN_ONE_WORKER, Grid, Reader
from rfm_assets_tests.serving.stored import CAMPAIGNS, DATES, FIRST, FORMULAS, THIRD, Stored

pytestmark = IN_ONE_WORKER


@pytest.fixture(scope="module")
def now(stored: Stored) -> pl.DataFrame:
    """The customers of the newest date."""
    return pl.DataFrame(stored.rows("customer_segments"), infer_schema_length=None)


def test_the_grid_sorts_filters_and_ends(reader: Reader, now: pl.DataFrame) -> None:
    page = reader.open("customers")
    grid = Grid(page)
    assert grid.texts("customer_id", range(5)) == now["customer_id"].sort()[:5].to_list()
    grid.sort("monetary")
    grid.sort("monetary")
    dearest = now.sort("monetary", "customer_id", descending=[True, False])
    expect(grid.cell(0, "customer_id")).to_have_text(dearest["customer_id"][0])
    shown = [float(text.replace(",", "")) for text in grid.texts("monetary", range(5))]
    assert shown == pytest.approx(dearest["monetary"][:5].to_list(), abs=0.0051)
    expect(grid.end(len(now))).to_have_text(dearest["customer_id"][-1])

    grid.filter("monetary", "200", "Greater than or equal to")
    dear = dearest.filter(pl.col("monetary") >= 200)
    expect(grid.end(len(dear))).to_have_text(dear["customer_id"][-1])
    grid.filter("segment", "LOYAL")
    found = dear.filter(pl.col("segment").str.to_lowercase().str.contains("loyal"))
    expect(grid.cell(0, "customer_id")).to_have_text(found["customer_id"][0])
    expect(grid.end(len(found))).to_have_text(found["customer_id"][-1])


def test_a_quick_reader_sees_every_row(reader: Reader, now: pl.DataFrame) -> None:
    page = reader.open("customers")
    grid = Grid(page)
    ordered = now["customer_id"].sort()
    body = grid.root.locator(".ag-body-viewport")
    for share in (0.3, 0.55, 0.8, 0.55, 0.3):
        body.evaluate(f"one => {{ one.scrollTop = one.scrollHeight * {share}; }}")
        page.wait_for_timeout(60)
    seen = int(0.3 * len(now)) + 5
    # Each block is asked for alone: an answer that came late would fill another one's rows.
    for row in range(seen - 3, seen + 10):
        expect(grid.cell(row, "customer_id")).to_have_text(ordered[row])


def test_an_id_opens_the_card(reader: Reader, now: pl.DataFrame) -> None:
    page = reader.open("customers")
    grid = Grid(page)
    grid.cell(1, "customer_id").get_by_role("link").click()
    customer = now["customer_id"].sort()[1]
    reader.stands(f"Customer {customer}")
    assert reader.query == f"customer={customer}"
    row = now.row(by_predicate=pl.col("customer_id") == customer, named=True)
    figures = reader.figures()
    assert figures["Segment"][0] == row["segment"]
    assert figures["Recency"] == (
        f"{row['recency']} days",
        f"last bought {row['last_purchase_date']}",
    )
    assert figures["Frequency"][0] == str(row["frequency"])
    assert figures["Monetary"][0] == f"{row['monetary']:,.2f}"
    assert figures["Cell"][0] == row["rfm_cell"]
    expect(page.get_by_role("heading", name=f"Why {row['segment']}")).to_be_visible()
    content = page.locator("#content").inner_text()
    assert "decided:" in content
    for letter in "RFM":
        assert f"{letter}_score {row[f'{letter}_score']} of 5" in content
    history = reader.table("history")[1:]
    assert history[0][0] == str(THIRD)
    assert history[0][1:] == [
        row["segment"],
        row["rfm_cell"],
        str(row["recency"]),
        str(row["frequency"]),
        f"{row['monetary']:,.2f}",
    ]
    assert {line[1] for line in history} <= set(load_scheme().names)
    # FORMULAS: what a spreadsheet would run is a text like others on a page.
    reader.open(f"customers?customer={next(iter(FORMULAS))}", f"Customer {next(iter(FORMULAS))}")
    expect(page.get_by_text("=1+1", exact=True)).to_be_visible()
    page.get_by_role("link", name="← all customers").click()
    reader.stands("Customers")


def test_a_card_names_the_lists(reader: Reader, stored: Stored) -> None:
    member = stored.rows("champions")[0]
    page = reader.open(
        f"customers?customer={member['customer_id']}", f"Customer {member['customer_id']}"
    )
    expect(page.get_by_text(f"champions: on it, rank {member['rank']}")).to_be_visible()
    left_out = stored.rows("win_back", part="excluded")[0]
    reader.open(
        f"customers?customer={left_out['customer_id']}", f"Customer {left_out['customer_id']}"
    )
    told = f"win_back: left out at the stage {left_out['stage']} ({left_out['reason']})"
    expect(page.get_by_text(told)).to_be_visible()


def test_near_misses_are_told(reader: Reader, now: pl.DataFrame) -> None:
    page = reader.open("customers?customer=c0003", "Customer c0003")
    page.get_by_text("The rules that were tried, in order").click()
    tried = page.locator("ol.rules li")
    segment = now.row(by_predicate=pl.col("customer_id") == "c0003", named=True)["segment"]
    expect(tried.last).to_have_text(f"{segment}: matches")
    for text in tried.all_inner_texts()[:-1]:
        assert text.partition(": ")[2] != "matches"


def test_an_id_is_searched(reader: Reader) -> None:
    page = reader.open(f"customers?as_of={FIRST}")
    field = page.get_by_label("Customer", exact=True)
    field.fill("nobody & nothing")
    field.press("Enter")
    expect(page.get_by_role("alert")).to_contain_text(
        f"No customer 'nobody & nothing' as of {FIRST}. The grid below finds parts of an id."
    )
    field = page.get_by_label("Customer", exact=True)
    field.fill("c0009")
    field.press("Enter")
    reader.stands("Customer c0009")
    assert reader.query == f"as_of={FIRST}&customer=c0009"


def test_a_segment_is_chosen(reader: Reader, now: pl.DataFrame) -> None:
    page = reader.open("customers")
    reader.choose("Segment", "Lost")
    lost = now.filter(pl.col("segment") == "Lost").sort("customer_id")
    grid = Grid(page)
    expect(grid.cell(0, "customer_id")).to_have_text(lost["customer_id"][0])
    assert grid.texts("segment", range(len(lost))) == ["Lost"] * len(lost)
    assert reader.query == "segment=Lost"
    with page.expect_download() as started:
        page.get_by_role("link", name="as CSV").click()
    text = Path(started.value.path()).read_text(encoding="utf-8")
    assert [row["customer_id"] for row in csv.DictReader(io.StringIO(text))] == lost[
        "customer_id"
    ].to_list()
    reader.choose("Segment", "every segment")
    expect(Grid(page).cell(0, "customer_id")).to_have_text(now["customer_id"].min())


def test_all_rows_are_downloaded(reader: Reader, now: pl.DataFrame, tmp_path: Path) -> None:
    page = reader.open("customers")
    files = {}
    for label in ("CSV", "Parquet", "NDJSON"):
        with page.expect_download() as started:
            page.get_by_role("link", name=f"as {label}").click()
        download = started.value
        assert download.suggested_filename.startswith("customer_segments")
        files[label] = tmp_path / download.suggested_filename
        download.save_as(files[label])
    stored = now.sort("customer_id")
    parquet = pl.read_parquet(files["Parquet"]).select(stored.columns).sort("customer_id")
    assert parquet.to_dicts() == stored.to_dicts()
    lines = [json.loads(line) for line in files["NDJSON"].read_text("utf-8").splitlines()]
    assert [line["monetary"] for line in lines] == stored["monetary"].to_list()
    assert len(lines) == len(stored)
    rows = list(csv.DictReader(io.StringIO(files["CSV"].read_text("utf-8"))))
    assert [row["segment"] for row in rows] == stored["segment"].to_list()
    notes = {row["customer_id"]: row["note"] for row in rows}
    known = {name: note for name, note in FORMULAS.items() if name in notes}
    assert known
    assert {name: notes[name] for name in known} == {n: f"'{text}" for n, text in known.items()}


@pytest.mark.parametrize("name", CAMPAIGNS)
def test_a_list_has_its_waterfall_members_and_excluded(
    reader: Reader, stored: Stored, name: str
) -> None:
    page = reader.open("campaigns")
    # The longest list is shown where none is asked for.
    if name != max(CAMPAIGNS, key=lambda one: len(stored.rows(one))):
        reader.choose("List", name)
        expect(page.get_by_role("heading", name=f"On {name}, best first")).to_be_visible()
    members, left_out = stored.rows(name), stored.rows(name, part="excluded")
    control = stored.rows(name, part="control")
    audience = len(members) + len(control) + len(left_out)
    assert reader.finding("waterfall") == (
        f"{name}: {len(members)} customers can be contacted, "
        f"{100 * len(members) / audience:.1f} % of the audience"
    )
    stages = {row[0]: row[1:] for row in reader.table("waterfall")[1:]}
    everybody = len(stored.rows("customer_segments"))
    assert stages["segments"] == [str(everybody), str(everybody - audience), str(audience)]
    reasons = {row[0]: int(row[1]) for row in reader.table("reasons")[1:]}
    counted: dict[str, int] = {}
    for row in left_out:
        counted[row["reason"]] = counted.get(row["reason"], 0) + 1
    assert reasons == counted
    first = Grid(page, 0)
    best = sorted(members, key=lambda row: row["rank"])
    assert first.texts("customer_id", range(3)) == [row["customer_id"] for row in best[:3]]
    assert first.texts("rank", range(3)) == ["1", "2", "3"]
    number = 2 if control else 1
    page.locator(".grid").nth(number).scroll_into_view_if_needed()
    second = Grid(page, number)
    out = sorted(left_out, key=lambda row: row["customer_id"])
    assert second.texts("reason", range(3)) == [row["reason"] for row in out[:3]]
    outcomes = [row for day in DATES for row in stored.rows("campaign_outcome", as_of=day)]
    # Nothing is said of dates before the first list.
    own = [row for row in outcomes if row["campaign"] == name and row["list_as_of"] >= FIRST]
    assert reader.finding("outcomes") == (
        f"{name}, list of {own[-1]['list_as_of']}: {own[-1]['told']}"
    )
    table = reader.table("outcomes")[1:]
    assert [row[:2] for row in table] == [
        [str(row["list_as_of"]), row["verdict"]] for row in reversed(own)
    ]
    second.root.locator(".ag-row[row-index='0'] a").click()
    reader.stands(f"Customer {out[0]['customer_id']}")


def test_what_cannot_be_downloaded_is_not_found(reader: Reader) -> None:
    for path in (
        "nothing/rows.csv",
        "customer_segments/nothing.csv",
        "customer_segments/rows.exe",
        "customer_segments/rows.csv?as_of=2001-01-01",
        "customer_segments/rows.csv?as_of=soon",
    ):
        answer = reader.page.request.get(f"{reader.server.app}download/{path}")
        assert answer.status == 404, path
        assert "Traceback" not in answer.text()


def test_a_list_that_there_is_not_is_told(reader: Reader, stored: Stored) -> None:
    page = reader.open("campaigns?list=champion")
    expect(page.get_by_role("alert")).to_contain_text("There is no list 'champion' of this date")
    longest = max(CAMPAIGNS, key=lambda one: len(stored.rows(one)))
    expect(page.get_by_role("heading", name=f"On {longest}, best first")).to_be_visible()
