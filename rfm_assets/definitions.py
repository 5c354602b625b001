"""The code location: what the folders of `component_defs/` define, run in one process.

Assembly only. A run of a few small tables takes five times as long with a process for each step,
because each process imports and loads everything again.
"""

from pathlib import Path

import dagster as dg


@dg.definitions
def defs() -> dg.Definitions:
    """Everything that the YAML files of this project define."""
    project = Path(__file__).parent.parent
    return dg.Definitions.merge(
        dg.load_from_defs_folder(path_within_project=project),
        dg.Definitions(executor=dg.in_process_executor),
    )
