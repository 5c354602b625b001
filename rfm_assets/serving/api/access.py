"""Who asks, what they may, and how often: every route asks here first.

Without a file of keys the server is open, and then only for this machine (`rfm serve` binds to
nothing else). What keys are is in `keys.py`.
"""

import json
import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

from fastapi import Depends, Request
from fastapi.security import APIKeyHeader, HTTPAuthorizationCredentials, HTTPBearer
from limits import RateLimitItemPerMinute
from limits.storage import MemoryStorage
from limits.strategies import MovingWindowRateLimiter

from rfm_assets.serving.api.problems import Refused
from rfm_assets.serving.keys import EVERY_ORGANIZATION, SCOPES, KeyRing, Scope

_BEARER = HTTPBearer(auto_error=False, description="A key made by `rfm keys create`.")
_HEADER = APIKeyHeader(name="X-API-Key", auto_error=False, description="The same key.")


@dataclass(frozen=True)
class Caller:
    """Who asks. `organization` is `*` for all."""

    name: str
    scopes: frozenset[Scope]
    organization: str

    def may(self, scope: Scope) -> bool:
        return scope in self.scopes

    def sees(self, organization: str) -> bool:
        """Whether an organisation exists for this caller."""
        return self.organization in {EVERY_ORGANIZATION, organization}


OPEN = Caller("this machine", frozenset(SCOPES), EVERY_ORGANIZATION)


class Access:
    """Checks callers and their pace.

    Args:
        keys: The keys; None leaves the server open.
        requests_per_minute: Of one key, or of one address without key.
    """

    def __init__(self, keys: KeyRing | None, *, requests_per_minute: int) -> None:
        self._keys = keys
        self._limit = RateLimitItemPerMinute(requests_per_minute)
        self._limiter = MovingWindowRateLimiter(MemoryStorage())

    def caller(self, request: Request, key: str | None) -> Caller:
        """Who sends a request.

        Raises:
            Refused: 401 without a valid key, 429 if there were too many requests.
        """
        if self._keys is None:
            self._pace(request.client.host if request.client else "nobody")
            return OPEN
        stored = self._keys.find(key) if key else None
        if stored is None:
            self._pace(request.client.host if request.client else "nobody")
            raise Refused(
                401,
                "Send a valid key as `Authorization: Bearer rfm_…` or `X-API-Key: rfm_…`. Keys "
                "are made with `rfm keys create`.",
                headers={"WWW-Authenticate": "Bearer"},
            )
        self._pace(stored.id)
        return Caller(stored.name, stored.scopes, stored.organization)

    def _pace(self, who: str) -> None:
        if not self._limiter.hit(self._limit, who):
            reset, _ = self._limiter.get_window_stats(self._limit, who)
            wait = max(1, round(reset - datetime.now(UTC).timestamp()))
            raise Refused(
                429,
                f"More than {self._limit.amount} requests in a minute. Wait {wait} s.",
                headers={"Retry-After": str(wait)},
            )


async def caller_of(
    request: Request,
    bearer: Annotated[HTTPAuthorizationCredentials | None, Depends(_BEARER)],
    header: Annotated[str | None, Depends(_HEADER)],
) -> Caller:
    """Who sends the request, for routes that need no scope."""
    access: Access = request.app.state.access
    return access.caller(request, bearer.credentials if bearer else header)


Anybody = Annotated[Caller, Depends(caller_of)]


def _allowed(scope: Scope) -> Callable[[Caller], Caller]:
    async def check(caller: Anybody) -> Caller:
        if not caller.may(scope):
            raise Refused(
                403,
                f"The key {caller.name!r} has no scope {scope!r}. Ask for one that has it: "
                f"`rfm keys create NAME --scope {scope}`.",
            )
        return caller

    return check


SeesSegments = Annotated[Caller, Depends(_allowed("segments"))]
SeesCustomers = Annotated[Caller, Depends(_allowed("customers"))]
Exports = Annotated[Caller, Depends(_allowed("export"))]
Runs = Annotated[Caller, Depends(_allowed("runs"))]


class Audit:
    """Writes down every export of members, one JSON document a line, before the first row leaves."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._lock = threading.Lock()

    def note(self, caller: Caller, **what: object) -> None:
        """Who took what.

        Raises:
            OSError: It cannot be written, so that nothing may leave.
        """
        line = {"at": datetime.now(UTC).isoformat(timespec="seconds"), "by": caller.name, **what}
        with self._lock:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            with self._file.open("a", encoding="utf-8") as file:
                file.write(json.dumps(line, ensure_ascii=False, default=str) + "\n")
