"""The page about the API: its commands run against a real server, and every route and key is told."""

import re
from pathlib import Path

import pytest

from rfm_assets.serving.api.app import create_app
from rfm_assets.serving.keys import SCOPES
from rfm_assets.serving.queries import Queries
from rfm_assets.serving.settings import Organization, ServingSettings
from rfm_assets.store import Store
from rfm_assets_tests.docs.conftest import environment, shell
from rfm_assets_tests.docs.pages import blocks, text_of
from rfm_assets_tests.docs.test_what_pages_say import first_column
from rfm_assets_tests.serving.server import serving
from rfm_assets_tests.serving.stored import Stored, stored_once

PAGE = "docs/api.md"


@pytest.fixture
def project(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Stored:
    """A project with the small store, and the page's `serving.yaml`."""
    made = stored_once(tmp_path_factory).copy(tmp_path / "project")
    (settings,) = (block for block in blocks(PAGE) if block.options.get("file") == "serving.yaml")
    (made.project / "serving.yaml").write_text(settings.text, encoding="utf-8")
    return made


def test_the_commands_of_the_page(project: Stored) -> None:
    env = environment(project.project)
    env["PYTHONPATH"] = str(Path(__file__).parents[2])
    first, *rest = [block for block in blocks(PAGE) if "api" in block.flags]
    made = shell(project.project, first.text, env)
    assert made.returncode == 0, made.stdout
    with serving(project.root, project.project) as (address, _):
        for block in rest:
            text = block.text.replace("http://localhost:8050", address.removesuffix("/api/v1"))
            result = shell(project.project, text.replace("curl -s", "curl -sS"), env)
            assert result.returncode == 0, f"{block.place}\n{result.stdout}"
            block.prints(result.stdout, whole=False)
            if block.output is None:
                assert "urn:rfm" not in result.stdout, f"{block.place}\n{result.stdout}"


@pytest.fixture(scope="module")
def routes() -> set[str]:
    """Methods and paths of every route."""
    queries = Queries(Store("nowhere"), threads=1)
    try:
        paths = create_app(queries, project=Path("nowhere")).openapi()["paths"]
    finally:
        queries.close()
    return {f"{method.upper()} {path}" for path, item in paths.items() for method in item}


def test_every_route_is_on_the_page(routes: set[str]) -> None:
    told = re.findall(r"^\| `((?:GET|POST) [^`]+)`", text_of(PAGE), flags=re.MULTILINE)
    assert sorted(told) == sorted(routes)


def test_every_route_has_a_command(routes: set[str]) -> None:
    shown = "".join(block.text for block in blocks(PAGE) if block.language == "bash")
    for route in routes:
        path = route.split(" ")[1]
        pattern = re.sub(r"\\{\w+\\}", "[^/?]+", re.escape(path))
        assert re.search(rf"localhost:8050{pattern}[\s\"?]", shown), route


def test_every_key_and_scope_is_explained() -> None:
    keys = set(ServingSettings.model_fields) | set(Organization.model_fields)
    assert set(first_column(PAGE, "key")) == keys
    assert first_column(PAGE, "scope") == list(SCOPES)
