"""Each YAML block of the documentation loads, or fails with the words that follow it."""

import gzip
import textwrap
from pathlib import Path
from typing import Any

import dagster as dg
import duckdb
import openpyxl
import polars as pl
import pytest
import yaml

import rfm_assets.components
from rfm_assets import load_scheme
from rfm_assets.errors import InvalidProject, InvalidScheme
from rfm_assets.serving.settings import FILE, ServingSettings, load_settings
from rfm_assets.store import Store
from rfm_assets_tests.components.conftest import Project
from rfm_assets_tests.components.shop import failure
from rfm_assets_tests.docs.pages import ROOT, Block, blocks, every_block

YAML = [block for block in every_block() if block.language == "yaml"]


def having(option: str, *, fails: bool | None = None) -> Any:
    chosen = [b for b in YAML if option in b.options]
    if fails is not None:
        chosen = [b for b in chosen if ("fails" in b.flags) == fails]
    return pytest.mark.parametrize("block", [pytest.param(b, id=b.place) for b in chosen])


def write(project: Project, name: str, attributes: dict[str, Any]) -> Path:
    """A component under its asset's name."""
    folder = str(attributes.get("asset_name") or attributes.get("asset", {}).get("key") or name)
    content = {"type": f"rfm_assets.components.{name}", "attributes": attributes}
    return project.write(folder, yaml.safe_dump(content, sort_keys=False, allow_unicode=True))


def example(name: str) -> dict[str, Any]:
    return dict(getattr(rfm_assets.components, name).example)


def write_beside(project: Project, block: Block) -> None:
    """The block's attributes on top of its component's example, and what they refer to."""
    name = block.options["attributes"]
    for other in {"WeeklyRefreshComponent", "CustomerSegmentationComponent"} - {name}:
        write(project, other, example(other))
    path = write(project, name, example(name) | yaml.safe_load(block.text))
    for scheme in blocks(block.page):
        if "scheme" in scheme.options:
            target = path.parent / scheme.options["scheme"]
            target.write_text(scheme.text, encoding="utf-8")


def test_each_block_says_what_it_is() -> None:
    known = {"file", "shipped", "attributes", "run", "scheme", "lint"}
    whole = {"component", "serving"}
    odd = [b.place for b in YAML if not (set(b.options) & known or set(b.flags) & whole)]
    silent = [b.place for b in YAML if ("fails" in b.flags or "lint" in b.options) and not b.output]
    assert (odd, silent) == ([], [])


@having("shipped")
def test_what_is_said_to_be_shipped_is(block: Block) -> None:
    assert (ROOT / block.options["shipped"]).read_text(encoding="utf-8") == block.text


@having("attributes", fails=False)
def test_attributes_load(project: Project, block: Block) -> None:
    write_beside(project, block)

    project.load().get_repository_def()


@having("attributes", fails=True)
def test_attributes_that_are_wrong_say_so(project: Project, block: Block) -> None:
    write_beside(project, block)

    with pytest.raises(InvalidProject) as raised:
        project.load()

    block.prints(str(raised.value), whole=False)


@pytest.mark.parametrize(
    "block", [pytest.param(b, id=b.place) for b in YAML if "component" in b.flags]
)
def test_whole_components_load(project: Project, block: Block) -> None:
    project.write("component", block.text)

    project.load().get_repository_def()


@pytest.mark.parametrize(
    "block", [pytest.param(b, id=b.place) for b in YAML if "serving" in b.flags]
)
def test_settings_of_serving_load(tmp_path: Path, block: Block) -> None:
    (tmp_path / FILE).write_text(block.text, encoding="utf-8")

    assert load_settings(tmp_path) != ServingSettings()


@having("scheme")
def test_schemes_are_total(tmp_path: Path, block: Block) -> None:
    (tmp_path / block.options["scheme"]).write_text(block.text, encoding="utf-8")

    assert load_scheme(block.options["scheme"], folder=tmp_path).segments


