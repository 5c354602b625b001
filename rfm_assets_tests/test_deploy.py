"""What deploy/ holds: valid by the schemas of its own tools, and its commands run."""

import json
import os
import re
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from rfm_assets_tests.docs.pages import ROOT, copy_of_project
from rfm_assets_tests.postgres import EmbeddedPostgres

DEPLOY = ROOT / "deploy"
TOOLS = Path(sys.prefix, "bin")
MANIFESTS = sorted((DEPLOY / "kubernetes").glob("[!k]*.yaml"))
LOCATIONS = """{ workspaceOrError { ... on Workspace { locationEntries {
    name loadStatus locationOrLoadError { __typename }
} } } }"""


def tool(*command: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(TOOLS / command[0]), *map(str, command[1:])],
        capture_output=True,
        text=True,
        check=False,
    )


def compose() -> dict[str, Any]:
    return yaml.safe_load((DEPLOY / "docker-compose.yaml").read_text(encoding="utf-8"))


def documents() -> Iterator[dict[str, Any]]:
    for path in MANIFESTS:
        yield from yaml.safe_load_all(path.read_text(encoding="utf-8"))


@pytest.mark.parametrize(
    "command",
    [
        ("hadolint", DEPLOY / "Dockerfile"),
        (
            "check-jsonschema",
            "--builtin-schema",
            "vendor.compose-spec",
            DEPLOY / "docker-compose.yaml",
        ),
        ("kubernetes-validate", "--strict", *MANIFESTS),
    ],
    ids=lambda command: command[0],
)
def test_its_own_tool_accepts_it(command: tuple[str, ...]) -> None:
    checked = tool(*command)
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_a_wrong_key_would_be_refused(tmp_path: Path) -> None:
    wrong = tmp_path / "code.yaml"
    text = (DEPLOY / "kubernetes" / "code.yaml").read_text(encoding="utf-8")
    wrong.write_text(text.replace("containerPort", "containerport"), encoding="utf-8")
    assert tool("kubernetes-validate", "--strict", wrong).returncode != 0
    wrong.write_text("services: {a: {imagee: b}}", encoding="utf-8")
    assert tool("check-jsonschema", "--builtin-schema", "vendor.compose-spec", wrong).returncode


def test_what_the_image_copies_is_there_and_fits_the_project() -> None:
    text = (DEPLOY / "Dockerfile").read_text(encoding="utf-8")
    copied = [
        source
        for line in re.findall(r"^COPY (.*)$", text, re.MULTILINE)
        for source in line.split()[:-1]
    ]
    assert copied
    assert [name for name in copied if not (ROOT / name).exists()] == []
    ignored = (ROOT / ".dockerignore").read_text(encoding="utf-8").split()
    assert not set(copied) & set(ignored)
    assert {".env", ".git", "data"} <= set(ignored)
    minor = re.search(r"^FROM python:3\.(\d+)", text, re.MULTILINE)
    assert minor is not None
    assert 11 <= int(minor[1]) < 14


def test_no_secret_stands_in_a_file() -> None:
    for service in compose()["services"].values():
        for name, value in service.get("environment", {}).items():
            if "PASSWORD" in name or "URL" in name:
                assert "${DAGSTER_POSTGRES_PASSWORD:?" in value or value == f"${{{name}:-}}", name
    deployments = [one for one in documents() if one["kind"] == "Deployment"]
    assert len(deployments) == 3
    for deployment in deployments:
        (container,) = deployment["spec"]["template"]["spec"]["containers"]
        assert container["envFrom"] == [{"secretRef": {"name": "rfm-assets"}}]
        assert not any("URL" in entry["name"] for entry in container.get("env", []))
        assert container["image"] == "rfm-assets"
        assert deployment["spec"]["template"]["spec"]["securityContext"]["runAsNonRoot"] is True


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


@contextmanager
def running(command: list[str], folder: Path, environment: dict[str, str]) -> Iterator[None]:
    """A process of a container, in the copy that stands for it."""
    with (folder / "containers.log").open("a") as log:
        process = subprocess.Popen(
            [str(TOOLS / command[0]), *command[1:]],
            cwd=folder,
            env=environment,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
        try:
            yield
        finally:
            process.terminate()
            try:
                process.wait(timeout=30)
            except subprocess.TimeoutExpired:
                process.kill()


@pytest.mark.slow
def test_the_commands_of_the_containers_make_one_platform(
    tmp_path: Path, postgres: EmbeddedPostgres
) -> None:
    folder, code, ui = tmp_path / "image", str(free_port()), str(free_port())
    copy_of_project(folder)
    workspace = (DEPLOY / "workspace.yaml").read_text(encoding="utf-8").replace("4000", code)
    (folder / "workspace.yaml").write_text(workspace, encoding="utf-8")
    environment = os.environ | {
        "DAGSTER_HOME": str(folder),
        "PYTHONPATH": str(folder),
        "DAGSTER_POSTGRES_URL": postgres.url,
        "RFM_CODE_HOST": "127.0.0.1",
    }
    text = (DEPLOY / "Dockerfile").read_text(encoding="utf-8")
    start = json.loads(text.partition("\nCMD ")[2])
    services = compose()["services"]
    commands = [
        [code if word == "4000" else word for word in start],
        [ui if word == "3000" else word for word in services["webserver"]["command"]],
        services["daemon"]["command"],
    ]
    body = json.dumps({"query": LOCATIONS}).encode()
    headers = {"Content-Type": "application/json"}
    health = services["code"]["healthcheck"]["test"][1:]
    health = [code if word == "4000" else word for word in health]

    def succeeds(command: list[str]) -> bool:
        done = subprocess.run(
            [str(TOOLS / command[0]), *command[1:]],
            cwd=folder,
            env=environment,
            capture_output=True,
            check=False,
        )
        return done.returncode == 0

    def locations() -> list[dict[str, Any]]:
        asked = urllib.request.Request(f"http://127.0.0.1:{ui}/graphql", body, headers)
        try:
            with urllib.request.urlopen(asked, timeout=20) as answer:  # noqa: S310
                return json.load(answer)["data"]["workspaceOrError"]["locationEntries"]
        except OSError:
            return []

    def until(happens: Callable[[], object]) -> None:
        deadline = time.monotonic() + 150
        while not happens():
            if time.monotonic() > deadline:
                pytest.fail((folder / "containers.log").read_text(encoding="utf-8")[-4_000:])
            time.sleep(1)

    with ExitStack() as stack:
        stack.enter_context(running(commands[0], folder, environment))
        # The others wait for it, in both files.
        until(lambda: succeeds(health))
        for command in commands[1:]:
            stack.enter_context(running(command, folder, environment))
        until(lambda: any(one["loadStatus"] == "LOADED" for one in locations()))
        until(lambda: succeeds(["dagster-daemon", "liveness-check"]))
        entries = locations()
    (entry,) = entries
    assert entry["name"] == "rfm_assets"
    assert entry["locationOrLoadError"]["__typename"] == "RepositoryLocation"
    assert postgres.rows("select count(*) > 0 from daemon_heartbeats") == [(True,)]
