"""Each page, read from top to bottom and done: files written, commands and Python run."""

import io
import shlex
import shutil
from collections.abc import Callable
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl
import pytest

from rfm_assets.components.io_manager import store_io_manager
from rfm_assets.components.resources import (
    ENGINE_KEY,
    STORE_KEY,
    EngineResource,
    StoreResource,
)
from rfm_assets.store import Store
from rfm_assets_tests.components.conftest import Project
from rfm_assets_tests.docs.conftest import environment, shell
from rfm_assets_tests.docs.pages import PAGES, ROOT, Block, blocks
from rfm_assets_tests.postgres import EmbeddedPostgres

WEEKS = {
    "README.md": ["2025-03-10", "2025-03-17", "2025-03-24", "2025-03-31"],
    "docs/your-own-data.md": ["2025-05-26", *(f"2025-06-{day:02}" for day in (2, 9, 16, 23, 30))],
    "docs/campaigns.md": [
        "2025-02-10",
        "2025-02-17",
        "2025-02-24",
        "2025-03-03",
        "2025-03-10",
        "2025-03-17",
    ],
    "docs/operations.md": ["2025-06-09", "2025-06-16", "2025-06-23"],
    "docs/publishing-to-postgres.md": ["2025-03-10", "2025-03-17"],
    "docs/report.md": ["2025-03-17"],
}
"""The oldest weeks that the store has once a page is done."""


def write(block: Block, folder: Path) -> None:
    path = folder / block.options["file"]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(block.text, encoding="utf-8")


def run_python(block: Block, namespace: dict[str, Any]) -> None:
    printed = io.StringIO()
    with redirect_stdout(printed):
        exec(compile(block.text, block.place, "exec"), namespace)  # noqa: S102
    block.prints(printed.getvalue(), whole=True)


def run_query(block: Block, database: EmbeddedPostgres) -> None:
    rows = database.rows(block.text)
    printed = "\n".join(" | ".join("" if v is None else str(v) for v in row) for row in rows)
    block.prints(printed, whole=True)


def do(page: str, folder: Path, command: Callable[[Block], None], crm: EmbeddedPostgres) -> None:
    """Everything on a page that a reader would do, in order."""
    namespace: dict[str, Any] = {}
    for block in blocks(page):
        if "file" in block.options:
            write(block, folder)
        elif block.language == "python":
            run_python(block, namespace)
        elif block.language == "bash" and "run" in block.flags:
            command(block)
        elif block.language == "sql":
            run_query(block, crm)


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES)
def test_page_for_real(
    page: str,
    after_demo: Callable[[], Path],
    crm: EmbeddedPostgres,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folder = after_demo()
    monkeypatch.chdir(folder)
    monkeypatch.delenv("RFM_STORE_ROOT", raising=False)
    env = environment(folder)

    def command(block: Block) -> None:
        result = shell(folder, block.text, env)
        assert result.returncode == 0, f"{block.place}\n{result.stdout}"
        block.prints(result.stdout, whole=False)

    do(page, folder, command, crm)

    expect_weeks(page, folder)


@pytest.mark.parametrize("page", PAGES)
def test_page_in_one_process(
    page: str,
    project: Project,
    demo: Path,
    crm: EmbeddedPostgres,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The same, with the commands of `dg` done by Dagster in this process, in seconds."""
    folder = project.root
    shutil.copytree(ROOT / "component_defs", project.defs, dirs_exist_ok=True)
    shutil.copytree(demo / "data", folder / "data")
    (folder / "component_defs").symlink_to(project.defs, target_is_directory=True)
    monkeypatch.chdir(folder)
    monkeypatch.delenv("RFM_STORE_ROOT", raising=False)
    env = environment(folder)

    def command(block: Block) -> None:
        for line in block.text.splitlines():
            if line.startswith("dg check defs"):
                project.load().get_repository_def()
            elif line.startswith("dg launch"):
                launch(project.load(), shlex.split(line)[2:])
            elif not line.startswith(("dg ", "source ")):
                assert shell(folder, line, env).returncode == 0, f"{block.place}: {line}"

    do(page, folder, command, crm)

    expect_weeks(page, folder)


def expect_weeks(page: str, folder: Path) -> None:
    """The weeks that the page computes are there, beside those of the demo."""
    stored = [str(date) for date in Store(folder / "data" / "store").dates("win_back")]
    weeks = WEEKS.get(page, [])
    assert stored[: len(weeks)] == weeks


def launch(definitions: dg.Definitions, words: list[str]) -> None:
    """`dg launch` with a job or a selection, and a week or a range of weeks."""
    options = dict(zip(words[::2], words[1::2], strict=True))
    week = options.get("--partition")
    first, last = options.get("--partition-range", f"{week}...{week}").split("...")
    if "--job" in options:
        job = definitions.resolve_job_def(options["--job"])
    else:
        chosen = dg.define_asset_job("chosen", dg.AssetSelection.from_string(options["--assets"]))
        both = dg.Definitions.merge(definitions, dg.Definitions(jobs=[chosen]))
        job = both.resolve_job_def("chosen")
    result = job.execute_in_process(
        tags={
            "dagster/asset_partition_range_start": first,
            "dagster/asset_partition_range_end": last,
        },
        run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
    )
    assert result.success


def test_an_asset_of_ones_own_gets_the_newest_snapshot(demo: Path, tmp_path: Path) -> None:
    (block,) = [b for b in blocks("README.md") if b.options.get("file", "").endswith(".py")]
    namespace: dict[str, Any] = {}
    exec(compile(block.text, block.place, "exec"), namespace)  # noqa: S102
    root = str(shutil.copytree(demo / "data" / "store", tmp_path / "store"))
    weeks = dg.WeeklyPartitionsDefinition("2025-01-06", day_offset=1)

    result = dg.materialize(
        [namespace["at_risk_spend"], dg.AssetSpec("customer_segments", partitions_def=weeks)],
        resources={
            STORE_KEY: StoreResource(root=root),
            ENGINE_KEY: EngineResource(threads=1),
            "io_manager": store_io_manager,
        },
    )

    stored = Store(root).snapshot("at_risk_spend", None).files()[0]
    newest = pl.read_parquet(Store(root).snapshot("customer_segments").files()[0])
    at_risk = newest.filter(pl.col("segment") == "At Risk")
    assert result.success
    assert pl.read_parquet(stored)["monetary"].sum() == pytest.approx(at_risk["monetary"].sum())
    assert len(pl.read_parquet(stored)) == at_risk["country"].n_unique()
