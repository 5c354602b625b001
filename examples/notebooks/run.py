"""`make notebook`: run tour.ipynb and store its outputs.

What the demo shows depends on the day, because it computes the weeks that have ended last. Outputs
of weeks that do not move can be compared with those of a run on any day: a snapshot of an old week
is the same whenever it is computed. So the shipped deployment computes them here, as it stands,
into a store of its own; only the weeks are fixed.
"""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbformat import NotebookNode
from traitlets.config import Config

ROOT = Path(__file__).parents[2]
NOTEBOOK = Path(__file__).parent / "tour.ipynb"
WEEKS = ("2025-04-07", "2025-06-23")
"""First days of the first and the last of twelve weeks; the newest as_of is 2025-06-30."""

METADATA = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"file_extension": ".py", "mimetype": "text/x-python", "name": "python"},
}
"""What an editor needs to open it; nothing of the Python or the machine that ran it."""


def compute_weeks(store: Path) -> None:
    """The tables of WEEKS in `store`, made by the shipped deployment."""
    import dagster as dg

    from rfm_assets.definitions import load_project

    with _environment("RFM_STORE_ROOT", str(store)):
        job = load_project(ROOT).resolve_job_def("weekly_refresh")
        job.execute_in_process(
            instance=dg.DagsterInstance.ephemeral(),
            tags={
                "dagster/asset_partition_range_start": WEEKS[0],
                "dagster/asset_partition_range_end": WEEKS[1],
            },
            run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
        )


def executed(notebook: NotebookNode, folder: Path, store: Path | None = None) -> NotebookNode:
    """The notebook as a kernel that starts in `folder` runs it.

    Args:
        notebook: What to run; it stays as it is.
        folder: Where the kernel starts.
        store: The tables; where None, the notebook finds them itself.

    Raises:
        nbclient.exceptions.CellExecutionError: A cell failed.
    """
    fresh = deepcopy(notebook)
    env = {name: value for name, value in os.environ.items() if name != "RFM_STORE_ROOT"}
    if store is not None:
        env["RFM_STORE_ROOT"] = str(store)
    # The package of this folder, wherever another one is installed from.
    env["PYTHONPATH"] = os.pathsep.join(filter(None, [str(ROOT), env.get("PYTHONPATH")]))
    with tempfile.TemporaryDirectory() as own:
        # The reader's settings of IPython would show in the outputs. Sockets in a folder of one's
        # own are open to nobody else, and two runs cannot choose the same.
        sockets = {"transport": "ipc", "connection_file": str(Path(own, "kernel.json"))}
        client = NotebookClient(
            fresh,
            timeout=300,
            record_timing=False,
            coalesce_streams=True,  # what is printed arrives in pieces, as it happens
            resources={"metadata": {"path": str(folder)}},
            config=Config({"KernelManager": sockets}),
        )
        client.execute(env=env | {"IPYTHONDIR": own})
    fresh["metadata"] = METADATA
    for cell in fresh["cells"]:
        cell["metadata"] = {}
    return fresh


def read(path: Path = NOTEBOOK) -> NotebookNode:
    """A notebook with everything that the format asks for."""
    return nbformat.read(path, as_version=4)


def write(notebook: NotebookNode, path: Path = NOTEBOOK) -> None:
    """The notebook as a file, the same bytes for the same notebook."""
    nbformat.validate(notebook)
    path.write_text(nbformat.writes(notebook) + "\n", encoding="utf-8")


def main() -> None:
    """Compute the weeks, run the notebook over them, store what it shows."""
    with tempfile.TemporaryDirectory() as folder:
        store = Path(folder, "store")
        compute_weeks(store)
        write(executed(read(), NOTEBOOK.parent, store))


@contextmanager
def _environment(name: str, value: str) -> Iterator[None]:
    before = os.environ.get(name)
    os.environ[name] = value
    try:
        yield
    finally:
        del os.environ[name]
        if before is not None:
            os.environ[name] = before


if __name__ == "__main__":
    main()
