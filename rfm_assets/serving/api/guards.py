"""What is refused before a route is looked for: foreign names of the server, bodies of any size."""

from collections.abc import Sequence
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from rfm_assets.serving.api.problems import problem

LOCAL_HOSTS = frozenset({"localhost", "127.0.0.1", "::1", "testserver"})

READING = frozenset({"GET", "HEAD", "OPTIONS"})


class LocalNamesOnly:
    """Answers under this machine's own names, and to its own pages.

    An open server is safe as long as nobody else reaches it. A page of another site can have a
    browser ask it: under that site's name (the `Host` says so), or with a form (the `Origin` does).
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            headers = Headers(scope=scope)
            if _host(f"//{headers.get('host', '')}") not in LOCAL_HOSTS:
                refusal = problem(400, "This server answers as localhost only.", kind="ForeignHost")
                return await refusal(scope, receive, send)
            origin = headers.get("origin")
            if (
                origin is not None
                and scope["method"] not in READING
                and _host(origin) not in LOCAL_HOSTS
            ):
                refusal = problem(403, "A page of another site may not.", kind="ForeignOrigin")
                return await refusal(scope, receive, send)
        return await self.app(scope, receive, send)


class BodiesUpTo:
    """Refuses a body above a size, before it fills a disk and before anybody looks at the key.

    Args:
        app: What is guarded.
        upload_bytes: Largest upload, with the little that is around the file.
        other_bytes: Largest body of any other request.
        uploads: How paths end that take uploads.
    """

    def __init__(
        self, app: ASGIApp, *, upload_bytes: int, other_bytes: int, uploads: Sequence[str]
    ) -> None:
        self.app = app
        self._upload_bytes, self._other_bytes = upload_bytes, other_bytes
        self._uploads = tuple(uploads)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        upload = scope["path"].endswith(self._uploads)
        most = self._upload_bytes if upload else self._other_bytes
        told = Headers(scope=scope).get("content-length", "0")
        if told.isdecimal() and int(told) > most:
            return await problem(413, _too_large(most))(scope, receive, send)
        got = 0

        async def counted() -> Message:
            nonlocal got
            message = await receive()
            got += len(message.get("body", b""))
            if got > most:
                raise HTTPException(413, _too_large(most))
            return message

        return await self.app(scope, counted, send)


def _too_large(most: int) -> str:
    return f"The body is larger than {most / 1_000_000:g} MB."


def _host(address: str) -> str:
    try:
        return urlsplit(address).hostname or ""
    except ValueError:
        return ""
