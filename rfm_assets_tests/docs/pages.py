"""The pages of the documentation, taken apart into their code blocks.

The word after the language of a fence says what a block is for:

* `bash run`: run in a copy of the project; without `run` it is only shown
* `bash api`: run beside a server of the API (`test_api_page.py`)
* `python`: run, in order, in one namespace per page; `python file=PATH` is written to a file
* `yaml file=PATH`, `csv file=PATH`: written to that file of the copy
* `yaml shipped=PATH`: is what stands in that file of the project
* `yaml component`: a whole `defs.yaml` that loads
* `yaml attributes=COMPONENT`: attributes that load on top of the component's example
* `yaml attributes=COMPONENT fails`: attributes that do not
* `yaml serving`: a whole `serving.yaml` that loads
* `yaml run=KEY fails`: put below that key of the page's transactions, makes the run fail
* `yaml scheme=NAME`: a segment scheme; `yaml lint=NAME`: replaces its last rule and fails
* `sql`: a query on what the page publishes to Postgres
* `text output`: what the block before it prints, `…` standing for anything
* `text demo`: what `rfm demo` prints, with other figures
"""

import re
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = (
    "README.md",
    "docs/command-line.md",
    "docs/your-own-data.md",
    "docs/campaigns.md",
    "docs/segmentation.md",
    "docs/behavioral-segments.md",
    "docs/lifetime-value.md",
    "docs/churn.md",
    "docs/behavior.md",
    "docs/validation.md",
    "docs/dashboard.md",
    "docs/operations.md",
    "docs/alerts.md",
    "docs/publishing-to-postgres.md",
    "docs/report.md",
    "docs/history.md",
    "docs/exports.md",
    "docs/deployment.md",
    "docs/sources-and-engines.md",
    "docs/api.md",
)
"""The pages that are executed; docs/reference is written from the code."""

_FENCE = re.compile(r"^```(.*)$")


@dataclass(frozen=True)
class Block:
    """A fenced block. `output` is the text of the `text output` that follows it."""

    page: str
    line: int
    language: str
    flags: tuple[str, ...]
    text: str
    options: dict[str, str] = field(default_factory=dict)
    output: str | None = None

    @property
    def place(self) -> str:
        """Where it stands, for messages and test ids."""
        return f"{self.page}:{self.line}"

    def prints(self, actual: str, *, whole: bool) -> None:
        """Assert that the output is the one shown: all of it, or its lines in this order."""
        if self.output is None:
            return
        wanted = self.output.splitlines()
        lines = [line.rstrip() for line in actual.strip("\n").splitlines()]
        if whole:
            assert len(lines) == len(wanted), f"{self.place}: printed\n{actual}"
        rest = iter(lines)
        for expected in wanted:
            pattern = ".*".join(re.escape(part) for part in expected.rstrip().split("…"))
            found = any(re.search(pattern, line) for line in rest)
            assert found, f"{self.place}: no line {expected!r} here in\n{actual}"


def blocks(page: str) -> list[Block]:
    """The blocks of a page, in order; those with `text output` are merged into their sources."""
    found: list[Block] = []
    for block in _fenced(page):
        if block.language == "text" and "output" in block.flags:
            before = found.pop()
            assert before.output is None, f"{block.place}: two outputs"
            found.append(
                Block(
                    **{**vars(before), "output": block.text.rstrip("\n")},
                )
            )
        else:
            found.append(block)
    return found


def every_block() -> list[Block]:
    """The blocks of all pages."""
    return [block for page in PAGES for block in blocks(page)]


def text_of(page: str) -> str:
    """A page as it stands."""
    return (ROOT / page).read_text(encoding="utf-8")


def prose(page: str) -> str:
    """A page without its blocks."""
    return re.sub(r"^```.*?^```$", "", text_of(page), flags=re.MULTILINE | re.DOTALL)


def copy_of_project(target: Path) -> Path:
    """What the commands of the pages need of a clone, with this environment as its `.venv`."""
    target.mkdir(parents=True)
    for folder in ("rfm_assets", "component_defs"):
        shutil.copytree(
            ROOT / folder, target / folder, ignore=shutil.ignore_patterns("__pycache__")
        )
    for name in ("pyproject.toml", "dagster.yaml", "workspace.yaml", "Makefile"):
        shutil.copy(ROOT / name, target / name)
    (target / ".venv").symlink_to(sys.prefix)
    return target


def _fenced(page: str) -> Iterator[Block]:
    start, words, text = 0, [], []
    for number, line in enumerate(text_of(page).splitlines(), start=1):
        fence = _FENCE.match(line)
        if fence and not start:
            start, words, text = number, fence[1].split(), []
        elif fence:
            language, *rest = words or [""]
            yield Block(
                page,
                start,
                language,
                tuple(word for word in rest if "=" not in word),
                "\n".join(text) + "\n",
                dict(word.split("=", 1) for word in rest if "=" in word),
            )
            start = 0
        elif start:
            text.append(line)
    assert not start, f"{page}:{start}: a block without an end"
