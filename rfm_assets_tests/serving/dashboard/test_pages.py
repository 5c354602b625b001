"""Every page in a browser: by click and by address, with the numbers of the store."""

from datetime import date
from typing import Any

import polars as pl
import pytest
from playwright.sync_api import expect

from rfm_assets_tests.serving.dashboard.browsing import IN_ONE_WORKER, PAGES, Reader, Server
from rfm_assets_tests.serving.stored import FIRST, SECOND, THIRD, Stored

pytestmark = IN_ONE_WORKER


def frame(stored: Stored, table: str, as_of: date = THIRD, **options: Any) -> pl.DataFrame:
    """A stored table."""
    return pl.DataFrame(stored.rows(table, as_of=as_of, **options), infer_schema_length=None)


def one_decimal(value: float) -> str:
    return f"{value:,.1f}"


def test_every_page_opens_by_a_click(reader: Reader) -> None:
    page = reader.open()
    for path, heading in list(PAGES.items())[1:] + list(PAGES.items())[:1]:
        page.get_by_role("navigation", name="Pages").get_by_role("link", name=heading).click()
        reader.stands(heading)
        assert page.url == reader.server.app + path
        expect(page).to_have_title(f"{heading} – rfm_assets")
        current = page.locator("nav [aria-current=page]")
        expect(current).to_have_text(heading)


def test_the_overview_has_the_figures_of_the_store(reader: Reader, stored: Stored) -> None:
    now, before = (frame(stored, "customer_segments", day) for day in (THIRD, SECOND))
    reader.open()
    figures = reader.figures()
    assert figures["Customers"] == (
        f"{len(now):,}",
        f"{len(now) - len(before):+,} since {SECOND}",
    )
    spent, spent_before = now["monetary"].sum(), before["monetary"].sum()
    assert figures["Net spend"] == (
        f"{spent:,.0f}",
        f"{spent - spent_before:+,.0f} since {SECOND}",
    )
    mean, mean_before = now["monetary"].mean(), before["monetary"].mean()
    assert isinstance(mean, float)
    assert isinstance(mean_before, float)
    assert figures["Mean spend"] == (f"{mean:,.2f}", f"{mean - mean_before:+,.2f} since {SECOND}")
    assert figures["Mean purchases"][0] == f"{now['frequency'].mean():,.2f}"
    assert figures["Checks"][0] == "all passed"
    sizes = now["segment"].value_counts(sort=True)
    largest, share = sizes["segment"][0], 100 * sizes["count"][0] / len(now)
    assert reader.finding("shares").startswith(
        f"{largest} is the largest segment, with {share:.1f} % of the customers"
    )
    by_value = now.group_by("segment").agg(pl.col("monetary").sum(), pl.len()).sort("monetary")
    top = by_value.row(-1, named=True)
    assert reader.finding("value") == (
        f"{top['segment']}: {100 * top['len'] / len(now):.1f} % of the customers bring "
        f"{100 * top['monetary'] / spent:.1f} % of the spend"
    )
    notes = reader.notes()
    gone = len(set(before["customer_id"]) - set(now["customer_id"]))
    came = len(set(now["customer_id"]) - set(before["customer_id"]))
    assert f"{came} customers came in, {gone} left." in notes
    members, control, left_out = (
        len(frame(stored, "champions", part=part)) for part in ("rows", "control", "excluded")
    )
    assert (
        f"champions: {members} customers can be contacted, {control} are in control, "
        f"{left_out} are left out."
    ) in notes


def test_a_note_leads_to_where_more_is_seen(reader: Reader) -> None:
    page = reader.open(f"?as_of={THIRD}")
    page.locator(".notes a", has_text="win_back").click()
    reader.stands("Campaigns")
    assert dict(part.split("=") for part in reader.query.split("&")) == {
        "list": "win_back",
        "as_of": str(THIRD),
    }
    expect(page.get_by_role("heading", name="On win_back, best first")).to_be_visible()


def test_a_chosen_snapshot_stays_chosen(reader: Reader, stored: Stored) -> None:
    first, third = (len(frame(stored, "customer_segments", day)) for day in (FIRST, THIRD))
    assert first != third
    page = reader.open()
    reader.choose("Snapshot, as of", str(FIRST))
    customers = page.locator(".stat", has_text="Customers").locator(".stat-value")
    expect(customers).to_have_text(f"{first:,}")
    assert reader.query == f"as_of={FIRST}"
    page.reload()
    expect(customers).to_have_text(f"{first:,}")
    assert "This is the first snapshot" in reader.notes()[0]
    page.get_by_role("link", name="Segments", exact=True).click()
    reader.stands("Segments")
    assert reader.query == f"as_of={FIRST}"
    shares = reader.table("treemap")[1:]
    sizes = frame(stored, "customer_segments", FIRST)["segment"].value_counts()
    assert {row[0]: row[1] for row in shares} == {name: str(n) for name, n in sizes.iter_rows()}
    page.go_back()
    page.go_back()
    expect(customers).to_have_text(f"{third:,}")
    assert reader.query == ""


