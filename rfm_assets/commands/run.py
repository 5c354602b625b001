"""`rfm run`: compute assets for one week, here and now, with a word on how far it is."""

import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Annotated
from uuid import UUID, uuid4

import typer

from rfm_assets.commands.project import Project, enter, load, told_in_a_line
from rfm_assets.commands.terminal import err, out, print_json
from rfm_assets.launching import RunStatus, now_text, write_status

if TYPE_CHECKING:
    import dagster as dg

INTERRUPTED = 130
"""What a shell says of a command that Ctrl-C ended."""


def run(
    assets: Annotated[
        list[str],
        typer.Argument(help="Assets by key; with + behind it, also all that are made from it."),
    ],
    as_of: Annotated[
        str | None,
        typer.Option(help="Date to describe, the end of its week; by default the last one."),
    ] = None,
    project: Project = Path(),
    run_id: Annotated[str | None, typer.Option(hidden=True)] = None,
    status_file: Annotated[Path | None, typer.Option(hidden=True)] = None,
    *,
    json_output: Annotated[bool, typer.Option("--json", help="Say it as JSON.")] = False,
) -> None:
    """Compute assets for one week."""
    report = Report(
        run_id=str(UUID(run_id)) if run_id else str(uuid4()),
        assets=assets,
        as_of=as_of,
        file=None if status_file is None else status_file.resolve(),
    )
    try:
        _run(report, assets, None if as_of is None else date.fromisoformat(as_of), project)
    except BaseException as error:
        # Whoever follows the run in its file learns of everything that ended it.
        report.ended(str(error) or type(error).__name__)
        raise
    if json_output:
        print_json(report.status.model_dump())
    elif report.status.state == "succeeded":
        out.print(f"Done: {', '.join(assets)}, as of {report.status.as_of or 'all dates'}.")
    if report.status.state == "failed":
        if not json_output:
            err.print(report.status.message)
        raise typer.Exit(1)


class Report:
    """The status of a run, kept in a file where one is named."""

    def __init__(
        self, *, run_id: str, assets: Sequence[str], as_of: str | None, file: Path | None
    ) -> None:
        self.file = file
        self.status = RunStatus(
            run_id=run_id,
            state="starting",
            assets=list(assets),
            as_of=as_of,
            started_at=now_text(),
        )

    def update(self, **changes: object) -> None:
        self.status = self.status.model_copy(update=changes)
        if self.file is not None:
            write_status(self.file, self.status)

    def ended(self, message: str) -> None:
        if not self.status.over:
            self.update(state="failed", ended_at=now_text(), message=message)


def _run(report: Report, assets: Sequence[str], as_of: date | None, project: Path) -> None:
    enter(project)
    with out.status("Loading the definitions …") as status, told_in_a_line():
        import dagster as dg

        job = _job(load(), assets)
        key, day = _partition(job, as_of)
        report.update(state="running", steps=len(job.nodes), as_of=day and day.isoformat())
        with dg.DagsterInstance.get() as instance:
            result = watched(
                job,
                instance,
                report.status.run_id,
                {} if key is None else {"dagster/partition": key},
                lambda done, last: (
                    report.update(steps_done=done),
                    status.update(f"{done} of {len(job.nodes)} steps ({last}) …"),
                ),
            )
    message = "" if result.success else explained(result)
    report.update(
        state="succeeded" if result.success else "failed",
        steps_done=len(job.nodes) if result.success else report.status.steps_done,
        ended_at=now_text(),
        message=message,
    )


def _job(definitions: "dg.Definitions", assets: Sequence[str]) -> "dg.JobDefinition":
    import dagster as dg

    repository = definitions.get_repository_def()
    known = {key.to_user_string(): key for key in repository.asset_graph.get_all_asset_keys()}
    selection = dg.AssetSelection.assets()
    for name in assets:
        key = name.removesuffix("+")
        if key not in known:
            from rfm_assets.errors import did_you_mean

            raise typer.BadParameter(
                f"There is no asset {key!r}. {did_you_mean(key, sorted(known))}"
            )
        one = dg.AssetSelection.assets(known[key])
        selection |= one.downstream() if name.endswith("+") else one
    chosen = selection.resolve(repository.asset_graph)
    return repository.get_implicit_global_asset_job_def().get_subset(asset_selection=chosen)


def _partition(job: "dg.JobDefinition", as_of: date | None) -> tuple[str | None, date | None]:
    """The week that ends at `as_of`, or the last one; None where the assets have no weeks."""
    from dagster import TimeWindowPartitionsDefinition

    weeks = job.partitions_def
    if weeks is None:
        weeks = next(
            (
                found
                for key in job.asset_layer.selected_asset_keys
                if (found := job.asset_layer.get(key).partitions_def) is not None
            ),
            None,
        )
    if not isinstance(weeks, TimeWindowPartitionsDefinition):
        return None, as_of
    ends = {
        weeks.time_window_for_partition_key(key).end.date(): key
        for key in weeks.get_partition_keys()
    }
    day = max(ends) if as_of is None and ends else as_of
    if day is None or day not in ends:
        shown = ", ".join(str(end) for end in sorted(ends)[-3:]) or "none yet"
        raise typer.BadParameter(
            f"No week ends at {day}. The last ends are {shown}.", param_hint="--as-of"
        )
    return ends[day], day


def watched(
    job: "dg.JobDefinition",
    instance: "dg.DagsterInstance",
    run_id: str,
    tags: dict[str, str],
    say: Callable[[int, str], object],
) -> "dg.ExecuteInProcessResult":
    """One run in this process; `say` hears every second how many steps are done, and the last."""
    from dagster import DagsterEventType

    done = threading.Event()

    def watch() -> None:
        while not done.wait(1):
            finished = instance.all_logs(run_id, of_type=DagsterEventType.STEP_SUCCESS)
            with suppress(OSError):
                say(len(finished), (finished[-1].step_key if finished else None) or "starting")

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        return job.execute_in_process(
            run_id=run_id,
            instance=instance,
            raise_on_error=False,
            tags=tags,
            run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
        )
    finally:
        done.set()
        watcher.join()


def explained(result: "dg.ExecuteInProcessResult") -> str:
    """What failed in a run, a line for each step."""
    lines = []
    for event in result.all_events:
        if event.is_step_failure:
            told = event.step_failure_data.user_failure_data
            error = event.step_failure_data.error
            cause = error.cause if error is not None and error.cause is not None else error
            # What the package raises on purpose is a message; anything else needs its class.
            message = (told and told.description) or (cause.message if cause else "unknown error")
            lines.append(f"{event.step_key} failed. {message.strip()}")
    return "\n".join(lines)


def was_interrupted(result: "dg.ExecuteInProcessResult") -> bool:
    """Whether the user stopped it: Dagster says so, or DuckDB, whoever noticed first."""
    return any(_is_interruption(event) for event in result.all_events if event.is_step_failure)


def _is_interruption(failure: "dg.DagsterEvent") -> bool:
    error = failure.step_failure_data.error
    while error is not None:
        if error.cls_name in {"DagsterExecutionInterruptedError", "KeyboardInterrupt"}:
            return True
        if "Query interrupted" in error.message:
            return True
        error = error.cause
    return False
