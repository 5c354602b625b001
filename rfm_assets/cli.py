"""The `rfm` command. It runs, checks and shows; what it shows is computed elsewhere.

Heavy imports happen inside the commands, so that `rfm --help` answers at once.
"""

import os
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.text import Text

from rfm_assets import database_commands, generate_commands
from rfm_assets.errors import RfmError
from rfm_assets.terminal import out, show_latest

if TYPE_CHECKING:
    import dagster as dg
    from rich.status import Status

app = typer.Typer(
    help="Weekly customer segments and campaign lists from transactions.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
app.add_typer(database_commands.app, name="db")
app.add_typer(generate_commands.app, name="generate")
# Messages hold brackets of their own, such as "rfm_assets[postgres]".
err = Console(stderr=True, highlight=False, soft_wrap=True, markup=False)

Project = Annotated[
    Path, typer.Option(help="Folder of the deployment: the one with its dg.toml or pyproject.")
]

NEXT = "Where to look next"
NEXT_HERE = """\
  make dev                         lineage, checks and snapshots in the browser
  component_defs/*/defs.yaml       what has just run: change a line, run again
  docs/your-own-data.md            your own transactions in ten minutes
  In Python, a pandas DataFrame of the last week:
  from rfm_assets import load_table; load_table("customer_segments")"""

NEXT_ELSEWHERE = """\
  {folder}/README.md   how to open it in Dagster's UI
  {folder}/*/*/defs.yaml   what has just run: change a line, run again"""

INTERRUPTED = 130
"""What a shell says of a command that Ctrl-C ended."""


@app.callback()
def rfm() -> None:
    """Weekly customer segments and campaign lists from transactions."""


@app.command()
def demo(
    weeks: Annotated[int, typer.Option(min=1, max=104, help="Weekly snapshots to compute.")] = 12,
    project: Project = Path(),
    job: Annotated[
        str | None, typer.Option(help="Name of the weekly job, where the project has several.")
    ] = None,
) -> None:
    """Run the weekly job for the last weeks and show segments, movement and lists."""
    here = Path.cwd()
    _enter(project)
    with out.status("Loading the definitions …") as status, _told_in_a_line():
        import dagster as dg

        definitions = _load()
        chosen = _weekly_job(definitions, job)
        keys = _last_partitions(chosen, weeks)
        started = time.monotonic()
        with dg.DagsterInstance.get() as instance:
            result = _run(chosen, instance, keys, status)
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


@app.command()
def show(project: Project = Path()) -> None:
    """Show the newest segments, movement and lists of a project."""
    _enter(project)
    with out.status("Loading the definitions …"), _told_in_a_line():
        store = (_load().resources or {})["rfm_store"].get_store()
    if not store.tables():
        out.print(f"Nothing is stored below {store.root} yet. Run the weekly job, or `rfm demo`.")
        raise typer.Exit(1)
    show_latest(store)


@app.command()
def check(project: Project = Path()) -> None:
    """Check every YAML file of a project, and say all that is wrong, with file and line."""
    _enter(project)
    with out.status("Checking …"), _told_in_a_line():
        definitions = _load()
        # Resolving is what Dagster does when it serves them: jobs, schedules, checks, resources.
        definitions.get_repository_def()
        specs = definitions.resolve_all_asset_specs()
    made = [spec for spec in specs if "dagster/auto_created_stub_asset" not in spec.metadata]
    jobs = ", ".join(_weekly_jobs(definitions)) or "none"
    out.print(f"No problem: {len(made)} assets; weekly jobs: {jobs}.")


def _enter(project: Path) -> None:
    """Run from the project's folder, as Dagster's own commands do.

    Its modules need no installation there, and Dagster keeps its runs there unless the user has
    a home of their own.
    """
    if not project.is_dir():
        raise typer.BadParameter(f"There is no folder {project}.", param_hint="--project")
    if not any((project / name).is_file() for name in ("dg.toml", "pyproject.toml")):
        raise typer.BadParameter(
            f"{project.resolve()} has neither a dg.toml nor a pyproject.toml. Name the folder of "
            "a project, or go there.",
            param_hint="--project",
        )
    os.chdir(project)
    sys.path.insert(0, str(Path.cwd()))
    if "DAGSTER_HOME" not in os.environ and Path("dagster.yaml").is_file():
        os.environ["DAGSTER_HOME"] = str(Path.cwd())


def _load() -> "dg.Definitions":
    from rfm_assets.definitions import load_project

    return load_project(Path.cwd())


@contextmanager
def _told_in_a_line() -> Iterator[None]:
    """End with what Dagster says rather than with where it was when it said so."""
    from dagster import DagsterError

    try:
        yield
    except DagsterError as error:
        causes = [str(error)]
        while (cause := error.__cause__) is not None:
            causes.append(str(cause))
            error = cause
        err.print(_red("Dagster:"), " ".join(dict.fromkeys(causes)))
        raise typer.Exit(1) from None


def _weekly_jobs(definitions: "dg.Definitions") -> list[str]:
    """The jobs whose assets have weeks, by name."""
    from dagster import JobDefinition, TimeWindowPartitionsDefinition

    resolved = (definitions.resolve_job_def(one.name) for one in definitions.jobs or ())
    return sorted(
        one.name
        for one in resolved
        if isinstance(one, JobDefinition)
        and isinstance(one.partitions_def, TimeWindowPartitionsDefinition)
    )


def _weekly_job(definitions: "dg.Definitions", name: str | None) -> "dg.JobDefinition":
    names = _weekly_jobs(definitions)
    if name is None and len(names) == 1:
        (name,) = names
    if name not in names:
        listed = ", ".join(names)
        reason = (
            "This project has no job over weeks. Add a WeeklyRefreshComponent: `dg scaffold defs "
            "rfm_assets.components.WeeklyRefreshComponent weekly_refresh`."
            if not names
            else f"The weekly jobs are {listed}. Choose one of them."
        )
        raise typer.BadParameter(reason, param_hint="--job")
    return definitions.resolve_job_def(name)


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


def _explain_failure(result: "dg.ExecuteInProcessResult") -> int:
    """Say what failed; the exit code that follows from it."""
    failures = [event for event in result.all_events if event.is_step_failure]
    if any(_is_interruption(event) for event in failures):
        err.print("Interrupted. The weeks that were published stay; the same command goes on.")
        return INTERRUPTED
    for event in failures:
        told, error = event.step_failure_data.user_failure_data, event.step_failure_data.error
        cause = error.cause if error is not None and error.cause is not None else error
        # What the package raises on purpose is a message; anything else needs its class to be read.
        message = (told and told.description) or (cause.message if cause else "unknown error")
        err.print(_red(f"{event.step_key} failed."), message.strip())
    err.print(f"The run is {result.run_id}; `make dev` shows its log.")
    return 1


def _is_interruption(failure: "dg.DagsterEvent") -> bool:
    """Whether the user stopped it: Dagster says so, or DuckDB, whoever noticed first."""
    error = failure.step_failure_data.error
    while error is not None:
        if error.cls_name in {"DagsterExecutionInterruptedError", "KeyboardInterrupt"}:
            return True
        if "Query interrupted" in error.message:
            return True
        error = error.cause
    return False


def _red(text: str) -> Text:
    return Text(text, style="red")


def main() -> None:
    """Entry point: a user's mistake ends with its message and exit code 2, not a stack trace."""
    try:
        app()
    except RfmError as error:
        err.print(_red(type(error).__name__), str(error))
        raise SystemExit(2) from None


if __name__ == "__main__":
    main()