def test_a_date_without_a_snapshot_is_told(reader: Reader) -> None:
    page = reader.open("?as_of=2001-01-01")
    expect(page.get_by_role("alert")).to_contain_text("There is no snapshot of 2001-01-01")
    page = reader.open("segments?as_of=yesterday")
    expect(page.get_by_role("alert")).to_contain_text("yesterday is no date")


def test_segments_are_compared_by_stored_figures(reader: Reader, stored: Stored) -> None:
    now = frame(stored, "customer_segments")
    page = reader.open("segments")
    grid = {(row[0], row[1]): row[2] for row in reader.table("score-grid")[1:]}
    counted = now.group_by("R_score", "F_score").len()
    assert grid == {(str(r), str(f)): str(n) for r, f, n in counted.iter_rows()}
    means = {row[0]: (row[1], row[4], row[6]) for row in reader.table("comparison")[1:]}
    grouped = now.group_by("segment").agg(
        pl.len(), pl.col("monetary").sum().alias("sum"), pl.col("monetary").mean()
    )
    for segment, *expected in grouped.iter_rows():
        shown = [float(text.replace(",", "")) for text in means[segment]]
        assert shown == pytest.approx(expected, abs=0.0051)
    risky = frame(stored, "churn_aware_segments")
    share = 100 * risky["churn_risk_level"].is_in(["High", "Critical"]).sum() / len(risky)
    assert reader.finding("risk").startswith(f"{share:.1f} % of the customers")
    page.get_by_role("button", name="At Risk:").click()
    page.get_by_role("link", name="The customers of At Risk").click()
    reader.stands("Customers")
    assert reader.query == "segment=At+Risk"


def test_axes_are_chosen_on_explore(reader: Reader, stored: Stored) -> None:
    page = reader.open("explore")
    title = "els => els.map(e => e.textContent)"
    scatter = reader.card("scatter")
    reader.choose("Across", "purchases")
    expect(scatter.locator(".xtitle")).to_have_text("purchases")
    assert reader.query == "x=frequency"
    # A reader hears of the switch by its label, and sees the label beside it.
    page.locator("label", has_text="Logarithmic up").click()
    page.wait_for_url("**logy=0*")
    page.locator("label", has_text="Logarithmic across").click()
    page.wait_for_url("**logx=1*")
    page.reload()
    reader.stands("Explore")
    ticks = scatter.locator(".xtick text")
    expect(ticks.first).to_be_visible()
    assert {"1", "2", "5"} <= set(ticks.evaluate_all(title))
    expect(page.get_by_role("switch", name="Logarithmic up")).not_to_be_checked()
    expect(page.get_by_role("switch", name="Logarithmic across")).to_be_checked()
    now = frame(stored, "customer_segments")
    medians = now.group_by("segment").agg(pl.col("recency").median())
    shown = {row[0]: row[4] for row in reader.table("box-recency")[1:]}
    assert shown == {name: f"{value:,.2f}" for name, value in medians.iter_rows()}


def moved(stored: Stored, since: date) -> dict[tuple[str, str], int]:
    """Customers by segment then and segment in the last week."""
    now, before = (frame(stored, "customer_segments", day) for day in (THIRD, since))
    pairs = before.select("customer_id", pl.col("segment").alias("was")).join(
        now.select("customer_id", "segment"), on="customer_id", how="full", coalesce=True
    )
    counted = pairs.with_columns(
        pl.col("was").fill_null("(new)"), pl.col("segment").fill_null("(left)")
    )
    return {(a, b): n for a, b, n in counted.group_by("was", "segment").len().iter_rows()}


def test_movement_adds_up(reader: Reader, stored: Stored) -> None:
    reader.open("movement")
    expected = moved(stored, SECOND)
    rows = reader.table("matrix")[1:]
    assert {(row[0], row[1]): int(row[2]) for row in rows} == expected
    stayed = sum(n for (a, b), n in expected.items() if a == b)
    everybody = sum(n for (a, _), n in expected.items() if a != "(new)")
    assert reader.finding("matrix") == (
        f"{100 * stayed / everybody:.1f} % of {everybody} customers stayed where they were"
    )
    largest = max(n for (a, b), n in expected.items() if a != b)
    assert reader.finding("flows").startswith(f"The largest move: {largest} customers from")
    over_time = reader.table("over-time")
    sums = {row[0]: sum(map(int, row[1:])) for row in over_time[1:]}
    days = (FIRST, SECOND, THIRD)
    assert sums == {str(day): len(frame(stored, "customer_segments", day)) for day in days}


