"""The OpenAPI document says what the API does, and the API does what it says, whatever it is asked."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, settings
from jsonschema import Draft202012Validator
from schemathesis.specs.openapi.checks import ignored_auth, positive_data_acceptance

from rfm_assets.serving.api.app import create_app
from rfm_assets.serving.keys import SCOPES
from rfm_assets.serving.queries import Queries
from rfm_assets.store import Store
from rfm_assets_tests.serving.asking import Client, Served, open_client
from rfm_assets_tests.serving.stored import NORTH

EXAMPLES = 12
"""Requests that schemathesis makes up for each route, beside those of its other phases."""


def _routes() -> Any:
    """The routes, which do not depend on what is stored, from an application over nothing."""
    nothing = Queries(Store("nowhere"), threads=1)
    try:
        app = create_app(nothing, project=Path("nowhere"))
        return schemathesis.openapi.from_asgi("/api/v1/openapi.json", app)
    finally:
        nothing.close()


ROUTES = _routes()


@pytest.fixture(scope="module")
def asked(queries: Queries, tmp_path_factory: pytest.TempPathFactory) -> Served:
    return Served(queries, tmp_path_factory.mktemp("asked"), requests_per_minute=1_000_000)


@pytest.fixture(scope="module")
def key(asked: Served) -> str:
    """Everything that an organisation may; so a request that fits launches no run."""
    return asked.key(*SCOPES, organization=NORTH)


@ROUTES.parametrize()
@settings(
    max_examples=EXAMPLES,
    deadline=None,
    derandomize=True,
    suppress_health_check=list(HealthCheck),
)
def test_the_api_does_what_its_document_says(
    case: schemathesis.Case, asked: Served, key: str
) -> None:
    # Which texts are cursors, and which days the calendar has, no schema can say.
    unsaid = {"cursor", "as_of"} & set(case.query or ())
    left_out = [positive_data_acceptance] if unsaid else []
    case.call_and_validate(
        app=asked.app, headers={"Authorization": f"Bearer {key}"}, excluded_checks=left_out
    )


STORED = {
    "customer_id": "c0002",
    "segment": "loyal_customers",
    "campaign": "win_back",
    "org_id": NORTH,
}
"""Something that is stored, for each parameter of a path."""


READING = [
    operation.path
    for operation in (found.ok() for found in ROUTES.get_all_operations())
    if operation.method == "get" and "run_id" not in operation.path
]


@pytest.mark.parametrize("path", READING)
def test_what_is_stored_is_answered_as_the_document_says(
    path: str, asked: Served, key: str
) -> None:
    named = {name: value for name, value in STORED.items() if f"{{{name}}}" in path}
    case = ROUTES[path]["GET"].Case(path_parameters=named)
    response = case.call(app=asked.app, headers={"Authorization": f"Bearer {key}"})
    assert response.status_code == 200
    case.validate_response(response, excluded_checks=[ignored_auth])


@pytest.fixture(scope="module")
def document(queries: Queries, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return open_client(queries, tmp_path_factory.mktemp("open")).json("/openapi.json")


def operations(document: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for path, item in document["paths"].items():
        for method, operation in item.items():
            yield f"{method.upper()} {path}", operation


def fits(value: Any, schema: dict[str, Any], document: dict[str, Any]) -> list[str]:
    """What of a value does not fit a schema of the document."""
    whole = {**schema, "components": document["components"]}
    return [error.message for error in Draft202012Validator(whole).iter_errors(value)]


def test_every_route_is_described(document: dict[str, Any]) -> None:
    names = []
    for name, operation in operations(document):
        assert operation["summary"], name
        assert operation["description"].strip(), name
        assert operation["tags"], name
        assert operation["security"], name
        names.append(operation["operationId"])
        for parameter in operation.get("parameters", ()):
            assert parameter["description"], (name, parameter)
            if parameter["required"]:
                assert parameter["schema"]["examples"], (name, parameter)
        if "requestBody" in operation:
            (media,) = operation["requestBody"]["content"].values()
            assert '"examples": [' in json.dumps(resolved(media["schema"], document)), name
    assert len(names) == len(set(names))


def resolved(schema: dict[str, Any], document: dict[str, Any]) -> Any:
    name = schema.get("$ref", "").removeprefix("#/components/schemas/")
    return document["components"]["schemas"][name] if name else schema


def test_every_error_of_a_route_is_a_documented_problem(document: dict[str, Any]) -> None:
    for name, operation in operations(document):
        errors = {status for status in operation["responses"] if status >= "400"}
        assert errors >= {"401", "403", "404", "422", "429", "500", "503"}, name
        if name.startswith("POST"):
            assert "413" in errors, name
        for status in errors:
            (kind,) = operation["responses"][status]["content"]
            assert kind == "application/problem+json", (name, status)


def test_every_answer_has_a_typed_model_and_an_example_of_it(document: dict[str, Any]) -> None:
    for name, operation in operations(document):
        for status, response in operation["responses"].items():
            if status == "304":
                assert "content" not in response, name
                continue
            for kind, media in response["content"].items():
                assert media["schema"], (name, status)
                if kind.endswith("json") and "ndjson" not in kind:
                    assert fits(media["example"], media["schema"], document) == [], (name, status)


def test_examples_have_every_field(document: dict[str, Any]) -> None:
    for name, operation in operations(document):
        for status in ("200", "202"):
            content = operation["responses"].get(status, {}).get("content", {})
            media = content.get("application/json")
            if media is not None:
                model = resolved(media["schema"], document)
                assert set(media["example"]) == set(model["properties"]), (name, status)


def test_answers_name_their_snapshot_and_tag(document: dict[str, Any]) -> None:
    for name, operation in operations(document):
        if "304" in operation["responses"]:
            headers = operation["responses"]["200"]["headers"]
            # Whoever gives out members says how many were left out since the list was made.
            members = (
                {"Suppressed-Since"} if name.endswith("/campaigns/{campaign}/members") else set()
            )
            assert set(headers) == {"ETag", "Snapshot-Id", "Snapshot-As-Of"} | members, name


def test_the_page_of_the_document_opens(client: Client) -> None:
    page = client.get("/docs").text
    # Its scripts come from this server: it opens where there is no internet.
    files = re.findall(r'(?:src|href)="([^"]+)"', page)
    assert files
    assert all(file.startswith("/api/v1/docs-files/") for file in files), files
    for file in files:
        assert client.ask("GET", file).status_code == 200, file
    start = client.ask("GET", "/")
    assert (start.status_code, start.headers["location"]) == (307, "/api/v1/docs")
