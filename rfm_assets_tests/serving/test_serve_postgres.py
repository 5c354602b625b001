"""`rfm serve --postgres`: which database it opens, and that it leaves nothing behind."""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest

from rfm_assets.errors import InvalidYaml
from rfm_assets.serving.settings import load_settings
from rfm_assets_tests.postgres import GUARDED, PASSWORD
from rfm_assets_tests.published import URL_ENV, Shelf

SERVE = [sys.executable, "-m", "rfm_assets.cli", "serve", "--api-only"]


def environment(url: str) -> dict[str, str]:
    return os.environ | {"PYTHONPATH": str(Path(__file__).parents[2]), URL_ENV: url}


def refused(folder: Path, *words: str, url: str = "") -> str:
    done = subprocess.run(
        [*SERVE, "--project", str(folder), *words],
        env=environment(url),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode not in {0, 1}, done.stdout
    return " ".join(done.stdout.replace("│", " ").split())


def test_it_serves_and_cleans_up(shelf: Shelf, tmp_path: Path) -> None:
    shelf.campaign("win_back", ["a", "b"])
    shelf.publish("win_back")
    (tmp_path / "serving.yaml").write_text(
        f"published: {{url_env: {URL_ENV}, cache_folder: cache}}\n", encoding="utf-8"
    )
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    words = ["--project", str(tmp_path), "--port", str(port), "--threads", "1"]
    process = subprocess.Popen([*SERVE, *words], env=environment(shelf.postgres.url))
    try:
        url = f"http://127.0.0.1:{port}/api/v1"
        for _ in range(300):
            try:
                httpx.get(f"{url}/health", timeout=5).raise_for_status()
                break
            except httpx.HTTPError:
                time.sleep(0.1)
        page = httpx.get(f"{url}/campaigns/win_back/members", timeout=10).json()
        assert [row["customer_id"] for row in page["items"]] == ["a", "b"]
        assert list((tmp_path / "cache").rglob("*.parquet"))
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(30)

    assert list((tmp_path / "cache").iterdir()) == []


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--postgres", URL_ENV, "--store", "there"], "Name one of a file, a --store and"),
        (["--schema", "rfm"], "--postgres CRM_DATABASE_URL"),
        (["--postgres", "postgresql://me:hidden@host/db"], "not the name of an environment"),
        (["--postgres", URL_ENV], "CRM_DATABASE_URL is not set"),
    ],
)
def test_what_cannot_be_served(tmp_path: Path, words: list[str], told: str) -> None:
    text = refused(tmp_path, *words)

    assert told in text
    assert "hidden" not in text


def test_a_schema_without_tables(shelf: Shelf, tmp_path: Path) -> None:
    url = shelf.postgres.url_of(GUARDED, PASSWORD)

    text = refused(tmp_path, "--postgres", URL_ENV, "--schema", "crm", url=url)

    assert "schema 'crm' holds no published tables" in text
    assert PASSWORD not in text


def test_settings_name_a_key_that_is_none(tmp_path: Path) -> None:
    text = "published:\n  url_env: CRM_DATABASE_URL\n  schema: rfm\n"
    (tmp_path / "serving.yaml").write_text(text, encoding="utf-8")

    with pytest.raises(InvalidYaml, match="Did you mean 'schema_name'"):
        load_settings(tmp_path)
