"""The report: the store's own numbers, in one file that needs nothing and runs nothing of others."""

import base64
import csv
import io
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import narwhals as nw
import pyarrow as pa
import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import sync_playwright

from rfm_assets.domain.campaigns import CampaignConfig, campaign_list
from rfm_assets.domain.history import movement
from rfm_assets.domain.schemes import Scheme
from rfm_assets.domain.segments import SegmentationConfig, segment
from rfm_assets.domain.summaries import SummaryConfig, segment_summary
from rfm_assets.engines.duckdb_engine import DuckDBEngine
from rfm_assets.errors import InvalidConfig
from rfm_assets.in_place import rows_of
from rfm_assets.library import load_scheme
from rfm_assets.publishing import publish
from rfm_assets.schemas import (
    CAMPAIGN_LIST,
    CUSTOMER_SEGMENTS,
    SEGMENT_MOVEMENT,
    SEGMENT_SUMMARY,
    TRANSACTION_DATA,
    TRANSACTION_DATA_REJECTS,
)
from rfm_assets.serving.charts.base import shown
from rfm_assets.serving.queries import Queries
from rfm_assets.serving.report import report_page, write_report
from rfm_assets.serving.report_contents import contents
from rfm_assets.serving.report_sections import sections
from rfm_assets.serving.settings import ServingSettings
from rfm_assets.store import Snapshot, Store
from rfm_assets_tests.domain import purchases
from rfm_assets_tests.serving.dashboard.browsing import executable

HOSTILE = "</script><img src=x onerror=alert(1)>"
FORMULA = '=HYPERLINK("http://x")'
NOW = purchases.AS_OF
WEEKS = (NOW - timedelta(days=14), NOW - timedelta(days=7), NOW)


def scheme_with_hostile_names() -> Scheme:
    """The default scheme, in which two segments are called what a page or a spreadsheet would run."""
    text = load_scheme("rfm_10").model_dump(mode="json")
    text["segments"][0]["name"] = HOSTILE
    text["segments"][1]["name"] = FORMULA
    text["segments"][1]["actions"] = [HOSTILE]
    return Scheme.model_validate(text)


class Reported:
    """A store with some weeks of one table of segments and what belongs to it."""

    def __init__(self, root: Path, scheme: Scheme | None) -> None:
        self.store, self.scheme = Store(root), scheme
        self.config = SegmentationConfig(use_predefined_segments=scheme is not None)

    def fill(self, *, weeks: Sequence[date] = WEEKS, others: bool = True) -> None:
        rows = pa.table(purchases.transactions(purchases.shop()))
        with DuckDBEngine(threads=2) as engine:
            transactions = engine.from_arrow(rows)
            if others:
                self._transactions(engine, rows)
            before: Snapshot | None = None
            for as_of in weeks:
                before = self._week(engine, transactions, as_of, before, others=others)

    def _transactions(self, engine: DuckDBEngine, rows: pa.Table) -> None:
        kept = rows.num_rows
        publish(
            self.store,
            engine,
            TRANSACTION_DATA,
            table="transaction_data",
            as_of=None,
            frame=engine.from_arrow(rows),
            counts={
                "rows_in": kept + 2,
                "rows_kept": kept,
                "rows_rejected": 2,
                "rows_dropped": 0,
                "rejected/invalid_date": 2,
            },
        )
        texts = ("customer_id", "order_id", "date", "amount")
        rejects = {
            "source": ["file"] * 2,
            "source_line": pa.array([3, 7], pa.int64()),
            "reason": ["invalid_date"] * 2,
            "detail": [HOSTILE, FORMULA],
            **{name: pa.array([None, "x"], pa.string()) for name in texts},
        }
        publish(
            self.store,
            engine,
            TRANSACTION_DATA_REJECTS,
            table="transaction_data_rejects",
            as_of=None,
            frame=engine.from_arrow(pa.table(rejects)),
        )

    def _week(
        self,
        engine: DuckDBEngine,
        transactions: Any,
        as_of: date,
        before: Snapshot | None,
        *,
        others: bool,
    ) -> Snapshot:
        earlier = rows_of(engine, before) if before else None
        result = segment(
            transactions,
            as_of=as_of,
            config=self.config,
            scheme=self.scheme,
            checkpoint=engine.checkpoint,
            previous=earlier,
        )
        made = publish(
            self.store,
            engine,
            CUSTOMER_SEGMENTS,
            table="customer_segments",
            as_of=as_of,
            frame=result.table.with_columns(segmented_at=nw.lit(datetime(2025, 1, 1))),
            parts={"excluded": result.excluded},
            cut_points=result.cut_points.model_dump(mode="json"),
            counts=result.counts,
            inputs={"transaction_data": "1"},
            extra={
                "scheme": self.scheme.model_dump(mode="json") if self.scheme else None,
                "config": self.config.model_dump(mode="json", exclude={"segment_scheme"}),
            },
        ).snapshot
        if others:
            self._others(engine, made, earlier, before)
        return made

    def _others(
        self, engine: DuckDBEngine, made: Snapshot, earlier: Any, before: Snapshot | None
    ) -> None:
        rows, as_of = rows_of(engine, made), made.as_of
        assert as_of is not None
        source = {"customer_segments": made.version}
        summary = segment_summary(
            rows, earlier, as_of=as_of, scheme=self.scheme, config=SummaryConfig()
        )
        moves = movement(
            rows, earlier, as_of=as_of, previous_as_of=before.as_of if before else None
        )
        listed = campaign_list(
            rows,
            as_of=as_of,
            config=CampaignConfig(priority="monetary", where="frequency > 1"),
            segments=[],
            suppression=[],
            checkpoint=engine.checkpoint,
            number=engine.number_rows,
        )
        for contract, table, frame in (
            (SEGMENT_SUMMARY, "segment_summary", engine.from_arrow(summary.collect().to_arrow())),
            (SEGMENT_MOVEMENT, "segment_movement", moves),
        ):
            publish(
                self.store,
                engine,
                contract,
                table=table,
                as_of=as_of,
                frame=frame,
                inputs=source,
            )
        publish(
            self.store,
            engine,
            CAMPAIGN_LIST,
            table="regulars",
            as_of=as_of,
            frame=listed.members,
            parts={"excluded": listed.excluded, "control": listed.control},
            inputs=source,
            extra={"waterfall": [vars(step) for step in listed.steps]},
        )