def test_movement_since_any_snapshot(reader: Reader, stored: Stored) -> None:
    page = reader.open("movement")
    reader.choose("Since", str(FIRST))
    expect(page.locator(".page-about")).to_have_text(f"From {FIRST} to {THIRD}")
    assert reader.query == f"since={FIRST}"
    expected = moved(stored, FIRST)
    rows = reader.table("matrix")[1:]
    assert {(row[0], row[1]): int(row[2]) for row in rows} == expected
    figures = reader.figures()
    stayed = sum(n for (a, b), n in expected.items() if a == b)
    everybody = sum(n for (a, _), n in expected.items() if a != "(new)")
    assert figures["Stayed"] == (
        f"{100 * stayed / everybody:.1f} %",
        f"{stayed} of {everybody} customers",
    )
    assert figures["New"][0] == str(sum(n for (a, _), n in expected.items() if a == "(new)"))
    assert figures["Left"][0] == str(sum(n for (_, b), n in expected.items() if b == "(left)"))
    risks = reader.page.request.get(
        f"{reader.server.url}/api/v1/history/movement?from={FIRST}&to={THIRD}"
    ).json()["at_risk"]
    before, now = (sum(one[side] for one in risks) for side in ("monetary_before", "monetary_now"))
    assert figures["Value at risk"][0] == f"{before:,.0f} → {now:,.0f}"
    likely = reader.page.request.get(f"{reader.server.url}/api/v1/history/transitions").json()
    assert {(row[0], row[1]): (row[2], row[3]) for row in reader.table("steps")[1:]} == {
        (one["from_segment"], one["to_segment"]): (
            str(one["customers"]),
            one_decimal(100 * one["probability"]),
        )
        for one in likely["transitions"]
    }
    assert "Counted over 2 steps" in reader.card("steps").inner_text()
    assert reader.finding("normal").startswith("Too few snapshots to say what is normal")
    # A date that is not before the shown one is told, and the week before is shown instead.
    reader.load(f"movement?since={THIRD}")
    expect(page.get_by_role("alert")).to_contain_text(f"There is no snapshot of {THIRD} before")
    expect(page.locator(".page-about")).to_have_text(f"From {SECOND} to {THIRD}")


def test_time_in_segment_is_shown_where_it_is_asked_for(reader: Reader) -> None:
    page = reader.open("movement")
    expect(page.locator("#card-stays")).to_have_count(0)
    page.locator("label", has_text="Time in segment").click()
    expect(page.locator("#card-stays")).to_be_visible()
    assert reader.query == "stays=1"
    said = page.request.get(f"{reader.server.url}/api/v1/history/stays").json()["segments"]
    assert reader.table("stays")[1:] == [
        [
            one["segment"],
            str(one["customers"]),
            one_decimal(one["mean_weeks"]),
            one_decimal(one["median_weeks"]),
            str(one["at_least"]),
        ]
        for one in said
    ]


def test_who_bought_again_is_shown_where_it_is_asked_for(reader: Reader) -> None:
    page = reader.open("movement")
    expect(page.locator("#card-cohorts")).to_have_count(0)
    page.locator("label", has_text="By first purchase").click()
    expect(page.locator("#card-cohorts")).to_be_visible()
    assert reader.query == "cohorts=1"
    said = page.request.get(f"{reader.server.url}/api/v1/history/cohorts").json()["cohorts"]
    bought = {(one["cohort"], str(one["month"])): one["buyers"] for one in said}
    rows = reader.csv("cohorts")[1:]
    # Months in which nobody bought stand there with 0.
    assert {(row[0], row[1]): int(row[3]) for row in rows if int(row[3])} == {
        place: buyers for place, buyers in bought.items() if buyers
    }
    for cohort in {row[0] for row in rows}:
        months = [int(row[1]) for row in rows if row[0] == cohort]
        assert months == list(range(len(months)))


