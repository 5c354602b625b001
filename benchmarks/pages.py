"""How long a browser takes until the first chart of each page of a dashboard.

Chromium is not driven from outside, because a debugger that is attached slows it down: a script of
the browser's own (`pages.js`) opens the page, loads it again, leaves it and comes back, and tells.
"""

import json
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from queue import Empty, Queue
from statistics import median

SCRIPT = Path(__file__).parent / "pages.js"

LONGEST = 90
"""Seconds that one page may take, in all its four ways together."""

WINDOW = "1400,900"


def measure(
    url: str, pages: Sequence[str], *, rounds: int
) -> dict[str, dict[str, dict[str, float]]]:
    """Seconds of each page, in four ways: the least of all rounds and the median.

    `cold` in a browser that was never here, `again` when loaded a second time, `back` at the first
    click that comes back to it, `warm` at the second. The least says what the page needs, the median
    what else the machine did. Raises TimeoutError where a page draws nothing.
    """
    found: dict[str, list[Mapping[str, float]]] = {page: [] for page in pages}
    with _listener() as (port, told):
        for _ in range(rounds):
            for page in pages:
                found[page].append(_opened(f"{url}/app/{page}", port, told))
    return {
        page or "overview": {
            way: _of_rounds([one[way] / 1_000 for one in times])
            for way in ("cold", "again", "back", "warm")
        }
        for page, times in found.items()
    }


def _of_rounds(seconds: Sequence[float]) -> dict[str, float]:
    return {"least": round(min(seconds), 2), "median": round(median(seconds), 2)}


@contextmanager
def _listener() -> Iterator[tuple[int, "Queue[str]"]]:
    """A server on this machine that keeps what it is told."""
    told: Queue[str] = Queue()

    class Listener(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            # The browser opens it first, again and again until the script is there and goes on.
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.send_header("Refresh", "0.5")
            self.end_headers()

        def do_POST(self) -> None:
            told.put(self.rfile.read(int(self.headers["Content-Length"])).decode())
            self.send_response(204)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Listener) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_port, told
        server.shutdown()


def _opened(address: str, port: int, told: "Queue[str]") -> Mapping[str, float]:
    """Milliseconds of one page, in a new browser."""
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        raise FileNotFoundError("Install Chromium to measure pages in it.")
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        extension = Path(folder) / "extension"
        extension.mkdir()
        manifest = {
            "manifest_version": 3,
            "name": "pages",
            "version": "1",
            "content_scripts": [
                {"matches": ["http://127.0.0.1/*"], "js": ["pages.js"], "run_at": "document_start"}
            ],
        }
        (extension / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
        given = f"const TOLD_TO = {port}, ADDRESS = {json.dumps(address)};\n"
        script = given + SCRIPT.read_text(encoding="utf-8")
        (extension / "pages.js").write_text(script, encoding="utf-8")
        browser = subprocess.Popen(
            [
                chromium,
                "--headless=new",
                "--no-sandbox",
                f"--window-size={WINDOW}",
                f"--user-data-dir={folder}/profile",
                f"--load-extension={extension}",
                f"http://127.0.0.1:{port}/",
            ],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            return json.loads(told.get(timeout=LONGEST))
        except Empty as error:
            raise TimeoutError(f"{address} was not drawn within {LONGEST} s") from error
        finally:
            browser.kill()
            browser.wait()
