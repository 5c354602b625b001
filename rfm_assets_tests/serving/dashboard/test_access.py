"""For everybody: by keyboard, with a screen reader, on a phone, in the dark."""

from collections.abc import Callable
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect

from rfm_assets_tests.serving.dashboard.browsing import (
    IN_ONE_WORKER,
    PAGES,
    Grid,
    Reader,
    Server,
)

pytestmark = IN_ONE_WORKER

GRAVE = {"serious", "critical"}
PHONE = {"width": 390, "height": 844}


def violations(page: Page, **options: Any) -> list[str]:
    """What axe finds that keeps people out."""
    found = Axe().run(page, options=options).response["violations"]
    return [
        f"{one['id']}: {one['nodes'][0]['html'][:200]}" for one in found if one["impact"] in GRAVE
    ]


def narrow(page: Page) -> None:
    """Wait until the page does not scroll sideways: figures take a moment to be drawn anew."""
    page.wait_for_function("document.documentElement.scrollWidth <= window.innerWidth")


@pytest.mark.parametrize(
    "path", [*PAGES, "movement?stays=1&cohorts=1", "customers?customer=c0003", "nothing"]
)
def test_a_page_keeps_nobody_out(reader: Reader, path: str) -> None:
    heading = {"nothing": "Not found", "customers?customer=c0003": "Customer c0003"}.get(path)
    page = reader.open(path, heading)
    # A grid takes a moment to be there, and another to put its header together.
    for _ in range(10):
        for number in range(page.locator(".grid").count()):
            Grid(page, number)
        if not (found := violations(page)):
            break
        page.wait_for_timeout(300)
    assert found == []
    page.emulate_media(color_scheme="dark")
    expect(page.locator("html")).to_have_attribute("data-mantine-color-scheme", "dark")
    assert violations(page, runOnly=["color-contrast"]) == []
    page.set_viewport_size(PHONE)
    expect(page.get_by_role("button", name="Navigation")).to_be_visible()
    narrow(page)


def focused(page: Page) -> str:
    """What has the focus, in words."""
    return page.evaluate(
        """() => { const e = document.activeElement;
        return [e.getAttribute('role') || e.tagName.toLowerCase(), e.className.split(' ')[0],
                (e.getAttribute('aria-label') || e.textContent || '').trim()].join('|'); }"""
    )


def test_everything_is_reached_by_tab(reader: Reader) -> None:
    reader.load("campaigns?list=champions")
    reader.stands("Campaigns")
    page = reader.page
    Grid(page)
    page.keyboard.press("Tab")
    assert focused(page).endswith("|To the content")
    expect(page.get_by_role("link", name="To the content")).to_be_in_viewport()
    seen: list[str] = []
    for _ in range(60):
        page.keyboard.press("Tab")
        seen.append(focused(page))
        assert page.evaluate(
            """() => { const e = document.activeElement;
            if (e === document.body || e.closest('.ag-root-wrapper')) return true;
            const s = getComputedStyle(e), w = getComputedStyle(e.parentElement);
            return s.outlineStyle !== 'none' || s.boxShadow !== 'none' || s.borderColor !== w.borderColor; }"""
        ), seen[-1]
    for wanted in (*PAGES.values(), "Chart", "Snapshot, as of", "Light or dark"):
        assert any(one.endswith(f"|{wanted}") for one in seen), (wanted, seen)
    assert any("Download as CSV" in one for one in seen)
    assert any("Download all rows of champions as Parquet" in one for one in seen)
    assert any("customer id" in one for one in seen), seen


def test_the_skip_link_skips(reader: Reader) -> None:
    reader.load("segments")
    reader.stands("Segments")
    page = reader.page
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "content"
    page.keyboard.press("Tab")
    assert focused(page).split("|")[2].startswith("Download as CSV")


def test_pages_tabs_and_choices_by_keyboard(reader: Reader) -> None:
    page = reader.open()
    page.get_by_role("link", name="Campaigns").focus()
    page.keyboard.press("Enter")
    reader.stands("Campaigns")
    tab = reader.card("waterfall").get_by_role("tab", name="Chart")
    tab.focus()
    page.keyboard.press("ArrowRight")
    expect(reader.card("waterfall").locator("table")).to_be_visible()
    # A choice that is drawn anew with its page's rows would lose the focus, too.
    expect(page.locator(".chart-tabs:not([data-drawn])")).to_have_count(0)
    page.get_by_role("combobox", name="List", exact=True).or_(
        page.get_by_role("textbox", name="List", exact=True)
    ).first.focus()
    # Opens at the list that is shown, the last, and goes round. A key that is pressed before the
    # one before it has been drawn moves from nowhere.
    for option in ("win_back", "champions"):
        page.keyboard.press("ArrowDown")
        highlighted = page.get_by_role("option", name=option, exact=True)
        expect(highlighted).to_have_attribute("data-combobox-selected", "true")
    page.keyboard.press("Enter")
    page.wait_for_url("**list=champions*")
    grid = Grid(page)
    expect(page.get_by_role("heading", name="On champions, best first")).to_be_visible()
    # What is clicked before its rows are there is drawn anew with them, and loses the focus.
    expect(grid.cell(1, "customer_id").get_by_role("link")).to_be_visible()
    expect(page.locator(".chart-tabs:not([data-drawn])")).to_have_count(0)
    grid.cell(0, "customer_id").click(position={"x": 120, "y": 10})
    page.keyboard.press("ArrowDown")
    expect(grid.root.locator(".ag-cell-focus")).to_have_count(1)
    customer = grid.cell(1, "customer_id").inner_text()
    page.keyboard.press("Enter")
    reader.stands(f"Customer {customer}")


def test_the_colour_scheme_is_remembered(reading: Callable[..., Reader], server: Server) -> None:
    reader = reading(server, color_scheme="light")
    page = reader.open()
    root = page.locator("html")
    expect(root).to_have_attribute("data-mantine-color-scheme", "light")
    page.get_by_role("button", name="Light or dark").click()
    expect(root).to_have_attribute("data-mantine-color-scheme", "dark")
    page.reload()
    reader.stands("Overview")
    expect(root).to_have_attribute("data-mantine-color-scheme", "dark")
    page.get_by_role("link", name="Segments", exact=True).click()
    reader.stands("Segments")
    expect(root).to_have_attribute("data-mantine-color-scheme", "dark")


def test_the_navigation_on_a_phone(reading: Callable[..., Reader], server: Server) -> None:
    reader = reading(server, viewport=PHONE)
    page = reader.open()
    link = page.get_by_role("navigation", name="Pages").get_by_role("link", name="Movement")
    expect(link).not_to_be_in_viewport()
    page.get_by_role("button", name="Navigation").click()
    expect(link).to_be_in_viewport()
    link.click()
    reader.stands("Movement")
    expect(link).not_to_be_in_viewport()
    page.get_by_role("button", name="Navigation").click()
    expect(link).to_be_in_viewport()
    page.get_by_role("button", name="Navigation").click()
    expect(link).not_to_be_in_viewport()
    # What is wider than the phone scrolls in its card.
    chart = reader.card("matrix").locator(".chart")
    assert chart.evaluate("one => one.scrollWidth > one.clientWidth")
    narrow(page)
