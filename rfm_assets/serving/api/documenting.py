"""The OpenAPI document: what FastAPI derives from the routes, with headers, problems and examples.

Examples are made from the models: each field's own example where it has one, otherwise what a field
of that name is likely to hold, or the simplest value of its type. So an example has every field; a
test holds each to its model.
"""

from collections.abc import Mapping
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from fastapi.routing import APIRoute
from pydantic import BaseModel

from rfm_assets.serving.api.answers import RowsPage, SnapshotInfo
from rfm_assets.serving.api.problems import MEDIA_TYPE, Problem, phrase

HEADERS = {
    "ETag": "Tag of this answer, for `If-None-Match`.",
    "Snapshot-Id": "Version of the snapshot.",
    "Snapshot-As-Of": "The date it describes.",
}

DETAILS = {
    400: "There was an error parsing the body",
    401: "Send a valid key as `Authorization: Bearer rfm_…` or `X-API-Key: rfm_…`.",
    403: "The key 'crm' has no scope 'customers'.",
    404: "There is no table 'win_bak'.",
    406: "Ask for one of application/json, text/csv.",
    409: "Run 6f1cf0e8-4b0a-4d0e-8a39-6f0a36f2e1aa computes the same assets.",
    410: "win_back: that version is not there any more. Begin again with the current snapshot.",
    413: "The body is larger than 100 MB.",
    422: "query.as_of: String should match pattern",
    429: "More than 6000 requests in a minute. Wait 20 s.",
    500: "Something that should not happen. The server's log has more.",
    503: "The file of keys cannot be read.",
}

CONFLICTS_OF_READING = {
    409: "win_back of 2026-11-16 was made with do_not_contact, of which nothing is stored: nobody can "
    "say who was suppressed since."
}

MEMBERS = {"Suppressed-Since": "How many members were suppressed since the list was made."}

LIKELY: dict[str, Any] = {
    "action": "Offer early access.",
    "activity_trend": "declining",
    "as_of": "2026-11-16",
    "campaign_type": "win-back (urgent)",
    "churn_risk_level": "High",
    "conditions": ["R_score 4 to 5"],
    "created_at": "2026-11-16T06:00:12+00:00",
    "customer_id": "17850",
    "description": "Bought lately, often, and for much.",
    "dimension": "recency",
    "errors": ["line 3: 13047: score_out_of_range (1.7)"],
    "failed": ["F_score is 2, not 4 to 5"],
    "from_segment": "Loyal Customers",
    "kind": "customer_segments",
    "loyalty_tier": "gold",
    "name": "win_back",
    "next": "eyJ2IjogIjIwMjYxMTE2VDA2…",
    "org_type": "ecommerce",
    "organization": "stations",
    "organization_id": "stations",
    "previous_as_of": "2026-11-09",
    "recommendations": ["Remind of the cart within a day."],
    "rfm_category": {"R": "High", "F": "Medium", "M": "High", "E": "Low"},
    "risk_signal": "high_cart_abandonment",
    "risk_signals": ["high_cart_abandonment"],
    "run_id": "6f1cf0e8-4b0a-4d0e-8a39-6f0a36f2e1aa",
    "segment": "Champions",
    "sentence": "R_score 5 of 5: 3 days (up to 12)",
    "stage": "suppression",
    "started_at": "2026-11-16T06:00:00+00:00",
    "to_segment": "At Risk",
    "urgency": "high",
}
"""What fields are likely to hold that say nothing more than their type."""

_SIMPLEST = {"integer": 1, "number": 1.0, "boolean": True, "string": "text"}

_FIRST_ERROR = 400

_REFERENCE = "#/components/schemas/"


def operation_id(route: APIRoute) -> str:
    """What clients that are generated call a route."""
    return "_".join([*map(str, route.tags[-1:]), route.name])


def describe(app: FastAPI) -> None:
    """Let the application hand out this document."""

    def document() -> dict[str, Any]:
        if app.openapi_schema is None:
            made = get_openapi(
                title=app.title, version=app.version, description=app.description, routes=app.routes
            )
            app.openapi_schema = _completed(made)
        return app.openapi_schema

    app.openapi = document


def _completed(made: dict[str, Any]) -> dict[str, Any]:
    schemas = made["components"]["schemas"]
    for model in (Problem, SnapshotInfo, RowsPage):
        schemas.setdefault(model.__name__, _schema(model))
    for item in made["paths"].values():
        for method, operation in item.items():
            responses = operation["responses"]
            responses["500"] = {"description": phrase(500)}
            details = DETAILS | CONFLICTS_OF_READING if method == "get" else DETAILS
            for status, response in responses.items():
                if int(status) >= _FIRST_ERROR:
                    response["content"] = {MEDIA_TYPE: _problem(int(status), details)}
                for kind, media in response.get("content", {}).items():
                    if kind == "application/json" and "example" not in media:
                        media["example"] = example(media["schema"], schemas)
            _add_headers(responses, reads=method == "get")
    return made


def _schema(model: type[BaseModel]) -> dict[str, Any]:
    made = model.model_json_schema(ref_template=_REFERENCE + "{model}")
    made.pop("$defs", None)
    return made


def _problem(status: int, details: Mapping[int, str]) -> dict[str, Any]:
    title = phrase(status)
    return {
        "schema": {"$ref": f"{_REFERENCE}{Problem.__name__}"},
        "example": {
            "type": f"urn:rfm:{title.replace(' ', '')}",
            "title": title,
            "status": status,
            "detail": details[status],
        },
    }


def _add_headers(responses: dict[str, Any], *, reads: bool) -> None:
    if "304" in responses:
        _told(responses["200"], HEADERS | (MEMBERS if reads and "409" in responses else {}))
        _told(responses["304"], HEADERS)
    if "202" in responses:
        _told(responses["202"], {"Location": "Where to follow the run."})


def _told(response: dict[str, Any], headers: dict[str, str]) -> None:
    response["headers"] = {
        name: {"description": text, "schema": {"type": "string"}} for name, text in headers.items()
    }


def example(schema: dict[str, Any], schemas: dict[str, Any]) -> Any:
    """A value that fits a schema."""
    if "$ref" in schema:
        return example(schemas[schema["$ref"].removeprefix(_REFERENCE)], schemas)
    said = [*schema.get("examples", ()), *schema.get("enum", ())]
    if said or "const" in schema:
        return said[0] if said else schema["const"]
    if "anyOf" in schema:
        return example(schema["anyOf"][0], schemas)
    if schema.get("type") == "array":
        return [example(schema.get("items", {}), schemas)]
    if schema.get("type") == "object":
        made = {
            name: _of_field(name, one, schemas)
            for name, one in schema.get("properties", {}).items()
        }
        other = schema.get("additionalProperties")
        return made or ({"name": example(other, schemas)} if isinstance(other, dict) else {})
    return _SIMPLEST.get(schema.get("type"))


def _of_field(name: str, schema: dict[str, Any], schemas: dict[str, Any]) -> Any:
    likely = name in LIKELY and "examples" not in schema
    return LIKELY[name] if likely else example(schema, schemas)
