"""A real `rfm serve`, a real browser, and what a reader sees of a page."""

import base64
import csv
import io
import os
import re
import shutil
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from playwright.sync_api import Locator, Page, expect

from rfm_assets.serving.api.app import create_app
from rfm_assets.serving.dashboard.app import create_dashboard
from rfm_assets.serving.queries import Queries
from rfm_assets.serving.settings import ServingSettings
from rfm_assets.store import Store

IN_ONE_WORKER = pytest.mark.xdist_group("browser")
"""The browser and the server are started once."""

PAGES = {
    "": "Overview",
    "segments": "Segments",
    "explore": "Explore",
    "movement": "Movement",
    "customers": "Customers",
    "campaigns": "Campaigns",
    "behavior": "Behaviour",
    "clusters": "Clusters",
    "quality": "Quality",
}

_BROWSERS = ("chromium", "chromium-browser", "google-chrome")


def executable() -> str:
    """The browser of this machine; without one the tests fail, since nothing else opens the pages."""
    found = os.environ.get("RFM_CHROMIUM") or next(filter(None, map(shutil.which, _BROWSERS)), None)
    if found is None:
        pytest.fail(
            "There is no Chromium. Install one (on Debian and Ubuntu: apt-get install chromium), or "
            "name its file in the variable RFM_CHROMIUM."
        )
    return found


@dataclass(frozen=True)
class Server:
    """A server that listens.

    Attributes:
        log: What it has written, where it is a process of its own.
    """

    url: str
    log: Path | None = None

    @property
    def app(self) -> str:
        return f"{self.url}/app/"


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


@contextmanager
def process(log: Path, *arguments: str) -> Iterator[Server]:
    """`rfm serve` with these arguments, as a user starts it."""
    port = free_port()
    command = "from rfm_assets.cli import main; main()"
    with log.open("w", encoding="utf-8") as out:
        started = subprocess.Popen(
            [sys.executable, "-c", command, "serve", "--port", str(port), *arguments],
            stdout=out,
            stderr=subprocess.STDOUT,
            cwd=log.parent,
        )
        try:
            _wait(f"http://localhost:{port}/app/", log, lambda: started.poll() is None)
            yield Server(f"http://localhost:{port}", log)
        finally:
            started.terminate()
            started.wait(20)


@contextmanager
def thread(
    store: Store, folder: Path, settings: ServingSettings | None = None
) -> Iterator[tuple[Server, Queries]]:
    """The same server in this process, for a store of few tables."""
    settings = settings or ServingSettings()
    queries = Queries(store, owners=settings.owners(), threads=2)
    dashboard = create_dashboard(queries, settings=settings, prefix="/app/").server
    app = create_app(queries, project=folder, settings=settings, dashboard=dashboard)
    port = free_port()
    server = uvicorn.Server(
        uvicorn.Config(app, host="127.0.0.1", port=port, log_level="error", access_log=False)
    )
    running = threading.Thread(target=server.run)
    running.start()
    try:
        _wait(f"http://localhost:{port}/app/", None, running.is_alive)
        yield Server(f"http://localhost:{port}"), queries
    finally:
        server.should_exit = True
        running.join(20)
        queries.close()


def _wait(url: str, log: Path | None, alive: Any) -> None:
    until = time.monotonic() + 60
    while time.monotonic() < until:
        assert alive(), log.read_text(encoding="utf-8") if log else "the server has ended"
        try:
            with urllib.request.urlopen(url, timeout=5):  # noqa: S310 (its own server)
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.1)
    pytest.fail(f"{url} does not answer")


_GO = """where => {
    window.history.pushState({}, '', where);
    window.dispatchEvent(new CustomEvent('_dashprivate_pushstate'));
}"""