@dataclass
class Page:
    """What stands in a report: tables by the heading before them, files by name, texts."""

    tables: dict[str, list[list[str]]] = field(default_factory=dict)
    files: dict[str, list[list[str]]] = field(default_factory=dict)
    headings: list[tuple[str, str]] = field(default_factory=list)
    elements: list[tuple[str, dict[str, str | None]]] = field(default_factory=list)
    text: str = ""


class Reader(HTMLParser):
    """Takes a report apart, as a browser without scripts does."""

    def __init__(self, page: Page) -> None:
        super().__init__()
        self.page = page
        self._inside: list[str] = []
        self._heading = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.page.elements.append((tag, dict(attrs)))
        if tag in {"h1", "h2", "h3", "h4"}:
            self._heading = ""
        if tag == "table":
            self.page.tables[self._heading.strip()] = []
        if tag == "tr":
            self.page.tables[self._heading.strip()].append([])
        if tag in {"td", "th"}:
            self.page.tables[self._heading.strip()][-1].append("")
        if tag == "a" and dict(attrs).get("download"):
            kind, _, data = str(dict(attrs)["href"]).partition(";base64,")
            assert kind == "data:text/csv;charset=utf-8"
            text = base64.b64decode(data).decode()
            self.page.files[str(dict(attrs)["download"])] = list(csv.reader(io.StringIO(text)))
        self._inside.append(tag)

    def handle_endtag(self, tag: str) -> None:
        while self._inside and self._inside.pop() != tag:
            pass
        if tag in {"h1", "h2", "h3", "h4"}:
            self.page.headings.append((tag, self._heading.strip()))

    def handle_data(self, data: str) -> None:
        inside = self._inside[-1:] or [""]
        if inside[0] in {"script", "style"}:
            return
        self.page.text += data
        if {"h1", "h2", "h3", "h4"} & set(self._inside):
            self._heading += data
        if inside[0] in {"td", "th"}:
            self.page.tables[self._heading.strip()][-1][-1] += data


def read(html: str) -> Page:
    page = Page()
    Reader(page).feed(html)
    return page


@pytest.fixture(scope="module")
def reported(tmp_path_factory: pytest.TempPathFactory) -> Reported:
    made = Reported(tmp_path_factory.mktemp("store"), scheme_with_hostile_names())
    made.fill()
    return made


