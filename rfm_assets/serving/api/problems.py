"""Every error as problem+json (RFC 9457), with what to do about it.

Which status a failure has is decided here and nowhere else. An error that nobody foresaw is a 500
without its message, which may hold data.
"""

import logging
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException

from rfm_assets.errors import (
    ColumnMissing,
    DatabaseBusy,
    DatabaseRefused,
    DatabaseRevisionUnknown,
    DatabaseUnreachable,
    InvalidAsOf,
    InvalidConfig,
    InvalidTableName,
    KeysUnreadable,
    KindMissing,
    PartMissing,
    RfmError,
    RunMissing,
    SchemaUnpublished,
    SnapshotGone,
    SnapshotMissing,
    SnapshotUnreadable,
    StorageUnusable,
    SuppressionUnknown,
    TableMissing,
)

log = logging.getLogger(__name__)

MEDIA_TYPE = "application/problem+json"

STATUS_OF: Mapping[type[RfmError], int] = {
    TableMissing: 404,
    KindMissing: 404,
    SnapshotMissing: 404,
    PartMissing: 404,
    InvalidTableName: 404,
    RunMissing: 404,
    SuppressionUnknown: 409,
    SnapshotGone: 410,
    InvalidAsOf: 422,
    ColumnMissing: 422,
    InvalidConfig: 422,
    SnapshotUnreadable: 503,
    StorageUnusable: 503,
    KeysUnreadable: 503,
    DatabaseUnreachable: 503,
    DatabaseBusy: 503,
    DatabaseRefused: 503,
    DatabaseRevisionUnknown: 503,
    SchemaUnpublished: 503,
}

_OF_THE_DATABASE = (
    DatabaseUnreachable,
    DatabaseBusy,
    DatabaseRefused,
    DatabaseRevisionUnknown,
    SchemaUnpublished,
)


def phrase(status: int) -> str:
    """The status in words, the same on every version of Python."""
    renamed = {413: "Content Too Large", 422: "Unprocessable Content"}
    return renamed.get(status) or HTTPStatus(status).phrase


class Problem(BaseModel):
    """What went wrong, for people and programs."""

    type: str = Field(description="Kind of problem, as a URN.", examples=["urn:rfm:TableMissing"])
    title: str = Field(description="The status in words.", examples=["Not Found"])
    status: int = Field(description="The HTTP status.", examples=[404])
    detail: str = Field(description="What is wrong and what to do.")
    errors: list[dict[str, Any]] | None = Field(
        default=None, description="For a request that does not fit: each place and what is wrong."
    )


class Refused(Exception):
    """A request that is answered with a problem."""

    def __init__(
        self, status: int, detail: str, *, headers: Mapping[str, str] | None = None, kind: str = ""
    ) -> None:
        super().__init__(detail)
        self.status, self.detail, self.headers = status, detail, dict(headers or {})
        self.kind = kind or phrase(status).replace(" ", "")


def problem(
    status: int,
    detail: str,
    *,
    kind: str = "",
    headers: Mapping[str, str] | None = None,
    errors: Sequence[Mapping[str, Any]] | None = None,
) -> JSONResponse:
    """One problem as an answer."""
    title = phrase(status)
    content = Problem(
        type=f"urn:rfm:{kind or title.replace(' ', '')}",
        title=title,
        status=status,
        detail=detail,
        errors=None if errors is None else [dict(one) for one in errors],
    )
    return JSONResponse(
        content.model_dump(exclude_none=True), status, dict(headers or {}), media_type=MEDIA_TYPE
    )


def documented(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The problems of a route, for its OpenAPI description (`documenting.py` says how they look)."""
    return {status: {"description": phrase(status)} for status in statuses}


def add_handlers(app: FastAPI) -> None:
    """Answer every failure of `app` with a problem."""

    async def refused(_: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, Refused)  # noqa: S101 (registered for it)
        return problem(error.status, error.detail, kind=error.kind, headers=error.headers)

    async def ours(_: Request, error: Exception) -> JSONResponse:
        status = next((s for kind, s in STATUS_OF.items() if isinstance(error, kind)), 500)
        if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            log.error("%s: %s", type(error).__name__, error)
        return problem(status, _without_places(error), kind=type(error).__name__)

    async def unfit(_: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, RequestValidationError)  # noqa: S101 (registered for it)
        errors = [
            {"place": ".".join(str(step) for step in one["loc"]), "message": one["msg"]}
            for one in error.errors()
        ]
        detail = "; ".join(f"{one['place']}: {one['message']}" for one in errors)
        return problem(422, detail, kind="RequestUnfit", errors=errors)

    async def http(request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, HTTPException)  # noqa: S101 (registered for it)
        asked, detail = f"{request.method} {request.url.path}", str(error.detail)
        if detail == HTTPStatus.NOT_FOUND.phrase:
            detail = f"There is no route {asked}. See /api/v1/docs."
        elif detail == HTTPStatus.METHOD_NOT_ALLOWED.phrase:
            allowed = (error.headers or {}).get("Allow", "another method")
            detail = f"{asked} is not possible; {allowed} is."
        return problem(error.status_code, detail, headers=error.headers)

    async def unforeseen(_: Request, error: Exception) -> JSONResponse:
        log.error("unforeseen", exc_info=error)
        return problem(500, "Something that should not happen. The server's log has more.")

    app.add_exception_handler(Refused, refused)
    app.add_exception_handler(RfmError, ours)
    app.add_exception_handler(RequestValidationError, unfit)
    app.add_exception_handler(HTTPException, http)
    app.add_exception_handler(Exception, unforeseen)


def _without_places(error: Exception) -> str:
    """The message for somebody who has no business with the server's folders and databases."""
    if isinstance(error, _OF_THE_DATABASE):
        return (
            "This is read from a database that does not give it now. Try again; whoever runs this "
            "server finds the reason in its log."
        )
    text = str(error)
    for name in ("root", "path", "file"):
        place = str(getattr(error, name, ""))
        if place:
            text = text.replace(f" below {place}", "").replace(place, "A file of this server")
    return text
