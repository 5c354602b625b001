"""What the documentation names exists, and what exists is named where it should be."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

import rfm_assets.components
from rfm_assets import load_scheme, quality, schemas
from rfm_assets.cli import app
from rfm_assets.domain.churn_scores import REJECT_REASONS as REJECTED_SCORES
from rfm_assets.domain.features import FEATURES
from rfm_assets.domain.rfm import EXCLUSION_REASONS
from rfm_assets.domain.row_policy import REJECT_REASONS
from rfm_assets.domain.sends import REJECT_REASONS as REJECTED_SENDS
from rfm_assets.domain.suppression import SUPPRESSION_REASONS
from rfm_assets.erased import KEY_VARIABLE
from rfm_assets.library import benchmarks, packaged_schemes
from rfm_assets.loading import ROOT_VARIABLE
from rfm_assets.postgres.layout import CONTROL, PLACES
from rfm_assets.validation import described_checks
from rfm_assets_tests.docs.pages import PAGES, ROOT, blocks, every_block, prose, text_of

MARKDOWN = (*PAGES, "CONTEXT.md", "CHANGELOG.md")
COMPONENTS = set(dir(rfm_assets.components))
RULES = (
    *quality.TRANSACTION_RULES,
    *quality.SEGMENT_RULES,
    *quality.CUSTOMER_RULES,
    *quality.MOVEMENT_RULES,
    *quality.SUMMARY_RULES,
    *quality.LIFETIME_VALUE_RULES,
    *quality.CLUSTER_RULES,
    *quality.CHURN_SCORE_RULES,
    *quality.CHURN_SEGMENT_RULES,
    *quality.EVENT_RULES,
    *quality.BEHAVIOR_RULES,
    *quality.VALIDATION_RULES,
    *quality.SUPPRESSION_RULES,
    *quality.LIST_RULES,
    *quality.OUTCOME_RULES,
    *quality.SEND_RULES,
    *quality.EXPORT_RULES,
    *quality.DATABASE_RULES,
)


def links(page: str) -> Iterator[tuple[str, str]]:
    """Relative links as (file, anchor)."""
    for target in re.findall(r"\]\(([^)\s]+)\)", prose(page)):
        if "://" not in target:
            path, _, anchor = target.partition("#")
            yield path, anchor


def anchors(path: Path) -> set[str]:
    """The anchors that GitHub gives to the headings of a page."""
    headings = re.findall(r"^#+ (.+)$", path.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def first_column(page: str, header: str) -> list[str]:
    """The code words in the first column of the table whose header row begins so."""
    lines = text_of(page).splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith(f"| {header} |"))
    words: list[str] = []
    for line in lines[start + 2 :]:
        if not line.startswith("|"):
            break
        words += re.findall(r"`([^`]+)`", line.split("|")[1])
    return words


@pytest.mark.parametrize("page", MARKDOWN)
def test_links_lead_somewhere(page: str) -> None:
    broken: list[str] = []
    for path, anchor in links(page):
        target = (ROOT / page).parent / path if path else ROOT / page
        if not target.exists():
            broken.append(path)
        elif anchor and anchor not in anchors(target):
            broken.append(f"{path}#{anchor}")
    assert broken == []


@pytest.mark.parametrize("page", MARKDOWN)
def test_make_targets_exist(page: str) -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))
    bash = [b.text for b in every_block() if b.page == page and b.language == "bash"]
    named = set(re.findall(r"`make ([a-z]+)", prose(page)))
    named |= set(re.findall(r"^make ([a-z]+)", "".join(bash), re.MULTILINE))
    assert named - targets == set()


@pytest.mark.parametrize("page", MARKDOWN)
def test_components_exist(page: str) -> None:
    named = set(re.findall(r"\b[A-Z][A-Za-z]+Component\b", text_of(page)))
    assert named - COMPONENTS == set()


def test_readme_lists_every_component() -> None:
    table = text_of("README.md").split("## Components")[1].split("\n## ")[0]
    assert set(re.findall(r"^\| \[(\w+)\]", table, re.MULTILINE)) == COMPONENTS


def test_environment_variables_are_those_that_are_read() -> None:
    documented = set(first_column("docs/operations.md", "variable"))
    storage = {"DAGSTER_POSTGRES_URL", "DAGSTER_POSTGRES_PASSWORD", "RFM_EMBEDDED_POSTGRES"}
    assert documented == {
        ROOT_VARIABLE,
        KEY_VARIABLE,
        "DAGSTER_HOME",
        "RFM_ONLINE_RETAIL",
        *storage,
    }
    for page in PAGES:
        named = set(re.findall(r"\b(?:RFM|DAGSTER)_[A-Z_]+\b", text_of(page)))
        assert named <= documented, page
    yamls = (ROOT / "examples").rglob("*.yaml")
    read = {name for path in yamls for name in re.findall(r"\benv\.(\w+)", path.read_text("utf-8"))}
    for path in (ROOT / "rfm_assets").rglob("*.py"):
        read |= set(re.findall(r"\"((?:RFM|DAGSTER)_[A-Z_]+)\"", path.read_text("utf-8")))
    assert read <= documented


def test_every_check_is_explained() -> None:
    contracts = [v for v in vars(schemas).values() if isinstance(v, schemas.TableContract)]
    names = {name for contract in contracts for name in described_checks(contract)} | set(RULES)
    names.add("known_segments")  # asked of the segments once a scheme names them
    assert set(first_column("docs/operations.md", "check")) == names


def test_blocking_checks_are_those_that_block() -> None:
    for name, text in quality.DESCRIPTIONS.items():
        row = next(
            r for r in text_of("docs/operations.md").splitlines() if r.startswith(f"| `{name}`")
        )
        how = row.split("|")[3]
        if name.endswith("drift"):
            continue
        assert ("blocks" in how) == text.startswith("Blocks"), name
        assert ("warns" in how) == ("arns" in text), name


def test_published_tables_are_those_described() -> None:
    described: dict[str, tuple[str, list[str]]] = {}
    for line in text_of("docs/publishing-to-postgres.md").splitlines():
        cells = [re.findall(r"`([^`]+)`", cell) for cell in line.split("|")[2:5]]
        if line.startswith("|") and len(cells) == 3 and len(cells[0]) == 1:
            described[cells[0][0]] = (cells[1][0] if cells[1] else "", cells[2])
    made = {
        place.name: (", ".join(place.key), [", ".join(names) for names in place.indexes])
        for place in PLACES.values()
    }
    assert described == made | {CONTROL: ("table_name, source, snapshot", [])}


def test_limits_are_the_defaults() -> None:
    transactions, segments = quality.TransactionChecks(), quality.SegmentChecks()
    page = text_of("docs/operations.md")
    assert (transactions.warn_reject_rate, transactions.block_reject_rate) == (0.05, 0.5)
    assert "warns above 5 %, blocks above 50 %" in page
    assert (segments.warn_drift, segments.block_drift) == (0.1, 1)
    assert "warns above 0.1, blocks above 1 " in page
    assert (transactions.max_volume_fall, transactions.max_age_days) == (0.5, 14)
    assert "at most 50 % fewer" in page
    assert "at most 14 days old" in page
    assert segments.warn_largest_share == 0.8
    assert "at most 80 %" in page


def test_reasons_are_all_explained() -> None:
    assert tuple(first_column("docs/your-own-data.md", "reason")) == REJECT_REASONS
    excluded = text_of("docs/segmentation.md").split("| reason | who |")[1].split("\n\n")[0]
    assert set(re.findall(r"^\| `(\w+)`", excluded, re.MULTILINE)) == set(EXCLUSION_REASONS)
    guide = text_of("docs/your-own-data.md")
    own = [reason for reason in SUPPRESSION_REASONS if reason != "paid_media_saving"]
    assert [reason for reason in own if f"`{reason}`" not in guide] == []


def test_schemes_and_benchmarks_are_those_packaged() -> None:
    page = " ".join(text_of("docs/segmentation.md").split())
    assert [name for name in packaged_schemes() if f"`{name}`" not in page] == []
    for industry, shares in benchmarks().items():
        for low, high in shares.values():
            assert f"{low:g}-{high:g}" in page, industry


def test_demo_excerpt_has_the_shape_of_the_output(demo: Path) -> None:
    (excerpt,) = [b for b in blocks("README.md") if b.language == "text" and "demo" in b.flags]
    shown = [shape(line) for line in excerpt.text.splitlines() if line.strip() != "…"]
    printed = [shape(line) for line in (demo / "demo.txt").read_text("utf-8").splitlines()]
    assert [line for line in shown if line not in printed] == []


def shape(line: str) -> str:
    """A line of the output without figures, names of segments, and widths."""
    names = sorted(["(new)", "(left)", *load_scheme().names], key=len, reverse=True)
    line = re.sub("|".join(map(re.escape, names)), "S", line)
    line = re.sub(r"\d{4}-\d\d-\d\d", "D", line)
    line = re.sub(r"[+-]?\d[\d,.]*", "9", line)
    line = re.sub(r"([━─])\1*", r"\1", line)
    return re.sub(r"\s+", " ", line).strip()


def test_pages_give_away_no_place_of_this_machine() -> None:
    for page in MARKDOWN:
        assert re.findall(r"/(?:home|root|tmp|work|Users)/", text_of(page)) == [], page


def test_the_features_are_those_that_are_computed() -> None:
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in text_of("docs/behavioral-segments.md").splitlines()
        if re.match(r"\| `\w+` \| [^|]+ \| [^|]+ \|[^|]*\|$", line)
    ]
    told = [(name.strip("`"), unit, needs) for name, unit, _, needs in rows]
    assert told == [
        (
            one.name,
            one.unit,
            "any of the three" if len(one.needs) > 1 else "".join(f"`{n}`" for n in one.needs),
        )
        for one in FEATURES
    ]


def commands(found: Any, path: tuple[str, ...] = ("rfm",)) -> Iterator[tuple[str, Any]]:
    """Every command that does something, by what is typed."""
    if hasattr(found, "commands"):
        for name, below in found.commands.items():
            yield from commands(below, (*path, name))
    else:
        yield " ".join(path), found


def test_every_command_and_option_is_named() -> None:
    page = text_of("docs/command-line.md")
    for typed, command in commands(typer.main.get_command(app)):
        assert re.search(rf"\b{typed}\b", page), typed
        for option in command.params:
            visible = option.param_type_name == "option" and not option.hidden
            named = [name for name in option.opts if name != "--help"]
            if visible and named:
                assert any(re.search(rf"{name}\b", page) for name in named), f"{typed} {named}"


def test_why_a_churn_score_is_set_aside_is_told() -> None:
    assert first_column("docs/churn.md", "reason") == list(REJECTED_SCORES)


def test_why_a_send_is_set_aside_is_told() -> None:
    assert first_column("docs/campaigns.md", "reason") == list(REJECTED_SENDS)