@pytest.fixture(scope="module")
def queries(reported: Reported) -> Iterator[Queries]:
    opened = Queries(reported.store, threads=2)
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def html(queries: Queries) -> str:
    return report_page(queries, queries.resolve("customer_segments", None))


@pytest.fixture(scope="module")
def page(html: str) -> Page:
    return read(html)


# -- numbers ------------------------------------------------------------------------------------


def test_every_table_has_the_numbers_of_its_chart_and_every_file_their_values(
    queries: Queries, page: Page
) -> None:
    found = contents(queries, queries.resolve("customer_segments", None), ServingSettings())
    charts = [(section, chart) for section in sections(found) for chart in section.charts]

    for section, chart in charts:
        expected = [
            [shown(row.get(one.name), one.decimals, one.unit) for one in chart.columns]
            for row in chart.rows
        ]
        if not expected:
            continue
        header, *rows = page.tables[chart.finding]
        assert header == [column.label for column in chart.columns]
        assert rows == expected, chart.key
        file = page.files[f"{section.key}-{chart.key}_{NOW}.csv"]
        assert len(file) == 1 + len(chart.rows)
        for cells, row in zip(file[1:], chart.rows, strict=True):
            for cell, column in zip(cells, chart.columns, strict=True):
                value = row.get(column.name)
                if isinstance(value, int | float):
                    assert float(cell) == value, (chart.key, column.name)


def test_the_segments_are_those_of_the_store(queries: Queries, page: Page) -> None:
    summary = queries.whole(queries.resolve("segment_summary", None))
    (file,) = (rows for name, rows in page.files.items() if name.startswith("segments-comparison"))
    by_segment = {row[0].removeprefix("'"): row for row in file[1:]}

    assert len(by_segment) == len(summary) == 10
    for row in summary:
        cells = by_segment[row["segment"]]
        assert int(cells[1]) == row["customers"]
        assert float(cells[2]) == row["customers_pct"]
        assert float(cells[4]) == row["monetary_total"]
        assert f"{row['customers']:,} customers" in page.text


def test_the_summary_says_what_changed(reported: Reported, queries: Queries, page: Page) -> None:
    was, now = (
        reported.store.snapshot("customer_segments", day).manifest for day in (WEEKS[1], NOW)
    )
    assert (
        f"Since 25 December 2024, customers went from {was.row_counts['rows']} to "
        f"{now.row_counts['rows']}" in page.text
    )
    spend = now.counts["monetary_units_segmented"] / 10_000
    assert f"to {spend:,.2f} (" in page.text
    moves = queries.whole(queries.resolve("segment_movement", None))
    left = sum(row["customers"] for row in moves if row["to_segment"] == "(left)")
    assert f"{left} have left." in page.text
    assert "checks of the tables shown passed." in page.text


def test_the_cut_points_stand_in_the_sentences(reported: Reported, page: Page) -> None:
    points = reported.store.snapshot("customer_segments", NOW).manifest.cut_points
    assert points is not None
    days, purchased, money = (points[n] for n in ("recency", "frequency", "monetary_units"))

    assert (
        f"Bought within {days[0]} days, at least {purchased[3] + 1} purchases, "
        f"more than {money[3] / 10_000:,.2f} spent." in page.text
    )


def test_an_old_week_is_reported_as_it_was(queries: Queries, reported: Reported) -> None:
    def of_first() -> str:
        return report_page(queries, queries.resolve("customer_segments", WEEKS[0]))

    first = read(of_first())

    assert "There is no earlier snapshot to compare with." in first.text
    assert str(NOW) not in first.text
    (comparison,) = (
        rows for name, rows in first.files.items() if name.startswith("segments-comparison")
    )
    total = sum(int(row[1]) for row in comparison[1:])
    assert (
        total == reported.store.snapshot("customer_segments", WEEKS[0]).manifest.row_counts["rows"]
    )


# -- the file -----------------------------------------------------------------------------------


def test_the_same_snapshot_gives_the_same_bytes(reported: Reported, tmp_path: Path) -> None:
    for name in ("a.html", "b.html"):
        opened = Queries(reported.store, threads=2)
        write_report(opened, opened.resolve("customer_segments", None), tmp_path / name)
        opened.close()

    assert (tmp_path / "a.html").read_bytes() == (tmp_path / "b.html").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.html", "b.html"]