@having("lint")
def test_the_linter_says_what_is_shown(tmp_path: Path, block: Block) -> None:
    name = block.options["lint"]
    (scheme,) = [b for b in blocks(block.page) if b.options.get("scheme") == name]
    lines = scheme.text.rstrip("\n").splitlines()[:-1]
    changed = "\n".join([*lines, textwrap.indent(block.text, "  ")])
    (tmp_path / name).write_text(changed, encoding="utf-8")

    with pytest.raises(InvalidScheme) as raised:
        load_scheme(name, folder=tmp_path)

    block.prints(str(raised.value), whole=True)


class Guide:
    """The transactions of a page: its CSV file, its component, run by Dagster."""

    def __init__(self, project: Project, page: str) -> None:
        self.project = project
        files = {b.options["file"]: b.text for b in blocks(page) if "file" in b.options}
        for path in (path for path in files if path.startswith("data/")):
            (project.root / path).parent.mkdir(exist_ok=True)
            (project.root / path).write_text(files[path], encoding="utf-8")
        defs = yaml.safe_load(files["component_defs/transaction_data/defs.yaml"])
        self.attributes: dict[str, Any] = defs["attributes"]

    def run(self, attributes: dict[str, Any]) -> dg.ExecuteInProcessResult:
        write(self.project, "TransactionDataComponent", attributes)
        both_assets = dg.AssetSelection.groups("transactions")
        job = dg.define_asset_job("read", both_assets)
        both = dg.Definitions.merge(self.project.load(), dg.Definitions(jobs=[job]))
        return both.resolve_job_def("read").execute_in_process(
            raise_on_error=False,
            run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
        )

    @property
    def rows(self) -> int:
        store = Store(self.project.root / "data" / "store")
        return store.snapshot("transaction_data", None).manifest.row_counts["rows"]


@pytest.fixture
def guide(project: Project, monkeypatch: pytest.MonkeyPatch) -> Guide:
    monkeypatch.delenv("RFM_STORE_ROOT", raising=False)
    return Guide(project, "docs/your-own-data.md")


@having("run")
def test_runs_that_fail_say_what_is_shown(guide: Guide, block: Block) -> None:
    assert guide.run(guide.attributes).success
    kept = guide.rows
    key = block.options["run"]
    changed = guide.attributes | {key: guide.attributes[key] | yaml.safe_load(block.text)}

    result = guide.run(changed)

    assert not result.success
    block.prints(failure(result), whole=False)
    assert guide.rows == kept


SOURCES = [b for b in YAML if "attributes" in b.options and b.text.startswith("source:")]


@pytest.mark.parametrize("block", [pytest.param(b, id=b.place) for b in SOURCES])
def test_other_sources_are_read(guide: Guide, block: Block) -> None:
    """Files of every kind that the page names, with the sample's ten good rows."""
    data = guide.project.root / "data"
    store_as_every_kind(data)
    plain = {"columns": guide.attributes["columns"], "asset_name": "transaction_data"}

    result = guide.run(plain | yaml.safe_load(block.text))

    assert result.success, failure(result)
    assert guide.rows == 10


def store_as_every_kind(data: Path) -> None:
    text = pl.read_csv(data / "orders.csv", separator=";", infer_schema=False)
    good = text.filter(
        pl.col("customer").is_not_null(),
        ~pl.col("ordered_at").str.starts_with("31.06"),
        pl.col("unit_price") != "free",
    )
    number = pl.col("unit_price").str.replace_all(".", "", literal=True)
    orders = good.with_columns(
        pl.col("ordered_at").str.to_datetime("%d.%m.%Y %H:%M"),
        pl.col("quantity").cast(pl.Int64),
        number.str.replace(",", ".", literal=True).cast(pl.Float64),
        status=pl.lit("paid"),
    )
    (data / "orders").mkdir()
    orders.write_parquet(data / "orders" / "2025.parquet")
    text = orders.with_columns(pl.col("ordered_at").dt.to_string("iso")).write_csv()
    (data / "orders_2025.csv.gz").write_bytes(gzip.compress(text.encode("cp1252")))
    book = openpyxl.Workbook()
    sheet = book.active
    assert sheet is not None
    sheet.title = "orders"
    for row in [orders.columns, *orders.rows()]:
        sheet.append(list(row))
    book.save(data / "orders.xlsx")
    with duckdb.connect(str(data / "shop.duckdb")) as connection:
        connection.register("frame", orders.to_arrow())
        connection.execute("create table orders as from frame")