def test_behaviour_is_chosen_by_analysis(reader: Reader, stored: Stored) -> None:
    page = reader.open("behavior")
    assert reader.figures()["Customers"][0] == str(len(frame(stored, "customer_behavior")))
    reader.choose("Analysis", "customer_behavior_south")
    south = frame(stored, "customer_behavior_south")
    fired = frame(stored, "customer_behavior_south", part="signals")
    expect(page.locator(".stat-value").first).to_have_text(str(len(south)))
    figures = reader.figures()
    assert figures["With a score"][0] == str(south["behavior_score"].count())
    assert figures["Mean score"][0] == one_decimal(float(south["behavior_score"].mean()))  # type: ignore[arg-type]
    assert figures["Signals that fired"][0] == str(len(fired))
    by_signal = {row[1].replace(" ", "_"): row[3] for row in reader.table("signals")[1:]}
    counted = {name: str(n) for name, n in fired["signal"].value_counts().iter_rows()}
    assert {name.replace(" ", "_"): n for name, n in by_signal.items() if n != "0"} == counted


def test_clusters_have_the_sizes_of_the_table(reader: Reader, stored: Stored) -> None:
    reader.open("clusters")
    rows = frame(stored, "behavioral_segments")
    assert reader.figures()["Customers"][0] == str(len(rows))
    sizes = {row[1]: row[2] for row in reader.table("cluster-sizes")[1:]}
    assert sizes == {str(name): str(n) for name, n in rows["cluster"].value_counts().iter_rows()}
    both = rows.join(frame(stored, "customer_segments"), on="customer_id", suffix="_rules")
    crossed = {(row[0], row[1]): row[2] for row in reader.table("crossed")[1:]}
    counted = both.group_by("segment", "segment_rules").len()
    assert crossed == {(a, b): str(n) for a, b, n in counted.iter_rows()}


def test_quality_shows_checks_and_a_chosen_candidate(reader: Reader, stored: Stored) -> None:
    page = reader.open("quality")
    data = stored.store.snapshot("transaction_data", None)
    fates = dict(reader.table("fates-transaction_data")[1:])
    assert fates["read"] == f"{data.manifest.counts['rows_in']:,}"
    assert fates["kept"] == f"{data.manifest.row_counts['rows']:,}"
    checks = reader.table("checks")
    assert checks[1][2] == "warning"
    validated = frame(stored, "segment_validation")
    names = sorted(validated["candidate"].unique())
    assert len(names) > 0
    for name in names:
        own = validated.filter(pl.col("candidate") == name)
        if len(names) > 1:
            reader.choose("Validated segments", name)
        best = own.sort("repurchase_rate", "segment").row(-1, named=True)
        finding = f"{100 * best['repurchase_rate']:.1f} % of {best['segment']} bought again"
        expect(reader.card("repurchase").locator("h2")).to_contain_text(finding)
    expect(page.locator("#card-validation")).to_contain_text("told best who would buy again")


@pytest.mark.parametrize("path", PAGES)
def test_a_page_is_its_address(reader: Reader, path: str) -> None:
    reader.load(path)
    reader.stands(PAGES[path])
    page = reader.page
    drawn = page.locator("#content .js-plotly-plot, #content .grid, #content table")
    expect(drawn.first).to_be_visible()
    keys = reader.keys()
    assert len(set(keys)) == len(keys)
    assert (len(keys) > 0) == (path != "customers")
    for key in keys:
        a_table_and_its_download_say_the_same(reader, key)
    # What nobody chose is not in the address, so that the way back is open.
    assert page.url == reader.server.app + path
    assert reader.made <= 2, "one for the page before"


def a_table_and_its_download_say_the_same(reader: Reader, key: str) -> None:
    table, file = reader.table(key), reader.csv(key)
    assert table[0] == file[0], key
    assert len(file) > 1, key
    assert len(table) == min(len(file), 102), key
    for seen, written in zip(table[1:101], file[1:101], strict=True):
        for text, cell in zip(seen, written, strict=True):
            assert same(text, cell), (key, text, cell)
            assert not cell.startswith(("=", "@", "+", "\t")), (key, cell)


def same(text: str, cell: str) -> bool:
    """Whether a cell is shown so."""
    if text == "–":
        return cell == ""
    try:
        number = float(cell)
    except ValueError:
        return text == cell
    plain = text.replace(",", "").removesuffix(" %")
    decimals = len(plain.partition(".")[2])
    return plain == f"{number:.{decimals}f}"


def test_an_unknown_page_says_so(reader: Reader) -> None:
    page = reader.open("nothing", heading="Not found")
    expect(page.get_by_role("alert")).to_contain_text("There is no page 'nothing'")


def test_the_start_leads_to_the_dashboard(reader: Reader, server: Server) -> None:
    reader.page.goto(server.url)
    reader.stands("Overview")
