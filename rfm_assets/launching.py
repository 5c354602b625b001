"""Start computations from outside Dagster, each in a process of its own, and follow them.

The process is `rfm run`, which says in a small file how far it is. So whoever asks needs neither
Dagster nor the process that started it: a run outlives the server, and its status, too.
"""

import os
import subprocess
import sys
import threading
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Literal, TypeAlias
from uuid import UUID, uuid4

from pydantic import BaseModel, Field, ValidationError

from rfm_assets.errors import RunMissing

State: TypeAlias = Literal["starting", "running", "succeeded", "failed"]

FOLDER = Path(".rfm", "runs")


class RunStatus(BaseModel):
    """How far a run is."""

    run_id: str = Field(description="Id of the Dagster run.")
    state: State
    assets: list[str]
    as_of: str | None = None
    started_at: str
    ended_at: str | None = None
    steps_done: int = 0
    steps: int = 0
    message: str = Field(default="", description="What failed, and what to do.")

    @property
    def over(self) -> bool:
        return self.state in {"succeeded", "failed"}


def write_status(file: Path, status: RunStatus) -> None:
    """Replace a status file in one step, so that nobody reads half of it."""
    file.parent.mkdir(parents=True, exist_ok=True)
    new = file.with_name(f".{file.name}.{os.getpid()}.{threading.get_ident()}")
    new.write_text(status.model_dump_json(indent=1), encoding="utf-8")
    new.replace(file)


def now_text() -> str:
    """The time in UTC, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


class Launcher:
    """Starts runs of one project.

    Attributes:
        starting: Held by whoever looks whether a run may start and then starts it.
    """

    def __init__(self, project: Path) -> None:
        self.starting = threading.Lock()
        self._project = project
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        self._lock = threading.Lock()

    def launch(self, assets: Sequence[str], *, as_of: date | None = None) -> RunStatus:
        """Begin to compute assets; for the week that ends at `as_of`, the last one where None."""
        run_id = str(uuid4())
        status = RunStatus(
            run_id=run_id,
            state="starting",
            assets=list(assets),
            as_of=None if as_of is None else as_of.isoformat(),
            started_at=now_text(),
        )
        file = self._file(run_id)
        write_status(file, status)
        command = [sys.executable, "-m", "rfm_assets.cli", "run", *assets, "--run-id", run_id]
        command += ["--status-file", str(file), "--project", str(self._project)]
        if as_of is not None:
            command += ["--as-of", as_of.isoformat()]
        log = file.with_suffix(".log")
        with log.open("wb") as output:
            process = subprocess.Popen(  # noqa: S603 (our own command, arguments apart)
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        with self._lock:
            self._running[run_id] = process
        return status

    def same_running(self, assets: Sequence[str]) -> RunStatus | None:
        """A run of this launcher that computes one of these assets and is not over."""
        with self._lock:
            going = [run for run, process in self._running.items() if process.poll() is None]
        for run_id in going:
            status = self.status(run_id)
            if not status.over and set(status.assets) & set(assets):
                return status
        return None

    def wait(self, run_id: str, seconds: float) -> RunStatus:
        """The status once the run is over, or after so many seconds."""
        with self._lock:
            process = self._running.get(run_id)
        if process is not None:
            with suppress(subprocess.TimeoutExpired):
                process.wait(seconds)
        return self.status(run_id)

    def status(self, run_id: str) -> RunStatus:
        """How far a run is, also one that another server started.

        Raises:
            RunMissing: There is no such run.
        """
        try:
            file = self._file(str(UUID(run_id)))
            status = RunStatus.model_validate_json(file.read_text(encoding="utf-8"))
        except (ValueError, OSError, ValidationError) as error:
            raise RunMissing(run_id=run_id) from error
        with self._lock:
            process = self._running.get(run_id)
        if not status.over and process is not None and process.poll() is not None:
            # It ended without a last word: killed, or out of memory.
            status = status.model_copy(
                update={
                    "state": "failed",
                    "ended_at": now_text(),
                    "message": _last_lines(file.with_suffix(".log"))
                    or f"The process ended with code {process.returncode}.",
                }
            )
            write_status(file, status)
        return status

    def _file(self, run_id: str) -> Path:
        return self._project / FOLDER / f"{run_id}.json"


def _last_lines(log: Path, lines: int = 5) -> str:
    try:
        text = log.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
    return "\n".join(text.strip().splitlines()[-lines:])