def test_what_cannot_be_written_leaves_the_file_before(
    queries: Queries, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "new" / "report.html"
    snapshot = queries.resolve("customer_segments", None)
    write_report(queries, snapshot, target)
    before = target.read_bytes()

    def full(*_: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(OSError, match="No space"):
        write_report(queries, snapshot, target)

    assert target.read_bytes() == before
    assert [path.name for path in target.parent.iterdir()] == ["report.html"]


def test_what_is_not_stored_is_left_out(tmp_path: Path) -> None:
    alone = Reported(tmp_path, load_scheme("rfm_10"))
    alone.fill(weeks=WEEKS[-1:], others=False)
    opened = Queries(alone.store, threads=1)

    page = read(report_page(opened, opened.resolve("customer_segments", None)))

    assert [text for tag, text in page.headings if tag == "h2"] == [
        "Contents",
        "Summary",
        "Segments",
        "Who is in which segment",
        "What to do",
        "Customers",
        "Quality of the data",
    ]
    opened.close()


def test_tables_of_another_version_are_told(tmp_path: Path) -> None:
    made = Reported(tmp_path, load_scheme("rfm_10"))
    made.fill(weeks=WEEKS[-1:])
    made.fill(weeks=WEEKS[-1:], others=False)
    opened = Queries(made.store, threads=1)

    page = read(report_page(opened, opened.resolve("customer_segments", None)))

    assert (
        "Made from another version of customer_segments: "
        "regulars, segment_movement, segment_summary." in page.text
    )
    opened.close()


def test_scores_without_names_are_reported_too(tmp_path: Path) -> None:
    alone = Reported(tmp_path, None)
    alone.fill(weeks=WEEKS[-1:], others=False)
    opened = Queries(alone.store, threads=1)

    page = read(report_page(opened, opened.resolve("customer_segments", None)))

    titles = [text for tag, text in page.headings if tag == "h2"]
    assert "Who is in which segment" not in titles
    assert "Customers" in titles
    opened.close()


def test_only_segments_can_be_reported(queries: Queries) -> None:
    with pytest.raises(InvalidConfig, match="'regulars' holds a campaign_list table"):
        report_page(queries, queries.resolve("regulars", None))


def test_a_table_made_of_other_segments_is_not_shown(reported: Reported) -> None:
    opened = Queries(reported.store, threads=1)
    snapshot = opened.resolve("customer_segments", None)
    names = {one.table for one in contents(opened, snapshot, ServingSettings()).others}
    assert names == {
        "regulars",
        "segment_movement",
        "segment_summary",
        "transaction_data",
        "transaction_data_rejects",
    }
    opened.close()


def test_a_deployments_names_and_colours_are_shown(queries: Queries) -> None:
    settings = ServingSettings(
        segment_names={"At Risk": "Gefährdet"}, segment_colors={"At Risk": "#123456"}
    )
    text = report_page(queries, queries.resolve("customer_segments", None), settings=settings)

    assert "Gefährdet" in read(text).text
    assert "background:#123456" in text


# -- safety -------------------------------------------------------------------------------------


def test_names_are_text_and_not_markup(html: str, page: Page) -> None:
    assert HOSTILE in page.text
    assert "<img" not in html.split("<script>", 1)[0]
    assert not any(tag == "img" for tag, _ in page.elements)
    inside = re.findall(r'<script type="application/json"[^>]*>(.*?)</script>', html, re.DOTALL)
    assert len(inside) >= 7
    assert not any("<" in text for text in inside)


def test_files_run_nothing_in_a_spreadsheet(page: Page) -> None:
    cells = [cell for rows in page.files.values() for row in rows for cell in row]

    assert "'" + FORMULA in cells
    number = re.compile(r"[+-]?\d+([.,]\d+)?(e[+-]?\d+)?$")
    assert not [c for c in cells if c[:1] in tuple("=+-@\t\r") and not number.match(c)]


def test_nothing_is_asked_of_another_place(page: Page) -> None:
    for tag, attributes in page.elements:
        for name in ("src", "href", "action", "data", "poster", "srcset"):
            value = attributes.get(name)
            assert value is None or value.startswith(("#", "data:")), (tag, value)
    (policy,) = (
        str(attributes["content"])
        for tag, attributes in page.elements
        if tag == "meta" and attributes.get("http-equiv") == "Content-Security-Policy"
    )
    assert policy.startswith("default-src 'none'; script-src 'sha256-")
    assert "http" not in policy


# -- in a browser -------------------------------------------------------------------------------

Open = Callable[..., Any]


@contextmanager
def browser() -> Iterator[Any]:
    with sync_playwright() as play:
        opened = play.chromium.launch(executable_path=executable(), args=["--no-sandbox"])
        yield opened
        opened.close()


@pytest.fixture(scope="module")
def file(html: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("report") / "report.html"
    path.write_text(html, encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def open_report(file: Path) -> Iterator[Open]:
    """Opens the report without a network; what it asked for and said is kept beside it."""
    with browser() as opened:

        def open_page(*, scheme: str = "light", width: int = 1280, scripts: bool = True) -> Any:
            context = opened.new_context(
                color_scheme=scheme,
                viewport={"width": width, "height": 900},
                offline=True,
                java_script_enabled=scripts,
            )
            page = context.new_page()
            page.asked, page.said = [], []
            page.on("request", lambda request: page.asked.append(request.url))
            page.on("console", lambda message: page.said.append(message.text))
            page.on("pageerror", lambda error: page.said.append(str(error)))
            page.on("dialog", lambda dialog: (page.said.append("dialog"), dialog.dismiss()))
            page.goto(file.as_uri())
            if scripts:
                page.wait_for_selector("html[data-drawn]", state="attached", timeout=60_000)
            return page

        yield open_page


@pytest.mark.browser
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_every_chart_is_drawn_in_peace(
    open_report: Open, file: Path, scheme: str, width: int
) -> None:
    page = open_report(scheme=scheme, width=width)

    empty = "[...document.querySelectorAll('.plot')].filter(p => !p.querySelector('.main-svg'))"
    assert page.evaluate(f"{empty}.length") == 0
    assert page.locator(".plot").count() >= 7
    assert [url for url in page.asked if not url.startswith("data:")] == [file.as_uri()]
    assert page.said == []
    wide = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
    assert page.evaluate(wide) <= 0
    page.context.close()


@pytest.mark.browser
def test_there_are_at_least_seven_kinds_of_charts(open_report: Open) -> None:
    page = open_report()
    kinds = page.evaluate(
        "[...new Set([...document.querySelectorAll('.plot')]"
        ".flatMap(p => p._fullData.map(t => t.type)))].sort()"
    )
    assert {"bar", "box", "heatmap", "sankey", "scatter", "treemap", "waterfall"} <= set(kinds)
    page.context.close()


@pytest.mark.browser
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_everybody_can_read_it(open_report: Open, scheme: str) -> None:
    page = open_report(scheme=scheme)
    page.evaluate("document.querySelectorAll('details').forEach(d => { d.open = true; })")
    answer = Axe().run(page).response
    assert len(answer["passes"]) > 20

    bad = [
        (one["id"], [node["html"][:200] for node in one["nodes"]][:3])
        for one in answer["violations"]
        if one["impact"] in {"serious", "critical"}
    ]
    assert bad == []
    page.context.close()


@pytest.mark.browser
def test_without_scripts_all_tables_are_open(open_report: Open, page: Page) -> None:
    opened = open_report(scripts=False)

    assert opened.locator("details:not([open])").count() == 0
    assert opened.locator("table").count() == len(page.files)
    assert opened.locator("table").first.is_visible()
    assert not opened.locator(".plot").first.is_visible()
    opened.context.close()


@pytest.mark.browser
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_prints(open_report: Open, scheme: str, tmp_path: Path) -> None:
    page = open_report(scheme=scheme)
    path = tmp_path / "report.pdf"
    page.pdf(path=str(path), prefer_css_page_size=True, print_background=True)

    pages = len(re.findall(rb"/Type\s*/Page\b", path.read_bytes()))
    charts = page.locator(".plot").count()
    assert charts / 2 < pages < 2 * charts
    # The screen is as it was, and on paper everything fits.
    assert page.locator("details[open]").count() == 0
    page.emulate_media(media="print")
    page.set_viewport_size({"width": 688, "height": 1000})
    page.evaluate("window.dispatchEvent(new Event('beforeprint'))")
    cut = page.evaluate(
        "[...document.querySelectorAll('.plot .main-svg, table:not(.long)')]"
        ".filter(e => e.getBoundingClientRect().right > innerWidth + 1)"
        ".map(e => [e.tagName, e.closest('article').querySelector('h3').textContent, e.getBoundingClientRect().right])"
    )
    assert cut == []
    ink = page.evaluate("getComputedStyle(document.querySelector('.plot .xtick text')).fill")
    assert ink == "rgb(0, 0, 0)"
    assert page.said == []
    page.context.close()
