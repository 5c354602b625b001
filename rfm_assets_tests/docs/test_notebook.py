"""The notebook: it runs over what `make demo` makes, and shows what a run gives."""

import json
import re
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from nbformat import NotebookNode

from examples.notebooks.run import METADATA, NOTEBOOK, compute_weeks, executed, read, write

WITHOUT_FIGURES = ("setup", "arrow", "frame")
"""Cells that show the same in any week."""

LARGEST_FILE, LARGEST_CELL = 100_000, 10_000


def code_cells(notebook: NotebookNode) -> dict[str, NotebookNode]:
    return {cell["id"]: cell for cell in notebook["cells"] if cell["cell_type"] == "code"}


def outputs(notebook: NotebookNode) -> Iterator[tuple[str, NotebookNode]]:
    for name, cell in code_cells(notebook).items():
        for output in cell["outputs"]:
            yield name, output


def shown(cell: NotebookNode) -> str:
    return json.dumps(cell["outputs"], ensure_ascii=False)


def complaints(notebook: NotebookNode) -> list[tuple[str, str]]:
    """Errors, and warnings that the kernel or a library wrote."""
    return [
        (name, str(output))
        for name, output in outputs(notebook)
        if output["output_type"] == "error" or output.get("name") == "stderr"
    ]


def beginning(notebook: NotebookNode, cells: int) -> NotebookNode:
    return NotebookNode({**notebook, "cells": notebook["cells"][:cells]})


def test_it_runs_in_its_own_folder_over_the_tables_of_the_demo(
    after_demo: Callable[[], Path],
) -> None:
    clone = after_demo()
    folder = clone / "examples" / "notebooks"
    folder.mkdir(parents=True)
    stored = read()

    # Raises what a cell raises, its asserts included.
    done = executed(stored, folder)

    assert complaints(done) == []
    before, after = code_cells(stored), code_cells(done)
    assert [name for name in before if before[name]["outputs"] and not after[name]["outputs"]] == []
    for name in WITHOUT_FIGURES:
        assert after[name]["outputs"] == before[name]["outputs"], name


def test_it_runs_at_the_root_of_the_project(demo: Path) -> None:
    done = executed(beginning(read(), cells=4), demo)

    assert "customer_id" in shown(code_cells(done)["latest"])


@pytest.mark.slow
def test_its_outputs_are_those_of_a_run(tmp_path: Path) -> None:
    compute_weeks(tmp_path / "store")

    done = executed(read(), NOTEBOOK.parent, tmp_path / "store")

    write(done, tmp_path / "tour.ipynb")
    assert (tmp_path / "tour.ipynb").read_text("utf-8") == NOTEBOOK.read_text("utf-8")


def test_its_outputs_are_stored_whole_and_small() -> None:
    stored = read()
    cells = code_cells(stored)

    assert complaints(stored) == []
    assert [cell["execution_count"] for cell in cells.values()] == [*range(1, len(cells) + 1)]
    silent = [name for name, cell in cells.items() if not cell["outputs"]]
    assert silent == ["setup", "frame"]
    kinds = {kind for _, output in outputs(stored) for kind in output.get("data", {})}
    assert kinds <= {"text/plain", "text/html"}
    assert max(len(shown(cell)) for cell in cells.values()) < LARGEST_CELL
    assert NOTEBOOK.stat().st_size < LARGEST_FILE


def test_it_says_nothing_of_the_machine_or_the_day() -> None:
    stored = read()
    text = NOTEBOOK.read_text("utf-8")

    assert stored["metadata"] == METADATA
    assert {str(cell["metadata"]) for cell in stored["cells"]} == {"{}"}
    assert re.findall(r"/(?:home|root|tmp|work|Users)/", text) == []
    assert socket.gethostname() not in text
    for name, cell in code_cells(stored).items():
        assert re.findall(r"\d\d:\d\d:\d\d", shown(cell)) == [], name
        dates = re.findall(r"\b\d{4}-\d\d-\d\d\b", shown(cell))
        assert [date for date in dates if not "2025-04-14" <= date <= "2025-06-30"] == [], name


def test_its_cells_have_names() -> None:
    """A name stays when the notebook is run again; a random id would be a change each time."""
    names = [cell["id"] for cell in read()["cells"]]

    assert [name for name in names if not re.fullmatch(r"[a-z]+(-[a-z]+)*", name)] == []
    assert len(set(names)) == len(names)


def test_its_links_lead_somewhere() -> None:
    prose = "".join(cell["source"] for cell in read()["cells"] if cell["cell_type"] == "markdown")
    targets = re.findall(r"\]\(([^)\s#]+)[^)]*\)", prose)

    assert targets
    assert [path for path in targets if not (NOTEBOOK.parent / path).exists()] == []
