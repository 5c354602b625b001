"""Runs a task of `tasks.py` in a fresh process and says what it cost.

It imports nothing heavy: a child's peak memory is never reported below that of the process that
started it.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

ROOT = Path(__file__).parent.parent
CORES = 2


class TaskFailed(Exception):
    """A task ended with an error; its own message is the argument."""


@dataclass(frozen=True)
class Measured:
    """One run of a task, imports included.

    Attributes:
        wall_seconds: From starting the process to its end.
        cpu_seconds: Of all its threads.
        peak_mb: The most memory it held at once, resident, in 10^6 bytes.
        answer: What the task returned.
    """

    wall_seconds: float
    cpu_seconds: float
    peak_mb: float
    answer: dict[str, Any]


def measure(task: str, **arguments: Any) -> Measured:
    """Run a task with 2 cores in a process of its own.

    Raises:
        TaskFailed: With the end of what the process wrote.
    """
    with tempfile.TemporaryDirectory(prefix="rfm_assets-bench-") as folder:
        answer, log = Path(folder, "answer.json"), Path(folder, "log.txt")
        command = [sys.executable, "-m", "benchmarks.tasks", task, str(answer)]
        with log.open("wb") as output:
            start = time.perf_counter()
            process = subprocess.Popen(
                [*command, json.dumps(arguments)],
                cwd=ROOT,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
            _, status, usage = os.wait4(process.pid, 0)
            wall = time.perf_counter() - start
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            raise TaskFailed(f"{task}: {log.read_text(encoding='utf-8')[-2_000:]}")
        return Measured(
            wall_seconds=wall,
            cpu_seconds=usage.ru_utime + usage.ru_stime,
            peak_mb=usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024) / 1e6,
            answer=json.loads(answer.read_text(encoding="utf-8")),
        )


def typical_of(runs: Iterable[Measured]) -> dict[str, float]:
    """Medians over several runs of the same task, and the best time."""
    every = list(runs)
    return {
        "wall_seconds": round(median(one.wall_seconds for one in every), 2),
        "wall_seconds_best": round(min(one.wall_seconds for one in every), 2),
        "cpu_seconds": round(median(one.cpu_seconds for one in every), 2),
        "peak_mb": round(max(one.peak_mb for one in every)),
        "runs": len(every),
    }


def pin_to_cores(count: int = CORES) -> int:
    """Keep this process to its first `count` cores, where the system can; how many it has then."""
    if not hasattr(os, "sched_setaffinity"):
        return os.cpu_count() or 1
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[-count:])
    return len(os.sched_getaffinity(0))