class Reader:
    """Somebody who reads pages, and takes down what went wrong in the browser meanwhile."""

    def __init__(self, page: Page, server: Server, *, keep: bool = False) -> None:
        self.server = server
        self.page = page
        self._keep = keep
        self.faults: list[str] = []
        self.requests: list[str] = []
        self._listening = {
            "console": self._told,
            "pageerror": lambda error: self.faults.append(str(error)),
            "request": self._asks,
            "response": self._answered,
        }
        for event, listener in self._listening.items():
            self.page.on(event, listener)  # type: ignore[call-overload]
        self._asked: list[str] = []

    @property
    def made(self) -> int:
        """How often the server has made a page."""
        return sum("..content.children" in body for body in self._asked)

    def _told(self, message: Any) -> None:
        if message.type == "error":
            self.faults.append(message.text)

    def _asks(self, request: Any) -> None:
        self.requests.append(request.url)
        self._asked.append(request.post_data or "")

    def _answered(self, response: Any) -> None:
        if response.status >= 400:
            self.faults.append(f"{response.status} {response.url}")

    def leave(self) -> None:
        """Close the page, before its server ends; one that others go on with stays open."""
        if not self._keep:
            self.page.close()
        elif self._listening:
            for event, listener in self._listening.items():
                self.page.remove_listener(event, listener)
            self._listening = {}

    def close(self) -> None:
        """End, and assert that nothing went wrong and nothing was asked of other hosts."""
        self.leave()
        own = re.escape(self.server.url)
        foreign = [url for url in self.requests if not re.match(rf"{own}/|data:|blob:", url)]
        assert self.faults == []
        assert foreign == []
        if self.server.log is not None:
            assert "Traceback" not in self.server.log.read_text(encoding="utf-8")

    # -- going places -------------------------------------------------------------------------

    def open(self, path: str = "", heading: str | None = None) -> Page:
        """The page of an address below the dashboard."""
        heading = heading or PAGES[re.split(r"[?/]", path)[0]]
        inside = self.page.url.startswith(self.server.app)
        if inside and self.page.locator("#content h1").inner_text() != heading:
            # As a link does, which costs the browser a tenth.
            self.page.evaluate(_GO, self.server.app + path)
        else:
            self.load(path)
        self.stands(heading)
        return self.page

    def load(self, path: str) -> None:
        """Open an address as if it were typed, with all that belongs to it."""
        self.page.goto(self.server.app + path, wait_until="domcontentloaded")

    def stands(self, heading: str) -> None:
        """Wait for the page with that heading."""
        expect(self.page.locator("#content h1")).to_have_text(heading, timeout=15_000)

    def choose(self, label: str, option: str) -> None:
        """Choose in a list by its label."""
        # The label names the field and, while it is open, the list.
        self.page.get_by_role("combobox", name=label, exact=True).or_(
            self.page.get_by_role("textbox", name=label, exact=True)
        ).first.click()
        self.page.get_by_role("option", name=option, exact=True).click()

    @property
    def query(self) -> str:
        """What stands behind the question mark of the address."""
        return self.page.url.partition("?")[2]

    # -- what is seen -------------------------------------------------------------------------

    def figures(self) -> dict[str, tuple[str, str]]:
        """The figures at the top of a page with their notes, by label."""
        found = self.page.locator(".stat").evaluate_all(
            """all => all.map(one => ['.stat-label', '.stat-value', '.stat-note']
                .map(part => one.querySelector(part).textContent.trim()))"""
        )
        return {label: (value, note) for label, value, note in found}

    def notes(self) -> list[str]:
        """The sentences of the overview."""
        return self.page.locator(".notes a").all_inner_texts()

    def card(self, key: str) -> Locator:
        """A chart's card."""
        return self.page.locator(f"#card-{key}")

    def finding(self, key: str) -> str:
        """The title of a chart."""
        return self.card(key).locator("h2").inner_text()

    def table(self, key: str) -> list[list[str]]:
        """A chart's numbers as they stand in its table, with the header."""
        card = self.card(key)
        tab = card.get_by_role("tab", name="Table")
        if tab.count():
            tab.click()
        expect(card.locator("table")).to_be_visible()
        return card.locator("table tr").evaluate_all(
            "all => all.map(row => [...row.cells].map(cell => cell.textContent))"
        )

    def csv(self, key: str) -> list[list[str]]:
        """A chart's numbers as they stand in its download."""
        href = self.card(key).get_by_role("link", name="Download as CSV").get_attribute("href")
        text = base64.b64decode((href or "").partition("base64,")[2]).decode("utf-8-sig")
        return list(csv.reader(io.StringIO(text)))

    def keys(self) -> list[str]:
        """The charts of a page."""
        return self.page.locator("[id^=card-]").evaluate_all(
            "all => all.map(one => one.id.replace('card-', ''))"
        )


class Grid:
    """A grid of a page."""

    def __init__(self, page: Page, number: int = 0) -> None:
        self.page = page
        self.root = page.locator(".grid").nth(number)
        self.rows = self.root.locator(".ag-pinned-left-cols-container .ag-row")
        # A grid far below the window lays its columns out only once one comes to it.
        self.root.evaluate("grid => grid.scrollIntoView({block: 'nearest'})")
        expect(self.head("customer_id")).to_be_visible()
        expect(self.cell(0, "customer_id")).not_to_be_empty()
        # The columns beside the pinned one are drawn a moment later.
        expect(self.root.locator(".ag-header-viewport .ag-header-cell").first).to_be_visible()
        expect(self.root.locator(".ag-center-cols-container .ag-cell").first).to_be_visible()

    def cell(self, row: int, column: str) -> Locator:
        return self.root.locator(f'.ag-row[row-index="{row}"] [col-id="{column}"]')

    def texts(self, column: str, rows: Sequence[int]) -> list[str]:
        return [self.cell(row, column).inner_text() for row in rows]

    def head(self, column: str) -> Locator:
        return self.root.locator(f'.ag-header-cell[col-id="{column}"]')

    def sort(self, column: str) -> None:
        self.head(column).locator(".ag-header-cell-text").click()

    def filter(self, column: str, value: str, how: str | None = None) -> None:
        """Fill in a column's filter and apply it."""
        self.head(column).locator(".ag-header-cell-filter-button").click()
        menu = self.page.locator(".ag-filter")
        if how is not None:
            menu.locator(".ag-picker-field-wrapper").first.click()
            self.page.locator(".ag-list-item", has_text=how).click()
        menu.locator("input:visible").first.fill(value)
        menu.get_by_role("button", name="Apply").click()
        self.page.keyboard.press("Escape")

    def end(self, rows: int) -> Locator:
        """Scroll to the last of so many rows; the grid knows how many there are once it has asked."""
        last = self.cell(rows - 1, "customer_id")
        # With the header; rows of what was shown before a filter are no end of what comes after it.
        told = self.root.locator(f"[aria-rowcount='{rows + 1}']")
        for turn in range(100):
            # To and fro: a grid that is being filled may miss a movement, and one that is at its end
            # tells of no other. The last row is in sight from both places.
            self.root.locator(".ag-body-viewport").evaluate(
                "(one, above) => { one.scrollTop = one.scrollHeight - one.clientHeight - above; }",
                20 * (turn % 2),
            )
            if told.count() and last.count() and last.inner_text():
                break
            self.page.wait_for_timeout(100)
        expect(self.cell(rows, "customer_id")).to_have_count(0)
        return last


def numbers(rows: Sequence[Mapping[str, Any]], *names: str) -> list[float]:
    """The values of columns, one after the other."""
    return [row[name] for row in rows for name in names]
