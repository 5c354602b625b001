"""A real server, in a process of its own."""

import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx


@contextmanager
def serving(root: Path, project: Path) -> Iterator[tuple[str, int]]:
    """A real server over a store: its address and its process."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "rfm_assets.cli", "serve", "--api-only", "--threads", "2"]
    command += ["--store", str(root), "--project", str(project), "--port", str(port)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        try:
            address = f"http://127.0.0.1:{port}/api/v1"
            until = time.monotonic() + 60
            while time.monotonic() < until:
                try:
                    httpx.get(f"{address}/openapi.json").raise_for_status()
                    break
                except httpx.TransportError:
                    time.sleep(0.2)
            yield address, process.pid
        finally:
            process.terminate()
