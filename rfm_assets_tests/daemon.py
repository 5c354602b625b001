"""Dagster's own daemon, run as a process over a workspace file."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import dagster as dg


@contextmanager
def running_daemon(workspace: Path, environment: Mapping[str, str]) -> Iterator[dg.DagsterInstance]:
    """The daemon over `workspace`/workspace.yaml, and the instance in its DAGSTER_HOME.

    What the daemon wrote is in the home's daemon.log.
    """
    home = Path(environment["DAGSTER_HOME"])
    # Opened first: two processes that create the same SQLite files at once trip over each other.
    with (
        dg.DagsterInstance.from_config(str(home)) as instance,
        (home / "daemon.log").open("w") as log,
    ):
        process = subprocess.Popen(
            [sys.executable, "-m", "dagster._daemon", "run", "-w", "workspace.yaml"],
            cwd=workspace,
            env=environment,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            yield instance
        finally:
            process.send_signal(signal.SIGINT)
            try:
                process.wait(timeout=20)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait(timeout=10)


def home_for_tests(folder: Path) -> str:
    """`folder` as a DAGSTER_HOME that sends nothing anywhere."""
    folder.mkdir(exist_ok=True)
    (folder / "dagster.yaml").write_text("telemetry: {enabled: false}\n", encoding="utf-8")
    return str(folder)
