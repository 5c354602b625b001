"""The `rfm` command. It runs and shows; what it shows is computed elsewhere.

Heavy imports happen inside the commands, so that `rfm --help` answers at once.
"""

import os
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table as Grid

from rfm_assets import database_commands
from rfm_assets.errors import RfmError

if TYPE_CHECKING:
    from collections.abc import Mapping

    import dagster as dg
    import pandas as pd
    from rich.status import Status

    from rfm_assets.store import Snapshot, Store

app = typer.Typer(
    help="Weekly customer segments and campaign lists from transactions.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
app.add_typer(database_commands.app, name="db")
out = Console(highlight=False)
err = Console(stderr=True, highlight=False)

JOB = "weekly_refresh"

NEXT_HERE = """\
[bold]Where to look next[/bold]
  make dev                                 lineage, checks and snapshots in Dagster's UI
  component_defs/*/defs.yaml               what you have just run: change a line, run again
  docs/your-own-data.md                    your own transactions in ten minutes
  from rfm_assets import load_table        the tables in a notebook:
  load_table("customer_segments")          a pandas DataFrame of the last week"""

NEXT_ELSEWHERE = """\
[bold]Where to look next[/bold]
  {folder}/README.md   how to open it in Dagster's UI
  {folder}/*/*/defs.yaml   what you have just run: change a line, run again"""


@app.callback()
def rfm() -> None:
    """Weekly customer segments and campaign lists from transactions."""


@app.command()
def demo(
    weeks: Annotated[int, typer.Option(min=1, max=104, help="Weekly snapshots to compute.")] = 12,
    project: Annotated[
        Path, typer.Option(help="Folder of the deployment: the one with its dg.toml or pyproject.")
    ] = Path(),
) -> None:
    """Run the main job for the last weeks and show segments, movement and lists."""
    here = Path.cwd()
    _enter(project)
    with out.status("Loading the definitions …") as status:
        import dagster as dg

        from rfm_assets.definitions import load_project

        definitions = load_project(Path.cwd())
        job = definitions.resolve_job_def(JOB)
        keys = _last_partitions(job, weeks)
        started = time.monotonic()
        with dg.DagsterInstance.get() as instance:
            result = _run(job, instance, keys, status)
    if not result.success:
        _explain_failure(result)
        raise typer.Exit(1)
    out.print(
        f"{len(keys)} weekly snapshots, weeks starting {keys[0]} to {keys[-1]}, "
        f"in {time.monotonic() - started:.1f} s\n"
    )
    _show_latest((definitions.resources or {})["rfm_store"].get_store())
    out.print(
        NEXT_HERE
        if Path.cwd() == here
        else NEXT_ELSEWHERE.format(folder=os.path.relpath(Path.cwd(), here)),
        markup=True,
    )


@app.command()
def show(
    project: Annotated[
        Path, typer.Option(help="Folder of the deployment: the one with its dg.toml or pyproject.")
    ] = Path(),
) -> None:
    """Show the newest segments, movement and lists of a project."""
    _enter(project)
    with out.status("Loading the definitions …"):
        from rfm_assets.definitions import load_project

        definitions = load_project(Path.cwd())
    store = (definitions.resources or {})["rfm_store"].get_store()
    if not store.tables():
        out.print(f"Nothing is stored below {store.root} yet. Run the weekly job, or `rfm demo`.")
        raise typer.Exit(1)
    _show_latest(store)


def _enter(project: Path) -> None:
    """Run from the project's folder, as Dagster's own commands do.

    Its modules need no installation there, and Dagster keeps its runs there unless the user has
    a home of their own.
    """
    if not project.is_dir():
        raise typer.BadParameter(f"There is no folder {project}.", param_hint="--project")
    os.chdir(project)
    sys.path.insert(0, str(Path.cwd()))
    if "DAGSTER_HOME" not in os.environ and Path("dagster.yaml").is_file():
        os.environ["DAGSTER_HOME"] = str(Path.cwd())


def _last_partitions(job: "dg.JobDefinition", weeks: int) -> list[str]:
    partitions = job.partitions_def
    keys = list(partitions.get_partition_keys()) if partitions is not None else []
    if not keys:
        raise typer.BadParameter("The weekly job has no finished week yet; see its start_date.")
    return keys[-weeks:]


def _run(
    job: "dg.JobDefinition", instance: "dg.DagsterInstance", keys: list[str], status: "Status"
) -> "dg.ExecuteInProcessResult":
    """One run over all the weeks, with the finished steps shown as they come."""
    from uuid import uuid4

    from dagster import DagsterEventType

    run_id = str(uuid4())
    steps = len(job.nodes)
    done = threading.Event()

    def watch() -> None:
        while not done.wait(1):
            finished = instance.all_logs(run_id, of_type=DagsterEventType.STEP_SUCCESS)
            last = finished[-1].step_key if finished else "starting"
            status.update(
                f"Computing {len(keys)} weeks: {len(finished)} of {steps} steps ({last}) …"
            )

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        return job.execute_in_process(
            run_id=run_id,
            instance=instance,
            raise_on_error=False,
            tags={
                "dagster/asset_partition_range_start": keys[0],
                "dagster/asset_partition_range_end": keys[-1],
            },
            run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
        )
    finally:
        done.set()
        watcher.join()


def _explain_failure(result: "dg.ExecuteInProcessResult") -> None:
    for event in result.all_events:
        if event.is_step_failure:
            error = event.step_failure_data.error
            cause = error.cause if error is not None and error.cause is not None else error
            message = cause.message if cause is not None else "unknown error"
            err.print(f"[red]{event.step_key} failed.[/red] {message.strip()}")
    err.print(f"The run is {result.run_id}; `make dev` shows its log.")


def _show_latest(store: "Store") -> None:
    """The newest snapshot of each kind of table that the project has."""
    from rfm_assets.loading import load_table

    latest = {name: store.snapshot(name) for name in store.tables()}
    kinds = {name: snapshot.manifest.kind for name, snapshot in latest.items()}
    for name, kind in kinds.items():
        if kind == "segment_summary":
            _show_summary(load_table(name, root=store.root), str(latest[name].as_of))
    for name, kind in kinds.items():
        if kind == "segment_movement":
            _show_movement(load_table(name, root=store.root))
    _show_lists({name: latest[name] for name in latest if kinds[name] == "campaign_list"})
    for name, kind in kinds.items():
        if kind == "suppression_list":
            reasons = ", ".join(f"{r} {n:,}" for r, n in latest[name].manifest.counts.items())
            customers = latest[name].manifest.row_counts["rows"]
            out.print(f"{name}: {customers:,} customers ({reasons})\n")


def _show_lists(lists: "Mapping[str, Snapshot]") -> None:
    grid = Grid(title="Campaign lists", title_justify="left")
    for header in ("list", "stage", "removed", "left"):
        grid.add_column(header, justify="left" if header in {"list", "stage"} else "right")
    for name, snapshot in lists.items():
        for position, step in enumerate(snapshot.manifest.extra["waterfall"]):
            removed = f"{step['removed']:,}" if step["removed"] else ""
            grid.add_row("" if position else name, step["stage"], removed, f"{step['left']:,}")
        grid.add_section()
    out.print(grid)


def _show_summary(summary: "pd.DataFrame", as_of: str) -> None:
    grid = Grid(title=f"Segments as of {as_of}", title_justify="left")
    grid.add_column("segment")
    for header in ("customers", "share", "change", "mean spend", "share of spend"):
        grid.add_column(header, justify="right")
    for row in summary.sort_values("customers", ascending=False).itertuples():
        change = (
            ""
            if row.customers_change != row.customers_change
            else f"{int(row.customers_change):+,}"
        )
        mean = "" if row.monetary_mean != row.monetary_mean else f"{row.monetary_mean:,.2f}"
        share = "" if row.monetary_pct != row.monetary_pct else f"{row.monetary_pct:.1f} %"
        grid.add_row(
            str(row.segment),
            f"{row.customers:,}",
            f"{row.customers_pct:.1f} %",
            change,
            mean,
            share,
        )
    out.print(grid)


def _show_movement(movement: "pd.DataFrame") -> None:
    moved = movement[movement["from_segment"] != movement["to_segment"]]
    stayed = int(movement["customers"].sum() - moved["customers"].sum())
    grid = Grid(
        title=f"Largest movements since the week before ({stayed:,} customers stayed)",
        title_justify="left",
    )
    for header in ("from", "to"):
        grid.add_column(header)
    for header in ("customers", "spend now"):
        grid.add_column(header, justify="right")
    for row in (
        moved.sort_values(["customers", "from_segment"], ascending=[False, True])
        .head(6)
        .itertuples()
    ):
        grid.add_row(
            str(row.from_segment),
            str(row.to_segment),
            f"{row.customers:,}",
            f"{row.monetary_now:,.2f}",
        )
    out.print(grid)


def main() -> None:
    """Entry point: a user's mistake ends with its message and exit code 2, not a stack trace."""
    try:
        app()
    except RfmError as error:
        err.print(f"[red]{type(error).__name__}[/red] {error}")
        raise SystemExit(2) from None


if __name__ == "__main__":
    main()
