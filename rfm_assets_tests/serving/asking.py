"""Asking the API as a client would, in this process."""

import asyncio
from pathlib import Path
from typing import Any

import httpx
from fastapi import FastAPI

from rfm_assets.serving.api.app import create_app
from rfm_assets.serving.keys import EVERY_ORGANIZATION, KeyRing, Scope
from rfm_assets.serving.queries import Queries
from rfm_assets_tests.serving.stored import SETTINGS

V1 = "/api/v1"


class Client:
    """Sends requests to an application; with `key` in the name of that key."""

    def __init__(self, app: FastAPI, *, key: str | None = None, host: str = "localhost") -> None:
        self.app = app
        self._headers = {} if key is None else {"Authorization": f"Bearer {key}"}
        self._base = f"http://{host}"

    def ask(self, method: str, path: str, **how: Any) -> httpx.Response:
        """One request; `how` as httpx takes it."""

        async def sent() -> httpx.Response:
            # An error of the application is its answer here, as it is for a client.
            transport = httpx.ASGITransport(self.app, raise_app_exceptions=False)
            async with httpx.AsyncClient(
                transport=transport, base_url=self._base, headers=self._headers
            ) as client:
                return await client.request(method, path, **how)

        return asyncio.run(sent())

    def get(self, path: str, *, accept: str | None = None, **parameters: Any) -> httpx.Response:
        """GET below /api/v1, unless the path begins with /api."""
        headers = {} if accept is None else {"Accept": accept}
        path = path if path.startswith("/api") else V1 + path
        return self.ask("GET", path, params=parameters, headers=headers)

    def json(self, path: str, **parameters: Any) -> Any:
        """What a GET that succeeds says."""
        response = self.get(path, **parameters)
        assert response.status_code == 200, response.text
        return response.json()

    def pages(self, path: str, *, limit: int, **parameters: Any) -> list[list[dict[str, Any]]]:
        """The rows of every page of a walk."""
        found: list[list[dict[str, Any]]] = []
        cursor: dict[str, str] = {}
        while True:
            page = self.json(path, limit=limit, **cursor, **parameters)
            found.append(page["items"])
            if page["next"] is None:
                return found
            cursor = {"cursor": page["next"]}


class Served:
    """A server with keys over a store, in a folder of its own for keys, audit and runs."""

    def __init__(self, queries: Queries, folder: Path, **settings: Any) -> None:
        self.folder = folder
        self.settings = SETTINGS.model_copy(update=settings)
        self.ring = KeyRing(folder / self.settings.keys_file)
        self.ring.create("first", scopes=())
        self.app = create_app(queries, project=folder, settings=self.settings, keys=self.ring)

    def key(self, *scopes: Scope, organization: str = EVERY_ORGANIZATION) -> str:
        return self.ring.create("a caller", scopes=scopes, organization=organization)

    def client(self, *scopes: Scope, organization: str = EVERY_ORGANIZATION) -> Client:
        """A client with a key of these scopes."""
        return Client(self.app, key=self.key(*scopes, organization=organization))

    @property
    def audit(self) -> list[str]:
        """The lines of the audit."""
        file = self.folder / self.settings.audit_file
        return file.read_text(encoding="utf-8").splitlines() if file.exists() else []


def open_client(queries: Queries, folder: Path, **settings: Any) -> Client:
    """A client of a server without keys."""
    settings = {"settings": SETTINGS.model_copy(update=settings)}
    return Client(create_app(queries, project=folder, **settings))


def problem(response: httpx.Response) -> tuple[int, str]:
    """Status and kind of a problem, which is well formed."""
    assert response.headers["content-type"] == "application/problem+json", response.text
    content = response.json()
    assert content["status"] == response.status_code
    assert content["detail"]
    assert set(content) - {"errors"} == {"type", "title", "status", "detail"}
    return response.status_code, content["type"].removeprefix("urn:rfm:")
