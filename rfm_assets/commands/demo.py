"""`rfm demo`: the weekly job over the last weeks, and what came out of it."""

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated
from uuid import uuid4

import typer

from rfm_assets.commands.project import Project, enter, load, told_in_a_line, weekly_job
from rfm_assets.commands.run import INTERRUPTED, explained, was_interrupted, watched
from rfm_assets.commands.terminal import err, out, show_latest

if TYPE_CHECKING:
    import dagster as dg

NEXT = "Where to look next"
NEXT_HERE = """\
  make serve                       segments and lists in the browser; an API
  make dev                         lineage, checks, snapshots in Dagster's UI
  component_defs/*/defs.yaml       what has just run: change a line, run again
  docs/your-own-data.md            your own transactions in ten minutes
  In Python, a pandas DataFrame of the last week:
  from rfm_assets import load_table; load_table("customer_segments")"""

NEXT_ELSEWHERE = """\
  {folder}/README.md   how to open it in Dagster's UI
  {folder}/*/*/defs.yaml   what has just run: change a line, run again"""


def demo(
    weeks: Annotated[int, typer.Option(min=1, max=104, help="Weekly snapshots to compute.")] = 12,
    project: Project = Path(),
    job: Annotated[
        str | None, typer.Option(help="Name of the weekly job, where the project has several.")
    ] = None,
) -> None:
    """Run the weekly job for the last weeks and show segments, movement and lists."""
    here = Path.cwd()
    enter(project)
    with out.status("Loading the definitions …") as status, told_in_a_line():
        import dagster as dg

        definitions = load()
        chosen = weekly_job(definitions, job)
        keys = _last_partitions(chosen, weeks)
        started = time.monotonic()
        with dg.DagsterInstance.get() as instance:
            result = watched(
                chosen,
                instance,
                str(uuid4()),
                {
                    "dagster/asset_partition_range_start": keys[0],
                    "dagster/asset_partition_range_end": keys[-1],
                },
                lambda done, last: status.update(
                    f"Computing {len(keys)} weeks: {done} of {len(chosen.nodes)} steps ({last}) …"
                ),
            )
    if not result.success:
        raise typer.Exit(_explain_failure(result))
    out.print(
        f"{len(keys)} weekly snapshots, weeks starting {keys[0]} to {keys[-1]}, "
        f"in {time.monotonic() - started:.1f} s\n"
    )
    show_latest((definitions.resources or {})["rfm_store"].get_store())
    out.print(NEXT, style="bold")
    out.print(
        NEXT_HERE
        if Path.cwd() == here
        else NEXT_ELSEWHERE.format(folder=os.path.relpath(Path.cwd(), here))
    )


def _last_partitions(job: "dg.JobDefinition", weeks: int) -> list[str]:
    partitions = job.partitions_def
    keys = list(partitions.get_partition_keys()) if partitions is not None else []
    if not keys:
        raise typer.BadParameter("The weekly job has no finished week yet; see its start_date.")
    return keys[-weeks:]


def _explain_failure(result: "dg.ExecuteInProcessResult") -> int:
    """Say what failed; the exit code that follows from it."""
    if was_interrupted(result):
        err.print("Interrupted. The weeks that were published stay; the same command goes on.")
        return INTERRUPTED
    for line in explained(result).splitlines():
        err.print(line)
    err.print(f"The run is {result.run_id}; `make dev` shows its log.")
    return 1
