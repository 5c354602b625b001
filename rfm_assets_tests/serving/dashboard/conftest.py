"""One browser and one server for all tests of the dashboard.

They live as long as the tests of this folder run: Playwright keeps an event loop in the thread,
which other tests are not to meet.
"""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import yaml
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

from rfm_assets_tests.serving.dashboard.browsing import Reader, Server, executable, process
from rfm_assets_tests.serving.stored import Stored


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    """A browser without a window."""
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=executable(), args=["--no-sandbox"])
        yield opened
        opened.close()


@pytest.fixture(scope="package")
def server(stored: Stored, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """`rfm serve` over the small store, with the settings that go with it."""
    folder = tmp_path_factory.mktemp("served")
    settings = stored.settings.model_dump(mode="json", exclude_unset=True)
    (folder / "serving.yaml").write_text(yaml.safe_dump(settings), encoding="utf-8")
    arguments = ("--project", str(folder), "--store", str(stored.root), "--threads", "2")
    with process(folder / "log.txt", *arguments) as started:
        yield started


@pytest.fixture(scope="package")
def context(browser: Browser) -> Iterator[BrowserContext]:
    """Someone at a desk; what has been loaded once is not loaded again for each test."""
    opened = _context(browser)
    yield opened
    opened.close()


def _context(browser: Browser, **options: Any) -> BrowserContext:
    usual = {"viewport": {"width": 1400, "height": 900}, "color_scheme": "light"}
    opened = browser.new_context(**{**usual, "reduced_motion": "reduce", **options})
    opened.set_default_timeout(20_000)
    return opened


@pytest.fixture
def reading(browser: Browser, context: BrowserContext) -> Iterator[Callable[..., Reader]]:
    """Makes readers of any server; in the end nothing may have gone wrong for any of them."""
    made: list[Reader] = []
    own: list[BrowserContext] = []

    def make(server: Server, **options: Any) -> Reader:
        if options:
            own.append(_context(browser, **options))
        made.append(Reader((own[-1] if options else context).new_page(), server))
        return made[-1]

    yield make
    for one in made:
        one.close()
    for opened in own:
        opened.close()


@pytest.fixture(scope="package")
def opened(context: BrowserContext, server: Server) -> Page:
    """A page of the small store that is loaded already."""
    page = context.new_page()
    page.goto(server.app)
    return page


@pytest.fixture
def reader(opened: Page, server: Server) -> Iterator[Reader]:
    """A reader of the small store, who begins at a page that is none."""
    opened.set_viewport_size({"width": 1400, "height": 900})
    opened.emulate_media(color_scheme="light")
    made = Reader(opened, server, keep=True)
    made.open("nothing", "Not found")
    yield made
    made.close()
