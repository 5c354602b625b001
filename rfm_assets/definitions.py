"""The code location: what the folders of `component_defs/` define, run in one process.

Assembly only. A run of a few small tables takes five times as long with a process for each step,
because each process imports and loads everything again.
"""

from pathlib import Path

import dagster as dg

from rfm_assets.components.checking import every_problem
from rfm_assets.components.wiring import require_wiring


@dg.definitions
def defs() -> dg.Definitions:
    """Everything that the YAML files of this project define."""
    return load_project(Path(__file__).parent.parent)


def load_project(project: Path) -> dg.Definitions:
    """Everything that the YAML files of a project define.

    Args:
        project: Folder with the project's `pyproject.toml` or `dg.toml`.

    Raises:
        InvalidProject: What is wrong in the YAML files, with file and line.
    """
    with every_problem(project):
        loaded = dg.load_from_defs_folder(path_within_project=project)
        require_wiring(project, loaded)
    return dg.Definitions.merge(loaded, dg.Definitions(executor=dg.in_process_executor))
